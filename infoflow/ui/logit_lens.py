"""The controls and pieces of the Logit lens page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import streamlit as st

from infoflow.analyses.logit_lens import FITTED, KINDS, Kind, Lens, LensRequest, Read
from infoflow.analyses.promotions import PromotionsRequest
from infoflow.charts import logit_lens as charts
from infoflow.models.spec import ModelSpec
from infoflow.tables import logit_lens as tables
from infoflow.tables import promotions as moved_tables
from infoflow.text.contrasts import BANK, difference, proposals
from infoflow.text.ranges import as_number
from infoflow.text.rows import row_title
from infoflow.ui import asking, blocks, cache, controls, results
from infoflow.ui.asking import MAX_CHARACTERS
from infoflow.ui.controls import choice
from infoflow.ui.frame import dark
from infoflow.ui.places import Places

WINDOW = 24
"""so many columns have room for their words"""

INTRO = """What the model would say if it stopped here: every residual read as a next token, by one of four lenses. Rows
go from the embeddings (bottom) to the output (top); each cell names the likeliest next token."""
USE = """Outlined: already the final answer. Pale: a neutral text's state reads the same there, so that it is no news of this
prompt. Hover for the five likeliest, click a cell for its details. Columns are the prompt's tokens; each cell predicts the token
after it."""
HOW = """The residual of each row is brought to the end by the lens (as it is; by the rest of the frozen network; by a fitted
map), goes through the model's own final norm and its own unembedding, is scaled and softly capped where the family does that, and
becomes probabilities. The top row is the model's output itself. The code that made the numbers:"""
LENS = """**logit**: the residual as it is. Middle rows were never meant to be read this way. **frozen**: each state alone, pushed
through the rest of the network with its patterns, gates and scales held fixed: exact, nothing is fitted, but those paths are of
the finished run and know its answer (hindsight: pale cells). **jacobian**: through the mean of the last residual's derivative
over many texts, fitted once a model. **tuned**: through an affine map trained for each layer (Belrose et al. 2023), from a
checkpoint."""
READ = """**own**: each state where it stands; only paths along its own position count. **last**: what each state adds to the
prediction after the whole prompt; the readings of a row sum to the model's logits. Some rows are read; turn on all below."""
EVERY_ROW = """Every row, also where each takes a pass of its own through the layers above it."""
FILE = """Of a Jacobian or a tuned lens: a file, or one on the Hugging Face hub (owner/name/path/in/it.pt). Empty: the one that
ships for the model. Fit one by `infoflow fit-lens`."""
AGAINST = """Whose states are read in the place of these. What both read is no news of this prompt: those cells are pale. Neutral
texts, this prompt with one word swapped, or another of as many tokens: type it and press Enter."""
CODE = {
    kind: ("infoflow.traced.logit_lens.read_off", *(["infoflow.traced.frozen_lens.pushed_on"] if kind == "frozen" else []))
    for kind in KINDS
}
"""what made the numbers, by kind of lens"""
OFF = {"own": "The top row is not what the model says", "last": "The readings do not sum to what the model says"}
NONE, NEUTRAL = "nothing", "neutral texts"
SOME_ROWS = 8
"""so many rows are read for the last position at first"""
NEEDS = {
    "rank": "Type a token to follow: its rank then colours the table. Until then colours are probabilities.",
    "lead": "Type two tokens to follow: the lead of the first over the second then colours the table. Until then colours are "
    "probabilities.",
}
TRUST = """Early rows are not made to be read, and often can't be: bars show at how many positions a row names the final token,
the line how much is lost by taking its distribution for the output's. "Every lens" below has the same of the others."""
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
_COUNTED, _LAYERS = "lens_counted", "lens_layers"


@dataclass(frozen=True)
class View:
    """How the lens is looked at; all but `colour` and, here, `mids` are part of what is run."""

    kind: Kind
    colour: str
    follow: tuple[int | str, ...]
    mids: bool
    read: tuple[int, ...]
    """positions"""
    where: Read
    rows: tuple[str, ...] | None
    contrast: str | None
    lens: str | None


def request(asked: asking.Asked, view: View) -> LensRequest:
    """What is asked of the model. Rows after attention are always read here, and the toggle only hides them. A visitor who may
    load no folder names no file of this machine either."""
    lens = view.lens
    if lens is not None and not cache.folders_allowed():
        from infoflow.models import lenses

        lens = lenses.hub_only(lens)
    return LensRequest(
        model=asked.model, prompt=asked.prompt, interventions=asked.interventions, targets=view.follow, positions=view.read,
        mids=view.mids or not asked.model.hosted, kind=view.kind, read=view.where, rows=view.rows, contrast=view.contrast,
        lens=lens,
    )  # fmt: skip


def view(colours: Sequence[str], model: ModelSpec, prompt: str) -> View:
    """The row of controls above the lens. What is read is part of the run, so the controls come before it."""
    hosted = model.hosted
    n = st.session_state.get(_COUNTED, {}).get((model, prompt), 0)  # known once it was run
    layers = st.session_state.get(_LAYERS, {}).get(model, 0)
    with controls.row():
        kind = KINDS[KINDS.index(choice("Lens", KINDS, KINDS[0], "lens_kind", LENS))]
        colour = str(st.selectbox("Colour", colours, key="lens_colour", help=COLOUR, bind="query-params", width=205))
        follow = st.multiselect(
            "Follow", [], key="lens_follow", accept_new_options=True, placeholder="type a token", help=FOLLOW,
            width=195, bind="query-params",
        )  # fmt: skip
        shown = f"lens_mids_{hosted}"
        against = f"lens_against_{kind == 'logit'}"
        _of_this_prompt(prompt)
        options = [NONE, NEUTRAL] if kind == "logit" else [NEUTRAL, NONE]
        defaults = {
            shown: not hosted,
            against: options[0],
            "lens_read": "own",
            **controls.every_token(n, WINDOW, "lens_positions"),
        }
        with controls.more(defaults):
            where, rows, lens = _of_kind(kind, layers)
            near = proposals(prompt, lambda text: len(text.split()))  # how many tokens they are is known to the model alone
            contrast = st.selectbox(
                "Held against", [*options, *near], key=against, help=AGAINST, accept_new_options=True, bind="query-params",
                format_func=lambda text: difference(prompt, text) if text in near else text,
            )  # fmt: skip
            mids = kind not in FITTED and st.toggle(
                "Rows after attention", value=not hosted, key=shown, help=MIDS, bind="query-params"
            )
            first, last = controls.tokens_shown(n, WINDOW, "lens_positions") if n > WINDOW else (-WINDOW, -1)
    held = {NONE: None, NEUTRAL: BANK}.get(contrast, contrast)
    return View(kind, colour, tuple(follow), mids, tuple(range(first, last + 1)), where, rows, held, lens)


def _of_this_prompt(prompt: str) -> None:
    """Let go of what another prompt was held against; neutral texts fit any. A link's own is kept."""
    before = st.session_state.setdefault("lens_against_of", prompt)
    if before != prompt:
        st.session_state["lens_against_of"] = prompt
        for held, first in (("lens_against_True", NONE), ("lens_against_False", NEUTRAL)):
            if st.session_state.get(held) not in (None, NONE, NEUTRAL):
                st.session_state[held] = first


def _of_kind(kind: Kind, layers: int) -> tuple[Read, tuple[str, ...] | None, str | None]:
    """What is chosen of one kind of lens: where it reads, which rows, from which file."""
    if kind in FITTED:
        if asking.offered() is not None:
            return "own", None, None
        file = st.text_input(
            "Lens file", key="lens_file", help=FILE, placeholder="the one that ships", bind="query-params"
        ).strip()
        return "own", None, file or None
    if kind != "frozen" or choice("Read at", ("own", "last"), "own", "lens_read", READ) == "own":
        return "own", None, None
    every = st.toggle("All rows", key="lens_rows", help=EVERY_ROW, bind="query-params")
    step = -(-layers // SOME_ROWS) or 1
    some = ("embed", *(f"L{layer}.post" for layer in range(layers - 1, -1, -step)))  # that and the output, until it is known
    return "last", None if every else some, None


def trajectory(followed: bool) -> str:
    """What the lines show; ranks are known of followed tokens alone."""
    return choice("Lines show", ["probability", "rank"] if followed else ["probability"], "probability", "lens_lines", LINES)


def note_tokens(request: LensRequest, lens: Lens) -> None:
    """How many tokens a prompt is, for the control that chooses which are read: it is drawn before the run."""
    counted, of = st.session_state.setdefault(_COUNTED, {}), (request.model, request.prompt)
    layers = st.session_state.setdefault(_LAYERS, {})
    if layers.setdefault(request.model, 0) != lens.n_layers:
        layers[request.model] = lens.n_layers
        if request.read == "last":
            st.rerun()
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
    at = as_number(position)
    if row not in lens.rows or at is None or at not in lens.positions:
        return None
    return lens.rows.index(row), at


def middle(lens: Lens) -> int:
    """The row that lenses are compared at where no cell was chosen: at the output all of them say the same."""
    return len(lens.rows) // 2


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
    for line in tables.beyond(lens, row, position):
        st.caption(blocks.plain(line))
    if lens.kind != "logit":
        return
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
            end = replace(request, positions=(-1,), contrast=None)
            if lens.positions[-1] != len(lens.tokens) - 1:
                lens = results.of(end, key, "lens_end", lambda: st.session_state.update(lens_other=""))
            asked = replace(end, prompt=prompt, targets=(*lens.targets, *lens.answers[-1, :3].tolist()))
            other = results.of(asked, key, "lens_other", lambda: st.session_state.update(lens_other=""))
            st.markdown(blocks.plain(tables.apart(lens, other)))
            lines = tables.contrasted(lens, other, mids)
            chart = charts.trajectories(lines, "probability", dark())
            blocks.chart(chart, key="lens_contrast", alt=f"Tokens through the layers of two prompts. {tables.apart(lens, other)}")
            st.caption("Last positions. Solid: this prompt; dashed: the other. Follow a token to see it here too.")
