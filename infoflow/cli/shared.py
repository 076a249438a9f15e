"""What commands share: progress and errors on standard error, running a request, writing what it gives."""

import argparse
import json
import os
import sys
from collections.abc import Callable
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

from infoflow.analyses.provenance import UNSUPPORTED, Provenance
from infoflow.analyses.request import Request
from infoflow.cli import ctrl_c
from infoflow.errors import BadPrompt, InfoflowError, RemoteRunError
from infoflow.studies.compare import Both

if TYPE_CHECKING:
    from infoflow.pictures.picture import Picture  # heavy: only for what is drawn

EXIT_BAD_INPUT = 2
EXIT_UNSUPPORTED = 3
EXIT_SOME_FAILED = 4
EXIT_DIFFERS = 5
EXIT_STOPPED = 130
_as_json = [False]
"""whether errors are told as JSON: of the command that runs"""


def tell_as_json(wanted: bool) -> None:
    """From now on errors are JSON, or sentences again."""
    _as_json[:] = [wanted]


def failed(kind: str, message: str, code: int, **more: Any) -> int:
    """An error on standard error, a sentence or a JSON object in a line: {"error": kind, "message": ..., "code": ...}."""
    told = {"error": kind, "message": message, "code": code, **more}
    say(json.dumps(told) if _as_json[0] else f"infoflow: {message}", quiet=False)
    return code


def failed_with(error: InfoflowError) -> int:
    """An error that the reader can mend; of the service's, its cause too."""
    more = {"cause": error.kind} if isinstance(error, RemoteRunError) else {}
    return failed(type(error).__name__, str(error), EXIT_BAD_INPUT, **more)


def say(text: str, quiet: bool, end: str = "\n") -> None:
    """A line on standard error; nobody needs to read it."""
    if quiet:
        return
    try:
        print(text, end=end, file=sys.stderr, flush=True)
    except BrokenPipeError:
        sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115


def host_of(options: argparse.Namespace) -> str:
    """The service's address, or '' for here.

    Raises:
        RemoteRunError: no address of a service.
    """
    if not (options.remote or options.host):
        return ""
    from infoflow.ndif.service import connection

    return connection(options.host).host


def code_of(made: Provenance | Both) -> int:
    """3, with a sentence on standard error, where the self-test refused the model: what was written is not to be relied on."""
    if made.verdict != UNSUPPORTED:
        return 0
    whose = made.model if isinstance(made, Provenance) else f"{made.a.model} or {made.b.model}"
    return failed("SelfTest", f"do not rely on what was written: the self-test refused {whose}.", EXIT_UNSUPPORTED)


def standard_input() -> str:
    """What is on standard input, without the line break that ends its last line: `echo` and `printf` ask the same.

    Raises:
        BadPrompt: it is no text in UTF-8.
    """
    try:
        text = sys.stdin.buffer.read().decode("utf-8")
    except UnicodeDecodeError:
        raise BadPrompt("What came on standard input is no text in UTF-8. Convert it first.") from None
    return text[:-2] if text.endswith("\r\n") else text.removesuffix("\n")


def perform(request: Request[Any], quiet: bool, held: dict[Any, Any] | None = None) -> Any:
    """The result of a request, with progress and the self-test's verdict told. `held`: models that stay in memory for the next
    request, by what they were asked for as.

    Raises:
        InfoflowError: what loading and running raise.
    """
    from infoflow.analyses.perform import perform as performed  # torch loads only when there is something to do
    from infoflow.models.loading import load

    told, at = [""], [0.0]

    def tell(doing: str, fraction: float = 0.0) -> None:
        ctrl_c.again()
        if doing != told[0]:
            again = "\r" if fraction and told[0] else ""
            say(f"{again}{doing}", quiet, "\n" if fraction in (0.0, 1.0) else "")
        told[0], at[0] = doing, fraction

    models = {} if held is None else held

    def loaded(spec: Any, report: Any) -> Any:
        if spec not in models:
            tell(f"Loading {spec.name} …")
            models[spec] = load(spec, on_progress=report)
        return nullcontext(models[spec])

    found = performed(request, loaded, tell)
    say("\n" if at[0] not in (0.0, 1.0) else "", quiet, "")
    say(f"Self-test: {found.verdict.verdict}. {found.verdict.reason}", quiet)
    return found.result


Draw = Callable[[Any, bool], "Picture"]
"""the picture of a result, on a dark page or not"""


def answer(request: Request[Any], options: argparse.Namespace, draw: Draw | None = None) -> int:
    """Run a request, and write its result where the options say; `draw` draws it otherwise than it is first shown.

    Raises:
        InfoflowError: an input that can't be used.
    """
    check_out(options)
    result = perform(request, options.quiet)
    say(result.summary(), options.quiet)
    return written(result, options, draw)


def check_out(options: argparse.Namespace) -> None:
    """That what will be there can be written, before the work and not after it.

    Raises:
        InfoflowError: it can't.
    """
    from infoflow.files import formats, paper

    if options.out:
        formats.check_place(options.out)
    wanted = _paper_of(options)
    if wanted is not None:
        paper.check(options.out or "")


def written(result: Any, options: argparse.Namespace, draw: Draw | None = None, frame: Any = None) -> int:
    """Write a result to the file, or as JSON to standard output; the command's exit code.

    Raises:
        InfoflowError: it can't be drawn or written.
    """
    from infoflow.files import formats, paper
    from infoflow.pictures import glyphs
    from infoflow.pictures.picture import picture_of

    code = code_of(result.provenance)
    if not options.out:
        sys.stdout.write(formats.as_json(result).decode() + "\n")
        return code
    wanted = _paper_of(options)
    drawn: list[Picture] = []

    def picture() -> "Picture":
        drawn.append((draw or picture_of)(result, options.dark and wanted is None))
        return drawn[-1]

    if wanted is None:
        formats.write(result, options.out, picture, result.to_frame() if frame is None else frame, options.dark)
    else:
        paper.write(picture(), options.out, wanted)
        sys.stdout.write(paper.caption(drawn[-1], result) + "\n")
    missing = glyphs.lacking(formats.words_of(drawn[-1].frame)) if drawn else ""
    if missing and not options.out.lower().endswith((".html", ".json")):
        say(glyphs.sentence(missing), options.quiet)
    say(f"Written to {options.out}", options.quiet)
    return code


def _paper_of(options: argparse.Namespace) -> Any:
    """How large a figure for a paper is; None where none is asked for.

    Raises:
        InfoflowError: a width that is none.
    """
    if options.width is None and options.font_size is None and not options.no_title:
        return None
    from infoflow.files import paper

    size = paper.FONT_SIZE if options.font_size is None else options.font_size
    return paper.Paper(paper.width_of(options.width or "1col"), size, not options.no_title)
