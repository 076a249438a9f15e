"""Time and memory of the logit lens beside the one product it can't do without, and of attention and generation beside forwards.

    python benchmarks/lens.py                          # three shapes, 14 tokens
    python benchmarks/lens.py --tokens 64 --shapes smollm2
    python benchmarks/lens.py --peer                   # also TransformerLens's lens on the same weights, where it is installed

Random weights; `smollm2` is that model's shape, `wide` has a vocabulary of 128,000. `product` is the final norm and the
unembedding of all rows at all positions, and nothing else; `lens` is the whole of `logit_lens`, its run of the model with it;
`reading` what it takes beyond a forward pass, over the product. `one position` is `logit_lens(positions=[-1])`. Attention
(with value and write norms) stands beside the forward pass it needs, twenty new tokens with their attribution beside the text
alone. Memory is the peak over the weights and a short lens, beside what `logit_lens.needed_bytes` said. Medians of five, taken in
turns; compare ratios of one run: machines differ and are shared.

The third table has the other kinds of lens on the same prompt, over the logit lens of the same rows (none after attention):
frozen at each state's own position, all rows; frozen read at the last position, by row (a middle one alone, and all rows over
their number); a fitted map a row; and the contrast, six neutral texts of the same length, with the logit and the frozen lens.

Reading was to take 1.6 times the product at most. It does where the product counts (wide 1.5; SmolLM2's shape 1.5 and 0.2 of
the trace's own steps), and not on the bundled shape: there the product takes a millisecond, and some sixty small operations ten.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import decompose as shared
import numpy as np
import torch
from transformers import AutoTokenizer

import infoflow
from infoflow.analyses import logit_lens
from infoflow.models.catalog import DEMO
from infoflow.models.lenses import FittedLens

shared.SHAPES |= {
    "smollm2": {"d": 576, "layers": 30, "heads": 9, "kv": 3, "mlp": 1536, "vocab": 49152},
    "wide": {"d": 1024, "layers": 16, "heads": 16, "kv": 8, "mlp": 4096, "vocab": 128000},
}
SHAPES = ("demo", "smollm2", "wide")
NEW = 20


def in_turns(**work: Callable[[], Any]) -> dict[str, float]:
    """Median seconds of each, five times, one after the other, so that a busy minute is everybody's."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for run in work.values():
        run()
    for _ in range(5):
        for name, run in work.items():
            started = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - started)
    return {name: statistics.median(found) for name, found in times.items()}


def peer(hf: Any, ids: list[int]) -> Callable[[], Any] | None:
    """TransformerLens's lens on the same weights: five likeliest and entropy of every row."""
    try:
        from transformer_lens.model_bridge import TransformerBridge  # type: ignore[import-not-found]
    except ImportError:
        print("TransformerLens is not installed; its column is left out.", file=sys.stderr)
        return None
    bridge = TransformerBridge.from_hf(hf) if hasattr(TransformerBridge, "from_hf") else TransformerBridge(hf)

    def lens() -> None:
        with torch.no_grad():
            _, cache = bridge.run_with_cache(torch.tensor([ids]))
            stream, _ = cache.accumulated_resid(incl_mid=True, apply_ln=True, return_labels=True)
            log_p = bridge.unembed(stream[:, 0]).log_softmax(-1)
            log_p.topk(5)
            (log_p.exp() * log_p).sum(-1)

    return lens


def rows(shape: str, n: int, with_peer: bool) -> tuple[str, str]:
    """A line of each table."""
    hf: Any = shared.build(shape).requires_grad_(False)
    model = infoflow.wrap_model(hf, AutoTokenizer.from_pretrained(DEMO))
    ids = shared.ids_of(n)
    infoflow.logit_lens(model, ids[:2])
    Path("/proc/self/clear_refs").write_text("5")
    before = shared.status_bytes("VmRSS")
    lens = infoflow.logit_lens(model, ids)
    memory, expected = shared.status_bytes("VmHWM") - before, logit_lens.needed_bytes(model, n, True)
    stream = torch.randn(len(lens.rows) * n, hf.config.hidden_size)
    prompt = torch.tensor([ids])
    other = peer(hf, ids) if with_peer else None
    with torch.no_grad():
        took = in_turns(
            product=lambda: hf.lm_head(hf.model.norm(stream)),
            forward=lambda: hf(prompt),
            lens=lambda: infoflow.logit_lens(model, ids),
            one=lambda: infoflow.logit_lens(model, ids, positions=[-1]),
            attention=lambda: infoflow.attention(model, ids),
            text=lambda: model.generate(ids, NEW),
            generation=lambda: infoflow.generate(model, ids, NEW),
            **({"peer": other} if other else {}),
        )
    reading = (took["lens"] - took["forward"]) / took["product"]
    theirs = f" {took['peer']:.3f} s |" if "peer" in took else ""
    ms = {name: f"{1000 * seconds:,.0f} ms" if seconds < 1 else f"{seconds:.2f} s" for name, seconds in took.items()}
    return (
        f"| {shape} | {n} | {len(lens.rows)} | {ms['product']} | {ms['forward']} | {ms['lens']} | {reading:.2f} | {ms['one']} "
        f"| {memory / 1e6:,.0f} MB | {expected / 1e6:,.0f} MB |{theirs}",
        f"| {shape} | {n} | {ms['forward']} | {ms['attention']} | {took['attention'] / took['forward']:.2f} | {ms['text']} "
        f"| {ms['generation']} | {took['generation'] / took['text']:.2f} |",
    )


def kinds(shape: str, n: int) -> str:
    """A line of the third table."""
    hf: Any = shared.build(shape).requires_grad_(False)
    model = infoflow.wrap_model(hf, AutoTokenizer.from_pretrained(DEMO))
    ids, layers, width = shared.ids_of(n), hf.config.num_hidden_layers, hf.config.hidden_size
    rows = [f"L{layer}.post" for layer in range(layers - 1)]
    with tempfile.TemporaryDirectory() as folder:
        file = f"{folder}/lens.safetensors"
        maps = {row: np.eye(width, dtype=np.float32) for row in rows}
        lens = FittedLens(kind="jacobian", rows=tuple(rows), matrices=maps, d_model=width, n_layers=layers)
        infoflow.save_lens(lens, file)
        read = partial(infoflow.logit_lens, model, ids, mids=False)
        took = in_turns(
            logit=read,
            frozen=lambda: read(kind="frozen"),
            middle=lambda: read(kind="frozen", read="last", rows=[rows[len(rows) // 2]]),
            last=lambda: read(kind="frozen", read="last"),
            fitted=lambda: read(kind="jacobian", lens=file),
            contrast=lambda: read(contrast="bank"),
            both=lambda: read(kind="frozen", contrast="bank"),
        )
    over = {name: f"{seconds / took['logit']:.1f}" for name, seconds in took.items()}
    return (
        f"| {shape} | {n} | {1000 * took['logit']:,.0f} ms | {over['frozen']} | {over['middle']} "
        f"| {took['last'] / took['logit'] / (layers + 1):.2f} | {over['fitted']} | {over['contrast']} | {over['both']} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", default=list(SHAPES), choices=SHAPES)
    parser.add_argument("--tokens", type=int, default=14)
    parser.add_argument("--peer", action="store_true")
    options = parser.parse_args()
    found = [rows(shape, options.tokens, options.peer) for shape in options.shapes]
    print("| shape | tokens | rows | product | forward | lens | reading / product | one position | memory | estimated |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    print(*(first for first, _ in found), sep="\n")
    print("\n| shape | tokens | forward | attention | ratio | 20 tokens, text | with attribution | ratio |")
    print("|---|---|---|---|---|---|---|---|")
    print(*(second for _, second in found), sep="\n")
    print(
        "\n| shape | tokens | logit | frozen | last, one row | last, a row of all | fitted | logit, contrast | frozen, contrast |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    print(*(kinds(shape, options.tokens) for shape in options.shapes), sep="\n")


if __name__ == "__main__":
    main()
