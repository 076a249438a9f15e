"""Random models small enough to check by loops, and one small enough to check on paper."""

from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import infoflow

_SIZES = {
    "vocab_size": 257, "hidden_size": 48, "intermediate_size": 80, "num_hidden_layers": 3, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 256, "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0,
}  # fmt: skip
_WITH_HEAD_DIM = {**_SIZES, "head_dim": 16}
_NO_KV = {k: v for k, v in _SIZES.items() if k != "num_key_value_heads"}
_GPT2 = {"vocab_size": 257, "n_embd": 48, "n_layer": 3, "n_head": 4, "n_positions": 256, "bos_token_id": 0, "eos_token_id": 0}
_OPT = {**_NO_KV, "ffn_dim": 80, "word_embed_proj_dim": 48, "pad_token_id": 1}

_MOE = {**_WITH_HEAD_DIM, "intermediate_size": 40}

# family -> (config class, model class, sizes): every row of architectures.py, and both residual layouts of GPT-NeoX
FAMILIES: dict[str, tuple[str, str, dict[str, Any]]] = {
    "llama": ("LlamaConfig", "LlamaForCausalLM", _WITH_HEAD_DIM),
    "mistral": ("MistralConfig", "MistralForCausalLM", {**_WITH_HEAD_DIM, "sliding_window": 5}),
    "qwen2": ("Qwen2Config", "Qwen2ForCausalLM", _SIZES),
    "qwen3": ("Qwen3Config", "Qwen3ForCausalLM", _WITH_HEAD_DIM),
    "smollm3": ("SmolLM3Config", "SmolLM3ForCausalLM", _SIZES),
    "granite": (
        "GraniteConfig", "GraniteForCausalLM",
        {**_SIZES, "residual_multiplier": 0.7, "embedding_multiplier": 2.0, "logits_scaling": 3.0, "attention_multiplier": 0.3},
    ),
    "gemma": ("GemmaConfig", "GemmaForCausalLM", _WITH_HEAD_DIM),
    "gemma2": ("Gemma2Config", "Gemma2ForCausalLM", {**_WITH_HEAD_DIM, "sliding_window": 5}),
    "gemma3_text": ("Gemma3TextConfig", "Gemma3ForCausalLM", {**_WITH_HEAD_DIM, "sliding_window": 5}),
    "olmo2": ("Olmo2Config", "Olmo2ForCausalLM", _SIZES),
    "phi3": ("Phi3Config", "Phi3ForCausalLM", _SIZES),
    "phi": ("PhiConfig", "PhiForCausalLM", _SIZES),
    "cohere": ("CohereConfig", "CohereForCausalLM", _SIZES),
    "gpt2": ("GPT2Config", "GPT2LMHeadModel", _GPT2),
    "gptj": ("GPTJConfig", "GPTJForCausalLM", {**_GPT2, "rotary_dim": 4}),
    "gpt_neox": ("GPTNeoXConfig", "GPTNeoXForCausalLM", {**_NO_KV, "use_parallel_residual": True}),
    "gpt_neox, sequential": ("GPTNeoXConfig", "GPTNeoXForCausalLM", {**_NO_KV, "use_parallel_residual": False}),
    "opt": ("OPTConfig", "OPTForCausalLM", _OPT),
    "bloom": ("BloomConfig", "BloomForCausalLM", {**_NO_KV, "n_layer": 3, "n_head": 4}),
    "mixtral": ("MixtralConfig", "MixtralForCausalLM", {**_MOE, "num_local_experts": 4, "num_experts_per_tok": 2}),
    "qwen3_moe": (
        "Qwen3MoeConfig", "Qwen3MoeForCausalLM",
        {**_MOE, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 40, "mlp_only_layers": [1]},
    ),
    "gpt_oss": (
        "GptOssConfig", "GptOssForCausalLM",
        {**_MOE, "num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": 5, "swiglu_limit": 1.5},
    ),
}  # fmt: skip
LLAMA_LIKE = ("llama", "mistral", "qwen2", "qwen3")
"""those whose layout the slow twin of `slow_flow.py` follows"""
BIASED = {"qwen2", "phi", "gpt2", "gptj", "gpt_neox", "opt", "bloom", "gpt_oss"}


def tokenizer() -> PreTrainedTokenizerFast:
    """Bytes as tokens, after a beginning mark: 257 tokens, every text can be encoded."""
    vocabulary = {"<s>": 0, **{c: i + 1 for i, c in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}}
    raw = Tokenizer(models.BPE(vocabulary, []))
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    raw.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return PreTrainedTokenizerFast(tokenizer_object=raw, bos_token="<s>", eos_token="<s>")


def hf_model(family: str, seed: int = 0, **sizes: Any) -> Any:
    """A random float32 model. Norm gains and biases are not trivial; weights are large enough for attention to be uneven
    and for the gate to matter."""
    config_class, model_class, chosen = FAMILIES[family]
    chosen = {**chosen, "attn_implementation": "eager", **sizes}
    if family == "qwen2" and "head_dim" in chosen:  # has no head_dim of its own
        chosen["hidden_size"] = chosen["num_attention_heads"] * chosen.pop("head_dim")
    return _random(config_class, model_class, chosen, seed)


def other_model(name: str, **sizes: Any) -> Any:
    """The same of a family that is not in the table, by the name of its classes."""
    return _random(f"{name}Config", f"{name}ForCausalLM", {**_SIZES, "attn_implementation": "eager", **sizes})


def _random(config_class: str, model_class: str, chosen: dict[str, Any], seed: int = 0) -> Any:
    config = getattr(transformers, config_class)(**chosen)
    torch.manual_seed(seed)
    built = getattr(transformers, model_class)(config).eval()
    with torch.no_grad():
        for name, parameter in built.named_parameters():
            if parameter.ndim == 1:
                gain = name.endswith("weight") and not config.model_type.startswith("gemma")  # Gemma's weight is added to 1
                parameter.normal_(0.0, 0.3).add_(1.0 if gain else 0.0)
            else:
                embedding = any(part in name for part in ("embed", "wte", "wpe"))
                inputs = parameter.shape[1 if parameter.ndim == 2 else -1]
                parameter.normal_(0.0, 1.0 if embedding else 1.5 / inputs**0.5)
    assert built.num_parameters() < 500_000, "a tiny model must be tiny"
    return built


def model(family: str = "llama", seed: int = 0, **sizes: Any) -> "infoflow.Model":
    return infoflow.wrap_model(hf_model(family, seed, **sizes), tokenizer(), name=f"tiny-{family}")


def on_paper(n_layers: int = 1) -> "infoflow.Model":
    """One layer (or several alike), two dimensions, one head. Token 1 is (1, 1), token 2 is (1, -1): both have rms 1.

    Queries are zero, so each position attends evenly to itself and what came before; values and output are the
    identity, so attention adds the mean of the embeddings so far. The MLP's gate reads the first coordinate, its up
    projection the second, and it writes to the first.
    """
    config = LlamaConfig(
        vocab_size=257, hidden_size=2, intermediate_size=1, num_hidden_layers=n_layers, num_attention_heads=1, head_dim=2,
        num_key_value_heads=1, rms_norm_eps=0.0, tie_word_embeddings=False, attn_implementation="eager",
    )  # fmt: skip
    built = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.zero_()
        built.model.embed_tokens.weight[1] = torch.tensor([1.0, 1.0])
        built.model.embed_tokens.weight[2] = torch.tensor([1.0, -1.0])
        for layer in built.model.layers:
            layer.self_attn.v_proj.weight.copy_(torch.eye(2))
            layer.self_attn.o_proj.weight.copy_(torch.eye(2))
            layer.mlp.gate_proj.weight.copy_(torch.tensor([[1.0, 0.0]]))
            layer.mlp.up_proj.weight.copy_(torch.tensor([[0.0, 1.0]]))
            layer.mlp.down_proj.weight.copy_(torch.tensor([[1.0], [0.0]]))
            layer.input_layernorm.weight.fill_(1.0)
            layer.post_attention_layernorm.weight.fill_(1.0)
        built.model.norm.weight.fill_(1.0)
        built.lm_head.weight[1] = torch.tensor([1.0, 0.0])
        built.lm_head.weight[2] = torch.tensor([0.0, 1.0])
    return infoflow.wrap_model(built, tokenizer(), name="on-paper")
