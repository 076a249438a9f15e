"""The picture of a page as a figure of a paper: how wide, how large its type, with its title or not, and its caption."""

from collections.abc import Callable
from functools import partial
from typing import Any

import streamlit as st

from infoflow.files import paper
from infoflow.pictures.picture import Picture

Draw = Callable[..., Picture]
"""draws the picture of the page with dark=True or False"""
TITLE = "For a paper"
SAID = "Light, of true size; PNG with 300 pixels an inch. The caption says what the picture's own sentences say."
INCHES = "inches"
WIDTHS = {"1 column": "1col", "2 columns": "2col", INCHES: INCHES}
TYPE = "In points, of what stands at the axes; other type keeps its proportion to it."
_MIMES = {"pdf": "application/pdf", "svg": "image/svg+xml", "png": "image/png"}


def popover(picture: Picture, draw: Draw, result: Any, key: str) -> None:
    """What opens beside the downloads; `key` tells those of one page apart."""
    with st.popover(TITLE, key=f"paper_{key}", on_change="rerun") as held:
        if not held.open:
            return
        with st.container(horizontal=True, vertical_alignment="bottom"):
            chosen = st.segmented_control(
                "Width", list(WIDTHS), default="1 column", required=True, key=f"paper_{key}width", persist_state="session"
            )
            inches = 3.25
            if chosen == INCHES:
                inches = st.number_input(
                    "Inches", 1.0, 20.0, 3.25, 0.25, key=f"paper_{key}inches", persist_state="session", width=120
                )
            size = st.number_input(
                "Type", paper.SMALLEST, paper.LARGEST, paper.FONT_SIZE, 0.5, key=f"paper_{key}type", persist_state="session",
                width=120, help=TYPE,
            )  # fmt: skip
            titled = st.toggle("Title", value=False, key=f"paper_{key}title", persist_state="session")
        width = 72 * inches if chosen == INCHES else paper.width_of(WIDTHS[chosen or "1 column"])
        wanted = paper.Paper(width, float(size), titled)
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            for kind in paper.KINDS:
                st.download_button(
                    kind.upper(), partial(_figure, draw, kind, wanted), file_name=f"{picture.file_name}-figure.{kind}",
                    mime=_MIMES[kind], key=f"paper_{key}{kind}", on_click="ignore",
                )  # fmt: skip
        st.caption(SAID)
        st.code(paper.caption(picture, result), language=None, wrap_lines=True)


def _figure(draw: Draw, kind: str, wanted: paper.Paper) -> bytes:
    return paper.figure(draw(dark=False), kind, wanted)
