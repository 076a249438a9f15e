"""Devices and how weights are held: what is chosen, what is refused, what is warned about."""

import os
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch

import infoflow
from infoflow.errors import UnsupportedModel
from infoflow.models import devices, loading, memory
from infoflow.models.spec import ModelSpec
from tests.helpers import tiny


def test_the_fastest_device_that_can_be_trusted_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "available", lambda: ["mps", "cpu"])
    monkeypatch.setattr(torch, "__version__", "2.8.1")
    assert devices.choose() == "cpu" and "wrong products" in devices.warning("mps")
    monkeypatch.setattr(torch, "__version__", "2.13.0")
    assert devices.choose() == "mps" and devices.warning("mps") == ""
    monkeypatch.setattr(devices, "available", lambda: ["cuda:0", "cuda:1", "cpu"])
    assert (devices.choose(), devices.choose("cuda"), devices.choose("cuda:1")) == ("cuda:0", "cuda:0", "cuda:1")


@pytest.mark.parametrize(("capability", "dtype"), [((7, 5), "float32"), ((8, 0), "bfloat16"), ((9, 0), "bfloat16")])
def test_the_type_of_the_weights_follows_the_devices_capability(
    capability: tuple[int, int], dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    assert devices.suited("cuda:0") == dtype
    assert devices.suited("cpu") == devices.suited("mps") == "float32"
    assert devices.dtype_of("float16", "cpu") == torch.float16


def test_every_graphics_card_is_a_device_and_has_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", {"cuda:1": "A card"}.__getitem__)
    assert [d for d in devices.available() if d != "mps"] == ["cuda:0", "cuda:1", "cpu"]
    assert devices.title("cuda:1") == "A card (cuda:1)"


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({}, 8),
        ({"cpu.max": "max 100000\n"}, 8),
        ({"cpu.max": "200000 100000\n"}, 2),
        ({"cpu.max": "150000 100000\n"}, 2),  # a part of one is one
        ({"cpu.max": "1600000 100000\n"}, 8),  # a share of more than there are
        ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 8),
        ({"cpu.max": "nonsense\n"}, 8),
    ],
)
def test_a_containers_share_of_the_cores_counts(
    files: dict[str, str], cores: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "cpu").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    monkeypatch.setattr(devices, "Path", lambda folder, name: tmp_path / name)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)), raising=False)
    assert devices.cores() == cores and f"({cores} core" in devices.title("cpu")


def test_torch_has_no_more_threads_than_cores_and_no_fewer_than_it_was_given(monkeypatch: pytest.MonkeyPatch) -> None:
    before = torch.get_num_threads()
    try:
        for threads, cores, then in ((2, 1, 1), (1, 4, 1), (2, 2, 2)):
            torch.set_num_threads(threads)
            monkeypatch.setattr(devices, "cores", lambda cores=cores: cores)
            loading.read(loading.resolve(ModelSpec(), False, lambda doing, fraction: None), lambda doing, fraction: None)
            assert torch.get_num_threads() == then
    finally:
        torch.set_num_threads(before)


def test_what_this_machine_has_not_is_refused_in_words() -> None:
    with pytest.raises(UnsupportedModel, match="no device 'tpu'. It has: .*cpu"):
        infoflow.load_model("demo", device="tpu")
    with pytest.raises(UnsupportedModel, match="can't be held as 'int3'"):
        infoflow.load_model("demo", dtype="int3")


def test_half_precision_weights_give_the_same_numbers_in_float32_arithmetic() -> None:
    whole, half = infoflow.load_model("demo", device="cpu"), infoflow.load_model("demo", device="cpu", dtype="float16")
    assert half.dtype == "float16" and half.bytes * 2 == whole.bytes > 4_000_000
    assert infoflow.check(half).verdict == "approximate"
    ours, theirs = (infoflow.decompose(model, "The capital of France is") for model in (whole, half))
    np.testing.assert_allclose(theirs.shares(), ours.shares(), atol=1e-3)
    assert ours.top[0].token == theirs.top[0].token == " Paris" and np.abs(theirs.gram - ours.gram).max() > 0


def test_what_is_held_is_counted_and_what_is_free_is_what_the_machine_has() -> None:
    before = memory.used()
    held = [torch.ones(25_000_000) for _ in range(6)]
    size = sum(part.nbytes for part in held)
    assert (
        0.5 * size < memory.used() - before < 1.3 * size
    )  # some of it may be what an earlier test gave back and the process kept
    assert size < memory.free() <= psutil.virtual_memory().total
    assert devices.title("cpu") == f"CPU ({devices.cores()} cores)" and devices.title("mps") == "Apple GPU (mps)"


def test_speed_is_measured_once_for_all_models_of_a_shape() -> None:
    first = tiny.model("llama").speed()
    assert tiny.model("mistral", seed=1).speed() == first > 0
    assert tiny.model("llama", intermediate_size=96).speed() != first
