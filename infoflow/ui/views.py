"""How a run is looked at: every control that never runs the model, with its key and URL name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import streamlit as st

from infoflow.charts.flow import EMPHASES
from infoflow.charts.palette import PALETTES
from infoflow.metrics import METRICS
from infoflow.ui import texts
from infoflow.ui.inputs import choice, unless_kept

LENS_WINDOW, MAP_WINDOW, SMALL_WINDOW, INPUT_WINDOW = 24, 64, 32, 50
"""so many columns of the lens have room for their words, so many tokens of an attention map, and of a small one, for squares"""
WINDOW = 48
"""so many positions are drawn at first; a slider chooses which"""

WEIGHT_COLUMN = {"weight": st.column_config.NumberColumn("weight", format="%.3f")}


@dataclass(frozen=True)
class View:
    """How the run is looked at: nothing in here runs the model."""

    metric: str
    grouping: str
    hide_first: bool
    emphasis: str
    palette: str


def view(apart: bool) -> View:
    """The row of controls above the picture. `apart`: the run kept tokens apart, so that they can be grouped at will."""
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        metric = choice("Metric", list(METRICS), "norm", "metric", texts.METRIC)
        grouping = "tokens"  # as they were run
        if apart:
            grouping = choice("Sources", ["tokens", "words", "custom"], "words", "sources", texts.SOURCES)
        emphasis = choice("Emphasis", EMPHASES, "both", "emphasis", texts.EMPHASIS)
        palette = choice("Colours", PALETTES, "hue", "colours", texts.COLOURS)
        hide_first = st.toggle(
            "Hide first token",
            value="hide_first" not in st.session_state,
            key="hide_first",
            bind="query-params",
            help=texts.HIDE_FIRST,
        )
    return View(metric, grouping, hide_first, emphasis, palette)


def hide_also(labels: Sequence[str], scope: str) -> tuple[str, ...]:
    """Further sources to hide. `scope` names the prompt and grouping: another prompt begins with none hidden."""
    help_text = "Sources to take out of every bar."
    return tuple(st.multiselect("Hide also", labels, key=f"flow_hide_{scope}", placeholder="none", help=help_text))


def trace(labels: Sequence[str], scope: str) -> int | None:
    """One source to follow through the grid."""
    help_text = "Its segments stay bright, all others pale."
    chosen = st.selectbox("Trace one source", labels, index=None, key=f"flow_trace_{scope}", placeholder="none", help=help_text)
    return None if chosen is None else list(labels).index(chosen)


def layer_range(n_layers: int) -> tuple[int, int]:
    """First and last layer shown."""
    if n_layers < 2:
        return 0, n_layers - 1
    every = (0, n_layers - 1)
    low, high = st.slider("Layers", *every, every, key=f"flow_layers_{n_layers}", help="Which layers the picture shows.")
    return int(low), int(high)


def position_range(n: int) -> tuple[int, int] | None:
    """First and last position shown, where there are too many to draw at once."""
    if n <= WINDOW:
        return None
    help_text = f"Which of the {n} positions the picture shows; every number and table holds all."
    low, high = st.slider("Positions", 0, n - 1, (n - WINDOW, n - 1), key=f"flow_positions_{n}", help=help_text)
    return int(low), int(high)


def panel(titles: Sequence[str]) -> str:
    """Which question the part under the picture answers."""
    chosen = st.segmented_control(
        "Ask of this run", titles, default=unless_kept("panel", titles[0]), required=True, key="panel", bind="query-params"
    )
    return chosen or titles[0]


def token(label: str, titles: dict[int, str], key: str, help_text: str, optional: bool = False) -> int | str | None:
    """One of the likely next tokens, or any text that is typed."""
    return st.selectbox(
        label,
        list(titles),
        index=None if optional else 0,
        format_func=lambda i: titles.get(i, str(i)),
        key=key,
        accept_new_options=True,
        placeholder="nothing" if optional else "a token",
        help=help_text,
    )


@dataclass(frozen=True)
class LensView:
    """How the lens is looked at; `follow` and, on the hosted service, `mids` are part of what is run."""

    colour: str
    follow: tuple[int | str, ...]
    mids: bool


def lens_view(colours: Sequence[str], hosted: bool) -> LensView:
    """The row of controls above the lens."""
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        colour = choice("Colour", colours, colours[0], "lens_colour", texts.LENS_COLOUR)
        follow = st.multiselect(
            "Follow tokens", [], key="lens_follow", accept_new_options=True, placeholder="type a token", help=texts.LENS_FOLLOW,
            width=320, bind="query-params",
        )  # fmt: skip
        mids = st.toggle("Rows after attention", value=not hosted, key=f"lens_mids_{hosted}", help=texts.LENS_MIDS)
    return LensView(colour, tuple(follow), mids)


def trajectory(followed: bool) -> str:
    """What the lines show; ranks are known of followed tokens alone."""
    return choice(
        "Lines show", ["probability", "rank"] if followed else ["probability"], "probability", "lens_lines", texts.LENS_LINES
    )


@dataclass(frozen=True)
class MapView:
    """Which attention is looked at: nothing in here runs the model."""

    level: str
    layer: int
    head: int
    weighting: str
    sinks: str


def map_view(levels: Sequence[str], weightings: Sequence[str], sinks: Sequence[str], n_layers: int, n_heads: int) -> MapView:
    """The row of controls above the attention map. Layer and head are in the URL: a link and every page look at the same."""
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        level = choice("Show", levels, levels[0], "attn_level", texts.ATTN_LEVEL)
        layer, head = _layer_and_head(n_layers, n_heads, level == levels[2], level != levels[0])
        weighting = choice("Weights", weightings, weightings[0], "attn_weights", texts.ATTN_WEIGHTS)
        sink = choice("First token", sinks, sinks[0], "attn_sinks", texts.ATTN_SINKS)
    return MapView(level, layer, head, weighting, sink)


def pick_head(chart: str) -> None:
    """A head of the overview was clicked: it is the one looked at, here and elsewhere."""
    found = next(iter(st.session_state[chart].selection.get("head") or []), None)
    if found:
        st.session_state.update(layer=int(found["layer"]), head=int(found["head"]), attn_level="one head")


def scores_view(metrics: Mapping[str, str]) -> tuple[str, str, float]:
    """What the overview is coloured by, what scores rest on, and above which a head is named."""
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        metric = st.selectbox("All heads by", list(metrics), key="attn_metric", help=texts.ATTN_METRIC, width=150)
        basis = choice("Kinds from", ["this prompt", "random tokens"], "this prompt", "attn_basis", texts.ATTN_BASIS)
        threshold = st.slider(
            "Named above",
            0.05,
            0.95,
            unless_kept("attn_threshold", 0.4),
            0.05,
            key="attn_threshold",
            help=texts.ATTN_THRESHOLD,
            width=170,
        )
    return metric, basis, float(threshold)


def more_maps() -> list[str]:
    """Pictures that are drawn on request: many marks, or of one question alone."""
    options = ["weightings", "all heads", "arcs", "largest pairs"]
    return list(
        st.segmented_control(
            "Also show", options, selection_mode="multi", key="attn_more", bind="query-params", help=texts.ATTN_MORE
        )
    )


def least_weight() -> float:
    """Which arcs are drawn."""
    return float(st.slider("Arcs of at least", 0.0, 0.5, 0.05, 0.01, key="attn_least", help=texts.ATTN_ARCS))


@dataclass(frozen=True)
class Ties:
    """Which connections of a written text are drawn."""

    level: str
    layer: int
    head: int
    normalisation: str


def ties(levels: Sequence[str], normalisations: Sequence[str], n_layers: int, n_heads: int) -> Ties:
    """The row of controls above the picture of a written text. Layer and head are those of the attention page."""
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        level = choice("Show", levels, levels[0], "gen_level", texts.GEN_LEVEL)
        layer, head = _layer_and_head(n_layers, n_heads, level == "mean of all", level != "one head")
        normalisation = choice("Weights", normalisations, normalisations[0], "gen_normalised", texts.GEN_NORMALISED)
    return Ties(level, layer, head, normalisation)


def _layer_and_head(n_layers: int, n_heads: int, no_layer: bool, no_head: bool) -> tuple[int, int]:
    for key, n in (("layer", n_layers), ("head", n_heads)):
        if not 0 <= int(st.session_state.get(key, 0)) < n:
            st.session_state[key] = 0  # of a larger model
    layer = st.selectbox("Layer", range(n_layers), key="layer", disabled=no_layer, bind="query-params", width=90)
    head = st.selectbox("Head", range(n_heads), key="head", disabled=no_head, bind="query-params", width=90)
    return int(layer), int(head)


@dataclass(frozen=True)
class Stepping:
    """Which step is looked at, and whose connections are drawn."""

    step: int
    """from 0"""
    every: bool
    """connections of all steps"""
    chosen: tuple[str, int] | None
    """a token whose own connections are drawn: its side and number"""
    hide_first: bool
    least: float
    """weaker connections are not drawn"""
    chart: str
    """the picture's key, which a reset renews"""


def stepping(n_steps: int, scope: str) -> Stepping:
    """The step slider, the threshold, the first token, Reset and Show all. `scope` names the text: another one begins anew."""
    step, every, chosen, renewed = (f"gen_{name}_{scope}" for name in ("step", "every", "chosen", "renewed"))

    def reset() -> None:
        if st.session_state.get(chosen) is None:
            return
        st.session_state[chosen] = None  # and in the picture too, which forgets a click only when it is made anew
        st.session_state[renewed] = st.session_state.get(renewed, 0) + 1

    def show_all() -> None:
        reset()
        st.session_state[every] = True

    def to_step() -> None:
        reset()
        st.session_state[every] = False

    with st.container(horizontal=True, gap="small", vertical_alignment="bottom"):
        at = 1
        if n_steps > 1:
            at = st.slider("Step", 1, n_steps, key=step, on_change=to_step, help=texts.GEN_STEP, width=260)
        least = st.slider(
            "Threshold", 0.0, 0.2, unless_kept("gen_least", 0.05), 0.001, format="%.3f", key="gen_least",
            help=texts.GEN_LEAST, width=180,
        )  # fmt: skip
        hide_first = st.toggle(
            "Hide first token", value="gen_hide_first" not in st.session_state, key="gen_hide_first",
            help=texts.GEN_HIDE_FIRST,
        )  # fmt: skip
        st.button("Reset selection", on_click=reset, key=f"{chosen}_reset", disabled=st.session_state.get(chosen) is None)
        st.button("Show all", on_click=show_all, key=f"{every}_all", help=texts.GEN_ALL)
    drawn = f"gen_picture_{scope}_{st.session_state.get(renewed, 0)}"
    return Stepping(at - 1, st.session_state.get(every, True), st.session_state.get(chosen), hide_first, float(least), drawn)


def pick_token(chart: str, scope: str) -> None:
    """A token of the picture was clicked: its connections are drawn; of an output, its step is looked at too."""
    found = next(iter(st.session_state[chart].selection.get("token") or []), None)
    if found is None:
        st.session_state[f"gen_chosen_{scope}"] = None
        return
    side, number = str(found["side"]), int(found["number"])
    st.session_state[f"gen_chosen_{scope}"] = (side, number)
    if side == "output" and f"gen_step_{scope}" in st.session_state:
        st.session_state[f"gen_step_{scope}"] = number + 1


def tokens_shown(n: int, most: int, key: str) -> tuple[int, int]:
    """First and last token of a picture that has room for so many."""
    if n <= most:
        return 0, n - 1
    low, high = st.slider("Tokens", 0, n - 1, (n - most, n - 1), key=f"{key}_{n}", help="Which tokens the pictures show.")
    st.caption(f"The prompt has {n} tokens; pictures show {high - low + 1} of them, chosen above. All of them were run.")
    return int(low), int(high)


def reset_view(scope: str) -> str:
    """A button that shows the whole grid again; returns the grid's key, which it renews, as another run does."""
    if st.button("Reset view", icon=":material/zoom_out_map:", help="Zoom with Ctrl+wheel, drag to pan. This shows all again."):
        st.session_state["flow_zoom"] = st.session_state.get("flow_zoom", 0) + 1
    return f"flow_grid_{scope}_{st.session_state.get('flow_zoom', 0)}"


def heard(levels: Sequence[str], n_layers: int, n_heads: int) -> tuple[str, int, int, bool]:
    """Whose attention the bars of an answer show: level, layer, head, and whether the first token is hidden."""
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        level = choice("Attention of", levels, levels[0], "talk_attention", texts.TALK_ATTENTION)
        layer, head = _layer_and_head(n_layers, n_heads, level != "one head", level != "one head")
        hide_first = st.toggle(
            "Hide first token", value="talk_hide_first" not in st.session_state, key="talk_hide_first", help=texts.GEN_HIDE_FIRST
        )
    return level, layer, head, hide_first


def which_change(titles: Sequence[str], scope: str) -> int:
    """Which correction is looked at; the last at first."""
    if len(titles) < 2:
        return 0
    chosen = st.segmented_control(
        "Correction", range(len(titles)), format_func=titles.__getitem__, default=len(titles) - 1, required=True,
        key=f"talk_change_{scope}",
    )  # fmt: skip
    return len(titles) - 1 if chosen is None else int(chosen)
