"""Is it so? Contributions held against what removing each source does: the last line of the trust meter, on request."""

from functools import partial

import streamlit as st

from infoflow.analyses.causal import By, CausalRequest
from infoflow.analyses.flow import Flow
from infoflow.files import formats
from infoflow.pictures import causal as pictures
from infoflow.summaries.causal import sentences
from infoflow.summaries.sentence import spoken
from infoflow.ui import blocks, results
from infoflow.ui.asking import Asked
from infoflow.ui.controls import choice

TITLE = "Does removing a source do what its contribution says?"
WAY = """How a source is removed. **block**: no other token sees it. **mean**: the prompt's mean stands in its place. **swap**: a
neutral text's token does. **zero**: nothing does. They ask different things, so that they need not agree."""
SAID = """A contribution is what a source adds along frozen paths; removed, patterns, gates and norms change as well. Where the
bars of a pair differ, that is what freezing leaves out, or others speak for the source."""


def tested(asked: Asked, flow: Flow, dark: bool) -> None:
    """The test, of the likeliest next token against the second."""
    with blocks.fold(TITLE, "causal") as is_open:
        if not is_open:
            return
        if len(flow.top) < 2:
            st.caption("There is one token alone in the vocabulary: nothing to hold it against.")
            return
        by = choice("Remove by", list(By), By.BLOCK, "causal_by", WAY)
        target, against = flow.top[0], flow.top[1]
        with blocks.reporting_errors():
            found = results.of(
                CausalRequest(
                    model=asked.model,
                    prompt=asked.prompt,
                    target=target.id,
                    against=against.id,
                    by=By(by),
                    sources=tuple(flow.source_labels[source] for source in flow.source_of),
                    interventions=asked.interventions,
                ),
                asked.key,
                "causal",
            )
            drawn = pictures.picture(found, dark)
            said = spoken(sentences(found))
            lead = f"the lead of “{blocks.plain(target.token.strip())}” over “{blocks.plain(against.token.strip())}”"
            st.markdown(f"What each source adds to {lead}, and what of it goes with the source. {blocks.plain(said)}")
            blocks.chart(drawn.chart, key="causal_bars", alt=f"Contribution beside removal, by source. {said}")
            st.caption(SAID)
            as_json, draw = partial(formats.as_json, found), partial(pictures.picture, found)
            blocks.downloads(drawn, as_json, dark, found.provenance, "causal", found, draw)
