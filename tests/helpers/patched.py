"""One patched run, as plain hooks on plain transformers make it: the twin of every sweep."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import numpy as np
import torch

import infoflow


def logits_of(
    model: infoflow.Model, base: Sequence[int], source: Sequence[int], site: str, layer: int, head: int | None = None,
    positions: Sequence[int] | None = None, shift: int = 0, mean: Sequence[int] | None = None,
) -> torch.Tensor:  # fmt: skip
    """Logits [position, token] of the base prompt with one site's values, of some positions and a head, from the source's run:
    of each one's counterpart, or their mean over some positions there."""
    kept: list[torch.Tensor] = []
    _run(model, source, site, layer, lambda x: kept.append(x.clone()) or x)
    at = list(range(len(base))) if positions is None else list(positions)
    at = [p for p in at if mean is not None or 0 <= p + shift < len(source)]

    def put_in(x: torch.Tensor) -> torch.Tensor:
        x = x.clone()
        columns = _columns(model, site, head, x.shape[-1])
        there = [p + shift for p in at]
        if site == "pattern":
            heads = slice(None) if head is None else [head]
            for p in at:
                x[0, heads, p] = kept[0][0, heads, p]
        else:
            for p, q in zip(at, there, strict=True):
                there_is = kept[0].view(-1, x.shape[-1])[:, columns]
                x.view(-1, x.shape[-1])[p, columns] = there_is[q] if mean is None else sum(there_is[i] for i in mean) / len(mean)
        return x

    return _run(model, base, site, layer, put_in)


def _columns(model: infoflow.Model, site: str, head: int | None, width: int) -> torch.Tensor:
    """Which columns of a site belong to a head, counted out one by one."""
    plan = model.plan()
    d = plan.d_head
    if head is None and site not in "qkv" or site not in ("z", "q", "k", "v"):
        return torch.arange(width)
    heads = [head] if head is not None else list(range(plan.n_heads if site in ("z", "q") else plan.n_kv_heads))
    if site == "z" or not plan.fused:
        return torch.tensor([h * d + i for h in heads for i in range(d)])
    if plan.fused == "blocks":
        first = {"q": 0, "k": plan.n_heads * d, "v": (plan.n_heads + plan.n_kv_heads) * d}[site]
        return torch.tensor([first + h * d + i for h in heads for i in range(d)])
    return torch.tensor([h * 3 * d + "qkv".index(site) * d + i for h in heads for i in range(d)])


def _run(
    model: infoflow.Model, ids: Sequence[int], site: str, layer: int, change: Callable[[torch.Tensor], torch.Tensor],
    grad: bool = False,
) -> torch.Tensor:  # fmt: skip
    with _hooked(model, site, layer, change), torch.set_grad_enabled(grad):
        return model._hf(torch.tensor([list(ids)]), use_cache=False).logits[0]


def two_heads(
    model: infoflow.Model, base: Sequence[int], source: Sequence[int], site: str, heads: Sequence[tuple[int, int]]
) -> torch.Tensor:
    """Logits of the base prompt with what a site holds of some heads in the source's run, all of them at once."""

    def taken(layer: int, head: int) -> Callable[[torch.Tensor], torch.Tensor]:
        kept: list[torch.Tensor] = []
        _run(model, source, site, layer, lambda x: kept.append(x.clone()) or x)

        def put_in(x: torch.Tensor) -> torch.Tensor:
            x, columns = x.clone(), _columns(model, site, head, x.shape[-1])
            x.view(-1, x.shape[-1])[:, columns] = kept[0].view(-1, x.shape[-1])[:, columns]
            return x

        return put_in

    changes = [(layer, taken(layer, head)) for layer, head in heads]
    with ExitStack() as stack, torch.no_grad():
        for layer, change in changes:
            stack.enter_context(_hooked(model, site, layer, change))
        return model._hf(torch.tensor([list(base)]), use_cache=False).logits[0]


@contextmanager
def _hooked(model: infoflow.Model, site: str, layer: int, change: Callable[[torch.Tensor], torch.Tensor]) -> Iterator[None]:
    plan, hf = model.plan(), model._hf
    block: Any = hf.get_submodule(plan.layers)[layer]
    attention = block.get_submodule(plan.attention)
    mlp = plan.mlp if layer in plan.sparse else plan.down

    def outgoing(_: Any, __: Any, out: Any) -> Any:
        return (change(out[0]), *out[1:]) if isinstance(out, tuple) else change(out)

    def incoming(_: Any, args: Any) -> Any:
        return (change(args[0]), *args[1:])

    def incoming_named(_: Any, args: Any, named: Any) -> Any:
        return (
            ((change(args[0]), *args[1:]), named) if args else (args, {**named, "hidden_states": change(named["hidden_states"])})
        )

    with ExitStack() as stack:
        if site == "pattern":
            stack.enter_context(_softmax(layer, change))
        elif site in "qkv":
            path = plan.value if plan.fused else plan.value.replace("v_proj", f"{site}_proj")
            stack.callback(attention.get_submodule(path).register_forward_hook(outgoing).remove)
        elif site == "z":
            stack.callback(attention.get_submodule(plan.output).register_forward_pre_hook(incoming).remove)
        elif site == "attn":
            owner = (
                block.get_submodule(plan.attention_post_norm)
                if plan.attention_post_norm
                else attention.get_submodule(plan.output)
            )
            stack.callback(owner.register_forward_hook(outgoing).remove)
        elif site == "mlp":
            stack.callback(block.get_submodule(plan.mlp_post_norm or mlp).register_forward_hook(outgoing).remove)
        elif site == "resid_pre":
            stack.callback(block.register_forward_pre_hook(incoming_named, with_kwargs=True).remove)
        elif site == "resid_post":
            stack.callback(block.register_forward_hook(outgoing).remove)
        else:
            raise KeyError(site)
        yield


class _softmax:
    """The attention softmax of one layer, changed: the calls on four axes come one a layer."""

    def __init__(self, layer: int, change: Callable[[torch.Tensor], torch.Tensor]) -> None:
        self.layer, self.change, self.calls = layer, change, 0

    def __enter__(self) -> None:
        self.was = torch.nn.functional.softmax

        def softmax(x: torch.Tensor, *args: Any, **named: Any) -> torch.Tensor:
            out = self.was(x, *args, **named)
            if x.ndim != 4:
                return out
            self.calls += 1
            return self.change(out) if self.calls - 1 == self.layer else out

        torch.nn.functional.softmax = softmax

    def __exit__(self, *_: Any) -> None:
        torch.nn.functional.softmax = self.was


def along_a_path(
    model: infoflow.Model, base: Sequence[int], source: Sequence[int], sender: tuple[int, int], receiver: tuple[int, int, str]
) -> torch.Tensor:
    """Logits where a head's z of the source reaches one later head's queries, keys or values alone: first a run in which every
    attention after the sender writes what it does in the base, MLPs go along; then the base's with what the receiver read."""
    plan, hf = model.plan(), model._hf
    layers = hf.get_submodule(plan.layers)
    written: dict[int, torch.Tensor] = {}
    held: list[torch.Tensor] = []
    path = plan.value if plan.fused else plan.value.replace("v_proj", f"{receiver[2]}_proj")

    def owner(index: int) -> Any:
        block = layers[index]
        attention = block.get_submodule(plan.attention)
        return block.get_submodule(plan.attention_post_norm) if plan.attention_post_norm else attention.get_submodule(plan.output)

    with ExitStack() as stack, torch.no_grad():
        for i in range(len(layers)):
            keep = owner(i).register_forward_hook(lambda _, __, out, i=i: written.update({i: out.clone()}))
            stack.callback(keep.remove)
        hf(torch.tensor([list(base)]), use_cache=False)
    z: list[torch.Tensor] = []
    _run(model, source, "z", sender[0], lambda x: z.append(x.clone()) or x)
    columns = _columns(model, "z", sender[1], z[0].shape[-1])

    def sent(x: torch.Tensor) -> torch.Tensor:
        x = x.clone()
        x[..., columns] = z[0][..., columns]
        return x

    with ExitStack() as stack, torch.no_grad():
        attention = layers[sender[0]].get_submodule(plan.attention)
        hook = attention.get_submodule(plan.output).register_forward_pre_hook(lambda _, args: (sent(args[0]), *args[1:]))
        stack.callback(hook.remove)
        for i in range(sender[0] + 1, receiver[0]):
            stack.callback(owner(i).register_forward_hook(lambda _, __, out, i=i: written[i]).remove)
        read = layers[receiver[0]].get_submodule(plan.attention).get_submodule(path)
        stack.callback(read.register_forward_hook(lambda _, __, out: held.append(out.clone())).remove)
        hf(torch.tensor([list(base)]), use_cache=False)
    part = _columns(model, receiver[2], receiver[1], held[0].shape[-1])

    def received(x: torch.Tensor) -> torch.Tensor:
        x = x.clone()
        x[..., part] = held[0][..., part]
        return x

    return _run(model, base, receiver[2], receiver[0], received)


def slopes(
    model: infoflow.Model, base: Sequence[int], source: Sequence[int], site: str, layer: int, mean: Sequence[int] | None = None
) -> Any:
    """d (logit 65 - logit 66) / dx times what x is in the source's run less what it is, by head (z, q, k, v) or position."""
    there: list[torch.Tensor] = []
    _run(model, source, site, layer, lambda x: there.append(x.detach().clone()) or x)
    here: list[torch.Tensor] = []

    def watched(x: torch.Tensor) -> torch.Tensor:
        here.append(x.detach().clone().requires_grad_())
        return here[0]

    with torch.enable_grad():
        logits = _run(model, base, site, layer, watched, grad=True)[-1]
        (slope,) = torch.autograd.grad(logits[65] - logits[66], here)
    n = len(base)
    put_in = there[0].reshape(n, -1)
    put_in = put_in if mean is None else put_in[list(mean)].mean(0)
    product = slope.reshape(n, -1) * (put_in - here[0].detach().reshape(n, -1))
    if site in ("z", "q", "k", "v"):
        plan, width = model.plan(), product.shape[-1]
        heads = range(plan.n_heads if site in ("z", "q") else plan.n_kv_heads)
        return np.array([float(product[:, _columns(model, site, head, width)].sum()) for head in heads])
    return product.sum(-1).numpy()


def straight(model: infoflow.Model, base: Sequence[int], source: Sequence[int], sender: tuple[int, int]) -> torch.Tensor:
    """Logits where a head's z of the source reaches nothing but the end: all later attention, and its layer's MLP and later ones,
    write what they do in the base."""
    plan, hf = model.plan(), model._hf
    layers = hf.get_submodule(plan.layers)
    written: dict[Any, torch.Tensor] = {}

    def writers(i: int) -> dict[str, Any]:
        attention = layers[i].get_submodule(plan.attention)
        after = plan.attention_post_norm
        return {
            "attn": layers[i].get_submodule(after) if after else attention.get_submodule(plan.output),
            "mlp": layers[i].get_submodule(plan.mlp_post_norm or plan.down),
        }

    with ExitStack() as stack, torch.no_grad():
        for i in range(len(layers)):
            for kind, module in writers(i).items():
                hook = module.register_forward_hook(lambda _, __, out, key=(i, kind): written.update({key: out.clone()}))
                stack.callback(hook.remove)
        hf(torch.tensor([list(base)]), use_cache=False)
    z: list[torch.Tensor] = []
    _run(model, source, "z", sender[0], lambda x: z.append(x.clone()) or x)
    columns = _columns(model, "z", sender[1], z[0].shape[-1])

    def sent(x: torch.Tensor) -> torch.Tensor:
        x = x.clone()
        x[..., columns] = z[0][..., columns]
        return x

    with ExitStack() as stack, torch.no_grad():
        for i in range(sender[0], len(layers)):
            for kind, module in writers(i).items():
                if kind == "mlp" or i > sender[0]:
                    stack.callback(module.register_forward_hook(lambda _, __, out, key=(i, kind): written[key]).remove)
        return _run(model, base, "z", sender[0], sent)
