"""Two runs and their difference, side by side on one scale."""

from collections.abc import Callable

import pandas as pd

from infoflow.charts import compare as charts
from infoflow.charts.palette import source_colours
from infoflow.pictures.picture import Picture, short
from infoflow.studies.compare import Both, Comparison
from infoflow.studies.sides import PLAIN, Names
from infoflow.tables import compare as tables
from infoflow.text.rows import ROW_NAMES

MOST_COLUMNS = 32
"""positions that have room in each panel, the last ones"""
MOST_ROWS = 40
"""rows of a lens that are all drawn at first"""
ONE_SCALE = "One scale for all three."
ROOT = "Colour by the square root."
FORMS = {"probability": ".0%", "logit": "+.1f", "entropy": ".2f", "kl": ".2f"}
WORDS = {"kl": "KL to output, in nats", "entropy": "entropy, in nats"}


def picture(found: Comparison, dark: bool = False) -> Picture:
    """What is first shown of each kind: at the last position, of the head that moved most."""
    of: dict[str, Callable[..., Picture]] = {"flow": flow, "location": answer, "attention": attention, "logit_lens": lens}
    return of.get(found.kind, predictions)(found, dark=dark)


def flow(found: Comparison, place: int = -1, stage: str = "post", palette: str = "hue", dark: bool = False) -> Picture:
    """What one position's residual is made of after each layer: two bars, and what is more and less in the second."""
    table = tables.residual(found, place, stage)
    colours = source_colours(found.axis("source").keys, palette, dark)
    b = found.names.b
    hidden = f" Not shown: {', '.join(found.aside)}; the others are scaled to 100 %." if found.aside else ""
    return Picture(
        chart=charts.stacks(table, _titles(found), colours, dark),
        frame=found.names.of(table.drop(columns=["row", "source"])),
        title=_title(f"What the residual of “{found.labels[place]}” is made of {ROW_NAMES[stage]}", found),
        note=f"Shares by {found.quantity}. Right of the line: more in {b}; left: less. {ONE_SCALE}{hidden}{_rest(found)}",
    )  # fmt: skip


def answer(found: Comparison, dark: bool = False) -> Picture:
    """Where the answer is, by layer and position."""
    columns, cells, part = _shown(found, tables.answer(found))
    rest = int(cells["place"].max()) + 1 - len(columns)
    columns = pd.concat([columns, pd.DataFrame([{"a": "bias", "b": "bias", "differs": False}] * rest)], ignore_index=True)
    what = f"“{found.a.target_name.strip()}”" + (f" over “{found.a.against_name.strip()}”" if found.a.against_name else "")
    held = {"logit": "What residuals hold of the logit of", "specific": "What residuals say beyond the contrast of"}
    return Picture(
        chart=charts.maps(cells, _titles(found), columns, "+.1f", dark=dark), frame=found.names.of(found.to_frame()),
        title=_title(f"{held.get(found.quantity, 'Hindsight of')} {what}", found),
        note=f"In logits, rows after the MLP. {ONE_SCALE}{part}{_rest(found)}",
    )  # fmt: skip


def attention(found: Comparison, chosen: tuple[int, int] | None = None, dark: bool = False) -> Picture:
    """One head's map; of the head whose last row moved most where none is chosen."""
    layer, head = chosen or moved_most(found)
    columns, cells, part = _shown(found, tables.head(found, layer, head))
    cells = cells[cells["order"] < MOST_COLUMNS]
    return Picture(
        chart=charts.maps(cells, _titles(found), columns, ".2f", root=True, dark=dark),
        frame=found.names.of(cells[["row", "column", "a", "b", "difference"]]),
        title=_title(f"Attention of head {layer}.{head}", found),
        note=f"{found.quantity.capitalize()}; rows look, columns are read. {ROOT} {ONE_SCALE}{part}{_rest(found)}",
    )  # fmt: skip


def moved_most(found: Comparison) -> tuple[int, int]:
    """The head whose attention from the last position moved most."""
    table = tables.heads(found)
    best = table.loc[table["moved"].idxmax()]
    return int(best["layer"]), int(best["head"])


def lens(found: Comparison, place: int = -1, mids: bool | None = None, dark: bool = False) -> Picture:
    """Tokens that both follow, by row of the stream, at one position; of many rows those after the MLP alone, unless `mids`."""
    rows = found.axis("row").keys
    mids = len(rows) <= MOST_ROWS if mids is None else mids
    cells = tables.lens(found, place, mids)
    across = cells.drop_duplicates("place").sort_values("place")["column"].tolist()
    columns = pd.DataFrame({"a": across, "b": across, "differs": False})
    form, what = FORMS[found.quantity], WORDS.get(found.quantity, found.quantity).capitalize()
    return Picture(
        chart=charts.maps(cells, _titles(found), columns, form, dark=dark), frame=found.names.of(found.to_frame()),
        title=_title(f"{found.a.kind.capitalize()} lens at “{found.labels[place]}”", found),
        note=f"{what}{'' if mids else ', rows after the MLP'}. {ONE_SCALE}{_rest(found)}",
    )  # fmt: skip


def predictions(found: Comparison, dark: bool = False) -> Picture:
    """The likeliest next tokens of each."""
    table = tables.next_tokens(found)
    return Picture(
        chart=charts.bars(tables.drawn(table), _titles(found), dark=dark), frame=found.names.of(table),
        title=_title("The next token", found),
        note=f"Probabilities, those that differ most. {ONE_SCALE}{_rest(found)}",
    )  # fmt: skip


def _shown(found: Comparison, cells: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame, str]:
    """Columns and cells of a map that has room for them, and what is to be said where that is not all."""
    columns = tables.tokens(found)
    n = len(columns)
    first = max(0, n - MOST_COLUMNS)
    cells = cells[cells["place"] >= first]
    told = f" The last {n - first} of {n} positions." if first else ""
    return columns[first:].reset_index(drop=True), cells.assign(place=cells["place"] - first), told


def _titles(found: Comparison) -> tuple[str, str, str]:
    return found.names.a, found.names.b, found.names.difference


def _title(what: str, found: Comparison) -> str:
    return f"{what}, {sides(found.provenance, found.names)}"


def sides(made: Both, names: Names = PLAIN) -> str:
    """The two runs in a title: what they have in common once."""
    a, b = made.a, made.b
    if a.prompt == b.prompt:
        return f"of “{short(a.prompt)}” on {a.whose} ({names.a}) and {b.whose} ({names.b})"
    if a.whose == b.whose:
        return f"of “{short(a.prompt)}” ({names.a}) and “{short(b.prompt)}” ({names.b}) on {a.whose}"
    return f"of “{short(a.prompt)}” on {a.whose} ({names.a}) and “{short(b.prompt)}” on {b.whose} ({names.b})"


def _rest(found: Comparison) -> str:
    """What no picture shows: tokens without a counterpart."""
    out = tables.left_out(found)
    return f" {out}" if out else ""
