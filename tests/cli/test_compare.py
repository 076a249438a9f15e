"""infoflow compare: what the other run has otherwise, and what of sessions can't be asked."""

import json
from pathlib import Path

import pytest

import infoflow
from infoflow.cli import main as cli
from infoflow.interventions import Zero
from infoflow.models.spec import ModelSpec

FRANCE, ITALY = "The capital of France is", "The capital of Italy is"
CUT = '{"kind": "zero", "site": "mlp", "layers": 3}'


@pytest.fixture
def loaded(demo: "infoflow.Model", monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infoflow.models.loading.load", lambda spec, *_, **more: demo if spec == ModelSpec() else None)


def told(capsys: pytest.CaptureFixture[str], *given: str) -> dict:
    assert cli.main(["compare", *given, "--quiet"]) == 0
    found: dict = json.loads(capsys.readouterr().out)
    return found


@pytest.mark.usefixtures("loaded")
def test_the_other_run_has_its_own_interventions_or_none(demo: "infoflow.Model", capsys: pytest.CaptureFixture[str]) -> None:
    for more, changed in (((), (1, 1)), (("--change-b", "[]"), (1, 0))):
        found = told(capsys, FRANCE, ITALY, "--analysis", "locate", "--target", " Paris", "--change", CUT, *more)
        both = [found["provenance"][side] for side in "ab"]
        assert tuple(len(one["request"].get("interventions", ())) for one in both) == changed
        runs = [
            infoflow.locate(demo, prompt, " Paris", interventions=[Zero("mlp", layers=(3,))] if n else [])
            for prompt, n in zip((FRANCE, ITALY), changed, strict=True)
        ]
        table = [dict(zip(found["columns"], row, strict=True)) for row in found["rows"]]
        rows = [row for row in table if row["row"] == "L5.post"]
        assert sum(row["b"] for row in rows) == pytest.approx(runs[1].total, abs=1e-3)
        assert sum(row["a"] for row in rows) == pytest.approx(runs[0].total, abs=1e-3)


@pytest.mark.usefixtures("loaded")
def test_sessions_are_as_they_were_run(demo: "infoflow.Model", tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = (
        str(infoflow.save_session(tmp_path / name, [infoflow.attention(demo, text)]))
        for name, text in (("a.zip", FRANCE), ("b.zip", ITALY))
    )
    found = told(capsys, one, other)
    assert [found["provenance"][side]["prompt"] for side in "ab"] == [FRANCE, ITALY]
    for given, said in (
        ((one, other, "--target", " Paris"), "--target is of runs"), ((one, other, "--change-b", CUT), "--change-b is of runs"),
        ((one, ITALY), "The one is a session and the other a prompt."),
        ((one, other, "--analysis", "lens"), "no result in common"),
        ((FRANCE, "--analysis", "size"), "There is no 'size' to compare."),
    ):  # fmt: skip
        assert cli.main(["compare", *given, "--quiet"]) == 2
        assert said in capsys.readouterr().err
