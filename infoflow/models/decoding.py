"""How a model continues: one token after another, greedy or sampled.

The loop itself is transformers' `generate`. What a model's own generation settings would add (penalties, suppressed or forced
tokens, least lengths, guidance, top-k) is switched off: what is sampled is the model's own distribution, at a temperature and
within top-p, and it ends with the ids that end a text.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from jaxtyping import Float

Scores = Float[torch.Tensor, "batch vocabulary"]


class Sampler:
    """Makes the largest score of each row a sample of softmax(scores / temperature) within top-p, by Gumbel's trick.

    Its numbers come from a generator of its own, so that a seed means the same whatever else this process draws.
    """

    def __init__(self, temperature: float, top_p: float, seed: int) -> None:
        self.temperature, self.top_p = temperature, top_p
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        log_p = within(scores.float() / self.temperature, self.top_p).log_softmax(-1)
        uniform = torch.rand(log_p.shape, generator=self.generator).clamp_min(1e-20).to(log_p.device)
        return log_p - (-uniform.log()).log()


def within(scores: Scores, top_p: float) -> Scores:
    """Scores with all but the likeliest tokens, whose probabilities reach `top_p` together, at minus infinity."""
    if top_p >= 1:
        return scores
    from transformers import TopPLogitsWarper  # heavy: what only asks for a text does not wait for it

    return TopPLogitsWarper(top_p)(torch.empty(0), scores)


def streamer(on_token: Callable[[int], None]) -> Any:
    """What transformers tells of the prompt once, then of each token as it comes."""
    from transformers.generation.streamers import BaseStreamer

    class Listener(BaseStreamer):
        begun = False

        def put(self, value: torch.Tensor) -> None:
            if self.begun:
                on_token(int(value.reshape(-1)[0]))
            self.begun = True

        def end(self) -> None:
            pass

    return Listener()


def options(max_new_tokens: int, pad: int, ends: set[int], anew: bool = False) -> dict[str, Any]:
    """Arguments of `generate` under which scores are the model's own logits, whatever its own settings are: each that would bend
    them is said to do nothing. `anew` reads the whole text at each step."""
    return {
        "max_new_tokens": max_new_tokens, "do_sample": False, "num_beams": 1, "num_return_sequences": 1,
        "repetition_penalty": 1.0, "encoder_repetition_penalty": 1.0, "no_repeat_ngram_size": 0,
        "encoder_no_repeat_ngram_size": 0, "bad_words_ids": None, "sequence_bias": None,
        "suppress_tokens": None, "begin_suppress_tokens": None, "forced_bos_token_id": None, "forced_eos_token_id": None,
        "min_length": 0, "min_new_tokens": None, "max_length": None, "exponential_decay_length_penalty": None, "max_time": None,
        "stop_strings": None, "guidance_scale": None, "watermarking_config": None, "renormalize_logits": False,
        "remove_invalid_values": False, "typical_p": 1.0, "epsilon_cutoff": 0.0, "eta_cutoff": 0.0, "min_p": None,
        "eos_token_id": sorted(ends) or None, "pad_token_id": pad, "use_cache": not anew,
        "output_scores": False, "return_dict_in_generate": False,
    }  # fmt: skip


def sampled(temperature: float, top_p: float) -> dict[str, Any]:
    """The same where the sampling is transformers' own, on a service."""
    return {"do_sample": True, "temperature": temperature, "top_p": top_p, "top_k": 0}


def ends_of(hf_model: Any, tokenizer: Any) -> set[int]:
    """Ids after which a model stops."""
    config = getattr(hf_model, "generation_config", None)
    of_config = getattr(config, "eos_token_id", None)
    listed = of_config if isinstance(of_config, list) else [of_config]
    return {int(i) for i in [*listed, tokenizer.eos_token_id] if i is not None}


def continue_here(
    hf_model: Any, prompt: torch.Tensor, arguments: dict[str, Any], sampler: Sampler | None, on_token: Callable[[int], None]
) -> list[int]:
    """The new token ids; `on_token` is told each as it comes, and may raise to stop."""
    from transformers import GenerationConfig

    more: dict[str, Any] = {"logits_processor": [sampler]} if sampler else {}
    its_own = hf_model.generation_config
    # what is left open would be taken from it; ends stay, for who asks meanwhile
    hf_model.generation_config = GenerationConfig(eos_token_id=arguments["eos_token_id"])
    try:
        with torch.no_grad():
            out = hf_model.generate(
                prompt, attention_mask=torch.ones_like(prompt), streamer=streamer(on_token),
                generation_config=GenerationConfig(**arguments), **more,
            )  # fmt: skip
    finally:
        hf_model.generation_config = its_own
    return [int(i) for i in out[0, prompt.shape[1] :]]


def alike(config: Any, lengths: Sequence[int]) -> list[tuple[int, int]]:
    """First and last of consecutive lengths of text that the model reads with the same position factors, so that one pass over
    the longest stands for all: all of them but where the length itself scales the rotary embedding (LongRoPE, dynamic NTK)."""
    found: list[tuple[int, int]] = []
    before: tuple[int, ...] | None = None
    for length in lengths:
        now = _factors_at(config, length)
        if now == before:
            found[-1] = (found[-1][0], length)
        else:
            found.append((length, length))
        before = now
    return found


def _factors_at(config: Any, length: int) -> tuple[int, ...]:
    """A number for each kind of layer: two lengths of the same are read with the same factors."""
    given = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    kinds = [given, *(v for v in given.values() if isinstance(v, dict))]
    longest = getattr(config, "max_position_embeddings", 0) or 0
    out = []
    for kind in kinds:
        how = str(kind.get("rope_type") or kind.get("type") or "")
        if how in ("longrope", "su"):
            own = getattr(config, "original_max_position_embeddings", None)
            out.append(int(length > (kind.get("original_max_position_embeddings") or own or longest)))
        elif "dynamic" in how:
            out.append(length if length > longest else 0)
    return tuple(out)


def check_choices(temperature: float, top_p: float) -> str:
    """What is wrong with how sampling was asked for, in a sentence; '' if nothing is."""
    if not 0 <= temperature <= 10:
        return f"The temperature is {temperature:g}; choose 0 (always the likeliest token) to 10."
    if not 0 < top_p <= 1:
        return f"top-p is {top_p:g}; choose a probability above 0, up to 1 (all tokens)."
    return ""


def after_prefix(hf_model: Any, prompt: torch.Tensor, n: int) -> tuple[torch.Tensor, dict[str, Any]]:
    """Copies of a prompt without their first `n` tokens, and what has the model go on from there: keys and values of those, which
    are the same in all copies and computed once."""
    if not n:
        return prompt, {}
    with torch.no_grad():
        kept = hf_model.base_model(prompt[:1, :n], use_cache=True).past_key_values  # without the unembedding
    kept.batch_repeat_interleave(len(prompt))
    return prompt[:, n:], {"past_key_values": kept, "use_cache": True, "attention_mask": torch.ones_like(prompt)}
