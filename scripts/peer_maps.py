"""Make `tests/analyses/peer_maps.npz`: TransformerLens's maps on the same weights, which tests hold ours against.

    pip install transformer-lens==4.3.0      # into an environment of its own; tests need only the file that this makes
    python scripts/peer_maps.py

For SmolLM2 and for small random models of three families: the lead after each head's z of the clean run was put into the
corrupted one, at all positions (`patched`), and what each head writes of the clean run's lead directly (`direct`), both
[layer, head].
"""

import copy
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import torch
from transformer_lens.model_bridge import TransformerBridge
from transformers import AutoTokenizer

import infoflow
from tests.helpers import tiny

OUT = Path(__file__).parent.parent / "tests" / "analyses" / "peer_maps.npz"
TINY = ("gpt2", "gpt_neox, sequential", "gpt_neox", "qwen2")
CLEAN, CORRUPTED = "Mary saw a", "Mary was a"


def maps(model: infoflow.Model, clean: str, corrupted: str, ids: tuple[int, int]) -> dict[str, np.ndarray]:
    """Both maps of one model."""
    base, source = (torch.tensor([[t.id for t in model.encode(text)]]) for text in (corrupted, clean))
    with tempfile.TemporaryDirectory() as folder:  # it reads names and settings of a tokenizer off its folder
        model.tokenizer.save_pretrained(folder)
        model._hf.config.save_pretrained(folder)
        tokenizer = AutoTokenizer.from_pretrained(folder)
        bridge: Any = TransformerBridge.boot_transformers(
            folder, hf_model=copy.deepcopy(model._hf), tokenizer=tokenizer, device="cpu"
        )
    _, cache = bridge.run_with_cache(source)
    plan = model.plan()
    patched = np.zeros((plan.n_layers, plan.n_heads))
    for layer in range(plan.n_layers):
        name = f"blocks.{layer}.attn.hook_z"
        for head in range(plan.n_heads):

            def put_in(z: torch.Tensor, hook: Any, name: str = name, head: int = head) -> torch.Tensor:
                z = z.clone().view(*z.shape[:2], plan.n_heads, plan.d_head)
                z[:, :, head] = cache[name].view(z.shape)[:, :, head]
                return z.view(cache[name].shape)

            logits = bridge.run_with_hooks(base, fwd_hooks=[(name, put_in)])[0, -1]
            patched[layer, head] = float(logits[ids[0]] - logits[ids[1]])
    return {"patched": patched.astype(np.float32), "direct": _direct(bridge, cache, plan, ids).astype(np.float32)}


def _direct(bridge: Any, cache: Any, plan: Any, ids: tuple[int, int]) -> np.ndarray:
    """<W_O^h z, W_U[target] - W_U[against]> at the last position, through the final norm with its scale fixed."""
    gain = bridge.ln_final.weight.detach()
    direction = gain * (bridge.W_U[:, ids[0]] - bridge.W_U[:, ids[1]]).detach()
    if getattr(bridge.ln_final, "bias", None) is not None:  # a norm that takes the mean off
        direction = direction - direction.mean()
    scale = cache["ln_final.hook_scale"][0, -1]
    found = np.zeros((plan.n_layers, plan.n_heads))
    for layer in range(plan.n_layers):
        z = cache[f"blocks.{layer}.attn.hook_z"].view(-1, plan.n_heads, plan.d_head)[-1]
        written = torch.einsum("hd,hdm->hm", z, bridge.blocks[layer].attn.W_O.detach())
        found[layer] = (written @ direction / scale).numpy()
    return found


def main() -> None:
    found: dict[str, np.ndarray] = {}
    for family in TINY:
        for kind, values in maps(tiny.model(family), CLEAN, CORRUPTED, (65, 66)).items():
            found[f"{family} {kind}"] = values
    model = infoflow.load_model("smollm2")
    clean, corrupted = (f"When Mary and John went to the store, {name} gave a drink to" for name in ("John", "Mary"))
    for kind, values in maps(model, clean, corrupted, (model.token_id(" Mary"), model.token_id(" John"))).items():
        found[f"smollm2 {kind}"] = values
    np.savez_compressed(OUT, **found)


if __name__ == "__main__":
    main()
