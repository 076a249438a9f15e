"""Models held for everybody: the same weights once, in use until the last is done, and the one unused longest goes first."""

import contextlib
import gc
import os
import sys
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import infoflow
from infoflow.errors import BadPrompt, Cancelled, UnsupportedModel
from infoflow.models import loading
from infoflow.models.account import Account
from infoflow.models.loading import Resolved
from infoflow.models.model import Model
from infoflow.models.shelf import Shelf
from infoflow.models.spec import ModelSpec
from tests.helpers import hub_server


def quiet(doing: str, fraction: float) -> None:
    pass


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> list[ModelSpec]:
    """What was read into memory."""
    seen: list[ModelSpec] = []

    def read(found: Resolved, report: Callable[[str, float], None]) -> Model:
        seen.append(found.spec)
        return plain(found, report)

    plain = loading.read
    monkeypatch.setattr(loading, "read", read)
    return seen


def _take(shelf: Shelf, *asked: ModelSpec) -> list[object]:
    found = []
    for spec in asked:
        with shelf.using(spec, True, quiet) as model:
            found.append(model)
    return found


def test_every_way_to_ask_for_the_same_weights_gives_one_model(folders: dict[str, Path], loads: list[ModelSpec]) -> None:
    folder, shelf = folders["llama"], Shelf()
    spellings = [str(folder), f"{folder}/", os.path.relpath(folder)]
    asked = [ModelSpec(name=n, device=d, dtype=t) for n in spellings for d in ("auto", "cpu") for t in ("auto", "float32")]
    assert len(set(map(id, _take(shelf, *asked)))) == 1 and len(loads) == 1
    assert all(shelf.look(spec, True) is shelf.held()[0][0] for spec in asked)
    assert shelf.look(asked[0], False) is None  # who may not name folders does not find it either
    (half,) = _take(shelf, ModelSpec(name=str(folder), dtype="bfloat16"))
    assert half is not shelf.held()[0][0] and len(loads) == 2


def test_a_branch_and_its_commit_are_one_model(server: hub_server.Hub, loads: list[ModelSpec]) -> None:
    shelf = Shelf()
    names = ["tiny/llama", "tiny/llama@main", f"tiny/llama@{hub_server.COMMIT}", " tiny/llama "]
    models = _take(shelf, *(ModelSpec(name=n) for n in names))
    assert len(set(map(id, models))) == 1 and len(loads) == 1 and loads[0].revision == hub_server.COMMIT


def test_two_who_ask_at_once_load_it_once_and_one_may_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    shelf, begun, go_on, waiting = Shelf(), threading.Event(), threading.Event(), threading.Event()
    plain, reads = loading.read, []

    def slow(found: Resolved, report: Callable[[str, float], None]) -> Model:
        reads.append(found)
        begun.set()
        assert go_on.wait(20)
        return plain(found, report)

    monkeypatch.setattr(loading, "read", slow)

    def impatient(doing: str, fraction: float) -> None:
        if begun.is_set():
            waiting.set()
            raise Cancelled("left")

    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(_take, shelf, ModelSpec())
        assert begun.wait(20)
        two = pool.submit(lambda: shelf.using(ModelSpec(device="cpu"), True, impatient).__enter__())
        with pytest.raises(Cancelled):
            two.result(20)
        assert waiting.is_set()
        assert shelf.held() == [] and shelf.look(ModelSpec(), True) is None  # looking meanwhile waits for nothing
        go_on.set()
        one.result(60)
    assert len(reads) == 1 and [users for _, users in shelf.held()] == [0]


def test_a_model_in_use_goes_when_its_last_user_is_done() -> None:
    shelf = Shelf()
    with shelf.using(ModelSpec(), True, quiet):
        with shelf.using(ModelSpec(device="cpu"), True, quiet):
            assert shelf.unload("demo") == 2 and [users for _, users in shelf.held()] == [2]
        assert [users for _, users in shelf.held()] == [1] and shelf.unused_bytes("cpu") == 0
        assert not shelf.let_one_go("cpu")
    assert shelf.held() == []
    _take(shelf, ModelSpec())
    assert shelf.unload("demo") == 0 and shelf.held() == []


def test_what_goes_is_gone() -> None:
    """Neither nnsight nor a run that failed keeps the weights alive."""
    shelf = Shelf()
    with shelf.using(ModelSpec(), True, quiet) as model:
        weights = weakref.ref(model._hf)
        infoflow.decompose(model, "The dog sat")
        with contextlib.suppress(BadPrompt):
            infoflow.decompose(model, "The dog sat", targets=["no such token"])
        with contextlib.suppress(ZeroDivisionError):
            infoflow.decompose(model, "The dog sat", on_progress=lambda done, total: 1 / 0)
    del model
    shelf.unload("demo")
    assert weights() is None


def test_libraries_are_left_out_of_looks_for_what_nobody_holds_and_models_are_not() -> None:
    """Streamlit looks after every run of a page."""
    loading.libraries_stay.cache_clear()
    before: list[int] = []
    with Shelf().using(ModelSpec(), True, quiet) as model:
        looked_at = {id(thing) for thing in gc.get_objects()}
        assert id(before) not in looked_at and id(vars(sys.modules["transformers.modeling_utils"])) not in looked_at
        assert id(model._hf) in looked_at


def test_the_one_unused_longest_goes_first(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    shelf = Shelf(account := Account())
    names = [str(folders[f]) for f in ("llama", "qwen2", "gpt2")]
    with pytest.raises(UnsupportedModel):
        _take(shelf, ModelSpec(name="/no/such/folder"))
    a, b, c = (ModelSpec(name=n) for n in names)
    _take(shelf, a, b, a)
    assert account.obtainable("cpu") > sum(m.bytes for m, _ in shelf.held()) > 0
    assert shelf.let_one_go("cpu") and [m.name for m, _ in shelf.held()] == [names[0]]
    assert not shelf.let_one_go("cuda:0")
    _take(shelf, b, c)  # two are kept that nobody uses
    assert [m.name for m, _ in shelf.held()] == names[1:]
    with shelf.using(b, True, quiet), shelf.using(c, True, quiet):
        _take(shelf, a)
        assert len(shelf.held()) == 3  # what is used counts for nothing
    assert sorted(m.name for m, _ in shelf.held()) == sorted([names[1], names[2]])


@pytest.mark.slow
def test_a_list_may_be_read_while_others_load_and_unload(folders: dict[str, Path]) -> None:
    shelf, end = Shelf(), threading.Event()
    specs = [ModelSpec(name=str(folders[f])) for f in ("llama", "qwen2", "gpt2")]

    def look() -> int:
        looks = 0
        while not end.is_set():
            looks += all(model.bytes for model, _ in shelf.held())
        return looks

    with ThreadPoolExecutor(1) as pool:
        looking = pool.submit(look)
        for _ in range(3):
            _take(shelf, *specs)
            for spec in specs:
                shelf.unload(spec.name)
        end.set()
        assert looking.result(20) > 0
