"""Time and memory of an attribution to a logit: one forward and one backward pass over a long prompt.

    python benchmarks/attribute.py                              # the bundled model at 2,000 tokens, a 1B shape at 1,000
    python benchmarks/attribute.py --shapes quarter --tokens 500

Memory is the peak over the weights and a short attribution, beside what `attribution.needed_bytes` reckons with. A plain
forward pass over the same prompt stands beside the time.
"""

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import decompose as shared
import torch
from transformers import AutoTokenizer

import infoflow
from infoflow.analyses import attribution
from infoflow.models.catalog import DEMO

USUAL = {"demo": 2000, "quarter": 1000, "1B": 1000}


def row(shape: str, n: int) -> str:
    """One line of the table."""
    hf: Any = shared.build(shape).requires_grad_(False)
    model = infoflow.load_model("demo") if shape == "demo" else infoflow.wrap_model(hf, AutoTokenizer.from_pretrained(DEMO))
    ids = shared.ids_of(n)
    infoflow.attribute(model, ids[:4], 300)
    with torch.no_grad():
        plain = shared.seconds(lambda: model._hf(torch.tensor([ids])))
    Path("/proc/self/clear_refs").write_text("5")
    before = shared.status_bytes("VmRSS")
    found: list[infoflow.Attribution] = []
    took = shared.seconds(lambda: found.append(infoflow.attribute(model, ids, 300)))
    memory = shared.status_bytes("VmHWM") - before
    expected = attribution.needed_bytes(model, n)
    return (
        f"| {shape} | {n} | {took:.1f} s | {plain:.1f} s | {memory / 1e6:,.0f} MB | {expected / 1e6:,.0f} MB "
        f"| {found[0].max_error:.1e} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", default=["demo", "1B"], choices=list(USUAL))
    parser.add_argument("--tokens", type=int, help="the same number for every shape")
    options = parser.parse_args()
    print("| shape | tokens | attribute | forward pass | memory | estimated | error |\n|---|---|---|---|---|---|---|", flush=True)
    for shape in options.shapes:
        print(row(shape, options.tokens or USUAL[shape]), flush=True)


if __name__ == "__main__":
    main()
