"""Which weights a stored run was made with: a fingerprint of a folder's safetensors files."""

import hashlib
from pathlib import Path


def fingerprint(folder: Path) -> str:
    """`sha256:` and the first 16 digits of the hash of all weights."""
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.safetensors")):
        with file.open("rb") as handle:
            while block := handle.read(1 << 20):
                digest.update(block)
    return "sha256:" + digest.hexdigest()[:16]
