"""GGUF files: what is read is what the file's own library dequantises, it is said to be so, and other files get a sentence."""

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from gguf import GGMLQuantizationType as Kind
from gguf import quants
from safetensors import SafetensorError

import infoflow
from infoflow.errors import Cancelled, UnsupportedModel
from infoflow.models import gguf as ours
from tests.helpers import hub_server, tiny

NAMES = {
    "model.embed_tokens.weight": "token_embd.weight", "model.norm.weight": "output_norm.weight",
    "lm_head.weight": "output.weight",
    "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm", "model.layers.": "blk.",
}  # fmt: skip


@pytest.fixture(scope="module")
def hf() -> Any:
    return tiny.hf_model("llama", hidden_size=64, intermediate_size=96, head_dim=16, tie_word_embeddings=False)


def turned(rows: np.ndarray, heads: int) -> np.ndarray:
    """Queries and keys as llama.cpp keeps them: each head's halves interleaved."""
    return rows.reshape(heads, 2, rows.shape[0] // heads // 2, -1).swapaxes(1, 2).reshape(rows.shape)


def write(hf: Any, file: Path, kind: Kind, architecture: str = "llama", leave_out: str = "") -> dict[str, np.ndarray]:
    """The model as a GGUF file with its matrices of a kind. What its own library makes of them, by the model's names."""
    config, writer, kept = hf.config, gguf.GGUFWriter(file, architecture), {}
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(256)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(config.head_dim)
    writer.add_value_length(config.head_dim)
    writer.add_rope_dimension_count(config.head_dim)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_vocab_size(config.vocab_size)
    tokens = tiny.tokenizer()
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([*tokens.convert_ids_to_tokens(list(range(256))), "ab"])
    writer.add_token_types([3, *[1] * 256])
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)
    for name, value in hf.state_dict().items():
        there = name
        for ours_, theirs in NAMES.items():
            there = there.replace(ours_, theirs)
        if leave_out and leave_out in there:
            continue
        array = value.numpy()
        heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(name.split(".")[-2], 0)
        array = turned(array, heads) if heads else array
        as_kind = kind if array.ndim == 2 else Kind.F32
        packed = quants.quantize(array, as_kind)
        writer.add_tensor(there, packed, raw_dtype=as_kind)
        kept[name] = quants.dequantize(packed, as_kind)
        if heads:
            back = kept[name].reshape(heads, array.shape[0] // heads // 2, 2, -1).swapaxes(1, 2)
            kept[name] = back.reshape(array.shape)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return kept


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INFOFLOW_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.mark.parametrize(
    ("kind", "said"),
    [(Kind.Q8_0, "8-bit weights, dequantised"), (Kind.Q4_1, "4-bit weights, dequantised"), (Kind.F16, "16-bit weights")],
)
def test_weights_are_what_the_file_s_own_library_dequantises(kind: Kind, said: str, hf: Any, tmp_path: Path) -> None:
    kept = write(hf, tmp_path / "tiny.gguf", kind)
    told: list[tuple[str, float]] = []
    model = infoflow.load_model(str(tmp_path / "tiny.gguf"), on_progress=lambda *said: told.append(said))
    for name, value in kept.items():
        np.testing.assert_allclose(model._hf.get_parameter(name).numpy(), value, rtol=1e-6, atol=1e-7, err_msg=name)
    assert infoflow.check(model).verdict == "exact" and model.stored == said and model.dtype == "float32"
    assert infoflow.decompose(model, "abc").provenance.weights == said
    doing = list(dict.fromkeys(what for what, _ in told))
    assert "Dequantising the weights" in doing and "Keeping the dequantised weights" in doing
    told.clear()
    again = infoflow.load_model(str(tmp_path / "tiny.gguf"), on_progress=lambda *said: told.append(said))
    assert "Dequantising the weights" not in [what for what, _ in told] and again.revision == model.revision
    assert torch.equal(again._hf.lm_head.weight, model._hf.lm_head.weight) and again.stored == said


def test_dequantising_can_be_stopped_and_leaves_nothing(hf: Any, tmp_path: Path, cache: Path) -> None:
    write(hf, tmp_path / "tiny.gguf", Kind.Q8_0)

    def stop(doing: str, fraction: float) -> None:
        if doing == "Dequantising the weights" and fraction > 0.3:
            raise Cancelled("The run was stopped.")

    with pytest.raises(Cancelled):
        infoflow.load_model(str(tmp_path / "tiny.gguf"), on_progress=stop)
    assert not list((cache / "gguf").iterdir())
    assert infoflow.load_model(str(tmp_path / "tiny.gguf")).n_layers == 3


@pytest.mark.parametrize("full", [OSError(28, "No space left on device"), SafetensorError("I/O error: No space left on device")])
def test_a_full_disk_is_a_sentence_and_leaves_nothing(
    full: Exception, hf: Any, tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(hf, tmp_path / "tiny.gguf", Kind.Q8_0)

    def fail(kept: Any, file: Path, metadata: Any) -> None:
        file.write_bytes(b"half")
        raise full

    with monkeypatch.context() as patch, pytest.raises(UnsupportedModel, match="No space left on device. Nothing of it was kept"):
        patch.setattr(ours, "save_file", fail)
        infoflow.load_model(str(tmp_path / "tiny.gguf"))
    assert not list((cache / "gguf").iterdir())
    assert infoflow.load_model(str(tmp_path / "tiny.gguf")).n_layers == 3


def test_one_on_the_hub_is_fetched_by_its_name(hf: Any, server: hub_server.Hub) -> None:
    write(hf, server.folders["tiny/llama"] / "tiny.Q8_0.gguf", Kind.Q8_0)
    model = infoflow.load_model("tiny/llama:tiny.Q8_0.gguf", folders=False)
    assert model.stored == "8-bit weights, dequantised" and infoflow.check(model).verdict == "exact"
    assert not [a for a in server.asked if "safetensors" in a]
    server.asked.clear()
    assert infoflow.load_model("tiny/llama@main:tiny.Q8_0.gguf").revision == model.revision and server.asked == []
    with pytest.raises(UnsupportedModel, match="has no file 'other.gguf' on the hub. It has: tiny.Q8_0.gguf."):
        infoflow.load_model("tiny/llama:other.gguf")
    with pytest.raises(UnsupportedModel, match="There is no model 'tiny/none'"):
        infoflow.load_model("tiny/none:tiny.Q8_0.gguf")


def test_other_files_get_a_sentence(hf: Any, tmp_path: Path) -> None:
    file = tmp_path / "tiny.gguf"
    write(hf, file, Kind.Q8_0)
    whole = file.read_bytes()
    for content in (b"", b"<html>not found</html>", whole[: len(whole) // 2], whole[:40]):
        file.write_bytes(content)
        with pytest.raises(UnsupportedModel, match="'tiny.gguf' is no GGUF file, or not whole"):
            infoflow.load_model(str(file))
    write(hf, tmp_path / "marvel.gguf", Kind.Q8_0, architecture="marvel")
    with pytest.raises(UnsupportedModel, match="can't read the architecture 'marvel' from a GGUF file. Take the model's"):
        infoflow.load_model(str(tmp_path / "marvel.gguf"))
    write(hf, tmp_path / "less.gguf", Kind.Q8_0, leave_out="blk.1.ffn_up")
    with pytest.raises(UnsupportedModel, match="'less.gguf' are not whole: model.layers.1.mlp.up_proj.weight is"):
        infoflow.load_model(str(tmp_path / "less.gguf"))
    part = tmp_path / "big-00001-of-00003.gguf"
    part.write_bytes(whole)
    with pytest.raises(UnsupportedModel, match="one part of several. Join them first"):
        infoflow.load_model(str(part))
    with pytest.raises(UnsupportedModel, match="There is no such file"):
        infoflow.load_model(str(tmp_path / "none.gguf"))
    with pytest.raises(UnsupportedModel, match="^Give a name on the hub"):
        infoflow.load_model(str(file), folders=False)
    with pytest.raises(UnsupportedModel, match="runs here"):
        infoflow.load_model(str(file), remote=True, host="http://127.0.0.1:9")


@pytest.mark.parametrize(
    ("kind", "bits"),
    [("Q4_1", 4), ("Q8_0", 8), ("IQ3_XXS", 3), ("BF16", 16), ("F32", 32), ("MXFP4", 4), ("TQ1_0", 2), ("Q6_K", 6)],
)
def test_bits_of_a_type(kind: str, bits: int) -> None:
    assert ours._bits(kind) == bits
