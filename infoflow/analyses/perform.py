"""A request as an application runs it: the model loaded and tested, progress in words, refusals before the work.

Pages and the command line both go through `perform`; a page lets `run` look into its cache first.
"""

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from infoflow.analyses.cost import Estimate, refuse_long
from infoflow.analyses.request import Report, Request
from infoflow.analyses.selftest import Check, check
from infoflow.errors import TooLarge, UnsupportedModel
from infoflow.models import memory
from infoflow.models.account import ACCOUNT
from infoflow.models.spec import ModelSpec
from infoflow.settings import settings
from infoflow.text.amounts import duration

if TYPE_CHECKING:
    import infoflow.models.model

R = TypeVar("R")
Load = Callable[[ModelSpec, Report], "contextlib.AbstractContextManager[infoflow.models.model.Model]"]
"""gives a model for the time of a `with`"""
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
    kept: str = ""
    """the session that it was opened from, by its title; '' where it was run or is an example's"""


def run_now(request: Request[R], model: "infoflow.models.model.Model", say: Report) -> tuple[R, Estimate]:
    """The result, and what it was reckoned to take. Model and memory are this run's alone for its time.

    Raises:
        InfoflowError: what the analysis raises; TooLarge where memory runs out all the same; Cancelled, also while it waits.
    """
    cost = reckoned(request, model)
    if model.hosted:
        say("Sending …", 0.0)
        return request.run(model, say), cost
    request.prepare(model, say)
    device = str(model.device)
    with model.turn(say), ACCOUNT.reserved(cost.bytes, device, say, memory.limit), memory.told_when_out(device):
        return request.run(model, in_time(say)), cost


def reckoned(request: Request[Any], model: "infoflow.models.model.Model") -> Estimate:
    """What a request will take; a prompt that is longer than is let in is refused.

    Raises:
        InfoflowError: a prompt that the model can't read, or that is too long.
    """
    cost = request.estimate(model)
    refuse_long(cost.n_tokens)
    return cost


def in_time(say: Report) -> Report:
    """The same, and it ends a run that takes longer from now on than a run may."""
    most, begun = settings().max_seconds, time.monotonic()
    if most is None:
        return say

    def told(doing: str, fraction: float) -> None:
        if time.monotonic() - begun > most:
            raise TooLarge(
                f"The run was ended after {duration(float(most))}, which is as long as one may take here. Ask for less: a "
                "shorter prompt, fewer layers or positions."
            )
        say(doing, fraction)

    return told


def perform(request: Request[R], load: Load, say: Report, run: Run = run_now) -> Performed[R]:
    """Load, test, run.

    Raises:
        InfoflowError: what loading and running raise; a model that the decomposition does not run on; Cancelled.
    """
    with load(request.model, say) as model:
        verdict = self_tested(model, say)
        result, cost = run(request.exactly(model), model, say)
        return Performed(result, verdict, cost, model.has_chat_template)


def self_tested(model: "infoflow.models.model.Model", say: Report) -> Check:
    """The self-test's verdict, once a model. One that measured nothing is told, and not kept.

    Raises:
        UnsupportedModel: nothing could be measured.
    """
    found: Check | None = model.tested  # asked before the lock, which another reader's run may hold for long
    if found is None:
        say("Self-test …", 0.0)
        # a hosted run may queue for long, and nobody here shall wait for it
        with model.turn(say) if not model.hosted else contextlib.nullcontext():
            found = model.tested or check(model)
            if found.errors:
                model.tested = found
    if not found.errors:
        raise UnsupportedModel(found.reason)
    return found
