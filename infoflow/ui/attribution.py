"""Which tokens raise a logit? A question asked of the run that the Information flow page shows."""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from infoflow.analyses.attribution import Attribution, AttributionRequest, Direct
from infoflow.analyses.flow import Flow
from infoflow.charts import signed as charts
from infoflow.summaries.sentence import would_say
from infoflow.tables import attribution as tables
from infoflow.text.contrasts import proposals, seen
from infoflow.text.tokens import unique, visible
from infoflow.ui import blocks, results
from infoflow.ui import contrast as contrasts
from infoflow.ui.asking import Asked
from infoflow.ui.controls import picked_head, token
from infoflow.ui.information_flow import scope_of
from infoflow.ui.places import Places

TARGET = """A likely next token (also by a click on it above the last column), or any text that is one token here."""
AGAINST = """With one, the bars show the difference of the two logits, which a constant added to all logits does not
change."""
CENTRED = (
    """Take the mean of all logits off: how far the target is above the average token. A token to hold against does this too."""
)
DIRECT_HELP = """**folded**: each write goes through the frozen final norm, and all of them sum to the logit. **without
norm**: the form published tools use, z·W_O·W_U; it leaves the final norm's gain and scale out, and sums to something else."""
CONTRASTS = Places("contrast_of_logit")
DIRECT_HOW = """*Direct*: what each head and each MLP writes into this position itself, by its product with the target's
direction; what a later layer makes of it is not counted. The bars above follow every path from the source tokens. A head can
carry much of a source here ("Who carried it?") and write little of the logit itself, or the other way round."""


def logit(asked: Asked, flow: Flow, hidden: Sequence[int], clicked: int | None, dark: bool) -> pd.DataFrame:
    """Signed contributions of each source to a logit or a difference, as bars and as coloured text; returns them all.

    Likely next tokens were split by the run itself; anything else runs the model.
    """
    names = unique([f"{visible(t.token)}  ({t.probability:.0%})" for t in flow.targets])
    titles = dict(zip([t.id for t in flow.targets], names, strict=True))
    scope = scope_of(flow)  # another prompt has other likely tokens
    if clicked is not None and clicked != st.session_state.get("flow_clicked"):
        st.session_state[f"flow_target_{scope}"] = clicked
    st.session_state["flow_clicked"] = clicked
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        target = token("Target", titles, f"flow_target_{scope}", TARGET)
        against = token("against", titles, f"flow_against_{scope}", AGAINST, optional=True)
        near = proposals(asked.prompt, lambda text: len(text.split()))  # how many tokens they are is known to the model alone
        held_against = contrasts.contrast(asked.prompt, near, CONTRASTS, scope, 220)
        quantity = contrasts.shown("flow_show", held_against is not None)
        centred = st.toggle("Centred", key="flow_centred", help=CENTRED, bind="query-params", disabled=against is not None)
        writers = st.toggle("Heads and MLPs", key="flow_writers", help=DIRECT_HOW, bind="query-params")
        direct = (
            st.selectbox("Direct attribution", list(Direct), key="flow_direct", help=DIRECT_HELP, bind="query-params")
            if writers
            else Direct.FOLDED
        )
    likeliest = flow.top[0].id
    target = likeliest if target is None else target
    table, found, capped = None, None, ""
    with blocks.reporting_errors():
        kept = all(t is None or t in titles for t in (target, against))
        if writers or not kept or (centred and against is None) or held_against is not None:
            found = _attribution(
                AttributionRequest(
                    model=asked.model, prompt=asked.prompt, target=target, against=against, centred=centred,
                    direct=direct or Direct.FOLDED, contrast=held_against, interventions=asked.interventions,
                ), asked.key, scope,
            )  # fmt: skip
            table, capped = tables.attributed(flow, found, quantity), found.note
        else:
            both = int(target), None if against is None else int(against)
            table, capped = tables.logit_parts(flow, *both), tables.cap_note(flow, *both)
    if table is None:  # the message above says why
        return tables.logit_parts(flow, likeliest)
    shown = table[~table["source"].isin(list(hidden))].sort_values("source")
    whole = "logit difference" if against is not None else "centred logit" if centred else "logit"
    what = whole if quantity == contrasts.Shown.OWN else f"{quantity} part of the {whole}"
    bars, text = st.columns([1.5, 1], gap="medium", vertical_alignment="center")
    with bars:
        chart = charts.columns(shown.rename(columns={"source_label": "label"}), title=contrasts.axis(quantity, whole), dark=dark)
        says = f"Contribution of each source to the {what}. {blocks.largest(shown, 'source_label', 'logit', '+.2f')}"
        blocks.chart(chart, key="logit_bars", alt=says)
    with text:
        blocks.coloured(tables.coloured_pieces(flow, table, hidden), dark)
    total, aside = table["logit"].sum(), table.loc[table["source"].isin(list(hidden)), "logit"].sum()
    note = f" Hidden sources give {aside:+.2f} of it." if len(hidden) else ""
    st.caption(f"All {len(table)} sources together give the {what}: {total:+.2f}.{note} {capped} {_hindsight(found)}")
    if writers and found is not None:
        _writers(found, whole, dark)
    return table if found is None else tables.attributed(flow, found)


def _hindsight(found: Attribution | None) -> str:
    """What is to be said of hindsight: that it is in there, or what a contrast takes out."""
    if found is None or found.specific is None or found.contrast is None:
        return contrasts.WITHOUT
    said = would_say(found.by_source, found.specific, found.position_labels)
    given = seen(found.contrast, found.total, found.contrast_total or 0.0, float(found.specific.sum()))
    return blocks.plain(f"{said.text} {given}")


def _attribution(request: AttributionRequest, key: str, scope: str) -> Attribution:
    def stop() -> None:  # back to what needs no run
        st.session_state.update({"flow_writers": False, "flow_centred": False})
        st.session_state.update({f"flow_target_{scope}": None, f"flow_against_{scope}": None})
        CONTRASTS.choose(scope, "")

    return results.of(request, key, "logit", stop)


def _writers(found: Attribution, what: str, dark: bool) -> None:
    """Heads and MLPs by what they write directly."""
    table = tables.writers(found)
    chart = charts.grid(table, "column", "row", "logit", dark=dark)
    named = table.assign(name=table["row"] + " " + table["column"])
    says = f"Direct contribution of each head and MLP. {blocks.largest(named, 'name', 'logit', '+.2f')}"
    blocks.chart(chart, key="writers", on_select="rerun", selection_mode="head", alt=says)
    heads = table[table["head"] >= 0]
    best = heads.loc[heads["logit"].abs().idxmax()]
    picked_head("writers", (int(best["layer"]), int(best["head"])))
    sums = "" if found.direct == "folded" else f" In this form they sum to {found.direct_total:+.2f}, not to the {what}."
    rest = f"Embedding {found.embedding:+.2f}, biases {found.direct_bias:+.2f}; all together {found.direct_total:+.2f}."
    st.caption(f"{DIRECT_HOW} {rest}{sums}")
