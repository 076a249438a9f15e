"""A model that its owner goes on using: a run sees it as it must be analysed, and leaves it as it was."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from torch import nn

import infoflow
from infoflow.errors import UnsupportedModel
from infoflow.models.held import turns_of
from infoflow.models.transformers_names import attention_of
from tests.helpers import tiny


def test_a_model_that_learns_is_run_without_dropout_and_learns_on() -> None:
    hf = tiny.hf_model("gpt2", attn_pdrop=0.5, resid_pdrop=0.5, embd_pdrop=0.5)
    model = infoflow.wrap_model(hf, tiny.tokenizer())
    resting = infoflow.attention(model, "abc").pattern
    hf.train()
    hf.transformer.h[1].eval()
    modes = [m.training for m in hf.modules()]
    for _ in range(2):
        np.testing.assert_array_equal(infoflow.attention(model, "abc").pattern, resting)
        assert infoflow.decompose(model, "abc").max_error < 1e-5
        assert infoflow.generate(model, "abc", 2).max_error < 1e-5
    assert [m.training for m in hf.modules()] == modes and any(modes) and not all(modes)
    with pytest.raises(ZeroDivisionError):  # also after a run that ends in an error
        infoflow.decompose(model, "abc", on_progress=lambda done, total: 1 // 0)
    assert [m.training for m in hf.modules()] == modes


@pytest.mark.parametrize("when", ["before", "after"])
def test_another_attention_stays_the_owner_s(when: str) -> None:
    hf = tiny.hf_model("llama")
    if when == "before":
        hf.set_attn_implementation("sdpa")
    model = infoflow.wrap_model(hf, tiny.tokenizer())
    hf.set_attn_implementation("sdpa")
    pattern = infoflow.attention(model, "abc").pattern
    np.testing.assert_allclose(pattern.sum(-1), 1, atol=1e-5)
    assert attention_of(hf.config) == "sdpa" and infoflow.check(model).verdict == "exact"


def test_what_was_changed_since_is_told() -> None:
    hf = tiny.hf_model("llama")
    model = infoflow.wrap_model(hf, tiny.tokenizer())
    with torch.no_grad():
        hf.model.norm.weight.mul_(2.0)  # other values are other numbers, and no other model
    assert infoflow.decompose(model, "abc").max_error < 1e-5
    before = infoflow.logit_lens(model, "abc")
    hf.config.logits_scaling = 2.0  # what the configuration says is read anew
    assert model.plan().logit_scale == 0.5 and before.provenance.request.model == model.spec
    del hf.config.logits_scaling
    hf.resize_token_embeddings(300)
    for run in (lambda: infoflow.decompose(model, "abc"), lambda: infoflow.generate(model, "abc", 1)):
        with pytest.raises(UnsupportedModel, match="changed since it was wrapped: resized.* Wrap it again"):
            run()
    again = infoflow.wrap_model(hf, tiny.tokenizer())
    assert infoflow.check(again).verdict == "exact"
    hf.model.layers = hf.model.layers[:2]
    with pytest.raises(UnsupportedModel, match="Wrap it again"):
        infoflow.attention(again, "abc")


def test_who_wraps_the_same_module_shares_its_lock() -> None:
    hf = tiny.hf_model("llama")
    one, two = (infoflow.wrap_model(hf, tiny.tokenizer()) for _ in range(2))
    assert one.lock is two.lock is turns_of(hf).lock and one.turns is two.turns is turns_of(hf)
    assert one.lock is not infoflow.wrap_model(tiny.hf_model("llama"), tiny.tokenizer()).lock
    expected = infoflow.decompose(one, "abc").gram
    start = threading.Barrier(4)

    def run(model: "infoflow.Model") -> Any:
        start.wait()
        return [infoflow.decompose(model, "abc").gram for _ in range(5)]

    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(run, [one, two, one, two]):
            for gram in found:
                np.testing.assert_array_equal(gram, expected)


def test_an_adapter_is_not_left_out_in_silence() -> None:
    hf = tiny.hf_model("llama")
    hf.peft_config = {"default": object()}
    with pytest.raises(UnsupportedModel, match=r"has an adapter \(LoRA\) on it.* Merge it first"):
        infoflow.wrap_model(hf, tiny.tokenizer())


class Lora(nn.Module):
    """What peft puts in a linear layer's place."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base_layer = base
        self.lora_A = nn.Linear(base.in_features, 2, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.base_layer(x)


def test_one_that_is_put_in_later_is_noticed() -> None:
    hf = tiny.hf_model("llama")
    model = infoflow.wrap_model(hf, tiny.tokenizer())
    hf.model.layers[0].self_attn.q_proj = Lora(hf.model.layers[0].self_attn.q_proj)
    with pytest.raises(UnsupportedModel, match="layers or adapters put in"):
        infoflow.decompose(model, "abc")


def test_gemma_3_as_it_comes_is_read_through_its_text_tower(tmp_path: Path) -> None:
    """With an eye: the same numbers as the model of text alone."""
    text = tiny.hf_model("gemma3_text").config.to_dict()
    vision = {"hidden_size": 32, "intermediate_size": 37, "num_hidden_layers": 1, "num_attention_heads": 4, "image_size": 28}
    config = transformers.Gemma3Config(
        text_config=text, vision_config={**vision, "patch_size": 14}, mm_tokens_per_image=4, image_token_index=256,
        boi_token_index=255, eoi_token_index=254,
    )  # fmt: skip
    torch.manual_seed(0)
    whole = transformers.Gemma3ForConditionalGeneration(config).eval()
    whole.save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    model = infoflow.load_model(str(tmp_path))
    assert type(model._hf).__name__ == "Gemma3ForCausalLM" and infoflow.check(model).verdict == "exact"
    ids = torch.tensor([[t.id for t in model.encode("abc")]])
    with torch.no_grad():
        expected = whole(ids).logits[0].topk(5).values
    np.testing.assert_allclose(infoflow.logit_lens(model, "abc", k=5).logits[-1], expected, rtol=1e-5, atol=1e-5)
