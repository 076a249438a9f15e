"""Batches in processes that are killed, in a process of its own: children are forked, so that each need not import and load anew.

python -m tests.helpers.killed MODEL PROMPTS OUT      writes OUT/whole, OUT/killed and OUT/shards; prints what happened as JSON
"""

import json
import os
import random
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

torch.set_num_threads(1)  # no threads that a fork would lose

import infoflow  # noqa: E402
from infoflow.files import datasets  # noqa: E402

WRITES = 6
"""files of a part: five analyses and the prompts"""


def forked(work: Callable[[], Any]) -> int:
    """A child that does the work and ends."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return child


def ended(child: int) -> int:
    """How it ended: 0 well, -9 killed."""
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def killed_at(write: int, half: bool) -> None:
    """From now on this process kills itself at its so many-th file: with half of it written, or just before it is renamed."""
    count, whole = [0], datasets._write

    def counted(path: Path, data: bytes) -> None:
        if path.suffix == ".parquet":
            count[0] += 1
            if count[0] == write:
                path.with_name(f".{path.name}.tmp").write_bytes(data[: len(data) // 2] if half else data)
                os.kill(os.getpid(), signal.SIGKILL)
        whole(path, data)

    datasets._write = counted


def rows_in(folder: Path) -> int:
    """Files of whole parts."""
    return len(list((folder / "prompts").glob("[!.]*.parquet")))


def main(name: str, prompts: str, out: Path) -> None:
    model = infoflow.load_model(name)
    infoflow.batch(model, prompts, out / "warm", limit=1)

    def run(folder: str, **more: Any) -> None:
        infoflow.batch(model, prompts, out / folder, at_once=2, **more)

    ends, left = [ended(forked(lambda: run("whole")))], []
    for number in range(1, 2 * WRITES + 2):  # at each file of a part, some a part later

        def work(number: int = number) -> None:
            killed_at(number, half=number % 2 == 0)
            run("killed")

        ends.append(ended(forked(work)))
        left.append(len(list((out / "killed").glob("*/*.parquet"))) - WRITES * rows_in(out / "killed"))
    draw = random.Random(0)
    for _ in range(4):
        child, before = forked(lambda: run("killed")), rows_in(out / "killed")
        while rows_in(out / "killed") == before:
            time.sleep(0.001)
        time.sleep(draw.random() / 20)
        os.kill(child, signal.SIGKILL)
        ends.append(ended(child))
    last = ended(forked(lambda: run("killed")))
    shards = [forked(lambda part=part: run("shards", shard=f"{part}/3")) for part in (1, 2, 3)]
    print(json.dumps({"ends": ends, "left": left, "last": last, "shards": [ended(child) for child in shards]}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], Path(sys.argv[3]))
