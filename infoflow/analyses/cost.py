"""What a run will take, said before it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from infoflow.models import memory
from infoflow.text.amounts import duration, in_words

if TYPE_CHECKING:
    import infoflow.models.model

FLOAT = 4
"""bytes of a float32"""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a run will take."""

    n_tokens: int
    n_sources: int
    """what is kept apart"""
    bytes: int
    """memory beyond the weights, at the peak, where it runs; with `hosted`, what comes back from there"""
    seconds: float | None = None
    """on this machine, from the measured speed of its matrix products; None where it is not known"""
    hosted: bool = False

    def __str__(self) -> str:
        if self.hosted:
            return f"about {in_words(self.bytes)} to bring back"
        return f"about {in_words(self.bytes)} of memory" + (f" and {duration(self.seconds)}" if self.seconds is not None else "")


def refuse_here(model: "infoflow.models.model.Model", needed: int, what: str, advice: str) -> None:
    """Say no to a run on this machine that needs more than it may take; a service has memory of its own.

    Raises:
        TooLarge: with both numbers.
    """
    if not model.hosted:
        memory.refuse(needed, model.memory_limit(), what, advice)
