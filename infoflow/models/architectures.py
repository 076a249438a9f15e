"""THE table: model family -> where each role of the decomposition lives, and what is odd about it.

Paths are dotted and relative: `layers`, `final_norm` and `unembed` to the model, `value` and `output` to the attention
module, the others to the layer. What can be read from the model's config (sizes, head counts, multipliers) is not
repeated here. Norms are named by what they do, since the families' own names lie: `post_attention_layernorm` is the norm
before the MLP in Llama, and the norm after attention in Gemma 2 and OLMo 2.
"""

from dataclasses import dataclass, replace
from typing import Any

from infoflow.errors import UnsupportedModel


@dataclass(frozen=True, kw_only=True)
class Architecture:
    """Where one family keeps each role. The defaults are Llama's; '' means that the family has no such module."""

    layers: str = "model.layers"
    final_norm: str = "model.norm"
    unembed: str = "lm_head"
    attention: str = "self_attn"
    attention_norm: str = "input_layernorm"
    attention_post_norm: str = ""
    """norm of what attention writes, before it is added"""
    value: str = "v_proj"
    """projection that holds the values, alone or with queries and keys"""
    fused: str = ""
    """'' for values alone, 'blocks' for [q | k | v], 'per head' for [q | k | v] head by head"""
    output: str = "o_proj"
    mlp: str = "mlp"
    mlp_norm: str = "post_attention_layernorm"
    mlp_post_norm: str = ""
    gate: str = "mlp.act_fn"
    """the activation; with `gated` its output multiplies the up projection"""
    gated: bool = True
    up: str = "mlp.up_proj"
    down: str = "mlp.down_proj"
    router: str = ""
    """of a mixture of experts; its output holds the weights and numbers of the chosen ones"""
    experts: str = ""
    """the module that holds their stacked weights; layers without it are dense, and use `gate`, `up` and `down`"""
    parallel: bool = False
    """attention and MLP both read the stream before the layer"""
    query: str = "q_proj"
    """projection of the queries, where none is `fused`"""
    key: str = "k_proj"
    query_norm: str = "q_norm"
    """norm of the queries, in models that have it"""
    key_norm: str = "k_norm"

    def projection(self, role: str) -> str:
        """The projection that holds queries ("q"), keys ("k") or values ("v"); all three in one where it is fused."""
        return self.value if self.fused else {"q": self.query, "k": self.key, "v": self.value}[role]


PATHS_IN_LAYER = ("attention", "attention_norm", "attention_post_norm", "mlp_norm", "mlp_post_norm")
PATHS_IN_DENSE_LAYER = ("gate", "up", "down")
PATHS_IN_SPARSE_LAYER = ("router", "experts")
PATHS_IN_ATTENTION = ("value", "output")
PATHS_IN_MODEL = ("layers", "final_norm", "unembed")

LLAMA = Architecture()
MIXTURE = replace(LLAMA, router="mlp.gate", experts="mlp.experts")
SANDWICH = replace(
    LLAMA,
    attention_post_norm="post_attention_layernorm",
    mlp_norm="pre_feedforward_layernorm",
    mlp_post_norm="post_feedforward_layernorm",
)
OLMO2 = replace(
    LLAMA,
    attention_norm="",
    attention_post_norm="post_attention_layernorm",
    mlp_norm="",
    mlp_post_norm="post_feedforward_layernorm",
)
PHI3 = replace(LLAMA, value="qkv_proj", fused="blocks", gate="mlp.activation_fn", up="mlp.gate_up_proj")
COHERE = replace(LLAMA, mlp_norm="", parallel=True)
PHI = replace(
    COHERE,
    query_norm="q_layernorm",
    key_norm="k_layernorm",
    final_norm="model.final_layernorm",
    output="dense",
    gate="mlp.activation_fn",
    gated=False,
    up="mlp.fc1",
    down="mlp.fc2",
)
GPT2 = Architecture(
    layers="transformer.h",
    final_norm="transformer.ln_f",
    attention="attn",
    attention_norm="ln_1",
    value="c_attn",
    fused="blocks",
    output="c_proj",
    mlp_norm="ln_2",
    gate="mlp.act",
    gated=False,
    up="mlp.c_fc",
    down="mlp.c_proj",
)
GPTJ = replace(GPT2, value="v_proj", fused="", output="out_proj", mlp_norm="", up="mlp.fc_in", down="mlp.fc_out", parallel=True)
NEOX = Architecture(
    layers="gpt_neox.layers",
    final_norm="gpt_neox.final_layer_norm",
    attention="attention",
    value="query_key_value",
    fused="per head",
    output="dense",
    gate="mlp.act",
    gated=False,
    up="mlp.dense_h_to_4h",
    down="mlp.dense_4h_to_h",
)
OPT = Architecture(
    layers="model.decoder.layers",
    final_norm="model.decoder.final_layer_norm",
    attention_norm="self_attn_layer_norm",
    output="out_proj",
    mlp_norm="final_layer_norm",
    gate="activation_fn",
    gated=False,
    up="fc1",
    down="fc2",
)
BLOOM = replace(NEOX, layers="transformer.h", final_norm="transformer.ln_f", attention="self_attention", gate="mlp.gelu_impl")

FAMILIES: dict[str, Architecture] = {
    "llama": LLAMA,
    "mistral": LLAMA,
    "smollm3": LLAMA,
    "granite": LLAMA,
    "qwen2": LLAMA,
    "qwen3": LLAMA,
    "gemma": LLAMA,
    "gemma2": SANDWICH,
    "gemma3_text": SANDWICH,
    "olmo2": OLMO2,
    "phi3": PHI3,
    "phi": PHI,
    "cohere": COHERE,
    "gpt2": GPT2,
    "gptj": GPTJ,
    "gpt_neox": NEOX,
    "opt": OPT,
    "bloom": BLOOM,
    "mixtral": MIXTURE,
    "qwen3_moe": MIXTURE,
    "gpt_oss": replace(MIXTURE, router="mlp.router"),
}


def architectures_of(config: Any) -> tuple[Architecture, ...]:
    """The row of a transformers config; for an unknown family every row, the most detailed first: whose modules are there
    may be tried, and is judged by its numbers (`infoflow.check`).

    Raises:
        UnsupportedModel: a variant of a family that its row does not describe.
    """
    family = getattr(config, "model_type", None) or "unknown"
    for attribute, plain in _MUST_BE.items():
        value = getattr(config, attribute, plain)
        if value != plain:
            raise UnsupportedModel(
                f"This '{family}' model has {attribute}={value!r}, which is not handled (only {plain!r} is). "
                "Choose another checkpoint of that family."
            )
    if family == "gpt_neox":
        return (replace(NEOX, parallel=bool(config.use_parallel_residual)),)
    if family in FAMILIES:
        return (FAMILIES[family],)
    rows = {*FAMILIES.values(), *_TRIED}
    return tuple(sorted(rows, key=lambda row: (-sum(bool(getattr(row, role)) for role in _ROLES), repr(row))))


_MUST_BE = {
    "do_layer_norm_before": True,
    "apply_residual_connection_post_layernorm": False,
    "add_cross_attention": False,
}
"""config attributes that change the forward pass in ways no row describes"""
_TRIED = (
    replace(NEOX, parallel=True),
    replace(LLAMA, gated=False),
    replace(LLAMA, gate="mlp.act", gated=False, up="mlp.c_fc", down="mlp.c_proj"),
)
"""layouts of no family above that others have (Arcee, StarCoder 2)"""
_ROLES = (*PATHS_IN_LAYER, *PATHS_IN_DENSE_LAYER, *PATHS_IN_SPARSE_LAYER, *PATHS_IN_ATTENTION)
