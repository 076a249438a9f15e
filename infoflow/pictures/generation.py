"""A written text with what each token of it looked at."""

from dataclasses import dataclass

from infoflow.analyses.generation import Generation
from infoflow.charts import generation as charts
from infoflow.pictures.picture import Picture, short
from infoflow.tables import generation as tables
from infoflow.tables.attention import Level

LEAST = 0.05
"""weaker connections are not drawn at first"""


@dataclass(frozen=True)
class Drawn:
    """Which connections are drawn."""

    step: int | None = None
    """of one step; None for all"""
    chosen: tuple[str, int] | None = None
    """of a token alone: its side and number"""
    least: float = LEAST
    hide_first: bool = True
    window: tuple[int, int] | None = None
    """first and last token of the prompt"""


def picture(gen: Generation, dark: bool = False) -> Picture:
    """All steps, by the mean of all heads, the first token set aside."""
    hide_first = gen.n_prompt > 1
    found = tables.connections(gen, Level.ALL, 0, 0, hide_first=hide_first)
    return connections(gen, found, Drawn(hide_first=hide_first), dark)


def connections(gen: Generation, found: tables.Connections, which: Drawn, dark: bool = False) -> Picture:
    """What was read on the left, what was written on the right; of all steps, of one, or of a chosen token. Its frame is that of
    the whole result."""
    drawn = tables.shown(tables.edges(found, gen, which.least), which.step, which.chosen)
    nodes = tables.nodes(gen, which.step, which.chosen, which.hide_first, which.window)
    largest = max(float(found.inputs.max()), float(found.outputs.max()))
    none = "" if len(drawn) else " No connection reaches that."
    return Picture(
        chart=charts.bipartite(nodes, drawn, which.least, largest, dark), frame=gen.to_frame(),
        title=f"What {gen.provenance.whose} wrote after “{short(gen.provenance.prompt)}”",
        note=f"{found.title}; connections of {which.least:g} or more.{none}",
    )  # fmt: skip
