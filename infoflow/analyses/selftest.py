"""Is the decomposition exact on this model? One short run, judged by its numbers and not by the model's name."""

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from infoflow.analyses.flow import Flow, decompose
from infoflow.analyses.provenance import UNSUPPORTED as REFUSED
from infoflow.analyses.provenance import judge_with
from infoflow.errors import InfoflowError
from infoflow.models import memory
from infoflow.settings import settings

if TYPE_CHECKING:
    import infoflow.models.model

PROMPT = "The cat sat on the mat, and then it looked at the moon."
SOURCES = 16
"""tokens are grouped into so many: fewer than any limit, also for a tokenizer of bytes"""
EXACT, APPROXIMATE = 1e-4, 3e-2
"""largest relative error that counts as exact (float32 rounding through many layers), and as approximate (half precision)"""


class Verdict(StrEnum):
    """How far a model's numbers can be trusted."""

    EXACT = "exact"
    APPROXIMATE = "approximate"
    UNSUPPORTED = REFUSED


@dataclass(frozen=True, kw_only=True)
class Check:
    """What the self-test found."""

    verdict: Verdict
    reason: str
    """one sentence, with the number that decided"""
    errors: dict[str, float]
    """reconstruction: |sum of parts - residual| / |residual|, worst of all layers, stages and positions. logits: largest
    difference of the summed parts' logits, relative to the largest logit. pattern_rows: how far rows of the attention
    pattern are from 1; not 0 in models with an attention sink in the softmax, which the decomposition allows for"""


def check(model: "infoflow.models.model.Model") -> Check:
    """Decompose a short prompt and compare with what the model computed; never raises for a model it can't handle."""
    groups = min(SOURCES, settings().max_tokens)
    try:
        with memory.told_when_out("cpu" if model.hosted else str(model.device)):
            flow = decompose(model, PROMPT, sources=[str(i % groups) for i in range(len(model.encode(PROMPT)))])
    except InfoflowError:
        raise  # the prompt, the limits, memory or a connection: not the model
    except Exception as error:  # noqa: BLE001  a model that computes something else can fail anywhere
        what = f"{type(error).__name__}: {str(error).splitlines()[0][:200] if str(error) else ''}"
        return Check(verdict=Verdict.UNSUPPORTED, reason=f"The decomposition does not run on this model ({what}).", errors={})
    return judge(flow)


def of_kept(result: object) -> Check:
    """What was found of the model when a result was kept, of which no model is at hand."""
    if isinstance(result, Flow):
        return judge(result)
    made = getattr(result, "provenance", None)
    error = float(getattr(result, "max_error", 0.0))
    if made is None or made.verdict not in list(Verdict):
        reason = "It was kept without the self-test's verdict on its model."
        return Check(verdict=Verdict.APPROXIMATE, reason=reason, errors={"reconstruction": error})
    reason = f"So the self-test said when it was kept; the error of this result is {error:.1e}."
    return Check(verdict=Verdict(made.verdict), reason=reason, errors={"reconstruction": error})


def judge(flow: Flow) -> Check:
    """How far the numbers of a run can be trusted, by the errors it measured itself."""
    errors = {"reconstruction": flow.max_error, "logits": flow.logit_error, "pattern_rows": flow.pattern_row_error}
    which = next((name for name in ("reconstruction", "logits") if errors[name] != errors[name]), None)  # not a number
    which = which or max(("reconstruction", "logits"), key=errors.__getitem__)
    worst = errors[which]
    if not worst <= APPROXIMATE:
        reason = (
            f"The {which} error is {worst:.1e}: the parts do not add up, so this model computes something that is not handled."
        )
        return Check(verdict=Verdict.UNSUPPORTED, reason=reason, errors=errors)
    dtype = flow.provenance.dtype
    rounded = "" if dtype == "float32" else f" Its weights are {dtype}, so what it computed is rounded."
    if worst > EXACT:
        reason = f"The {which} error is {worst:.1e}, more than float32 rounding.{rounded}"
        return Check(verdict=Verdict.APPROXIMATE, reason=reason, errors=errors)
    if not flow.top_agrees:
        reason = f"Every error is below {EXACT:.0e}, but the summed parts rank the likeliest tokens otherwise.{rounded}"
        return Check(verdict=Verdict.APPROXIMATE, reason=reason, errors=errors)
    reason = f"Every error is below {EXACT:.0e}; the largest is {worst:.1e} ({which})."
    return Check(verdict=Verdict.EXACT, reason=reason, errors=errors)


judge_with(check)
