"""Which row of the table of architectures a model is read by, and where its modules are."""

from collections.abc import Sequence
from typing import Any

import torch

from infoflow.errors import UnsupportedModel
from infoflow.models.architectures import (
    FAMILIES,
    PATHS_IN_ATTENTION,
    PATHS_IN_DENSE_LAYER,
    PATHS_IN_LAYER,
    PATHS_IN_MODEL,
    PATHS_IN_SPARSE_LAYER,
    Architecture,
    architectures_of,
)


def rows_that_fit(hf_model: Any) -> tuple[Architecture, ...]:
    """The rows of the table that this model may be read by: its family's, or those whose modules it has, the likeliest first.

    Raises:
        UnsupportedModel: no row fits, or the weights can't be read here.
    """
    family = hf_model.config.model_type
    missing, fitting = "", []
    for row in architectures_of(hf_model.config):
        try:
            found = modules_of(hf_model, row)
        except AttributeError as error:
            missing = missing or str(error)
            continue
        unreadable = [m for role, m in found if role == "experts" and not _readable(m)]
        if unreadable:
            raise UnsupportedModel(
                f"The experts of this '{family}' model keep their weights in a form that can't be read "
                f"({type(unreadable[0]).__name__}, perhaps quantised). Load it with plain weights (bfloat16 or float32)."
            )
        fitting.append(row)
    if fitting:
        return tuple(fitting)
    if family in FAMILIES:
        raise UnsupportedModel(
            f"This '{family}' model has no module '{missing}', so it can't be decomposed. "
            "Choose a standard checkpoint of that family."
        )
    raise UnsupportedModel(
        f"Models of type '{family}' are not supported, and no known layout fits this one. "
        f"Supported are: {', '.join(FAMILIES)}, and models built like them."
    )


def modules_of(hf_model: Any, row: Architecture) -> list[tuple[str, Any]]:
    """(role, module) of the model and of every layer.

    Raises:
        AttributeError: with the path of a module that is not there.
    """
    found = []

    def find(prefix: str, roles: tuple[str, ...]) -> None:
        for role in roles:
            path = getattr(row, role)
            if path:
                try:
                    found.append((role, hf_model.get_submodule(prefix + path)))
                except AttributeError:
                    raise AttributeError(path) from None

    find("", PATHS_IN_MODEL)
    sparse = sparse_layers(hf_model, row)
    for i in range(len(hf_model.get_submodule(row.layers))):
        find(f"{row.layers}.{i}.", PATHS_IN_LAYER)
        find(f"{row.layers}.{i}.", PATHS_IN_SPARSE_LAYER if i in sparse else PATHS_IN_DENSE_LAYER)
        find(f"{row.layers}.{i}.{row.attention}.", PATHS_IN_ATTENTION)
    return found


def sparse_layers(hf_model: Any, row: Architecture) -> tuple[int, ...]:
    """The layers that are mixtures of experts."""
    if not row.experts:
        return ()
    names = dict(hf_model.named_modules())
    n = len(hf_model.get_submodule(row.layers))
    return tuple(i for i in range(n) if f"{row.layers}.{i}.{row.experts}" in names)


def query_key_modules(hf_model: Any, row: Architecture) -> dict[str, Any]:
    """What makes queries and keys: paths of the two projections ('' where they, or the call that compares what they give, are
    not known) and of their norms ('' for none), whether a norm is over all heads side by side, and whether any adds a bias."""
    attention = hf_model.get_submodule(row.layers)[0].get_submodule(row.attention)
    there = dict(attention.named_modules())
    projections = (row.value, row.value) if row.fused else (row.query, row.key)
    norms = tuple(norm if norm in there else "" for norm in (row.query_norm, row.key_norm))
    known = all(path in there for path in projections) and not getattr(hf_model.config, "reorder_and_upcast_attn", False)
    found = [there[path] for path in {*projections, *norms} if path and path in there]
    widths = [p.shape[-1] for norm in norms if norm for p in there[norm].parameters()]
    d_head = getattr(hf_model.config, "head_dim", None) or hf_model.config.hidden_size // hf_model.config.num_attention_heads
    return {
        "projections": projections if known else ("", ""),
        "head_norms": norms,
        "norm_of_all_heads": bool(widths) and max(widths) != d_head,
        "query_key_biased": any(getattr(m, "bias", None) is not None for m in found),
    }


def neurons_of(hf_model: Any, row: Architecture) -> int:
    """Hidden units of a dense layer's MLP; 0 where every layer is a mixture of experts."""
    for layer in hf_model.get_submodule(row.layers):
        if row.down in dict(layer.named_modules()):
            module = layer.get_submodule(row.down)
            return int(getattr(module, "in_features", 0) or getattr(module, "nx", 0) or module.weight.shape[0])
    return 0


def _readable(experts: Any) -> bool:
    """Whether experts are stacked parameters laid out as `experts.py` reads them."""
    stacked = all(isinstance(getattr(experts, name, None), torch.nn.Parameter) for name in ("gate_up_proj", "down_proj"))
    flags = getattr(experts, "has_gate", False) and not getattr(experts, "has_post_expert_norm", False)
    return bool(stacked and flags and experts.gate_up_proj.is_floating_point() and experts.gate_up_proj.ndim == 3)


def passing_parameters(hf_model: Any, mapped: Sequence[tuple[str, Any]], chosen: int) -> int:
    """Parameters of all maps that a plain run takes every token through: without embeddings and unembedding, which may be one
    matrix, and without the experts that a token is not sent to (`chosen` of each layer's are)."""
    ends = [m for m in (hf_model.get_input_embeddings(), hf_model.get_output_embeddings()) if m is not None]
    of_words = sum({id(m.weight): m.weight.numel() for m in ends}.values())
    experts = [(sum(p.numel() for p in m.parameters()), m.num_experts) for role, m in mapped if role == "experts"]
    idle = sum(size * (1 - chosen / number) for size, number in experts)
    return int(hf_model.num_parameters() - of_words - idle)
