"""What was run, kept with every result so that a number can be made again."""

from dataclasses import dataclass

from infoflow import __version__


@dataclass(frozen=True, kw_only=True)
class Provenance:
    """What was run, so that a number can be made again."""

    model: str
    revision: str
    dtype: str
    prompt: str
    sources: str = ""
    """what was kept apart, for an analysis that splits by source"""
    infoflow: str = __version__
    method: int = 1
    """of the analysis that made it"""
