"""Many prompts as pictures, one a summary."""

import math
from collections.abc import Callable

from infoflow.charts import attention as heads_chart
from infoflow.charts import batch as charts
from infoflow.charts import signed
from infoflow.pictures.picture import Picture
from infoflow.studies.batch import Batch
from infoflow.tables import batch as tables

NOTHING = "Nothing of it is in this data set."


def picture(found: Batch, dark: bool = False) -> Picture:
    """The first summary that its analyses give."""
    return of(next(iter(shown(found))), found, dark)


def shown(found: Batch) -> tuple[str, ...]:
    """The summaries that its analyses give, by name; of prompts that all failed there is one."""
    have = [name for name in found.analyses if next(found.rows(name, []), None) is not None]
    return tuple(name for name, (analysis, _) in _PICTURES.items() if analysis is None or analysis in have)


def of(name: str, found: Batch, dark: bool = False) -> Picture:
    """One of them."""
    return _PICTURES[name][1](found, dark)


def places(found: Batch, dark: bool = False) -> Picture:
    """The last position's shares by where sources stand in their prompt."""
    table = found.shares("relative")
    return Picture(
        chart=charts.shares(table, "place", "place in the prompt", dark), frame=table,
        title=f"What the last position is made of, by place in the prompt, {_whose(found, 'flow')}",
        note=f"{_over(table)} Shares by norm after each layer; those of a layer sum to 100%. A short prompt has tokens in some "
        "tenths alone.",
    )  # fmt: skip


def kinds(found: Batch, dark: bool = False) -> Picture:
    """The same by kind of token."""
    table = found.shares("kind")
    return Picture(
        chart=charts.shares(table, "kind", "kind of token", dark), frame=table,
        title=f"What the last position is made of, by kind of token, {_whose(found, 'flow')}",
        note=f"{_over(table)} Shares by norm after each layer; those of a layer sum to 100%, the last token by its own kind.",
    )  # fmt: skip


def heads(found: Batch, dark: bool = False, chosen: tuple[int, int] = (-1, -1)) -> Picture:
    """The kind that each head is on most prompts."""
    labels = found.head_labels()
    return Picture(
        chart=heads_chart.overview(tables.mapped_heads(labels), "share of prompts", chosen, dark), frame=found.head_kinds(),
        title=f"What kind each head is on most prompts, {_whose(found, 'heads')}",
        note="Letters: P previous token, D duplicate token, I induction; none where it is diffuse, or too few positions could "
        "tell. Colour: on how many of the prompts it is that.",
    )  # fmt: skip


def writes(found: Batch, dark: bool = False) -> Picture:
    """What each head writes of the answer, in the mean over prompts."""
    table = found.head_writes()
    named = table.assign(row="layer " + table["layer"].astype(str), column=table["head"].astype(str))
    return Picture(
        chart=signed.grid(named, "column", "row", "logit", "+.2f", None, dark), frame=table,
        title=f"What each head writes of the answer, {_whose(found, 'attribute')}",
        note="The mean over prompts of what each head writes of the target's logit itself; of the likeliest next token's where "
        "no target was given. Columns are heads.",
    )  # fmt: skip


def moves(found: Batch, dark: bool = False) -> Picture:
    """The layer that brings most of the answer to the last position."""
    table = found.moves()
    return Picture(
        chart=charts.bars(table, "layer", "prompts", "layer", dark=dark), frame=table,
        title=f"Where the answer moves to the last position, {_whose(found, 'locate')}",
        note="On how many prompts a layer's heads bring more of the answer's logit to the last position than any other layer's.",
    )  # fmt: skip


def errors(found: Batch, dark: bool = False) -> Picture:
    """How exact the analyses were."""
    table = found.errors().assign(error=lambda t: [_power(x) for x in t["at_most"]])
    order = sorted(set(table["at_most"]))
    table = table.sort_values(["at_most"], ignore_index=True)
    return Picture(
        chart=charts.bars(table[["error", "prompts", "analysis"]], "error", "prompts", "error at most", by="analysis", dark=dark),
        frame=table[["analysis", "at_most", "prompts"]],
        title=f"How far results are from what they decompose, {_whose(found, *found.analyses)}",
        note=f"Prompts by the largest error of each analysis, at most {_power(order[-1])}." if order else NOTHING,
    )  # fmt: skip


_PICTURES: dict[str, tuple[str | None, Callable[..., Picture]]] = {
    "places": ("flow", places), "kinds of token": ("flow", kinds), "heads": ("heads", heads), "writes": ("attribute", writes),
    "moves": ("locate", moves),
    "errors": (None, errors),
}  # fmt: skip
"""name -> the analysis that it is made of, and how it is drawn"""


def _whose(found: Batch, *analyses: str) -> str:
    """Of how many prompts, which are those that an analysis did not fail on."""
    n = found.ran(*analyses)
    of = f" of “{found.group}”" if found.group is not None else ""
    return f"{n:,} prompt{'' if n == 1 else 's'}{of} on {found.model}"


def _power(x: float) -> str:
    return "0" if x == 0 else f"1e{math.log10(x):.0f}" if math.isfinite(x) else "not finite"


def _over(table: object) -> str:
    n = int(table["prompts"].iloc[0]) if len(table) else 0  # type: ignore[index,arg-type]
    return f"The mean over {n:,} prompts."
