"""Saved sessions in a folder: found by every word, changed, deleted and brought back; the index can always be made again."""

import os
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

import infoflow
from infoflow.errors import BadFile, InfoflowError
from infoflow.files import library, sessions
from infoflow.files.library import DELETED, INDEX, Library
from infoflow.files.sessions import Session
from tests.helpers import tiny


@pytest.fixture(scope="module")
def held() -> Session:
    return sessions.session_of([infoflow.logit_lens(tiny.model("llama"), "ab 100% _x_", 2, mids=False)], "Ça va? 日本", "why")


@pytest.fixture
def shelf(tmp_path: Path) -> Library:
    return Library(tmp_path / "not" / "there" / "yet")


def test_nothing_is_made_before_something_is_saved(shelf: Library) -> None:
    assert shelf.found() == [] == shelf.found("x") and not shelf.folder.exists()


def test_the_folder_is_the_one_that_was_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("INFOFLOW_SESSIONS", str(tmp_path / "mine"))
    assert Library().folder == tmp_path / "mine"
    monkeypatch.delenv("INFOFLOW_SESSIONS")
    assert Library().folder.parts[-2:] == ("infoflow", "sessions")


def test_sessions_are_found_by_every_word_of_a_search(shelf: Library, held: Session) -> None:
    name = shelf.save(held)
    shelf.save(replace(held, title="Other", note="because", made="2025-01-02T03:04:05+00:00"))
    assert name.startswith(held.made[:10]) and "ca-va" in name and name.endswith(".zip")
    newest, other = shelf.found()
    assert (newest.title, newest.note, newest.prompts, newest.models) == ("Ça va? 日本", "why", "ab 100% _x_", "tiny-llama")
    assert (newest.results, newest.broken, other.title) == (1, "", "Other") and newest.bytes == len(shelf.data(name))
    for search, titles in [
        ("日本", ["Ça va? 日本"]), ("ÇA", ["Ça va? 日本"]), ("c\u0327a", ["Ça va? 日本"]),
        ("BECAUSE", ["Other"]), ("ab", ["Ça va? 日本", "Other"]), ("ab why", ["Ça va? 日本"]),
        ("100%", ["Ça va? 日本", "Other"]), ("1%0", []), ("_x_", ["Ça va? 日本", "Other"]), ("ax_", []),
        ("2025-01", ["Other"]), ("tiny-llama other", ["Other"]), ("' OR 1=1 --", []),
        ("\ud800", ["Ça va? 日本"]),  # half a character is a question mark
    ]:  # fmt: skip
        assert [s.title for s in shelf.found(search)] == titles, search


def test_titles_and_notes_are_changed_and_the_results_stay(shelf: Library, held: Session) -> None:
    name = shelf.save(held)
    shelf.change(name, title="New", note="line\nline")
    (found,) = shelf.found("line")
    assert found.title == "New" and shelf.open(name).entries[0].result.to_frame().equals(held.entries[0].result.to_frame())
    with pytest.raises(BadFile, match="title is no text"):
        shelf.change(name, title="x" * 500)
    assert shelf.found()[0].title == "New"


def test_what_is_deleted_comes_back_for_a_week(shelf: Library, held: Session) -> None:
    name = shelf.save(held)
    shelf.delete(name)
    assert shelf.found() == []
    with pytest.raises(BadFile, match="can't be read"):
        shelf.open(name)
    with pytest.raises(BadFile, match="is not there"):
        shelf.delete(name)
    shelf.restore(name)
    assert [s.name for s in shelf.found()] == [name]
    shelf.delete(name)
    gone = shelf.folder / f"{name}{DELETED}"
    os.utime(gone, (time.time() - 6 * 86_400,) * 2)
    shelf.found()
    assert gone.exists()
    os.utime(gone, (time.time() - 8 * 86_400,) * 2)
    shelf.found()
    assert not gone.exists()
    with pytest.raises(BadFile, match="is not there"):
        shelf.restore(name)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["../x.zip", "/etc/passwd", "x.zip.deleted", "X.zip", "", "a/b.zip", "index.sqlite", "a\0.zip"])
@pytest.mark.parametrize("act", [Library.data, Library.open, Library.delete, Library.restore, Library.change])
def test_nothing_that_is_typed_becomes_a_path(name: str, act: Callable[..., object], shelf: Library, held: Session) -> None:
    shelf.save(held)
    before = sorted(shelf.folder.rglob("*"))
    with pytest.raises(BadFile, match="is no name of a session"):
        act(shelf, name)
    assert sorted(shelf.folder.rglob("*")) == before


def test_files_that_are_broken_or_strange_are_told_and_harm_none(shelf: Library, held: Session) -> None:
    name = shelf.save(held)
    (shelf.folder / "broken.zip").write_bytes(b"PK nothing")
    (shelf.folder / "Other File.zip").write_bytes(b"x")
    (shelf.folder / "folder.zip").mkdir()
    found = {s.name: s for s in shelf.found()}
    assert found.keys() == {name, "broken.zip"} and "no zip file" in found["broken.zip"].broken and not found[name].broken


def test_the_index_is_made_again_from_the_files(shelf: Library, held: Session) -> None:
    name = shelf.save(held)
    assert len(shelf.found()) == 1
    (shelf.folder / INDEX).write_bytes(b"this is no database" * 200)
    assert [s.title for s in shelf.found("va")] == [held.title]
    (shelf.folder / INDEX).unlink()
    assert len(shelf.found()) == 1
    (shelf.folder / name).unlink()  # by hand
    assert shelf.found() == []


def test_an_index_of_another_version_is_made_again(shelf: Library, held: Session) -> None:
    shelf.save(held)
    with closing(sqlite3.connect(shelf.folder / INDEX)) as other:
        other.execute("CREATE TABLE sessions (name TEXT)")
    assert [s.title for s in shelf.found("va")] == [held.title]


def test_where_the_index_can_not_be_written_the_list_is_there(
    shelf: Library, held: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    shelf.save(held)
    make = library._opened

    def read_only(path: Path) -> sqlite3.Connection:
        index = make(path)
        index.execute("PRAGMA query_only = 1")
        return index

    monkeypatch.setattr(library, "_opened", read_only)
    assert [s.title for s in shelf.found("va")] == [held.title]


def test_a_file_that_another_process_takes_away_meanwhile_is_left_out(
    shelf: Library, held: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, gone = shelf.save(held), shelf.save(replace(held, title="gone"))
    look = Path.is_file

    def taken(path: Path) -> bool:
        found = look(path)
        if path.name == gone:
            path.unlink()
        return found

    monkeypatch.setattr(Path, "is_file", taken)
    assert [s.name for s in shelf.found()] == [name]


def test_a_folder_that_can_not_be_read_is_told(shelf: Library, held: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    shelf.save(held)

    def denied(path: Path) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", denied)
    with pytest.raises(InfoflowError, match="can't be read: Permission denied"):
        shelf.found()


def test_many_save_at_once(shelf: Library, held: Session) -> None:
    shelf.save(held)
    barrier, failed = threading.Barrier(4), []

    def work() -> None:
        barrier.wait()
        try:
            for _ in range(3):
                shelf.open(shelf.save(held))
                shelf.found("va")
        except Exception as error:  # noqa: BLE001  whatever it is
            failed.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed and len(shelf.found()) == 13


def test_a_folder_that_can_not_be_made_is_told(tmp_path: Path, held: Session) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(InfoflowError, match="can't be made: .* Set INFOFLOW_SESSIONS"):
        Library(tmp_path / "file" / "sessions").save(held)
    assert library.KEPT_DAYS == 7
