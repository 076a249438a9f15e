"""The pieces of the first page: five stops on the way from a prompt to its prediction."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import streamlit as st
from streamlit.delta_generator import DeltaGenerator
from streamlit.errors import StreamlitPageNotFoundError

from infoflow.text.examples import PRESETS
from infoflow.text.glossary import WORDS

INTRO = """Five stops on the way from a prompt to its prediction, on the bundled model: each picture is of one run, and the
link under it opens the page it comes from, at that view."""


ASKED = {"model": "demo", "prompt": PRESETS[0].prompt}


@dataclass(frozen=True)
class Stop:
    """One stop: two sentences, the words in them that are explained, and where it goes on."""

    title: str
    text: str
    words: Sequence[str]
    page: str
    link: str
    view: Mapping[str, str] = field(default_factory=dict)


STOPS = (
    Stop(
        "A prompt becomes a prediction",
        "The model reads the prompt token by token and gives every token it knows a score, its logit, for coming next. Here it "
        "is nearly sure: the name that was said once.",
        ("token", "logit"), "pages/generation.py", "See it write",
    ),
    Stop(
        "Where attention looks",
        "In each layer, heads look from a position back at earlier ones and fetch something. Rows are where they look from, "
        "columns what they look at; this head, in the last row, reads the answer.",
        ("head", "attention sink"), "pages/attention.py", "Look at all heads",
    ),
    Stop(
        "The stream, layer by layer",
        "What a position knows stands in its residual stream, which every layer adds to. Read as if each row were the last, the "
        "last column shows from where on the answer stands there.",
        ("residual stream", "layer", "logit lens"), "pages/logit_lens.py", "Read every row",
    ),
    Stop(
        "Which tokens fed it",
        "Each bar is one position after one step, split exactly into what each token of the prompt contributed. Follow a colour "
        "from its token at the bottom to the last column, where the next token is predicted.",
        ("source", "contribution", "MLP"), "pages/information_flow.py", "Take it apart",
    ),
    Stop(
        "What an intervention would test",
        "Green tokens raised the answer's logit, by so much, if all else stays as it was. That is a claim: whoever changes the "
        "token, or cuts a head, and runs the model again sees whether it holds.",
        ("intervention",), "pages/information_flow.py", "Ask of any token", {"panel": "Which tokens raise a logit?"},
    ),
)  # fmt: skip


def stops() -> list[DeltaGenerator]:
    """Every stop with its words beside a place for its picture, in order; those places."""
    places = []
    for number, stop in enumerate(STOPS):
        st.subheader(f"{number + 1}. {stop.title}", anchor=False)
        left, right = st.columns([1, 2.2], gap="large")
        with left:
            words(stop)
        places.append(right.container())
    return places


def words(stop: Stop) -> None:
    """The sentences, and its words, each explained behind a mark."""
    st.markdown(stop.text)
    with st.container(horizontal=True, gap="medium"):
        for word in stop.words:
            st.caption(word, help=WORDS[word], width="content")


def link(stop: Stop, **view: str) -> None:
    """To the page that the picture comes from, at that view."""
    with suppress(StreamlitPageNotFoundError):  # no other page is there where this one stands alone
        st.page_link(stop.page, label=f"{stop.link} →", query_params={**ASKED, **stop.view, **view})
