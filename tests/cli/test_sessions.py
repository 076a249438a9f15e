"""infoflow sessions: taken in, listed, renamed, deleted, brought back, run again."""

from dataclasses import replace
from pathlib import Path

import pytest

import infoflow
from infoflow.cli import main as cli
from infoflow.files import flows, sessions
from infoflow.files.library import Library
from infoflow.models.spec import ModelSpec


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Library:
    monkeypatch.setenv("INFOFLOW_SESSIONS", str(tmp_path / "kept"))
    return Library()


def test_a_file_is_taken_in_renamed_deleted_and_brought_back(
    demo: "infoflow.Model", kept: Library, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = infoflow.save_session(tmp_path / "a", [infoflow.attention(demo, "The cat")], title="One")
    assert cli.main(["sessions", "add", str(path)]) == 0
    name = capsys.readouterr().out.strip()
    assert kept.data(name) == path.read_bytes()
    for line, title in (
        (["rename", name, "Two"], "Two"),
        (["note", name, "why"], "Two"),
        (["delete", name], ""),
        (["restore", name], "Two"),
    ):
        assert cli.main(["sessions", *line]) == 0
        assert [one.title for one in kept.found()] == [title] * bool(title)
    assert kept.found()[0].note == "why"


def test_a_single_run_that_was_saved_becomes_a_session(
    demo: "infoflow.Model", kept: Library, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    flows.save(infoflow.decompose(demo, "The cat"), tmp_path / "run.npz")
    assert cli.main(["sessions", "add", str(tmp_path / "run.npz")]) == 0
    (found,) = kept.found()
    assert not found.broken and kept.open(found.name).entries[0].request.prompt == "The cat"


def test_a_name_of_the_list_is_no_file_to_take_in(
    demo: "infoflow.Model", kept: Library, capsys: pytest.CaptureFixture[str]
) -> None:
    name = kept.save(sessions.session_of([infoflow.attention(demo, "The cat")]))
    assert cli.main(["sessions", "add", name]) == 2
    assert "can't be read: No such file" in capsys.readouterr().err and len(kept.found()) == 1


def test_run_again_tells_by_its_code_and_gives_no_key_away(
    demo: "infoflow.Model", kept: Library, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("infoflow.cli.sessions.perform", lambda request, *_: request.run(demo))
    found = infoflow.attention(demo, "The cat")
    off = replace(found, value_norm=found.value_norm * 1.1)
    for result, code in ((found, 0), (off, 5)):
        assert cli.main(["sessions", "again", kept.save(sessions.session_of([found, result]))]) == code
    elsewhere = replace(found.provenance.request, model=ModelSpec(name="a/b", host="https://elsewhere.example"))
    capsys.readouterr()
    held = sessions.session_of([found, replace(found, provenance=replace(found.provenance, request=elsewhere))])
    assert cli.main(["sessions", "again", kept.save(held)]) == 2
    said = capsys.readouterr()
    assert said.out == "" and "no other service gets a key" in said.err


def test_a_title_moves_no_cursor(kept: Library, demo: "infoflow.Model", capsys: pytest.CaptureFixture[str]) -> None:
    found = infoflow.attention(demo, "a\x1b[2Jb")
    name = kept.save(sessions.session_of([found], title="red\x1b[31m \u202eback"))
    for line in (["list"], ["show", name]):
        assert cli.main(["sessions", *line]) == 0
        said = capsys.readouterr().out
        assert "red" in said and "\x1b" not in said and "\u202e" not in said
