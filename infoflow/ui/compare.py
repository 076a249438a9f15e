"""The controls and pieces of the Compare page: the two sides, and what stands beside each other; the Interventions page shows
before and after by the same."""

import html
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from functools import cache, partial
from typing import Any, TypeVar

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from infoflow.analyses.attention import AttentionRequest
from infoflow.analyses.flow import FlowRequest
from infoflow.analyses.generation import GenerationRequest
from infoflow.analyses.location import LocationRequest
from infoflow.analyses.logit_lens import LensRequest
from infoflow.analyses.request import Request
from infoflow.charts import logit_lens as lens_charts
from infoflow.charts import signed
from infoflow.charts.palette import ink
from infoflow.errors import BadPrompt, Cancelled
from infoflow.metrics.shares import METRICS
from infoflow.models.spec import ModelSpec
from infoflow.pictures import compare as pictures
from infoflow.pictures.picture import identity
from infoflow.studies.compare import Comparison, compare
from infoflow.studies.sides import PLAIN
from infoflow.studies.swap import SwapRatio, swap_ratio
from infoflow.tables import compare as tables
from infoflow.tables import logit_lens as lens_tables
from infoflow.tables import swap as swap_tables
from infoflow.text.contrasts import difference, proposals
from infoflow.text.examples import PAIRS
from infoflow.text.ranges import as_number
from infoflow.ui import asking, blocks, changes, controls, results
from infoflow.ui.controls import choice
from infoflow.ui.frame import dark, saved
from infoflow.ui.paper import Draw
from infoflow.ui.places import Places

R = TypeVar("R")
INTRO = """Two runs beside each other, and their difference: two prompts, a run with and without interventions, two models that
read the same tokens (base and instruct, two checkpoints as name@revision, two types of weights)."""
USE = """One scale for all three panels: a colour or a length means the same in each. Tokens that differ are coloured. Green: more
in B; magenta: less."""
HOW = """Both runs are made as on the other pages; their tokens are laid beside each other, and B less A is taken value by value.
The code that does it:"""
VIEW = """**flow**: what a residual is made of. **answer**: where A's answer is, in both. **attention**: a head's map, and which
heads look elsewhere. **lens**: tokens row by row. **next token**: probabilities."""
PROMPT_B = """What A is compared with. Empty: the same prompt, with another model or with interventions."""
CHANGED = """Which of the two is run under the interventions that are in force (page Interventions)."""
WEIGHTS_B = """How the weights of B are held. As A: what the Models page says."""
FOLLOW = """Tokens to follow beside the likeliest three of each side."""
TARGET = """Whose logit is looked for in both. Empty: the likeliest next token of A."""
GROUP = """How much of the residual the tokens that differ are: the two groups as sums of vectors, by thirds of the layers."""
NOTHING_YET = """Both sides are the same: type a **Prompt B**, choose a **Model B**, or try one of these."""
ONE_SOURCE = """All of this residual is one source here, so there is nothing to compare. Choose a later position, or run by more
sources (**Run by**)."""
WORDS = """Tokens of a word are one source; for runs by tokens."""
READ = 200
"""so many of the likeliest tokens are read of each run"""
SAME = "as A"
HEADS = Places("compare_head")


class View(StrEnum):
    """What is compared."""

    FLOW = "flow"
    ANSWER = "answer"
    ATTENTION = "attention"
    LENS = "lens"
    NEXT = "next token"


class Changed(StrEnum):
    """Which side is run under the interventions in force."""

    B = "B alone"
    A = "A alone"
    BOTH = "both"
    NONE = "neither"


@dataclass(frozen=True)
class Look:
    """How a page shows the two sides."""

    key: str
    """its widgets' keys begin so"""
    why: str = ""
    """why there may be no difference"""


SIDES = Look("cmp")


@dataclass(frozen=True)
class Other:
    """What is asked of B in the sidebar."""

    prompt: str
    model: str


@dataclass(frozen=True)
class Side:
    """One side: what is run, and how it is called."""

    name: str
    model: ModelSpec
    prompt: str
    interventions: tuple[Any, ...]
    key: str = ""
    kept: set[str] = field(default_factory=set, compare=False)
    """titles of the session that its results came from, without a run"""

    @property
    def runs(self) -> tuple[Any, ...]:
        """What its result depends on."""
        return self.model, self.prompt, self.interventions


def other() -> Other:
    """B's prompt and model, in the form of the sidebar."""
    asked = st.session_state.get("prompt_b", st.query_params.get("prompt_b", ""))
    prompt = st.text_area(
        "Prompt B", "", key="prompt_b", height=80, max_chars=asking.MAX_CHARACTERS, placeholder="the same as A", help=PROMPT_B,
        bind="query-params" if asking.fits_in_a_link(asked) else None, persist_state="session",
    )  # fmt: skip
    return Other(prompt, asking.model_name(key="model_b", label="Model B", first=SAME))


def sides(asked: asking.Asked, of: Other, dtype: str) -> tuple[Side, Side]:
    """What each side is."""
    changed = Changed.NONE
    if asked.interventions:
        changed = Changed(choice("Interventions", list(Changed), Changed.B, "cmp_changed", CHANGED))
    with_a, with_b = changed in (Changed.A, Changed.BOTH), changed in (Changed.B, Changed.BOTH)
    model = asked.model if of.model == SAME else replace(asked.model, name=of.model)
    if dtype != SAME and not model.hosted:
        model = replace(model, dtype=dtype)
    prompt = of.prompt if of.prompt.strip() else asked.prompt
    return (
        Side("A", asked.model, asked.prompt, asked.interventions if with_a else (), asked.key),
        Side("B", model, prompt, asked.interventions if with_b else (), asked.key),
    )


def side(of: Side, request: Request[R]) -> R:
    """The result of one side, with its progress and Cancel.

    Raises:
        InfoflowError: what running raises, and Cancelled where it was stopped, until it is run again.
    """
    asked: Request[R] = replace(request, model=of.model, prompt=of.prompt, interventions=of.interventions)
    name = f"compare_{of.name}_{asked.analysis}"
    stopped = f"{name}_cancelled"
    if st.session_state.get(stopped) == asked:
        st.button("Try again", key=f"{stopped}_again", on_click=asking.run_again, icon=":material/refresh:")
        raise Cancelled(f"The run of {of.name} was stopped.")
    found = results.performed(asked, of.key, name, lambda: st.session_state.update({stopped: asked}))
    of.kept.update({found.kept} - {""})
    result: Any = found.result
    if not result.provenance.verdict and found.verdict.verdict:  # of a run that was made before the self-test
        result = replace(result, provenance=replace(result.provenance, verdict=str(found.verdict.verdict)))
    return result


@dataclass(frozen=True)
class Asks:
    """What is looked at, beside the two sides."""

    view: View
    dtype: str
    metric: str
    stage: str
    run_by: str
    words: bool
    target: str
    follow: tuple[str, ...]


def asks() -> Asks:
    """The row of controls above the picture."""
    view = View(choice("View", list(View), View.FLOW, "cmp_view", VIEW))
    metric, stage, run_by, words, target = "norm", "post", controls.RUN_BY[0], True, ""
    follow: tuple[str, ...] = ()
    defaults = {
        "cmp_dtype": SAME,
        "cmp_metric": "norm",
        "cmp_stage": "post",
        "run_by": controls.RUN_BY[0],
        "cmp_words": True,
        "cmp_target": "",
        "cmp_follow": [],
    }
    with controls.more(defaults):
        if view == View.FLOW:
            metric = choice("Shares by", list(METRICS), "norm", "cmp_metric", "\n\n".join(METRICS.values()))
            stage = choice("Row", ["mid", "post"], "post", "cmp_stage", "**mid**: after attention. **post**: after the MLP.")
            run_by = controls.run_by()
            grouped = run_by != controls.RUN_BY[0]
            words = st.toggle("By words", value=True, key="cmp_words", bind="query-params", disabled=grouped, help=WORDS)
        if view == View.ANSWER:
            target = st.text_input("Answer", key="cmp_target", placeholder="A's likeliest", help=TARGET, bind="query-params")
        if view == View.LENS:
            chosen = st.multiselect(
                "Follow",
                [],
                key="cmp_follow",
                accept_new_options=True,
                placeholder="type a token",
                help=FOLLOW,
                bind="query-params",
            )
            follow = tuple(map(str, chosen))
        dtypes = [SAME, *asking.DTYPES] if asking.offered() is None else [SAME]
        dtype = str(st.selectbox("Weights of B", dtypes, key="cmp_dtype", help=WEIGHTS_B, bind="query-params"))
    return Asks(view, dtype, metric, stage, run_by, words, target.strip(), follow)


def compared(a: Side, b: Side, at: Asks) -> Comparison:
    """Both results of the view that is chosen, compared.

    Raises:
        InfoflowError: what running raises; results that can't be compared.
    """
    if at.view == View.ATTENTION:
        patterns = AttentionRequest(prompt="")
        return compare(side(a, patterns), side(b, patterns))
    if at.view == View.ANSWER:
        first = side(a, LocationRequest(prompt="", target=at.target or None))
        return compare(first, side(b, LocationRequest(prompt="", target=first.target)))
    if at.view == View.FLOW:
        one, two = (side(of, FlowRequest(prompt="", sources=at.run_by)) for of in (a, b))
        by_word = at.words and one.provenance.sources == two.provenance.sources == "tokens"
        try:
            return compare(one, two, at.metric, groups="words" if by_word else None)
        except BadPrompt:
            if not by_word:
                raise
            return compare(one, two, at.metric)  # a word of the one is two of the other
    written = [side(of, next_token_of(a)) for of in (a, b)]
    if at.view == View.NEXT:
        return compare(written[0], written[1])
    likely = [int(i) for run in written for i in run.token_ids[0, :3]]
    lens = LensRequest(prompt="", targets=tuple(dict.fromkeys([*likely, *at.follow])))
    return compare(side(a, lens), side(b, lens))


def next_token_of(of: Side) -> GenerationRequest:
    """The next token alone."""
    return GenerationRequest(model=of.model, prompt=of.prompt, max_new_tokens=1, k=READ)


def place_of(found: Comparison) -> int:
    """The position that is looked at, counted from the last, which every prompt has."""
    n = len(found.labels)
    if not -n <= int(st.session_state.get("cmp_place", -1)) < 0:
        st.session_state["cmp_place"] = -1
    chosen = st.selectbox(
        "Position",
        range(-n, 0),
        index=n - 1,
        format_func=lambda at: found.labels[at],
        key="cmp_place",
        bind="query-params",
        width=200,
    )
    return int(chosen)


def shown(found: Comparison, at: Asks, row: DeltaGenerator) -> Draw | None:
    """The view that is chosen, and what draws it; None where there is nothing to be seen."""
    scope = identity(found.provenance.a, (found.provenance.a.prompt, found.provenance.b.prompt, found.provenance.b.model))
    if at.view in (View.FLOW, View.LENS):
        with row:
            place = place_of(found)
        return flow(found, SIDES, place, at.stage) if at.view == View.FLOW else lens(found, SIDES, place)
    if at.view == View.ATTENTION:
        return attention(found, SIDES, scope)
    return answer(found, SIDES) if at.view == View.ANSWER else next_token(found, SIDES)


def next_token(found: Comparison, look: Look) -> Draw:
    """Probabilities of the likeliest next tokens."""
    draw = cache(partial(pictures.predictions, found))
    drawn = draw(dark=dark())
    table = tables.next_tokens(found)
    says = f"Next tokens, {found.names.a} and {found.names.b}. {blocks.largest(table, 'name', 'difference', '+.1%')}"
    blocks.chart(drawn.chart, key=f"{look.key}_next", alt=says)
    st.caption(blocks.plain(drawn.note))
    return draw


def lens(found: Comparison, look: Look, place: int = -1) -> Draw:
    """Tokens through the layers, in both, and the difference."""
    draw = cache(partial(pictures.lens, found, place))
    drawn = draw(dark=dark())
    most = blocks.largest(tables.lens(found, place), "where", "difference", "+.1%")
    blocks.chart(drawn.chart, key=f"{look.key}_lens_map", alt=f"Each token's probability by row, and its difference. {most}")
    st.caption(blocks.plain(drawn.note))
    if place == -1 and found.quantity == "probability":
        lines = lens_charts.trajectories(lens_tables.contrasted(found.a, found.b), "probability", dark())
        blocks.chart(lines, key=f"{look.key}_lens", alt=f"Tokens through the layers. {most}")
        st.caption(f"Probability at the last position, row by row. Solid: {found.names.a}; dashed: {found.names.b}.")
    return draw


def attention(found: Comparison, look: Look, scope: str) -> Draw | None:
    """One head's map in both, and which heads look elsewhere from the last position: a click chooses."""
    table = tables.heads(found)
    if not table["moved"].any():
        st.info(f"No head looks elsewhere from the last position{look.why}.")
        return None
    chosen = _head_of(HEADS.chosen(scope), found) or pictures.moved_most(found)
    layer, head = chosen
    draw = cache(partial(pictures.attention, found, chosen))
    drawn = draw(dark=dark())
    last = tables.head(found, layer, head)
    last = last[last["order"] == 0]
    says = f"Head {layer}.{head}: change of its last row. {blocks.largest(last, 'column', 'difference', '+.0%')}"
    blocks.chart(drawn.chart, key=f"{look.key}_map", alt=says)
    st.caption(blocks.plain(f"Head {layer}.{head}. {drawn.note}"))
    named = table.assign(name=table["row"] + " " + table["column"])
    key = f"{look.key}_heads_map"
    blocks.chart(
        signed.grid(table, "column", "row", "moved", ".0%", dark=dark()), key=key, on_select=partial(_pick, key, scope),
        selection_mode="head", alt=f"Attention moved by each head. {blocks.largest(named, 'name', 'moved', '.0%')}",
    )  # fmt: skip
    st.caption("**How much of the last position's attention moved**, by head: half the sum of all changes of its weights.")
    controls.head_link(layer, head)
    return draw


def _head_of(place: str, found: Comparison) -> tuple[int, int] | None:
    layer, head = (as_number(part) for part in place.partition(".")[::2])
    n_layers, n_heads = found.values.shape[1:3]
    if layer is None or head is None or layer >= n_layers or head >= n_heads:
        return None
    return layer, head


def _pick(chart: str, scope: str) -> None:
    picked = next(iter(st.session_state[chart].selection.get("head") or []), None)
    HEADS.choose(scope, f"{int(picked['layer'])}.{int(picked['head'])}" if picked else "")


def flow(found: Comparison, look: Look, place: int = -1, stage: str = "post") -> Draw | None:
    """What one position's residual is made of, layer by layer."""
    table = tables.residual(found, place, stage)
    if tables.alike(table):
        st.info(ONE_SOURCE if table["source"].nunique() == 1 else f"This residual is made of the same in every layer{look.why}.")
        return None
    draw = cache(partial(pictures.flow, found, place, stage))
    drawn = draw(dark=dark())
    named = table.assign(name=table["row"] + ", " + table["source_label"])
    says = f"Change of each source's share by layer. {blocks.largest(named, 'name', 'difference', '+.0%')}"
    blocks.chart(drawn.chart, key=f"{look.key}_flow", alt=says)
    st.caption(f"**Share of each source in the residual of “{blocks.plain(found.labels[place])}”**. {blocks.plain(drawn.note)}")
    return draw


def answer(found: Comparison, look: Look) -> Draw | None:
    """Where the answer is."""
    table = tables.answer(found)
    if not table["difference"].any():
        st.info(f"No residual holds more or less of the answer{look.why}.")
        return None
    draw = cache(partial(pictures.answer, found))
    drawn = draw(dark=dark())
    says = f"Change of what each residual holds of the answer. {blocks.largest(table, 'where', 'difference', '+.1f')}"
    blocks.chart(drawn.chart, key=f"{look.key}_answer", alt=says)
    name = blocks.plain(found.a.target_name.strip())
    totals = f"{found.names.a} {found.a.total:+.1f}, {found.names.b} {found.b.total:+.1f}"
    what = f"**What each residual holds of the logit of “{name}”**, by layer and position. With every token: {totals}."
    st.caption(f"{what} {blocks.plain(drawn.note)}")
    return draw


def prompts(found: Comparison) -> None:
    """Both prompts, with the tokens that differ marked, or that have no counterpart."""
    lines = []
    for number, run in enumerate((found.a, found.b)):
        apart = {pair[number] for pair, differs in zip(found.places, found.differs, strict=True) if differs} | {
            *found.alone[number]
        }
        n = getattr(run, "n_prompt", len(run.labels))
        texts = [name if name.startswith("⟨") else text for text, name in zip(run.tokens[:n], run.labels[:n], strict=True)]
        lines.append("AB"[number] + _marked(texts, apart))
    st.html("".join(f'<div style="overflow-wrap: anywhere">{line}</div>' for line in lines))


def _marked(tokens: Sequence[str], apart: set[int]) -> str:
    colour = ink(dark()).final
    style = f"color: {colour}; font-weight: 600; text-decoration: underline"
    spans = [
        f'<span style="{style}">{html.escape(text)}</span>' if p in apart else html.escape(text) for p, text in enumerate(tokens)
    ]
    return f':&nbsp;<span style="white-space: pre-wrap">{"".join(spans)}</span>'


def group(found: Comparison, at: Asks, place: int) -> None:
    """How much of the residual the tokens that differ are, by thirds of the layers."""
    ours, theirs = (_apart(found, number) for number in (0, 1))
    if not ours or not theirs or at.metric == "projection":
        return
    here, there = (position - len(run.labels) for position, run in zip(found.places[place], (found.a, found.b), strict=True))
    if here != there:  # it comes before what differs
        return
    try:
        swapped = swap_ratio(found.a, found.b, ours, theirs, here, at.metric)
    except BadPrompt:  # the first token is one of them
        return
    _swapped(swapped)


def _apart(found: Comparison, number: int) -> tuple[int, ...]:
    """Positions of the sources that hold a token which differs, or has no counterpart."""
    run = (found.a, found.b)[number]
    apart = [pair[number] for pair, differs in zip(found.places, found.differs, strict=True) if differs]
    sources = {int(run.source_of[p]) for p in (*apart, *found.alone[number])}
    return tuple(p for p in range(len(run.labels)) if int(run.source_of[p]) in sources)


def _swapped(found: SwapRatio) -> None:
    st.markdown(blocks.plain(found.summary()), help=GROUP)
    shares = {name: st.column_config.NumberColumn(name, format="percent") for name in "AB"}
    ratio = st.column_config.NumberColumn("A over B", format="%.2f")
    columns = {**shares, "ratio": ratio}
    st.dataframe(PLAIN.of(swap_tables.shares(found)), hide_index=True, column_config=columns, width=520)


def use_example(a: str, b: str) -> None:
    """These two prompts from now on."""
    st.session_state.update(prompt=a, prompt_b=b)
    asking.run_again()


def nothing_yet(a: Side) -> None:
    """What to compare with, one click away, where both sides are the same."""
    alone = side(a, next_token_of(a))
    table = tables.next_tokens(compare(alone, alone)).sort_values("a", ascending=False).head(tables.SHOWN)
    says = f"A's next tokens. {blocks.largest(table, 'name', 'a')}"
    blocks.chart(signed.ranking(table, "a", ".1%", dark()), key="cmp_alone", alt=says)
    st.caption("The next token of A.")
    st.info(NOTHING_YET, icon=":material/compare_arrows:")
    with st.container(horizontal=True):
        for number, pair in enumerate(PAIRS):
            st.button(pair.title, key=f"cmp_pair_{number}", on_click=use_example, args=(pair.a, pair.b), help=pair.expected)
        for number, text in enumerate(proposals(a.prompt, lambda text: len(text.split()), 2)):
            title = blocks.plain(f"This prompt, {difference(a.prompt, text)}")
            st.button(title, key=f"cmp_near_{number}", on_click=use_example, args=(a.prompt, text))


def told(head: DeltaGenerator, found: Comparison, a: Side, b: Side) -> None:
    """In a page's first line: what is compared, and which side is of the session that is open."""
    made = found.provenance
    colour: Any = {"exact": "green", "approximate": "orange", "unsupported": "red"}.get(made.verdict, "gray")
    with head:
        if made.verdict:
            st.badge(made.verdict, color=colour, help="The self-test's verdict on the two models: the worse one.")
        where = made.a.whose if made.a.whose == made.b.whose else f"{made.a.whose} (A), {made.b.whose} (B)"
        for title in sorted(a.kept | b.kept):
            both = title in a.kept and title in b.kept
            saved(title, "" if both else f" ({(a if title in a.kept else b).name})")
        st.caption(blocks.plain(f"{made.apart.capitalize()} differ{'s' if made.apart == 'nothing' else ''}, on {where}"))
        if made.a.request.interventions or made.b.request.interventions:
            n = changes.count(max(len(one.request.interventions) for one in (made.a, made.b)))
            st.badge(n, icon=":material/science:", color="orange")
