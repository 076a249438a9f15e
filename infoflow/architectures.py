"""THE table: model family -> where each role of the decomposition lives, and what is odd about it.

Paths are dotted and relative: `layers`, `final_norm` and `unembed` to the model, `value`, `output` to the attention
module, the others to the layer. What can be read from the model's config (sizes, head counts) is not repeated here.
"""

from dataclasses import dataclass, fields
from typing import Any

from infoflow.errors import UnsupportedModel


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Where one family keeps each role. The defaults are Llama's."""

    layers: str = "model.layers"
    final_norm: str = "model.norm"
    unembed: str = "lm_head"
    attention: str = "self_attn"
    attention_norm: str = "input_layernorm"
    value: str = "v_proj"
    output: str = "o_proj"
    mlp_norm: str = "post_attention_layernorm"
    gate: str = "mlp.act_fn"
    up: str = "mlp.up_proj"
    down: str = "mlp.down_proj"


LLAMA = Architecture()

FAMILIES: dict[str, Architecture] = {"llama": LLAMA, "mistral": LLAMA, "qwen2": LLAMA, "qwen3": LLAMA}


def architecture_of(config: Any) -> Architecture:
    """The row of a transformers config.

    Raises:
        UnsupportedModel: no row for this `model_type`.
    """
    family = getattr(config, "model_type", None) or "unknown"
    if family not in FAMILIES:
        raise UnsupportedModel(
            f"Models of type '{family}' are not supported yet. Supported are: {', '.join(FAMILIES)}. "
            "Choose a model of one of these families."
        )
    return FAMILIES[family]


ROLES = tuple(f.name for f in fields(Architecture))
