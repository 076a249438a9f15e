"""Pieces of a page: errors in one place, the trust line, the cell's details, downloads, how it is computed."""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd
import streamlit as st

from infoflow import export, pictures, tables
from infoflow.analyses.flow import Flow
from infoflow.budget import Estimate
from infoflow.catalog import ROW_NAMES
from infoflow.charts import flow as charts
from infoflow.errors import Cancelled, InfoflowError, RemoteRunError
from infoflow.metrics import METRICS
from infoflow.provenance import Provenance
from infoflow.selftest import APPROXIMATE, Check
from infoflow.ui import texts

WARN_ERROR = 1e-3
HIGH_CANCELLATION = 3.0
TABLE_ROWS = 5_000
"""what a browser is sent of a longer table"""


@contextmanager
def reporting_errors() -> Iterator[None]:
    """Show what the reader can mend as a sentence; anything else is a bug and shows as one."""
    try:
        yield
    except Cancelled as stopped:
        st.info(plain(str(stopped)), icon=":material/cancel:")
    except InfoflowError as error:
        failed(error)


def failed(error: InfoflowError) -> None:
    """What happened and what to do; what a service said of it can be unfolded."""
    st.error(plain(str(error)), icon=":material/error:")
    if isinstance(error, RemoteRunError) and error.details.strip() not in ("", str(error)):
        with st.expander("What the service said"):
            st.code(error.details, language=None, wrap_lines=True, height=240)


def plain(text: str) -> str:
    """Text as Markdown that shows it as it is: token text is data, never markup."""
    return "".join("\\" + c if c in r"\`*_{}[]<>()#+-.!|~$:&" else c for c in text)


@dataclass(frozen=True)
class Clicked:
    """What was clicked in the grid."""

    cell: dict[str, Any] | None
    source: int | None
    """of the segment, where it is a single source"""
    answer: int | None
    """the id of a prediction"""


def clicked(selection: Any) -> Clicked:
    cell, segment, answer = (next(iter(selection.get(name) or []), None) for name in ("cell", "segment", "answer"))
    source = int(segment["source"]) if segment and segment.get("source") is not None else -1
    return Clicked(cell, source if source >= 0 else None, int(answer["id"]) if answer else None)


_BADGES: dict[str, tuple[Literal["green", "orange", "red"], str]] = {
    "exact": ("green", ":material/verified:"),
    "approximate": ("orange", ":material/warning:"),
    "unsupported": ("red", ":material/error:"),
}


def badge(found: Check, flow: Flow, cost: Estimate | None) -> None:
    """The self-test's verdict, and the size of the run with what it takes."""
    colour, icon = _BADGES[found.verdict]
    n, sources = len(flow.tokens), int(flow.source_of.max()) + 1  # the bias is none of the prompt's
    size = f"{n} tokens in {sources} sources" if sources != n else f"{n} tokens, each a source"
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        what = texts.BADGE if cost else texts.BADGE_STORED
        st.badge(found.verdict, icon=icon, color=colour, help=f"{what} {found.reason}")
        st.caption(plain(f"{size}{f': {cost}' if cost else ''}."), width="stretch")
    if found.verdict == "unsupported":
        st.warning(plain(f"Do not rely on what is shown for this model. {found.reason}"), icon=":material/error:")


def warn_if_off(error: float, made: Provenance, what: str) -> None:
    """A warning where numbers are not what the model itself computed, by more than its type's rounding."""
    if not error <= (WARN_ERROR if made.dtype == "float32" else APPROXIMATE):
        st.warning(f"{what}: error {error:.1e}. Do not rely on what is shown for this model.", icon=":material/error:")


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
    flow: Flow,
    chosen: dict[str, Any],
    metric: str,
    hidden: Sequence[int],
    traced: int | None,
    logits: pd.DataFrame,
    colours: Sequence[str],
    dark: bool,
) -> None:
    """One cell: its sources by share, and a source's way through the depth. The cell that the logits come from has them too."""
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
    table = cell.sources
    if (layer, stage, position) == (flow.n_layers - 1, "post", len(flow.tokens) - 1):
        table = table.merge(logits[["source", "logit"]], on="source", how="left")
    with st.expander(f"All {len(cell.sources)} sources"):
        st.dataframe(
            table.drop(columns="source"),
            hide_index=True,
            height=min(280, 38 + 35 * len(cell.sources)),
            column_config={
                "source_label": st.column_config.TextColumn("Source"),
                "share": st.column_config.NumberColumn("Share", format="percent", help=METRICS[metric]),
                "projection": st.column_config.NumberColumn("Projection", format="percent", help=METRICS["projection"]),
                "cosine": st.column_config.NumberColumn("Cosine", format="%.2f", help="Between this part and the whole."),
                "norm": st.column_config.NumberColumn("Norm", format="%.3f", help="|C_s|, in units of the residual stream."),
                "logit": st.column_config.NumberColumn("Logit", format="%+.3f", help=texts.LOGIT_COLUMN),
            },
        )
    source = traced if traced is not None else int(cell.sources["source"].iloc[0])
    if stage != "embed" and not flow.hidden_mask(hidden)[source]:
        st.markdown(f"**Share of** {plain(flow.source_labels[source])} **here through depth**")
        path = charts.through_depth(tables.through_depth(flow, source, position, metric, hidden), colours[source], dark)
        st.altair_chart(path, key="through_depth", alt="Share of one source through the layers")


def downloads(chart: Any, frame: pd.DataFrame, as_json: Callable[[], bytes], dark: bool) -> None:
    """The picture as it is shown and the numbers behind it."""
    paper = pictures.background(dark)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.markdown("**Download**", width="content")
        _button("PNG", "image/png", lambda: export.chart_png(chart, paper))
        _button("SVG", "image/svg+xml", lambda: export.chart_svg(chart, paper))
        _button("HTML", "text/html", lambda: export.chart_html(chart, paper))
        _button("CSV", "text/csv", lambda: frame.to_csv(index=False).encode())
        _button("JSON", "application/json", as_json)
    with st.expander(f"Table ({len(frame):,} rows)"):
        st.dataframe(frame.head(TABLE_ROWS), hide_index=True, height=320)
        if len(frame) > TABLE_ROWS:
            st.caption(f"The first {TABLE_ROWS:,} rows; the CSV holds all.")


def _button(kind: str, mime: str, make: Callable[[], bytes]) -> None:
    st.download_button(
        kind, make, file_name=f"infoflow.{kind.lower()}", mime=mime, key=f"download_{kind.lower()}", on_click="ignore"
    )


def how(*functions: Callable[..., Any]) -> None:
    """The source of the very functions that made the numbers: an explanation that can't drift from the code."""
    for function in functions:
        st.code(inspect.getsource(function), language="python", height=320)
