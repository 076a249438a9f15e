"""The sessions of this user: a folder of .zip files, with an index that is searched and can always be made again from them.

Every name is one of a file in the folder: nothing that is typed becomes a path. What is deleted can be brought back for a week.
"""

import re
import secrets
import sqlite3
import time
import unicodedata
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import platformdirs

from infoflow.errors import BadFile, InfoflowError
from infoflow.files import atomic, sessions
from infoflow.files.sessions import ENDING, Session
from infoflow.settings import settings

INDEX = "index.sqlite"
DELETED = ".deleted"
"""follows the name of a file that was deleted"""
KEPT_DAYS = 7
"""so long what was deleted can be brought back"""
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,99}\.zip")
_COLUMNS = "name, title, note, prompts, models, made, results, bytes"


@dataclass(frozen=True)
class Listed:
    """A session as a list has it."""

    name: str
    """of its file"""
    title: str
    note: str
    prompts: str
    models: str
    made: str
    results: int
    bytes: int
    broken: str = ""
    """why it can't be opened; '' where it can"""


class Library:
    """Sessions in a folder, which is made when the first is saved."""

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder or settings().sessions or platformdirs.user_data_path("infoflow") / "sessions"

    def save(self, session: Session, tensors: str = "float32", tables: bool = True) -> str:
        """Keep a session under a new name, which comes back.

        Raises:
            BadFile: it can't be kept. InfoflowError: the folder can't be written to.
        """
        return self.put(sessions.as_zip(session, tensors, tables), session.title)

    def put(self, data: bytes, title: str) -> str:
        """Keep a session's file under a new name, which comes back.

        Raises:
            InfoflowError: the folder can't be written to.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InfoflowError(f"The folder '{self.folder}' can't be made: {error.strerror}. Set INFOFLOW_SESSIONS.") from error
        name = f"{datetime.now(UTC):%Y-%m-%d}-{_slug(title)}-{secrets.token_hex(3)}{ENDING}"
        atomic.write(self.folder / name, data)
        return name

    def found(self, search: str = "") -> list[Listed]:
        """The sessions that hold every word of a search in title, note, prompts, models or date, the newest first.

        Raises:
            InfoflowError: the folder can't be read.
        """
        try:
            try:
                with self._index() as index:
                    return self._searched(index, search)
            except sqlite3.DatabaseError:  # where it can't be written, everything is read anew
                with _in_memory() as index:
                    return self._searched(index, search)
        except OSError as error:
            raise InfoflowError(f"The folder '{self.folder}' can't be read: {error.strerror}. Set INFOFLOW_SESSIONS.") from error

    def _searched(self, index: sqlite3.Connection, search: str) -> list[Listed]:
        self._refresh(index)
        index.create_function("folded", 1, _folded, deterministic=True)  # SQLite knows upper and lower case of ASCII alone
        words = [f"%{_escaped(_folded(word))}%" for word in search.split()[:20]]
        of = " AND ".join(["folded(text) LIKE ? ESCAPE '\\'"] * len(words)) or "1"
        asked = f"SELECT {_COLUMNS}, broken FROM sessions WHERE {of} ORDER BY made DESC, name"  # noqa: S608  values are bound
        return [Listed(*row) for row in index.execute(asked, words)]

    def data(self, name: str) -> bytes:
        """A session's file.

        Raises:
            BadFile: there is none of that name.
        """
        try:
            return self._path(name).read_bytes()
        except OSError as error:
            raise BadFile(f"The session '{name}' can't be read: {error.strerror}. It may have been deleted elsewhere.") from None

    def open(self, name: str, folders: bool = True) -> Session:
        """A session, checked.

        Raises:
            BadFile: what `open_session` refuses.
        """
        return sessions.open_session(self.data(name), folders)

    def change(self, name: str, title: str | None = None, note: str | None = None) -> None:
        """Another title or note.

        Raises:
            BadFile: no such session, or no text that can be kept. InfoflowError: it can't be written.
        """
        atomic.write(self._path(name), sessions.changed(self.data(name), title, note))

    def delete(self, name: str) -> None:
        """Take a session off the list; `restore` brings it back for a week.

        Raises:
            BadFile: there is none of that name.
        """
        path = self._path(name)
        self._rename(path, path.with_name(f"{name}{DELETED}"), name)

    def restore(self, name: str) -> None:
        """Bring back what was deleted.

        Raises:
            BadFile: it is not there any more.
        """
        path = self._path(name)
        self._rename(path.with_name(f"{name}{DELETED}"), path, name)

    def _rename(self, path: Path, to: Path, name: str) -> None:
        try:
            path.rename(to)
            to.touch()
        except OSError as error:
            raise BadFile(f"The session '{name}' is not there: {error.strerror}. Reload the list.") from None

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            raise BadFile(f"'{sessions.short(name)}' is no name of a session.")
        return self.folder / name

    @contextmanager
    def _index(self) -> Iterator[sqlite3.Connection]:
        """The index of the folder; one that is broken is made anew."""
        if not self.folder.is_dir():
            with _in_memory() as none:
                yield none
            return
        path = self.folder / INDEX
        try:
            index = _opened(path)
        except sqlite3.DatabaseError:
            with suppress(OSError):
                path.unlink()
            index = _opened(path)
        with closing(index):
            yield index

    def _refresh(self, index: sqlite3.Connection) -> None:
        """Make the index say what is in the folder: what is new or was changed is read, what is gone is taken out."""
        if not self.folder.is_dir():
            return
        there: dict[str, tuple[int, int]] = {}
        for path in self.folder.iterdir():
            with suppress(OSError):  # another process may have taken it away meanwhile
                if path.name.endswith(DELETED) and time.time() - path.stat().st_mtime > KEPT_DAYS * 86_400:
                    path.unlink()
                elif _NAME.fullmatch(path.name) and path.is_file():
                    stat = path.stat()
                    there[path.name] = (stat.st_mtime_ns, stat.st_size)
        known = {name: (stamp, size) for name, stamp, size in index.execute("SELECT name, stamp, bytes FROM sessions")}
        with index:
            index.executemany("DELETE FROM sessions WHERE name = ?", [(name,) for name in known.keys() - there.keys()])
            for name, (stamp, size) in there.items():
                if known.get(name) != (stamp, size):
                    index.execute(
                        f"INSERT OR REPLACE INTO sessions ({_COLUMNS}, broken, stamp, text) VALUES ({', '.join('?' * 11)})",  # noqa: S608  bound
                        self._row(name, stamp, size),
                    )

    def _row(self, name: str, stamp: int, size: int) -> tuple[object, ...]:
        try:
            held = sessions.heading(self.data(name))
        except BadFile as error:
            made = f"{datetime.fromtimestamp(stamp / 1e9, UTC):%Y-%m-%dT%H:%M:%S}"
            return name, name, "", "", "", made, 0, size, str(error), stamp, name
        prompts, models = "\n".join(held.prompts), "\n".join(held.models)
        text = "\n".join([held.title, held.note, prompts, models, held.made])
        return name, held.title, held.note, prompts, models, held.made, len(held.entries), size, "", stamp, text


@contextmanager
def _in_memory() -> Iterator[sqlite3.Connection]:
    """An index that is kept nowhere."""
    with closing(sqlite3.connect(":memory:")) as index:
        _make(index)
        yield index


def _opened(path: Path) -> sqlite3.Connection:
    index = sqlite3.connect(path, timeout=10)
    try:
        _make(index)
        index.execute(f"SELECT {_COLUMNS}, broken, stamp, text FROM sessions LIMIT 1").fetchone()  # noqa: S608  else another version
    except sqlite3.DatabaseError:
        index.close()
        raise
    return index


def _make(index: sqlite3.Connection) -> None:
    index.execute(
        "CREATE TABLE IF NOT EXISTS sessions (name TEXT PRIMARY KEY, title TEXT, note TEXT, prompts TEXT, models TEXT, made TEXT,"
        " results INT, bytes INT, broken TEXT, stamp INT, text TEXT)"
    )


def _folded(text: str) -> str:
    """In lower case, and each letter written in one way."""
    return unicodedata.normalize("NFKC", text).casefold()


def _escaped(word: str) -> str:
    return word.encode("utf-8", "replace").decode().replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _slug(title: str) -> str:
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:40].strip("-") or "session"
