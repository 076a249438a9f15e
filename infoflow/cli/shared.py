"""What commands share: progress on standard error, and running a request."""

import argparse
import sys
from contextlib import nullcontext
from typing import Any

from infoflow.analyses.provenance import UNSUPPORTED, Provenance
from infoflow.analyses.request import Request
from infoflow.errors import BadPrompt


def say(text: str, quiet: bool, end: str = "\n") -> None:
    """A line on standard error."""
    if not quiet:
        print(text, end=end, file=sys.stderr, flush=True)


def add_remote(parser: argparse.ArgumentParser) -> None:
    """Where it runs."""
    parser.add_argument("--remote", action="store_true", help="run on the hosted service NDIF, with the key in NDIF_API_KEY")
    parser.add_argument("--host", help="address of another such service (default: NDIF_HOST, else the public one)")


def host_of(options: argparse.Namespace) -> str:
    """The service's address, or '' for here.

    Raises:
        RemoteRunError: no address of a service.
    """
    if not (options.remote or options.host):
        return ""
    from infoflow.ndif.service import connection

    return connection(options.host).host


EXIT_UNSUPPORTED = 3


def code_of(made: Provenance) -> int:
    """3, with a sentence on standard error, where the self-test refused the model: what was written is not to be relied on."""
    if made.verdict != UNSUPPORTED:
        return 0
    print(f"infoflow: do not rely on what was written: the self-test refused {made.model}.", file=sys.stderr)
    return EXIT_UNSUPPORTED


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


def perform(request: Request[Any], quiet: bool) -> Any:
    """The result of a request, with progress and the self-test's verdict told.

    Raises:
        InfoflowError: what loading and running raise.
    """
    from infoflow.analyses.perform import perform as performed  # torch loads only when there is something to do
    from infoflow.models.loading import load

    told = [""]

    def tell(doing: str, fraction: float = 0.0) -> None:
        if doing != told[0]:
            again = "\r" if fraction and told[0] else ""
            say(f"{again}{doing}", quiet, "\n" if fraction in (0.0, 1.0) else "")
        told[0] = doing

    tell(f"Loading {request.model.name} …")
    found = performed(request, lambda spec, report: nullcontext(load(spec, on_progress=report)), tell)
    say(f"Self-test: {found.verdict.verdict}. {found.verdict.reason}", quiet)
    return found.result
