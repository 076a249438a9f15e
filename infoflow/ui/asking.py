"""What is asked and where it runs: the controls of every page that can run a model. Keys bound to the address make a link reopen
the view."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Literal, TypeVar

import streamlit as st
from streamlit.errors import StreamlitSecretNotFoundError

from infoflow.files import links
from infoflow.models.catalog import MODELS
from infoflow.models.spec import ModelSpec
from infoflow.settings import settings
from infoflow.text.examples import PRESETS, Preset
from infoflow.ui import blocks, cache, changes
from infoflow.ui.controls import choice
from infoflow.ui.streamlit_names import came_by_history, write_bound

T = TypeVar("T")
MAX_CHARACTERS = 20_000
IN_A_LINK = links.MOST
"""bytes of a prompt, as an address spells it"""


class Where(StrEnum):
    """Where models run."""

    HERE = "here"
    NDIF = "on NDIF"


DTYPES = ("float32", "bfloat16", "float16")

PROMPT = """Any text. Ctrl+Enter runs it. The prompt is part of the page's address, so that a link reopens this view."""
EXPECTED = """Of the bundled model, for which these examples were written. Another one may do something else."""
TOO_LONG = """:material/link_off: This prompt is too long for a link: it is kept in this session, and not in the address."""
TOO_LONG_HELP = """A reload of the page, or somebody whom you send its address, gets another prompt. Keep the text itself."""
MODEL = """The bundled model, a Hugging Face name (with @branch or @commit for a revision), or a local folder: type it and press
Enter."""
LISTED = """The models that this app runs."""
WHERE_HELP = """**here**: on the machine that serves this page. **on NDIF**: on the hosted service of the National Deep Inference
Fabric, which runs models that do not fit here; only names, prompts and results travel."""
KEY = """Kept for this browser's session alone: it is in no cache, address, log or export. Get one at login.ndif.us."""
DEVICE = """What models that are loaded from now on compute on. auto: the fastest device here that can be trusted."""
DTYPE = """How weights are held. auto: bfloat16 on a GPU that computes with it (compute capability 8.0 or more), float32
elsewhere. Half precision takes half the memory; the decomposition's own arithmetic is float32 whatever this is."""


@dataclass(frozen=True)
class Place:
    """Where a run happens: here, on a device, or on the service with a visitor's key, which belongs to no request, cache, log or
    message."""

    host: str = ""
    """of the service; '' for this machine"""
    key: str = field(default="", repr=False, compare=False)
    device: str = "auto"
    dtype: str = "auto"
    """how weights are held here"""

    def spec(self, name: str) -> ModelSpec:
        """A model there."""
        return ModelSpec(name=name, host=self.host) if self.host else ModelSpec(name=name, device=self.device, dtype=self.dtype)


@dataclass(frozen=True)
class Asked:
    """Model, prompt and the key to run with."""

    model: ModelSpec
    prompt: str
    key: str = field(default="", repr=False, compare=False)
    interventions: tuple[Any, ...] = ()
    """what is changed in every run, of the Interventions page"""


def fits_in_a_link(prompt: str) -> bool:
    """Whether a prompt can be part of an address."""
    return links.fits(prompt)


def preset_of(prompt: str) -> Preset | None:
    """The example that a prompt is."""
    return next((p for p in PRESETS if p.prompt == prompt.strip()), None)


def _use_preset() -> None:
    found = next((p for p in PRESETS if p.title == st.session_state.get("preset")), None)
    if found is not None:
        st.session_state["prompt"] = found.prompt


def run_again() -> None:
    """Run was pressed: what had been cancelled or had failed may run."""
    for key in [k for k in st.session_state if str(k).endswith(("_cancelled", "_failed"))]:
        del st.session_state[key]


def question(more: Callable[[], T] | None = None) -> tuple[Asked, T | None]:
    """Model, presets and prompt, in the sidebar. Running is submitting the form: the button, or Ctrl+Enter in the box. What else
    a page asks is drawn by `more` under the model; its value comes too."""
    with st.sidebar, st.container():  # what comes and goes in here must not move what follows: moved widgets are made anew
        asked = st.session_state.get("prompt", st.query_params.get("prompt", PRESETS[0].prompt))
        if came_by_history():
            asked = st.query_params.get("prompt", PRESETS[0].prompt)
        current = preset_of(asked)
        st.session_state["preset"] = current.title if current else None
        titles = [p.title for p in PRESETS]
        st.pills("Examples", titles, key="preset", on_change=_use_preset, label_visibility="collapsed")
        found = None
        fits = fits_in_a_link(asked)
        with st.form("ask", border=False):
            prompt = st.text_area(
                "Prompt", PRESETS[0].prompt, key="prompt", height=110, max_chars=MAX_CHARACTERS,
                bind="query-params" if fits else None, placeholder="Type a prompt …", help=PROMPT, persist_state="session",
            )  # fmt: skip
            name = model_name()
            if more is not None:
                found = more()
            submit_help = "Ctrl+Enter in the prompt box does the same."
            st.form_submit_button("Run", type="primary", width="stretch", help=submit_help, on_click=run_again)
        if current is not None:
            st.caption(f"**Expected of the bundled model:** {current.expected}", help=EXPECTED)
        if not fits:
            st.caption(TOO_LONG, help=TOO_LONG_HELP)
    changed = changes.in_force()
    there = place()
    write_bound()
    return Asked(there.spec(name), prompt, there.key, changed), found


def model_name(
    width: int | Literal["stretch"] = "stretch",
    key: str = "model",
    in_address: bool = True,
    label: str = "Model",
    first: str = "",
) -> str:
    """One of the catalogue's models, or any name or folder that is typed; or `first`, where a page offers something else."""
    listed = offered()  # by their names: an address holds what is shown, where nothing else may be typed
    titles = {m.name: m.title for m in MODELS} if listed is None else {name: name for name in listed}
    named = {**({first: first} if first else {}), **titles}
    if listed is not None and key in st.session_state and st.session_state[key] not in named:
        del st.session_state[key]  # of another place where models run
    chosen = st.selectbox(
        label, list(named), key=key, accept_new_options=listed is None, format_func=lambda name: named.get(name, name),
        bind="query-params" if in_address else None, persist_state="session", help=MODEL if listed is None else LISTED,
        width=width,
    )  # fmt: skip
    return chosen or first or "demo"


def offered() -> tuple[str, ...] | None:
    """The models of a hosted app, where models run now; None where any may be named."""
    now = settings()
    if not now.hosted:
        return None
    where = st.session_state.get("where", st.query_params.get("where", Where.HERE))
    return now.listed_on_ndif if now.listed_on_ndif and where == Where.NDIF else now.listed


def place() -> Place:
    """Where models run, chosen in the sidebar; a key stays in this browser's session."""
    now = settings()
    if now.hosted and not now.listed_on_ndif:
        return place_here()
    with st.sidebar:
        where = choice("Models run", list(Where), Where.HERE, "where", WHERE_HELP)
        if where == Where.HERE:
            return place_here()
        typed = st.text_input(
            "NDIF key", type="password", key="ndif_key", autocomplete="off", help=KEY, persist_state="session",
            on_change=run_again,
        ).strip()  # fmt: skip
        host, owners = now.host, _owners_key()
        whose = "your key, for this session" if typed else "the key of whoever runs this app" if owners else "no key yet"
        named = "" if now.hosted else " Type the model's name as it is on the hub."
        st.caption(f"Runs go to {blocks.plain(host)} with {whose}.{named}")
        return Place(host, typed or owners)


def place_here() -> Place:
    """This machine, with the device and type of weights chosen on the Models page; a hosted app chooses itself."""
    if settings().hosted:
        return Place()
    return Place(device=st.session_state.get("device", "auto"), dtype=st.session_state.get("dtype", "auto"))


def how_held(titles: Mapping[str, str]) -> None:
    """Device and type of the weights, for what is loaded from now on in this session."""
    named = {"auto": f"auto: {next(iter(titles.values()))}", **titles}
    st.selectbox("Device", list(named), format_func=named.__getitem__, key="device", help=DEVICE, persist_state="session")
    st.selectbox("Weights as", ["auto", *DTYPES], key="dtype", help=DTYPE, persist_state="session")


def _owners_key() -> str:
    """The key that whoever runs this app has put into its secrets or environment, where visitors may use it."""
    if not cache.key_is_shared():
        return ""
    try:
        found = str(st.secrets.get("NDIF_API_KEY", ""))
    except (FileNotFoundError, StreamlitSecretNotFoundError):
        found = ""
    return found or settings().key.get_secret_value()
