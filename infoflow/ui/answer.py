"""The controls and pieces of the Answer page."""

import hashlib
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import streamlit as st
from streamlit.errors import StreamlitPageNotFoundError

from infoflow.analyses.location import Location, LocationRequest
from infoflow.analyses.result import Prediction
from infoflow.charts import signed as charts
from infoflow.models.spec import ModelSpec
from infoflow.pictures.location import MOVES
from infoflow.pictures.picture import identity
from infoflow.tables import answer as tables
from infoflow.text.ranges import as_number
from infoflow.text.rows import row_title
from infoflow.text.tokens import unique, visible
from infoflow.ui import blocks, controls
from infoflow.ui import contrast as contrasts
from infoflow.ui.places import Places

WINDOW = 32
"""so many columns have room for their tokens"""
MOST_CHANGES = 10
LEAST = 0.01
"""of the largest change: what is less isn't named"""

INTRO = """At which layer is the answer on which token? The logit of the answer is, at every row, a sum over the positions of what
each residual holds of it: it starts on the tokens that say it, and ends where it is read off."""
USE = """Green raises the answer, magenta lowers it; each row sums to the logit at its side. The line follows the largest part.
Arrows: what attention heads move from one position to another. Click a cell for what changed it there."""
HOW = """One normal run of the model gives attention patterns, MLP gates and norm scales. Holding those fixed, the logit is a
linear function of the residual stream at every row, and one pass backward gives its slope everywhere: a cell holds the product of
its residual with that slope. From one row to the next the sum stays; heads move parts of it, MLPs move nothing. The code that
made the numbers:"""
TARGET = """Whose logit is looked for: a likely next token, or any text that is one token here. The likeliest one where nothing is
chosen."""
AGAINST = """With one, cells hold their part of the difference of the two logits: what tells the two answers apart."""
CENTRED = """Take the mean of all logits off. A token to hold against does this too."""
MIDS = """Rows between attention and MLP. They hold what the rows after the MLP hold, but for what the MLP's biases add: with
gates fixed, an MLP moves nothing from a position to another."""
SHOWN = (
    """How many of the largest moves are drawn. The heads of a layer that move between the same two positions are one arrow."""
)
CELLS, TARGETS, RIVALS, CONTRASTS = Places("at"), Places("target"), Places("against"), Places("contrast")
_LIKELY = "answer_likely"
Cell = tuple[int, int]
"""number of the row, and position"""


@dataclass(frozen=True)
class View:
    """What is asked, and how it is drawn."""

    target: int | str | None
    against: int | str | None
    centred: bool
    contrast: str | None
    quantity: str
    mids: bool
    moves: int
    tokens: tuple[int, int] | None
    """first and last that are drawn; all where it is not known how many there are"""


def view(model: ModelSpec, prompt: str) -> View:
    """The row of controls above the map. What is asked is part of the run, so the controls come before it."""
    scope = hashlib.sha256(repr((model, prompt)).encode()).hexdigest()[:12]  # another prompt has other likely tokens
    likely, n, proposed = st.session_state.get(_LIKELY, {}).get((model, prompt), ((), 0, ()))
    titles = _titles(likely)
    with controls.row():
        first = f"{next(iter(titles.values()))}, the likeliest" if titles else "the likeliest"
        target = _token(controls.held_choice("Target", titles, TARGETS, scope, TARGET, first, 220))
        against = _token(controls.held_choice("against", titles, RIVALS, scope, AGAINST, "nothing", 190))
        held_against = contrasts.contrast(prompt, proposed, CONTRASTS, scope, 190)
        quantity = contrasts.shown("answer_show", held_against is not None)
        every = {"answer_centred": False, "answer_mids": False, "answer_moves": MOVES}
        with controls.more({**every, **controls.every_token(n, WINDOW, "answer_tokens")}):
            centred = st.toggle("Centred", key="answer_centred", help=CENTRED, bind="query-params", disabled=against is not None)
            mids = st.toggle("Rows after attention", key="answer_mids", help=MIDS, bind="query-params")
            moves = st.slider("Moves drawn", 0, 30, MOVES, key="answer_moves", help=SHOWN, bind="query-params")
            shown = controls.tokens_shown(n, WINDOW, "answer_tokens") if n else None
    return View(target, against, centred and against is None, held_against, quantity, mids, int(moves), shown)


def _titles(likely: Sequence[Prediction]) -> dict[str, str]:
    names = unique([f"{visible(t.token)}  ({t.probability:.0%})" for t in likely])
    return dict(zip([f"#{t.id}" for t in likely], names, strict=True))


def _token(chosen: str | None) -> int | str | None:
    """A likely token is held as its number, anything else as it was typed."""
    token = as_number(chosen[1:]) if chosen is not None and chosen[:1] == "#" else None
    return chosen if token is None else token


def note_likely(request: LocationRequest, found: Location) -> None:
    """What the controls offer for this prompt from now on: they are drawn before the run."""
    noted, of = st.session_state.setdefault(_LIKELY, {}), (request.model, request.prompt)
    if of not in noted:
        noted[of] = (found.top, len(found.labels), found.contrasts)
        st.rerun()


def cell_of(found: Location, place: str) -> Cell | None:
    """The cell that a place is; None where it is none of this run."""
    row, _, position = place.rpartition(".")
    at = as_number(position)
    if row not in found.rows or at is None or at >= len(found.labels):
        return None
    return found.rows.index(row), at


def pick(chart: str, found: Location, mids: bool, scope: str) -> None:
    """A cell of the map was clicked."""
    cell = next(iter(st.session_state[chart].selection.get("cell") or []), None)
    rows = tables.shown_rows(found, mids)
    CELLS.choose(scope, "" if cell is None else f"{found.rows[rows[int(cell['order'])]]}.{cell['position']}")


def go(found: Location, scope: str, place: Mapping[str, Any]) -> None:
    """To what a sentence is about: a cell, or what a head moved."""
    if "row" in place:
        row, position = place["row"], place["position"]
    else:
        moves = found.moves_frame()
        move = moves[(moves["layer"] == place["layer"]) & (moves["head"] == place["head"])].iloc[0]
        row, position = found.row_after(place["layer"]) + found.mids, int(move["dest"])
    CELLS.go(scope, f"{found.rows[row]}.{position}")


def scope_of(found: Location) -> str:
    """A short name for what was run and asked: a place in another picture is another place."""
    of = found.provenance.ids or ()
    return identity(found.provenance, of, (found.target, -1 if found.against is None else found.against))


def first_cell(found: Location) -> Cell:
    """The cell that is looked at where none was chosen: where the largest move arrives."""
    moves = found.moves_frame()
    if moves.empty:
        return len(found.rows) - 1, found.position
    return found.row_after(int(moves["layer"].iloc[0])) + found.mids, int(moves["dest"].iloc[0])


def cell(found: Location, row: int, position: int, dark: bool) -> None:
    """What a cell holds, and what changed it there."""
    token = blocks.plain(found.position_labels[position])
    st.markdown(f"**{row_title(found.rows[row])}**, position {position}: {token}")
    holds = float(found.by_cell[row, position])
    apart = ""
    if found.specific is not None:
        specific = float(found.specific[row, position])
        apart = f": specific **{specific:+.2f}**, hindsight {tables.held(found, 'hindsight')[row, position]:+.2f}"
    st.markdown(f"holds **{holds:+.2f}** of {found.total:+.2f}{apart}")
    _link(found, row, position)
    if row == 0:
        st.caption("This is the embedding: nothing has moved yet.")
        return
    layer = found.layer_of(row)
    before = float(found.by_cell[found.row_after(layer) - 1, position])
    table = tables.moved(found, row, position)
    written = f"Its MLP writes {found.by_mlp[layer, position]:+.2f} of what is there, and moves nothing."
    if table.empty:
        st.caption(f"Nothing came or went in layer {layer}. {written}")
        return
    drawn = table[table["logit"].abs() >= LEAST * table["logit"].abs().max()].head(MOST_CHANGES)
    says = f"What changed this cell in layer {layer}. {blocks.largest(drawn, 'name', 'logit', '+.2f')}"
    ranked = charts.ranking(drawn, "logit", "+.2f", dark)
    st.markdown(f"**What layer {layer} changed here**, from {before:+.2f}")
    blocks.chart(ranked, key="answer_changes", on_select="rerun", selection_mode="head", alt=says)
    heads = drawn[drawn["head"] >= 0]
    best = (int(heads["layer"].iloc[0]), int(heads["head"].iloc[0])) if len(heads) else None
    controls.picked_head("answer_changes", best)
    few = f"The largest {len(drawn)} of {len(table)}. " if len(table) > len(drawn) else ""
    st.caption(f"{few}{written}")


def _link(found: Location, row: int, position: int) -> None:
    """To the same residual on Information flow."""
    layer, stage = found.layer_of(row), found.rows[row].rpartition(".")[2]
    with suppress(StreamlitPageNotFoundError):  # no other page is there where this one stands alone
        place = {"bar": f"{layer}.{stage}.{position}"}
        st.page_link("pages/information_flow.py", label="What this residual is made of →", query_params=place)


def part_shown(found: Location, view: View) -> str:
    """What is to be said where some of the tokens are drawn."""
    n = len(found.labels)
    return controls.part_shown(n, view.tokens or (0, n - 1))
