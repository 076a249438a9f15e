"""Pieces of a page: errors in one place, the trust line, the cell's details, downloads, how it is computed."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import altair as alt
import streamlit as st

from infoflow import export, pictures, tables
from infoflow.analyses.flow import Flow
from infoflow.catalog import ROW_NAMES
from infoflow.charts import flow as charts
from infoflow.errors import Cancelled, InfoflowError
from infoflow.metrics import METRICS
from infoflow.ui import texts

WARN_ERROR = 1e-3
HIGH_CANCELLATION = 3.0


@contextmanager
def reporting_errors() -> Iterator[None]:
    """Show what the reader can mend as a sentence; anything else is a bug and shows as one."""
    try:
        yield
    except Cancelled as stopped:
        st.info(plain(str(stopped)), icon=":material/cancel:")
    except InfoflowError as error:
        st.error(plain(str(error)), icon=":material/error:")


def plain(text: str) -> str:
    """Text as Markdown that shows it as it is: token text is data, never markup."""
    return "".join("\\" + c if c in r"\`*_{}[]<>()#+-.!|~$:&" else c for c in text)


def trust_line(flow: Flow, hidden: Sequence[int]) -> None:
    """Four numbers under the picture: worst error, logits, cancellation, and what is hidden or the first token's share."""
    trust = tables.trust(flow, hidden)
    bad, high = trust.max_error > WARN_ERROR, trust.max_cancellation > HIGH_CANCELLATION
    kappa = f"median {trust.median_cancellation:.2f}, largest {trust.max_cancellation:.2f}"
    names = ", ".join(flow.source_labels[i] for i in hidden) or flow.source_labels[0]
    items = (
        ("Worst error", not bad, f"{trust.max_error:.1e} at {trust.worst_at}", texts.ERROR),
        (
            "Logits",
            trust.top_agrees,
            f"{'same' if trust.top_agrees else 'other'} top 8, error {trust.logit_error:.1e}",
            texts.LOGITS,
        ),
        ("Cancellation κ", not high, kappa, texts.CANCELLATION),
        (
            f"{'Hidden' if hidden else 'First token'}: {plain(names)}",
            True,
            f"{trust.aside_share:.0%} of the norm, on average",
            texts.HIDDEN if hidden else texts.FIRST,
        ),
    )
    with st.container(border=True):
        for column, (title, fine, value, help_text) in zip(st.columns(len(items)), items, strict=True):
            column.markdown(f"**{title}** {'' if fine else '⚠'}  \n{value}", help=help_text)
    if bad:
        st.warning(
            f"The parts do not add up to the residual at {trust.worst_at}: error {trust.max_error:.1e}. Do not rely on them."
        )


def details(
    flow: Flow, chosen: dict[str, Any], metric: str, hidden: Sequence[int], traced: int | None, colours: Sequence[str], dark: bool
) -> None:
    """One cell: its sources by share, and a source's way through the depth."""
    layer, stage, position = int(chosen["layer"]), str(chosen["stage"]), int(chosen["position"])
    cell = tables.cell(flow, layer, stage, position, metric, hidden)
    where = "Embedding" if stage == "embed" else f"Layer {layer}, {ROW_NAMES[stage]}"
    st.markdown(f"**{where}**, position {position}: {plain(flow.labels[position])}")
    if cell.sources.empty:
        st.caption("Every source that reaches this position is hidden.")
        return
    mixed = f"Effective sources {cell.effective_sources:.1f} of {len(cell.sources)}."
    st.caption(f"{mixed} Error {cell.error:.0e}. Cancellation κ {cell.cancellation:.2f}.")
    bars = charts.cell_bars(cell.sources.head(10), colours, dark=dark)
    st.altair_chart(bars, key="cell_bars", alt=f"Largest sources of {where}, position {position}")
    with st.expander(f"All {len(cell.sources)} sources"):
        st.dataframe(
            cell.sources.drop(columns="source"),
            hide_index=True,
            height=min(280, 38 + 35 * len(cell.sources)),
            column_config={
                "source_label": st.column_config.TextColumn("Source"),
                "share": st.column_config.NumberColumn("Share", format="percent", help=METRICS[metric]),
                "projection": st.column_config.NumberColumn("Projection", format="percent", help=METRICS["projection"]),
                "cosine": st.column_config.NumberColumn("Cosine", format="%.2f", help="Between this part and the whole."),
                "norm": st.column_config.NumberColumn("Norm", format="%.3f", help="|C_s|, in units of the residual stream."),
            },
        )
    source = traced if traced is not None else int(cell.sources["source"].iloc[0])
    if stage != "embed" and not flow.hidden_mask(hidden)[source]:
        st.markdown(f"**Share of** {plain(flow.source_labels[source])} **here through depth**")
        path = charts.through_depth(tables.through_depth(flow, source, position, metric, hidden), colours[source], dark)
        st.altair_chart(path, key="through_depth", alt="Share of one source through the layers")


def next_token(flow: Flow, colours: Sequence[str], dark: bool) -> None:
    """Which sources raise the logit of a likely next token, or its lead over a rival."""
    titles = {t.id: f"{tables.visible(t.token)}  ({t.probability:.0%})" for t in flow.targets}
    target = st.selectbox(
        "Next token", list(titles), format_func=titles.__getitem__, key="flow_target", help="A likely next token."
    )
    rivals = [i for i in titles if i != target]
    rival = st.selectbox(
        "against",
        rivals,
        index=None,
        format_func=titles.__getitem__,
        key="flow_rival",
        placeholder="nothing",
        help="With a rival, the bars show the difference of the two logits.",
    )
    table = tables.logit_parts(flow, target, rival)
    bars = charts.cell_bars(table.head(10), colours, "logit", percent=False, dark=dark)
    st.altair_chart(bars, key="logit_bars", alt="Contribution of each source to the chosen logit")
    what = "logit" if rival is None else "logit difference"
    st.caption(f"All {len(table)} sources together give the {what}: {table['logit'].sum():+.2f}. Hidden ones are included.")


def downloads(flow: Flow, chart: alt.LayerChart, metric: str, hidden: Sequence[int], dark: bool) -> None:
    """The picture as it is shown and the numbers behind it."""
    paper = pictures.background(dark)
    frame = flow.to_frame(metric, hidden=hidden)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown("**Download**", width="content")
        _button("PNG", "image/png", lambda: export.chart_png(chart, paper))
        _button("SVG", "image/svg+xml", lambda: export.chart_svg(chart, paper))
        _button("HTML", "text/html", lambda: export.chart_html(chart, paper))
        _button("CSV", "text/csv", lambda: frame.to_csv(index=False).encode())
        _button("JSON", "application/json", lambda: export.as_json(flow))
    with st.expander(f"Table ({len(frame):,} rows)"):
        st.dataframe(frame, hide_index=True, height=320)


def _button(kind: str, mime: str, make: Callable[[], bytes]) -> None:
    st.download_button(
        kind, make, file_name=f"infoflow.{kind.lower()}", mime=mime, key=f"download_{kind.lower()}", on_click="ignore"
    )


def how(*functions: Callable[..., Any]) -> None:
    """The source of the very functions that made the numbers: an explanation that can't drift from the code."""
    for function in functions:
        st.code(inspect.getsource(function), language="python", height=320)
