"""What is wrong with a model's files, and the sentence that is said of it. Nothing is loaded with a random number in it."""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

import infoflow
from infoflow.errors import UnsupportedModel
from tests.helpers import tiny

FILE = "model.safetensors"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    tiny.hf_model("llama", tie_word_embeddings=False).save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    for file in whole.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def weights(change: Callable[[dict[str, torch.Tensor]], Any]) -> Callable[[Path], None]:
    """A fault of the tensors; what `change` gives takes their place, where it gives any."""

    def fault(folder: Path) -> None:
        tensors = load_file(folder / FILE)
        changed = change(tensors)
        save_file(changed if isinstance(changed, dict) else tensors, folder / FILE, metadata={"format": "pt"})

    return fault


def config(**values: Any) -> Callable[[Path], None]:
    """Other values in the configuration; None takes one out."""

    def fault(folder: Path) -> None:
        said = {**json.loads((folder / "config.json").read_text()), **values}
        (folder / "config.json").write_text(json.dumps({k: v for k, v in said.items() if v is not None}))

    return fault


def text(name: str, content: str | bytes) -> Callable[[Path], None]:
    def fault(folder: Path) -> None:
        (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return fault


def both(*faults: Callable[[Path], None]) -> Callable[[Path], None]:
    def fault(folder: Path) -> None:
        for one in faults:
            one(folder)

    return fault


def without(*endings: str) -> Callable[[Path], None]:
    return weights(lambda t: {k: v for k, v in t.items() if not k.endswith(endings)})


def pickled(folder: Path) -> None:
    torch.save(load_file(folder / FILE), folder / "pytorch_model.bin")
    (folder / FILE).unlink()


def shard_missing(folder: Path) -> None:
    names = dict.fromkeys(load_file(folder / FILE), "model-00002-of-00002.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": names}))
    (folder / FILE).unlink()


def no_tokenizer(folder: Path) -> None:
    for file in folder.glob("tokenizer*"):
        file.unlink()


def short(folder: Path) -> None:
    content = (folder / FILE).read_bytes()
    (folder / FILE).write_bytes(content[: len(content) // 2])


def as_type(kind: torch.dtype, ending: str = "up_proj.weight") -> Callable[[Path], None]:
    return weights(lambda t: {k: v.to(kind) if k.endswith(ending) else v for k, v in t.items()})


FAULTS: dict[str, tuple[Callable[[Path], None], str]] = {
    # what transformers would fill with random numbers, or leave out
    "no head": (without("lm_head.weight"), r"not whole: lm_head.weight is in the configuration and not in the file"),
    "untied config, tied file": (
        both(config(tie_word_embeddings=False), without("lm_head.weight")), r"not whole: lm_head.weight is",
    ),
    "other prefixes": (
        weights(lambda t: {k.replace("model.", "decoder."): v for k, v in t.items()}),
        r"not whole: model.embed_tokens.weight, .* and \d+ more are in the configuration",
    ),
    "a layer missing": (weights(lambda t: {k: v for k, v in t.items() if ".layers.2." not in k}), r"not whole: model.layers.2"),
    "a layer too many": (config(num_hidden_layers=2), r"more than its configuration knows: model.layers.2.* not read"),
    "a norm missing": (without("layers.1.input_layernorm.weight"), r"not whole: model.layers.1.input_layernorm.weight is"),
    "biases promised": (config(attention_bias=True), r"not whole: model.layers.0.self_attn.k_proj.bias"),
    "biases not promised": (
        weights(lambda t: t | {"model.layers.0.self_attn.q_proj.bias": torch.ones(64)}), r"more than .*q_proj.bias is not read",
    ),
    "another vocabulary": (config(vocab_size=300), r"do not fit its configuration: lm_head.weight, model.embed_tokens"),
    "another width": (config(intermediate_size=96), r"do not fit its configuration: model.layers.0.mlp"),
    # what is no float
    "fp8 without scales": (as_type(torch.float8_e4m3fn), r"not stored as floats: model.layers.0.mlp.up_proj.weight \(F8_E4M3\)"),
    "int8 without scales": (as_type(torch.int8), r"not stored as floats: .*up_proj.weight \(I8\).* Choose the model"),
    "packed bits": (as_type(torch.uint8, "down_proj.weight"), r"not stored as floats: .*down_proj.weight \(U8\)"),
    "fp8 by its config": (config(quantization_config={"quant_method": "fp8"}), r"quantised \(fp8\).* the model that it was made"),
    "bitsandbytes": (
        config(quantization_config={"quant_method": "bitsandbytes", "load_in_4bit": True}), r"quantised \(bitsandbytes\)",
    ),
    "GPTQ": (config(quantization_config={"quant_method": "gptq", "bits": 4}), r"quantised \(gptq\)"),
    # adapters
    "an adapter beside it": (text("adapter_config.json", "{}"), r"holds an adapter \(LoRA\), which would be left out. Merge it"),
    "an adapter alone": (
        both(text("adapter_config.json", "{}"), lambda f: (f / "config.json").unlink()), r"holds an adapter \(LoRA\)",
    ),
    # configurations
    "no config": (lambda f: (f / "config.json").unlink(), r"has no config.json. Choose a folder made by save_pretrained"),
    "config that is no JSON": (text("config.json", "{'a': 1,}"), r"can't be loaded: .*config.*JSON"),
    "config of nothing": (text("config.json", "{}"), r"can't be loaded: Unrecognized model"),
    "unknown family": (config(model_type="marvel"), r"can't be loaded: .*marvel"),
    "no language model": (config(model_type="bert", architectures=["BertModel"]), r"Supported are|can't be loaded"),
    "no heads at all": (config(num_attention_heads=0), r"can't be loaded: .*(Zero|zero|heads)"),
    "heads that do not share": (config(num_attention_heads=3, head_dim=None), r"can't be loaded: .*48.*|do not fit"),
    "a width in words": (config(hidden_size="many"), r"can't be loaded: .*hidden_size.*many"),
    "no layers": (config(num_hidden_layers=0), r"more than its configuration knows|no layers"),
    "an activation that is none": (config(hidden_act="swoosh"), r"can't be loaded: .*swoosh"),
    # files
    "half a file": (short, r"can't be loaded: .*(header|incomplete|MetadataIncomplete|buffer|offset)"),
    "an empty file": (text(FILE, b""), r"can't be loaded: .*[Hh]eader"),
    "a web page": (text(FILE, "<html>not found</html>"), r"can't be loaded: .*[Hh]eader"),
    "a header that lies": (text(FILE, struct.pack("<Q", 10**15) + b"{}"), r"can't be loaded: .*[Hh]eader"),
    "a shard missing": (shard_missing, r"can't be loaded: .*model-00002-of-00002.safetensors"),
    "pickled weights": (pickled, r"no safetensors weights. Pickled ones"),
    "no tokenizer": (no_tokenizer, r"can't be loaded: .*tokenizer"),
    "half a tokenizer": (text("tokenizer.json", '{"version": "1.0", "model"'), r"can't be loaded"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_the_files_is_a_sentence(fault: str, folder: Path) -> None:
    break_it, said = FAULTS[fault]
    break_it(folder)
    with pytest.raises(UnsupportedModel, match=said) as told:
        infoflow.load_model(str(folder))
    assert "\n" not in str(told.value) and len(str(told.value)) < 700


def test_what_is_whole_is_loaded_as_it_is_stored(folder: Path) -> None:
    loaded = infoflow.load_model(str(folder))
    for name, stored in load_file(folder / FILE).items():
        assert torch.equal(loaded._hf.get_parameter(name), stored), name


@pytest.mark.parametrize("kind", [torch.float64, torch.float16, torch.bfloat16])
def test_other_floats_are_read(kind: torch.dtype, folder: Path) -> None:
    as_type(kind, "weight")(folder)
    assert infoflow.check(infoflow.load_model(str(folder))).verdict == "exact"


def test_masks_and_positions_of_old_checkpoints_are_no_weights(tmp_path: Path) -> None:
    """GPT-2 files hold their causal masks as bytes, GPT-NeoX its rotary frequencies."""
    tiny.hf_model("gpt2").save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    stored = load_file(tmp_path / FILE)
    stored["transformer.h.0.attn.bias"] = torch.ones(1, 1, 8, 8, dtype=torch.uint8)
    stored["transformer.h.0.attn.masked_bias"] = torch.tensor(-1e4)
    save_file(stored, tmp_path / FILE, metadata={"format": "pt"})
    assert infoflow.check(infoflow.load_model(str(tmp_path))).verdict == "exact"
