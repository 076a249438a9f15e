"""What was run, kept with every result so that a number can be made again."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from infoflow import __version__

if TYPE_CHECKING:
    from infoflow.model import Model


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What was run, so that a number can be made again."""

    model: str
    revision: str
    dtype: str
    prompt: str
    sources: str = ""
    """what was kept apart, for an analysis that splits by source"""
    how: str = ""
    """how a text was written: greedy, or sampled with what, and whether in a chat template"""
    infoflow: str = __version__
    method: int = 1
    """of the analysis that made it"""

    @staticmethod
    def of(model: "Model", prompt: str | Sequence[int], dtype: str, **more: Any) -> "Provenance":
        """Of a run: `dtype` is what the model computed in, `more` further fields."""
        text = prompt if isinstance(prompt, str) else " ".join(map(str, prompt))
        return Provenance(model=model.name, revision=model.revision, dtype=dtype, prompt=text, **more)
