"""The same linear view by another road: transformers' own forward pass with norms, patterns and gates replayed from a first run.

Nothing of `infoflow` computes here; its table only says which modules are norms. A first run records what every softmax, norm
and activation did; after that `post` runs the model on any input to its first layer with all of them replayed, so that
the model is an affine map: at zero it gives what the biases add, and at one token's embedding that token's part.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from infoflow.models.architectures import Architecture

NORMS = ("attention_norm", "attention_post_norm", "mlp_norm", "mlp_post_norm")


class FrozenNetwork:
    def __init__(self, hf: Any, row: Architecture, ids: list[int]) -> None:
        self.hf, self.row, self.ids = hf, row, torch.tensor([ids])
        self.layers = hf.get_submodule(row.layers)
        self.softmax: list[torch.Tensor] = []
        self.compared: list[torch.Tensor] = []
        """what each softmax over keys was given in the last run, by layer"""
        self.norm_inputs: dict[Any, torch.Tensor] = {}
        self.factors: dict[Any, torch.Tensor] = {}
        self.gates: list[torch.Tensor] = []
        self.replaying = False
        self.embeddings = torch.empty(0)
        self.everywhere = torch.empty(0)
        """what the unembedding gave in the last run, at every position"""
        self.residuals, self.logits = self._run(None)
        self.replaying = True

    def post(self, embeddings: torch.Tensor, layer: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
        """Residuals after every layer [layer, position, d] and the unembedding's last row, for this input of a layer."""
        return self._run(embeddings, layer)

    def _run(self, embeddings: torch.Tensor | None, layer: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
        out: list[torch.Tensor] = []
        last: list[torch.Tensor] = []

        def start(module: Any, args: tuple) -> Any:
            if embeddings is None:
                self.embeddings = args[0][0].clone()
                return None
            return (embeddings[None], *args[1:])

        hooks = [self.layers[layer].register_forward_pre_hook(start)]
        for layer in self.layers:
            hooks.append(
                layer.register_forward_hook(lambda m, a, y: out.append((y[0] if isinstance(y, tuple) else y)[0].clone()))
            )
            hooks += [layer.get_submodule(p).register_forward_hook(self._norm) for r in NORMS if (p := getattr(self.row, r))]
            inside = layer.get_submodule(self.row.attention).named_children()  # of queries and keys
            hooks += [m.register_forward_hook(self._norm) for name, m in inside if "norm" in name]
            if not any(name.endswith("experts") for name, _ in layer.named_modules()):
                up = layer.get_submodule(self.row.up)
                hooks.append(up.register_forward_hook(lambda m, a, y, layer=layer: self.factors.__setitem__((layer, "u"), y)))
                act = layer.get_submodule(self.row.gate)
                hooks.append(act.register_forward_hook(lambda m, a, y, layer=layer: self._act(layer, y)))
        hooks.append(self.hf.get_submodule(self.row.final_norm).register_forward_hook(self._norm))
        hooks.append(self.hf.get_submodule(self.row.unembed).register_forward_hook(lambda m, a, y: last.append(y[0])))
        with torch.no_grad(), self._softmax(), self._experts():
            self.hf(self.ids)
        for hook in hooks:
            hook.remove()
        self.everywhere = last[0]
        return torch.stack(out), last[0][-1]

    def _norm(self, module: Any, args: tuple, y: torch.Tensor) -> torch.Tensor | None:
        x = args[0]
        if not self.replaying:
            self.norm_inputs[module] = x.clone()
            return None
        seen = self.norm_inputs[module]
        eps = next(getattr(module, name) for name in ("variance_epsilon", "eps") if hasattr(module, name))
        weight = module.weight + 1 if "Gemma" in type(module).__name__ else module.weight
        if "RMS" in type(module).__name__:
            return weight * x / (seen.pow(2).mean(-1, keepdim=True) + eps).sqrt()
        sigma = (seen.var(-1, keepdim=True, unbiased=False) + eps).sqrt()
        out = weight * (x - x.mean(-1, keepdim=True)) / sigma
        return out if getattr(module, "bias", None) is None else out + module.bias

    def _act(self, layer: Any, y: torch.Tensor) -> torch.Tensor:
        if self.row.gated:
            if not self.replaying:
                self.factors[layer] = y.clone()
            return self.factors[layer]
        u = self.factors[(layer, "u")].view(y.shape)
        if not self.replaying:
            self.factors[layer] = y / u
        return self.factors[layer] * u

    @contextmanager
    def _softmax(self) -> Iterator[None]:
        plain, turn = torch.nn.functional.softmax, iter(list(self.softmax))
        self.compared = []

        def softmax(x: torch.Tensor, *args: Any, **kwargs: Any) -> torch.Tensor:
            if x.ndim == 4:
                self.compared.append(x.clone())
            if self.replaying:
                return next(turn).clone()
            self.softmax.append(plain(x, *args, **kwargs))
            return self.softmax[-1].clone()

        torch.nn.functional.softmax = softmax
        try:
            yield
        finally:
            torch.nn.functional.softmax = plain

    @contextmanager
    def _experts(self) -> Iterator[None]:
        """Gates of experts, in the order in which they are computed. The router's choice is replayed by softmax and here."""
        found = [m for m in self.hf.modules() if hasattr(m, "gate_up_proj") and hasattr(m, "_apply_gate")]
        routers = [m for m in self.hf.modules() if type(m).__name__.endswith("Router")]
        turn = iter(list(self.gates))

        def gated(module: Any, gate_up: torch.Tensor) -> torch.Tensor:
            plain = type(module)._apply_gate
            if not self.replaying:
                self.gates.append(gate_up.clone())
                return plain(module, gate_up)
            seen = next(turn)
            if module.is_concatenated:
                return module.act_fn(seen.chunk(2, -1)[0]) * gate_up.chunk(2, -1)[1]
            gate, before, up = seen[..., ::2].clamp(max=module.limit), seen[..., 1::2], gate_up[..., 1::2]
            glu = gate * torch.sigmoid(gate * module.alpha)
            return (up * before.clamp(-module.limit, module.limit) / before + 1) * glu

        def chosen(module: Any, args: tuple, out: tuple) -> tuple | None:
            if not self.replaying:
                self.factors[module] = out
                return None
            return self.factors[module]

        for module in found:
            module._apply_gate = gated.__get__(module)
        hooks = [router.register_forward_hook(chosen) for router in routers]
        try:
            yield
        finally:
            for module in found:
                del module._apply_gate
            for hook in hooks:
                hook.remove()
