"""What is free, what a run may take of it, and refusals, with the machine's own numbers in place of this one's."""

import copy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import infoflow
from infoflow.errors import TooLarge
from infoflow.models import memory
from tests.helpers import tiny

GB = 1_000_000_000


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine with 8 GB free; the folder given is where its container's files are."""
    monkeypatch.setattr(memory.psutil, "virtual_memory", lambda: SimpleNamespace(available=8 * GB, total=32 * GB, free=GB))
    monkeypatch.setattr(memory, "Path", lambda name: tmp_path / Path(name).relative_to("/sys/fs/cgroup"))
    return tmp_path


def container(folder: Path, limit: str, used: int, cache: int | None) -> None:
    (folder / "memory.max").write_text(limit + "\n")
    (folder / "memory.current").write_text(f"{used}\n")
    (folder / "memory.stat").write_text("anon 5\n" + (f"inactive_file {cache}\n" if cache is not None else "") + "slab 7\n")


@pytest.mark.parametrize(
    ("limit", "used", "cache", "free"),
    [
        (str(4 * GB), GB, 0, 3 * GB),
        (str(4 * GB), 3 * GB, GB, 2 * GB),  # the cache of files is given up when memory is needed
        (str(4 * GB), 3 * GB, None, GB),
        (str(64 * GB), GB, GB, 8 * GB),  # a container may not take more than there is
        (str(4 * GB), 5 * GB, GB // 2, 0),  # over its limit: nothing, never less
        ("max", GB, 0, 8 * GB),  # no limit
    ],
)
def test_a_containers_limit_counts(limit: str, used: int, cache: int | None, free: int, machine: Path) -> None:
    container(machine, limit, used, cache)
    assert memory.free() == memory.free("cpu") == free


def test_without_a_container_it_is_what_the_machine_has(machine: Path) -> None:
    assert memory.free("cpu") == 8 * GB


def test_a_gpus_memory_is_its_own(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    container(machine, str(4 * GB), GB, 0)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: {"cuda:1": (2 * GB, 16 * GB)}[device])
    assert memory.free("cuda:1") == 2 * GB


@pytest.mark.parametrize(("hosted", "asked"), [(False, "cuda:1"), (True, "cpu")])
def test_a_model_asks_where_it_runs(hosted: bool, asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "free", lambda device="cpu": {"cuda:1": 2 * GB, "cpu": 8 * GB}[device])
    model = copy.copy(tiny.model("llama"))
    monkeypatch.setattr(infoflow.Model, "hosted", property(lambda self: hosted))
    monkeypatch.setattr(infoflow.Model, "device", property(lambda self: torch.device("cuda:1")))
    assert model.free_memory() == (8 if asked == "cpu" else 2) * GB


def test_a_run_may_take_half_of_it_or_what_the_setting_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INFOFLOW_MAX_MEMORY_MB", raising=False)
    assert memory.limit(9) == 4 and memory.limit(3 * GB) == 3 * GB // 2
    monkeypatch.setenv("INFOFLOW_MAX_MEMORY_MB", "7")
    assert memory.limit(3 * GB) == 7_000_000


@pytest.mark.parametrize(
    ("allowed", "chunk"), [(0, 16_000_000), (8 * 16_000_000, 16_000_000), (8 * 20_000_000, 20_000_000), (GB, 32_000_000)]
)
def test_steps_in_between_take_an_eighth_within_bounds(allowed: int, chunk: int) -> None:
    assert memory.chunk(allowed) == chunk


@pytest.mark.parametrize(("allowed", "product"), [(0, 0), (8 * 20_000_000, 20_000_000), (4 * GB, 128_000_000)])
def test_a_product_takes_an_eighth_and_no_more_than_is_read_at_once(allowed: int, product: int) -> None:
    assert memory.product(allowed) == product


def test_what_needs_more_than_is_allowed_is_refused_and_no_less() -> None:
    memory.refuse(2 * GB, 2 * GB, "It needs", "Shorten it")
    with pytest.raises(
        TooLarge, match=r"^It needs about 2\.0 GB; 2\.0 GB are allowed\. Shorten it, or set INFOFLOW_MAX_MEMORY_MB"
    ):
        memory.refuse(2 * GB + 1, 2 * GB, "It needs", "Shorten it")
