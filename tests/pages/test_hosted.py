"""The page with a hosted model: every failure of the service is a sentence on it, and the app stays usable."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from infoflow.models.catalog import MODELS, Entry
from infoflow.ndif import service as remote
from infoflow.ui import cache
from tests.helpers.loopback import KEY, OTHER, Service
from tests.helpers.pages import FLOW, ROOT, ask, captions, errors, grid_spec, opened

pytestmark = pytest.mark.slow
Visit = Callable[..., AppTest]


@pytest.fixture
def visit(folders: dict[str, Path], hosted: object, monkeypatch: pytest.MonkeyPatch) -> Iterator[Visit]:
    """Opens the first page on a hosted model: visit(service, key=..., family=...)."""
    monkeypatch.setenv("INFOFLOW_LOCAL_FOLDERS", "1")
    extra = tuple(Entry(str(folder), str(folder), "", 0, "") for folder in folders.values())
    monkeypatch.setattr("infoflow.ui.asking.MODELS", (*MODELS, *extra))  # AppTest can't type a new option
    st.cache_data.clear()
    cache._hosted.clear()

    def _visit(service: Service, key: str = KEY, family: str = "llama", page: str = FLOW) -> AppTest:
        monkeypatch.setenv("NDIF_HOST", service.host)
        app = opened(page)
        next(g for g in app.button_group if g.label == "Models run").set_value("on NDIF").run()
        if key:
            app.text_input(key="ndif_key").set_value(key)
        app.selectbox(key="model").set_value(str(folders[family]))
        return app

    yield _visit
    st.cache_data.clear()
    cache._hosted.clear()


def test_a_hosted_run_is_shown_like_a_local_one(visit: Visit, service: Service) -> None:
    app = ask(visit(service), "abc def")
    assert errors(app) == [] and "8 tokens, each a source: about 1 MB to bring back" in captions(app)
    assert KEY not in str(app.get("vega_lite_chart")[0].proto.spec) + captions(app)
    assert "your key, for this session" in captions(app)


@pytest.mark.parametrize("name", ["attention", "logit_lens", "generation"])
def test_every_page_runs_there(name: str, visit: Visit, service: Service) -> None:
    app = ask(visit(service, page=str(ROOT / f"pages/{name}.py")), "abc def")
    assert errors(app) == [] and "Below is the last good run" not in captions(app)
    service.fault("busy")
    assert "busy or restarting" in errors(ask(app, "abc defg"))[0] and "Below is the last good run: abc def" in captions(app)


def test_a_conversation_runs_there(visit: Visit, service: Service) -> None:
    app = visit(service, page=str(ROOT / "pages/corrections.py")).run()
    assert errors(app) == [] and "Written as plain text" in captions(app) and "no chat template" in captions(app)
    service.fault("busy")
    app.chat_input(key="talk_text").set_value("No.").run()
    assert "busy or restarting" in errors(app)[0] and "Below is the last good run" in captions(app)


FAILURES = [
    ("busy", "busy or restarting"),
    ("error:Could not deploy this model. CANT_ACCOMMODATE", "can't run this model now"),
    ("error:You are trying to access a gated repo.", "accept its licence"),
    ("error:CUDA out of memory. Tried to allocate", "ran out of memory"),
    ("error:Result is too large to be returned", "result is too large"),
    ("error:Job timed out after 600 seconds.", "it took too long"),
    ("error:ModuleNotFoundError: No module named 'infoflow'", "lacks a package"),
    ("error:Traceback\n  File x\nZeroDivisionError: division by zero", "failed on the service: ZeroDivisionError"),
    ("error:Client nnsight version 0.8.1 is below the minimum supported 0.9.0.", "needs a newer nnsight"),
    ("garbage", "could not be read"),
    ("silent", "Nothing was heard of the run for 1 seconds"),
    ("drop drop", "lost during the run, twice"),
]


@pytest.mark.parametrize("failures", [FAILURES[0::3], FAILURES[1::3], FAILURES[2::3]])
def test_every_failure_is_a_sentence_and_the_last_picture_stays(
    failures: list[tuple[str, str]], visit: Visit, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = ask(visit(service), "ab")
    assert errors(app) == []
    before, last = grid_spec(app), "ab"
    for mode, message in failures:
        with monkeypatch.context() as patched:
            if mode == "silent":
                patched.setattr(remote, "SILENCE", 1.0)
            for one in [mode] if mode.startswith("error") else mode.split():
                service.fault(one)
            ask(app, f"abc {message[:5]}")
        (error,) = errors(app)
        assert message in error and "Traceback" not in error, mode
        assert grid_spec(app) == before and f"Below is the last good run: {last}" in captions(app), mode
        if mode.startswith("error:Traceback"):  # what the service said can be unfolded
            assert any("ZeroDivisionError" in c.value and "Traceback" in c.value for c in app.code)
        last = f"abc {message[:5]}"
        ask(app, last)
        assert errors(app) == [], mode
        before = grid_spec(app)


@pytest.mark.parametrize(
    ("key", "message"), [("", "wants a key"), ("abc", "no NDIF key"), (KEY.replace("1", "2"), "does not know this key")]
)
def test_a_key_that_does_not_work_is_told_and_a_good_one_mends_it(key: str, message: str, visit: Visit, service: Service) -> None:
    app = ask(visit(service, key), "abc")
    (error,) = errors(app)
    assert message in error and (not key or key not in error)
    app.text_input(key="ndif_key").set_value(OTHER)
    ask(app, "abc")
    assert errors(app) == []


def test_a_model_that_is_not_served_and_one_that_can_not_be_analysed_there(visit: Visit, service: Service) -> None:
    assert "can't run this model now" in errors(ask(visit(service, family="gpt2"), "abc"))[0]
    assert "experts' weights of a hosted" in errors(ask(visit(service, family="mixtral"), "abc"))[0]


def test_a_service_of_another_version_is_told(visit: Visit, start: Callable[..., Service]) -> None:
    assert errors(ask(visit(start("--old")), "abc")) == []  # its patterns are computed from what attention was given
    assert "needs a newer nnsight" in errors(ask(visit(start("--min-nnsight=99.0")), "abc"))[0]


def test_a_result_beyond_the_limit_is_told(visit: Visit, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    app = ask(visit(service), "ab")
    monkeypatch.setattr(remote, "LARGEST", 3000)
    assert "larger than 1 MB" in errors(ask(app, "abc"))[0]
    assert "would bring 1 MB back" in errors(ask(app, "abcdefgh" * 5))[0]


def test_a_service_that_dies_is_told_and_runs_here_go_on(visit: Visit, start: Callable[..., Service]) -> None:
    dying = start()
    app = ask(visit(dying), "ab")
    dying.fault("die")
    (error,) = errors(ask(app, "abc"))
    assert "can't be reached" in error or "lost" in error
    next(g for g in app.button_group if g.label == "Models run").set_value("here").run()
    app.selectbox(key="model").set_value("demo")
    assert errors(ask(app, "The sky is")) == []


@pytest.mark.parametrize(
    ("host", "message"), [("ndif.us", "no address of a service"), ("http://127.0.0.1:9", "can't be reached")]
)
def test_an_address_that_is_none_is_told(host: str, message: str, visit: Visit) -> None:
    app = visit(Service(host=host))
    assert message in errors(ask(app, "abc"))[0]
    models = opened(str(ROOT / "pages/models.py"))
    assert errors(models) == [] and message in models.info[0].value.replace("\\", "")


def test_the_models_page_shows_what_is_up_and_which_versions(
    visit: Visit, service: Service, start: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("infoflow.tables.models.MODELS", (*MODELS, Entry("tiny/llama", "tiny", "llama", 1, "")))
    visit(service)
    app = opened(str(ROOT / "pages/models.py"))
    catalogue, listed, versions = (d.value for d in app.dataframe)
    assert errors(app) == []
    assert dict(zip(catalogue["name"], catalogue["on NDIF"], strict=True))["tiny/llama"] == "in memory"
    assert "tiny/llama" in list(listed["model"]) and list(versions["package"]) == ["nnsight", "torch", "transformers", "python"]
    assert "These versions go together" in captions(app)
    visit(start("--old"))
    assert "before 0.8.1" in opened(str(ROOT / "pages/models.py")).warning[0].value.replace("\\", "")


def test_no_key_is_in_what_a_page_sends(visit: Visit, service: Service) -> None:
    app = ask(visit(service), "abc")
    sent = [str(node.proto) for part in (app.main, app.sidebar) for node in _nodes(part)]
    assert len(sent) > 50 and any("abc" in proto for proto in sent)
    assert not any(KEY in proto for proto in sent)


def _nodes(block: Any) -> Iterator[Any]:
    for child in block.children.values():
        if hasattr(child, "children"):
            yield from _nodes(child)
        else:
            yield child
