"""What was run, kept with every result so that a number can be made again."""

import warnings
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from infoflow import __version__
from infoflow.analyses.request import Request, from_dict, text_of
from infoflow.errors import InfoflowError
from infoflow.models.architectures import FAMILIES

if TYPE_CHECKING:
    from infoflow.models.model import Model


UNSUPPORTED = "unsupported"
_testing: ContextVar[bool] = ContextVar("testing", default=False)
_tests: "list[Callable[[Model], Any]]" = []


def judge_with(check: "Callable[[Model], Any]") -> None:
    """Let `check(model)` give the verdict on a model that nobody has tested. The self-test decomposes, so it is above."""
    _tests[:] = [check]


def _verdict(model: "Model") -> str:
    """What the self-test says of a model. One of a family that is not in the table is tested now, once: nobody else has."""
    if model.tested is None and _tests and model.family not in FAMILIES and not (model.hosted or _testing.get()):
        token = _testing.set(True)
        try:
            found = _tests[0](model)
        except InfoflowError:  # of memory or the limits, not of the model
            return ""
        finally:
            _testing.reset(token)
        if found.errors:
            model.tested = found
        if found.verdict == UNSUPPORTED:
            warnings.warn(f"Do not rely on the numbers of {model.name}. {found.reason}", stacklevel=2)
        return str(found.verdict)
    return str(model.tested.verdict) if model.tested else ""


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What was run, so that a number can be made again."""

    request: Request[Any]
    """everything the result depends on, of the very model that was run"""
    dtype: str
    """what the model computed in"""
    weights: str = ""
    """how the weights were stored, where they are held otherwise: "4-bit weights, dequantised\""""
    sources: str = ""
    """what was kept apart, for an analysis that splits by source"""
    ids: tuple[int, ...] = ()
    """the tokens that were run, of which a tokenizer or a chat template (which may hold today's date) made the prompt"""
    how: str = ""
    """how a text was written: greedy, or sampled with what, and whether in a chat template"""
    verdict: str = field(default="", compare=False)
    """of the model's self-test: exact, approximate, unsupported; '' where it has not been tested"""
    infoflow: str = __version__
    method: int = 1
    """of the analysis that made it"""

    @staticmethod
    def of(model: "Model", request: Request[Any], dtype: str, **more: Any) -> "Provenance":
        """Of a run: `dtype` is what the model computed in, `more` further fields."""
        verdict = _verdict(model)
        return Provenance(request=replace(request, model=model.spec), dtype=dtype, weights=model.stored, verdict=verdict, **more)

    @property
    def model(self) -> str:
        return self.request.model.name

    @property
    def whose(self) -> str:
        """The model as a title names it: with how its weights were stored, where they are held otherwise, and how many changes
        its run was under."""
        named = f"{self.model}, {self.weights.partition(',')[0]}" if self.weights else self.model
        n = len(self.request.interventions)
        return f"{named}, with {n} intervention{'' if n == 1 else 's'}" if n else named

    @property
    def revision(self) -> str:
        return self.request.model.revision

    @property
    def prompt(self) -> str:
        """What was run, as text."""
        return text_of(self.request.prompt)

    def to_dict(self) -> dict[str, Any]:
        """Plain values: model, revision, prompt, the other fields, and the whole request."""
        plain = {name: value for name, value in vars(self).items() if name != "request"}
        return {"model": self.model, "revision": self.revision, "prompt": self.prompt, **plain, "request": self.request.to_dict()}

    @staticmethod
    def from_dict(values: dict[str, Any]) -> "Provenance":
        """What `to_dict` wrote.

        Raises:
            BadPrompt: a request that is none.
        """
        fields = {name: value for name, value in values.items() if name not in ("model", "revision", "prompt", "request")}
        return Provenance(request=from_dict(values["request"]), **{**fields, "ids": tuple(fields.get("ids", ()))})
