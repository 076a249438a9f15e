"""Every widget key and URL name. Keys bound to the URL make a link reopen the view."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import streamlit as st

from infoflow.catalog import MODELS, PRESETS, Preset
from infoflow.charts.flow import EMPHASES
from infoflow.charts.palette import PALETTES

MAX_CHARACTERS = 4_000
ICON = str(Path(__file__).with_name("icon.png"))
"""the browser tab's picture; a named symbol would be fetched from another host"""
_METRICS = {"norm": "Norm", "projection": "Projection", "distance": "Distance"}


@dataclass(frozen=True)
class Question:
    """What the page is about."""

    model: str
    prompt: str


def dark() -> bool:
    """Whether the reader's page is dark."""
    return st.context.theme.type == "dark"


def page(title: str, intro: str) -> None:
    """Title and one line of help, the same on every page. Each page calls it first, since a link can open it alone."""
    st.set_page_config(page_title=f"{title} · infoflow", page_icon=ICON, layout="wide")
    st.header(title, anchor=False)
    st.caption(intro)


def preset_of(prompt: str) -> Preset | None:
    return next((p for p in PRESETS if p.prompt == prompt.strip()), None)


def _use_preset() -> None:
    chosen = st.session_state.get("preset")
    found = next((p for p in PRESETS if p.title == chosen), None)
    if found is not None:
        st.session_state["prompt"] = found.prompt


def question() -> Question:
    """Model, presets and prompt. Running is submitting the form: the button, or Ctrl+Enter in the box."""
    st.session_state.setdefault("prompt", PRESETS[0].prompt)
    current = preset_of(st.session_state["prompt"])
    st.session_state["preset"] = current.title if current else None
    st.pills("Examples", [p.title for p in PRESETS], key="preset", on_change=_use_preset, label_visibility="collapsed")
    with st.form("ask", border=False):
        left, middle, right = st.columns([6, 2, 1], vertical_alignment="bottom")
        prompt = left.text_area(
            "Prompt", key="prompt", height=68, max_chars=MAX_CHARACTERS, bind="query-params", placeholder="Type a prompt …",
            help="Any text. Ctrl+Enter runs it. The prompt is part of the page's address, so that a link reopens this view.",
        )  # fmt: skip
        titles = {m.name: m.title for m in MODELS}
        model = middle.selectbox(
            "Model", list(titles), key="model", accept_new_options=True, format_func=lambda name: titles.get(name, name), bind="query-params",
            help="The bundled model, a Hugging Face name, or a local folder: type it and press Enter.",
        )  # fmt: skip
        right.form_submit_button(
            "Run", type="primary", width="stretch", help="Ctrl+Enter in the prompt box does the same."
        )
    if current is not None:
        st.caption(f"**Expected:** {current.expected}")
    return Question(model or "demo", prompt)


@dataclass(frozen=True)
class View:
    """How the run is looked at: nothing in here runs the model."""

    metric: str
    grouping: str
    hide_first: bool
    emphasis: str
    palette: str


def view() -> View:
    """The row of controls above the picture."""
    with st.container(horizontal=True, gap="medium", vertical_alignment="bottom"):
        metric = st.segmented_control(
            "Metric", list(_METRICS), format_func=_METRICS.__getitem__, default="norm", required=True, key="metric", bind="query-params",
            help="**Norm**: length of a source's part among all lengths. **Projection**: how far it points along the whole; signed, adds "
            "to 100 %. **Distance**: how much shorter the whole gets without it.",
        )  # fmt: skip
        grouping = st.segmented_control(
            "Sources", ["tokens", "words", "custom"], default="words", required=True, key="sources", bind="query-params",
            help="Parts of a group are added as vectors before they are measured, so a word's share is not the sum of its tokens' shares.",
        )  # fmt: skip
        emphasis = st.segmented_control(
            "Emphasis", EMPHASES, default="both", required=True, key="emphasis", bind="query-params",
            help="Which of a layer's two rows is tall: after attention, or after the MLP.",
        )  # fmt: skip
        palette = st.segmented_control(
            "Colours", PALETTES, default="hue", required=True, key="colours", bind="query-params",
            help="**hue**: by position. **ordered**: safe for colour-blind readers. **top 8**: the heaviest sources, the others grey.",
        )  # fmt: skip
        hide_first = st.toggle(
            "Hide first token", value=True, key="hide_first", bind="query-params",
            help="The first token is an attention sink in most models: its share dwarfs the rest. Hidden, the others are scaled to 100 %; "
            "how much it was is stated under the picture and drawn as a thin grey line under each bar.",
        )  # fmt: skip
    return View(metric or "norm", grouping or "words", hide_first, emphasis or "both", palette or "hue")


def hide_also(labels: Sequence[str], scope: str) -> tuple[int, ...]:
    """Further sources to hide. `scope` names the prompt and grouping: another prompt begins with none hidden."""
    names = list(labels)
    chosen = st.multiselect(
        "Hide also", names, key=f"flow_hide_{scope}", placeholder="none", help="Sources to take out of every bar."
    )
    return tuple(names.index(name) for name in chosen)


def trace(labels: Sequence[str], scope: str) -> int | None:
    """One source to follow through the grid."""
    names = list(labels)
    chosen = st.selectbox(
        "Trace one source",
        names,
        index=None,
        key=f"flow_trace_{scope}",
        placeholder="none",
        help="Its segments stay bright, all others pale.",
    )
    return None if chosen is None else names.index(chosen)


def layer_range(n_layers: int) -> tuple[int, int]:
    """First and last layer shown."""
    if n_layers < 2:
        return 0, n_layers - 1
    low, high = st.slider(
        "Layers",
        0,
        n_layers - 1,
        (0, n_layers - 1),
        key=f"flow_layers_{n_layers}",
        help="Which layers the picture shows.",
    )
    return int(low), int(high)
