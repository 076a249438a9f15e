"""What is each position made of: what was asked, what was written, or a turn? The grid by parts of a text, on request."""

from collections.abc import Sequence
from functools import partial

import streamlit as st

from infoflow.analyses.flow import FlowRequest
from infoflow.files import formats
from infoflow.models.spec import ModelSpec
from infoflow.pictures import flow as pictures
from infoflow.ui import blocks, results

TITLE = "What is each position made of, by part of the text?"
CHANGED = "These parts are of the run as it is. Switch the interventions off, in the sidebar, to see them."
SAID = """Shares by norm: each bar is one position after one layer. What was written is made of the prompt too; each part here is
what its own tokens brought in. A hidden part is left out, and the others are scaled to 100 %."""
HIDE = """Parts that are left out of the bars."""


def by_part(model: ModelSpec, key: str, ids: Sequence[int], labels: Sequence[str], changed: bool, dark: bool) -> None:
    """The information flow of a text with one source a part. `labels`: the part of each token."""
    with blocks.fold(TITLE, "parts") as is_open:
        if not is_open:
            return
        if changed:
            st.info(CHANGED)
            return
        names = list(dict.fromkeys(labels))
        chosen = st.multiselect("Hide", names, key="parts_hidden", placeholder="nothing", help=HIDE, persist_state="session")
        hidden = [name for name in chosen if name in names]
        with blocks.reporting_errors():
            request = FlowRequest(model=model, prompt=tuple(ids), sources=tuple(labels))
            found = results.of(request, key, "parts")
            draw = partial(pictures.grid, found, hidden=hidden)
            drawn = draw(dark=dark)
            shares = found.shares(hidden=hidden)[-1, -1]
            most = ", ".join(f"{name} {share:.0%}" for name, share in zip(found.source_labels, shares, strict=True) if share > 0)
            blocks.chart(drawn.chart, key="parts_grid", alt=f"Share of each part of the text by layer and position. {most}")
            st.caption(f"**The last position is, after the last layer: {blocks.plain(most)}.** {SAID}")
            blocks.downloads(drawn, lambda: formats.as_json(found), dark, found.provenance, "parts", found, draw)
