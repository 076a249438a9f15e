"""Saved sessions: which there are, what is in one, whether its numbers are still the same; rename, annotate, delete, bring back.

A session is a file (to show, run again or add), or the name of one of yours as the list has it (they are in INFOFLOW_SESSIONS, or
your data folder).
"""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from infoflow.cli.shared import EXIT_DIFFERS, perform, say

if TYPE_CHECKING:
    from infoflow.files.library import Library
    from infoflow.files.sessions import Session

HELP = "list, show, check, rename and delete saved sessions"
EXAMPLES = (
    "infoflow sessions list",
    "infoflow sessions show session.zip",
    "infoflow sessions again session.zip",
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    chosen = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    listed = chosen.add_parser("list", help="which there are, the newest first")
    listed.add_argument("search", nargs="*", help="words of the title, a note, a prompt, a model or the date")
    for action, about in (
        ("show", "what is in one"), ("again", "run it again: are the numbers still the same? 5 where they are not"),
        ("add", "take a file into your sessions"), ("rename", "give it another title"), ("note", "give it another note"),
        ("delete", "take it off the list, for a week"), ("restore", "bring back what was deleted"),
    ):  # fmt: skip
        one = chosen.add_parser(action, help=about)
        where = {"show": "a file, or a name of the list", "again": "a file, or a name of the list", "add": "a file"}
        one.add_argument("session", help=where.get(action, "a name of the list"))
        if action in ("rename", "note"):
            one.add_argument("text", help="the title" if action == "rename" else "the note")
        if action == "again":
            one.add_argument("--quiet", action="store_true", help="no progress on standard error")


def run(options: argparse.Namespace) -> int:
    """Do it.

    Raises:
        InfoflowError: no such session, or one that can't be read or written.
    """
    from infoflow.files.library import Library  # pandas and numpy load only when there is something to do

    library = Library()
    if options.action == "list":
        found = library.found(" ".join(options.search))
        for one in found:
            said = one.broken or f"{one.made[:16]}  {one.title}  ({one.results} results, {one.models.replace(chr(10), ', ')})"
            sys.stdout.write(f"{one.name}  {_plain(said)}\n")
        say(f"{len(found)} in {library.folder}", quiet=False)
    elif options.action == "show":
        _show(_opened(options.session))
    elif options.action == "again":
        return _again(_opened(options.session), options.quiet)
    elif options.action == "add":
        sys.stdout.write(f"{_added(library, Path(options.session).expanduser())}\n")
    elif options.action in ("rename", "note"):
        library.change(options.session, **{"title" if options.action == "rename" else "note": options.text})
    elif options.action == "delete":
        library.delete(options.session)
        say(f"Deleted. `infoflow sessions restore {options.session}` brings it back for a week.", quiet=False)
    else:
        library.restore(options.session)
    return 0


def _added(library: "Library", file: Path) -> str:
    """The name that a file has in the list, as it is; a single run that was saved becomes a session."""
    from infoflow.files.sessions import open_session

    session = open_session(file)
    return library.save(session) if file.suffix == ".npz" else library.put(file.read_bytes(), session.title)


def _opened(named: str) -> "Session":
    from infoflow.files.library import Library
    from infoflow.files.sessions import open_session

    try:
        is_file = Path(named).expanduser().is_file()
    except (OSError, RuntimeError):  # a name that is too long, a home that nobody has
        is_file = False
    return open_session(named) if is_file else Library().open(named)


def _show(session: "Session") -> None:
    from infoflow.summaries.sentence import sentences_of, spoken

    out = [session.title, *([session.note] if session.note else []), f"{session.made}, infoflow {session.infoflow}", ""]
    for number, entry in enumerate(session.entries):
        out += [
            f"{number}. {entry.title}",
            f"   {spoken(sentences_of(entry.result))}",
            *([f"   {entry.note}"] if entry.note else []),
        ]
    sys.stdout.write(_plain("\n".join(out)) + "\n")


def _again(session: "Session", quiet: bool) -> int:
    from infoflow.files.agreement import agreement, tolerance_of
    from infoflow.files.sessions import check_service

    held: dict[object, object] = {}
    differ = 0
    for entry in session.entries:
        check_service(entry.request)
    for number, entry in enumerate(session.entries):
        again = perform(entry.request, quiet, held)
        found = agreement(entry.result, again, tolerance_of(entry.result))
        differ += not found.agrees
        sys.stdout.write(f"{number}. {_plain(entry.title)}: {found.summary()}\n")
    return EXIT_DIFFERS if differ else 0


def _plain(text: str) -> str:
    """What a terminal shows as it is: a title is text, and moves no cursor."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)
