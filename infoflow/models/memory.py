"""Memory: what is free, what one run may take of it, and the refusal of what does not fit. In bytes; it knows no model."""

from pathlib import Path

import psutil
import torch

from infoflow.errors import TooLarge
from infoflow.settings import settings
from infoflow.text.amounts import in_words


def free(device: str = "cpu") -> int:
    """Bytes that are free on a device now; of the machine's memory, within the container's limit where there is one."""
    if device.startswith("cuda"):
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


def refuse(needed: int, allowed: int, what: str, advice: str) -> None:
    """Say no to a run that needs more than it may take.

    Raises:
        TooLarge: with both numbers.
    """
    if needed > allowed:
        raise TooLarge(
            f"{what} about {in_words(needed)}; {in_words(allowed)} are allowed. {advice}, or set INFOFLOW_MAX_MEMORY_MB to more."
        )
