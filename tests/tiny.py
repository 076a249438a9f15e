"""Random models small enough to check by loops, and one small enough to check on paper."""

from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

import infoflow

FAMILIES: dict[str, tuple[Any, Any]] = {
    "llama": (LlamaConfig, LlamaForCausalLM),
    "mistral": (MistralConfig, MistralForCausalLM),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM),
}
BIASED = {"qwen2"}


def tokenizer() -> PreTrainedTokenizerFast:
    """Bytes as tokens, after a beginning mark: 257 tokens, every text can be encoded."""
    vocabulary = {"<s>": 0, **{c: i + 1 for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}}
    raw = Tokenizer(models.BPE(vocabulary, []))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    raw.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", eos_token="<s>")


def hf_model(family: str, seed: int = 0, **sizes: Any) -> Any:
    """A random float32 model. Norm gains are around 1, biases around 0, neither trivial; weights are large enough
    for attention to be uneven and for the gate to matter."""
    config_class, model_class = FAMILIES[family]
    chosen: dict[str, Any] = {
        "vocab_size": 257, "hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 3, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 16, "max_position_embeddings": 256, "rms_norm_eps": 1e-5,
        "attn_implementation": "eager", **sizes,
    }  # fmt: skip
    if family == "qwen2":  # has no head_dim of its own
        chosen["hidden_size"] = chosen["num_attention_heads"] * chosen.pop("head_dim")
    config = config_class(**chosen)
    torch.manual_seed(seed)
    built = model_class(config).eval()
    with torch.no_grad():
        for name, parameter in built.named_parameters():
            if parameter.ndim == 1:
                parameter.normal_(0.0, 0.3).add_(1.0 if "norm" in name else 0.0)
            else:
                parameter.normal_(0.0, 1.0 if "embed" in name else 1.5 / parameter.shape[1] ** 0.5)
    assert built.num_parameters() < 500_000, "a tiny model must be tiny"
    return built


def model(family: str = "llama", seed: int = 0, **sizes: Any) -> "infoflow.Model":
    return infoflow.wrap_model(hf_model(family, seed, **sizes), tokenizer(), name=f"tiny-{family}")


def on_paper() -> "infoflow.Model":
    """One layer, two dimensions, one head. Token 1 is (1, 1), token 2 is (1, -1): both have rms 1.

    Queries are zero, so each position attends evenly to itself and what came before; values and output are the
    identity, so attention adds the mean of the embeddings so far. The MLP's gate reads the first coordinate, its up
    projection the second, and it writes to the first.
    """
    config = LlamaConfig(
        vocab_size=257, hidden_size=2, intermediate_size=1, num_hidden_layers=1, num_attention_heads=1, head_dim=2,
        num_key_value_heads=1, rms_norm_eps=0.0, tie_word_embeddings=False, attn_implementation="eager",
    )  # fmt: skip
    built = LlamaForCausalLM(config).eval()
    layer = built.model.layers[0]
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.zero_()
        built.model.embed_tokens.weight[1] = torch.tensor([1.0, 1.0])
        built.model.embed_tokens.weight[2] = torch.tensor([1.0, -1.0])
        layer.self_attn.v_proj.weight.copy_(torch.eye(2))
        layer.self_attn.o_proj.weight.copy_(torch.eye(2))
        layer.mlp.gate_proj.weight.copy_(torch.tensor([[1.0, 0.0]]))
        layer.mlp.up_proj.weight.copy_(torch.tensor([[0.0, 1.0]]))
        layer.mlp.down_proj.weight.copy_(torch.tensor([[1.0], [0.0]]))
        for norm in (layer.input_layernorm, layer.post_attention_layernorm, built.model.norm):
            norm.weight.fill_(1.0)
        built.lm_head.weight[1] = torch.tensor([1.0, 0.0])
        built.lm_head.weight[2] = torch.tensor([0.0, 1.0])
    return infoflow.wrap_model(built, tokenizer(), name="on-paper")
