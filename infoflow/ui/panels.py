"""Questions asked of the run that is shown: which tokens raise a logit, and who carried a source into a bar."""

from collections.abc import Sequence
from typing import Any

import pandas as pd
import streamlit as st

from infoflow import pictures, tables
from infoflow.analyses.attribution import FORMS, Attribution
from infoflow.analyses.carriers import Carriers
from infoflow.analyses.flow import Flow
from infoflow.catalog import ROW_NAMES
from infoflow.charts import signed as charts
from infoflow.tokens import unique
from infoflow.ui import blocks, cache, inputs, jobs, texts, views

QUESTIONS = ("Which tokens raise a logit?", "Who carried it?")


def logit(asked: inputs.Question, flow: Flow, hidden: Sequence[int], clicked: int | None, dark: bool) -> pd.DataFrame:
    """Signed contributions of each source to a logit or a difference, as bars and as coloured text; returns them all.

    Likely next tokens were split by the run itself; anything else runs the model.
    """
    names = unique([f"{tables.visible(t.token)}  ({t.probability:.0%})" for t in flow.targets])
    titles = dict(zip([t.id for t in flow.targets], names, strict=True))
    scope = pictures.identity(flow)  # another prompt has other likely tokens
    if clicked is not None and clicked != st.session_state.get("flow_clicked"):
        st.session_state[f"flow_target_{scope}"] = clicked
    st.session_state["flow_clicked"] = clicked
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        target = views.token("Target", titles, f"flow_target_{scope}", texts.TARGET)
        rival = views.token("against", titles, f"flow_rival_{scope}", texts.RIVAL, optional=True)
        centred = st.toggle("Centred", key="flow_centred", help=texts.CENTRED, disabled=rival is not None)
        writers = st.toggle("Heads and MLPs", key="flow_writers", help=texts.DIRECT_HOW)
        form = st.selectbox("Direct attribution", FORMS, key="flow_direct", help=texts.DIRECT) if writers else FORMS[0]
    likeliest = flow.top[0].id
    target = likeliest if target is None else target
    table, found = None, None
    with blocks.reporting_errors():
        kept = all(t is None or t in titles for t in (target, rival))
        if writers or not kept or (centred and rival is None):
            found = _attribution(asked, target, rival, centred, form, scope)
            table = tables.attributed(flow, found)
        else:
            table = tables.logit_parts(flow, int(target), None if rival is None else int(rival))
    if table is None:  # the message above says why
        return tables.logit_parts(flow, likeliest)
    shown = table[~table["source"].isin(list(hidden))].sort_values("source")
    what = "logit difference" if rival is not None else "centred logit" if centred else "logit"
    bars, text = st.columns([1.5, 1], gap="medium", vertical_alignment="center")
    with bars:
        chart = charts.columns(shown.rename(columns={"source_label": "label"}), title=what, dark=dark)
        st.altair_chart(chart, key="logit_bars", alt=f"Contribution of each source to the {what}")
    with text:
        pieces = tables.coloured_pieces(flow, table, hidden)
        st.altair_chart(
            charts.coloured_text(pieces, width=52, dark=dark), key="logit_text", width="content", alt="The prompt, coloured by it"
        )
    total, aside = table["logit"].sum(), table.loc[table["source"].isin(list(hidden)), "logit"].sum()
    note = f" Hidden sources give {aside:+.2f} of it." if len(hidden) else ""
    st.caption(f"All {len(table)} sources together give the {what}: {total:+.2f}.{note}")
    if writers and found is not None:
        _writers(found, what, dark)
    return table


def _attribution(
    asked: inputs.Question, target: int | str, rival: int | str | None, centred: bool, form: str, scope: str
) -> Attribution:
    def stop() -> None:  # back to what needs no run
        st.session_state.update({"flow_writers": False, "flow_centred": False})
        st.session_state.update({f"flow_target_{scope}": None, f"flow_rival_{scope}": None})

    return jobs.run(
        lambda job: cache.attribution(asked.place, asked.model, asked.prompt, target, rival, centred, form, job),
        on_cancel=stop,
        name="logit",
    )


def _writers(found: Attribution, what: str, dark: bool) -> None:
    """Heads and MLPs by what they write directly."""
    table = tables.writers(found)
    chart = charts.grid(table, "column", "row", "logit", dark=dark)
    st.altair_chart(chart, key="writers", alt="Direct contribution of each head and MLP")
    sums = "" if found.direct == "folded" else f" In this form they sum to {found.direct_total:+.2f}, not to the {what}."
    rest = f"Embedding {found.embedding:+.2f}, biases {found.direct_bias:+.2f}; all together {found.direct_total:+.2f}."
    st.caption(f"{texts.DIRECT_HOW} {rest}{sums}")


def carriers(
    asked: inputs.Question, flow: Flow, chosen: dict[str, Any], segment: int | None, hidden: Sequence[int], dark: bool
) -> None:
    """Heads, positions and MLPs that brought one source into the chosen bar, and where it goes from there."""
    layer, stage, position = int(chosen["layer"]), str(chosen["stage"]), int(chosen["position"])
    if stage == "embed":
        st.caption("An embedding is its own token and nothing else. Click a bar above it.")
        return
    here = tables.cell(flow, layer, stage, position, hidden=hidden).sources
    if here.empty:
        st.caption("Every source that reaches this position is hidden.")
        return
    options = here["source"].astype(int).tolist()
    names = dict(zip(options, here["source_label"], strict=True))
    key = f"flow_carried_{pictures.identity(flow)}"
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
            help="Click a colour of a bar, or choose.",
        )
        st.markdown(f"in layer {layer}, {ROW_NAMES[stage]}, position {position}: {blocks.plain(flow.labels[position])}")
    labels = tuple(flow.source_labels[i] for i in flow.source_of)
    with blocks.reporting_errors():
        found = jobs.run(
            lambda job: cache.who_carried(
                asked.place, asked.model, asked.prompt, labels, (layer, stage, position), int(source), job
            ),
            on_cancel=lambda: st.session_state.update(panel=QUESTIONS[0]),
            name="carriers",
        )
        _carried(found, dark)


def _carried(found: Carriers, dark: bool) -> None:
    left, right = st.columns([1, 1.25], gap="large")
    with left:
        st.markdown("**Brought here by**", help=texts.CARRIERS)
        table = found.to_frame()
        st.altair_chart(charts.ranking(tables.carried(found, 12), dark=dark), key="carried", alt="Largest carriers of the source")
        most = f"The largest 12 of {len(table):,}; all" if len(table) > 12 else f"All {len(table)}"
        st.caption(f"{most} of them add to {table['share'].sum():.1%}. Length {found.norm:.2f}.")
        with st.expander("More carriers" if len(table) > blocks.TABLE_ROWS else "All carriers"):
            share = st.column_config.NumberColumn("share", format="percent")
            st.dataframe(table.head(blocks.TABLE_ROWS), hide_index=True, height=280, column_config={"share": share})
    with right:
        st.markdown("**Where it goes next**", help=texts.ARRIVES)
        arrived = tables.arrived(found)
        if arrived.empty:
            st.caption("This is the last layer: nothing comes after it but the unembedding.")
            return
        elsewhere = arrived.loc[arrived["label"] != found.tokens[found.position], "share"].abs().max()
        chart = charts.grid(
            arrived, "label", "row", "share", form="+.2p", limit=float(elsewhere) if elsewhere > 0 else None, dark=dark
        )
        st.altair_chart(chart, key="arrived", alt="Share of later residuals that comes from this bar")
        st.caption("The first column is where it stays; colours are scaled to the other positions.")
        readers = tables.readers(found, 5)
        if not readers.empty:
            st.markdown("**Read from here by**", help=texts.READS)
            st.altair_chart(charts.ranking(readers, form="+.2p", dark=dark), key="readers", alt="Heads that read it from here")
