"""The controls and pieces of the Logit lens page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import streamlit as st

from infoflow.analyses.logit_lens import Lens, LensRequest
from infoflow.analyses.promotions import PromotionsRequest
from infoflow.charts import logit_lens as charts
from infoflow.models.spec import ModelSpec
from infoflow.tables import logit_lens as tables
from infoflow.tables import promotions as moved_tables
from infoflow.text.rows import row_title
from infoflow.ui import blocks, controls, results
from infoflow.ui.asking import MAX_CHARACTERS
from infoflow.ui.controls import choice
from infoflow.ui.frame import dark
from infoflow.ui.places import Places

WINDOW = 24
"""so many columns have room for their words"""

INTRO = """What the model would say if it stopped here: every residual read through the final norm and the unembedding. Rows
go from the embeddings (bottom) to the output (top); each cell names the likeliest next token."""
USE = """Outlined: already the final answer. Hover for the five likeliest, click a cell for its details. Columns are the
prompt's tokens; each cell predicts the token after it."""
HOW = """The residual of each row goes through the model's own final norm (its scale computed anew for that row) and its own
unembedding, is scaled and softly capped where the family does that, and becomes probabilities. The top row is the model's
output itself. The code that made the numbers:"""
NEEDS = {
    "rank": "Type a token to follow: its rank then colours the table. Until then colours are probabilities.",
    "lead": "Type two tokens to follow: the lead of the first over the second then colours the table. Until then colours are "
    "probabilities.",
}
TRUST = """The rows are not made to be read this way, and early ones often can't be: bars show at how many positions a row
names the final token, the line how much is lost by taking its distribution for the output's. A tuned lens (Belrose et al.
2023) learns a translation for each layer that mends much of this; none is read here: rows go through the unembedding as
they are."""
COLOUR = """**probability** of the likeliest token. **entropy** of the distribution: stronger is surer. **rank** of the
followed token: stronger is nearer the top. **lead**: logit of the first followed token minus the second's. **KL to
output**: stronger is closer to what the model says in the end."""
FOLLOW = """Tokens whose probability and rank are followed through the layers: type any text that is one token here. The
first one's rank can colour the table."""
OTHER = """Type a prompt that differs in what you are after: the likeliest tokens here, and the followed ones, are then drawn
for both."""
MIDS = """Rows after attention, before the MLP. On the hosted service they are read only when this is on: they double what is
brought back."""
LINES = """Ranks are known of followed tokens; 1 is the likeliest."""
MOVED = """The tokens whose probability the block that leads to this row raised or lowered most, with their ranks before and
after. On the hosted service this is a run of its own."""
CELLS = Places("cell")
Cell = tuple[int, int]
"""number of the row, and position"""
_COUNTED = "lens_counted"


@dataclass(frozen=True)
class View:
    """How the lens is looked at; `follow` and, on the hosted service, `mids` are part of what is run."""

    colour: str
    follow: tuple[int | str, ...]
    mids: bool
    read: tuple[int, ...]
    """positions"""


def view(colours: Sequence[str], model: ModelSpec, prompt: str) -> View:
    """The row of controls above the lens. What is read is part of the run, so the controls come before it."""
    hosted = model.hosted
    n = st.session_state.get(_COUNTED, {}).get((model, prompt), 0)  # known once it was run
    with controls.row():
        colour = choice("Colour", colours, colours[0], "lens_colour", COLOUR)
        follow = st.multiselect(
            "Follow", [], key="lens_follow", accept_new_options=True, placeholder="type a token", help=FOLLOW,
            width=260, bind="query-params",
        )  # fmt: skip
        shown = f"lens_mids_{hosted}"
        with controls.more({shown: not hosted, **controls.every_token(n, WINDOW, "lens_positions")}):
            mids = st.toggle("Rows after attention", value=not hosted, key=shown, help=MIDS, bind="query-params")
            first, last = controls.tokens_shown(n, WINDOW, "lens_positions") if n > WINDOW else (-WINDOW, -1)
    return View(colour, tuple(follow), mids, tuple(range(first, last + 1)))


def trajectory(followed: bool) -> str:
    """What the lines show; ranks are known of followed tokens alone."""
    return choice("Lines show", ["probability", "rank"] if followed else ["probability"], "probability", "lens_lines", LINES)


def note_tokens(request: LensRequest, lens: Lens) -> None:
    """How many tokens a prompt is, for the control that chooses which are read: it is drawn before the run."""
    counted, of = st.session_state.setdefault(_COUNTED, {}), (request.model, request.prompt)
    if of not in counted:
        counted[of] = len(lens.tokens)
        if len(lens.tokens) > WINDOW:
            st.rerun()


def part_read(lens: Lens) -> str:
    """What is to be said where some of the tokens are read."""
    shown = lens.positions[0], lens.positions[-1]
    return controls.part_shown(len(lens.tokens), shown, "Those alone are read through the unembedding.")


def cell_of(lens: Lens, place: str) -> Cell | None:
    """The cell that a place is; None where it is none of this lens."""
    row, _, position = place.rpartition(".")
    if row not in lens.rows or not position.isdigit() or int(position) not in lens.positions:
        return None
    return lens.rows.index(row), int(position)


def pick(chart: str, lens: Lens, scope: str) -> None:
    """A cell of the table was clicked."""
    cell = next(iter(st.session_state[chart].selection.get("cell") or []), None)
    CELLS.choose(scope, "" if cell is None else f"{lens.rows[int(cell['order'])]}.{cell['position']}")


def go(lens: Lens, scope: str, place: Mapping[str, Any]) -> None:
    """To the cell that a sentence is about."""
    CELLS.go(scope, f"{lens.rows[place['row']]}.{place['position']}")


def cell(request: LensRequest, key: str, lens: Lens, row: int, position: int) -> None:
    """The likeliest tokens of one cell, and what the block below it changed."""
    st.markdown(f"**{row_title(lens.rows[row])}**, position {position}: {blocks.plain(lens.position_labels[position])}")
    likely = tables.likeliest(lens, row, position)
    st.dataframe(likely, hide_index=True, column_config={"probability": blocks.PERCENT, "logit": blocks.LOGIT})
    here = row, lens.column(position)
    st.caption(f"Entropy {lens.entropy[here]:.2f} nats. KL to output {lens.kl[here]:.2f} nats.")
    if row == 0:
        st.caption("This is the embedding: no block has written yet.")
        return
    asks = f"lens_moved_{request.model.hosted}"
    if not st.toggle("Moved by this block", value=not request.model.hosted, key=asks, help=MOVED, bind="query-params"):
        return
    moved = PromotionsRequest(
        model=request.model, prompt=request.prompt, position=position, mids=request.mids, interventions=request.interventions
    )
    with blocks.reporting_errors():
        found = results.of(moved, key, "lens_moved", lambda: st.session_state.update({asks: False}))
        change = st.column_config.NumberColumn("change", format="percent")
        st.dataframe(moved_tables.moved(found, row), hide_index=True, column_config={"change": change})


def contrast(request: LensRequest, key: str, lens: Lens, mids: bool) -> None:
    """The same tokens in the run of another prompt, beside this one's."""
    with st.expander("Compare with another prompt"):
        prompt = st.text_input(
            "Other prompt", key="lens_other", max_chars=MAX_CHARACTERS, bind="query-params",
            placeholder="e.g. with another name in it",
        ).strip()  # fmt: skip
        if not prompt:
            st.caption(OTHER)
            return
        with blocks.reporting_errors():
            end = replace(request, positions=(-1,))
            if lens.positions[-1] != len(lens.tokens) - 1:
                lens = results.of(end, key, "lens_end", lambda: st.session_state.update(lens_other=""))
            asked = replace(end, prompt=prompt, targets=(*lens.targets, *lens.answers[-1, :3].tolist()))
            other = results.of(asked, key, "lens_other", lambda: st.session_state.update(lens_other=""))
            st.markdown(blocks.plain(tables.apart(lens, other)))
            lines = tables.contrasted(lens, other, mids)
            chart = charts.trajectories(lines, "probability", dark())
            blocks.chart(chart, key="lens_contrast", alt=f"Tokens through the layers of two prompts. {tables.apart(lens, other)}")
            st.caption("Last positions. Solid: this prompt; dashed: the other. Follow a token to see it here too.")
