"""Serve the analyses as tools to assistants, over the Model Context Protocol, on standard input and output. In an assistant's
configuration: {"mcpServers": {"infoflow": {"command": "infoflow", "args": ["mcp"]}}}"""

import argparse
import contextlib
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

from infoflow.analyses.request import Report, Request
from infoflow.errors import InfoflowError
from infoflow.models.spec import ModelSpec

HELP = "serve the analyses to assistants (Model Context Protocol)"
EXAMPLES = ("infoflow mcp",)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Nothing: an assistant says what it wants."""


def run(options: argparse.Namespace) -> int:
    """Serve until the assistant closes its end.

    Raises:
        InfoflowError: the protocol's package is not installed.
    """
    if find_spec("mcp") is None:
        raise InfoflowError("The protocol's package is not installed. Install it: pip install 'infoflow[mcp]'.")
    from infoflow.analyses.perform import Performed, perform
    from infoflow.models.account import ACCOUNT
    from infoflow.models.shelf import Shelf
    from infoflow.server import limits, mcp

    shelf = Shelf(ACCOUNT)

    @contextlib.contextmanager
    def using(spec: ModelSpec, say: Report) -> Iterator[Any]:
        if spec.hosted:
            from infoflow.models.loading import load

            yield load(spec, on_progress=say)
        else:
            with shelf.using(spec, True, say) as model:
                yield model

    def performed(request: Request[Any], say: Report) -> Performed[Any]:
        limits.check(request)
        return perform(request, using, say)

    mcp.serve(performed)
    return 0
