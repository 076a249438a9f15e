"""Where does each head look, and what kind of head is it?"""

from functools import partial

import streamlit as st

from infoflow.analyses.attention import Attention, AttentionRequest, CalibrationRequest, Weighting
from infoflow.charts import attention as charts
from infoflow.charts import signed
from infoflow.charts.palette import source_colours
from infoflow.files import formats
from infoflow.metrics import heads
from infoflow.pictures.attention import attention_map, head_map
from infoflow.pictures.picture import identity
from infoflow.summaries.attention import sentences
from infoflow.summaries.sentence import spoken
from infoflow.tables import attention as tables
from infoflow.ui import asking, blocks, controls, frame, query_key, results
from infoflow.ui import attention as ui

NAME = "Attention"
head = frame.page(NAME, ui.INTRO, ui.USE, ("head", "layer", "logit", "attention sink"))
asked, _ = asking.question()
result = results.last_good(
    NAME, AttentionRequest(model=asked.model, prompt=asked.prompt, interventions=asked.interventions), asked.key
)


@st.fragment
def picture(shown: AttentionRequest, attn: Attention) -> None:
    """The map, all heads, and what follows from the chosen one: reruns alone."""
    dark, scope = frame.dark(), identity(attn.provenance, attn.prompt_ids)
    n_layers, n_heads, n, _ = attn.pattern.shape
    view = ui.map_view(attn, scope)
    if n == 1:
        st.info(ui.ONE)
    first, last = view.tokens
    said = sentences(attn)
    blocks.says(said, ui.go)
    found = tables.view(attn, view.level, view.layer, view.head, view.weighting, view.sinks)
    part, tokens = found.weights[first : last + 1, first : last + 1], attn.position_labels[first : last + 1]
    left, right = st.columns([1.5, 1], gap="large")
    with left:
        draw = partial(attention_map, attn, found, view.weighting, (first, last), view.sinks)
        drawn = draw(dark=dark)
        says = f"Attention, {found.title}: weights by destination and source. {spoken(said)}"
        map_key = f"attn_map_{scope}"
        pick = partial(query_key.pick_cell, map_key, view.layer, view.head)
        blocks.chart(drawn.chart, key=map_key, on_select=pick, selection_mode="cell", alt=says)
        st.caption(f"**{found.title}**, {view.weighting}. {blocks.plain(drawn.note)} {controls.part_shown(n, view.tokens)}")
        st.markdown(f"**What the last token attends to, by word**: {found.title.lower()}, {view.weighting}")
        bars = tables.attended(found.weights, attn.word_labels)
        by_word = signed.columns(bars, "share", "share of its row", dark, form=".0%")
        says = f"What the last token attends to. {blocks.largest(bars, 'label', 'share')}"
        blocks.chart(by_word, key="attn_words", alt=says)
    with right:
        overview = st.container()  # above its own controls
        metric, basis, threshold = ui.scores_view(tables.HEAD_METRICS)
        scores = attn.scores
        if basis != "this prompt":
            with blocks.reporting_errors():
                asked_of = CalibrationRequest(model=shown.model)
                scores = results.of(asked_of, asked.key, "calibrate", lambda: st.session_state.update(attn_basis="this prompt"))
        table = tables.head_map(attn, metric, scores, threshold)
        every = head_map(attn, table, metric, (view.layer, view.head), dark)
        key = f"attn_heads_{scope}"
        with overview:
            says = f"All heads by {metric}. {blocks.largest(ui.named_heads(table), 'name', 'value', '.2f')}"
            blocks.chart(every.chart, key=key, on_select=lambda: ui.pick_head(key), selection_mode="head", alt=says)
            notes = f"{tables.HEAD_METRICS[metric]} Kinds from {scores.basis}. {ui.LETTERS} {tables.evidence(scores)}"
            st.caption(f"**All heads by {metric}.** {notes}")
        with st.popover("Download this map"):
            blocks.downloads(every, lambda: formats.frame_json(every.frame, attn.provenance), dark, attn.provenance, "heads_")
        st.markdown(f"**Layer {view.layer}, head {view.head}**", help=ui.KINDS)
        st.dataframe(tables.inspector(attn, view.layer, view.head, scores, threshold), hide_index=True)
    query_key.asked_why(asked, attn, view, dark)
    more = ui.more_maps()
    if "all heads" in more:
        st.markdown(f"**All heads of layer {view.layer}, and the mean of every layer**, {view.weighting}")
        inside = slice(max(first, last - ui.SMALL_WINDOW + 1), last + 1)
        weights = attn.weighted(view.weighting)[:, :, inside, inside]
        kept = (
            weights
            if view.sinks == tables.Sink.SHOWN
            else heads.without_sinks(weights, [0], view.sinks == tables.Sink.RENORMALISED)
        )
        names = [f"head {h}" for h in range(n_heads)]
        blocks.chart(
            charts.small_maps(kept[view.layer], names, 8, dark),
            key="attn_small",
            alt=f"{n_heads} maps of layer {view.layer}, {view.weighting}",
        )
        means = [f"layer {i}: mean of {n_heads} maps" for i in range(n_layers)]
        blocks.chart(
            charts.small_maps(kept.mean(1), means, 6, dark),
            key="attn_means",
            alt=f"{n_layers} means, one a layer, {view.weighting}",
        )
        st.caption(ui.SMALL)
    if "weightings" in more:
        st.markdown(f"**The same by all three weightings**: {found.title.lower()}")
        each = tables.weightings(attn, view.level, view.layer, view.head, view.sinks)[:, first : last + 1, first : last + 1]
        three = charts.small_maps(each, list(Weighting), 3, dark)
        blocks.chart(three, key="attn_three", alt="Pattern, value-weighted and contribution side by side")
        st.caption(ui.SMALL)
    if "arcs" in more:
        least = ui.least_weight() * max(float(part.max()), 1e-12)
        arcs = charts.arcs(drawn.frame, list(tokens), source_colours(tokens, dark=dark), least, dark)
        blocks.chart(arcs, key="attn_arcs", alt=f"Arcs, {found.title}. {spoken(said)}")
    if "largest pairs" in more:
        st.dataframe(tables.pairs(part, tokens), hide_index=True, column_config=ui.WEIGHT_COLUMN)
    blocks.downloads(drawn, lambda: formats.frame_json(drawn.frame, attn.provenance), dark, attn.provenance, "", attn, draw)


if result is not None:
    frame.shown(head, *result)
    picture(result[0], result[1].result)
    blocks.how(ui.HOW, "infoflow.traced.attention.patterns", "infoflow.metrics.heads.score")
