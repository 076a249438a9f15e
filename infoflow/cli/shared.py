"""What commands share: progress on standard error, and running a request."""

import argparse
import sys
from contextlib import nullcontext
from typing import Any

from infoflow.analyses.request import Request


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
