"""Interventions by hand: hooks on a plain transformers model; of `infoflow` only its table of module names has a part in it."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

import infoflow
from infoflow.interventions import Block, Intervention, Scale, Zero
from infoflow.models.architectures import Architecture
from infoflow.models.held import as_analysed


def logits(model: infoflow.Model, ids: Sequence[int], stack: Sequence[Intervention]) -> torch.Tensor:
    """[position, vocabulary] of the plain model under hooks. Layers and positions are numbers or None here, as heads are."""
    with hooked(model, stack, len(ids)), torch.no_grad(), as_analysed(model._hf, model._shapes):
        return model._hf(torch.tensor([list(ids)])).logits[0].float()


@contextmanager
def hooked(model: infoflow.Model, stack: Sequence[Intervention], n: int) -> Iterator[None]:
    hf, row = model._hf, model.architecture
    with ExitStack() as hooks:
        for one in sorted(stack, key=lambda one: getattr(one, "site", "") == "resid_mid"):  # it sees what others have changed
            layers = hf.get_submodule(row.layers)
            for layer in layers if one.layers is None else [layers[one.layers]]:
                hook = _block(hf, row, layer, one, n) if isinstance(one, Block) else _scale(hf, row, layer, one, n)
                for handle in hook:
                    hooks.callback(handle.remove)
        yield


def _block(hf: Any, row: Architecture, layer: Any, one: Block, n: int) -> list[Any]:
    def cut(module: Any, args: tuple, named: dict[str, Any]) -> Any:
        mask = named["attention_mask"].expand(-1, hf.config.num_attention_heads, -1, -1).clone()
        heads = range(mask.shape[1]) if one.heads is None else [one.heads]
        for head in heads:
            for reads in range(n) if one.destination is None else [one.destination % n]:
                if one.source <= reads:
                    mask[:, head, reads, one.source] = torch.finfo(mask.dtype).min
        return args, {**named, "attention_mask": mask}

    return [layer.get_submodule(row.attention).register_forward_pre_hook(cut, with_kwargs=True)]


def _scale(hf: Any, row: Architecture, layer: Any, one: Zero | Scale, n: int) -> list[Any]:
    times = 0.0 if isinstance(one, Zero) else one.factor
    at = slice(None) if one.positions is None else one.positions % n
    attention = layer.get_submodule(row.attention)
    width = getattr(hf.config, "head_dim", None) or hf.config.hidden_size // hf.config.num_attention_heads
    columns = slice(None) if getattr(one, "head", None) is None else slice(one.head * width, (one.head + 1) * width)

    def scaled(x: torch.Tensor) -> torch.Tensor:
        y = x.clone().reshape(n, -1)
        y[at, columns] *= times
        return y.view(x.shape)

    def after(module: Any, args: tuple, out: Any) -> Any:
        return (scaled(out[0]), *out[1:]) if isinstance(out, tuple) else scaled(out)

    def before(module: Any, args: tuple) -> Any:
        return (scaled(args[0]), *args[1:])

    def middle(module: Any, args: tuple, out: torch.Tensor) -> torch.Tensor:
        times_written = getattr(hf.config, "residual_multiplier", 1.0)
        return (scaled(seen["x"] + times_written * out) - seen["x"]) / times_written

    written = layer.get_submodule(row.attention_post_norm) if row.attention_post_norm else attention.get_submodule(row.output)
    if one.site in ("embed", "resid_pre"):
        return [layer.register_forward_pre_hook(before)]
    if one.site == "resid_post":
        return [layer.register_forward_hook(after)]
    if one.site == "z":
        return [attention.get_submodule(row.output).register_forward_pre_hook(before)]
    if one.site == "attn":
        return [written.register_forward_hook(after)]
    if one.site == "mlp":
        sparse = row.experts and row.experts in dict(layer.named_modules())
        mlp = layer.get_submodule(row.mlp_post_norm or (row.mlp if sparse else row.down))
        return [mlp.register_forward_hook(after)]
    seen: dict[str, torch.Tensor] = {}
    keep = layer.register_forward_pre_hook(lambda module, args: seen.update(x=args[0]))
    return [keep, written.register_forward_hook(middle)]
