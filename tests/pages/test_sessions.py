"""Sessions in the app: what was looked at is kept, opened where there is no model, run again, changed, deleted, brought back."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import infoflow
from infoflow.analyses.flow import FlowRequest
from infoflow.analyses.request import Request
from infoflow.errors import BadPrompt
from infoflow.files import sessions
from infoflow.files.library import Library
from infoflow.files.sessions import Entry, Session
from infoflow.interventions import Zero
from infoflow.models.spec import ModelSpec
from infoflow.ui import cache
from infoflow.ui import sessions as ui_sessions
from infoflow.ui.beside import compared
from infoflow.ui.seen import Opened, Seen
from tests.helpers.pages import FLOW, ROOT, ask, captions, errors, grid_spec, opened, rows_of

PAGE = str(ROOT / "pages/sessions.py")
PROMPT = "The cat sat on the hat"
GONE = ModelSpec(name="nobody/has-this")


@pytest.fixture(autouse=True)
def owners(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The app listens to this machine alone, and keeps sessions in a folder of the test's."""
    monkeypatch.setattr("infoflow.ui.cache.for_this_machine_alone", lambda: True)
    monkeypatch.setenv("INFOFLOW_SESSIONS", str(tmp_path / "kept"))
    return tmp_path / "kept"


def entry(request: Request[object], demo: "infoflow.Model") -> Entry:
    """A result of the bundled model as if it were of one that is not to be had."""
    found = request.run(demo)
    made = replace(found.provenance, request=replace(found.provenance.request, model=GONE))  # type: ignore[attr-defined]
    return Entry(request=replace(request, model=GONE), result=replace(found, provenance=made))  # type: ignore[type-var]


@pytest.fixture(scope="module")
def kept(demo: "infoflow.Model") -> Session:
    asked = [
        FlowRequest(prompt=PROMPT),
        infoflow.attention(demo, PROMPT).provenance.request,
        infoflow.activations(demo, PROMPT).provenance.request,
        infoflow.locate(demo, PROMPT).provenance.request,
    ]
    last = len(demo.encode(PROMPT)) - 1  # as Python may have asked; the page asks for -1
    asked[3] = replace(asked[3], target=None, position=last)
    asked = [replace(one, model=GONE) for one in asked]
    return Session(entries=tuple(entry(one, demo) for one in asked), title="Cats", note="<b>why?</b>")


def with_open(path: str, session: Session) -> AppTest:
    app = AppTest.from_file(path, default_timeout=120)
    app.session_state["session_open"] = Opened(session)
    app.query_params["prompt"] = PROMPT
    app.query_params["model"] = GONE.name
    return app.run()


@pytest.mark.slow
@pytest.mark.parametrize("page", ["information_flow", "attention", "activations", "answer"])
def test_an_open_session_is_shown_where_there_is_no_model(page: str, kept: Session) -> None:
    app = with_open(str(ROOT / f"pages/{page}.py"), kept)
    assert errors(app) == [] and "Below is the last good run" not in captions(app)
    assert any("saved: Cats" in m.value for m in app.markdown)
    assert GONE.name in app.button(key="shown").label.replace("\\", "")


def test_the_same_question_runs_again_where_none_is_open(kept: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    app = with_open(FLOW, kept)
    before = grid_spec(app)
    del app.session_state["session_open"]
    app.session_state["model"] = "demo"
    app.run()
    assert errors(app) == [] and grid_spec(app) == before and not any("saved" in m.value for m in app.markdown)


def test_what_was_kept_of_one_type_of_weights_is_not_shown_as_of_another(demo: "infoflow.Model") -> None:
    found = infoflow.attention(demo, PROMPT)
    asked = replace(found.provenance.request, model=ModelSpec(name="demo"))
    app = AppTest.from_file(str(ROOT / "pages/compare.py"), default_timeout=120)
    app.session_state["session_open"] = Opened(Session(entries=(Entry(request=asked, result=found),), title="Cats"))
    for name, value in {"prompt": PROMPT, "model": "demo", "cmp_view": "attention", "cmp_dtype": "bfloat16"}.items():
        app.query_params[name] = value
    app.run()
    assert errors(app) == [] and not any("No head looks elsewhere" in i.value for i in app.info)


def test_each_of_two_revisions_has_its_own_result(demo: "infoflow.Model") -> None:
    found = infoflow.attention(demo, PROMPT)

    def of(revision: str, scale: float) -> Entry:
        asked = replace(found.provenance.request, model=ModelSpec(name="owner/model", revision=revision))
        other = replace(found, pattern=found.pattern * np.float32(scale), provenance=replace(found.provenance, request=asked))
        return Entry(request=asked, result=other)

    session = Session(entries=(of("step1", 1.0), of("step2", 0.5)), title="x")
    for entry in session.entries:
        app = AppTest.from_file(str(ROOT / "pages/attention.py"), default_timeout=120)
        app.session_state["session_open"] = Opened(session)
        for name, value in ui_sessions._view(entry, session).items():
            app.query_params[name] = value
        app.run()
        assert errors(app) == []
        row = sum(r["weight"] for r in rows_of(app, "Attention, ") if r["dest"] == 5)
        assert row == pytest.approx(float(entry.result.pattern[0, 0, 5].sum()), abs=1e-4)


def test_what_an_open_session_says(kept: Session) -> None:
    app = AppTest.from_file(PAGE, default_timeout=120)
    app.session_state["session_open"] = Opened(kept)
    app.run()
    assert errors(app) == []
    text = " ".join(m.value for m in app.markdown).replace("\\", "")
    assert "Open: Cats" in text and "4 results" in text and "Flow of “The cat sat on the hat” on nobody/has-this" in text
    assert "<b>why?</b>" not in text  # the note is text, and never markup
    app.button(key="session_close").click().run()
    assert "session_open" not in app.session_state


def test_run_again_tells_whether_the_numbers_are_the_same(demo: "infoflow.Model") -> None:
    found = infoflow.decompose(demo, PROMPT)
    asked = replace(found.provenance.request, model=ModelSpec(name="demo"))
    off = replace(found, source_logits=found.source_logits + np.float32(1))
    for result, said in ((found, "The numbers are the same"), (off, "Not the same: 1 of ")):
        app = AppTest.from_file(PAGE, default_timeout=120)
        app.session_state["session_open"] = Opened(Session(entries=(Entry(request=asked, result=result),), title="x"))
        app.run()
        app.button(key="session_run_0").click().run()
        assert errors(app) == []
        (told,) = [*(s.value for s in app.success), *(w.value for w in app.warning)]
        assert said in told.replace("\\", "")


def again(*entries: Entry) -> AppTest:
    """The page with such a session open, its first result run again."""
    app = AppTest.from_file(PAGE, default_timeout=120)
    app.session_state["session_open"] = Opened(Session(entries=entries, title="x"))
    return app.run().button(key="session_run_0").click().run()


def test_what_was_said_of_one_session_is_not_said_of_the_next(demo: "infoflow.Model", owners: Path) -> None:
    found = infoflow.attention(demo, PROMPT)
    one = Entry(request=replace(found.provenance.request, model=ModelSpec(name="demo")), result=found)
    name = Library(owners).save(Session(entries=(replace(one, result=replace(found, pattern=found.pattern / 2)),), title="y"))
    app = again(one)
    assert len(app.success) == 1
    app.button(key=f"session_open_{name}").click().run()
    assert errors(app) == [] and not app.success and not app.warning


def test_a_run_that_failed_is_not_sent_again_by_every_look(demo: "infoflow.Model", monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[object] = []

    def fail(request: object, *_: object) -> None:
        runs.append(request)
        raise BadPrompt("It went wrong.")

    monkeypatch.setattr("infoflow.ui.cache.results", fail)
    found = infoflow.attention(demo, PROMPT)
    app = again(Entry(request=found.provenance.request, result=found)).run()
    assert errors(app) == ["It went wrong."] and len(runs) == 1
    app.button(key="session_run_0").click().run()
    assert len(runs) == 2


def test_a_key_goes_to_no_service_that_a_file_names(demo: "infoflow.Model", monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[Request[object]] = []
    monkeypatch.setattr("infoflow.ui.cache.results", lambda request, *_: runs.append(request))
    found = infoflow.attention(demo, PROMPT)
    elsewhere = replace(found.provenance.request, model=ModelSpec(name="owner/model", host="https://elsewhere.example"))
    app = again(Entry(request=elsewhere, result=found))
    assert not runs and "no other service gets a key" in errors(app)[0]


def test_visitors_sessions_have_lenses_of_the_hub_alone(demo: "infoflow.Model", monkeypatch: pytest.MonkeyPatch) -> None:
    runs: list[Request[object]] = []

    def run(request: Request[object], *_: object) -> None:
        runs.append(request)
        raise BadPrompt("enough")

    monkeypatch.setattr("infoflow.ui.cache.results", run)
    found = infoflow.logit_lens(demo, PROMPT, k=1)
    entry = Entry(request=replace(found.provenance.request, kind="jacobian", lens="/etc/lens.pt"), result=found)
    for allowed, lens in (("1", "/etc/lens.pt"), ("0", "hub:/etc/lens.pt")):
        monkeypatch.setenv("INFOFLOW_LOCAL_FOLDERS", allowed)
        again(entry)
        assert getattr(runs[-1], "lens", None) == lens


def test_a_view_that_no_link_may_set_breaks_nothing(demo: "infoflow.Model") -> None:
    found = infoflow.attention(demo, PROMPT)
    view = {"embed": ("true",), "Embed_Options": ("x",), "prompt": (PROMPT,)}
    app = AppTest.from_file(PAGE, default_timeout=120)
    app.session_state["session_open"] = Opened(
        Session(entries=(Entry(request=found.provenance.request, result=found, view=view),))
    )
    assert errors(app.run()) == []


def looked_at(*requests: Request[object]) -> AppTest:
    for one in requests:
        cache.results(one, "", lambda *_: None)
    app = AppTest.from_file(PAGE, default_timeout=120)
    app.session_state["seen"] = {one.key: Seen(one, True, {"prompt": (PROMPT,), "model": ("demo",)}) for one in requests}
    return app.run()


def test_what_was_looked_at_is_saved_found_changed_deleted_and_brought_back(owners: Path) -> None:
    asked = FlowRequest(model=ModelSpec(name="demo"), prompt=PROMPT)
    app = looked_at(asked)
    assert errors(app) == [] and not owners.exists()
    app.text_input(key="session_title").set_value("My *cats*").run()
    app.text_area(key="session_note").set_value("of note").run()
    app.button(key="session_save").click().run()
    assert errors(app) == []
    (saved,) = Library(owners).found("cats")
    again = Library(owners).open(saved.name)
    assert again.title == "My *cats*" and again.note == "of note" and again.entries[0].view["prompt"] == (PROMPT,)
    assert again.entries[0].request == asked
    app.text_input(key="session_search").set_value("nothing like it").run()
    assert "Nothing by these words" in captions(app)
    app.text_input(key="session_search").set_value("of note").run()
    app.text_input(key=f"session_title_{saved.name}").set_value("Renamed").run()
    app.button(key=f"session_keep_{saved.name}").click().run()
    assert Library(owners).found()[0].title == "Renamed"
    app.button(key=f"session_open_{saved.name}").click().run()
    assert app.session_state["session_open"].title == "Renamed"
    app.button(key=f"session_delete_{saved.name}").click().run()
    assert Library(owners).found() == [] and "Deleted: Renamed" in captions(app)
    app.button(key="session_undo").click().run()
    assert len(Library(owners).found()) == 1 and "Deleted" not in captions(app)


def test_the_stream_goes_along_where_it_is_asked_for() -> None:
    app = looked_at(FlowRequest(model=ModelSpec(name="demo"), prompt=PROMPT))
    small = len(app.session_state["session_built"][1])
    app.toggle(key="session_stream").set_value(True).run()
    assert errors(app) == []
    data = app.session_state["session_built"][1]
    assert len(data) > small
    flow, acts = sessions.open_session(data).entries
    assert acts.request.analysis == "activations" and acts.request.prompt == PROMPT and acts.result.z is not None
    app.multiselect(key="session_without").set_value(["z"]).run()
    lighter = sessions.open_session(app.session_state["session_built"][1]).entries[1].result
    assert lighter.z is None and lighter.pattern is not None
    app.button_group(key="session_type").set_value("float16").run()
    assert len(app.session_state["session_built"][1]) < len(data)


def test_what_would_have_to_run_again_does_not_by_itself(kept: Session) -> None:
    app = AppTest.from_file(PAGE, default_timeout=120)
    app.session_state["session_open"] = Opened(kept)
    app.session_state["seen"] = {one.request.key: Seen(one.request, True) for one in kept.entries}
    app.run()
    assert len(sessions.open_session(app.session_state["session_built"][1]).entries) == len(kept.entries)
    app.button(key="session_close").click().run()
    app = AppTest.from_file(PAGE, default_timeout=120)  # and so when it is come back to
    app.session_state["seen"] = {one.request.key: Seen(one.request, True) for one in kept.entries}
    app.run()
    assert errors(app) == [] and "Choose what goes into the session" in captions(app)


def test_the_file_is_made_once_and_anew_when_something_in_it_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    made, as_zip = [], sessions.as_zip
    monkeypatch.setattr(sessions, "as_zip", lambda *given: made.append(given) or as_zip(*given))
    app = looked_at(FlowRequest(model=ModelSpec(name="demo"), prompt=PROMPT))
    app.text_input(key="session_search").set_value("x").run()
    assert errors(app) == [] and len(made) == 1
    app.toggle(key="session_stream").set_value(True).run()
    for parts in (["z"], ["pattern"], []):
        app.multiselect(key="session_without").set_value(parts).run()
        acts = sessions.open_session(app.session_state["session_built"][1]).entries[1].result
        assert (acts.z is None) == ("z" in parts) and (acts.pattern is None) == ("pattern" in parts)
    assert len(made) == 5


def test_visitors_of_an_app_that_is_open_to_others_keep_nothing_on_it(monkeypatch: pytest.MonkeyPatch, owners: Path) -> None:
    monkeypatch.setattr("infoflow.ui.cache.for_this_machine_alone", lambda: False)
    app = looked_at(FlowRequest(model=ModelSpec(name="demo"), prompt=PROMPT))
    assert errors(app) == [] and "nothing is kept on its machine" in captions(app)
    assert not [b for b in app.button if b.key in ("session_save", "session_search")] and not owners.exists()
    assert len(app.get("download_button")) == 1


def test_pages_remember_what_was_looked_at_and_how() -> None:
    app = ask(opened(), PROMPT)
    (one, *_) = [s for s in app.session_state["seen"].values() if s.request.prompt == PROMPT]
    assert one.main and one.request.analysis == "flow"


@pytest.mark.parametrize(("data", "said"), [(b"no zip", "no zip file"), (b"", "no zip file"), (None, "")])
def test_an_upload_is_checked_and_opened(data: bytes | None, said: str, kept: Session, owners: Path) -> None:
    app = AppTest.from_file(PAGE, default_timeout=120).run()
    app.get("file_uploader")[0].upload("session.zip", sessions.as_zip(kept) if data is None else data).run()
    app.button(key="session_file_open").click().run()
    if data is None:
        assert errors(app) == [] and app.session_state["session_open"].title == "Cats"
    else:
        assert said in errors(app)[0] and "session_open" not in app.session_state
    assert not owners.exists()


def test_two_sessions_stand_beside_each_other(demo: "infoflow.Model", owners: Path) -> None:
    def held(prompt: str) -> Session:
        found = [infoflow.decompose(demo, prompt), infoflow.activations(demo, prompt), infoflow.attention(demo, prompt)]
        return sessions.session_of(found, prompt)

    one, other = held("The capital of France is"), held("The capital of Italy is")
    name = Library(owners).save(other)
    app = AppTest.from_file(PAGE, default_timeout=120)
    app.session_state["session_open"] = Opened(one, Library(owners).save(one))
    app.session_state["fold_beside_0"] = True
    app.run()
    assert [option for option in app.selectbox(key="session_beside").options] == [f"The capital of Italy is · {other.made[:10]}"]
    app.selectbox(key="session_beside").set_value(name).run()
    assert errors(app) == []
    folds = [e.label.split(":")[0] for e in app.expander if "The capital of Italy" in e.label]
    assert folds == ["Flow", "Attention"]  # the stream itself is not compared value by value
    expected = infoflow.compare(one.entries[0].result, other.entries[0].result)
    assert expected.summary() in " ".join(m.value for m in app.markdown).replace("\\", "")


def test_results_of_one_prompt_stand_beside_each_other_whatever_their_order(demo: "infoflow.Model") -> None:
    one, other = (infoflow.attention(demo, text) for text in ("The sky is", "The cat is"))
    found = compared(sessions.session_of([one, other]), sessions.session_of([other, one, other]))
    assert [pair.provenance.apart for pair in found] == ["nothing", "nothing"] and found[0].a is one
    mixed = compared(sessions.session_of([one, one]), sessions.session_of([other, one]))
    assert [pair.provenance.apart for pair in mixed] == ["nothing", "prompts"]


def test_links_of_a_session_that_python_made_ask_the_same(demo: "infoflow.Model") -> None:
    found = infoflow.locate(demo, PROMPT, " the", against=" a", interventions=[Zero("mlp", 1)])
    (held,) = sessions.session_of([found]).entries
    address = ui_sessions._view(held, Session(entries=(held,)))
    app = AppTest.from_file(str(ROOT / "pages/answer.py"), default_timeout=120)
    app.session_state["session_open"] = Opened(Session(entries=(held,), title="Made in Python"))
    for name, value in address.items():
        app.query_params[name] = value
    app.run()
    assert errors(app) == [] and any("saved: Made in Python" in m.value for m in app.markdown)
