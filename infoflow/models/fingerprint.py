"""Which weights a run was made with: a fingerprint of a folder's safetensors files, of one file, or of a module."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any


def fingerprint(folder: Path, on_progress: Callable[[str, float], None] | None = None) -> str:
    """`sha256:` and the first 16 digits of the hash of all weights; `on_progress` is told of every 16 MB and may stop it."""
    return "sha256:" + _hash(sorted(folder.glob("*.safetensors")), on_progress)[:16]


def of_file(file: Path, on_progress: Callable[[str, float], None] | None = None) -> str:
    """The same of one file."""
    return "sha256:" + _hash([file], on_progress)[:16]


def of_module(hf_model: Any) -> str:
    """The same of weights in memory, by up to 4,096 numbers of each parameter: two models of one name are told apart by it. ''
    where they are not here."""
    import torch  # heavy: the fingerprint of a file does without

    digest = hashlib.sha256()
    for name, weight in hf_model.named_parameters():
        if weight.is_meta:
            return ""
        flat = weight.detach().flatten()
        some = flat[:: max(1, len(flat) // _SOME)][:_SOME].cpu().contiguous().view(torch.uint8)
        digest.update(f"{name} {tuple(weight.shape)} {weight.dtype}".encode() + some.numpy().tobytes())
    return "sha256:" + digest.hexdigest()[:16]


_SOME = 4096


def hash_of(file: Path) -> str:
    """The whole of it."""
    return _hash([file], None)


def _hash(files: Sequence[Path], on_progress: Callable[[str, float], None] | None) -> str:
    digest = hashlib.sha256()
    total, done = sum(f.stat().st_size for f in files), 0
    for file in files:
        with file.open("rb") as handle:
            while block := handle.read(1 << 24):
                digest.update(block)
                done += len(block)
                if on_progress is not None:
                    on_progress("Looking which weights these are", done / total)
    return digest.hexdigest()
