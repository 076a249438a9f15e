"""Every widget key and URL name. Keys bound to the URL make a link reopen the view."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, TypeVar

import streamlit as st
from streamlit.errors import StreamlitSecretNotFoundError

from infoflow import remote
from infoflow.catalog import MODELS, PRESETS, Preset
from infoflow.charts.flow import EMPHASES
from infoflow.charts.palette import PALETTES
from infoflow.metrics import METRICS
from infoflow.ui import texts
from infoflow.ui.cache import HERE, Machine, Place

T = TypeVar("T")
MAX_CHARACTERS = 20_000
WHERE = ("here", "on NDIF")
RUN_BY = ("tokens", "words", "sentences", "64 spans", "32 spans", "16 spans")
LENS_WINDOW, MAP_WINDOW, SMALL_WINDOW = 24, 64, 32
"""so many columns of the lens have room for their words, so many tokens of an attention map, and of a small one, for squares"""
WINDOW = 48
"""so many positions are drawn at first; a slider chooses which"""
ICON = str(Path(__file__).with_name("icon.png"))
"""the browser tab's picture; a named symbol would be fetched from another host"""


@dataclass(frozen=True)
class Question:
    """What the page is about."""

    model: str
    prompt: str
    sources: str = "tokens"
    """what is kept apart in the run itself"""
    place: Place = HERE
    can_group: ClassVar[bool] = True
    """whether a prompt that is too large can be run in fewer sources"""


@dataclass(frozen=True)
class Reading(Question):
    """What the logit lens is about."""

    follow: tuple[int | str, ...] = ()
    mids: bool = True
    can_group: ClassVar[bool] = False


@dataclass(frozen=True)
class Looking(Question):
    """What a page is about that has no sources to group."""

    can_group: ClassVar[bool] = False

    @staticmethod
    def at(asked: Question) -> "Looking":
        return Looking(asked.model, asked.prompt, place=asked.place)


def dark() -> bool:
    """Whether the reader's page is dark."""
    return st.context.theme.type == "dark"


KEPT = (
    "prompt",
    "model",
    "run_by",
    "metric",
    "sources",
    "emphasis",
    "colours",
    "hide_first",
    "panel",
    "device",
    "dtype",
    "ndif_key",
    "lens_colour",
    "lens_follow",
    "layer",
    "head",
    "attn_level",
    "attn_weights",
    "attn_sinks",
    "attn_metric",
    "attn_basis",
    "attn_threshold",
    "attn_more",
)
"""what a reader has chosen on one page and finds again when they come back: Streamlit forgets widgets that are not drawn"""


def page(title: str, intro: str) -> None:
    """Title and one line of help, the same on every page. Each page calls it first, since a link can open it alone."""
    st.set_page_config(page_title=f"{title} · infoflow", page_icon=ICON, layout="wide")
    for key in KEPT:
        if key in st.session_state:
            st.session_state[key] = st.session_state[key]
    st.header(title, anchor=False)
    st.caption(intro)


def preset_of(prompt: str) -> Preset | None:
    return next((p for p in PRESETS if p.prompt == prompt.strip()), None)


def _use_preset() -> None:
    found = next((p for p in PRESETS if p.title == st.session_state.get("preset")), None)
    if found is not None:
        st.session_state["prompt"] = found.prompt


def _run_again() -> None:
    """Run was pressed: what had been cancelled may run."""
    for key in [k for k in st.session_state if str(k).endswith("_cancelled")]:
        del st.session_state[key]


def question(apart: bool = True) -> Question:
    """Model, presets and prompt. Running is submitting the form: the button, or Ctrl+Enter in the box. `apart`: what the run
    keeps apart is asked too."""
    with st.container():  # what comes and goes in here must not move what follows: moved widgets are made anew
        return _question(apart)


def _question(apart: bool) -> Question:
    st.session_state.setdefault("prompt", st.query_params.get("prompt") or PRESETS[0].prompt)
    current = preset_of(st.session_state["prompt"])
    st.session_state["preset"] = current.title if current else None
    titles = [p.title for p in PRESETS]
    st.pills("Examples", titles, key="preset", on_change=_use_preset, label_visibility="collapsed")
    with st.form("ask", border=False):
        left, middle, *kinds, right = st.columns([5, 1.9, *([1.1] if apart else []), 0.9], vertical_alignment="bottom")
        prompt = left.text_area(
            "Prompt",
            key="prompt",
            height=68,
            max_chars=MAX_CHARACTERS,
            bind="query-params",
            placeholder="Type a prompt …",
            help=texts.PROMPT,
        )
        named = {m.name: m.title for m in MODELS}
        model = middle.selectbox(
            "Model",
            list(named),
            key="model",
            accept_new_options=True,
            format_func=lambda name: named.get(name, name),
            bind="query-params",
            help=texts.MODEL,
        )
        sources = RUN_BY[0]
        for kind in kinds:
            sources = kind.selectbox("Run by", RUN_BY, key="run_by", bind="query-params", help=texts.RUN_BY)
        submit_help = "Ctrl+Enter in the prompt box does the same."
        right.form_submit_button("Run", type="primary", width="stretch", help=submit_help, on_click=_run_again)
    if current is not None:
        st.caption(f"**Expected:** {current.expected}")
    return Question(model or "demo", prompt, sources, place())


def place() -> Place:
    """Where models run, chosen in the sidebar; a key stays in this browser's session."""
    with st.sidebar:
        where = _choice("Models run", WHERE, WHERE[0], "where", texts.WHERE)
        if where == WHERE[0]:
            return place_here()
        typed = st.text_input("NDIF key", type="password", key="ndif_key", autocomplete="off", help=texts.KEY).strip()
        host, owners = remote.named_host(), _owners_key()
        whose = "your key, for this session" if typed else "the key of whoever runs this app" if owners else "no key yet"
        st.caption(f"Runs go to {host} with {whose}. Type the model's name as it is on the hub.")
        return Place(host, typed or owners)


def place_here() -> Place:
    """This machine, with the device and type of weights chosen on the Models page."""
    return Place(device=st.session_state.get("device", "auto"), dtype=st.session_state.get("dtype", "auto"))


def _owners_key() -> str:
    """The key that whoever runs this app has put into its secrets or environment."""
    try:
        found = str(st.secrets.get("NDIF_API_KEY", ""))
    except (FileNotFoundError, StreamlitSecretNotFoundError):
        found = ""
    return found or os.environ.get("NDIF_API_KEY", "")


def model_name() -> str:
    """Which model the Models page is about: a row of the table, or any name or folder."""
    named = {m.name: m.title for m in MODELS}
    chosen = st.selectbox(
        "Model", list(named), key="models_name", accept_new_options=True, format_func=lambda n: named.get(n, n), help=texts.MODEL
    )
    return chosen or "demo"


def pick(table: str, names: Sequence[str]) -> None:
    """A row of a table was chosen: its model becomes the one the Models page is about."""
    rows = st.session_state[table].selection.rows
    if rows:
        st.session_state["models_name"] = names[rows[0]]


def loading(devices: Mapping[str, str]) -> None:
    """Device and type of the weights, for what is loaded from now on in this session."""
    titles = {"auto": f"auto: {next(iter(devices.values()))}", **devices}
    st.selectbox("Device", list(titles), format_func=titles.__getitem__, key="device", help=texts.DEVICE)
    st.selectbox("Weights as", ["auto", *DTYPES], key="dtype", help=texts.DTYPE)


def bytes_per_parameter(machine: Machine) -> int:
    """Of weights held as chosen."""
    dtype = st.session_state.get("dtype", "auto")
    return 4 if (machine.suited if dtype == "auto" else dtype) == "float32" else 2


def search() -> str:
    """Words to search the hub for."""
    return st.text_input("Search the Hugging Face hub", key="hub_search", placeholder="e.g. pythia", help=texts.SEARCH).strip()


def use(model: str, where: str) -> None:
    """The first page will be about this model, there."""
    st.session_state["model"], st.session_state["where"] = model, where


WEIGHT_COLUMN = {"weight": st.column_config.NumberColumn("weight", format="%.3f")}
DTYPES = ("float32", "bfloat16", "float16")
MODEL_COLUMNS = {
    "parameters": st.column_config.NumberColumn("parameters (M)", format="localized"),
    "name": st.column_config.TextColumn("name", width=200),
    "in memory": st.column_config.TextColumn("in memory", width=170),
    "needs": st.column_config.TextColumn("needs", help="Memory of the weights, held as chosen below."),
    "fits here": st.column_config.CheckboxColumn("fits here", help="Beside what is in use now."),
    "on NDIF": st.column_config.TextColumn("on NDIF", help=texts.LEVELS),
    "downloads": st.column_config.NumberColumn("downloads", format="compact"),
    "in the table": st.column_config.CheckboxColumn("known family", help=texts.KNOWN_FAMILY),
}


def run_by(sources: str) -> None:
    """Run the same prompt with its sources grouped: what a button under a refusal does."""
    st.session_state["run_by"] = sources
    _run_again()


@dataclass(frozen=True)
class View:
    """How the run is looked at: nothing in here runs the model."""

    metric: str
    grouping: str
    hide_first: bool
    emphasis: str
    palette: str


def _unless_kept(key: str, default: T) -> T | None:
    """A default, but for what the session holds already: Streamlit wants one or the other."""
    return None if key in st.session_state else default


def _choice(label: str, options: Sequence[str], default: str, key: str, help_text: str) -> str:
    """One of a few, as a row of buttons whose choice is in the URL."""
    return (
        st.segmented_control(
            label, options, default=_unless_kept(key, default), required=True, key=key, bind="query-params", help=help_text
        )
        or default
    )


def view(apart: bool) -> View:
    """The row of controls above the picture. `apart`: the run kept tokens apart, so that they can be grouped at will."""
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        metric = _choice("Metric", list(METRICS), "norm", "metric", texts.METRIC)
        grouping = "tokens"  # as they were run
        if apart:
            grouping = _choice("Sources", ["tokens", "words", "custom"], "words", "sources", texts.SOURCES)
        emphasis = _choice("Emphasis", EMPHASES, "both", "emphasis", texts.EMPHASIS)
        palette = _choice("Colours", PALETTES, "hue", "colours", texts.COLOURS)
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
        "Ask of this run", titles, default=_unless_kept("panel", titles[0]), required=True, key="panel", bind="query-params"
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
        colour = _choice("Colour", colours, colours[0], "lens_colour", texts.LENS_COLOUR)
        follow = st.multiselect(
            "Follow tokens", [], key="lens_follow", accept_new_options=True, placeholder="type a token", help=texts.LENS_FOLLOW,
            width=320, bind="query-params",
        )  # fmt: skip
        mids = st.toggle("Rows after attention", value=not hosted, key=f"lens_mids_{hosted}", help=texts.LENS_MIDS)
    return LensView(colour, tuple(follow), mids)


def trajectory(followed: bool) -> str:
    """What the lines show; ranks are known of followed tokens alone."""
    return _choice(
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
    for key, n in (("layer", n_layers), ("head", n_heads)):
        if not 0 <= int(st.session_state.get(key, 0)) < n:
            st.session_state[key] = 0  # of a larger model
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        level = _choice("Show", levels, levels[0], "attn_level", texts.ATTN_LEVEL)
        layer = st.selectbox("Layer", range(n_layers), key="layer", disabled=level == levels[2], bind="query-params", width=90)
        head = st.selectbox("Head", range(n_heads), key="head", disabled=level != levels[0], bind="query-params", width=90)
        weighting = _choice("Weights", weightings, weightings[0], "attn_weights", texts.ATTN_WEIGHTS)
        sink = _choice("First token", sinks, sinks[0], "attn_sinks", texts.ATTN_SINKS)
    return MapView(level, int(layer), int(head), weighting, sink)


def pick_head(chart: str) -> None:
    """A head of the overview was clicked: it is the one looked at, here and elsewhere."""
    found = next(iter(st.session_state[chart].selection.get("head") or []), None)
    if found:
        st.session_state.update(layer=int(found["layer"]), head=int(found["head"]), attn_level="one head")


def scores_view(metrics: Mapping[str, str]) -> tuple[str, str, float]:
    """What the overview is coloured by, what scores rest on, and above which a head is named."""
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        metric = st.selectbox("All heads by", list(metrics), key="attn_metric", help=texts.ATTN_METRIC, width=150)
        basis = _choice("Kinds from", ["this prompt", "random tokens"], "this prompt", "attn_basis", texts.ATTN_BASIS)
        threshold = st.slider(
            "Named above",
            0.05,
            0.95,
            _unless_kept("attn_threshold", 0.4),
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


def tokens_shown(n: int, most: int, key: str) -> tuple[int, int]:
    """First and last token of a picture that has room for so many."""
    if n <= most:
        return 0, n - 1
    low, high = st.slider("Tokens", 0, n - 1, (n - most, n - 1), key=f"{key}_{n}", help="Which tokens the pictures show.")
    return int(low), int(high)


def reset_view(scope: str) -> str:
    """A button that shows the whole grid again; returns the grid's key, which it renews, as another run does."""
    if st.button("Reset view", icon=":material/zoom_out_map:", help="Zoom with Ctrl+wheel, drag to pan. This shows all again."):
        st.session_state["flow_zoom"] = st.session_state.get("flow_zoom", 0) + 1
    return f"flow_grid_{scope}_{st.session_state.get('flow_zoom', 0)}"
