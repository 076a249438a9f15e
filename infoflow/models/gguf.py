"""GGUF files, as llama.cpp, Ollama and LM Studio hold them: dequantised once into a folder that transformers reads.

A GGUF is plain data: nothing in it runs. transformers turns it into float32 weights, which takes some time; the result is kept
in the cache of this machine, under the hash of the file.
"""

import contextlib
import json
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import platformdirs
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from transformers import AutoTokenizer

from infoflow.errors import UnsupportedModel
from infoflow.models import memory, progress, reading
from infoflow.models.account import ACCOUNT
from infoflow.models.fingerprint import of_file
from infoflow.models.transformers_names import one_reader
from infoflow.settings import settings
from infoflow.text.amounts import in_words

_NOTE = "infoflow.json"
_PART = re.compile(r"-\d{5}-of-\d{5}\.gguf$")
_KINDS = {"TQ1_0": 2, "TQ2_0": 2, "MXFP4": 4, "NVFP4": 4}
"""types of tensors whose name does not begin with its bits"""


@dataclass(frozen=True)
class About:
    """What a file says of itself."""

    architecture: str
    bits: int
    """of most of its weights"""
    parameters: int


def cache_folder() -> Path:
    """Where what was made of files is kept."""
    return settings().cache or platformdirs.user_cache_path("infoflow")


def about(file: Path) -> About:
    """What a GGUF file holds.

    Raises:
        UnsupportedModel: it is none, or a part of one.
    """
    if _PART.search(file.name):
        raise UnsupportedModel(
            f"'{file.name}' is one part of several. Join them first (llama-gguf-split --merge), or take a model in one file."
        )
    try:
        read = gguf.GGUFReader(str(file))
        architecture = str(read.fields["general.architecture"].contents())
        sizes: Counter[int] = Counter()
        for tensor in read.tensors:
            sizes[_bits(tensor.tensor_type.name)] += int(tensor.n_elements)
    except (OSError, ValueError, KeyError, IndexError, EOFError, TypeError) as error:
        raise UnsupportedModel(
            f"'{file.name}' is no GGUF file, or not whole ({type(error).__name__}). Fetch it again."
        ) from error
    if not sizes:
        raise UnsupportedModel(f"'{file.name}' holds no weights.")
    return About(architecture, sizes.most_common(1)[0][0], sum(sizes.values()))


def _bits(kind: str) -> int:
    """Of a tensor's type: Q4_1, IQ3_XS, BF16, F32."""
    digits = re.search(r"\d+", kind)
    return _KINDS.get(kind) or int(digits[0] if digits else 32)


def in_folder(file: Path, on_progress: Callable[[str, float], None] | None = None) -> tuple[Path, str]:
    """A folder with the weights of a GGUF file as float32, and the file's fingerprint; made where it is not there yet.

    Raises:
        UnsupportedModel: no GGUF file, an architecture that transformers does not read from one, no room on the disk.
        TooLarge: its weights do not fit in memory.
    """
    told = on_progress or (lambda doing, fraction: None)
    digest = _fingerprint(file, told)
    folder = cache_folder() / "gguf" / digest.removeprefix("sha256:")
    if not (folder / _NOTE).is_file():
        _convert(file, folder, told)
    return folder, digest


def stored_as(folder: Path) -> str:
    """How the weights of a folder were stored before; '' where they are as they were."""
    note = folder / _NOTE
    return str(json.loads(note.read_text())["weights"]) if note.is_file() else ""


def _fingerprint(file: Path, told: Callable[[str, float], None]) -> str:
    state = file.stat()
    key = (str(file.resolve()), state.st_size, state.st_mtime_ns)
    if key not in _hashes:
        _hashes[key] = of_file(file, told)
    return _hashes[key]


_hashes: dict[tuple[str, int, int], str] = {}
"""of files as they were: hashing a large one takes seconds, and a page asks at every look"""


@one_reader()
def _convert(file: Path, folder: Path, told: Callable[[str, float], None]) -> None:
    told("Looking into the GGUF file", 0.0)
    found = about(file)
    whole = 4 * found.parameters
    folder.parent.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(folder.parent).free
    if whole > free:
        raise UnsupportedModel(
            f"'{file.name}' takes {in_words(whole)} dequantised; the disk has {in_words(free)} left. Make room."
        )
    with ACCOUNT.reserved(2 * whole, "cpu", told), memory.told_when_out("cpu"), progress.told_to(told):  # as read, and as held
        model = _read(file, found)
        told("Keeping the dequantised weights", 0.0)
        with told_when_full(folder.parent), tempfile.TemporaryDirectory(dir=folder.parent) as made:
            _keep(model, file, Path(made), found)
            if not folder.exists():  # another process may have been quicker
                Path(made).rename(folder)
                Path(made).mkdir()  # which its end removes


@contextlib.contextmanager
def told_when_full(folder: Path) -> Iterator[None]:
    """What can't be written into a folder of kept models is a sentence.

    Raises:
        UnsupportedModel: the disk is full, or not to be written to.
    """
    try:
        yield
    except (OSError, SafetensorError) as error:
        why = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        raise UnsupportedModel(
            f"'{folder}' can't be written: {why}. Nothing of it was kept. Make room, or set INFOFLOW_CACHE to another folder."
        ) from error


def _read(file: Path, found: About) -> Any:
    try:
        return reading.weights(str(file.parent), file.name, dtype=torch.float32, gguf_file=file.name)
    except ValueError as error:
        if "not supported" not in str(error):
            raise
        raise UnsupportedModel(
            f"transformers can't read the architecture '{found.architecture}' from a GGUF file. Take the model's safetensors "
            "from the hub instead."
        ) from error


def _keep(model: Any, file: Path, folder: Path, found: About) -> None:
    AutoTokenizer.from_pretrained(str(file.parent), gguf_file=file.name).save_pretrained(folder)
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config  # they are not, any more
    model.config.save_pretrained(folder)
    model.generation_config.save_pretrained(folder)
    tied = {"lm_head.weight"} if model.config.tie_word_embeddings else set()
    kept = {name: value.contiguous() for name, value in model.state_dict().items() if name not in tied}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    weights = f"{found.bits}-bit weights, dequantised" if found.bits < 16 else f"{found.bits}-bit weights"
    (folder / _NOTE).write_text(json.dumps({"weights": weights, "file": file.name, "architecture": found.architecture}))
