"""Loading: what can't be used is said in a sentence."""

import json
from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, MambaConfig, MambaForCausalLM

import infoflow
from infoflow.errors import BadPrompt, TooLarge, UnsupportedModel
from infoflow.models.architectures import FAMILIES
from tests.helpers import tiny


def test_a_saved_folder_loads_as_the_same_model(tmp_path: Path) -> None:
    hf = tiny.hf_model("qwen2")
    hf.save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    loaded = infoflow.load_model(str(tmp_path))
    ours, theirs = infoflow.decompose(loaded, "abc"), infoflow.decompose(tiny.model("qwen2"), "abc")
    assert (ours.gram == theirs.gram).all()
    assert loaded.revision.startswith("sha256:")


def test_half_precision_weights_are_computed_in_float32(tmp_path: Path) -> None:
    tiny.hf_model("llama").to(torch.bfloat16).save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    flow = infoflow.decompose(infoflow.load_model(str(tmp_path)), "abc")
    assert flow.provenance.dtype == "float32"
    assert flow.max_error < 1e-5


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "No model was named"),
        ("/no/such/folder", "There is no folder"),
        ("./nothing here", "There is no folder"),
        ("a/b/c", "There is no folder"),
    ],
)
def test_an_unknown_name_gets_a_sentence(name: str, message: str) -> None:
    with pytest.raises(UnsupportedModel, match=message):
        infoflow.load_model(name)


def test_a_hub_name_without_a_hub_gets_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(UnsupportedModel, match="no local model 'nobody/nothing-at-all', and HF_HUB_OFFLINE forbids"):
        infoflow.load_model("nobody/nothing-at-all")


def test_a_folder_that_is_no_model_gets_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UnsupportedModel, match="no config.json"):
        infoflow.load_model(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UnsupportedModel, match="can't be loaded: Unrecognized model"):
        infoflow.load_model(str(tmp_path))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "llama"}))
    with pytest.raises(UnsupportedModel, match="safetensors"):
        infoflow.load_model(str(tmp_path))


def test_a_family_that_no_row_fits_is_refused_by_name() -> None:
    hf = MambaForCausalLM(MambaConfig(vocab_size=257, hidden_size=16, num_hidden_layers=1, state_size=4))
    with pytest.raises(UnsupportedModel, match="'mamba'.*Supported are: llama"):
        infoflow.wrap_model(hf, tiny.tokenizer())


def test_weights_that_are_not_here_or_cannot_be_read_say_so() -> None:
    with torch.device("meta"):
        absent = LlamaForCausalLM(LlamaConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=1))
    with pytest.raises(UnsupportedModel, match="not on this machine"):
        infoflow.wrap_model(absent, tiny.tokenizer())
    quantised = tiny.hf_model("gpt_oss")
    experts = quantised.model.layers[0].mlp.experts
    del experts.gate_up_proj
    experts.gate_up_proj_blocks = torch.nn.Parameter(torch.zeros(4, 8, 8, dtype=torch.uint8), requires_grad=False)
    with pytest.raises(UnsupportedModel, match="can't be read.*quantised"):
        infoflow.wrap_model(quantised, tiny.tokenizer())


def test_a_variant_that_no_row_describes_is_refused_by_its_attribute() -> None:
    hf = tiny.hf_model("opt", do_layer_norm_before=False)
    with pytest.raises(UnsupportedModel, match="do_layer_norm_before=False"):
        infoflow.wrap_model(hf, tiny.tokenizer())


def test_every_family_of_the_table_is_tested() -> None:
    assert {name.split(",")[0] for name in tiny.FAMILIES} == set(FAMILIES)


def test_a_model_without_a_role_is_refused_before_it_runs() -> None:
    hf = tiny.hf_model("llama")
    del hf.model.layers[0].mlp.up_proj
    with pytest.raises(UnsupportedModel, match="mlp.up_proj"):
        infoflow.wrap_model(hf, tiny.tokenizer())


def test_more_tokens_than_the_model_has_positions_for_get_a_sentence() -> None:
    with pytest.raises(TooLarge, match="has 300 tokens; this model reads at most 256"):
        tiny.model().encode([5] * 300)


def test_traced_logits_are_the_plain_ones() -> None:
    model = tiny.model()
    ids = [0, 5, 9]

    def logits(nn, tracer):  # type: ignore[no-untyped-def]
        return nn.lm_head.output

    with torch.no_grad():
        assert torch.equal(model.run(ids, logits), model._hf(torch.tensor([ids])).logits)


def test_token_texts_join_to_the_prompt() -> None:
    model = tiny.model()
    text = "Hi <b>é</b>\n你"
    pieces = [t for t in model.encode(text) if not t.name]
    assert "".join(t.text for t in pieces if t.part <= 1) == text
    assert model.encode([5, 6])[0].id == 5


def test_a_target_of_several_tokens_lists_its_pieces() -> None:
    with pytest.raises(BadPrompt, match=r"3 tokens here \(a \| b \| c\)"):
        tiny.model().token_id("abc")
