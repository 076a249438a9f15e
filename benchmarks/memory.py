"""Memory and time of the analyses that are refused when they would not fit: actual beside estimated.

    python benchmarks/memory.py                                  # the bundled model and a quarter-size shape
    python benchmarks/memory.py --shapes quarter --tokens 500

Memory is the peak over the weights and a short run of the same, in a process of its own.
"""

import argparse
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import decompose as shared
from transformers import AutoTokenizer

import infoflow
from infoflow.analyses import attention, attribution, carriers, generation, graph, location, logit_lens
from infoflow.models.catalog import DEMO

NEW = 50
"""tokens that `generate` writes"""
ANALYSES: dict[str, tuple[Callable[[Any, list[int]], Any], Callable[[Any, int], int]]] = {
    "attribute": (lambda m, ids: infoflow.attribute(m, ids, 300), attribution.needed_bytes),
    "locate": (lambda m, ids: infoflow.locate(m, ids, 300), location.needed_bytes),
    "graph": (lambda m, ids: infoflow.graph(m, ids, 300), graph.needed_bytes),
    "graph of every move": (
        lambda m, ids: infoflow.graph(m, ids, 300, threshold=0.0),
        lambda m, n: graph.needed_bytes(m, n, 0.0),
    ),
    "attention": (infoflow.attention, attention.needed_bytes),
    "logit lens": (infoflow.logit_lens, lambda m, n: logit_lens.needed_bytes(m, n, True)),
    "carriers": (
        lambda m, ids: infoflow.carriers(m, ids, m.n_layers // 2, len(ids) - 1, 1),
        lambda m, n: carriers.needed_bytes(m, n, m.n_layers // 2),
    ),
    f"generate {NEW}": (lambda m, ids: infoflow.generate(m, ids, NEW), lambda m, n: generation.needed_bytes(m, n, NEW)),
}


def row(analysis: str, shape: str, n: int) -> str:
    """One line of the table; for a process of its own."""
    hf: Any = shared.build(shape).requires_grad_(False)
    model = infoflow.load_model("demo") if shape == "demo" else infoflow.wrap_model(hf, AutoTokenizer.from_pretrained(DEMO))
    run, estimate = ANALYSES[analysis]
    ids = shared.ids_of(n)
    run(model, ids[:4])
    Path("/proc/self/clear_refs").write_text("5")
    before = shared.status_bytes("VmRSS")
    took = shared.seconds(lambda: run(model, ids))
    memory, expected = shared.status_bytes("VmHWM") - before, estimate(model, n)
    ratio = f"{expected / memory:.1f}" if memory > 1e6 else "–"
    return f"| {analysis} | {shape} | {n} | {memory / 1e6:,.0f} MB | {expected / 1e6:,.0f} MB | {ratio} | {took:.1f} s |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", default=["demo", "quarter"], choices=["demo", "quarter", "1B"])
    parser.add_argument("--tokens", type=int, nargs="+", default=[200, 1000])
    parser.add_argument("--only", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        print(row(options.only, options.shapes[0], options.tokens[0]))
        return
    print("| analysis | shape | tokens | memory | estimated | ratio | time |\n|---|---|---|---|---|---|---|", flush=True)
    for analysis in ANALYSES:
        for shape in options.shapes:
            for n in options.tokens:
                command = [sys.executable, __file__, "--only", analysis, "--shapes", shape, "--tokens", str(n)]
                done = subprocess.run(command, capture_output=True, text=True, check=False)
                print(done.stdout.strip() or f"| {analysis} | {shape} | {n} | {done.stderr.strip()[-160:]} |", flush=True)


if __name__ == "__main__":
    main()
