"""Which weights a stored run was made with: a fingerprint of a folder's safetensors files, or of one file."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path


def fingerprint(folder: Path, on_progress: Callable[[str, float], None] | None = None) -> str:
    """`sha256:` and the first 16 digits of the hash of all weights; `on_progress` is told of every 16 MB and may stop it."""
    return "sha256:" + _hash(sorted(folder.glob("*.safetensors")), on_progress)[:16]


def of_file(file: Path, on_progress: Callable[[str, float], None] | None = None) -> str:
    """The same of one file."""
    return "sha256:" + _hash([file], on_progress)[:16]


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
