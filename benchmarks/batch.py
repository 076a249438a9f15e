"""Many prompts beside a plain loop of forward passes: rows a minute, and whether memory stays flat.

    python benchmarks/batch.py                            # the bundled model: each analysis alone, all of them over 1,000 prompts
    python benchmarks/batch.py --prompts 200 --model smollm2 --each 40

Rows a minute are those of `batch` as it is called, where prompts of one length share their passes, and of each prompt alone. The
plain loop is transformers' own: tokenize, one forward pass without gradients, the likeliest next token. It runs now and then
within the batch. Times are of the processor, in one thread, so that other work on the machine counts little.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import psutil
import torch

import infoflow
from infoflow.studies.batch import ANALYSES
from infoflow.text.examples import PRESETS

NAMES = ("Mary", "John", "Alice", "Tom", "Anna", "Paul", "Emma", "Jack")
THINGS = ("drink", "book", "ball", "letter", "key")


def prompts_of(n: int) -> list[str]:
    """The examples, and sentences of their first one's kind with other words."""
    made = [
        f"When {NAMES[i % 8]} and {NAMES[(i // 8 + i + 1) % 8]} went to the store, {NAMES[i % 8]} gave a {THINGS[i % 5]} to"
        for i in range(n)
    ]
    return [PRESETS[i // 2 % len(PRESETS)].prompt if i % 2 else made[i] for i in range(n)]


def plain(model: Any, prompts: list[str]) -> float:
    """Seconds of the processor in a loop of forward passes."""
    hf, tokenizer, begun = model._hf, model.tokenizer, time.process_time()
    with torch.no_grad():
        for prompt in prompts:
            ids = torch.tensor([tokenizer(prompt)["input_ids"]])
            hf(ids).logits[:, -1].softmax(-1).argmax(-1).tolist()
    return time.process_time() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--prompts", type=int, default=1_000)
    parser.add_argument("--each", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    model = infoflow.load_model(options.model)
    prompts = prompts_of(options.prompts)
    plain(model, prompts[:20])
    print("| analysis | rows a minute | each prompt alone | forward passes a minute | passes a row |\n|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        infoflow.batch(model, prompts[:5], Path(folder, "warm"))
        for name in ANALYSES:
            beside(model, prompts[: options.each], Path(folder, name), (name,))
        resident = beside(model, prompts, Path(folder, "all"), ANALYSES)
        size = sum(path.stat().st_size for path in Path(folder, "all").glob("*/*.parquet"))
    print(f"Resident memory after so many prompts, MB: {resident}")
    print(f"The data set takes {size / 1e6:.1f} MB, {size / len(prompts) / 1e3:.1f} kB a prompt.")


def beside(model: Any, prompts: list[str], out: Path, analyses: tuple[str, ...]) -> dict[int, int]:
    """A line of the table, the plain loop run now and then within the same run; resident memory by prompts done."""
    resident: dict[int, int] = {}
    spent, passes, step = [0.0], [0], max(20, len(prompts) // 10)

    def note(doing: str, fraction: float) -> None:
        done = round(fraction * len(prompts))
        if done and done % step == 0 and done not in resident:
            resident[done] = round(psutil.Process().memory_info().rss / 1e6)
            spent[0] += plain(model, prompts[done - 20 : done])
            passes[0] += 20

    few, begun = prompts[: min(len(prompts), 100)], time.process_time()
    infoflow.batch(model, few, out.with_name(f"{out.name}-alone"), analyses, together=1)
    alone, begun = (time.process_time() - begun) / len(few), time.process_time()
    infoflow.batch(model, prompts, out, analyses, on_progress=note)
    row, once = (time.process_time() - begun - spent[0]) / len(prompts), spent[0] / passes[0]
    name = "all five" if len(analyses) > 1 else analyses[0]
    print(f"| {name} | {60 / row:,.0f} | {60 / alone:,.0f} | {60 / once:,.0f} | {row / once:.1f} |", flush=True)
    return resident


if __name__ == "__main__":
    main()
