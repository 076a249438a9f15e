"""A request as an application runs it: the model loaded and tested, progress in words, refusals before the work.

Pages and the command line both go through `perform`; a page lets `run` look into its cache first.
"""

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from infoflow.analyses.cost import Estimate
from infoflow.analyses.request import Report, Request
from infoflow.analyses.selftest import Check, check
from infoflow.errors import UnsupportedModel
from infoflow.models.spec import ModelSpec

if TYPE_CHECKING:
    import infoflow.models.model

R = TypeVar("R")
Load = Callable[[ModelSpec, Report], "infoflow.models.model.Model"]
Run = Callable[[Request[Any], "infoflow.models.model.Model", Report], tuple[Any, Estimate]]


@dataclass(frozen=True)
class Performed(Generic[R]):
    """A result with what is to be said beside it."""

    result: R
    verdict: Check
    """of the model's self-test; of the result itself where it was stored and no model is in memory"""
    cost: Estimate | None = None
    """as estimated before the run; None for a stored one"""
    has_template: bool = False
    """whether the model has a chat template"""


def run_now(request: Request[R], model: "infoflow.models.model.Model", say: Report) -> tuple[R, Estimate]:
    """The result, and what it was reckoned to take."""
    cost = request.estimate(model)
    say("Waiting for the model …" if not model.hosted else "Sending …", 0.0)
    return request.run(model, say), cost


def perform(request: Request[R], load: Load, say: Report, run: Run = run_now) -> Performed[R]:
    """Load, test, run.

    Raises:
        InfoflowError: what loading and running raise; a model that the decomposition does not run on; Cancelled.
    """
    model = load(request.model, say)
    verdict = self_tested(model, say)
    result, cost = run(request.exactly(model), model, say)
    return Performed(result, verdict, cost, model.has_chat_template)


def self_tested(model: "infoflow.models.model.Model", say: Report) -> Check:
    """The self-test's verdict, once a model.

    Raises:
        UnsupportedModel: nothing could be measured.
    """
    if model.tested is None:
        say("Self-test …", 0.0)
        # a hosted run may queue for long, and nobody here shall wait for it
        with model.lock if not model.hosted else contextlib.nullcontext():
            if model.tested is None:
                model.tested = check(model)
    found: Check = model.tested
    if not found.errors:
        raise UnsupportedModel(found.reason)
    return found
