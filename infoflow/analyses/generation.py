"""What did the model write, and from what? A continuation, with where heads looked and what raised each token of it.

1. The model continues the prompt, one token after another (`decoding.py`).
2. One pass over prompt and output, as they now stand, gives for every step the pattern of every head at the position that
   the token was read off: the prompt's last for the first token, the token before for each later one. A model that reads
   only backwards looked just so when it wrote them. Where positions are scaled by the length of the text (LongRoPE), it looked
   otherwise while the text was shorter: then each stretch of one scale has a pass of its own, and is written without a cache.
3. With patterns, gates and norm scales of that pass held fixed, the logit of each token written is a sum over the tokens
   before it, as in `attribution.py`: by_source[t, s] = e_s . d logit_t / d e_s. With a contrast (contrast.py) its
   embeddings take the place of the prompt's, and what was written stays: specific[t, s] = (e_s - e'_s) . d logit_t / d e_s.

A text that is there already (`output`) is read and not written: then 1. falls away.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from infoflow.analyses import attribution
from infoflow.analyses import contrast as contrasts
from infoflow.analyses.cost import FLOAT, Estimate, refuse_here
from infoflow.analyses.interventions import changed_plan
from infoflow.analyses.provenance import Provenance
from infoflow.analyses.request import Report, Request, as_interventions, as_prompt, check_k
from infoflow.analyses.result import OfPrompt, of_tokens
from infoflow.errors import BadPrompt, TooLarge
from infoflow.interventions import Intervention, check_seed
from infoflow.metrics.through import Through, through
from infoflow.models import memory
from infoflow.text.contrasts import BANK
from infoflow.text.conversations import USER, Form
from infoflow.text.tokens import BIAS, PUT_IN, Token, as_id
from infoflow.text.vocabulary import joined

if TYPE_CHECKING:
    import infoflow.models.model


THINKS = "<think>"
"""what models write first that think before they answer"""


class Stopped(StrEnum):
    """Why a text ended."""

    LENGTH = "length"
    END = "end"
    """the model ended it by itself"""
    SERVICE = "service"
    """the service that ran it ended it, neither at the length nor at an end"""


@dataclass(frozen=True, kw_only=True)
class Generation(OfPrompt):
    """A prompt, what the model added to it, and what each step of that rested on. A step is one token written."""

    pieces: tuple[Token, ...]
    """tokens of prompt and output"""
    n_prompt: int
    stopped: Stopped
    pattern: Float[np.ndarray, "layer head step source"]
    """weights of the position that the step's token was read off; a source is any token but the last, 0 where it came later"""
    by_source: Float[np.ndarray, "step source"]
    """what each token adds to the logit of the token written; with `bias` and `put_in` they sum to `total`"""
    bias: Float[np.ndarray, " step"]
    """what the weights' biases add to it along all paths"""
    put_in: Float[np.ndarray, " step"]
    """what interventions put in adds to it; zero where none does"""
    specific: Float[np.ndarray, "step source"] | None
    """what each token says beyond what stands there in the contrast, along the same paths; None without a contrast"""
    contrast: str | tuple[str, ...] | tuple[int, ...] | None
    """what the prompt is held against"""
    contrast_total: Float[np.ndarray, " step"] | None
    """the logit that the model gives on the contrast to the same tokens, in the mean over its prompts; before a soft cap"""
    total: Float[np.ndarray, " step"]
    """that logit: the model's own, and before its soft cap where it has one"""
    logit: Float[np.ndarray, " step"]
    """the model's own, of the token written"""
    softcap: float
    """the family's soft cap; 0 where it has none"""
    token_ids: Int[np.ndarray, "step k"]
    """the likeliest at each step, in order"""
    logits: Float[np.ndarray, "step k"]
    probs: Float[np.ndarray, "step k"]
    prob: Float[np.ndarray, " step"]
    """of the token written"""
    rank: Int[np.ndarray, " step"]
    """how many tokens were likelier than the one written"""
    max_error: float
    """largest |sum of parts - logit|, and |logit, scaled and capped - the model's own| over the vocabulary, of any step; relative
    to the larger of |logit| and 1"""
    names: dict[int, str]
    """text of every token in `token_ids`"""
    how: str
    """greedy, or how it was sampled"""
    form: Form
    """whether the prompt went through the chat template or was run as plain text"""
    provenance: Provenance

    @property
    def prompt_ids(self) -> tuple[int, ...]:
        return tuple(t.id for t in self.pieces[: self.n_prompt])

    @property
    def output_ids(self) -> tuple[int, ...]:
        return tuple(t.id for t in self.pieces[self.n_prompt :])

    def of_no_token(self, step: int) -> dict[str, float]:
        """What is no token's in one step's logit, by name: what interventions put in, and biases, where there are any."""
        of = ((PUT_IN, self.put_in), (BIAS, self.bias))
        return {name: float(values[step]) for name, values in of if values.any()}

    @property
    def hindsight(self) -> Float[np.ndarray, "step source"] | None:
        """What the contrast's token would have said here too: `by_source` less `specific`."""
        return None if self.specific is None else self.by_source - self.specific

    @property
    def thinks(self) -> bool:
        """Whether the model began with a mark of thinking, or its template did for it: that is no answer yet."""
        before, after = joined(self.pieces[: self.n_prompt]), joined(self.pieces[self.n_prompt :])
        return after.lstrip().startswith(THINKS) or before.rstrip().endswith(THINKS)

    @property
    def n_steps(self) -> int:
        return len(self.pieces) - self.n_prompt

    @property
    def text(self) -> str:
        """What the model added, without special tokens."""
        return text_of(self.pieces[self.n_prompt :])

    def through(self, aside: Sequence[int] = ()) -> Through:
        """What each written token rests on through all that was written on the way: R = (I - B)^-1 P (metrics/through.py).

        `aside`: tokens of the prompt that are left out, as an attention sink.
        """
        return through(self.by_source, self.n_prompt, aside)

    def to_frame(self) -> pd.DataFrame:
        """One row per step and token before it: step, written, prob, rank, source, token, of ("prompt" or "output"),
        attention (mean over all heads), logit (its contribution), with a contrast specific and hindsight."""
        mean = self.pattern.mean((0, 1))
        step, source = np.nonzero(np.arange(mean.shape[1])[None] < self.n_prompt + np.arange(self.n_steps)[:, None])
        names = np.array(self.position_labels, dtype=object)
        frame = pd.DataFrame({
            "step": step, "written": names[self.n_prompt + step], "prob": self.prob[step], "rank": self.rank[step],
            "source": source, "token": names[source], "of": np.where(source < self.n_prompt, "prompt", "output"),
            "attention": mean[step, source], "logit": self.by_source[step, source],
        })  # fmt: skip
        if self.specific is not None:
            frame["specific"] = self.specific[step, source]
            frame["hindsight"] = frame["logit"] - frame["specific"]
        return frame


def text_of(tokens: Sequence[Token]) -> str:
    """Running text of tokens; a character that several tokens make counts once."""
    return "".join(t.text for t in tokens if t.part <= 1)


@dataclass(frozen=True, kw_only=True)
class GenerationRequest(Request[Generation]):
    """`generate` as a value."""

    analysis: ClassVar[str] = "generation"
    function: ClassVar[str] = "generate"

    prompt: str | tuple[int, ...]
    max_new_tokens: int = 20
    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0
    form: Form = Form.PLAIN
    thinking: bool = False
    """whether a model may think first whose chat template has a switch for that"""
    k: int = 5
    written: tuple[int, ...] = ()
    """what the chat template makes of the prompt; it may hold today's date"""
    contrast: str | tuple[str, ...] | tuple[int, ...] | None = None
    """what the prompt is held against: another of as many tokens, several, one as token ids, or "bank\""""
    output: tuple[int, ...] = ()
    """what is read in the place of what the model would write"""

    def arguments(self) -> dict[str, Any]:
        """Whether it is a chat; what a template made of the prompt is made again."""
        given = super().arguments()
        del given["written"]
        return {"chat": given.pop("form") == Form.CHAT, **given}

    def run(self, model: "infoflow.models.model.Model", on_progress: Report | None = None) -> Generation:
        """The continuation."""
        if on_progress is None:
            return _generated(self, model)
        n, said, written = self.n_new, on_progress, [0]

        def tell(text: str) -> None:
            written[0] += 1
            said(f"Writing, {written[0]} of at most {n}: {' '.join(text.split())}", 0.4 * written[0] / n)

        first = 0.0 if self.output else 0.4

        def report(done: int, total: int) -> None:
            said("Reading what was written, and going backward from it", first + (1 - first) * done / total)

        said("Reading …" if self.output else "Writing …", 0.0)
        return _generated(self, model, tell, report)

    def estimate(self, model: "infoflow.models.model.Model") -> Estimate:
        """Memory."""
        n, new = len(_prompt_ids(self.exactly(model), model)), self.n_new
        return Estimate(n_tokens=n + new, n_sources=n + new, bytes=needed_bytes(model, n, new))

    @property
    def n_new(self) -> int:
        """How many tokens are written at most, or read."""
        return len(self.output) or self.max_new_tokens

    def exactly(self, model: "infoflow.models.model.Model") -> "GenerationRequest":
        """Its form settled: the chat template where the model was made to be talked to."""
        auto = Form.CHAT if model.is_instruct else Form.PLAIN
        settled = replace(self, model=model.spec, form=auto if self.form == Form.AUTO else self.form)
        chat = settled.form == Form.CHAT and isinstance(self.prompt, str) and self.prompt.strip()
        return replace(settled, written=_prompt_ids(settled, model)) if chat and not self.written else settled


def needed_bytes(model: "infoflow.models.model.Model", n_prompt: int, n_new: int) -> int:
    """Memory of `generate` beyond the weights: an attribution over prompt and output whose backward passes run together, each
    step's patterns L H N T and logits N V, and the keys and values of the run before it, 2 L T d."""
    s, n = model.sizes(), n_prompt + n_new
    more = s.layers * n * (s.heads * n_new + 2 * s.kv_heads * s.d_head) + 2 * n_new * s.vocabulary
    at_once = memory.chunk(model.memory_limit())
    return int(1.5 * attribution.needed_bytes(model, n)) + FLOAT * more + at_once  # measured by benchmarks/memory.py


def generate(
    model: "infoflow.models.model.Model",
    prompt: str | Sequence[int],
    max_new_tokens: int = 20,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    chat: bool = False,
    k: int = 5,
    thinking: bool = False,
    interventions: Sequence[Any] = (),
    contrast: str | Sequence[str] | Sequence[int] | None = None,
    output: Sequence[int] = (),
    on_token: Callable[[str], None] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Generation:
    """The model's continuation, with the attention and the attribution of every step.

    At temperature 0 always the likeliest token; else samples of softmax(logits / temperature) within `top_p`, the same
    again for the same `seed`. `chat` puts the prompt into the model's chat template as what a user said; `thinking` lets a model
    think first whose template has a switch for that. `on_token` is
    told the whole text so far with each token (a hosted model's at its end), `on_progress(done, total)` the pass that
    follows; raising in either stops the run.
    `contrast`: another prompt of as many tokens, several, or "bank" (neutral texts in the place of the whole text), for
    `specific` and `hindsight` (contrast.py). `output`: token ids to be read after the prompt; nothing is written then.

    Raises:
        BadPrompt: an empty prompt, no new token, no chat template, a temperature or top-p that makes no sense, a contrast
            of another length.
        TooLarge: more tokens than the model has positions for, or than fit in memory.
    """
    request = GenerationRequest(
        model=model.spec, prompt=as_prompt(prompt), max_new_tokens=max_new_tokens, temperature=temperature, top_p=top_p,
        seed=seed, form=Form.CHAT if chat else Form.PLAIN, k=k, thinking=thinking, interventions=as_interventions(interventions),
        contrast=contrasts.as_contrast(contrast), output=tuple(as_id(t, f" at place {place}") for place, t in enumerate(output)),
    )  # fmt: skip
    return _generated(request, model, on_token, on_progress)


def _prompt_ids(request: GenerationRequest, model: "infoflow.models.model.Model") -> tuple[int, ...]:
    prompt = request.prompt
    if request.written:
        return tuple(token.id for token in model.encode(request.written))  # which checks that it has them all
    if request.form != Form.CHAT:
        return tuple(t.id for t in model.encode(prompt))
    if not isinstance(prompt, str):
        raise BadPrompt("A chat template is for text; token ids run as they are.")
    if not prompt.strip():
        raise BadPrompt("The prompt is empty. Type a few words, or choose one of the examples.")
    return model.chat([(USER, prompt)], thinking=request.thinking)


def _generated(
    request: GenerationRequest,
    model: "infoflow.models.model.Model",
    on_token: Callable[[str], None] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> Generation:
    max_new_tokens, temperature, top_p, seed = request.n_new, request.temperature, request.top_p, request.seed
    if max_new_tokens < 1:
        raise BadPrompt(f"{max_new_tokens} new tokens were asked for; ask for 1 or more.")
    check_k(request.k)
    from infoflow.models import decoding

    wrong = decoding.check_choices(temperature, top_p)
    if wrong:
        raise BadPrompt(wrong)
    request = request.exactly(model)
    check_seed(seed)
    ids, form = _prompt_ids(request, model), request.form
    n, longest = len(ids), model.longest
    if longest and n + max_new_tokens > longest:
        raise TooLarge(
            f"The prompt has {n} tokens and {max_new_tokens} are to come; this model reads at most {longest}. Shorten it."
        )
    what = f"Writing {max_new_tokens} tokens after {n} and reading them needs"
    refuse_here(model, needed_bytes(model, n, max_new_tokens), what, "Shorten the prompt, ask for fewer tokens")
    held_against = _contrasted(request, model, model.encode(ids)) if request.contrast is not None else None
    written: list[int] = []

    def tell(token_id: int) -> None:
        written.append(token_id)
        if on_token is not None:
            on_token(text_of(model.pieces(written)))

    new = list(request.output) or _written(request, model, ids, tell)
    pieces = model.encode((*ids, *new))
    others = None
    if held_against is not None:
        whole = contrasts.prompts_of(model, BANK, pieces) if request.contrast == BANK else []
        others = whole or [[*other, *new] for other in held_against]
    values, dtype = _read_back(
        (*ids, *new), n, min(request.k, model.sizes().vocabulary), model, others, request.interventions, on_progress
    )
    said = values["by_source"].sum(1) + values["put_in"]
    bias = values["parts"] - said if model.plan().biased else np.zeros_like(values["parts"])
    off = np.maximum(np.abs(said + bias - values["total"]), values["off"])
    off = off / np.maximum(1.0, np.abs(values["total"]))
    how = f"sampled at temperature {temperature:g}, top-p {top_p:g}, seed {seed}" if temperature else "greedy"
    how = "read, not written" if request.output else how
    if temperature and model.hosted and not request.output:
        how += " (where the service keeps to it)"  # its sandbox draws in another process than the one that is seeded
    return Generation(
        **of_tokens(pieces, () if form == Form.CHAT else model.notes(request.prompt, pieces[:n])),
        pieces=pieces,
        n_prompt=n,
        stopped=Stopped.END if new[-1] in model.ends else Stopped.LENGTH if len(new) == max_new_tokens else Stopped.SERVICE,
        pattern=values["pattern"],
        by_source=values["by_source"],
        bias=bias,
        put_in=values["put_in"],
        specific=values.get("specific"),
        contrast=request.contrast,
        contrast_total=values.get("contrast_total"),
        total=values["total"],
        logit=values["chosen"],
        softcap=model.plan().softcap,
        token_ids=values["top"],
        logits=values["top_logits"],
        probs=np.exp(values["top_logits"] - values["log_sum"][:, None]),
        prob=np.exp(values["chosen"] - values["log_sum"]),
        rank=values["rank"],
        max_error=float(off.max()),
        names={int(i): model.name_of(int(i)) for i in np.unique(values["top"])},
        how=how,
        form=form,
        provenance=Provenance.of(
            model, request, dtype, how=f"{how}{', in the chat template' if form == Form.CHAT else ''}", ids=tuple(ids)
        ),
    )


def _written(
    request: GenerationRequest, model: "infoflow.models.model.Model", ids: tuple[int, ...], tell: Callable[[int], None]
) -> Sequence[int]:
    """What the model adds; with interventions one whole run a token, so that each step is changed as the prompt was."""
    if not request.interventions:
        return model.generate(ids, request.n_new, request.temperature, request.top_p, request.seed, tell)
    from infoflow.models.decoding import Sampler
    from infoflow.traced.interventions import next_logits

    sampler = Sampler(request.temperature, request.top_p, request.seed) if request.temperature else None
    text = list(ids)
    seen: dict[Any, Any] = {}
    while len(text) < len(ids) + request.n_new and (len(text) == len(ids) or text[-1] not in model.ends):
        plan = changed_plan(model, request.interventions, model.encode(text), len(ids), seen)
        scores = model.run(text, next_logits, plan)[None]
        text.append(int((scores if sampler is None else sampler(scores, scores)).argmax()))
        tell(text[-1])
    return text[len(ids) :]


def _contrasted(request: GenerationRequest, model: "infoflow.models.model.Model", tokens: Sequence[Token]) -> list[list[int]]:
    """The prompts that this one is held against, through the same form; no neutral texts, which are as long as the whole."""

    def in_form(text: str) -> Sequence[Token]:
        return model.encode(_prompt_ids(replace(request, prompt=text, written=()), model))

    if request.contrast is None or request.contrast == BANK:
        return []
    return contrasts.prompts_of(model, request.contrast, tokens, in_form)


def _read_back(
    ids: tuple[int, ...],
    n_prompt: int,
    k: int,
    model: "infoflow.models.model.Model",
    others: list[list[int]] | None,
    interventions: Sequence[Intervention],
    on_progress: Callable[[int, int], None] | None,
) -> tuple[dict[str, np.ndarray], str]:
    """What `teacher_forced` gives of every step, from one pass, or from one for each stretch of text that needs its own.
    `others`: the texts that this one is held against."""
    from infoflow.traced.contrast import contrast_steps
    from infoflow.traced.generation import teacher_forced

    found: list[dict[str, np.ndarray]] = []
    seen: dict[Any, Any] = {}
    stretches = model.alike(range(n_prompt, len(ids)))
    dtype = ""
    for number, (first, last) in enumerate(stretches):

        def tell(done: int, total: int, number: int = number) -> None:
            if on_progress is not None:
                on_progress(number * total + done, len(stretches) * total)

        chosen = list(ids[first : last + 1])
        tokens = model.encode(ids[:last])

        def plan(tokens: Sequence[Token] = tokens) -> SimpleNamespace:  # one for each run
            return changed_plan(model, interventions, tokens, n_prompt, seen)

        runs = [model.run(other[:last], contrast_steps, plan(), first - 1, chosen) for other in others or ()]
        states = sum(run["states"] for run in runs) / len(runs) if runs else None
        arguments = (last, first - 1, chosen, k, states, tell)
        raw = model.run(ids[:last], teacher_forced, plan(), *arguments)
        dtype = str(raw.pop("dtype"))
        values = {name: value.numpy() for name, value in raw.items() if value is not None}
        if runs:
            values["contrast_total"] = np.mean([run["total"].numpy() for run in runs], 0)
        for name in {"pattern", "by_source", "specific"} & values.keys():  # of what came later, a step saw nothing
            room = [(0, 0)] * (values[name].ndim - 1) + [(0, len(ids) - 1 - last)]
            values[name] = np.pad(values[name], room)
        found.append(values)
    if len(found) == 1:
        return found[0], dtype
    return {name: np.concatenate([v[name] for v in found], 2 if name == "pattern" else 0) for name in found[0]}, dtype
