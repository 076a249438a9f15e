"""Removing every source of a prompt, one at a time: how long it takes, and how well contributions foretell what happens.

    python benchmarks/causal.py                        # 32 tokens on a quarter-size shape: time beside one run a source
    python benchmarks/causal.py --table                # the README's table, on the bundled model
    python benchmarks/causal.py --table --model smollm2

Time: `causal`, its linear split included, beside one plain forward pass of transformers a source with the same mask, in one run
of this program; the numbers of both are compared. The table: correlations over a prompt's tokens with what cutting attention to
each really does to the lead of the likeliest next token over the second, of
    linear      what each token contributes along frozen paths
    attention   the last position's attention to it, in the mean over all heads of all layers
    gradient    gradient times embedding, of the network as it is
"""

import argparse
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import decompose as shared
import numpy as np
import pandas as pd
import torch
from transformers import AutoTokenizer

import infoflow
from infoflow.analyses.causal import By, correlation
from infoflow.models.catalog import DEMO
from infoflow.text.examples import PRESETS

PROMPTS = {
    "demo": [preset.prompt for preset in PRESETS],
    "smollm2": [
        "When Mary and John went to the store, John gave a drink to",
        "The capital of France is",
        "The Eiffel Tower is in the city of",
        "The opposite of hot is",
        "Alice has a red ball and Bob has a blue ball. The ball that Bob has is",
    ],
}


def without(n: int, p: int) -> torch.Tensor:
    """The mask [1, 1, dest, src] under which no later position sees position p."""
    mask = torch.zeros(1, 1, n, n).masked_fill(torch.ones(n, n, dtype=torch.bool).triu(1), torch.finfo(torch.float32).min)
    mask[..., p + 1 :, p] = torch.finfo(torch.float32).min
    return mask


def timed(shape: str, n: int, repeats: int) -> str:
    """A line of the table of times: the smallest of some repeats of each, taken in turn."""
    hf: Any = shared.build(shape).requires_grad_(False)
    model = infoflow.load_model("demo") if shape == "demo" else infoflow.wrap_model(hf, AutoTokenizer.from_pretrained(DEMO))
    ids = shared.ids_of(n)

    @torch.no_grad()
    def one_by_one() -> np.ndarray:
        whole = model._hf(torch.tensor([ids])).logits[0, -1]
        found = [model._hf(torch.tensor([ids]), attention_mask=without(n, p)).logits[0, -1] for p in range(n - 1)]
        return np.array([float(whole[300] - whole[301] - each[300] + each[301]) for each in found])

    model._hf.set_attn_implementation("eager")
    infoflow.causal(model, ids[:4], 300, 301)
    ours, theirs, split, effects, wanted = [], [], [], np.zeros(0), np.zeros(0)
    for _ in range(repeats):
        kept: list[Any] = []
        theirs.append(shared.seconds(lambda kept=kept: kept.append(one_by_one())))
        ours.append(shared.seconds(lambda kept=kept: kept.append(infoflow.causal(model, ids, 300, 301))))
        split.append(shared.seconds(lambda: infoflow.attribute(model, ids, 300, 301)))
        wanted, effects = kept[0], kept[1].effect[:-1]
    off = float(np.abs(effects - wanted).max() / np.abs(wanted).max())
    whole, alone, plain = min(ours), min(split), min(theirs)
    return (
        f"| {shape} | {n} | {whole:.2f} s | {alone:.2f} s | {plain:.2f} s | {plain / whole:.1f} | {plain / (whole - alone):.1f} "
        f"| {off:.0e} |"
    )


def compared(model: infoflow.Model, prompt: str) -> str:
    """A line of the table of correlations: Pearson / Spearman of each, over all tokens but the last, and without the first."""
    ids = [t.id for t in model.encode(prompt)]
    target, against = (t.id for t in infoflow.decompose(model, ids, sources=["all"] * len(ids), top_k=2).top)
    tests = {by: infoflow.causal(model, ids, target, against, by=by) for by in (By.BLOCK, By.MEAN)}
    attention = infoflow.attention(model, ids).pattern[:, :, -1].mean((0, 1))
    hf: Any = model._hf
    embedded = hf.get_input_embeddings()(torch.tensor([ids])).detach().requires_grad_()
    logits = hf(inputs_embeds=embedded).logits[0, -1]
    (gradient,) = torch.autograd.grad(logits[target] - logits[against], embedded)
    by_gradient = (gradient * embedded).sum(-1)[0].detach().numpy()
    cells = []
    for test in tests.values():
        counted = test.tested & (np.arange(len(ids)) > 0)
        for values in (test.linear, attention, by_gradient):
            ranks = (pd.Series(v[counted]).rank().to_numpy() for v in (values, test.effect))
            cells.append(f"{correlation(values[counted], test.effect[counted]):.2f} / {correlation(*ranks):.2f}")
    name = f"{prompt} **{model.name_of(target).strip()}** ({model.name_of(against).strip()})".replace("|", "\\|")
    return f"| {name} | {' | '.join(cells)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", default=["quarter"], choices=list(shared.SHAPES))
    parser.add_argument("--tokens", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--table", action="store_true", help="correlations instead of times")
    parser.add_argument("--model", default="demo", choices=list(PROMPTS))
    options = parser.parse_args()
    if options.table:
        model = infoflow.load_model(options.model)
        print(
            "| prompt | linear | attention | gradient | linear, by mean | attention | gradient |\n|---|---|---|---|---|---|---|"
        )
        for prompt in PROMPTS[options.model]:
            print(compared(model, prompt), flush=True)
        return
    print("| shape | tokens | causal | of it the split | one run a source | times faster | without the split | apart |")
    print("|---|---|---|---|---|---|---|---|")
    for shape in options.shapes:
        print(timed(shape, options.tokens, options.repeats), flush=True)


if __name__ == "__main__":
    main()
