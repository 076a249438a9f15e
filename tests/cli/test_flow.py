"""python -m infoflow: files, standard output, exit codes."""

import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import infoflow
from infoflow.analyses import selftest
from infoflow.cli import main as cli
from infoflow.pictures.picture import background
from tests.helpers.loopback import KEY

PROMPT = "The capital of France is"


def test_writes_json_and_says_what_it_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "flow.json"
    assert cli.main(["flow", PROMPT, "--model", "demo", "--out", str(out)]) == 0
    data = json.loads(out.read_text())
    assert data["tokens"][-2:] == [" France", " is"]
    assert data["top_predictions"][0]["token"] == " Paris"
    assert len(data["attention_norms"]) == len(data["mlp_norms"]) == 6
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Layer 6 of 6" in captured.err and "Written to" in captured.err


def test_without_a_file_json_goes_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["flow", PROMPT, "--quiet", "--sources", "words"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["provenance"]["sources"] == "words"
    assert captured.err == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "begins"),
    [("csv", b"layer,stage,position"), ("parquet", b"PAR1"), ("svg", b"<svg")],
)  # fmt: skip
def test_tables_and_dark_pictures_are_written(kind: str, begins: bytes, tmp_path: Path) -> None:
    out = tmp_path / f"flow.{kind}"
    assert cli.main(["flow", PROMPT, "--out", str(out), "--quiet", "--metric", "projection", "--dark"]) == 0
    written = out.read_bytes()
    assert written.startswith(begins) and len(written) > 1000
    if kind == "csv":
        table = pd.read_csv(io.BytesIO(written))
        np.testing.assert_allclose(table["share"], table["projection"])
        assert (table["share"] < 0).any()  # as no share by norm is
    if kind == "svg":
        assert f'fill="{background(True)}"'.encode() in written and b"by projection" in written


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["flow", "  "], "The prompt is empty"),
        (["flow", PROMPT, "--out", "flow.docx"], "no ending that can be written"),
        (["flow", PROMPT, "--model", "/no/such/folder"], "There is no folder"),
        (["flow", "word " * 100], "the limit is 64"),
        (["flow", PROMPT, "--out", "/no/such/place/flow.json"], "can't be written"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*arguments, "--quiet"]) == 2
    captured = capsys.readouterr()
    assert message in captured.err and captured.err.count("\n") == 1
    assert captured.out == ""


@pytest.mark.slow
def test_runs_as_a_module_with_clean_streams() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "infoflow", "flow", "-", "--quiet"], input=PROMPT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["tokens"][:2] == ["<|begin_of_text|>", "The"]


def test_a_run_on_the_service(service, hosted, folders, monkeypatch, capsys) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("NDIF_API_KEY", KEY)
    sent = len(service.received())
    asked = ["flow", "abc", "--model", str(folders["llama"]), "--quiet"]
    assert cli.main([*asked, "--remote", "--host", service.host]) == 0
    there = json.loads(capsys.readouterr().out)
    assert len(service.received()) > sent and there["provenance"]["request"]["model"]["host"] == service.host
    monkeypatch.setenv("NDIF_HOST", service.host)
    assert cli.main([*asked, "--remote"]) == 0 and cli.main(asked) == 0
    assert cli.main([*asked, "--host", "nowhere"]) == 2 and "is no address of a service" in capsys.readouterr().err


class _Bytes:
    """Standard input of these bytes."""

    def __init__(self, data: bytes) -> None:
        self.buffer = io.BytesIO(data)


def test_one_final_line_break_of_standard_input_is_no_part_of_the_prompt(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`echo` and `printf` ask the same; a second line break is the reader's own."""
    tokens = []
    for data in (b"The sky is", b"The sky is\n", b"The sky is\r\n", b"The sky is\n\n"):
        monkeypatch.setattr("sys.stdin", _Bytes(data))
        assert cli.main(["flow", "-", "--quiet"]) == 0
        tokens.append(json.loads(capsys.readouterr().out)["tokens"])
    assert tokens[0] == tokens[1] == tokens[2] and tokens[3] == [*tokens[0], "\n"]
    monkeypatch.setattr("sys.stdin", _Bytes(b"\xff\xfe"))
    assert cli.main(["flow", "-", "--quiet"]) == 2 and "no text in UTF-8" in capsys.readouterr().err


def test_a_refused_model_ends_with_a_code_and_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    judged = selftest.judge
    wrong = lambda flow: replace(judged(flow), verdict=selftest.Verdict.UNSUPPORTED)  # noqa: E731
    monkeypatch.setattr(selftest, "judge", wrong)
    monkeypatch.setattr("infoflow.models.loading.load", lambda spec, on_progress=None: infoflow.load_model("demo"))
    assert cli.main(["flow", PROMPT, "--quiet", "--out", str(tmp_path / "flow.json")]) == 3
    assert "the self-test refused demo" in capsys.readouterr().err
    assert json.loads((tmp_path / "flow.json").read_text())["provenance"]["verdict"] == "unsupported"


def test_characters_without_a_glyph_are_named_where_a_picture_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["flow", "ไทย", "--out", str(tmp_path / "flow.pdf")]) == 0
    assert "No font here has" in capsys.readouterr().err and (tmp_path / "flow.pdf").read_bytes().startswith(b"%PDF")
