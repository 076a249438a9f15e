"""A sweep of all heads: how long it takes beside one plain forward pass a head, and beside what a perfect restart would take.

    python benchmarks/patching.py                    # SmolLM2, 14 tokens, and a GPT-2-small shape, 16 tokens
    python benchmarks/patching.py --peer             # with TransformerLens's own sweep, where it is installed

Each head's z is taken from the clean run at all positions. Everything is timed in one run of this program, in turn, and the
smallest of some repeats counts:

    ours       `infoflow.patch(..., site="z")`, the two runs and all outcomes included, and the same where the first word differs
               already, so that no position is shared
    plain      one forward pass of transformers a head with a hook, of some heads, times all of them
    batch      a layer's heads as one batch of transformers, without restart, of some layers, times all of them
    limit      the multiplications that a perfect restart needs (every run from its layer on, at the positions that differ), at
               the speed of this machine's own product of this shape

The table also has the largest difference of a patched lead from the plain pass's.
"""

import argparse
import copy
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import decompose as shared
import numpy as np
import torch
from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

import infoflow
from infoflow.models.catalog import DEMO

CLEAN = "When Mary and John went to the store, John gave a drink to"
CORRUPTED = "When Mary and John went to the store, Mary gave a drink to"


def gpt2_small() -> infoflow.Model:
    """Twelve layers of twelve heads, random weights, a small vocabulary's tokenizer."""
    torch.manual_seed(0)
    hf = GPT2LMHeadModel(GPT2Config(attn_implementation="eager")).eval().requires_grad_(False)
    return infoflow.wrap_model(hf, AutoTokenizer.from_pretrained(DEMO), name="gpt2-small shape")


def plain(
    model: infoflow.Model, base: list[int], z: list[torch.Tensor], pair: list[tuple[int, int]], ids: list[int]
) -> np.ndarray:
    """The lead of one forward pass a head."""
    plan = model.plan()
    layers = model._hf.get_submodule(plan.layers)
    found = []
    for layer, head in pair:
        part = slice(head * plan.d_head, (head + 1) * plan.d_head)

        def put_in(_: Any, args: Any, layer: int = layer, part: slice = part) -> Any:
            x = args[0].clone()
            x[0, :, part] = z[layer][:, part]
            return (x, *args[1:])

        hook = layers[layer].get_submodule(f"{plan.attention}.{plan.output}").register_forward_pre_hook(put_in)
        with torch.no_grad():
            logits = model._hf(torch.tensor([base]), use_cache=False).logits[0, -1]
        hook.remove()
        found.append(float(logits[ids[0]] - logits[ids[1]]))
    return np.array(found)


def row(name: str, model: infoflow.Model, clean: Any, corrupted: Any, ids: list[int], repeats: int) -> str:
    """A line of the table."""
    from infoflow.traced.interventions import states_at

    plan, sizes = model.plan(), model.sizes()
    base, source = ([t.id for t in model.encode(text)] for text in (corrupted, clean))
    z = model.run(source, states_at, model.plan(), [(layer, "z") for layer in range(plan.n_layers)])
    model._hf.set_attn_implementation("eager")
    heads = [(layer, head) for layer in range(plan.n_layers) for head in range(plan.n_heads)]
    some = heads[:: max(1, len(heads) // 12)]
    early = [source[0] + 1, *base[1:]]  # the first token differs: nothing is shared
    ours, whole, one, batch = [], [], [], []
    leads, wanted = np.zeros(0), np.zeros(0)
    for _ in range(repeats):
        kept: list[Any] = []

        def sweep(other: Any, kept: list[Any] = kept) -> None:
            kept.append(infoflow.patch(model, clean, other, "z", target=ids[0], against=ids[1]))

        def layer_at_once() -> None:
            with torch.no_grad():
                model._hf(torch.tensor([base] * plan.n_heads), use_cache=False, logits_to_keep=1)

        ours.append(shared.seconds(lambda sweep=sweep: sweep(corrupted)))
        whole.append(shared.seconds(lambda sweep=sweep: sweep(early)))
        one.append(shared.seconds(lambda kept=kept: kept.append(plain(model, base, z, some, ids))) / len(some) * len(heads))
        batch.append(shared.seconds(layer_at_once) * plan.n_layers)
        leads, wanted = kept[0].effect()[..., 0], kept[2]
    off = float(np.abs(np.array([leads[pair] for pair in some]) - wanted).max())
    first = next(p for p, (a, b) in enumerate(zip(base, source, strict=True)) if a != b)
    of_layer = (sizes.parameters - sizes.vocabulary * sizes.d_model) / plan.n_layers
    work = plan.n_heads * plan.n_layers * (plan.n_layers + 1) / 2 * of_layer
    limits = [work * (len(base) - shared_first) / model.speed() for shared_first in (first, 0)]
    a, b, c, d = min(ours), min(whole), min(one), min(batch)
    return (
        f"| {name} | {len(heads)} | {len(base)} | {a:.2f} s ({limits[0]:.2f} s) | {b:.2f} s ({limits[1]:.2f} s) | {d:.1f} s | "
        f"{c:.1f} s | {c / a:.1f} | {c / b:.1f} | {off:.0e} |"
    )


def peer(repeats: int) -> str:
    """TransformerLens's own sweep of the same on the same weights."""
    try:
        from transformer_lens import patching
        from transformer_lens.model_bridge import TransformerBridge
    except ImportError:
        return "TransformerLens is not installed: no line of it."
    model = infoflow.load_model("smollm2")
    with tempfile.TemporaryDirectory() as folder:  # it reads names and settings of a tokenizer off its folder
        model.tokenizer.save_pretrained(folder)
        model._hf.config.save_pretrained(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        bridge: Any = TransformerBridge.boot_transformers(folder, hf_model=copy.deepcopy(model._hf), tokenizer=tokenizer)
    clean, corrupted = (torch.tensor([[t.id for t in model.encode(text)]]) for text in (CLEAN, CORRUPTED))
    _, cache = bridge.run_with_cache(clean)
    ids = [model.token_id(" Mary"), model.token_id(" John")]

    def metric(logits: torch.Tensor) -> torch.Tensor:
        return logits[0, -1, ids[0]] - logits[0, -1, ids[1]]

    times = [
        shared.seconds(lambda: patching.get_act_patch_attn_head_out_all_pos(bridge, corrupted, cache, metric))
        for _ in range(repeats)
    ]
    return f"TransformerLens: {min(times):.1f} s"


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--peer", action="store_true")
    chosen = options.parse_args()
    print(
        "| model | heads | tokens | ours (limit) | nothing shared (limit) | batch a layer | pass a head | times | times | off |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    smollm2 = infoflow.load_model("smollm2")
    ids = [smollm2.token_id(" Mary"), smollm2.token_id(" John")]
    print(row("SmolLM2", smollm2, CLEAN, CORRUPTED, ids, chosen.repeats))
    clean = shared.ids_of(16)
    corrupted = [*clean[:8], clean[8] + 1, *clean[9:]]
    print(row("GPT-2-small shape", gpt2_small(), clean, corrupted, [300, 301], chosen.repeats))
    if chosen.peer:  # once: it takes long
        print(peer(1))


if __name__ == "__main__":
    main()
