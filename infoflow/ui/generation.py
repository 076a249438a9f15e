"""The controls and pieces of the Generation page."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import streamlit as st

from infoflow.analyses.generation import Generation, GenerationRequest
from infoflow.analyses.perform import Performed
from infoflow.pictures.generation import LEAST
from infoflow.summaries.sentence import would_say
from infoflow.tables import generation as tables
from infoflow.tables.attention import Level
from infoflow.text.contrasts import proposals, seen
from infoflow.text.conversations import Form
from infoflow.text.tokens import BEGINNING
from infoflow.text.vocabulary import joined
from infoflow.ui import blocks, controls, results
from infoflow.ui import contrast as contrasts
from infoflow.ui.controls import choice, hide_first, layer_and_head
from infoflow.ui.places import Places

MOST_NEW = 50
INPUT_WINDOW = 50
"""so many tokens of the prompt are drawn"""

INTRO = """What the model writes, and from what: the prompt on the left, each token it wrote on the right, and how strongly
each was tied to what came before it."""
USE = """Blue lines: from the prompt. Orange curves: from tokens written before. Width follows the weight. Click a token: of
an input, its connections to every output; of an output, those that come in. It turns yellow."""
HOW = """The model writes one token after another. Then one pass over prompt and output reads off every head's pattern at the
position that each token was read off (the one before it), and goes backward from the logit of each token written, with
patterns, gates and norm scales held fixed. The code that made the numbers:"""
RAISED = """With patterns, gates and norm scales fixed, the logit of the token written is a sum over the tokens before it (and
the weights' biases). What a head looks at hard need not raise anything: compare."""
CONTRASTS = Places("contrast_of_text")
HOPS = """**one hop**: what each token before it adds to the logit of the token written; what the prompt gave to tokens written on
the way stands at those. **all hops**: their shares are followed back, so that the whole is the prompt's."""
SPAN = """The share of each token of the prompt in these steps, in the mean."""
SURPRISE = """Steps count by how unlikely their token was (−log p), and not all alike."""
TEMPLATE = """This model has a chat template: “Prompt as: chat” puts the prompt into it."""
NO_TEMPLATE = """This model has no chat template: it is a base model, which continues text."""
NEW = """At most so many; the model may end its text earlier."""
TEMPERATURE = """0: always the likeliest token (greedy). Above: samples of softmax(logits / temperature)."""
TOP_P = """Sample only among the likeliest tokens that together reach this probability. Greedy text does not change."""
SEED = """The same seed gives the same text again, on the same machine."""
FORM = """**chat** puts the prompt into the model's own chat template, as what a user said. **plain text** continues it as it
is. **auto**: chat for models made for it (by their name), plain text for base models."""
THINKING = """Lets a model think before it answers (<think>) whose chat template has a switch for that. Off, the template tells
it to answer at once."""
LEVEL = """Whose attention: the mean over all heads, over one layer's, or a single head."""
NORMALISED = """**raw**: as the softmax gave it. **joint**: each step's weights shown divided by their sum. **separate**:
inputs and outputs each by their own sum. Only raw weights are attention probabilities. Their sums are stated beside."""
HIDE_FIRST = """The first token is an attention sink in most models: it takes most of the weight without meaning much.
Hidden, its weight is left out before anything is normalised."""
LEAST_HELP = """Weaker connections are not drawn. Nothing is computed anew."""
STEP = """One step is one token written. Arrow keys move the slider. Coral: the token of this step; pink: written
before; pale: not yet."""
ALL = """Draw the connections of all steps at once."""


class Hops(StrEnum):
    """How far what raised a token is followed back."""

    ONE = "one hop"
    ALL = "all hops"


@dataclass(frozen=True)
class Writing:
    """How the model shall continue."""

    new_tokens: int
    temperature: float
    top_p: float
    seed: int
    form: Form
    thinking: bool


def writing() -> Writing:
    """How the prompt is continued, under it."""
    n = st.slider("New tokens", 1, MOST_NEW, 20, key="gen_new", bind="query-params", help=NEW)
    temperature = st.slider("Temperature", 0.0, 2.0, 0.0, 0.1, key="gen_temperature", bind="query-params", help=TEMPERATURE)
    with st.expander("Sampling and template"):
        number = st.number_input("Seed", 0, 2**31 - 1, 0, 1, key="gen_seed", bind="query-params", help=SEED)
        top_p = st.slider("Top-p", 0.05, 1.0, 1.0, 0.05, key="gen_top_p", bind="query-params", help=TOP_P)
        chosen = choice("Prompt as", list(Form), Form.AUTO, "gen_form", FORM)
        thinking = st.toggle("May think", key="gen_thinking", bind="query-params", help=THINKING)
    return Writing(int(n), float(temperature), float(top_p), int(number or 0), Form(chosen), thinking)


@dataclass(frozen=True)
class View:
    """Which connections of a written text are drawn."""

    level: str
    layer: int
    head: int
    normalisation: str
    step: int
    """from 0"""
    every: bool
    """connections of all steps"""
    chosen: tuple[str, int] | None
    """a token whose own connections are drawn: its side and number"""
    hide_first: bool
    least: float
    """weaker connections are not drawn"""
    window: tuple[int, int]
    """first and last token of the prompt that are drawn"""
    chart: str
    """the picture's key, which a reset renews"""


def view(gen: Generation, scope: str) -> View:
    """The row of controls above the picture: the step, Show all, Reset; and more. `scope` names the text: another one begins
    anew. Layer and head are those of the attention page."""
    (n_layers, n_heads), n_steps = gen.pattern.shape[:2], gen.n_steps
    step, every, chosen, renewed = (f"gen_{name}_{scope}" for name in ("step", "every", "chosen", "renewed"))

    def reset() -> None:
        if st.session_state.get(chosen) is None:
            return
        st.session_state[chosen] = None  # and in the picture too, which forgets a click only when it is made anew
        st.session_state[renewed] = st.session_state.get(renewed, 0) + 1

    def show_all() -> None:
        reset()
        st.session_state[every] = True

    def to_step() -> None:
        reset()
        st.session_state[every] = False

    defaults = {
        "gen_level": Level.ALL, "gen_normalised": tables.Normalisation.RAW, "gen_least": LEAST, "gen_hide_first": True,
        **controls.every_token(gen.n_prompt, INPUT_WINDOW, "gen_inputs"),
    }  # fmt: skip
    with controls.row():
        at = 1
        if n_steps > 1:
            at = st.slider("Step", 1, n_steps, key=step, on_change=to_step, help=STEP, width=300, bind="query-params")
        st.button("Show all", on_click=show_all, key=f"{every}_all", help=ALL)
        st.button("Reset selection", on_click=reset, key=f"{chosen}_reset", disabled=st.session_state.get(chosen) is None)
        with controls.more(defaults):
            level = choice("Attention of", list(Level)[::-1], Level.ALL, "gen_level", LEVEL)
            with st.container(horizontal=True):
                layer, head = layer_and_head(n_layers, n_heads, level == Level.ALL, level != Level.HEAD)
            normalisation = choice("Weights", list(tables.Normalisation), tables.Normalisation.RAW, "gen_normalised", NORMALISED)
            least = st.slider(
                "Threshold", 0.0, 0.2, LEAST, 0.001, format="%.3f", key="gen_least", help=LEAST_HELP, bind="query-params"
            )
            aside = hide_first("gen_hide_first", HIDE_FIRST) and gen.n_prompt > 1  # else nothing would be left
            window = controls.tokens_shown(gen.n_prompt, INPUT_WINDOW, "gen_inputs")
    return View(
        level, layer, head, normalisation, at - 1, st.session_state.get(every, True), st.session_state.get(chosen), aside,
        float(least), window, f"gen_picture_{scope}_{st.session_state.get(renewed, 0)}",
    )  # fmt: skip


def go(scope: str, place: Mapping[str, Any]) -> None:
    """To the step that a sentence is about."""
    if f"gen_step_{scope}" in st.session_state:
        st.session_state[f"gen_step_{scope}"] = int(place["step"]) + 1
    st.session_state[f"gen_every_{scope}"] = False


def pick_token(chart: str, scope: str) -> None:
    """A token of the picture was clicked: its connections are drawn; of an output, its step is looked at too."""
    found = next(iter(st.session_state[chart].selection.get("token") or []), None)
    if found is None:
        st.session_state[f"gen_chosen_{scope}"] = None
        return
    side, number = str(found["side"]), int(found["number"])
    st.session_state[f"gen_chosen_{scope}"] = (side, number)
    if side == "output" and f"gen_step_{scope}" in st.session_state:
        st.session_state[f"gen_step_{scope}"] = number + 1


def text(written: Performed[Generation]) -> None:
    """Prompt and output as running text, and what is to be said of them."""
    gen, chat = written.result, written.result.form == Form.CHAT
    prompt = gen.pieces[: gen.n_prompt]
    asked = prompt if chat or prompt[0].role != BEGINNING else prompt[1:]  # what was typed, with marks that are typed in it
    with st.container(border=True):
        blocks.verbatim(joined(asked), gen.text or "(nothing but the end)")
    form = "In the model's chat template." if chat else ""
    template = "" if chat else TEMPLATE if written.has_template else NO_TEMPLATE
    st.caption(" ".join(filter(None, [*map(blocks.plain, tables.said(gen)), form, template])))


def hops() -> str:
    """Whether what raised a token is read on one hop or followed back through what was written."""
    return choice("Count", list(Hops), Hops.ONE, "gen_hops", HOPS)


def held_against(asked: GenerationRequest, key: str, gen: Generation, scope: str) -> tuple[Generation, str]:
    """The same text held against another prompt, where one is chosen, and which quantity is shown."""
    prompt = asked.prompt if isinstance(asked.prompt, str) else ""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        near = proposals(prompt, lambda text: len(text.split()))  # how many tokens they are is known to the model alone
        chosen = contrasts.contrast(prompt, near, CONTRASTS, scope)
        quantity = contrasts.shown("gen_show", chosen is not None)
    if chosen is not None:
        with blocks.reporting_errors():
            other = replace(asked, contrast=chosen, output=gen.output_ids, max_new_tokens=gen.n_steps)
            return results.of(other, key, "gen_contrast", lambda: CONTRASTS.choose(scope, "")), quantity
    return gen, contrasts.Shown.OWN


def hindsight(gen: Generation, step: int) -> str:
    """What is to be said of hindsight: that it is in there, or what a contrast takes out."""
    if gen.specific is None or gen.contrast is None or gen.contrast_total is None:
        return contrasts.WITHOUT
    said = would_say(gen.by_source[step], gen.specific[step], gen.position_labels)
    both = float(gen.total[step]), float(gen.contrast_total[step]), float(gen.specific[step].sum())
    return blocks.plain(f"{said.text} {seen(gen.contrast, *both)}")


def span(gen: Generation, step: int, scope: str) -> tuple[int, int, bool]:
    """First and last step whose rest is shown, and whether steps count by their surprise."""
    with st.container(horizontal=True, vertical_alignment="bottom", gap="medium"):
        first, last = step, step
        if gen.n_steps > 1:
            first, last = st.slider(
                "Of the steps",
                1,
                gen.n_steps,
                (1, gen.n_steps),
                key=f"gen_span_{scope}",
                help=SPAN,
                width=300,
                bind="query-params",
            )
            first, last = int(first) - 1, int(last) - 1
        surprise = st.toggle("By surprise", key="gen_surprise", help=SURPRISE, bind="query-params")
    return first, last, surprise


def step(gen: Generation, number: int, found: tables.Connections, hide_first: bool) -> None:
    """The likeliest tokens of a step, and what its weights sum to."""
    name = blocks.plain(tables.written(gen, number))
    st.markdown(f"**Step {number + 1} of {gen.n_steps}: “{name}”**")
    place = "the likeliest" if gen.rank[number] == 0 else f"number {gen.rank[number] + 1} by probability"
    st.caption(f"Probability {gen.prob[number]:.1%}, {place}.")
    st.dataframe(
        blocks.ticked(tables.likeliest(gen, number)),
        hide_index=True,
        column_config={"probability": blocks.PERCENT, "logit": blocks.LOGIT},
    )
    inputs, outputs = float(found.raw_inputs[number]), float(found.raw_outputs[number])
    hidden = " The first token, which is hidden, has the rest." if hide_first else ""
    st.caption(
        f"Raw weights: {inputs:.2f} on the prompt's tokens shown, {outputs:.2f} on tokens written before; "
        f"{inputs + outputs:.2f} in all.{hidden}"
    )
