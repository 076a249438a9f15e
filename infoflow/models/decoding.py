"""How a model continues: one token after another, greedy or sampled.

The loop itself is transformers' `generate`. What a model's own generation settings would add (repetition penalties,
top-k, temperatures) is switched off: what is sampled is the model's own distribution, at a temperature and within top-p.
"""

from collections.abc import Callable
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


def options(max_new_tokens: int, pad: int) -> dict[str, Any]:
    """Arguments of `generate` under which scores are the model's own logits."""
    return {
        "max_new_tokens": max_new_tokens, "do_sample": False, "num_beams": 1, "repetition_penalty": 1.0,
        "no_repeat_ngram_size": 0, "pad_token_id": pad, "output_scores": False, "return_dict_in_generate": False,
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
    more: dict[str, Any] = {"logits_processor": [sampler]} if sampler else {}
    with torch.no_grad():
        out = hf_model.generate(prompt, attention_mask=torch.ones_like(prompt), streamer=streamer(on_token), **arguments, **more)
    return [int(i) for i in out[0, prompt.shape[1] :]]


def check_choices(temperature: float, top_p: float) -> str:
    """What is wrong with how sampling was asked for, in a sentence; '' if nothing is."""
    if not 0 <= temperature <= 10:
        return f"The temperature is {temperature:g}; choose 0 (always the likeliest token) to 10."
    if not 0 < top_p <= 1:
        return f"top-p is {top_p:g}; choose a probability above 0, up to 1 (all tokens)."
    return ""
