"""Models from a hub: found, fetched with progress, stopped, refused in words. The hub is a server on loopback."""

import json
from pathlib import Path

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

import infoflow
from infoflow.errors import Cancelled, TooLarge, UnsupportedModel
from infoflow.models import hub, memory
from infoflow.models.account import ACCOUNT
from tests.helpers import hub_server, tiny


def test_a_model_is_fetched_once_with_progress_and_then_read_without_the_hub(server: hub_server.Hub) -> None:
    said: list[tuple[str, float]] = []
    model = infoflow.load_model("tiny/llama", on_progress=lambda doing, fraction: said.append((doing, fraction)))
    assert model.revision == hub_server.COMMIT and infoflow.decompose(model, "abc").max_error < 1e-5
    doing = [what for what, _ in said]
    assert any(what.startswith("Downloading 1 MB of") for what in doing)
    assert "Reading the weights" in doing and max(f for what, f in said if what.startswith("Downloading 1 MB of")) == 1.0
    assert [f for what, f in said if what == "Reading the weights"][-1] > 0.5
    assert not [a for a in server.asked if a.endswith(".bin")]
    server.asked.clear()
    assert infoflow.load_model("tiny/llama").revision == hub_server.COMMIT
    assert infoflow.load_model(f"tiny/llama@{hub_server.COMMIT}").revision == hub_server.COMMIT
    assert server.asked == []


@pytest.mark.slow
def test_a_stopped_download_ends_at_once_and_can_be_taken_up_again(server: hub_server.Hub, tmp_path: Path) -> None:
    large = {"model.layers.0.self_attn.masked_bias": torch.zeros(3_000_000)}  # which old checkpoints hold
    weights = server.folders["tiny/llama"] / "model.safetensors"
    save_file({**load_file(weights), **large}, weights, metadata={"format": "pt"})
    server.pause = 0.02

    def stop(doing: str, fraction: float) -> None:
        if doing.startswith("Downloading ") and fraction > 0.1:
            raise Cancelled("The run was stopped.")

    with pytest.raises(Cancelled):
        infoflow.load_model("tiny/llama", on_progress=stop)
    assert server.sent < 12_000_000
    left = [f for f in (tmp_path / "cache").rglob("*") if f.is_file() and f.stat().st_size > 1 << 20]
    assert left == [], "nothing half-read stays behind"
    server.pause = 0.0
    assert infoflow.decompose(infoflow.load_model("tiny/llama"), "ab").max_error < 1e-5


def test_reading_the_weights_can_be_stopped(server: hub_server.Hub) -> None:
    def stop(doing: str, fraction: float) -> None:
        if doing == "Reading the weights" and fraction > 0.3:
            raise Cancelled("The run was stopped.")

    with pytest.raises(Cancelled):
        infoflow.load_model("tiny/llama", on_progress=stop)
    assert infoflow.load_model("tiny/llama").n_layers == 3


@pytest.mark.slow
def test_shards_are_fetched_by_their_index(server: hub_server.Hub, tmp_path: Path) -> None:
    folder = tmp_path / "sharded"
    tiny.hf_model("llama").save_pretrained(folder, max_shard_size="20KB")
    tiny.tokenizer().save_pretrained(folder)
    (folder / "pytorch_model.bin").write_bytes(b"pickled")
    server.folders["tiny/sharded"] = folder
    assert len(list(folder.glob("*.safetensors"))) > 2
    assert infoflow.decompose(infoflow.load_model("tiny/sharded"), "ab").max_error < 1e-5
    assert not [a for a in server.asked if a.endswith(".bin")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tiny/none", "no model 'tiny/none'.*Check the spelling"),
        ("tiny/llama@v9", "no revision 'v9'"),
        ("tiny/gated", "is gated. Open huggingface.co/tiny/gated.*HF_TOKEN"),
        ("tiny/pickled", "no safetensors weights.*not loaded"),
        ("tiny/mamba", "'mamba' are not supported"),
        ("tiny/bare", "no config.json on the hub"),
    ],
)
def test_what_can_not_be_had_is_told_before_anything_large_is_fetched(
    name: str, message: str, server: hub_server.Hub, tmp_path: Path
) -> None:
    server.folders["tiny/gated"] = server.folders["tiny/llama"]
    server.gated.add("tiny/gated")
    for other in ("pickled", "mamba", "bare"):
        (tmp_path / other).mkdir()
        server.folders[f"tiny/{other}"] = tmp_path / other
    config = (server.folders["tiny/llama"] / "config.json").read_text()
    (tmp_path / "pickled" / "config.json").write_text(config)
    (tmp_path / "pickled" / "pytorch_model.bin").write_bytes(b"x")
    (tmp_path / "mamba" / "config.json").write_text(json.dumps({"model_type": "mamba", "hidden_size": 8, "num_hidden_layers": 1}))
    (tmp_path / "mamba" / "model.safetensors").write_bytes(b"x" * 100)
    with pytest.raises(UnsupportedModel, match=message):
        infoflow.load_model(name)
    assert not [a for a in server.asked if a.endswith((".safetensors", ".bin"))]


def test_weights_that_do_not_fit_are_refused_with_both_numbers(server: hub_server.Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    wide = tiny.hf_model("llama", vocab_size=4000)
    wide.save_pretrained(server.folders["tiny/llama"])
    needed = 4 * wide.num_parameters()
    monkeypatch.setattr(memory, "free", lambda device: int(0.6 * needed))
    monkeypatch.setattr(ACCOUNT, "shelf", None)  # what other tests left on it could be given back, and is room too
    with pytest.raises(TooLarge, match=r"take 2 MB as float32; 1 MB are free on cpu. Hold them as bfloat16"):
        infoflow.load_model("tiny/llama")
    assert not [a for a in server.asked if a.endswith(".safetensors")]
    assert infoflow.load_model("tiny/llama", dtype="bfloat16").bytes * 2 == needed


def test_a_full_disk_is_told(server: hub_server.Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub.shutil, "disk_usage", lambda where: type("Usage", (), {"free": 10}))
    with pytest.raises(UnsupportedModel, match="the disk has 1 MB left. Make room"):
        infoflow.load_model("tiny/llama")


def test_a_search_lists_names_and_says_so_when_there_is_no_hub(server: hub_server.Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    assert hub.search("LLAMA") == [hub.Found("tiny/llama", "llama", 5, False, 7)]
    assert hub.search("nothing like it") == []
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(UnsupportedModel, match="can't be searched from here"):
        hub.search("llama")
    with pytest.raises(UnsupportedModel, match="can't be reached from here"):
        infoflow.load_model("tiny/other")


def test_where_folders_are_off_no_folder_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    tiny.hf_model("llama").save_pretrained(tmp_path / "here")
    monkeypatch.chdir(tmp_path)
    for name in ("/etc", str(tmp_path / "here"), "../here", "~"):
        with pytest.raises(UnsupportedModel, match="^Give a name on the hub"):
            infoflow.load_model(name, folders=False)
    with pytest.raises(UnsupportedModel, match="can't be reached"):
        infoflow.load_model("here", folders=False)
    assert infoflow.load_model("demo", folders=False).name == "demo"
