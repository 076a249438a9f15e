"""What may be changed in a run, as frozen values: a field of every request, and so part of every key, address and file.

A *site* is where in a layer something is changed: `embed` and `resid_pre`, `resid_mid`, `resid_post` (the residual before the
first layer, before a layer, after its attention, after its MLP), `attn` and `mlp` (what they add to the residual), `z` (what a
head has gathered, before the output projection), `neurons` (what the MLP's hidden units hold, before its output projection).
Layers, positions, heads and neurons are a number, several, or None for all; a negative position counts from the prompt's end,
and a text is every token of that word.

`Mean`, `Replace`, `Resample`, `Steer` and `Noise` put something into a run that no token of it has said: in a decomposition
each is a source of its own.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Discriminator

from infoflow.errors import BadPrompt

SITES = ("embed", "resid_pre", "resid_mid", "resid_post", "attn", "mlp", "z", "neurons")
FIRST = "first"
"""the direction of what stands at the first position"""
BANK = "bank"
"""in the place of other prompts: the neutral texts that ship"""

Numbers = int | Sequence[int] | None
Places = int | str | Sequence[int | str] | None
Direction = Sequence[float] | Sequence[str]
"""a vector, or two texts: what stands at the last token of the one, less what stands there in the other"""


@dataclass(frozen=True)
class Intervention:
    """One change to a run. Its fields say what is changed, where and how."""

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True)
class Zero(Intervention):
    """What is at a site is nothing there: x = 0."""

    site: str
    layers: Numbers = None
    positions: Places = None
    head: Numbers = None
    """of `z` alone"""
    neurons: Numbers = None
    """of `neurons` alone"""
    kind: Literal["zero"] = field(default="zero", kw_only=True)


@dataclass(frozen=True)
class Scale(Intervention):
    """What is at a site is so many times as large: factor * x."""

    site: str
    factor: float
    layers: Numbers = None
    positions: Places = None
    head: Numbers = None
    neurons: Numbers = None
    kind: Literal["scale"] = field(default="scale", kw_only=True)


@dataclass(frozen=True)
class Mean(Intervention):
    """The mean stands in the place of each: over the prompt's own positions, or over all positions of other prompts."""

    site: str
    layers: Numbers = None
    positions: Places = None
    head: Numbers = None
    neurons: Numbers = None
    prompts: str | Sequence[str] = ()
    """other prompts, or "bank": the neutral texts that ship"""
    kind: Literal["mean"] = field(default="mean", kw_only=True)


@dataclass(frozen=True)
class Replace(Intervention):
    """What stands there in the run of another prompt of as many tokens, unchanged itself (activation patching)."""

    site: str
    prompt: str
    layers: Numbers = None
    positions: Places = None
    head: Numbers = None
    neurons: Numbers = None
    kind: Literal["replace"] = field(default="replace", kw_only=True)


@dataclass(frozen=True)
class Resample(Intervention):
    """What stands there in a neutral text, which a seed draws among those that ship (resample ablation)."""

    site: str
    layers: Numbers = None
    positions: Places = None
    head: Numbers = None
    neurons: Numbers = None
    seed: int = 0
    kind: Literal["resample"] = field(default="resample", kw_only=True)


@dataclass(frozen=True)
class Steer(Intervention):
    """x + factor * direction (activation addition: Turner et al., 2023; two texts: contrastive, Rimsky et al., 2023)."""

    site: str
    direction: Direction
    factor: float = 1.0
    layers: Numbers = None
    positions: Places = None
    head: Numbers = None
    neurons: Numbers = None
    kind: Literal["steer"] = field(default="steer", kw_only=True)


@dataclass(frozen=True)
class Reject(Intervention):
    """What points along a direction is taken out: x - <x, d> d / <d, d>; "first" is that of the first position, which stays."""

    site: str
    direction: str | Direction = FIRST
    layers: Numbers = None
    positions: Places = None
    head: Numbers = None
    neurons: Numbers = None
    kind: Literal["reject"] = field(default="reject", kw_only=True)


@dataclass(frozen=True)
class Noise(Intervention):
    """x + factor * sigma * Gaussian noise, which a seed draws; sigma: standard deviation of what stands at the site over the
    prompt's positions (causal tracing: Meng et al., 2022, with a factor of 3 on embeddings)."""

    site: str
    factor: float = 3.0
    layers: Numbers = None
    positions: Places = None
    head: Numbers = None
    neurons: Numbers = None
    seed: int = 0
    kind: Literal["noise"] = field(default="noise", kw_only=True)


@dataclass(frozen=True)
class Block(Intervention):
    """Attention from some positions (destination, which reads) to others (source) is cut before the softmax: its rows still sum
    to 1."""

    source: Places
    destination: Places = None
    layers: Numbers = None
    heads: Numbers = None
    kind: Literal["block"] = field(default="block", kw_only=True)


AtSite = Zero | Scale | Mean | Replace | Resample | Steer | Reject | Noise
Given = Mean | Replace | Resample | Steer | Noise
"""those that put in what no token of the run has said"""
AnyIntervention = Annotated[AtSite | Block, Discriminator("kind")]
KINDS = "Zero, Scale, Mean, Replace, Resample, Steer, Reject, Noise and Block"
NAMES = {"mean": "[mean]", "replace": "[replaced]", "resample": "[resampled]", "steer": "[steered]", "noise": "[noise]"}
"""what the source is called that each of these is"""


def _check(given: Intervention) -> None:
    """That the fields make sense by themselves; numbers that come as ranges or lists become tuples."""
    for name in ("layers", "positions", "head", "neurons", "source", "destination", "heads"):
        if hasattr(given, name):
            object.__setattr__(given, name, _several(getattr(given, name), name, name in ("positions", "source", "destination")))
    if hasattr(given, "site"):
        _check_site(given)
    if isinstance(given, Scale | Steer | Noise):
        object.__setattr__(given, "factor", _finite(given.factor, "A factor"))
    if isinstance(given, Noise | Resample):
        check_seed(given.seed)
    if isinstance(given, Steer | Reject) and given.direction != FIRST:
        object.__setattr__(given, "direction", _direction(given.direction))
    if isinstance(given, Mean) and not isinstance(given.prompts, str):
        object.__setattr__(given, "prompts", tuple(given.prompts))
    if isinstance(given, Mean) and isinstance(given.prompts, str) and given.prompts != BANK:
        object.__setattr__(given, "prompts", (given.prompts,))
    for text in (*getattr(given, "prompts", ()), getattr(given, "prompt", "-")):
        if not isinstance(text, str) or not text.strip():
            raise BadPrompt("The other prompt is empty. Type what is read instead.")


def check_seed(seed: int) -> None:
    """That numbers can be drawn from a seed.

    Raises:
        BadPrompt: they can't.
    """
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**63:
        raise BadPrompt(f"The seed is {seed!r}; choose a whole number of 0 or more, below 2 to the power of 63.")


def _check_site(given: Any) -> None:
    site = given.site
    if site not in SITES:
        raise BadPrompt(f"There is no site '{site}'. There are: {', '.join(SITES)}.")
    if given.head is not None and site != "z":
        raise BadPrompt(f"A head has a part of its own at z alone; at {site} all heads are summed.")
    if given.neurons is not None and site != "neurons":
        raise BadPrompt(f"Neurons can be told apart at 'neurons' alone; at {site} they are summed.")
    if site == "embed" and given.layers not in (None, 0, (0,)):
        raise BadPrompt("The embeddings are before the first layer; leave layers out, or take resid_pre.")


def _finite(value: Any, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise BadPrompt(f"{what} is a finite number; this is {value!r}.")
    return float(value)


def _direction(given: Any) -> Direction:
    some = tuple(given) if isinstance(given, Sequence) and not isinstance(given, str | bytes) else ()
    if len(some) == 2 and all(isinstance(one, str) and one.strip() for one in some):
        return some
    if not some or any(isinstance(one, str) for one in some):
        raise BadPrompt("A direction is a vector, or two texts: the one to go towards, and the one to go away from.")
    vector = tuple(_finite(one, "Each number of a direction") for one in some)
    if not any(vector):
        raise BadPrompt("The direction is zero, which points nowhere.")
    return vector


def _several(value: Any, name: str, words: bool) -> Any:
    """A number (or word), a tuple of them, or None."""
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        if not value:
            raise BadPrompt(f"No {name} are given; leave {name} out for all of them.")
        return tuple(_one(item, name, words) for item in value)
    return None if value is None else _one(value, name, words)


def _one(value: Any, name: str, words: bool) -> int | str:
    if isinstance(value, str) and words:
        return value
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise BadPrompt(f"{name} are whole numbers{' or words' * words}, one, several or None for all; this is {value!r}.")
    return int(value.__index__())


def stacked(stack: Sequence[Intervention], new: Intervention) -> tuple[Intervention, ...]:
    """A stack with one more; a second one at the same site and place takes the first one's place."""
    if any(place(one) == place(new) for one in stack):
        return tuple(new if place(one) == place(new) else one for one in stack)
    return (*stack, new)


def texts_of(one: Intervention) -> tuple[str, ...]:
    """The texts that it has run beside the prompt; those that ship are none."""
    if isinstance(one, Replace):
        return (one.prompt,)
    if isinstance(one, Mean):
        return () if isinstance(one.prompts, str) else tuple(one.prompts)
    if isinstance(one, Steer | Reject) and one.direction != FIRST:
        return tuple(text for text in one.direction if isinstance(text, str))
    return ()


def place(of: Intervention) -> tuple[Any, ...]:
    """Where something is changed: equal for two of which the second takes the first one's place."""
    blocks = isinstance(of, Block)
    names = ("source", "destination", "layers", "heads") if blocks else ("site", "layers", "positions", "head", "neurons")
    return (blocks, *(getattr(of, name) for name in names))


def sources_given(stack: Sequence[Intervention]) -> tuple[str, ...]:
    """Names of the sources that interventions are themselves, in their order."""
    kinds = [one.kind for one in stack if isinstance(one, Given)]
    return tuple(NAMES[k] if k not in kinds[:i] else f"{NAMES[k]}·{kinds[: i + 1].count(k)}" for i, k in enumerate(kinds))


def described(one: Intervention, labels: Sequence[str] = ()) -> str:
    """What it will do, in a sentence. `labels`: of the prompt's tokens, which are named then beside their positions."""
    assert isinstance(one, AtSite | Block)
    where = "" if one.layers is None else f"In {_named('layer', one.layers)} "
    if isinstance(one, Block):
        heads = "" if one.heads is None else f"{_named('head', one.heads)} of "
        who = "every token" if one.destination is None else _places(one.destination, labels)
        said = f"{heads}{who} can't see {'any token' if one.source is None else _places(one.source, labels)}"
    else:
        said = f"{_site(one)}{'' if one.positions is None else f' at {_places(one.positions, labels)}'} {_does(one)}"
    text = f"{where}{said}."
    return text[0].upper() + text[1:]


def _site(one: AtSite) -> str:
    return {
        "embed": "the embedding", "resid_pre": "the residual before the layer", "resid_mid": "the residual after attention",
        "resid_post": "the residual after the MLP", "attn": "what attention adds", "mlp": "what the MLP adds",
        "z": f"what {_named('head', one.head, 'every head')} {'have' if _several_of(one.head) else 'has'} gathered",
        "neurons": f"what {_named('neuron', one.neurons, 'every neuron')} hold{'' if _several_of(one.neurons) else 's'}",
    }[one.site]  # fmt: skip


def _does(one: AtSite) -> str:
    if isinstance(one, Scale):
        return f"is multiplied by {one.factor:g}"
    if isinstance(one, Mean):
        other = "neutral texts" if one.prompts == BANK else ", ".join(map(_quoted, one.prompts))
        return f"becomes its mean over {other or 'the prompt'}"
    if isinstance(one, Replace):
        return f"becomes what it is in {_quoted(one.prompt)}"
    if isinstance(one, Resample):
        return f"becomes what it is in a neutral text (draw {one.seed})"
    if isinstance(one, Steer):
        return f"is moved by {one.factor:g} times {_towards(one.direction)}"
    if isinstance(one, Noise):
        return f"is moved by noise of {one.factor:g} standard deviations (draw {one.seed})"
    if isinstance(one, Reject):
        way = "what the first position holds" if one.direction == FIRST else _towards(one.direction)
        return f"loses what points along {way}"
    return "is taken away"


def _towards(direction: Any) -> str:
    if isinstance(direction[0], str):
        return f"the way from {_quoted(direction[1])} to {_quoted(direction[0])}"
    return f"a vector of {len(direction)} numbers"


def _quoted(text: str) -> str:
    return f"“{text if len(text) <= LONGEST else text[: LONGEST - 1] + '…'}”"


LONGEST = 60
"""characters of another prompt that are shown"""


def _named(what: str, numbers: Numbers, every: str = "") -> str:
    if numbers is None:
        return every
    some = (numbers,) if isinstance(numbers, int) else numbers
    if len(some) == 1:
        return f"{what} {some[0]}"
    first, last = some[0], some[-1]
    if list(some) == list(range(first, last + 1)):
        return f"{what}s {first} to {last}"
    return f"{what}s {', '.join(map(str, some))}"


def _several_of(numbers: Numbers) -> bool:
    return isinstance(numbers, Sequence) and len(numbers) > 1


def _places(places: int | str | Sequence[int | str], labels: Sequence[str]) -> str:
    some = (places,) if isinstance(places, int | str) else places
    return ", ".join(f"“{p}”" if isinstance(p, str) else _position(p, labels) for p in some)


def _position(p: int, labels: Sequence[str]) -> str:
    if labels and -len(labels) <= p < len(labels):
        return f"“{labels[p]}” (position {p % len(labels)})"
    return "the last token" if p == -1 else f"position {p}"
