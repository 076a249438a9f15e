"""Pieces of the logit lens page: which cell was clicked, and what is in it."""

from typing import Any

import streamlit as st

from infoflow import lens_tables
from infoflow.analyses.logit_lens import Lens
from infoflow.charts import lens as charts
from infoflow.ui import blocks, cache, inputs, jobs, texts


def clicked(selection: Any, lens: Lens) -> tuple[int, int]:
    """Row and position of the cell that was clicked; the output of the last position before any click."""
    cell = next(iter(selection.get("cell") or []), None)
    if cell is None:
        return len(lens.rows) - 1, len(lens.tokens) - 1
    return int(cell["order"]), int(cell["position"])


def cell(lens: Lens, row: int, position: int) -> None:
    """The likeliest tokens of one cell, and what the block below it changed."""
    st.markdown(f"**{lens_tables.row_title(lens.rows[row])}**, position {position}: {blocks.plain(lens.tokens[position])}")
    percent = st.column_config.NumberColumn("probability", format="percent")
    logit = st.column_config.NumberColumn("logit", format="%.2f")
    likely = lens_tables.likeliest(lens, row, position)
    st.dataframe(likely, hide_index=True, column_config={"probability": percent, "logit": logit})
    st.caption(f"Entropy {lens.entropy[row, position]:.2f} nats. KL to output {lens.kl[row, position]:.2f} nats.")
    if row == 0:
        st.caption("This is the embedding: no block has written yet.")
        return
    st.markdown("**Moved by this block**", help=texts.LENS_MOVED)
    change = st.column_config.NumberColumn("change", format="percent")
    st.dataframe(lens_tables.moved(lens, row, position), hide_index=True, column_config={"change": change})


def contrast(asked: inputs.Reading, lens: Lens, mids: bool) -> None:
    """The same tokens in the run of another prompt, beside this one's."""
    with st.expander("Compare with another prompt"):
        prompt = inputs.other_prompt()
        if not prompt:
            st.caption(texts.LENS_OTHER)
            return
        follow = tuple(dict.fromkeys([*lens.targets, *lens.answers[-1, :3].tolist()]))
        with blocks.reporting_errors():
            other, _ = jobs.run(
                lambda job: cache.lens(asked.place, asked.model, prompt, follow, asked.mids, job),
                on_cancel=lambda: st.session_state.update(lens_other=""),
                name="lens_other",
            )
            st.markdown(blocks.plain(lens_tables.apart(lens, other)))
            lines = lens_tables.contrasted(lens, other, mids)
            chart = charts.trajectories(lines, "probability", inputs.dark())
            st.altair_chart(chart, key="lens_contrast", alt="Tokens through the layers of two prompts")
            st.caption("Last positions. Solid: this prompt; dashed: the other. Follow a token to see it here too.")
