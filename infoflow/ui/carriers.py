"""Who carried it? A question asked of the bar that is chosen on the Information flow page."""

from collections.abc import Sequence
from functools import partial

import pandas as pd
import streamlit as st

from infoflow.analyses.carriers import Carriers, CarriersRequest
from infoflow.analyses.flow import Flow
from infoflow.charts import signed as charts
from infoflow.files import formats
from infoflow.pictures import carriers as pictures
from infoflow.tables import carriers as tables
from infoflow.tables import flow as flow_tables
from infoflow.text.rows import ROW_NAMES
from infoflow.ui import blocks, results
from infoflow.ui.asking import Asked
from infoflow.ui.controls import picked_head
from infoflow.ui.information_flow import Ask, Bar, scope_of

CARRIERS = """The chosen part of the chosen bar is a sum of what heads, reading from each position, and MLPs wrote of it here, in
all layers so far. Shares of the whole: green brought it, magenta took some away; they add to 100 %. That is not what they write
of a logit themselves ("Heads and MLPs" of the other question): what they bring may be turned into it by later layers."""
ARRIVES = """How much of each later residual comes from this part of this bar alone, along all frozen paths (its projection on the
residual there). The top row is what is left of it at the output."""
READS = """Heads of later layers that carried it from this position to another, as a share of the residual there."""


def carriers(asked: Asked, flow: Flow, chosen: Bar, segment: int | None, hidden: Sequence[int], dark: bool) -> None:
    """Heads, positions and MLPs that brought one source into the chosen bar, and where it goes from there."""
    layer, stage, position = chosen
    if stage == "embed":
        st.caption("An embedding is its own token and nothing else. Click a bar above it.")
        return
    here = flow_tables.cell(flow, layer, stage, position, hidden=hidden).sources
    if here.empty:
        st.caption("Every source that reaches this position is hidden.")
        return
    options = here["source"].astype(int).tolist()
    names = dict(zip(options, here["source_label"], strict=True))
    key = f"flow_carried_{scope_of(flow)}"
    if segment in names and segment != st.session_state.get("flow_segment"):
        st.session_state[key] = segment
    st.session_state["flow_segment"] = segment
    if st.session_state.get(key) not in names:
        st.session_state.pop(key, None)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        source = st.selectbox(
            "Source",
            options,
            format_func=names.__getitem__,
            key=key,
            width=260,
            bind="query-params",
            help="Click a colour of a bar, or choose.",
        )
        st.markdown(f"in layer {layer}, {ROW_NAMES[stage]}, position {position}: {blocks.plain(flow.labels[position])}")
    labels = tuple(flow.source_labels[i] for i in flow.source_of)
    with blocks.reporting_errors():
        request = CarriersRequest(
            model=asked.model,
            prompt=asked.prompt,
            layer=layer,
            stage=stage,
            position=position,
            source=int(source),
            sources=labels,
            interventions=asked.interventions,
        )
        found = results.of(request, asked.key, "carriers", lambda: st.session_state.update(panel=Ask.LOGIT))
        _carried(found, dark)


def _carried(found: Carriers, dark: bool) -> None:
    left, right = st.columns([1, 1.25], gap="large")
    with left:
        st.markdown("**Brought here by**", help=CARRIERS)
        table = found.to_frame()
        draw = partial(pictures.picture, found)
        drawn = draw(dark=dark)
        named = tables.carried(found, 12)
        says = f"Largest carriers of the source. {blocks.largest(named, 'name', 'share')}"
        blocks.chart(drawn.chart, key="carried", on_select="rerun", selection_mode="head", alt=says)
        heads = named[named["head"] >= 0]
        picked_head("carried", None if heads.empty else (int(heads["layer"].iloc[0]), int(heads["head"].iloc[0])))
        most = f"The largest 12 of {len(table):,}; all" if len(table) > 12 else f"All {len(table)}"
        st.caption(f"{most} of them add to {table['share'].sum():.1%}. Length {found.norm:.2f}, in units of the residual stream.")
    with right:
        st.markdown("**Where it goes next**", help=ARRIVES)
        arrived = tables.arrived(found)
        if arrived.empty:
            st.caption("This is the last layer: nothing comes after it but the unembedding.")
        else:
            _goes_on(found, arrived, dark)
    blocks.downloads(drawn, lambda: formats.as_json(found), dark, found.provenance, "carriers_", found, draw)


def _goes_on(found: Carriers, arrived: pd.DataFrame, dark: bool) -> None:
    """Where it arrives, and which heads read it from here."""
    elsewhere = arrived.loc[arrived["label"] != found.position_labels[found.position], "share"].abs().max()
    chart = charts.grid(
        arrived, "label", "row", "share", form="+.2p", limit=float(elsewhere) if elsewhere > 0 else None, dark=dark
    )
    places = arrived.assign(name=arrived["row"] + " " + arrived["label"])
    says = f"Share of later residuals that comes from this bar. {blocks.largest(places, 'name', 'share')}"
    blocks.chart(chart, key="arrived", alt=says)
    st.caption("The first column is where it stays; colours are scaled to the other positions.")
    readers = tables.readers(found, 5)
    if not readers.empty:
        st.markdown("**Read from here by**", help=READS)
        says = f"Heads that read it from here. {blocks.largest(readers, 'name', 'share')}"
        blocks.chart(charts.ranking(readers, form="+.2p", dark=dark), key="readers", alt=says)
