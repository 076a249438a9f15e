"""What is asked and where it runs: every control that can run a model. Keys bound to the URL make a link reopen the view."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal, TypeVar

import streamlit as st
from streamlit.errors import StreamlitSecretNotFoundError
from streamlit.runtime.pages_manager import PagesManager

from infoflow import remote
from infoflow.catalog import MODELS, PRESETS, TALKS, Preset
from infoflow.errors import InfoflowError
from infoflow.sessions import MOST_CHARACTERS, MOST_TURNS, load_conversation
from infoflow.ui import texts
from infoflow.ui.cache import HERE, Machine, Place
from infoflow.vocabulary import CHAT, PLAIN

T = TypeVar("T")
MAX_CHARACTERS = 20_000
WHERE = ("here", "on NDIF")
RUN_BY = ("tokens", "words", "sentences", "64 spans", "32 spans", "16 spans")
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


FORMS = ("auto", PLAIN, CHAT)
MOST_NEW = 50


@dataclass(frozen=True)
class Writing(Question):
    """What the generation page is about."""

    new_tokens: int = 20
    sampling: tuple[float, float, int] = (0.0, 1.0, 0)
    """temperature, top-p, seed"""
    form: str = FORMS[0]
    can_group: ClassVar[bool] = False


@dataclass(frozen=True)
class Talking(Question):
    """What the corrections page is about; `prompt` is what was said, in one line."""

    said: tuple[str, ...] = ()
    """a question, then corrections"""
    form: str = FORMS[0]
    can_group: ClassVar[bool] = False


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
    "lens_other",
    "layer",
    "head",
    "attn_level",
    "attn_weights",
    "attn_sinks",
    "attn_metric",
    "attn_basis",
    "attn_threshold",
    "attn_more",
    "gen_level",
    "gen_new",
    "gen_temperature",
    "gen_top_p",
    "gen_seed",
    "gen_form",
    "gen_normalised",
    "gen_hide_first",
    "gen_least",
    "talk_form",
    "talk_attention",
    "talk_hide_first",
)
"""what a reader has chosen on one page and finds again when they come back: Streamlit forgets widgets that are not drawn"""


def page(title: str, intro: str) -> None:
    """Title and one line of help, the same on every page. Each page calls it first, since a link can open it alone."""
    _route()
    st.set_page_config(page_title=f"{title} · infoflow", page_icon=ICON, layout="wide")
    for key in KEPT:
        if key in st.session_state:
            st.session_state[key] = st.session_state[key]
    st.header(title, anchor=False)
    st.caption(intro)


def _route() -> None:
    """Send a visitor who comes by a link to a page through the router.

    Until somebody has opened the front page, Streamlit takes `pages` for the whole menu and lists its files by name.
    """
    if PagesManager.uses_pages_directory:
        PagesManager.uses_pages_directory = False
        st.rerun()


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
    return _question(apart)[0]


def writing() -> Writing:
    """The same, with how the model shall continue."""
    asked, how = _question(False, _how_to_write)
    assert how is not None
    return Writing(asked.model, asked.prompt, place=asked.place, new_tokens=how[0], sampling=how[1], form=how[2])


def _how_to_write() -> tuple[int, tuple[float, float, int], str]:
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        n = st.slider(
            "New tokens",
            1,
            MOST_NEW,
            unless_kept("gen_new", 20),
            key="gen_new",
            bind="query-params",
            help=texts.GEN_NEW,
            width=190,
        )
        temperature = st.slider(
            "Temperature", 0.0, 2.0, unless_kept("gen_temperature", 0.0), 0.1, key="gen_temperature", bind="query-params",
            help=texts.GEN_TEMPERATURE, width=150,
        )  # fmt: skip
        top_p = st.slider(
            "Top-p", 0.05, 1.0, unless_kept("gen_top_p", 1.0), 0.05, key="gen_top_p", bind="query-params",
            help=texts.GEN_TOP_P, width=150,
        )  # fmt: skip
        number = st.number_input(
            "Seed", 0, 2**31 - 1, unless_kept("gen_seed", 0), 1, key="gen_seed", help=texts.GEN_SEED, width=110
        )
        chosen = choice("Prompt as", FORMS, FORMS[0], "gen_form", texts.GEN_FORM)
    return int(n), (float(temperature), float(top_p), int(number or 0)), chosen


def _question(apart: bool, more: Callable[[], T] | None = None) -> tuple[Question, T | None]:
    with st.container():  # what comes and goes in here must not move what follows: moved widgets are made anew
        return _asked(apart, more)


def _asked(apart: bool, more: Callable[[], T] | None) -> tuple[Question, T | None]:
    st.session_state.setdefault("prompt", st.query_params.get("prompt") or PRESETS[0].prompt)
    current = preset_of(st.session_state["prompt"])
    st.session_state["preset"] = current.title if current else None
    titles = [p.title for p in PRESETS]
    st.pills("Examples", titles, key="preset", on_change=_use_preset, label_visibility="collapsed")
    with st.form("ask", border=False):
        sources = RUN_BY[0]
        with st.container(horizontal=True, vertical_alignment="bottom", gap="small"):
            prompt = st.text_area(
                "Prompt",
                key="prompt",
                height=68,
                max_chars=MAX_CHARACTERS,
                bind="query-params",
                placeholder="Type a prompt …",
                help=texts.PROMPT,
                width="stretch",
            )
            model = _model(width=220)
            if apart:
                sources = st.selectbox("Run by", RUN_BY, key="run_by", bind="query-params", help=texts.RUN_BY, width=115)
            submit_help = "Ctrl+Enter in the prompt box does the same."
            st.form_submit_button("Run", type="primary", width=85, help=submit_help, on_click=_run_again)
        further = more() if more is not None else None
    if current is not None:
        st.caption(f"**Expected:** {current.expected}")
    return Question(model, prompt, sources, place()), further


def _model(width: int | Literal["stretch"] = "stretch") -> str:
    named = {m.name: m.title for m in MODELS}
    chosen = st.selectbox(
        "Model",
        list(named),
        key="model",
        accept_new_options=True,
        format_func=lambda name: named.get(name, name),
        bind="query-params",
        help=texts.MODEL,
        width=width,
    )
    return chosen or "demo"


def talking() -> Talking:
    """Model, examples and form of a conversation. What is said in it is in the session, under `talk_said`."""
    said: tuple[str, ...] = st.session_state.setdefault("talk_said", (TALKS[0].question, TALKS[0].correction))
    current = next((t for t in TALKS if (t.question, t.correction) == said[:2]), None)
    st.session_state["talk"] = current.title if current else None
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        st.pills("Examples", [t.title for t in TALKS], key="talk", on_change=_use_talk)
        model = _model(width=260)
        form = choice("Written as", ("auto", CHAT, PLAIN), "auto", "talk_form", texts.TALK_FORM)
    if current is not None:
        st.caption(f"**Expected:** {current.expected}")
    return Talking(model, " / ".join(said), place=place(), said=said, form=form)


def _use_talk() -> None:
    found = next((t for t in TALKS if t.title == st.session_state.get("talk")), None)
    if found is not None:
        talk_again((found.question, found.correction))


def talk_again(said: tuple[str, ...], saved: tuple[str, ...] = ()) -> None:
    """The conversation is now this one. `saved`: the answers that a file has for it."""
    st.session_state["talk_said"], st.session_state["talk_saved"] = said, saved
    _run_again()


def say(said: tuple[str, ...]) -> None:
    """What is typed is the next turn: a question, or a correction of the last answer."""
    text = str(st.session_state.get("talk_text") or "").strip()
    if not text:
        return
    one_word = " Answer with one word." if st.session_state.get("talk_one_word") and not said else ""
    talk_again((*said, text + one_word))


def other_prompt() -> str:
    """A second prompt, to compare with."""
    return st.text_input(
        "Other prompt",
        key="lens_other",
        max_chars=MAX_CHARACTERS,
        bind="query-params",
        placeholder="e.g. with another name in it",
    ).strip()


def next_turn(said: tuple[str, ...], model: str) -> None:
    """Where the next turn is typed, and buttons to take the last one back or to begin anew."""
    what = "Correct the answer: No, it is …" if said else "Ask something that has a one-word answer"
    with st.container(horizontal=True, vertical_alignment="center"):
        if len(said) < MOST_TURNS:
            st.chat_input(what, key="talk_text", on_submit=say, args=(said,), max_chars=MOST_CHARACTERS)
        else:
            st.caption(f"A conversation has at most {MOST_TURNS} turns. Begin a new one.")
        if not said:
            st.toggle("Ask for one word", value=model != "demo", key="talk_one_word", help=texts.TALK_ONE_WORD)
        st.button("Take back", on_click=talk_again, args=(said[:-1],), disabled=not said, help=texts.TALK_BACK)
        st.button("New conversation", on_click=talk_again, args=((),), disabled=not said)


def reopened() -> None:
    """A saved conversation takes the place of this one."""
    file = st.session_state.get("talk_file")
    st.session_state["talk_error"] = ""
    if file is None:
        return
    try:
        found = load_conversation(file.getvalue())
    except InfoflowError as error:
        st.session_state["talk_error"] = str(error)
        return
    st.session_state["model"], st.session_state["talk_form"] = found.model, found.form
    talk_again(found.said, found.answers)


def place() -> Place:
    """Where models run, chosen in the sidebar; a key stays in this browser's session."""
    with st.sidebar:
        where = choice("Models run", WHERE, WHERE[0], "where", texts.WHERE)
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


def unless_kept(key: str, default: T) -> T | None:
    """A default, but for what the session holds already: Streamlit wants one or the other."""
    return None if key in st.session_state else default


def choice(label: str, options: Sequence[str], default: str, key: str, help_text: str) -> str:
    """One of a few, as a row of buttons whose choice is in the URL."""
    return (
        st.segmented_control(
            label, options, default=unless_kept(key, default), required=True, key=key, bind="query-params", help=help_text
        )
        or default
    )
