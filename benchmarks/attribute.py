"""Time and memory of an attribution to a logit: one forward and one backward pass over a long prompt.

    python benchmarks/attribute.py                              # the bundled model at 2,000 tokens, a 1B shape at 1,000
    python benchmarks/attribute.py --shapes quarter --tokens 500
    python benchmarks/attribute.py --direct [--peer]            # direct attribution alone, on SmolLM2; beside TransformerLens's

`--direct` takes what each head and MLP writes of a difference itself, 14 tokens: `direct`, the same with the split by source, a
plain forward pass, and with `--peer` TransformerLens's cache of the same run and the products of it. Medians of nine, in turns.

Memory is the peak over the weights and a short attribution, beside what `attribution.needed_bytes` reckons with. A plain
forward pass over the same prompt stands beside the time.
"""

import argparse
import copy
import statistics
import sys
import tempfile
from collections.abc import Callable
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


def direct(with_peer: bool) -> str:
    """A line of what direct attribution alone takes."""
    model = infoflow.load_model("smollm2")
    prompt, target, against = "When Mary and John went to the store, John gave a drink to", " Mary", " John"
    ids = torch.tensor([[token.id for token in model.encode(prompt)]])
    work: dict[str, Callable[[], Any]] = {
        "forward": lambda: model._hf(ids),
        "direct": lambda: infoflow.direct(model, prompt, target, against),
        "attribute": lambda: infoflow.attribute(model, prompt, target, against),
    }
    if with_peer:
        work["TransformerLens"] = peer(model, ids, [model.token_id(target), model.token_id(against)])
    times: dict[str, list[float]] = {name: [] for name in work}
    with torch.no_grad():
        for run in work.values():
            run()
        for _ in range(9):
            for name, run in work.items():
                times[name].append(shared.seconds(run))
    return ", ".join(f"{name} {statistics.median(found):.3f} s" for name, found in times.items())


def peer(model: Any, ids: torch.Tensor, of: list[int]) -> Callable[[], Any]:
    """TransformerLens's direct attribution of the same weights: what each head and MLP writes of the difference, by its cache."""
    from transformer_lens.model_bridge import TransformerBridge

    with tempfile.TemporaryDirectory() as folder:  # it reads names and settings of a tokenizer off its folder
        model.tokenizer.save_pretrained(folder)
        model._hf.config.save_pretrained(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        bridge: Any = TransformerBridge.boot_transformers(folder, hf_model=copy.deepcopy(model._hf), tokenizer=tokenizer)
    plan = model.plan()
    direction = bridge.ln_final.weight * (bridge.W_U[:, of[0]] - bridge.W_U[:, of[1]])

    def run() -> list[torch.Tensor]:
        _, cache = bridge.run_with_cache(ids)
        scale, found = cache["ln_final.hook_scale"][0, -1], []
        for layer in range(plan.n_layers):
            z = cache[f"blocks.{layer}.attn.hook_z"].view(-1, plan.n_heads, plan.d_head)[-1]
            written = torch.einsum("hd,hdm->hm", z, bridge.blocks[layer].attn.W_O)
            mlp = cache[f"blocks.{layer}.hook_mlp_out"][0, -1]
            found.append(torch.cat([written, mlp[None]]) @ direction / scale)
        return found

    return run


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", default=["demo", "1B"], choices=list(USUAL))
    parser.add_argument("--tokens", type=int, help="the same number for every shape")
    parser.add_argument("--direct", action="store_true")
    parser.add_argument("--peer", action="store_true")
    options = parser.parse_args()
    if options.direct:
        print(direct(options.peer))
        return
    print("| shape | tokens | attribute | forward pass | memory | estimated | error |\n|---|---|---|---|---|---|---|", flush=True)
    for shape in options.shapes:
        print(row(shape, options.tokens or USUAL[shape]), flush=True)


if __name__ == "__main__":
    main()
