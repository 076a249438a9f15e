"""Memory of a hosted app while visitors walk through all its pages, each with a prompt of their own.

    python benchmarks/visitors.py                       # 20 visitors, the bundled model
    python benchmarks/visitors.py --model smollm2

The visitors come one after the other and stay; memory is what is resident in the app's process.
"""

import argparse
import asyncio
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from tests.helpers.app import App, running
from tests.helpers.pages import PLACES
from tests.helpers.visitor import Visitor

PROMPT = "When Mary and {} went to the store, {} gave a drink to"
NAMES = "John Anna Tom Lucy James Emma Peter Laura Paul Sarah Mark Alice David Julia Simon Helen Henry Grace Daniel Rose".split()


async def walk(app: App, visitors: int, model: str) -> None:
    """Everyone through every page; a line for each visitor."""
    here: list[Visitor] = []
    for number in range(visitors):
        visitor = await Visitor(app.address).__aenter__()
        here.append(visitor)
        name, begun, failed = NAMES[number % len(NAMES)], time.monotonic(), []
        asked = {"prompt": PROMPT.format(name, name), "model": model}
        for place in PLACES:
            await visitor.open(place, **asked)
            failed += [f"{place}: {said}" for said in (*visitor.failures(), *visitor.told())]
        seconds = time.monotonic() - begun
        print(f"| {number + 1} | {app.resident / 1e6:,.0f} MB | {seconds:.1f} s | {'; '.join(failed)} |", flush=True)
    for visitor in here:
        await visitor.__aexit__(None, None, None)


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--visitors", type=int, default=20)
    options.add_argument("--model", default="demo")
    asked = options.parse_args()
    log = Path(tempfile.mkdtemp()) / "app.log"
    with running(log, hosted="1", models="demo,smollm2", runs_per_minute="100000") as app:
        print(f"At the start: {app.resident / 1e6:,.0f} MB\n\n| visitors | resident | walk | failed |\n|---|---|---|---|")
        asyncio.run(walk(app, asked.visitors, asked.model))
        time.sleep(10)
        print(f"\nTen seconds after all have left: {app.resident / 1e6:,.0f} MB")


if __name__ == "__main__":
    main()
