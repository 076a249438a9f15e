"""What this machine can compute on: its devices, and how weights are best stored on each."""

import math
import os
import time
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from infoflow.errors import UnsupportedModel

if TYPE_CHECKING:
    import torch  # heavy: a stored run is shown before it loads

DTYPES = ("float32", "bfloat16", "float16")
"""how weights may be stored; arithmetic is float32 whatever they are"""
_BAD_ON_MPS = ("2.8.",)
"""releases of torch whose products on Apple's GPU are silently wrong"""


def available() -> list[str]:
    """Devices of this machine, the fastest first."""
    import torch

    found = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    return [*found, *(["mps"] if torch.backends.mps.is_available() else []), "cpu"]


def choose(device: str = "auto") -> str:
    """A device by name, or the first of `available` that is not known to be wrong.

    Raises:
        UnsupportedModel: a device that this machine does not have.
    """
    there = available()
    if device == "auto":
        return next(d for d in there if not warning(d))
    if device == "cuda" and "cuda:0" in there:
        return "cuda:0"
    if device not in there:
        raise UnsupportedModel(f"This machine has no device '{device}'. It has: {', '.join(there)}.")
    return device


def cores() -> int:
    """How many cores this process may compute with: those it may run on, and no more than its container's share of their time."""
    here = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    for of_container in (("cpu.max",), ("cpu/cpu.cfs_quota_us", "cpu/cpu.cfs_period_us")):  # cgroups, version 2 and 1
        try:
            quota, period = " ".join(Path("/sys/fs/cgroup", name).read_text() for name in of_container).split()
            share = math.ceil(int(quota) / int(period))
        except (OSError, ValueError, ZeroDivisionError):  # "max": all of it
            continue
        if share > 0:  # -1: all of it
            return min(here, share)
    return here


def no_more_threads_than_cores() -> None:
    """From now on torch computes in as many threads as there are cores, at most: it counts those of the machine, and threads that
    wait for each other's turn in a small container take several times as long as one."""
    import torch

    if torch.get_num_threads() > cores():
        torch.set_num_threads(cores())


def suited(device: str) -> str:
    """How weights are best stored on a device: bfloat16 where its arithmetic knows it (compute capability 8.0), else float32."""
    if not device.startswith("cuda"):
        return "float32"
    import torch

    return "bfloat16" if torch.cuda.get_device_capability(device) >= (8, 0) else "float32"


def dtype_of(name: str, device: str) -> "torch.dtype":
    """The torch type of a name; of "auto" the one suited to the device.

    Raises:
        UnsupportedModel: an unknown name.
    """
    wanted = suited(device) if name == "auto" else name
    if wanted not in DTYPES:
        raise UnsupportedModel(f"Weights can't be held as '{name}'. Use auto, {', '.join(DTYPES)}.")
    import torch

    of_torch: torch.dtype = getattr(torch, wanted)
    return of_torch


def warning(device: str) -> str:
    """What is known to be wrong with a device under this release of torch; '' for nothing."""
    import torch

    if device == "mps" and torch.__version__.startswith(_BAD_ON_MPS):
        return f"torch {torch.__version__} computes wrong products on this device, in silence. Upgrade torch, or use the CPU."
    return ""


def title(device: str) -> str:
    """A device as a reader knows it."""
    if device.startswith("cuda"):
        import torch

        return f"{torch.cuda.get_device_name(device)} ({device})"
    share = cores()
    return {"mps": "Apple GPU (mps)", "cpu": f"CPU ({share} core{'s' if share > 1 else ''})"}.get(device, device)


@cache
def speed(device: str, d_model: int, hidden: int) -> float:
    """Multiply-adds per second of a product of that shape there: measured once, for all models of one shape."""
    import torch

    rows, matrix = torch.randn(512, d_model, device=device), torch.randn(d_model, hidden, device=device)
    times: list[float] = []
    with torch.no_grad():
        while sum(times) < 0.05 or len(times) < 3:
            started = time.perf_counter()
            float((rows @ matrix)[0, 0])
            times.append(time.perf_counter() - started)
    return rows.shape[0] * matrix.numel() / min(times)  # the others shared the machine
