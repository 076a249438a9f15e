"""Where does each head look, and what kind of head is it?"""

import streamlit as st

from infoflow import attention_tables as tables
from infoflow import export, heads, pictures
from infoflow.analyses.attention import WEIGHTINGS, Attention
from infoflow.analyses.attention_trace import patterns
from infoflow.charts import attention as charts
from infoflow.charts import signed
from infoflow.charts.palette import source_colours
from infoflow.ui import blocks, cache, inputs, jobs, runs, texts, views

NAME = "Attention"
inputs.page(NAME, texts.ATTN_INTRO)
asked = inputs.question(apart=False)
result = runs.last_good(
    "attention", NAME, inputs.Looking.at(asked), lambda q, job: cache.patterns(q.place, q.model, q.prompt, job)
)


@st.fragment
def picture(shown: inputs.Question, attn: Attention) -> None:
    """The map, all heads, and what follows from the chosen one: reruns alone."""
    dark, scope = inputs.dark(), pictures.identity_of(attn.provenance, attn.prompt_ids)
    n_layers, n_heads, n, _ = attn.pattern.shape
    view = views.map_view(tables.LEVELS, WEIGHTINGS, tables.SINKS, n_layers, n_heads)
    if n == 1:
        st.info(texts.ATTN_ONE)
    first, last = views.tokens_shown(n, views.MAP_WINDOW, "attn_tokens")
    found = tables.view(attn, view.level, view.layer, view.head, view.weighting, view.sinks)
    part, tokens = found.weights[first : last + 1, first : last + 1], attn.tokens[first : last + 1]
    left, right = st.columns([1.5, 1], gap="large")
    with left:
        st.markdown(f"**{found.title}**, {view.weighting}")
        chart = charts.heatmap(tables.matrix(part, tokens), view.weighting, dark)
        st.altair_chart(chart, key=f"attn_map_{scope}", alt=f"Attention, {found.title}: weights by destination and source")
        sink = f"On average {found.sink:.0%} of a later row lies on {blocks.plain(attn.tokens[0])}; here it is {view.sinks}."
        none = f" {found.missing:.0%} lies on a sink that is no token." if found.missing > 1e-3 else ""
        st.caption(f"{sink}{none} {texts.ATTN_USE}")
    with right:
        metric, basis, threshold = views.scores_view(tables.HEAD_METRICS)
        scores = attn.scores
        if basis != "this prompt":
            with blocks.reporting_errors():
                work = lambda job: cache.calibrated(shown.place, shown.model, job)  # noqa: E731
                scores = jobs.run(work, on_cancel=lambda: st.session_state.update(attn_basis="this prompt"), name="calibrate")
        every = charts.overview(tables.head_map(attn, metric, scores, threshold), metric, (view.layer, view.head), dark)
        key = f"attn_heads_{scope}"
        st.altair_chart(
            every, key=key, on_select=lambda: views.pick_head(key), selection_mode="head", alt=f"All heads by {metric}"
        )
        st.caption(f"{tables.HEAD_METRICS[metric]} Kinds from {scores.basis}. P previous token, D duplicate token, I induction.")
        st.markdown(f"**Layer {view.layer}, head {view.head}**", help=texts.ATTN_KINDS)
        st.dataframe(tables.inspector(attn, view.layer, view.head, scores, threshold), hide_index=True)
    st.markdown(f"**What the last token attends to, by word**: {found.title.lower()}, {view.weighting}")
    bars = tables.attended(found.weights, attn.word_labels)
    st.altair_chart(
        signed.columns(bars, "share", "share of its row", dark, form=".0%"),
        key="attn_words",
        alt="What the last token attends to",
    )
    more = views.more_maps()
    if "all heads" in more:
        st.markdown(f"**All heads of layer {view.layer}, and the mean of every layer**, {view.weighting}")
        inside = slice(max(first, last - views.SMALL_WINDOW + 1), last + 1)
        weights = attn.weighted(view.weighting)[:, :, inside, inside]
        kept = weights if view.sinks == tables.SINKS[0] else heads.without_sinks(weights, [0], view.sinks == tables.SINKS[2])
        names = [f"head {h}" for h in range(n_heads)]
        st.altair_chart(charts.small_maps(kept[view.layer], names, 8, dark), key="attn_small", alt="Maps of all heads")
        means = [f"layer {i}: mean of {n_heads} maps" for i in range(n_layers)]
        st.altair_chart(charts.small_maps(kept.mean(1), means, 6, dark), key="attn_means", alt="Means of all layers")
        st.caption(texts.ATTN_SMALL)
    if "weightings" in more:
        st.markdown(f"**The same by all three weightings**: {found.title.lower()}")
        each = tables.weightings(attn, view.level, view.layer, view.head, view.sinks)[:, first : last + 1, first : last + 1]
        three = charts.small_maps(each, list(WEIGHTINGS), 3, dark)
        st.altair_chart(three, key="attn_three", alt="Pattern, value-weighted and contribution side by side")
        st.caption(texts.ATTN_SMALL)
    table = tables.matrix(part, tokens)
    if "arcs" in more:
        least = views.least_weight() * max(float(part.max()), 1e-12)
        arcs = charts.arcs(table, list(tokens), source_colours(tokens, dark=dark), least, dark)
        st.altair_chart(arcs, key="attn_arcs", alt=f"Arcs, {found.title}")
    if "largest pairs" in more:
        st.dataframe(tables.pairs(part, tokens), hide_index=True, column_config=views.WEIGHT_COLUMN)
    blocks.downloads(chart, table, lambda: export.frame_json(table, attn.provenance), dark)


if result is not None:
    picture(*result)
    with st.expander("How is it computed?"):
        st.markdown(texts.ATTN_HOW)
        blocks.how(patterns, heads.score)
