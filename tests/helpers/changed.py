"""Interventions by hand: hooks on a plain transformers model; of `infoflow` only its table of module names has a part in it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

import infoflow
from infoflow.interventions import AtSite, Block, Intervention, Mean, Reject, Replace, Resample, Scale, Steer, Zero
from infoflow.models.architectures import Architecture
from infoflow.models.held import as_analysed

Change = Callable[[torch.Tensor], torch.Tensor]
Others = dict[str, list[int]]
"""token ids of other prompts, by their text; of a neutral text by its draw, such as "draw 0\""""


def logits(
    model: infoflow.Model,
    ids: Sequence[int],
    stack: Sequence[Intervention],
    others: Others | None = None,
    n_prompt: int | None = None,
) -> torch.Tensor:
    """[position, vocabulary] of the plain model under hooks. Layers and positions are numbers or None here, as heads are; a mean
    is over the first `n_prompt` positions."""
    stack = [(one, _other_values(model, one, others or {})) for one in stack]
    with hooked(model, stack, len(ids), n_prompt or len(ids)), torch.no_grad(), as_analysed(model._hf, model._shapes):
        return model._hf(torch.tensor([list(ids)])).logits[0].float()


def states(model: infoflow.Model, ids: Sequence[int], one: AtSite) -> dict[int, torch.Tensor]:
    """What stands at an intervention's site in a plain run, [position, width], by layer."""
    seen: dict[int, torch.Tensor] = {}

    def keep(layer: int) -> Change:
        def kept(x: torch.Tensor) -> torch.Tensor:
            seen[layer] = x.clone()
            return x

        return kept

    with ExitStack() as hooks, torch.no_grad(), as_analysed(model._hf, model._shapes):
        layers = list(model._hf.get_submodule(model.architecture.layers))
        for number in _numbers(one.layers, len(layers)):
            for handle in _at(model._hf, model.architecture, layers[number], one.site, len(ids), keep(number)):
                hooks.callback(handle.remove)
            if one.site == "embed":
                break
        model._hf(torch.tensor([list(ids)]))
    return seen


def _numbers(given: Any, n: int) -> list[int]:
    return list(range(n)) if given is None else [given]


@contextmanager
def hooked(model: infoflow.Model, stack: Sequence[tuple[Intervention, Any]], n: int, n_prompt: int) -> Iterator[None]:
    hf, row = model._hf, model.architecture
    with ExitStack() as hooks:
        for one, other in sorted(stack, key=lambda pair: getattr(pair[0], "site", "") == "resid_mid"):  # it sees what others did
            layers = list(hf.get_submodule(row.layers))
            for number in _numbers(one.layers if getattr(one, "site", "") != "embed" else 0, len(layers)):
                if isinstance(one, Block):
                    hook = _block(hf, row, layers[number], one, n)
                else:
                    hook = _at(
                        hf,
                        row,
                        layers[number],
                        one.site,
                        n,
                        _change(hf, one, n_prompt, n, None if other is None else other[number]),
                    )
                for handle in hook:
                    hooks.callback(handle.remove)
        yield


def _other_values(model: infoflow.Model, one: Intervention, others: Others) -> Any:
    """What other prompts' runs say, by layer."""
    if isinstance(one, Replace):
        return states(model, others[one.prompt], one)
    if isinstance(one, Resample):
        return states(model, others[f"draw {one.seed}"], one)
    if isinstance(one, Mean) and one.prompts:
        runs = [states(model, others[text], one) for text in one.prompts]
        return {layer: torch.cat([run[layer] for run in runs]).mean(0) for layer in runs[0]}
    if isinstance(one, Steer | Reject) and isinstance(one.direction[0], str) and one.direction != "first":
        towards, away = (states(model, others[text], one) for text in one.direction)
        return {layer: towards[layer][-1] - away[layer][-1] for layer in towards}
    return None


def _change(hf: Any, one: AtSite, n_prompt: int, n: int, other: torch.Tensor | None) -> Change:
    """What an intervention makes of x [position, width]."""
    width = getattr(hf.config, "head_dim", None) or hf.config.hidden_size // hf.config.num_attention_heads
    columns: Any = slice(None) if one.head is None else slice(one.head * width, (one.head + 1) * width)
    columns = columns if one.neurons is None else [one.neurons] if isinstance(one.neurons, int) else list(one.neurons)
    every = list(range(n))[1:] if isinstance(one, Reject) and one.direction == "first" else list(range(n))
    at = every if one.positions is None else [one.positions % n_prompt]

    def changed(x: torch.Tensor) -> torch.Tensor:
        y = x.clone()
        for p in at:
            old = x[p, columns]
            if isinstance(one, Zero):
                y[p, columns] = 0.0
            elif isinstance(one, Scale):
                y[p, columns] = old * one.factor
            elif isinstance(one, Mean):
                y[p, columns] = (x[:n_prompt].mean(0) if other is None else other)[columns]
            elif isinstance(one, Replace | Resample):
                y[p, columns] = other[p, columns]
            else:
                way = x[0] if one.direction == "first" else torch.tensor(one.direction) if other is None else other
                way = way[columns] if len(way) == x.shape[1] else way
                part = one.factor * way if isinstance(one, Steer) else -(old @ way) / (way @ way) * way
                y[p, columns] = old + part
        return y

    return changed


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


def _at(hf: Any, row: Architecture, layer: Any, site: str, n: int, change: Change) -> list[Any]:
    """Hooks that put a change where a site is."""
    attention = layer.get_submodule(row.attention)

    def changed(x: torch.Tensor) -> torch.Tensor:
        return change(x.reshape(n, -1)).view(x.shape)

    def after(module: Any, args: tuple, out: Any) -> Any:
        return (changed(out[0]), *out[1:]) if isinstance(out, tuple) else changed(out)

    def before(module: Any, args: tuple) -> Any:
        return (changed(args[0]), *args[1:])

    def middle(module: Any, args: tuple, out: torch.Tensor) -> torch.Tensor:
        times_written = getattr(hf.config, "residual_multiplier", 1.0)
        return (changed(seen["x"] + times_written * out) - seen["x"]) / times_written

    written = layer.get_submodule(row.attention_post_norm) if row.attention_post_norm else attention.get_submodule(row.output)
    if site in ("embed", "resid_pre"):
        return [layer.register_forward_pre_hook(before)]
    if site == "resid_post":
        return [layer.register_forward_hook(after)]
    if site == "z":
        return [attention.get_submodule(row.output).register_forward_pre_hook(before)]
    if site == "neurons":
        return [layer.get_submodule(row.down).register_forward_pre_hook(before)]
    if site == "attn":
        return [written.register_forward_hook(after)]
    if site == "mlp":
        sparse = row.experts and row.experts in dict(layer.named_modules())
        mlp = layer.get_submodule(row.mlp_post_norm or (row.mlp if sparse else row.down))
        return [mlp.register_forward_hook(after)]
    seen: dict[str, torch.Tensor] = {}
    keep = layer.register_forward_pre_hook(lambda module, args: seen.update(x=args[0]))
    return [keep, written.register_forward_hook(middle)]
