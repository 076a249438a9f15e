"""infoflow report: of prompts, of files that commands wrote, of sessions."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

import infoflow
from infoflow.cli import main as cli
from infoflow.cli import report as command
from infoflow.files import formats, reports
from infoflow.models.spec import ModelSpec

PROMPT = "The capital of France is"


@pytest.fixture(autouse=True)
def on_demo(demo: "infoflow.Model", monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[ModelSpec]:
    """A folder to write into; which models were loaded. For the library of charts stands a word."""
    asked: list[ModelSpec] = []

    def load(spec: ModelSpec, on_progress: object = None) -> "infoflow.Model":
        asked.append(spec)
        return demo

    monkeypatch.setattr("infoflow.models.loading.load", load)
    monkeypatch.setattr(reports, "_library", lambda: "var vegaEmbed;")
    monkeypatch.chdir(tmp_path)
    return asked


def headings(file: str = "report.html") -> list[str]:
    return re.findall(r"<h2><bdi>(.*?)</bdi>", Path(file).read_text())


def test_prompts_are_run_by_every_analysis_on_a_model_that_is_loaded_once(on_demo: list[ModelSpec]) -> None:
    given = [
        "report",
        "--prompt",
        PROMPT,
        "--prompt",
        "The sky is",
        "--quiet",
        "--title",
        "T <b>",
        "--note",
        "N",
        "--target",
        "Paris",
    ]
    change = '{"kind": "zero", "site": "mlp", "layers": 5}'
    assert cli.main([*given, "--against", "Rome", "--analysis", "attribute,attention", "--change", change]) == 0
    found = headings()
    assert len(found) == 4 and len(on_demo) == 1 and all("with 1 intervention" in one for one in found)
    page = Path("report.html").read_text()
    assert "<title>T &lt;b&gt;</title>" in page and "logit difference" in found[0] and "The sky is" in found[2]


def test_every_analysis_is_asked_with_what_it_takes() -> None:
    options = cli.parser().parse_args(["report", "--prompt", "a", "--target", "Paris", "--analysis", ",".join(command.ANALYSES)])
    requests = command.requests(options)
    assert [request.analysis for request in requests] == [
        "flow",
        "attention",
        "logit_lens",
        "location",
        "attribution",
        "generation",
    ]
    assert [getattr(request, "target", None) for request in requests] == [None, None, None, "Paris", "Paris", None]
    assert requests[2].targets == ("Paris",)


def test_what_a_command_wrote_is_run_again(capsys: pytest.CaptureFixture[str]) -> None:
    for name, more in (("attribute", ["--target", "Paris"]), ("correct", ["No, Rome."])):
        assert cli.main([name, PROMPT, *more, "--out", f"{name}.json", "--quiet"]) == 0
    assert cli.main(["report", "attribute.json", "correct.json", "--out", "all.html"]) == 0
    assert [one.split()[0] for one in headings("all.html")] == ["What", "From"]
    assert "Running again what 'correct.json' is of" in capsys.readouterr().err


def test_a_comparison_that_was_written_is_made_again() -> None:
    asked = ["compare", PROMPT, "The capital of Italy is", "--quantity", "projection", "--quiet", "--out"]
    assert cli.main([*asked, "c.json"]) == 0 and cli.main(["report", "c.json", "--quiet"]) == 0
    page = Path("report.html").read_text()
    assert "What the residual of" in page and "Italy" in page and "infoflow.compare(a, b, quantity=" in page
    made = json.loads(Path("c.json").read_text())
    made["provenance"]["options"]["colour"] = "red"
    Path("c.json").write_text(json.dumps(made))
    assert cli.main(["report", "c.json", "--quiet"]) == 2


def test_no_file_sends_a_key_to_a_service_of_its_own(
    demo: "infoflow.Model", on_demo: list[ModelSpec], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = infoflow.attribute(demo, PROMPT, " Paris")
    request = replace(made.provenance.request, model=ModelSpec(name="a/b", host="http://127.0.0.1:9"))
    there = replace(made, provenance=replace(made.provenance, request=request))
    Path("there.json").write_bytes(formats.as_json(there))
    infoflow.save_session("there.zip", [there])
    for given in (["report", "there.json"], ["sessions", "again", "there.zip"]):
        assert cli.main([*given, "--quiet"]) == 2 and not on_demo
        assert "It was run on http://127.0.0.1:9, and runs go to https://" in capsys.readouterr().err
        monkeypatch.setenv("NDIF_HOST", "http://127.0.0.1:9/")
        assert cli.main([*given, "--quiet"]) == 0 and [spec.host for spec in on_demo] == ["http://127.0.0.1:9"]
        monkeypatch.delenv("NDIF_HOST")
        on_demo.clear()


@pytest.mark.slow
def test_a_session_is_reported_as_it_was_kept(demo: "infoflow.Model", on_demo: list[ModelSpec]) -> None:
    results = [infoflow.attribute(demo, PROMPT, " Paris"), infoflow.locate(demo, PROMPT, " Paris", against=" Rome")]
    infoflow.save_session("session.zip", results, title="Kept & told", note="Of a Tuesday.")
    assert cli.main(["report", "session.zip", "--quiet"]) == 0
    page = Path("report.html").read_text()
    assert "<title>Kept &amp; told</title>" in page and "Of a Tuesday." in page and len(headings()) == 2 and not on_demo
    assert all(result.summary()[:40] in page for result in results)
    assert cli.main(["report", "session.zip", "--quiet", "--title", "Another", "--out", "b.html"]) == 0
    assert "<title>Another</title>" in Path("b.html").read_text()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([], "There is nothing to report"), (["--prompt", "a", "--out", "a.pdf"], "A report is .html"),
        (["--prompt", "a", "--analysis", "magic"], "There is no analysis 'magic' for a report"),
        (["--prompt", "a", "--analysis", "attribute"], "Name it with --target"),
        (["none.zip"], "none.zip"), (["none.json"], "'none.json' is no session and no result"),
        (["list.json"], "'list.json' is no session and no result"), (["deep.json"], "'deep.json' is no session and no result"),
        (["bad.json"], "There is no analysis 'magic'"),
    ],
)  # fmt: skip
def test_what_can_not_be_reported_is_told(given: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("list.json").write_text("[1, 2]")
    Path("deep.json").write_text("[" * 100_000)
    Path("bad.json").write_text(json.dumps({"provenance": {"request": {"analysis": "magic"}}}))
    assert cli.main(["report", *given, "--quiet"]) == 2
    assert said in capsys.readouterr().err and not list(Path().glob("*.html"))
