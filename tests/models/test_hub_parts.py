"""The pieces of a download by themselves: names, which files are wanted, the disk, progress, and every failure in words."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import pytest
from huggingface_hub import errors

from infoflow.errors import UnsupportedModel
from infoflow.models import hub

SIZES = {"config.json": 10, "model.safetensors": 100}


@pytest.mark.parametrize(
    ("name", "parts"),
    [("a/b", ("a/b", None)), ("a/b@v1", ("a/b", "v1")), ("a/b@", ("a/b", None)), ("a/b@v@1", ("a/b", "v@1"))],
)
def test_a_revision_follows_the_name(name: str, parts: tuple[str, str | None]) -> None:
    assert hub.split_revision(name) == parts


def test_what_can_be_a_name_on_the_hub() -> None:
    assert hub.is_name("a/b") and hub.is_name("gpt2@main")
    assert not hub.is_name("/etc/passwd") and not hub.is_name("a/b/c") and not hub.is_name("a b@main")


def test_weights_are_one_file_or_those_of_the_index(tmp_path: Path) -> None:
    assert hub.weight_files(tmp_path, SIZES, "a/b") == ["model.safetensors"]
    with pytest.raises(UnsupportedModel, match="'a/b' has no safetensors weights"):
        hub.weight_files(tmp_path, {"pytorch_model.bin": 1}, "a/b")
    shards = {"x": "two.safetensors", "y": "one.safetensors", "z": "two.safetensors"}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    assert hub.weight_files(tmp_path, {}, "a/b") == ["one.safetensors", "two.safetensors"]


def test_what_is_here_counts_when_nothing_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def snapshot(name: str, revision: str | None, local_files_only: bool) -> str:
        asked.append((name, revision, local_files_only))
        if name == "not/here":
            raise OSError
        return str(tmp_path)

    monkeypatch.setattr(hub.huggingface_hub, "snapshot_download", snapshot)
    assert hub._cached("not/here", None, True) is None and hub._cached("a/b", "v1", True) is None
    assert asked[-1] == ("a/b", "v1", True)
    (tmp_path / "config.json").write_text("{}")
    assert hub._cached("a/b", None, False) is None  # no tokenizer
    (tmp_path / "tokenizer.json").write_text("{}")
    assert hub._cached("a/b", None, False) == hub.Fetched(tmp_path, tmp_path.name)
    assert hub._cached("a/b", None, True) is None  # no weights
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"x": "one.safetensors", "y": "two.safetensors"}}))
    (tmp_path / "one.safetensors").write_text("")
    assert hub._cached("a/b", None, True) is None  # one of two
    (tmp_path / "two.safetensors").write_text("")
    assert hub._cached("a/b", None, True) is not None
    (tmp_path / "config.json").unlink()
    assert hub._cached("a/b", None, False) is None


def test_the_disk_must_have_room_and_no_more_than_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub.hub_names, "cache_folder", lambda: str(tmp_path / "not" / "yet"))
    looked: list[Path] = []
    monkeypatch.setattr(hub.shutil, "disk_usage", lambda where: looked.append(where) or SimpleNamespace(free=3_000_000))
    hub._check_disk(3_000_000, "a/b")
    with pytest.raises(UnsupportedModel, match=r"'a/b' is 4 MB to download; the disk has 3 MB left\. Make room"):
        hub._check_disk(4_000_000, "a/b")
    assert set(looked) == {tmp_path}


def test_progress_adds_what_came_before_and_what_was_there_already() -> None:
    told: list[tuple[str, float]] = []
    kind = hub._reporter(lambda *said: told.append(said), "Downloading", 2_000_000, 10_000_000)
    with kind(initial=1_000_000, total=5) as bar:
        bar.update(4_000_000)
        bar.update(None)
        bar.update()
    assert [fraction for _, fraction in told] == pytest.approx([0.3, 0.7, 0.7, 0.7000001])
    assert [doing for doing, _ in told[:2]] == ["Downloading 3 MB of 10 MB", "Downloading 7 MB of 10 MB"]
    small = hub._reporter(lambda *said: told.append(said), "Downloading the tokenizer", 0, 0)
    small().update(7)
    assert told[-2:] == [("Downloading the tokenizer", 0.0)] * 2
    silent = hub._reporter(None, "Downloading", 0, 1)()
    silent.update(1)


def answered(kind: type[Exception], code: int = 500) -> Exception:
    request = httpx2.Request("GET", "http://hub")
    return kind("said", response=httpx2.Response(code, request=request))  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (answered(errors.GatedRepoError, 403), "'a/b' is gated. Open huggingface.co/a/b"),
        (answered(errors.RevisionNotFoundError, 404), "'a/b' has no revision 'v1'"),
        (answered(errors.RepositoryNotFoundError, 404), "There is no model 'a/b': it is no local folder"),
        (answered(errors.HfHubHTTPError, 503), r"did not give 'a/b' out \(answer 503\)"),
        (errors.OfflineModeIsEnabled("off"), "HF_HUB_OFFLINE forbids"),
        (OSError("Consistency check failed: file should be of size 5"), "A file of 'a/b' did not arrive whole"),
        (OSError("no route"), "There is no local model 'a/b', and http://hub can't be reached"),
        (RuntimeError("Consistency check"), "can't be reached from here"),
    ],
)
def test_every_failure_is_a_sentence(error: Exception, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub.hub_names, "address", lambda: "http://hub")
    with pytest.raises(UnsupportedModel, match=message):
        raise hub._in_words("a/b", "v1", error)


def test_the_public_hub_is_called_by_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub.hub_names, "address", lambda: "https://huggingface.co")
    assert hub._hub() == "The Hugging Face hub"


def test_a_search_asks_for_what_it_tells_and_waits_no_longer_than_it_must(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, Any]] = []
    whole = {
        "id": "a/b", "config": {"model_type": "llama"}, "safetensors": {"parameters": {}, "total": 1_600_000}, "gated": "auto",
        "downloads": 5,
    }  # fmt: skip

    def get(address: str, **more: Any) -> Any:
        asked.append({"address": address, **more})
        return SimpleNamespace(raise_for_status=lambda: None, json=lambda: [whole, {"id": "c/d", "gated": False}])

    monkeypatch.setattr(hub.httpx2, "get", get)
    assert hub.search("x", most=7) == [hub.Found("a/b", "llama", 2, True, 5), hub.Found("c/d", "", 0, False, 0)]
    params = asked[0]["params"]
    assert params["limit"] == 7 and params["search"] == "x" and params["sort"] == "downloads"
    assert asked[0]["timeout"] == 10 and asked[0]["address"].endswith("/api/models")


class Api:
    """What the hub's library would give: files of a folder with what they weigh, each noted as it is asked for."""

    def __init__(self, folder: Path, sizes: dict[str, int]) -> None:
        self.folder, self.sizes, self.got = folder, sizes, []

    def __call__(self) -> "Api":
        return self

    def model_info(self, name: str, **more: Any) -> Any:
        return SimpleNamespace(siblings=[SimpleNamespace(rfilename=f, size=n) for f, n in self.sizes.items()])

    def hf_hub_download(self, name: str, file: str, revision: str | None, tqdm_class: Any = None) -> str:
        self.got.append((file, revision))
        if tqdm_class is not None:
            with tqdm_class() as bar:
                bar.update(self.sizes[file])
        return str(self.folder / file)


def test_a_model_comes_small_files_first_and_none_that_is_not_needed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "c0ffee"
    folder.mkdir()
    sizes = {
        "tokenizer.json": 5,
        "config.json": 10,
        "model.safetensors": 3_000_000,
        "pytorch_model.bin": 9,
        "onnx/config.json": 9,
        "pytorch_model.bin.index.json": 9,
        "README.md": 9,
    }
    api, told, accepted = Api(folder, sizes), [], []
    monkeypatch.setattr(hub.huggingface_hub, "HfApi", api)
    monkeypatch.setattr(hub, "_cached", lambda *_: None)
    monkeypatch.setattr(hub, "_check_disk", lambda size, name: accepted.append(size))
    found = hub.fetch("a/b", "v1", accept=lambda f: accepted.append((f, len(api.got))), on_progress=lambda *s: told.append(s))
    assert found == hub.Fetched(folder, "c0ffee") and accepted == [(folder, 1), 3_000_000]
    assert api.got == [("config.json", "v1"), *((f, "c0ffee") for f in ("config.json", "tokenizer.json", "model.safetensors"))]
    assert told[-2:] == [("Downloading 1 MB of 3 MB", 0.0), ("Downloading 3 MB of 3 MB", 1.0)]
    api.got.clear()
    hub.fetch("a/b", "v1", weights=False)
    assert [file for file, _ in api.got] == ["config.json", "config.json", "tokenizer.json"]
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"x": "1.safetensors", "y": "2.safetensors"}}))
    told.clear()
    api.sizes.update({"1.safetensors": 1_000_000, "2.safetensors": 3_000_000})
    hub.fetch("a/b", on_progress=lambda *said: told.append(said))
    assert [round(fraction, 2) for doing, fraction in told if " of " in doing] == [0, 0.25, 0.25, 1] and accepted[-1] == 4_000_000
