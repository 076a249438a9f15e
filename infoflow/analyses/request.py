"""One analysis as a value: everything that its result depends on.

The same frozen value is what a page keeps as asked, the key of a cache, what a file says of a result, and what the command line
runs. A field that is added to it is in all of them; a result carries its request in its provenance.
"""

import json
import pkgutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cache
from importlib import import_module
from typing import TYPE_CHECKING, Any, ClassVar, Generic, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError

from infoflow.analyses.cost import Estimate
from infoflow.errors import BadPrompt
from infoflow.interventions import KINDS, AnyIntervention, Intervention
from infoflow.models.spec import ModelSpec
from infoflow.text.tokens import as_id

if TYPE_CHECKING:
    import infoflow.models.model  # heavy: a stored run is shown before it loads

Prompt = str | tuple[int, ...] | tuple[str, ...]
"""a text, token ids, or what a user says in a conversation, turn by turn"""
Report = Callable[[str, float], None]
"""told what is being done and how much of it is; raising in it stops the run"""
R = TypeVar("R", covariant=True)
ROOMS = ("infoflow.analyses", "infoflow.studies")
"""where requests live, one file a method: the file's name is the analysis's"""


@dataclass(frozen=True, kw_only=True)
class Request(ABC, Generic[R]):
    """What is asked of a model. `run` gives the result, `estimate` what it will take."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")
    analysis: ClassVar[str]
    """its name; that of the file it is in, where the file has one request"""
    function: ClassVar[str]
    """of the package, which takes what it holds"""

    model: ModelSpec = ModelSpec()
    prompt: Prompt
    interventions: tuple[AnyIntervention, ...] = ()

    def __post_init__(self) -> None:
        as_interventions(self.interventions)

    @abstractmethod
    def run(self, model: "infoflow.models.model.Model", on_progress: Report | None = None) -> R:
        """The result.

        Raises:
            InfoflowError: what the reader can mend, in words.
        """

    def prepare(self, model: "infoflow.models.model.Model", say: Report) -> None:
        """Bring here what the run needs beside the model, before it has the model for itself; nothing, mostly.

        Raises:
            InfoflowError: it can't be had.
        """

    @abstractmethod
    def estimate(self, model: "infoflow.models.model.Model") -> Estimate:
        """What it will take, before it runs.

        Raises:
            InfoflowError: a prompt that the model can't read at all.
        """

    def exactly(self, model: "infoflow.models.model.Model") -> "Request[R]":
        """The same of this very model, with what a reader typed made exact. What is kept of a result is kept under this."""
        return replace(self, model=model.spec)

    def smaller(self, model: "infoflow.models.model.Model") -> "list[tuple[str, Request[R], Estimate]]":
        """What may be run instead where this does not fit: what is different, the request, what it takes."""
        return []

    @property
    def title(self) -> str:
        """What it is about, in a line."""
        return text_of(self.prompt)

    @property
    def key(self) -> str:
        """The request as text: the same for equal ones alone, whatever its kind."""
        return json.dumps(self.to_dict(), sort_keys=True)

    def arguments(self) -> dict[str, Any]:
        """What its function is given beside the model: the fields, by the names that they have there."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "model"}

    def to_dict(self) -> dict[str, Any]:
        """Plain values that `from_dict` takes back."""
        return {"analysis": self.analysis, **_adapter(type(self)).dump_python(self, mode="json")}


RunPart = Callable[[Request[Any], Report | None], Any]
"""runs one request, or finds its result where it is kept"""


class Study(Request[R]):
    """What is made of several analyses, each a request of its own."""

    @abstractmethod
    def run(self, model: "infoflow.models.model.Model", on_progress: Report | None = None, run_part: RunPart | None = None) -> R:
        """The result; `run_part` runs its parts, or has them already."""


def from_dict(values: dict[str, Any]) -> Request[Any]:
    """The request that `to_dict` wrote, checked: every field is known and of its type.

    Raises:
        BadPrompt: no request, or one with a field that is wrong, which is named.
    """
    given = dict(values)
    kind = given.pop("analysis", None)
    found = known().get(str(kind))
    if found is None:
        raise BadPrompt(f"There is no analysis '{kind}'. There are: {', '.join(known())}.")
    try:
        return _adapter(found).validate_python(given, strict=False)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"][:2])
        said = 'Input should be an object: {"name": "demo"}' if where == "model" else first["msg"]
        raise BadPrompt(f"This is no request of '{kind}': {where or 'its fields'}: {said}.") from None


@cache
def _adapter(kind: type[Any]) -> Any:
    """What writes and checks the fields of one kind; costly to make, and asked for at every look."""
    return TypeAdapter(kind)


def known() -> dict[str, type[Request[Any]]]:
    """Every request that there is, by its analysis."""
    for room in ROOMS:
        for file in pkgutil.iter_modules(import_module(room).__path__):
            import_module(f"{room}.{file.name}")
    return {kind.analysis: kind for kind in _below(Request) if "analysis" in vars(kind)}


def _below(kind: type[Any]) -> list[type[Request[Any]]]:
    return [found for child in kind.__subclasses__() for found in (child, *_below(child))]


def as_prompt(prompt: Any) -> str | tuple[int, ...]:
    """A prompt as a request keeps it: a text, or token ids.

    Raises:
        BadPrompt: anything else; nothing is rounded, read out of a text, or taken for a number that is none.
    """
    if isinstance(prompt, str):
        return prompt
    if isinstance(prompt, bytes) or not isinstance(prompt, Iterable):
        raise BadPrompt(f"A prompt is a text or token ids; this is {type(prompt).__name__}.")
    return tuple(as_id(token, f" at place {place}") for place, token in enumerate(prompt))


def check_position(position: int, n: int) -> None:
    """That a prompt of n tokens has a position; negative ones count from its end.

    Raises:
        BadPrompt: it has not.
    """
    if not -n <= position < n:
        raise BadPrompt(f"There is no position {position}; the prompt has {n} tokens (0 to {n - 1}, or -1 for the last).")


def check_k(k: int, name: str = "k") -> None:
    """That at least one of the likeliest tokens is asked for.

    Raises:
        BadPrompt: none is.
    """
    if k < 1:
        raise BadPrompt(f"{name} is {k}; at least the likeliest token is needed.")


def as_interventions(given: Sequence[Any]) -> tuple[Any, ...]:
    """Interventions as a request keeps them.

    Raises:
        BadPrompt: something else among them.
    """
    for one in given:
        if not isinstance(one, Intervention):
            raise BadPrompt(f"{one!r} is no intervention. They are made by {KINDS}.")
    return tuple(given)


def text_of(prompt: Prompt) -> str:
    """A prompt in a line."""
    return prompt if isinstance(prompt, str) else (" / " if prompt and isinstance(prompt[0], str) else " ").join(map(str, prompt))


def by_layer(report: Report | None, what: str = "Layer") -> Callable[[int, int], None] | None:
    """Told of each layer, as `report` is told in words."""
    return None if report is None else lambda done, total: report(f"{what} {done} of {total}", done / total)
