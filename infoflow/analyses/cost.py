"""What a run will take, said before it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from infoflow.errors import TooLarge
from infoflow.models import memory
from infoflow.settings import settings
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


def refuse_long(n_tokens: int, what: str = "The prompt") -> None:
    """Say no to a prompt, or another text that is run for it, of more tokens than an app lets anyone ask.

    Raises:
        TooLarge: with both numbers.
    """
    most = settings().max_prompt_tokens
    if most is not None and n_tokens > most:
        raise TooLarge(f"{what} has {n_tokens:,} tokens; this app takes at most {most}. Shorten it.", always=True)


def most_runs(runs: int) -> int | None:
    """How many patched runs an app makes for one question, where these are more; else None."""
    most = settings().max_patched_runs
    return most if most is not None and runs > most else None


def refuse_many(runs: int) -> None:
    """Say no to more patched runs than that.

    Raises:
        TooLarge: with both numbers.
    """
    most = most_runs(runs)
    if most is not None:
        raise TooLarge(
            f"{runs:,} patched runs are asked for; this app makes at most {most:,}. Choose fewer layers or positions.",
            always=True,
        )
