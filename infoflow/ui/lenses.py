"""Every kind of lens on the same rows of the same run, and which to believe."""

from dataclasses import replace

import streamlit as st

from infoflow.analyses.logit_lens import KINDS, Lens, LensRequest
from infoflow.charts import lenses as charts
from infoflow.errors import Cancelled, InfoflowError
from infoflow.tables import lenses as tables
from infoflow.text.contrasts import BANK
from infoflow.text.rows import row_title
from infoflow.ui import blocks, results
from infoflow.ui.controls import choice
from infoflow.ui.frame import dark

RUNS = "Every lens is a run of its own, on these tokens, each held against neutral texts."
THROUGH = """The output's token at this position, as each lens reads it; hollow where a neutral text's state reads it too. A lens
that names it early, and of this prompt alone, has found something; where it is hollow, it knows it from elsewhere."""


def every_lens(request: LensRequest, key: str, lens: Lens, at: tuple[str, int]) -> None:
    """The chosen cell by every lens, the output's token through the rows, and how far each can be believed."""
    if not st.toggle("Read by every lens", key="lens_every", help=RUNS, bind="query-params"):
        st.caption(RUNS)
        return
    found, missing = _read(request, key)
    row, position = at
    if found:
        _shown(found, row, position)
    for kind, why in missing.items():
        st.caption(f"**{kind}**: {blocks.plain(why)}")


def _read(request: LensRequest, key: str) -> tuple[dict[str, Lens], dict[str, str]]:
    """The same rows by every lens, and why the others can't be had."""
    found: dict[str, Lens] = {}
    missing: dict[str, str] = {}
    for kind in KINDS:
        asked = replace(request, kind=kind, read="own", rows=None, mids=False, contrast=BANK)
        if kind != request.kind:
            asked = replace(asked, lens=None)
        try:
            found[kind] = results.of(asked, key, f"lens_{kind}", _stop)
        except Cancelled:
            raise
        except InfoflowError as error:
            missing[kind] = str(error)
    return found, missing


def _stop() -> None:
    st.session_state["lens_every"] = False


def _shown(found: dict[str, Lens], row: str, position: int) -> None:
    any_lens = next(iter(found.values()))
    read = row.replace(".mid", ".post")
    st.markdown(f"**{row_title(read)}**, position {position}: {blocks.plain(any_lens.position_labels[position])}")
    percent, number = st.column_config.NumberColumn(format="percent"), st.column_config.NumberColumn(format="%.2f")
    st.dataframe(
        tables.cell(found, read, position), hide_index=True,
        column_config={"probability": percent, "changes": percent, "KL to output": number, "entropy": number},
    )  # fmt: skip
    lines = tables.through(found, position)
    since = ", ".join(f"{kind} {row_title(tables.known_from(lens, position))}" for kind, lens in found.items())
    blocks.chart(charts.through(lines, dark()), key="lenses_lines", alt=f"Names the output's token for good from: {since}.")
    st.caption(THROUGH)
    measure = choice("Believe by", list(tables.MEASURES), next(iter(tables.MEASURES)), "lens_measure")
    trusted = tables.trust(found)
    says = f"{measure} by row, for {', '.join(found)}."
    blocks.chart(charts.trust(trusted, measure, dark()), key="lenses_trust", alt=says)
    st.caption(f"{measure}: {tables.MEASURES[measure]}.")
