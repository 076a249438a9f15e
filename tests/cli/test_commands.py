"""Every command there is: its help has examples, its examples run, its errors can be read by a program."""

import argparse
import csv
import dataclasses
import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

import infoflow
from infoflow.analyses.attention import AttentionRequest
from infoflow.analyses.attribution import AttributionRequest
from infoflow.analyses.flow import FlowRequest
from infoflow.analyses.generation import GenerationRequest
from infoflow.analyses.location import LocationRequest
from infoflow.analyses.logit_lens import LensRequest
from infoflow.analyses.patching import PatchRequest
from infoflow.cli import compare, options
from infoflow.cli import main as cli
from infoflow.errors import BadPrompt
from infoflow.interventions import Block, Scale, Zero
from infoflow.studies.corrections import CorrectionRequest

PROMPT = "The capital of France is"
COMMANDS = cli.commands()
SERVES = {"app", "mcp"}
"""commands that end when they are stopped"""
BEGINS = {".html": b"<!DOCTYPE html>", ".png": b"\x89PNG", ".svg": b"<svg", ".pdf": b"%PDF", ".parquet": b"PAR1", ".json": b"{"}
TEXTS = "The old wizard walked through the forest and found a small house there.\n\nThe cat sat on the mat, and then it slept.\n"


@pytest.fixture
def on_demo(session_file: bytes, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder to write into, with what examples read."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "texts.txt").write_text(TEXTS)
    (tmp_path / "session.zip").write_bytes(session_file)
    return tmp_path


def test_every_command_is_found() -> None:
    wanted = "flow attribute locate attention lens generate correct patch compare batch report sessions models check app"
    assert set(wanted.split()) <= set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_examples_of_the_command(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    command: ModuleType = COMMANDS[name]
    assert command.EXAMPLES and all(line.startswith(f"infoflow {name}") for line in command.EXAMPLES)
    with pytest.raises(SystemExit) as ended:
        cli.main([name, "--help"])
    said = capsys.readouterr().out
    assert ended.value.code == 0 and all(line in said for line in command.EXAMPLES) and "--json" in said


def options_of(name: str) -> list[argparse.Action]:
    below = argparse.ArgumentParser()
    COMMANDS[name].add_arguments(below)
    return below._actions


@pytest.mark.parametrize("name", COMMANDS)
def test_what_help_calls_a_default_is_one(name: str) -> None:
    for action in options_of(name):
        said = re.search(r"\(default: ([\w.,/-]+)\)", action.help or "")
        if said and action.default not in (None, "", True):
            assert str(action.default).removesuffix(".0") == said[1], action.option_strings


ASKED = {
    "flow": FlowRequest, "attribute": AttributionRequest, "locate": LocationRequest, "lens": LensRequest,
    "generate": GenerationRequest, "attention": AttentionRequest, "correct": CorrectionRequest, "patch": PatchRequest,
}  # fmt: skip


@pytest.mark.parametrize("name", ASKED)
def test_what_is_left_out_is_what_a_request_leaves_out(name: str) -> None:
    """Numbers and choices of the same name have the same default here and in Python."""
    fields = {field.name: field.default for field in dataclasses.fields(ASKED[name])}
    both = {
        a.dest: (a.default, fields[a.dest]) for a in options_of(name) if a.dest in fields and isinstance(a.default, int | float)
    }
    assert all(ours == theirs for ours, theirs in both.values()), both
    assert len(both) >= {"generate": 4, "correct": 1, "lens": 1}.get(name, 0)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "line"), [(name, line) for name in COMMANDS for line in COMMANDS[name].EXAMPLES])
def test_examples_run(
    name: str, line: str, on_demo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What an example writes is there; one of a larger model is read alone."""
    given = shlex.split(line)[1:]
    read = cli.parser().parse_args(given)
    if name in SERVES:
        monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0))
        monkeypatch.setattr("infoflow.server.mcp.serve", lambda perform: None)
    if getattr(read, "model", "demo") != "demo":
        return
    assert cli.main(given) == 0
    out = capsys.readouterr().out
    if isinstance(getattr(read, "out", None), str | Path):
        written = on_demo / read.out
        assert written.stat().st_size > 100
        assert written.is_dir() or written.read_bytes().startswith(BEGINS.get(written.suffix, b""))
    elif "prompt" in read:
        assert json.loads(out)["provenance"]["model"] == "demo"


@pytest.mark.parametrize("name", COMMANDS)
def test_an_error_is_one_object_that_a_program_reads(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([name, "--json", "--no-such-option"]) == 2
    captured = capsys.readouterr()
    told = json.loads(captured.err)
    assert told["error"] == "Usage" and told["code"] == 2 and "--help'." in told["message"]
    assert captured.out == "" and captured.err.count("\n") == 1


def test_a_wrong_command_and_wrong_inputs_are_told_in_the_same_way(capsys: pytest.CaptureFixture[str]) -> None:
    for given, error in (
        (["fly", "--json"], "Usage"), (["flow", " ", "--json", "--quiet"], "BadPrompt"),
        (["flow", "a", "--model", "/no/such", "--json", "--quiet"], "UnsupportedModel"),
        (["flow", "word " * 90, "--json", "--quiet"], "TooLarge"),
        (["flow", "a", "--change", "{", "--json", "--quiet"], "BadPrompt"),
        (["flow", "a", "--host", "nowhere", "--json", "--quiet"], "RemoteRunError"),
    ):  # fmt: skip
        assert cli.main(given) == 2
        told = json.loads(capsys.readouterr().err)
        assert told["error"] == error and told["code"] == 2 and told["message"], given
    assert cli.main(["flow", " ", "--quiet"]) == 2  # the next command tells errors as it was asked to
    assert capsys.readouterr().err.startswith("infoflow: The prompt is empty")


@pytest.mark.parametrize("given", [["--json", "list"], ["list", "--json"], ["show", "--json", "none.zip"]])
def test_an_action_takes_json_on_either_side(given: list[str]) -> None:
    assert cli.parser().parse_args(["sessions", *given]).json and not cli.parser().parse_args(["sessions", "list"]).json


def test_ctrl_c_is_told_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("infoflow.cli.models.run", stopped)
    assert cli.main(["models", "--json"]) == 130
    assert json.loads(capsys.readouterr().err) == {"error": "Stopped", "message": "stopped.", "code": 130}


@pytest.fixture
def interrupted() -> Iterator[Callable[[], None]]:
    """Brings Ctrl-C to this process, as where nobody else hears it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield partial(signal.raise_signal, signal.SIGINT)
    signal.signal(signal.SIGINT, before)


Lost = Callable[[Callable[[], None]], None]


def as_another_error(interrupted: Callable[[], None]) -> None:
    try:
        interrupted()
    except KeyboardInterrupt:
        raise TypeError("of a library") from None


def where_an_object_is_freed(interrupted: Callable[[], None]) -> None:
    thing = Thing()
    ref = weakref.ref(thing, lambda _: interrupted())
    del thing
    assert ref() is None


class Thing:
    pass


@pytest.mark.parametrize("lost", [as_another_error, where_an_object_is_freed])
@pytest.mark.parametrize("command", ["flow", "batch", "fit-lens"])
def test_ctrl_c_is_not_lost(
    command: str, lost: Lost, interrupted: Callable[[], None], monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Python writes of what is raised while an object is freed, and goes on."""
    unheard: list[type[BaseException]] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda told: unheard.append(told.exc_type))
    texts = tmp_path / "texts.txt"
    texts.write_text("The capital of France is one of many.\n\nAnother text is here.\n")

    def works(*given: Any, **more: Any) -> None:
        told = next(one for one in (*given[::-1], *more.values()) if callable(one))
        told("half of it", 0.5)
        lost(interrupted)
        told("more of it", 0.6)
        pytest.fail("it goes on")

    place = {"flow": "analyses.perform.perform", "batch": "files.batch.batch", "fit-lens": "analyses.jacobian.fit_lens"}[command]
    monkeypatch.setattr(f"infoflow.{place}", works)
    asked = {"flow": [PROMPT], "batch": [str(texts), "--out", str(tmp_path / "out")]}
    asked["fit-lens"] = ["--prompts", str(texts), "--out", str(tmp_path / "lens.safetensors")]
    assert cli.main([command, *asked[command]]) == 130
    assert "stopped." in capsys.readouterr().err and len(unheard) == (lost is where_an_object_is_freed)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert cli.main(["models", "--json"]) == 0  # the next command is not stopped by it


def test_where_ctrl_c_is_not_heard_it_stays_so(interrupted: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    def run(options: argparse.Namespace) -> int:
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
        return 0

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    monkeypatch.setattr("infoflow.cli.models.run", run)
    assert cli.main(["models"]) == 0 and signal.getsignal(signal.SIGINT) is signal.SIG_IGN


def test_codes_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["--help"])
    said = capsys.readouterr().out
    assert all(re.search(rf"^  {code} +\w", said, re.M) for code in (0, 1, 2, 3, 130)) and "register-python-argcomplete" in said


Made = Callable[["infoflow.Model"], Any]
SAME: list[tuple[list[str], Made, str]] = [
    (["attribute", PROMPT, "--target", "Paris", "--against", "Rome", "--contrast", "The capital of Italy is"],
     lambda m: infoflow.attribute(m, PROMPT, " Paris", against=" Rome", contrast="The capital of Italy is"), "logit"),
    (["attribute", PROMPT, "--target", "Paris", "--position", "3", "--centred", "--direct", "without norm"],
     lambda m: infoflow.attribute(m, PROMPT, " Paris", position=3, centred=True, direct="without norm"), "logit"),
    (["locate", PROMPT, "--against", "Rome", "--target", "Paris", "--position", "-2"],
     lambda m: infoflow.locate(m, PROMPT, " Paris", against=" Rome", position=-2), "logit"),
    (["attention", PROMPT, "--change", '{"kind": "block", "source": 4, "destination": -1}'],
     lambda m: infoflow.attention(m, PROMPT, interventions=[Block(4, -1)]), "weight"),
    (["lens", PROMPT, "--targets", "Paris", "Rome", "--positions", "-1", "0", "--kind", "frozen", "--read", "last", "--k", "2",
      "--rows", "L2.post", "--no-mids", "--contrast", "bank"],
     lambda m: infoflow.logit_lens(m, PROMPT, 2, [" Paris", " Rome"], mids=False, positions=[-1, 0], kind="frozen", read="last",
                                   rows=["L2.post"], contrast="bank"), "prob"),
    (["generate", PROMPT, "--max-new-tokens", "3", "--temperature", "0.9", "--seed", "4", "--top-p", "0.9", "--k", "3"],
     lambda m: infoflow.generate(m, PROMPT, 3, temperature=0.9, seed=4, top_p=0.9, k=3), "logit"),
    (["correct", "What is the capital of France?", "No, the answer is Rome.", "--form", "plain text", "--system", "Be short."],
     lambda m: infoflow.correct(m, "What is the capital of France?", "No, the answer is Rome.", form="plain text",
                                system="Be short."), "logit"),
    (["patch", PROMPT, "The capital of Italy is", "--site", "mlp", "--layers", "1-2", "--positions", "Italy", "-1", "--direction",
      "denoising", "--target", "Paris", "--against", "Rome", "--units", "positions"],
     lambda m: infoflow.patch(m, PROMPT, "The capital of Italy is", "mlp", layers=[1, 2], positions=["Italy", -1],
                              units="positions", target=" Paris", against=" Rome"), "recovery"),
    (["patch", PROMPT, '{"kind": "zero", "site": "embed", "positions": "France"}', "--method", "gradient"],
     lambda m: infoflow.patch(m, PROMPT, Zero("embed", positions="France"), method="gradient"), "logit_diff"),
    (["flow", PROMPT, "--sources", "words", "--targets", "Paris", "--top-k", "3"],
     lambda m: infoflow.decompose(m, PROMPT, "words", targets=[" Paris"], top_k=3), "mlp_norms"),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("given", "make", "column"), SAME, ids=[" ".join(given[:1]) + f" {n}" for n, (given, _, _) in enumerate(SAME)]
)
def test_a_command_asks_what_its_options_say(
    given: list[str], make: Made, column: str, on_demo: Path, demo: "infoflow.Model", capsys: pytest.CaptureFixture[str]
) -> None:
    """The same table as the function's, by the same request."""
    assert cli.main([*given, "--quiet"]) == 0
    found, expected = json.loads(capsys.readouterr().out), make(demo)
    assert found["provenance"]["request"] == expected.provenance.request.exactly(demo).to_dict()
    if column == "mlp_norms":  # a flow is written in full
        np.testing.assert_allclose(found[column], expected.norms("post"), rtol=1e-4, atol=1e-5)
        return
    table, frame = pd.DataFrame(found["rows"], columns=found["columns"]), expected.to_frame()
    assert len(table) == len(frame) > 2
    np.testing.assert_allclose(table[column].astype(float), frame[column].astype(float), rtol=1e-4, atol=1e-5)


def test_pictures_are_those_that_were_asked_for(on_demo: Path) -> None:
    def title(*given: str) -> str:
        assert cli.main([*given, "--quiet", "--out", "out.vl.json"]) == 0
        return json.dumps(json.loads(Path("out.vl.json").read_text())["title"], ensure_ascii=False)

    assert "Layer 3, head 1, pattern" in title("attention", PROMPT, "--layer", "3", "--head", "1")
    masked = title("attention", PROMPT, "--layer", "3", "--sinks", "masked", "--weighting", "contribution")
    assert "Layer 3: mean of 8 maps, contribution" in masked and "here it is masked" in masked
    assert "All layers and heads" in title("attention", PROMPT)
    assert "Colour: rank of Paris" in title("lens", PROMPT, "--colour", "rank", "--targets", "Paris")
    assert "rank among all tokens" in title("patch", PROMPT, "--metric", "rank", "--site", "resid_pre", "--layers", "5")
    assert "by projection. Not shown: ⟨bos⟩" in title("flow", PROMPT, "--metric", "projection")
    assert "Not shown" not in title("flow", PROMPT, "--show-first")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["attention", PROMPT, "--head", "1"], "A head is one of a layer"),
        (["attention", PROMPT, "--layer", "9", "--out", "a.svg"], "no head 9.0: the model has 6 layers of 8 heads"),
        (["lens", PROMPT, "--colour", "lead", "--targets", "Paris"], "Name 2 with --targets"),
        (["lens", PROMPT, "--colour", "taste"], "no colour 'taste'. Use one of: probability"),
        (["patch", PROMPT, "--metric", "beauty"], "no metric 'beauty'"),
        (["patch", PROMPT, "--units", "feet"], "no unit 'feet'"),
        (["patch", PROMPT, "--layers", "all of them"], "is no layer"),
        (["patch", PROMPT, "none.json"], "The interventions in 'none.json' can't be read"),
        (["patch", PROMPT, '{"kind": "zero"}'], "no interventions: 0.zero.site: Field required"),
        (["flow", PROMPT, "--change", "[1]"], "These are no interventions"),
        (["flow", PROMPT, "--change", "{x}"], "These interventions are no JSON"),
        (["flow", PROMPT, "--change", '{"kind": "zero", "site": "z", "head": 99}'], "head 99"),
        (["correct", "What?", "No.", "--contrast", "a", "b", "c"], "The contrast has 3 turns"),
        (["flow", PROMPT, "--change", "[" * 100_000], "These interventions are no JSON"),
        (["patch", PROMPT, "--positions=--5"], "--5"),
        (["flow", PROMPT, "--top-k", "0"], "top_k is 0"), (["locate", PROMPT, "--top-k", "-1"], "top_k is -1"),
        (["flow", PROMPT, "--out", f"a.{'x' * 300}.json"], "can't be written: File name too long"),
        (["flow", PROMPT, "--out", "~nobody-of-that-name/a.json"], "can't be written: Could not determine home directory."),
        (["sessions", "show", "x" * 300], "is no name of a session"),
        (["sessions", "show", "~nobody/a.zip"], "no name of a session"),
        (["flow", PROMPT, "--width", "1col"], "A figure for a paper is .pdf, .svg or .png"),
        (["flow", PROMPT, "--width", "wide", "--out", "a.pdf"], "'wide' is no width"),
        (["flow", PROMPT, "--font-size", "99", "--out", "a.pdf"], "Type is of 4 to 30 points"),
        (["flow", PROMPT, "--no-title", "--out", "a.html"], "A figure for a paper is .pdf, .svg or .png"),
    ],
)  # fmt: skip
def test_what_can_not_be_asked_is_told(given: list[str], said: str, on_demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([*given, *(["--quiet"] if given[0] != "sessions" else [])]) == 2
    captured = capsys.readouterr()
    assert said in captured.err and captured.out == "" and not list(on_demo.glob("a.*"))


def test_interventions_come_from_files_and_from_json(tmp_path: Path) -> None:
    file = tmp_path / "cut.json"
    file.write_text('[{"kind": "zero", "site": "z", "layers": 3, "head": 1}, {"kind": "block", "source": "France"}]')
    found = options.changes_of([str(file), '{"kind": "scale", "site": "mlp", "factor": 0.5}'])
    assert found == (Zero("z", 3, head=1), Block("France"), Scale("mlp", 0.5))
    assert options.change_of('{"kind": "zero", "site": "mlp"}') == Zero("mlp")
    with pytest.raises(BadPrompt, match="One intervention is wanted here, and there are 2"):
        options.change_of(str(file))


def test_the_other_run_has_a_prompt_and_interventions_of_its_own(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cut, read = '{"kind": "zero", "site": "mlp", "layers": 3}', io.TextIOWrapper(io.BytesIO(b"The capital of Italy is"))

    def both(*given: str) -> list[tuple[str, int]]:
        asked = compare._requests(cli.parser().parse_args(["compare", PROMPT, *given]))
        return [(str(one.prompt), len(one.interventions)) for one in asked]

    monkeypatch.setattr("sys.stdin", read)
    assert both("-") == [(PROMPT, 0), ("The capital of Italy is", 0)] and both("--change", cut) == [(PROMPT, 1), (PROMPT, 1)]
    assert both("--change", cut, "--change-b", "[]") == [(PROMPT, 1), (PROMPT, 0)]
    assert cli.main(["compare", PROMPT, "", "--quiet"]) == 2 and "The prompt is empty" in capsys.readouterr().err


def test_interventions_of_a_result_are_asked_again(on_demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, other = '{"kind": "zero", "site": "z", "layers": 3}', '{"kind": "scale", "site": "mlp", "factor": 0.5, "layers": [1, 2]}'
    asked = f"[{one}, {other}]"
    assert cli.main(["attribute", PROMPT, "--target", "Paris", "--quiet", "--change", asked]) == 0
    first = json.loads(capsys.readouterr().out)
    Path("again.json").write_text(json.dumps(first["provenance"]["request"]["interventions"]))
    assert cli.main(["attribute", PROMPT, "--target", "Paris", "--quiet", "--change", "again.json"]) == 0
    assert json.loads(capsys.readouterr().out) == first


def test_models_and_check_are_read_by_people_and_programs(on_demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:3] == ["name", "family", "parameters"] and any(line.startswith("demo ") for line in lines)
    assert cli.main(["models", "--json"]) == 0
    listed = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert listed["demo"]["here"] is True and listed["meta-llama/Llama-3.1-405B"]["here"] is False
    assert cli.main(["models", "--families", "--json"]) == 0
    assert {"family": "llama"} in json.loads(capsys.readouterr().out)
    assert cli.main(["check"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("demo: exact. Every error is below") and "\n  reconstruction: " in said
    assert cli.main(["check", "--json", "--quiet"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["verdict"] == "exact" and told["family"] == "llama" and 0 < told["errors"]["reconstruction"] < 1e-5


def test_check_ends_with_a_code_where_a_model_is_refused(
    on_demo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from infoflow.analyses import selftest

    wrong = selftest.Check(verdict=selftest.Verdict.UNSUPPORTED, reason="It does not add up.", errors={})
    monkeypatch.setattr(selftest, "check", lambda model: wrong)
    assert cli.main(["check", "--quiet"]) == 3 and "demo: unsupported. It does not add up." in capsys.readouterr().out
    assert cli.main(["flow", "a", "--quiet", "--json"]) == 0  # its own verdict is kept with the model


def test_a_figure_for_a_paper_comes_with_its_caption(on_demo: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["attribute", PROMPT, "--target", "Paris", "--out", "a.pdf", "--width", "8.5cm", "--dark", "--quiet"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("What raises a logit after “The capital of France is”, demo. ") and "adds most" in said
    (width,) = re.findall(rb"MediaBox ?\[0 0 ([\d.]+) ", Path("a.pdf").read_bytes())
    assert float(width) == pytest.approx(8.5 * 72 / 2.54, abs=0.05)


@pytest.mark.slow
def test_a_pipe_that_is_closed_ends_quietly() -> None:
    done = subprocess.run(
        f"{sys.executable} -m infoflow models --json | head -c 1", shell=True, capture_output=True, text=True, timeout=120
    )
    assert done.stdout == "[" and done.stderr == ""


class _Left(io.StringIO):
    """A pipe whose reader has gone."""

    def write(self, text: str) -> int:
        raise BrokenPipeError


def test_streams_that_are_closed_or_not_in_utf_8_stop_no_work(on_demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody need read what is told; what is written is UTF-8 wherever it goes."""
    held = io.BytesIO()
    monkeypatch.setattr(sys, "argv", ["infoflow", "flow", "The sky 日"])
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(held, encoding="latin-1"))
    monkeypatch.setattr(sys, "stderr", _Left())
    assert cli.main() == 0 and json.loads(held.getvalue().decode("utf-8"))["provenance"]["prompt"] == "The sky 日"
    monkeypatch.setattr(sys, "argv", ["infoflow", "flow", "-", "--out", "none.json"])
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    assert cli.main() == 2 and not Path("none.json").exists()
    sys.argv[2] = "The sky"
    assert cli.main() == 0 and Path("none.json").exists()


def test_a_process_of_its_own_seldom_looks_through_what_it_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr("gc.set_threshold", asked.append)
    assert cli.main(["nothing"]) == 2 and asked == []  # called by a program, which has settings of its own
    monkeypatch.setattr(sys, "argv", ["infoflow", "nothing"])
    assert cli.main() == 2 and asked == [50_000]


def test_a_shell_is_told_how_a_line_goes_on(tmp_path: Path) -> None:
    """As argcomplete's script asks it, in bash and in zsh."""
    found = tmp_path / "found"
    for line, wanted in (("infoflow at", {"attention ", "attribute "}), ("infoflow lens --ki", {"--kind "})):
        asked = {"_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line)), "_ARGCOMPLETE_IFS": "\n"}
        more = {"_ARGCOMPLETE_STDOUT_FILENAME": str(found), "_ARGCOMPLETE_SHELL": "bash"}
        subprocess.run([sys.executable, "-m", "infoflow"], env={**os.environ, **asked, **more}, timeout=60, check=False)
        assert wanted <= {*found.read_text().split("\n"), *(f"{one} " for one in found.read_text().split("\n"))}, line


def test_csv_is_read_by_others(on_demo: Path) -> None:
    assert cli.main(["attention", 'a\n"b", c', "--out", "a.csv", "--quiet"]) == 0
    rows = list(csv.reader(io.StringIO(Path("a.csv").read_text())))
    assert len({len(row) for row in rows}) == 1 and len(rows) > 10
