"""The controls and pieces of the Circuits page."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st

from infoflow.analyses.attention import Attention
from infoflow.analyses.attribution import Attribution, AttributionRequest
from infoflow.analyses.circuits import Circuit
from infoflow.analyses.location import Location, LocationRequest
from infoflow.analyses.readers import Readers, ReadersRequest
from infoflow.analyses.request import Prompt
from infoflow.charts.heads_3d import Edge, Labels
from infoflow.metrics.heads import without_sinks
from infoflow.models.spec import ModelSpec
from infoflow.pictures import readers as reading
from infoflow.pictures.circuits import picture
from infoflow.pictures.picture import Picture
from infoflow.studies.roles import Roles
from infoflow.summaries import circuits as sentences
from infoflow.summaries import readers as read_by
from infoflow.summaries import roles as verdicts
from infoflow.summaries.sentence import Sentence, spoken
from infoflow.tables import attention as attention_tables
from infoflow.tables import circuits as tables
from infoflow.text.contrasts import of_its_kind
from infoflow.text.ranges import as_number
from infoflow.ui import blocks, controls
from infoflow.ui.answer import AGAINST, RIVALS, TARGET, TARGETS
from infoflow.ui.asking import preset_of
from infoflow.ui.heads_3d import heads_3d

INTRO = """Which heads and MLPs write the answer, what do they do, and does the answer need them? Each is held against the run
itself: parts that play a known role are knocked out together, and the answer is read again."""
USE = """Green writes towards the answer, magenta away; the parts sum to it. Click a head to see its kind and where it looks. The
verdicts say which roles this prompt's answer needs; **Minimal circuit** finds the fewest parts that keep it."""
HOW = """Direct contributions: with the final norm frozen, what each head and MLP writes is read off by the unembedding. A part is
knocked out by what stands in its place in the mean over neutral texts, and all that follows is let follow. The code that finds
the roles and the minimal circuit:"""
PATH = """Lines join the strongest heads of each layer, so many a layer, to those of the next: where the answer may pass. They are
drawn from direct contributions; which paths carry it is what Patching and Answer tell."""
KEEP = """The share of the lead that the circuit shall keep with all else knocked out."""
SEARCH = "Minimal circuit"
SAID = """Parts are knocked out greedily, the least harmful first; another set may be smaller. A part that is not in it may still
write: others can stand in for it."""
SOLID = "All heads in three dimensions"
GRAPH = "Contribution graph: along which paths did it come?"
THRESHOLD = (
    """The least share of the logit that a move must carry to be kept. The share that all kept paths carry together is told."""
)
LOOKS, WRITES, MOVES = "looks at", "writes", "moves"
SHOW = """**looks at**: its kind, its scores and its largest weights. **writes**: the tokens that it promotes and suppresses, and
which later heads and MLPs take on what it writes. **moves**: from which token to which it brings its part of the answer."""
CHART, HELD = "circuit_written", "circuit_head"


@dataclass(frozen=True)
class View:
    """What is asked, and how it is drawn."""

    target: int | str | None
    against: int | str | None
    path: int
    keep: float


def view(model: ModelSpec, prompt: Prompt) -> View:
    """The row of controls above the map; the answer is the one that the Answer page looks for."""
    scope = hashlib.sha256(repr((model, prompt)).encode()).hexdigest()[:12]
    with controls.row():
        target = controls.held_choice("Target", {}, TARGETS, scope, TARGET, "the likeliest", 170)
        against = controls.held_choice("against", {}, RIVALS, scope, AGAINST, "a rival", 170)
        path = st.slider("Path", 0, 4, 0, key="circuit_path", help=PATH, bind="query-params", width=170)
        keep = st.slider(
            "Keep", 0.5, 0.95, 0.8, 0.05, key="circuit_keep", help=KEEP, bind="query-params", width=190, format="percent"
        )  # fmt: skip
    return View(_token(target), _token(against), int(path), float(keep))


def _token(chosen: str | None) -> int | str | None:
    token = as_number(chosen[1:]) if chosen is not None and chosen[:1] == "#" else None
    return chosen if token is None else token


def written_of(shown: LocationRequest, where: Location) -> AttributionRequest:
    """What each part writes of the answer. Where nothing to hold it against is chosen: of its lead over a word of its kind that
    stands in the prompt, else over the next likeliest token."""
    rival = next((token.id for token in where.top if token.id != where.target), None)
    alike = of_its_kind(where.target_name, where.tokens)
    if alike is not None and where.provenance.ids[alike] != where.target:
        rival = where.provenance.ids[alike]
    return AttributionRequest(
        model=shown.model, prompt=shown.prompt, target=where.target, against=rival if where.against is None else where.against,
        interventions=shown.interventions,
    )  # fmt: skip


def verdicts_of(found: Roles, prompt: str) -> Sequence[Sentence]:
    """Of an example those on its known circuit, else on all roles that are played."""
    preset = preset_of(prompt)
    return (verdicts.of_example(found, preset.key) if preset is not None else ()) or verdicts.sentences(found)


def looked_at(found: Attribution, scope: str) -> tuple[int, int]:
    """Layer and head that were clicked in the map or in three dimensions (-1: a layer's MLP); else the head that writes most."""
    held = st.session_state.get(f"{HELD}_{scope}")
    layers, heads = found.by_head.shape
    best = divmod(int(found.by_head.argmax()), heads)
    return held if held is not None and held[0] < layers and held[1] < heads else best


def pick(scope: str) -> None:
    """A head or an MLP of the map was clicked."""
    clicked = next(iter(st.session_state[CHART].selection.get("head") or []), None)
    if clicked is not None:
        st.session_state[f"{HELD}_{scope}"] = (int(clicked["layer"]), int(clicked["head"]))


def solid(found: Attribution, path: int, scope: str) -> None:
    """Every head in three dimensions: how much it writes, which way, and the path."""
    with blocks.fold(SOLID, "solid") as is_open:
        if not is_open:
            return
        layer, head = looked_at(found, scope)
        labels = Labels(height="how much the head writes of the answer", colour="towards the answer, or away from it")
        edges = [Edge(a, b, float(found.by_head[b])) for a, b in tables.edges(found, path)] if path else []
        now = (layer, head) if head >= 0 else None
        size = np.abs(found.by_head)
        picked = heads_3d(size, found.by_head, labels, edges, f"circuit_solid_{scope}", now)
        st.caption("Drag turns it, a click selects a head. The map above says the same, and the MLPs beside.")
        if picked is not None and picked != now:
            st.session_state[f"{HELD}_{scope}"] = picked
            st.rerun()


def threshold() -> float:
    """Which moves the graph keeps."""
    least = st.slider(
        "Threshold", 0.01, 0.10, 0.04, 0.01, key="circuit_threshold", help=THRESHOLD, bind="query-params", width=320,
        format="percent",
    )  # fmt: skip
    return float(least)


def readers_of(shown: LocationRequest, found: Attribution, scope: str) -> ReadersRequest:
    """What reads the head or MLP that is looked at."""
    layer, head = looked_at(found, scope)
    return ReadersRequest(
        model=shown.model, prompt=shown.prompt, layer=layer, head=head, target=found.target, against=found.against,
        interventions=shown.interventions,
    )  # fmt: skip


def inspector(read: Readers, circuit: Circuit | None, dark: bool) -> str:
    """The head or MLP that is looked at: what it writes and what reads it. Gives what is to be shown of it."""
    name = f"{read.name[0].upper()}{read.name[1:]}"
    st.markdown(f"**{name}** writes {read.direct:+.2f} of {read.logit_total:+.2f} directly.")
    st.caption(blocks.plain(spoken(read_by.sentences(read))))
    if circuit is not None:
        st.markdown(f"Knocked out alone it takes {circuit.knocked[read.layer, read.head]:+.2f} from the lead.")
    of_mlp = read.moves is None
    show = WRITES if of_mlp else controls.choice("Show", [LOOKS, WRITES, MOVES], LOOKS, "circuit_show", SHOW)
    if show == WRITES:
        _drawn(reading.tokens(read, dark), "circuit_tokens", "Promoted and suppressed")
        _drawn(reading.picture(read, dark), "circuit_readers", "By what takes it on first")
    elif show == MOVES:
        _drawn(reading.moves(read, dark), "circuit_moves", "From where to where")
    return show


def _drawn(drawn: Picture, key: str, heading: str) -> None:
    st.markdown(f"**{heading}**")
    blocks.chart(drawn.chart, key=key, alt=f"{drawn.title}. {drawn.note}")
    st.caption(blocks.plain(drawn.note))


def looks(attn: Attention, layer: int, head: int) -> None:
    """A head's kind, and where it looks."""
    st.dataframe(attention_tables.inspector(attn, layer, head, attn.scores, 0.4), hide_index=True, height=250)
    weight = {"weight": st.column_config.NumberColumn("weight", format="percent")}
    pairs = attention_tables.pairs(without_sinks(attn.pattern[layer, head], [0], False), attn.position_labels)
    st.dataframe(pairs, hide_index=True, column_config=weight, height=215)
    controls.head_link(layer, head)


def roles_table(found: Roles) -> None:
    """Every role that is played, in numbers."""
    table = tables.played(found)
    percent = {name: st.column_config.NumberColumn(name, format="percent") for name in ("writes directly", "left without")}
    st.dataframe(blocks.ticked(table), hide_index=True, column_config=percent)


def minimal(found: Circuit, dark: bool) -> Any:
    """The minimal circuit's map and words."""
    drawn = picture(found, dark)
    said = spoken(sentences.sentences(found))
    st.markdown(blocks.plain(said))
    blocks.chart(drawn.chart, key="circuit_members", alt=f"The minimal circuit. {said}")
    st.caption(blocks.plain(f"{drawn.note} {SAID}"))
    return drawn
