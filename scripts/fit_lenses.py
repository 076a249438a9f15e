"""Fit Jacobian lenses: python scripts/fit_lenses.py [--model smollm2 --out lens.safetensors --directions 64]

Without options the bundled model's, which ships (`infoflow/demo/lenses/jacobian.safetensors`, float16): every direction of each
prompt, on documents of the kind that the model was trained on, by another seed. For another model texts are read from `--texts`,
or are what Python says of itself (pydoc's topics).
"""

import argparse
import time
from pathlib import Path
from pydoc_data.topics import topics

import torch

import infoflow
from infoflow.cli.fit_lens import texts_of
from infoflow.models.lenses import DEMO_LENS

from demo_corpus import documents, spans

SEED = 20_000
LETTERS = 420
"""of a text of several documents: about the most tokens that are read of one"""


def demo_texts(n: int) -> list[str]:
    """Documents in a row, as many as fill a text."""
    made, found = documents(SEED), []
    while len(found) < n:
        text = ""
        while len(text) < LETTERS:
            text = f"{text} {spans(next(made))[0]}".strip()
        found.append(text)
    return found


def prose(n: int) -> list[str]:
    """Long paragraphs of Python's own documentation, spread over all of it."""
    parts = [" ".join(part.split()) for topic in sorted(topics) for part in topics[topic].split("\n\n")]
    long = [part for part in parts if len(part) > 400 and not part.startswith((">>>", "+--"))]
    return [long[i * len(long) // n] for i in range(n)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--out", type=Path, default=DEMO_LENS)
    parser.add_argument("--texts", type=Path)
    parser.add_argument("--prompts", type=int, default=64, help="how many (default: 64)")
    parser.add_argument("--directions", type=int, help="random ones a prompt; all of them where left out")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    if options.model != "demo" and options.out == DEMO_LENS:
        parser.error("--out: that is the bundled model's place")
    torch.set_num_threads(options.threads)
    model = infoflow.load_model(options.model)
    texts = texts_of(options.texts) if options.texts else (demo_texts if options.model == "demo" else prose)(options.prompts)
    started = time.time()

    def told(doing: str, fraction: float) -> None:
        print(f"\r{doing}, {time.time() - started:.0f} s", end="", flush=True)

    made = options.out.with_name(f"{options.out.name}.full")
    lens = infoflow.fit_lens(model, texts, made, directions=options.directions, on_progress=told)
    kept = infoflow.save_lens(lens, options.out, half=True)
    made.unlink()
    print(f"\n{kept}: {(time.time() - started) / len(texts):.1f} s a prompt, {options.out.stat().st_size:,} bytes")
    print("Two halves:", ", ".join(f"{row} {value:.4f}" for row, value in kept.halves.items()))


if __name__ == "__main__":
    main()
