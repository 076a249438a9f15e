"""The controls and pieces of the Patching page."""

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import streamlit as st

from infoflow.analyses.causal import correlation
from infoflow.analyses.pairs import Pairs, PairsRequest
from infoflow.analyses.patching import Method, Patching, PatchRequest, Units
from infoflow.analyses.perform import Performed
from infoflow.analyses.request import Prompt, Request
from infoflow.analyses.sweeps import Direction, SweepRequest
from infoflow.charts import signed
from infoflow.errors import Cancelled, InfoflowError
from infoflow.interventions import AnyIntervention, Mean, Noise
from infoflow.metrics.effects import METRICS
from infoflow.models.spec import ModelSpec
from infoflow.pictures.patching import SITES
from infoflow.pictures.picture import identity
from infoflow.tables import pairs as paired
from infoflow.tables import patching as tables
from infoflow.text.alignment import Align
from infoflow.text.contrasts import difference
from infoflow.text.ranges import numbers, typed
from infoflow.ui import blocks, controls, jobs, results
from infoflow.ui.places import Places

INTRO = """Which parts of a run make the difference between two prompts? Each head, or each position of a layer, is taken from
the one run into the other, in a run of its own; what follows from it is let follow."""
USE = """Choose how the prompt is corrupted, and what is taken. The map fills as the runs come; beside it stands how well one
backward pass foretells them. Green moves the answer towards the clean run, magenta away. Click a head to see where it looks."""
HOW = """All runs of a pass stand side by side in one batch. A run that is patched in layer l joins it there, from the unpatched
run's residual; positions before the first that differs are computed once. The code that takes the parts, and what reads the
outcome:"""
CORRUPTED = """The other prompt, of as many tokens: one word is swapped, or any text that is typed. Or noise (three standard
deviations), or the mean, in the place of some embeddings."""
TARGET = """The answer of the clean run; its likeliest next token where nothing is chosen."""
AGAINST = """The answer of the corrupted run; its likeliest where nothing is chosen."""
SITE = """What is taken: of heads what they have gathered (z), their queries, keys, values or patterns; of a layer what attention
or the MLP adds, or the residual."""
METRIC = " ".join(f"**{name}**: {said}" for name, said in METRICS.items())
DIRECTION = """**denoising**: the clean run's part is taken into the corrupted run; what it brings back is enough. **noising**:
the corrupted run's into the clean one; what it breaks is needed."""
UNITS = """What one run patches. **auto**: a head, where heads are apart; else a position."""
LAYERS = """Which layers are patched: numbers, a range such as 3-5; nothing for all."""
AVERAGED = """Positions of the run that parts are taken from: their mean is put in at every patched one."""
PAIRS_OF = """The strongest heads of the map: each pair of them is patched together."""
POSITIONS = """Which positions are patched: numbers, a range such as 3-5; nothing for all."""
SPAN = """Whose embeddings are corrupted: numbers, a range such as 3-5; nothing for all."""
FROZEN = """Positions where attention and MLP keep writing what they write with nothing patched: what goes through them does not
count."""
ALIGN = """How prompts of unlike length are laid beside each other."""
RECEIVER = """**logits**, or a later head's queries, keys or values as 9.6.q: heads act along the paths to it alone."""
DRAWS = """Noise is drawn so many times, and the outcomes averaged."""
NOISE, MEAN = "noise on embeddings", "mean embedding"
PAIRS, TARGETS, RIVALS = Places("corrupted"), Places("patch_target"), Places("patch_against")
_PROPOSED, _WHOLE = "patch_proposed", "patch_whole"
MOST_PAIRED = 20
"""heads of which the page runs all pairs"""
PAIRS_TITLE = "Pairs of the strongest heads: do they do the same, or need each other?"


@dataclass(frozen=True)
class View:
    """How what was run is drawn."""

    metric: str
    shown: str
    """exact, or the estimate"""


def asked_of(model: ModelSpec, prompt: Prompt, interventions: Sequence[AnyIntervention]) -> tuple[PatchRequest, View]:
    """The row of controls above the map."""
    scope = hashlib.sha256(repr((model, prompt)).encode()).hexdigest()[:12]
    proposed: Sequence[str] = st.session_state.get(_PROPOSED, {}).get((model, prompt), ())
    with controls.row():
        titles = {text: difference(str(prompt), text) for text in proposed} | {NOISE: NOISE, MEAN: MEAN}
        first = titles[proposed[0]] if proposed else "one word swapped"
        other = controls.held_choice("Corrupted", titles, PAIRS, scope, CORRUPTED, first, 210)
        site = str(st.selectbox("Take", list(SITES), key="patch_site", help=SITE, bind="query-params", width=150))
        metric = st.selectbox(
            "Metric", list(METRICS), index=1, key="patch_metric", help=METRIC, bind="query-params", width=165
        )  # fmt: skip
        every: dict[str, Any] = {
            "patch_direction": str(Direction.DENOISING), "patch_units": str(Units.AUTO), "patch_align": str(Align.NONE),
            "patch_positions": "", "patch_span": "", "patch_frozen": "", "patch_receiver": "", "patch_draws": 1,
            "patch_shown": EXACT, "patch_layers": "", "patch_averaged": "",
        }  # fmt: skip
        with controls.more(every):
            target = controls.held_choice("Target", {}, TARGETS, scope, TARGET, "the clean run's likeliest", 240)
            against = controls.held_choice("against", {}, RIVALS, scope, AGAINST, "the corrupted run's likeliest", 240)
            shown = controls.choice("Show", [EXACT, ESTIMATE], EXACT, "patch_shown")
            direction = controls.choice("Direction", list(Direction), Direction.DENOISING, "patch_direction", DIRECTION)
            units = controls.choice("One run patches", list(Units), Units.AUTO, "patch_units", UNITS)
            where = _places("Positions", "patch_positions", POSITIONS)
            layers = numbers(_typed("Layers", "patch_layers", LAYERS, "all"), "layer")
            averaged = numbers(_typed("Mean over positions", "patch_averaged", AVERAGED, "none"), "position")
            span = _places("Noise or mean at", "patch_span", SPAN) if other in (NOISE, MEAN) else None
            frozen = _places("Frozen positions", "patch_frozen", FROZEN)
            align = controls.choice("Align at", list(Align), Align.NONE, "patch_align", ALIGN)
            receiver = _typed("Paths to", "patch_receiver", RECEIVER, "everything")
            draws = int(st.number_input("Draws of noise", 1, 32, 1, key="patch_draws", help=DRAWS, bind="query-params"))
    request = PatchRequest(
        model=model, prompt=prompt if isinstance(prompt, str) else "", corrupted=_corrupted(other, span), target=target,
        against=against, site=site, units=Units(units), positions=where, layers=layers,
        averaged=averaged, frozen=frozen, direction=Direction(direction),
        align=Align(align), draws=draws, receiver=receiver.strip(), interventions=tuple(interventions),
    )  # fmt: skip
    return request, View(str(metric), shown)


EXACT, ESTIMATE = "exact", "estimate"


def _places(title: str, key: str, help_text: str) -> tuple[int, ...] | None:
    return numbers(_typed(title, key, help_text, "none" if key == "patch_frozen" else "all"), "position")


def _typed(title: str, key: str, help_text: str, nothing: str) -> str:
    return str(st.text_input(title, key=key, placeholder=nothing, help=help_text, bind="query-params", max_chars=200) or "")


def _corrupted(chosen: str | None, where: tuple[int, ...] | None) -> str | AnyIntervention | None:
    """Another prompt, or noise or a mean on some embeddings."""
    if chosen == NOISE:
        return Noise("embed", positions=where)
    if chosen == MEAN:
        return Mean("embed", positions=where)
    return chosen


def estimate_of(request: PatchRequest) -> PatchRequest:
    """The same sweep from one backward pass; what has no estimate, a single layer of the exact one."""
    exact = request.model.hosted or request.receiver or request.frozen is not None
    first = (0,) if request.layers is None else request.layers[:1]
    return replace(request, layers=first) if exact else replace(request, method=Method.GRADIENT)


def first_look(name: str, request: PatchRequest, key: str) -> tuple[Request[Any], Performed[Patching]] | None:
    """What the page shows first, or the last good one. Where that is a part of the exact sweep, and the whole is too much, it is
    refused as a whole, with what may be run in its place."""
    look = estimate_of(request)
    with st.container():  # messages that come and go must not move what follows
        if look.method == Method.EXACT and _refused(request, key):
            return results.before(look.analysis, key)
    found = results.last_good(name, look, key)
    if found is not None and found[0] == look:
        st.session_state[_WHOLE] = request
    return found


def _refused(request: PatchRequest, key: str) -> bool:
    try:
        offers = results.refused(request, key, "patch_whole")
    except Cancelled:
        st.info("The run was stopped.", icon=":material/cancel:")
        return True
    except InfoflowError:
        return False  # the run itself tells it
    if offers is not None:
        offer(offers, "whole")
    return offers is not None


def note(request: PatchRequest, found: Patching) -> None:
    """What the controls offer for this prompt from now on: they are drawn before the run."""
    noted, of = st.session_state.setdefault(_PROPOSED, {}), (request.model, request.prompt)
    if of not in noted:
        noted[of] = found.proposals
        st.rerun()


def swept(
    request: PatchRequest,
    n_layers: int,
    run: Callable[[PatchRequest, float], Patching],
    draw: Callable[[list[Patching], int], None],
) -> list[Patching]:
    """The exact runs, some layers at a time; `draw` shows what is there so far. `run` takes the seconds until Cancel appears: a
    sweep of many quick parts can be stopped as a long one can."""
    found, begun = list[Patching](), time.monotonic()
    parts = request.slices(n_layers, max(4, -(-n_layers // 8)))
    for part in parts:
        found.append(run(part, max(0.0, jobs.PATIENCE - (time.monotonic() - begun))))
        if len(found) < len(parts):
            draw(found, len(parts))
    return found


def scope_of(found: Patching) -> str:
    """What the charts of two prompts belong to: what is picked in one is not picked in that of others."""
    return identity(found.provenance, found.provenance.ids, found.other_labels)


def aside(found: Patching, metric: str, dark: bool) -> None:
    """The strongest parts, what the two runs say, and the two prompts token by token."""
    table = tables.strongest(found, metric)
    form = tables.FORMS[metric]
    st.markdown(f"**Strongest single parts**, change of {metric.replace('_', ' ')}")
    says = f"Strongest parts. {blocks.largest(table, 'name', 'change', form)}"
    if heads_can_be_seen(found) and len(table):
        drawn = signed.ranking(table, "change", form, dark)
        key = f"patch_ranking_{scope_of(found)}"
        blocks.chart(drawn, key=key, on_select="rerun", selection_mode="head", alt=says)
        controls.picked_head(key, (int(table["layer"].iloc[0]), int(table["head"].iloc[0])))
    else:
        drawn = signed.ranking(table.drop(columns="head", errors="ignore"), "change", form, dark)
        blocks.chart(drawn, key="patch_places", alt=says)
    st.dataframe(tables.two_runs(found), hide_index=True)
    with blocks.fold("Token by token", "patch_tokens") as is_open:
        if is_open:
            st.dataframe(blocks.ticked(tables.side_by_side(found)), hide_index=True)


def heads_can_be_seen(found: Patching) -> bool:
    """Whether heads are apart that have a pattern of their own: those that hold keys and values may serve several."""
    return bool(found.heads) and found.site not in ("k", "v")


def in_full(found: Patching, shown: Request[Any]) -> PatchRequest:
    """The exact sweep of all layers that were asked for with what is shown, of what the first run has settled."""
    request, whole = found.provenance.request, st.session_state.get(_WHOLE)
    assert isinstance(request, PatchRequest)
    layers = whole.layers if whole is not None and estimate_of(whole) == shown else request.layers
    return replace(request, method=Method.EXACT, layers=layers)


def is_asked(request: PatchRequest) -> bool:
    """Whether what is shown is what is asked, and not the last good run."""
    return bool(st.session_state.get(_WHOLE) == request)


def offer(offers: Sequence[results.Offer], of: str = "sweep") -> None:
    """Buttons that set the controls for a smaller sweep."""
    with st.container(horizontal=True, vertical_alignment="center"):
        for number, (what, request, cost) in enumerate(offers):
            st.button(
                what[0].upper() + what[1:],
                key=f"patch_offer_{of}_{number}",
                on_click=_take,
                args=(request,),
                help=f"Takes {cost}.",
            )


def _take(request: PatchRequest) -> None:
    if request.method == Method.GRADIENT:
        st.session_state["patch_shown"] = ESTIMATE
        return
    where = request.positions
    st.session_state["patch_positions"] = typed([int(p) for p in where] if isinstance(where, tuple) else None)
    st.session_state["patch_layers"] = typed(request.layers)
    st.session_state["patch_units"] = str(request.units)


def foretold(first: Patching, found: Patching) -> None:
    """How well one backward pass foretells the exact runs, where it was made of the same ones."""
    request = first.provenance.request
    if (
        isinstance(request, PatchRequest)
        and request.method == Method.GRADIENT
        and first.runs.logit.shape == found.runs.logit.shape
    ):
        agree = correlation(first.change().ravel(), found.change().ravel())
        if math.isfinite(agree):
            st.caption(f"The estimate from one backward pass correlates with these exact runs by {agree:.2f}.")


def cone(found: Patching, chart: str) -> None:
    """What the cell that was clicked in a chart can change, and what can change it."""
    picked = (st.session_state.get(chart) or {}).get("selection", {})
    cell = next(iter(picked.get("cell") or picked.get("head") or []), None)
    if cell is not None and found.positions and cell.get("position", -1) in found.positions and cell["layer"] in found.layers:
        st.caption(blocks.plain(tables.cone_said(found, int(cell["layer"]), int(cell["position"]))))


def can_pair(found: Patching) -> bool:
    """Whether several heads are apart, each patched at all positions together and acting on everything."""
    request = found.provenance.request
    several = bool(found.heads) and not found.positions and found.runs.logit.size > 1
    return several and isinstance(request, PatchRequest) and not request.receiver


def pairs_of(found: Patching) -> tuple[PairsRequest, str]:
    """Which pairs, and how they are shown."""
    most = min(MOST_PAIRED, found.runs.logit.size)
    with st.container(horizontal=True, vertical_alignment="center"):
        n = int(st.number_input("Heads", 2, most, min(8, most), key="patch_pairs", help=PAIRS_OF, bind="query-params", width=160))
        shown = controls.choice("Colours", [paired.BEYOND, paired.TOGETHER], paired.BEYOND, "patch_pairs_shown")
    request = found.provenance.request
    assert isinstance(request, PatchRequest)
    heads = tuple((found.layers[layer], found.heads[head]) for layer, head, _ in found.strongest(n))
    same = {field.name: getattr(request, field.name) for field in fields(SweepRequest) if field.name != "layers"}
    return PairsRequest(**same, heads=heads, strongest=n), shown


def pairs_table(found: Pairs, metric: str) -> None:
    """The pairs that depart most from their sum."""
    form = st.column_config.NumberColumn(format="%+.3f")
    table = paired.strongest(found, metric)
    st.dataframe(table, hide_index=True, column_config=dict.fromkeys(table.columns[1:], form))
