"""infoflow batch: files in, a data set out, exit codes, going on."""

import io
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

import infoflow
from infoflow.analyses import selftest
from infoflow.cli import main as cli
from infoflow.files import batch as runner
from tests.helpers.loopback import KEY

ROOT = Path(__file__).parents[2]


@pytest.fixture
def given(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.csv"
    path.write_text("prompt,group\nThe capital of France is,facts\nThe sky is,facts\n")
    return path


def test_a_file_becomes_a_data_set_and_progress_is_told(given: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = ["batch", str(given), "--out", str(tmp_path / "out"), "--analysis", "lens, heads"]
    assert cli.main(asked) == 0
    told = capsys.readouterr()
    assert "Loading demo" in told.err and "\r2 of 2 prompts" in told.err and "2 prompts are in" in told.err and told.out == ""
    found = infoflow.open_batch(tmp_path / "out")
    assert found.analyses == ("lens", "heads") and found.to_frame()["top"].str.strip().tolist() == ["Paris", "blue"]
    assert found.to_frame()["link"][0] == "/logit_lens?prompt=The+capital+of+France+is"
    with given.open("a") as file:
        file.write("The opposite of hot is,\n")
    assert cli.main([*asked, "--quiet"]) == 0 and infoflow.open_batch(tmp_path / "out").counts == (3, 0)
    assert capsys.readouterr().err == "", "more rows of the same file are more rows of the set"


def test_failed_prompts_are_told_by_the_exit_code(given: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with given.open("a") as file:
        file.write('" ",\n')
    assert cli.main(["batch", str(given), "--out", str(tmp_path / "out"), "--analysis", "lens", "--quiet"]) == 4
    assert "1 of 3 prompts have an error. Prompt 2: The prompt is empty." in capsys.readouterr().err
    assert cli.main(["batch", str(given), "--out", str(tmp_path / "two"), "--analysis", "lens", "--quiet", "--limit", "2"]) == 0


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--analysis", "nonsense"], "There is no analysis 'nonsense' of many prompts"),
        (["--shard", "5/4"], "'5/4' is no shard"),
        (["--limit", "0"], "are whole numbers of 1 or more"),
        (["--parallel", "2"], "Several requests at once are for a hosted model"),
        (["--format", "xml"], "There are no prompts of kind 'xml'"),
        (["--model", "/no/such"], "no folder '/no/such'"),
        (["--dtype", "int3"], "int3"),
        (["--host", "nowhere"], "is no address of a service"),
    ],
)
def test_bad_input_is_a_sentence(
    more: list[str], said: str, given: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["batch", str(given), "--out", str(tmp_path / "out"), "--quiet", *more]) == 2
    assert said in capsys.readouterr().err


def test_bad_files_are_told_before_a_model_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("infoflow.models.loading.load", lambda *more: pytest.fail("loaded"))
    bad = tmp_path / "bad.jsonl"
    bad.write_text('{"prompt": "a"}\n{"prompt": 3}\n')
    for path, said in ((bad, "Line 2 of"), (tmp_path / "none.csv", "No such file")):
        assert cli.main(["batch", str(path), "--out", str(tmp_path / "out"), "--quiet"]) == 2
        assert said in capsys.readouterr().err


def test_a_shard_without_rows_is_done_and_a_file_without_prompts_is_told(
    given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of sixteen processes on two rows fourteen have nothing to do, and did it."""
    monkeypatch.setattr("infoflow.models.loading.load", lambda *more: pytest.fail("loaded"))
    assert cli.main(["batch", str(given), "--out", str(tmp_path / "out"), "--shard", "5/16"]) == 0
    assert "is in shard 5/16" in capsys.readouterr().err
    given.write_text("prompt\n")
    assert cli.main(["batch", str(given), "--out", str(tmp_path / "out")]) == 2
    assert "There are no prompts in" in capsys.readouterr().err


def test_standard_input_is_a_file_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Input:
        buffer = io.BytesIO(b'{"prompt": "The sky is", "id": 3}\n"The capital of France is"\n')

    monkeypatch.setattr("sys.stdin", Input())
    asked = ["batch", "-", "--format", "jsonl", "--out", str(tmp_path / "out"), "--analysis", "lens", "--quiet"]
    assert cli.main(asked) == 0
    assert infoflow.open_batch(tmp_path / "out").to_frame()["id"].tolist()[0] == "3"


def test_a_run_that_is_interrupted_says_how_it_goes_on(
    given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    once, done = runner.Run.of, []

    def interrupted(self: runner.Run, row: runner.Row) -> runner.Kept:
        if done:
            raise KeyboardInterrupt
        done.append(row)
        return once(self, row)

    monkeypatch.setattr(runner.Run, "of", interrupted)
    asked = ["batch", str(given), "--out", str(tmp_path / "out"), "--analysis", "lens", "--quiet", "--together", "1"]
    assert cli.main(asked) == 130
    assert "What is done is in" in capsys.readouterr().err and infoflow.open_batch(tmp_path / "out").counts == (1, 0)
    monkeypatch.setattr(runner.Run, "of", once)
    assert cli.main(asked) == 0 and infoflow.open_batch(tmp_path / "out").counts == (2, 0)


def test_a_refused_model_ends_with_a_code_and_a_sentence(
    given: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    judged = selftest.judge
    monkeypatch.setattr(selftest, "judge", lambda flow: replace(judged(flow), verdict=selftest.Verdict.UNSUPPORTED))
    monkeypatch.setattr("infoflow.models.loading.load", lambda spec: infoflow.load_model("demo"))  # and tested
    assert cli.main(["batch", str(given), "--out", str(tmp_path / "out"), "--analysis", "lens", "--quiet"]) == 3
    assert "the self-test refused demo" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_on_the_service(service, hosted, folders, tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("NDIF_API_KEY", KEY)
    given = tmp_path / "prompts.txt"
    given.write_text("ab\ncd\n")
    asked = ["batch", str(given), "--model", str(folders["llama"]), "--analysis", "lens", "--quiet"]
    there, here = tmp_path / "there", tmp_path / "here"
    assert cli.main([*asked, "--out", str(there), "--host", service.host, "--parallel", "2"]) == 0
    assert cli.main([*asked, "--out", str(here)]) == 0
    ours, theirs = (infoflow.open_batch(place).to_frame() for place in (here, there))
    assert ours["top_id"].tolist() == theirs["top_id"].tolist()
    pd.testing.assert_series_equal(ours["top_probability"], theirs["top_probability"], rtol=1e-3)


def heard() -> None:
    """What was started in the background has been told not to hear Ctrl-C, and so would what it starts."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.slow
def test_ctrl_c_ends_a_real_process_with_130(tmp_path: Path) -> None:
    given = tmp_path / "prompts.txt"
    given.write_text("".join(f"The number is {n}\n" for n in range(400)))
    out = tmp_path / "out"
    command = [sys.executable, "-m", "infoflow", "batch", str(given), "--out", str(out), "--analysis", "lens", "--at-once", "4"]
    process = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, preexec_fn=heard)
    until = time.monotonic() + 90
    while not list(out.glob("prompts/*.parquet")):
        assert time.monotonic() < until and process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    told = process.communicate(timeout=60)[1]
    assert process.returncode == 130 and "run the same again to go on" in told, told
    rows, failed = infoflow.open_batch(out).counts
    assert 4 <= rows < 400 and failed == 0
