"""Many prompts on their page: run here, opened from a folder, shown by summary; and each row's address asks what the row says."""

import contextlib
import tempfile
import threading
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from streamlit.testing.v1 import AppTest

import infoflow
from infoflow.analyses.request import Request
from infoflow.models.spec import ModelSpec
from infoflow.studies.batch import ANALYSES, Asked, request_of
from infoflow.ui import batch as ui
from infoflow.ui import cache
from tests.helpers.dataset import made
from tests.helpers.pages import ROOT, button, captions, choose, errors, opened, unescaped

BATCH = str(ROOT / "pages/batch.py")
PAGE_OF = {"/": "information_flow"}
SHOWN = {"flow": "flow", "locate": "location", "lens": "logit_lens", "heads": "attention", "attribute": "location"}
"""what the page of an analysis keeps as asked; Circuits finds the answer first"""


def many(prompts: str) -> AppTest:
    app = AppTest.from_file(BATCH, default_timeout=120)
    app.session_state["batch_prompts"] = prompts
    return app.run()


def says(app: AppTest) -> str:
    return " ".join(unescaped(m.value) for m in app.markdown) + " ".join(unescaped(b.label) for b in app.button)


def table(app: AppTest, number: int = -1) -> Any:
    return app.dataframe[number].value


def visited(link: str) -> AppTest:
    """The page that an address opens."""
    found = urlsplit(link)
    page = PAGE_OF.get(found.path, found.path[1:])
    app = AppTest.from_file(str(ROOT / f"pages/{page}.py"), default_timeout=120)
    for name, values in parse_qs(found.query, strict_parsing=True, keep_blank_values=True).items():
        app.query_params[name] = values
    return app.run()


def held(app: AppTest, analysis: str) -> Request[Any]:
    found: Request[Any] = app.session_state[f"{analysis}_shown"]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("analysis", ANALYSES)
def test_the_page_of_a_rows_address_asks_what_was_asked(analysis: str, demo: "infoflow.Model", tmp_path: Path) -> None:
    """Of the same model the page's request is the row's, but for what it reads beside: the lens's other positions, and what
    Circuits makes of the answer that it finds."""
    prompt = 'The  capital of France, "é & b?" is\tthe'
    given = [{"prompt": prompt, "target": " Paris", "against": " Rome"}]
    row = infoflow.batch(demo, given, tmp_path, [analysis], spec=ModelSpec()).to_frame().iloc[0]
    assert row["error"] is None or row["error"] != row["error"], row["error"]
    asked = (
        request_of(analysis, Asked(model=ModelSpec(), prompt=prompt, target=" Paris", against=" Rome")).exactly(demo).to_dict()
    )
    there = held(visited(row[f"link_{analysis}"]), SHOWN[analysis]).exactly(demo).to_dict()
    if analysis == "lens":
        assert there.pop("positions")[-1] == asked.pop("positions")[-1]
    if analysis == "attribute":
        names = ("model", "prompt", "target", "against", "position", "interventions", "centred", "contrast")
        there, asked = ({name: of[name] for name in names} for of in (there, asked))
    assert there == asked


@pytest.mark.slow
def test_prompts_are_run_and_summarised(tmp_path: Path) -> None:
    app = many("The cat sat on the mat. The cat sat on the\n\nThe capital of France is")
    assert errors(app) == [] and "2 prompts on demo." in says(app)
    listed = table(app)
    assert listed["prompt"].tolist() == ["The cat sat on the mat. The cat sat on the", "The capital of France is"]
    assert listed["link_heads"][1] == "./attention?prompt=The+capital+of+France+is" and listed["next"].tolist() == [
        "mat",
        "Paris",
    ]
    assert "The mean over 2 prompts." in captions(app)
    for name, said in (("kinds of token", "mean over 2 prompts"), ("heads", "Letters: P"), ("writes", "Columns are heads"),
                       ("moves", "On how many prompts"),
                       ("errors", "Prompts by the largest error")):  # fmt: skip
        assert errors(choose(app, "Show", name)) == [] and said in captions(app), name
    choose(app, "Show", "one head")
    assert errors(app) == [] and len(table(app, 0)) == 2 and "link" in table(app, 0) and len(app.dataframe) == 3
    folder = app.session_state["batch_made"].place.name
    before = {path: path.stat().st_mtime_ns for path in Path(folder).glob("*/*.parquet")}
    app.run()
    assert before == {path: path.stat().st_mtime_ns for path in Path(folder).glob("*/*.parquet")}, "nothing is run twice"
    told = [run for run in cache.journal().last() if run.analysis == "batch"]
    assert (told[0].model, told[0].outcome, told[0].prompt) == ("demo", "ran", None)


@pytest.mark.slow
def test_a_sentence_goes_to_what_it_names(tmp_path: Path) -> None:
    made(tmp_path)
    app = AppTest.from_file(BATCH, default_timeout=120)
    app.query_params["batch_folder"] = str(tmp_path)
    app.run()
    assert errors(app) == [] and "3 prompts on by-hand, 1 with an error." in says(app)
    next(b for b in app.button if "layer" in b.label).click().run()
    assert app.session_state["batch_show"] == "moves" and errors(app) == []
    next(b for b in app.button if "induction head" in b.label).click().run()
    assert (app.session_state["batch_show"], app.session_state["layer"], app.session_state["head"]) == ("one head", 0, 0)
    assert table(app, 0)["link"].tolist()[0].startswith("./attention?prompt=1&layer=0&head=0")
    app.selectbox(key="batch_group").set_value("y").run()
    assert errors(app) == [] and table(app)["number"].tolist() == [1] and "1 prompt of “y” on by-hand." in says(app)


@pytest.mark.slow
def test_bad_prompts_are_rows_and_bad_input_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ui, "MOST", 3)
    assert errors(many(" \n"))[0].startswith("There are no prompts.")
    assert errors(many("a\nb\nc\nd"))[0].startswith("More than 3 prompts are not run here.")
    long = many("The sky is")
    long.file_uploader(key="batch_file").upload("long.txt", b"a" * 20_001, "text/plain").run()
    assert errors(long)[0].startswith("Prompt 0 has more than 20,000 characters.")
    app = many("a" * 15_000 + "\nThe sky is")
    assert errors(app) == [] and "1 with an error" in says(app)
    app.button_group(key="batch_analyses").set_value([])
    button(app, "Run").click().run()
    assert errors(app)[0].startswith("No analysis is chosen.")


@pytest.mark.slow
def test_what_was_shown_stays_where_nothing_comes_of_what_is_asked() -> None:
    app = many("The sky is\nThe cat sat on the")
    assert errors(app) == [] and "2 prompts on demo." in says(app)
    for prompts in (" \n", "x\n" * 51):
        app.text_area(key="batch_prompts").set_value(prompts)
        button(app, "Run").click().run()
        assert len(errors(app)) == 1 and ui.BEFORE in captions(app)
        assert "2 prompts on demo." in says(app) and len(table(app)) == 2
    app.text_area(key="batch_prompts").set_value("The sky was")
    button(app, "Run").click().run()
    assert errors(app) == [] and ui.BEFORE not in captions(app) and "1 prompt on demo." in says(app)


@pytest.mark.slow
def test_a_file_is_run_in_the_place_of_what_is_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    app = many("The sky is")
    app.get("file_uploader")
    uploader = app.file_uploader(key="batch_file")
    uploader.upload("prompts.csv", b"prompt,group\nThe capital of France is,facts\nabc,\n", "text/csv").run()
    assert errors(app) == [] and table(app)["group"].tolist()[0] == "facts" and len(table(app)) == 2
    app.file_uploader(key="batch_file").upload("prompts.csv", b"text\nabc\n", "text/csv").run()
    assert errors(app)[0].startswith("There is no column 'prompt'")


def test_a_folder_is_opened_where_folders_may_be_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = AppTest.from_file(BATCH, default_timeout=120)
    app.query_params["batch_folder"] = str(tmp_path)
    assert errors(app.run())[0].startswith("There is no data set of prompts in")
    monkeypatch.setenv("INFOFLOW_LOCAL_FOLDERS", "0")
    app = AppTest.from_file(BATCH, default_timeout=120)
    app.query_params["batch_folder"] = str(tmp_path)
    app.session_state["batch_prompts"] = "The sky is"
    app.run()
    assert errors(app) == [] and "1 prompt on demo." in says(app), "the address names no folder there"
    assert not [one for one in app.text_input if one.key == "batch_folder"]


@pytest.mark.slow
def test_what_was_stopped_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    from infoflow.errors import Cancelled

    once, stops = ui._run, [True]

    def stopped(made: ui.Made, key: str, job: Any) -> bool:
        if not stops:
            return once(made, key, job)
        say = job.say

        def after_one(doing: str, fraction: float = 0.0) -> None:
            if doing.startswith("1 of"):
                stops.clear()
                raise Cancelled("stopped")
            say(doing, fraction)

        job.say = after_one
        return once(made, key, job)

    monkeypatch.setattr(ui, "_run", stopped)
    app = many("The sky is\nThe capital of France is")
    assert errors(app) == [] and "1 prompt on demo." in says(app) and any("Run goes on" in i.value for i in app.info)
    button(app, "Run").click().run()
    assert errors(app) == [] and "2 prompts on demo." in says(app) and not app.info


def test_a_run_waits_for_the_stopped_one_that_still_writes(monkeypatch: pytest.MonkeyPatch, demo: "infoflow.Model") -> None:
    """Run is pressed before the stopped run has heard of it: the folder is still that one's."""
    inside, most, begun, go = [0], [0], threading.Event(), threading.Event()

    def batch(*of: Any, **more: Any) -> None:
        inside[0] += 1
        most[0] = max(most[0], inside[0])
        begun.set()
        go.wait(10)
        inside[0] -= 1

    monkeypatch.setattr(ui.runner, "batch", batch)
    monkeypatch.setattr(ui.cache, "using", lambda *of: contextlib.nullcontext(demo))
    made = ui.Made(ui.Wanted((), ModelSpec(), ("lens",)), tempfile.TemporaryDirectory())
    jobs = [ui.jobs.Job(), ui.jobs.Job()]
    threads = [threading.Thread(target=ui._run, args=(made, "", job)) for job in jobs]
    threads[0].start()
    begun.wait(10)
    threads[1].start()
    while threads[1].is_alive() and not jobs[1].doing.startswith("Waiting"):
        assert most[0] == 1
    go.set()
    for thread in threads:
        thread.join(20)
    assert most[0] == 1 and not made.turn.locked()


@pytest.mark.slow
def test_the_examples_are_there_at_first() -> None:
    app = opened(BATCH)
    assert errors(app) == [] and len(table(app)) == 7
