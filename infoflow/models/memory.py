"""Memory: what is free, what one run may take of it, and the refusal of what does not fit. In bytes; it knows no model."""

import contextlib
import ctypes
import gc
import re
import traceback
from collections.abc import Iterator
from pathlib import Path

import psutil

from infoflow.errors import TooLarge
from infoflow.settings import or_set, settings
from infoflow.text.amounts import in_words


def free(device: str = "cpu") -> int:
    """Bytes that are free on a device now; of the machine's memory, within the container's limit where there is one."""
    if device.startswith("cuda"):
        import torch  # heavy: a stored run is shown before it loads

        return int(torch.cuda.mem_get_info(device)[0])
    here = int(psutil.virtual_memory().available)
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
        kept = dict(line.split() for line in Path("/sys/fs/cgroup/memory.stat").read_text().splitlines())
        return max(0, min(here, limit - used + int(kept.get("inactive_file", 0))))  # file cache is given up when needed
    except (OSError, ValueError):
        return here


def used() -> int:
    """Bytes of this machine's memory that this process holds."""
    return int(psutil.Process().memory_info().rss)


def limit(free_now: int) -> int:
    """Bytes that one run may take where so many are free: INFOFLOW_MAX_MEMORY_MB, or half of them.

    Raises:
        InfoflowError: the variable is no positive whole number.
    """
    given = settings().max_memory_mb
    return given * 1_000_000 if given is not None else free_now // 2


def chunk(allowed: int) -> int:
    """Bytes for the steps between two states: an eighth of what is allowed, between 16 and 32 MB (more is not faster)."""
    return int(min(32e6, max(16e6, allowed / 8)))


def product(allowed: int) -> int:
    """Bytes of what one product with a large matrix gives: an eighth of what is allowed, at most 128 MB. The matrix is read once
    for each, so that few rows at a time cost as much as many."""
    return int(min(128e6, allowed / 8))


def refuse(needed: int, allowed: int, what: str, advice: str) -> None:
    """Say no to a run that needs more than it may take.

    Raises:
        TooLarge: with both numbers.
    """
    if needed > allowed:
        raise TooLarge(f"{what} about {in_words(needed)}; {in_words(allowed)} are allowed. {advice}{or_set('MAX_MEMORY_MB')}.")


_OUT = ("out of memory", "can't allocate memory", "not enough memory", "cannot allocate memory")
"""what torch says on its devices where it raises no error of its own kind"""


def ran_out(error: BaseException) -> bool:
    """Whether an error says that memory has run out, on whatever device."""
    import torch

    return isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError | OSError) and any(words in str(error).lower() for words in _OUT)
    )


def give_back(device: str) -> None:
    """Let go of what nobody uses: of objects that hold each other, and of what torch keeps of a GPU's memory for later."""
    import torch

    gc.collect()
    if device.startswith("cuda"):
        torch.cuda.empty_cache()
    elif device == "mps":
        torch.mps.empty_cache()


def seldom_looked_through() -> None:
    """Have this process look for what nobody holds each time it holds 50,000 objects more, not 700: torch and transformers bring
    half a million that stay, and to go through them over and over is a fifth of the time in which they are imported."""
    gc.set_threshold(50_000)


def few_arenas() -> None:
    """Have the threads of this process share few heaps: with one for each, glibc keeps what every one of them once needed. Where
    another allocator is at work, nothing."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").mallopt(_ARENA_MAX, 2)


_ARENA_MAX = -8
"""of glibc's mallopt"""


@contextlib.contextmanager
def told_when_out(device: str) -> Iterator[None]:
    """Memory that runs out in here is a sentence.

    Raises:
        TooLarge: with what was wanted, where torch says it, and what is free.
    """
    try:
        yield
    except Exception as error:
        if not ran_out(error):
            raise
        said = re.search(r"allocate (\d+(?:\.\d+)?) ?(bytes|[KMGT]iB)", str(error))
        unit = {"bytes": 1, "KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
        traceback.clear_frames(error.__traceback__)  # and with them every tensor of what failed
        wanted = f" It wanted {in_words(int(float(said[1]) * unit[said[2]]))} more." if said else ""
    else:
        return
    give_back(device)
    raise TooLarge(
        f"Memory ran out during the run.{wanted} {in_words(free(device))} are free on {device} now. Use fewer tokens or "
        "sources, unload another model, or run it on NDIF."
    )
