"""Which weights a stored run was made with: a fingerprint of a folder's safetensors files."""

import hashlib
from collections.abc import Callable
from pathlib import Path


def fingerprint(folder: Path, on_progress: Callable[[str, float], None] | None = None) -> str:
    """`sha256:` and the first 16 digits of the hash of all weights; `on_progress` is told of every 16 MB and may stop it."""
    digest = hashlib.sha256()
    files = sorted(folder.glob("*.safetensors"))
    total, done = sum(f.stat().st_size for f in files), 0
    for file in files:
        with file.open("rb") as handle:
            while block := handle.read(1 << 24):
                digest.update(block)
                done += len(block)
                if on_progress is not None:
                    on_progress("Looking which weights these are", done / total)
    return "sha256:" + digest.hexdigest()[:16]
