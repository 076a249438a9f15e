"""Weights read by transformers, and refused unless what was loaded is what was stored: every parameter from the file, and nothing
left over. transformers itself fills what it misses with random numbers, and says so in a log."""

import json
import struct
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from transformers import AutoConfig, AutoModelForCausalLM

from infoflow.errors import UnsupportedModel

_FLOATS = {"F64", "F32", "F16", "BF16"}
_NO_WEIGHTS = ("attn.bias", "attention.bias", "masked_bias", "position_ids", "inv_freq")
"""endings of tensors that some checkpoints hold beside weights: masks, positions"""
_TEXT_TOWERS = {"gemma3": {r"^(model\.)?language_model\.model\.": "model.", r"^(model\.)?language_model\.lm_head\.": "lm_head."}}
"""families that come with an eye, of which the text tower alone is read, and what its tensors are called then"""
_EYES = ("vision_tower.", "multi_modal_projector.", "model.vision_tower.", "model.multi_modal_projector.")


def config_of(folder: str) -> Any:
    """The configuration of a model that can be read; of one with images and text, that of its text tower.

    Raises:
        UnsupportedModel: its weights are quantised.
    """
    config = AutoConfig.from_pretrained(folder, trust_remote_code=False)
    quantised = getattr(config, "quantization_config", None)
    if quantised:
        method = quantised.get("quant_method") if isinstance(quantised, dict) else getattr(quantised, "quant_method", "")
        raise UnsupportedModel(
            f"The model's weights are quantised ({getattr(method, 'value', method) or 'by an unnamed method'}), and only a GGUF "
            "file's can be dequantised here. Choose the model that it was made from."
        )
    return config.text_config if config.model_type in _TEXT_TOWERS else config


def weights(folder: str, name: str, **how: Any) -> Any:
    """A model with the weights of a folder, and no others.

    Raises:
        UnsupportedModel: a parameter that the file lacks, a tensor that the model has no place for, another shape, no floats.
    """
    if "gguf_file" not in how:
        _refuse_integers(Path(folder), name)
        how["config"] = config_of(folder)
        family = AutoConfig.from_pretrained(folder, trust_remote_code=False).model_type
        how["key_mapping"] = _TEXT_TOWERS.get(family)
    loaded: Any = AutoModelForCausalLM.from_pretrained(
        folder,
        use_safetensors=True,
        attn_implementation="eager",
        trust_remote_code=False,
        ignore_mismatched_sizes=True,  # they are told below, with the others
        output_loading_info=True,
        **how,
    )
    model, found = loaded
    tied = set(model.all_tied_weights_keys) if getattr(model, "all_tied_weights_keys", None) else set()
    missing = sorted(set(found["missing_keys"]) - tied)
    if missing:
        raise UnsupportedModel(
            f"The weights of '{name}' are not whole: {_some(missing)} in the configuration and not in the file. What is missing "
            "would be random numbers. Check the files, or save the model again."
        )
    other = sorted({str(key[0]) if isinstance(key, tuple) else str(key) for key in found["mismatched_keys"]})
    if other:
        raise UnsupportedModel(
            f"The weights of '{name}' do not fit its configuration: {_some(other)} of another shape there. Check config.json."
        )
    aside = _EYES if how.get("key_mapping") else ()
    more = sorted(key for key in found["unexpected_keys"] if not key.endswith(_NO_WEIGHTS) and not key.startswith(aside))
    if more:
        raise UnsupportedModel(
            f"The weights of '{name}' hold more than its configuration knows: {_some(more)} not read. It is another model, or "
            "has more layers than it says. Check config.json."
        )
    return model


def _some(names: list[str]) -> str:
    """A few of them, with their verb."""
    rest = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return f"{', '.join(names[:3])}{rest} {'is' if len(names) == 1 else 'are'}"


def _refuse_integers(folder: Path, name: str) -> None:
    wrong = sorted(
        f"{tensor} ({kind})"
        for file in folder.glob("*.safetensors")
        for tensor, kind in _types(file)
        if kind not in _FLOATS and not tensor.endswith(_NO_WEIGHTS)
    )
    if wrong:
        raise UnsupportedModel(
            f"The weights of '{name}' are not stored as floats: {_some(wrong)}. Quantised weights mean nothing without their "
            "scales. Choose the model that they were made from."
        )


def _types(file: Path) -> Iterable[tuple[str, str]]:
    """Name and type of every tensor of a safetensors file; '' where its header can't be read, which transformers tells."""
    with file.open("rb") as handle:
        try:
            (size,) = struct.unpack("<Q", handle.read(8))
            header = json.loads(handle.read(min(size, 100_000_000)))
        except (struct.error, ValueError):
            return []
    return [(tensor, str(entry["dtype"])) for tensor, entry in header.items() if tensor != "__metadata__"]
