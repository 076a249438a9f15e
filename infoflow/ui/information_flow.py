"""The controls and pieces of the Information flow page."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import pandas as pd
import streamlit as st

from infoflow.analyses.flow import Flow
from infoflow.analyses.perform import Performed
from infoflow.charts import flow as charts
from infoflow.charts.palette import Palette
from infoflow.metrics.shares import METRICS
from infoflow.pictures.flow import Grid, Look
from infoflow.pictures.picture import identity
from infoflow.tables import flow as tables
from infoflow.text.rows import ROW_NAMES
from infoflow.ui import blocks, controls, groups
from infoflow.ui.blocks import WARN_ERROR, plain, reporting_errors
from infoflow.ui.controls import choice, hide_first
from infoflow.ui.places import Places

HIGH_CANCELLATION = 3.0
WINDOW = 48
"""so many positions are drawn at first; a slider chooses which"""


class Grouping(StrEnum):
    """What a colour stands for."""

    TOKENS = "tokens"
    WORDS = "words"
    CUSTOM = "custom"


class Ask(StrEnum):
    """What is asked of the run under the picture."""

    LOGIT = "Which tokens raise a logit?"
    CARRIERS = "Who carried it?"


INTRO = """Every bar is one position's residual stream after one layer, split exactly into what each source token
contributed. Read from the bottom (embeddings) to the top (output); colours are those of the tokens along the bottom."""
USE = """Hover a colour to single it out. Click a token's stripe to pin it; double-click releases. Click a bar for its
details. Ctrl+wheel zooms, dragging pans. Thin grey lines: what is hidden."""
HOW = """One normal run of the model gives attention patterns, MLP gates and norm scales. Holding those fixed,
everything that is left is linear, so the residual stream is a sum of one vector per source token, carried along exactly.
What a bar shows is the *linear share traced to* a token: it does not say why a head attended where it did, and how the
MLP's gate is held fixed is a choice (the identity rule of relevance propagation). The code that made the numbers:"""
EXACT = """Relative error of the summed parts against the model's own residual; the dashed line is where this page warns."""
HINDSIGHT = """Paths that are held fixed are those of the finished run, and know its answer: a part of what a token adds to a
logit would be there for any other token too. *Contrast*, under "Which tokens raise a logit?" and on the Answer page, tells the
two apart."""
METRIC = """**Norm**: length of a source's part among all lengths. **Projection**: how far it points along the whole; signed,
adds to 100 %. **Distance**: how much shorter the whole gets without it."""
GROUPING = """What a colour stands for. Parts of a group are added as vectors before they are measured, so a word's share is
not the sum of its tokens' shares."""
EMPHASIS = """Which of a layer's two rows is tall: after attention, or after the MLP."""
COLOURS = """**hue**: by position. **ordered**: safe for colour-blind readers. **top 8**: the heaviest sources, the others
grey, a position's own token darker."""
HIDE_FIRST = """The first token is an attention sink in most models: its share dwarfs the rest. Hidden, the others are scaled
to 100 %; how much it was is stated under the picture and drawn as a thin grey line under each bar."""
ERROR = """|sum of all parts − residual| / |residual|, against the residual that the model itself computed; the worst of
all layers, stages and positions. Below 1e-5 is float32 rounding."""
LOGITS = """The parts of the last position, summed and unembedded, against the model's own logits: the same first token
and the same eight on top, and the largest difference relative to the largest logit."""
CANCELLATION = """κ = sum of the parts' lengths / length of their sum. 1: nothing cancels. Above 3, large parts cancel each
other, and shares of length say little; look at the projection instead."""
HIDDEN = """The share, by norm with nothing hidden, of the sources left out; the mean over all bars after the first word.
Each bar's own is the thin grey line under it. The others are scaled to 100 %."""
FIRST = """In most models the first token is an attention sink: its share dwarfs the rest without meaning much. Nothing is
hidden now."""
ALONE = """What this part would raise most by itself, through the frozen final norm. No prediction of the model's: it has
never been in this state alone, and hindsight is in it. Empty for a group; show sources as tokens."""
LOGIT_COLUMN = """What each source adds to the logit asked about below (before a soft cap, where the family has one).
These parts of the last residual are what it is made of."""


@dataclass(frozen=True)
class View:
    """How the run is looked at: nothing in here runs the model."""

    metric: str
    flow: Flow
    """grouped as asked"""
    hidden: tuple[int, ...]
    """numbers of the sources that are left out"""
    look: Look


def view(flow: Flow) -> View:
    """The row of controls above the picture. A run that kept tokens apart can be grouped at will."""
    with controls.row():
        metric = choice("Metric", list(METRICS), "norm", "metric", METRIC)
        grouping: str = Grouping.TOKENS  # as they were run
        if flow.provenance.sources == "tokens":
            grouping = choice("Sources", list(Grouping), Grouping.WORDS, "grouping", GROUPING)
        aside = hide_first("hide_first", HIDE_FIRST)
        rest = st.container(horizontal=True, width="content", gap="small")  # what depends on the grouping
    grouped = flow.grouped(groups.editor(flow) if grouping == Grouping.CUSTOM else grouping)
    labels, scope, n = grouped.source_labels, scope_of(grouped), len(flow.tokens)
    first = aside and grouped.first_is_one_of_many()
    every: dict[str, Any] = {
        "emphasis": charts.Emphasis.BOTH, "colours": Palette.HUE, f"flow_hide_{scope}": [], f"flow_trace_{scope}": None,
        f"flow_layers_{flow.n_layers}": (0, flow.n_layers - 1), f"flow_positions_{n}": (n - WINDOW, n - 1),
    }  # fmt: skip
    with rest, controls.more(every):
        also = hide_also(labels[1:] if first else labels, scope)
        traced = trace(labels, scope)
        layers, positions = layer_range(flow.n_layers), position_range(n)
        emphasis = choice("Emphasis", list(charts.Emphasis), charts.Emphasis.BOTH, "emphasis", EMPHASIS)
        palette = choice("Colours", list(Palette), Palette.HUE, "colours", COLOURS)
    hidden = some_left(grouped, ((labels[0],) if first else ()) + also, scope)
    return View(metric, grouped, hidden, Look(emphasis, palette, traced, layers, positions))


def hide_also(labels: Sequence[str], scope: str) -> tuple[str, ...]:
    """Further sources to hide. `scope` names the prompt and grouping: another prompt begins with none hidden."""
    help_text = "Sources to take out of every bar."
    return tuple(
        st.multiselect("Hide also", labels, key=f"flow_hide_{scope}", placeholder="none", help=help_text, bind="query-params")
    )


def trace(labels: Sequence[str], scope: str) -> int | None:
    """One source to follow through the grid."""
    help_text = "Its segments stay bright, all others pale."
    chosen = st.selectbox(
        "Trace one source",
        labels,
        index=None,
        key=f"flow_trace_{scope}",
        placeholder="none",
        help=help_text,
        bind="query-params",
    )
    return None if chosen is None else list(labels).index(chosen)


def layer_range(n_layers: int) -> tuple[int, int]:
    """First and last layer shown."""
    if n_layers < 2:
        return 0, n_layers - 1
    every = (0, n_layers - 1)
    low, high = st.slider(
        "Layers", *every, every, key=f"flow_layers_{n_layers}", help="Which layers the picture shows.", bind="query-params"
    )
    return int(low), int(high)


def position_range(n: int) -> tuple[int, int] | None:
    """First and last position shown, where there are too many to draw at once."""
    if n <= WINDOW:
        return None
    help_text = f"Which of the {n} positions the picture shows; every number and table holds all."
    low, high = st.slider(
        "Positions", 0, n - 1, (n - WINDOW, n - 1), key=f"flow_positions_{n}", help=help_text, bind="query-params"
    )
    return int(low), int(high)


def panel(titles: Sequence[str]) -> str:
    """Which question the part under the picture answers."""
    chosen = st.segmented_control("Ask of this run", titles, default=titles[0], required=True, key="panel", bind="query-params")
    return chosen or titles[0]


def reset_view() -> None:
    """A button that shows the whole grid again."""
    help_text = "Zoom with Ctrl+wheel, drag to pan. This shows all again."
    st.button("Reset view", icon=":material/zoom_out_map:", type="tertiary", help=help_text, on_click=BARS.renew)


def some_left(flow: Flow, hide: Sequence[str], scope: str) -> tuple[int, ...]:
    """The sources to hide; when that would be every one, says so and keeps to the last choice that left some."""
    key = f"flow_hidden_{scope}"
    with reporting_errors():
        mask = flow.hidden_mask(hide)
        st.session_state[key] = tuple(int(i) for i in mask.nonzero()[0])
    kept: tuple[int, ...] = st.session_state.get(key, ())
    return kept


def scope_of(flow: Flow) -> str:
    """A short name for model, prompt and grouping: widgets of another begin anew."""
    return identity(flow.provenance, flow.token_ids, flow.source_labels)


def run_size(run: Performed[Flow]) -> str:
    """How large the run is, and what it takes."""
    flow, cost = run.result, run.cost
    n, sources = len(flow.tokens), int(flow.source_of.max()) + 1  # the bias is none of the prompt's
    size = f"{n} tokens in {sources} sources" if sources != n else f"{n} tokens, each a source"
    return f"{size}{f': {cost}' if cost else ''}."


@dataclass(frozen=True)
class Clicked:
    """What was clicked in the grid."""

    source: int | None
    """of the segment, where it is a single source"""
    answer: int | None
    """the id of a prediction"""


def clicked(selection: Any) -> Clicked:
    segment, answer = (next(iter(selection.get(name) or []), None) for name in ("segment", "answer"))
    source = int(segment["source"]) if segment and segment.get("source") is not None else -1
    return Clicked(source if source >= 0 else None, int(answer["id"]) if answer else None)


Bar = tuple[int, str, int]
"""layer, stage and position"""
BARS = Places("bar")


def bar_of(flow: Flow, place: str) -> Bar | None:
    """The bar that a place is; None where it is none of this run."""
    found = re.fullmatch(r"(-?\d{1,6})\.(embed|mid|post)\.(\d{1,6})", place)
    if found is None:
        return None
    layer, stage, position = int(found[1]), found[2], int(found[3])
    fits = position < len(flow.tokens) and (stage == "embed" or 0 <= layer < flow.n_layers)
    return (layer, stage, position) if fits else None


def pick(chart: str, scope: str) -> None:
    """Something in the grid was clicked: a bar becomes the one that is looked at."""
    cell = next(iter(st.session_state[chart].selection.get("cell") or []), None)
    BARS.choose(scope, "" if cell is None else f"{cell['layer']}.{cell['stage']}.{cell['position']}")


def go(scope: str, place: Mapping[str, Any]) -> None:
    """To what a sentence is about: a bar, or the logit of a token."""
    if "position" in place:
        BARS.go(scope, f"{place['layer']}.{place['stage']}.{place['position']}")
    else:
        st.session_state["panel"] = Ask.LOGIT


def trust_line(flow: Flow, hidden: Sequence[int]) -> None:
    """Under the picture: worst error, logits, cancellation, what is hidden or the first token's share, and a caution."""
    trust = tables.trust(flow, hidden)
    bad, high = not trust.max_error <= WARN_ERROR, not trust.max_cancellation <= HIGH_CANCELLATION  # also where it is no number
    kappa = f"median {trust.median_cancellation:.2f}, largest {trust.max_cancellation:.2f}"
    names = ", ".join(flow.source_labels[i] for i in hidden) or flow.source_labels[0]
    items = (
        ("Worst error", not bad, f"{trust.max_error:.1e} at {trust.worst_at}", ERROR),
        (
            "Logits",
            trust.top_agrees,
            f"{'same' if trust.top_agrees else 'other'} top 8, error {trust.logit_error:.1e}",
            LOGITS,
        ),
        ("Cancellation κ", not high, kappa, CANCELLATION),
        (
            f"{'Hidden' if hidden else 'First token'}: {plain(names)}",
            True,
            f"{trust.aside_share:.0%} of the norm, on average",
            HIDDEN if hidden else FIRST,
        ),
        ("Hindsight", True, "in all parts of a logit, until a contrast takes it out", HINDSIGHT),
    )
    with st.container(border=True, key="trust"):
        for column, (title, fine, value, help_text) in zip(st.columns(len(items)), items, strict=True):
            column.markdown(f"**{title}** {'' if fine else '⚠'}  \n{value}", help=help_text)
    said = tables.sink(flow) if hidden and hidden[0] == 0 else ""
    if said:
        st.caption(plain(said))
    if bad:
        st.warning(
            f"The parts do not add up to the residual at {trust.worst_at}: error {trust.max_error:.1e}. Do not rely on them."
        )


def details(flow: Flow, chosen: Bar, drawn: Grid, logits: pd.DataFrame, dark: bool) -> None:
    """One cell: its sources by share, and a source's way through the depth. The cell that the logits come from has them too."""
    layer, stage, position = chosen
    metric, hidden, traced, colours = drawn.metric, drawn.hidden, drawn.traced, drawn.colours
    cell = tables.cell(flow, layer, stage, position, metric, hidden)
    where = "Embedding" if stage == "embed" else f"Layer {layer}, {ROW_NAMES[stage]}"
    st.markdown(f"**{where}**, position {position}: {plain(flow.labels[position])}")
    if cell.sources.empty:
        st.caption("Every source that reaches this position is hidden.")
        return
    mixed = f"Effective sources {cell.effective_sources:.1f} of {len(cell.sources)}."
    st.caption(f"{mixed} Error {cell.error:.0e}. Cancellation κ {cell.cancellation:.2f}.")
    bars = charts.cell_bars(cell.sources.head(10), colours, dark=dark)
    says = f"Largest sources of {where}, position {position}. {blocks.largest(cell.sources, 'source_label', 'share')}"
    blocks.chart(bars, key="cell_bars", alt=says)
    table = cell.sources
    if (layer, stage, position) == (flow.n_layers - 1, "post", len(flow.tokens) - 1):
        table = table.merge(logits[["source", "logit"]], on="source", how="left")
        table.insert(3, "alone", [tables.alone(flow, source) for source in table["source"].tolist()])
    with st.expander(f"All {len(cell.sources)} sources"):
        st.dataframe(
            table.drop(columns="source"),
            hide_index=True,
            height=min(280, 38 + 35 * len(cell.sources)),
            column_config={
                "source_label": st.column_config.TextColumn("Source"),
                "share": st.column_config.NumberColumn("Share", format="percent", help=METRICS[metric]),
                "projection": st.column_config.NumberColumn("Projection", format="percent", help=METRICS["projection"]),
                "cosine": st.column_config.NumberColumn("Cosine", format="%.2f", help="Between this part and the whole."),
                "norm": st.column_config.NumberColumn("Norm", format="%.3f", help="|C_s|, in units of the residual stream."),
                "logit": st.column_config.NumberColumn("Logit", format="%+.3f", help=LOGIT_COLUMN),
                "alone": st.column_config.TextColumn("Alone", help=ALONE),
            },
        )
    source = traced if traced is not None else int(cell.sources["source"].iloc[0])
    if stage != "embed" and not flow.hidden_mask(hidden)[source]:
        st.markdown(f"**Share of** {plain(flow.source_labels[source])} **here through depth**")
        along = tables.through_depth(flow, source, position, metric, hidden)
        path = charts.through_depth(along, colours[source], dark)
        first, last = float(along["share"].iloc[0]), float(along["share"].iloc[-1])
        says = f"Share of {flow.source_labels[source]} through the layers: {first:.1%} at first, {last:.1%} at last"
        blocks.chart(path, key="through_depth", alt=says)


def size(drawn: Grid) -> str:
    """What the grid shows, in a sentence or two."""
    note = f"Shares of {len(drawn.colours)} sources by {drawn.metric}."
    if drawn.folded:
        note += f" Each bar shows its {charts.FOLDED_TO} largest and the rest in grey; details and tables hold all."
    return note
