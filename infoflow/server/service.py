"""What the routes are given: how a request is performed here, and what may be asked. Made where models are held."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from infoflow.analyses.perform import Performed
from infoflow.analyses.request import Report, Request

METHODS = {
    "flow": "flow", "attribute": "attribution", "locate": "location", "attention": "attention", "lens": "logit_lens",
    "generate": "generation", "correct": "corrections", "patch": "patching",
}  # fmt: skip
"""what is asked for as the command line calls it, and the analysis that it is"""
COMPARED = {"flow": "flow", "locate": "location", "attention": "attention", "lens": "logit_lens", "generate": "generation"}
"""those of which two results can be compared"""


@dataclass(frozen=True)
class Service:
    """Everything that the routes use of the process they are in."""

    perform: Callable[[Request[Any], str, Report], Performed[Any]]
    """a request with a key for the hosted service, or '' for none; told of progress, stopped by raising in that"""
    models: Callable[[], list[dict[str, Any]]]
    """what may be asked, as plain values"""
    alone: Callable[[], bool] = lambda: False
    """whether the app is for whoever sits at this machine"""
    count: Callable[[int], None] = lambda runs: None
    """counts so many runs for who asks, or raises Busy"""
    base: str = ""
    """what stands before every path, where the app does not stand at the root of its host"""
