"""Why did the head look there? A question asked of one cell of the map on the Attention page."""

from functools import partial

import streamlit as st

from infoflow.analyses.attention import Attention
from infoflow.analyses.query_key import QueryKey, QueryKeyRequest
from infoflow.charts import signed
from infoflow.files import formats
from infoflow.pictures import query_key as pictures
from infoflow.settings import settings
from infoflow.summaries.query_key import sentences
from infoflow.summaries.sentence import spoken
from infoflow.tables import query_key as tables
from infoflow.tables.attention import Level
from infoflow.ui import blocks, results
from infoflow.ui.asking import Asked
from infoflow.ui.attention import MapView
from infoflow.ui.controls import choice

TITLE = "Why did the head look there?"
FOLD = "query_key"
FROM = """The position that looks. A click on a cell of the map chooses both."""
AT = """The position that it looks at; at first the one it looks at most, a first token that is a sink apart."""
AGAINST = """Another position that it could have looked at: what is split then is how much higher the score is than that one's. A
softmax compares scores: what is added to all of a row changes nothing."""
SOURCES = """What is kept apart, in the query and in the key."""
SAID = """The query and the key are sums over sources, patterns, gates and norm scales of the layers below held fixed; each part
is one source's piece of the query times one source's piece of the key. Green raises the score, magenta lowers it. A score
matters only beside the others of its row."""
SPANS = "32 spans"
"""a grouping by which a prompt of any length is few sources"""
MOST = 12
"""parts that are named"""


def asked_why(asked: Asked, attn: Attention, view: MapView, dark: bool) -> None:
    """The score behind one weight of the head that is looked at, by source on both sides."""
    with blocks.fold(TITLE, FOLD) as is_open:
        if not is_open:
            return
        if view.level != Level.HEAD:
            st.caption(
                "A mean of heads has no score of its own. Show one head (More: Show), or click one in the map of all heads."
            )
            return
        query, key, against, sources = _chosen(attn, view)
        with blocks.reporting_errors():
            request = QueryKeyRequest(
                model=asked.model, prompt=asked.prompt, layer=view.layer, head=view.head, query=query, key_position=key,
                against=against, sources=sources, interventions=asked.interventions,
            )  # fmt: skip
            _shown(results.of(request, asked.key, FOLD), dark)


def pick_cell(chart: str, layer: int, head: int) -> None:
    """A cell of the map was clicked: it is the one that is asked about, where the question is open."""
    found = next(iter(st.session_state[chart].selection.get("cell") or []), None)
    if found:
        query = int(found["dest"])
        st.session_state.update({"attn_from": query, _key_of(layer, head, query): int(found["src"])})


def _key_of(layer: int, head: int, query: int) -> str:
    return f"attn_at_{layer}_{head}_{query}"


def _chosen(attn: Attention, view: MapView) -> tuple[int, int, int | None, str]:
    """Query, key, what it is held against, and what is kept apart."""
    n, names = len(attn.tokens), [f"{p} {name}" for p, name in enumerate(attn.position_labels)]
    if st.session_state.get("attn_from", 0) not in range(n):
        st.session_state.pop("attn_from", None)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        query = int(st.selectbox(
            "From", range(n), index=n - 1, format_func=names.__getitem__, key="attn_from", help=FROM, bind="query-params",
            width=190,
        ))  # fmt: skip
        row = attn.pattern[view.layer, view.head, query, : query + 1].copy()
        if query and row[1:].any():
            row[0] = 0.0
        key = int(st.selectbox(
            "at", range(query + 1), index=int(row.argmax()), format_func=names.__getitem__,
            key=_key_of(view.layer, view.head, query), help=AT, persist_state="session", width=190,
        ))  # fmt: skip
        others = [p for p in range(query + 1) if p != key]
        if st.session_state.get("attn_against") not in others:
            st.session_state["attn_against"] = None
        against = st.selectbox(
            "rather than at", others, index=None, format_func=names.__getitem__, key="attn_against", placeholder="nothing",
            help=AGAINST, persist_state="session", width=190,
        )  # fmt: skip
        fits = "tokens" if n <= settings().max_tokens else SPANS
        sources = choice("Sources", ["tokens", "words", SPANS], fits, "attn_sources", SOURCES)
    return query, key, against, sources


def _shown(found: QueryKey, dark: bool) -> None:
    draw, said = partial(pictures.picture, found), sentences(found)
    drawn = draw(dark=dark)
    st.markdown(blocks.plain(spoken(said)))
    blocks.warn_if_off(found.max_error, found.provenance, "Parts do not add up to the score")
    left, right = st.columns([1.5, 1], gap="large")
    with left:
        blocks.chart(drawn.chart, key="query_key_map", alt=f"Parts of the score by source of query and key. {spoken(said)}")
        st.caption(blocks.plain(drawn.note))
    with right:
        largest = tables.largest(found, MOST)
        st.markdown("**Largest parts**: query × key")
        bars = signed.ranking(largest, "part", "+.2f", dark)
        blocks.chart(bars, key="query_key_parts", alt=f"Largest parts. {blocks.largest(largest, 'name', 'part', '+.2f')}")
    for column, side, table in zip(st.columns(2, gap="large"), ("query", "key"), tables.sides(found), strict=True):
        with column:
            st.markdown(f"**By source of the {side}**, whatever the other's")
            says = f"Parts by source of the {side}. {blocks.largest(table, 'label', 'part', '+.2f')}"
            blocks.chart(signed.columns(table, "part", "score", dark), key=f"query_key_{side}", alt=says)
    st.caption(SAID)
    blocks.downloads(drawn, partial(formats.as_json, found), dark, found.provenance, FOLD, found, draw)
