"""What is in one run and not in another? Two results of one analysis laid beside each other, value by value.

1. Places are paired: tokens of the two prompts (`text/alignment.py`), and with them sources; rows, layers and heads by their
   number.
2. Each value of `a` stands beside that of `b`; the difference is b - a.

It is arithmetic on two results and runs nothing, so that it is the same for two prompts, a run with and without interventions,
two models that read the same tokens (base and instruct, two checkpoints of one training, two dtypes, a quantised file and its
original) and two results that were kept.

Layers are compared one by one, so models must be of one depth: layer 5 of 6 is not layer 5 of 30, and no other pairing of them is
right for all of their values. What is a share of the depth is held against each other across it in `swap.py`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from infoflow.analyses.attention import Attention, Weighting
from infoflow.analyses.flow import Flow
from infoflow.analyses.generation import Generation
from infoflow.analyses.location import Location
from infoflow.analyses.logit_lens import Lens
from infoflow.analyses.provenance import UNSUPPORTED, Provenance
from infoflow.analyses.result import Prediction, Result
from infoflow.errors import BadPrompt, chosen
from infoflow.metrics.shares import METRICS
from infoflow.studies.sides import PLAIN, Names
from infoflow.text.alignment import Align, Pairs, paired
from infoflow.text.rows import STAGES
from infoflow.text.tokens import BIAS, Labels, unique, visible


@dataclass(frozen=True)
class Axis:
    """One axis of the values that are compared."""

    name: str
    keys: tuple[Any, ...]
    """what each of its places is, as the analysis counts it; of positions those of `a`"""
    labels: tuple[str, ...] = ()
    """how each is called; () where the key says it"""


@dataclass(frozen=True, kw_only=True)
class Both:
    """What was run for the one and for the other, and how they were compared."""

    a: Provenance
    b: Provenance
    options: dict[str, Any] = field(default_factory=dict)
    """arguments of the call beside the two results"""
    function: str = "compare"
    """of the package, which was called"""

    @property
    def verdict(self) -> str:
        """Of the self-test, the worse of the two; '' where one was not tested."""
        both = [self.a.verdict, self.b.verdict]
        return next((v for v in (UNSUPPORTED, "", "approximate") if v in both), both[0])

    @property
    def dtype(self) -> str:
        """What both computed in; where they differ, the one of them that is not float32."""
        return next((d for d in (self.a.dtype, self.b.dtype) if d != "float32"), "float32")

    @property
    def apart(self) -> str:
        """In what the two runs differ, in a line."""
        a, b = self.a.request, self.b.request
        said = []
        if (a.model.name, a.model.revision) != (b.model.name, b.model.revision):
            said.append("models")
        if self.a.prompt != self.b.prompt:
            said.append("prompts")
        if a.interventions != b.interventions:
            said.append("interventions")
        if (self.a.dtype, self.a.weights) != (self.b.dtype, self.b.weights):
            said.append("weights")
        if a.model.host != b.model.host:
            said.append("machines")
        return " and ".join([", ".join(said[:-1]), said[-1]] if len(said) > 1 else said) or "nothing"

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"a": self.a.to_dict(), "b": self.b.to_dict(), "function": self.function, "options": self.options}


@dataclass(frozen=True, kw_only=True)
class Comparison(Result):
    """Two results of one analysis, value by value. Positions are those that have a counterpart."""

    a: Any
    b: Any
    quantity: str
    """what is compared"""
    places: tuple[tuple[int, int], ...]
    """position in `a` and in `b`, of each pair"""
    differs: tuple[bool, ...]
    """of each pair: other tokens stand there"""
    labels: tuple[str, ...]
    """how each pair is called, uniquely: "France", or "France | Italy" where they differ"""
    alone: tuple[tuple[int, ...], tuple[int, ...]]
    """positions of `a` and of `b` that have no counterpart; they are left out"""
    axes: tuple[Axis, ...]
    values: Float[np.ndarray, " run *axes"]
    """of `a` and of `b`"""
    kept: Bool[np.ndarray, " *axes"]
    """which values there are: what causality forbids is none"""
    aside: tuple[str, ...] = ()
    """sources that are not shown, of the one and of the other"""
    top: tuple[tuple[Prediction, ...], tuple[Prediction, ...]]
    """the likeliest next tokens of each"""
    names: Names = PLAIN
    """how the two are called in words and pictures"""
    provenance: Both

    @property
    def kind(self) -> str:
        """The analysis."""
        return str(self.provenance.a.request.analysis)

    @property
    def difference(self) -> Float[np.ndarray, "*axes"]:
        """b - a."""
        return np.asarray(self.values[1] - self.values[0])

    @property
    def largest(self) -> dict[str, Any]:
        """Where the two are farthest apart: the place by its axes, a, b, difference."""
        far = np.nan_to_num(np.abs(np.where(self.kept, self.difference, 0)))
        at = np.unravel_index(int(far.argmax()), self.kept.shape)
        where = {axis.name: (axis.labels or axis.keys)[int(i)] for axis, i in zip(self.axes, at, strict=True)}
        a, b = (float(run[at]) for run in self.values)
        return {**where, "a": a, "b": b, "difference": b - a}

    @property
    def max_error(self) -> float:
        """The worse of the two results' own errors; 0 where they have none."""
        return float(max(getattr(self.a, "max_error", 0.0), getattr(self.b, "max_error", 0.0), key=lambda e: (e != e, e)))

    def axis(self, name: str) -> Axis:
        """One of its axes."""
        return next(axis for axis in self.axes if axis.name == name)

    @cached_property
    def _frame(self) -> pd.DataFrame:
        at = np.nonzero(self.kept)
        columns: dict[str, Any] = {}
        for axis, i in zip(self.axes, at, strict=True):
            columns[axis.name] = np.array(axis.keys, dtype=object if isinstance(axis.keys[0], str) else None)[i]
            if axis.labels:
                columns["token" if axis.name == "position" else f"{axis.name}_token"] = np.array(axis.labels, dtype=object)[i]
        a, b = (run[at].astype(np.float64) for run in self.values)
        return pd.DataFrame({**columns, "a": a, "b": b, "difference": b - a})

    def to_frame(self) -> pd.DataFrame:
        """One row a value: the axes of the analysis (positions are those of `a`), a, b, difference."""
        return self._frame.copy(deep=False)


def compare(
    a: Any,
    b: Any,
    quantity: str = "",
    groups: Labels | None = None,
    hidden: Sequence[int | str] | None = None,
    align: str = "none",
) -> Comparison:
    """Two results of one analysis beside each other: of `decompose`, `locate`, `attention`, `logit_lens`, or `generate` (the next
    token).

    `quantity`, at first the one named first: of a flow norm, projection, distance (shares); of a location logit, specific,
    hindsight; of attention pattern, value-weighted, contribution; of a lens probability, logit (of the tokens that both follow),
    entropy, kl. `groups` and `hidden` are those of `Flow.shares`, by the sources of `a`; without `hidden` the first token of
    each is set aside where it is a source of its own (not at its own position). `align`: "start" or "end" lays prompts of unlike
    length beside each other at one end; else what they begin and end with alike is paired, and their last positions.

    Raises:
        BadPrompt: results that can't be compared, with what differs; another quantity.
    """
    if not isinstance(a, tuple(_OF)):
        raise BadPrompt(f"{type(a).__name__} can't be compared. Results of {_LISTED} can.")
    if type(a) is not type(b):
        raise BadPrompt(
            f"The one is a {type(a).__name__} and the other a {type(b).__name__}. Compare two results of one function."
        )
    options = _given(quantity=quantity, groups=groups, hidden=hidden, align=align)
    if groups is not None or hidden is not None:
        if not (isinstance(a, Flow) and isinstance(b, Flow)):
            raise BadPrompt(f"Groups and hidden sources are a flow's; these are {type(a).__name__} results. Leave them out.")
        a, b = a.grouped(groups), b.grouped(groups)
    _same_tokens(a, b)
    pairs = paired(_ids(a), _ids(b), chosen(Align, align, "alignment"))
    pairs = Pairs(*_read(a, b, pairs))
    if not pairs.places:
        raise BadPrompt("The two prompts have no place in common. Align them at an end: align='start' or align='end'.")
    names = _OF[type(a)]
    by = quantity or names.quantities[0]
    if by not in names.quantities:
        raise BadPrompt(
            f"There is no '{by}' of {type(a).__name__} results to compare. Use one of: {', '.join(names.quantities)}."
        )
    labels = unique([_both(a.labels[p], b.labels[q]) for p, q in pairs.places], [BIAS])
    ours, theirs = zip(*pairs.places, strict=True)
    found = names.values(a, b, _Asked(by, pairs, labels, hidden, not quantity))
    return Comparison(
        a=a,
        b=b,
        quantity=found.quantity,
        places=pairs.places,
        differs=pairs.differs,
        labels=labels,
        alone=(tuple(p for p in _positions(a) if p not in ours), tuple(p for p in _positions(b) if p not in theirs)),
        axes=found.axes,
        values=np.stack([found.a, found.b]).astype(np.float32),
        kept=found.kept,
        aside=found.aside,
        top=(_likeliest(a), _likeliest(b)),
        provenance=Both(a=a.provenance, b=b.provenance, options=options),
    )


@dataclass(frozen=True)
class _Asked:
    """What of two results is compared."""

    quantity: str
    pairs: Pairs
    labels: tuple[str, ...]
    hidden: Sequence[int | str] | None
    by_default: bool
    """nobody chose the quantity"""


@dataclass(frozen=True)
class _Found:
    """Values of both on the same axes."""

    quantity: str
    axes: tuple[Axis, ...]
    a: np.ndarray
    b: np.ndarray
    kept: np.ndarray
    aside: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Kind:
    """How results of one analysis are compared."""

    quantities: tuple[str, ...]
    values: Callable[[Any, Any, _Asked], _Found]


def _flows(a: Flow, b: Flow, asked: _Asked) -> _Found:
    _same(
        "layers", a.n_layers, b.n_layers, "Shares of a group by thirds of the depth can be held against each other: swap_ratio()."
    )
    sources = paired_sources(a, b, asked.pairs)
    aside = asked.hidden
    if aside is None:
        aside = (0,) if a.first_is_one_of_many() and b.first_is_one_of_many() else ()
    ours = a.hidden_mask(aside).nonzero()[0].tolist()
    theirs = ours if asked.hidden is None else [t for s, t in sources if s in ours and t is not None]
    values, reach = [], np.zeros((len(asked.pairs.places), len(sources)), bool)
    for run, side, hidden in ((a, 0, ours), (b, 1, theirs)):
        at, of = [place[side] for place in asked.pairs.places], [pair[side] for pair in sources]
        known = [i for i, s in enumerate(of) if s is not None]
        number = [s for s in of if s is not None]
        found = np.zeros((run.n_layers, 2, len(at), len(of)), np.float32)
        for k, stage in enumerate(STAGES):
            shares = run.shares(asked.quantity, stage, hidden=hidden)
            if asked.hidden is None and hidden:  # of the first position nothing would be left
                shares[:, 0] = run.shares(asked.quantity, stage)[:, 0]
            found[:, k][:, :, known] = shares[:, at][:, :, number]
        values.append(found)
        reach[:, known] |= run.first_position()[number] <= np.array(at)[:, None]
    names = [_name(a, b, *pair) for pair in sources]
    axes = (
        Axis("layer", tuple(range(a.n_layers))), Axis("stage", STAGES), _positional(asked),
        Axis("source", unique(names)),
    )  # fmt: skip
    out = dict.fromkeys([*(a.source_labels[s] for s in ours), *(b.source_labels[t] for t in theirs)])
    return _Found(asked.quantity, axes, values[0], values[1], np.broadcast_to(reach, values[0].shape), tuple(out))


def paired_sources(a: Flow, b: Flow, pairs: Pairs) -> list[tuple[int | None, int | None]]:
    """Which source of the one is which of the other, by the tokens that they are of, and where those have no counterpart, or they
    are of none, by name; None for none. Those of `a` come first, in their order.

    Raises:
        BadPrompt: one source that would be two of the other.
    """
    there: dict[int, int] = {}
    back: dict[int, int] = {}
    for p, q in pairs.places:
        s, t = int(a.source_of[p]), int(b.source_of[q])
        if there.setdefault(s, t) != t or back.setdefault(t, s) != s:
            raise BadPrompt(
                f"The two runs are grouped otherwise: “{a.source_labels[s]}” of the one is “{b.source_labels[t]}” and more of "
                "the other. Run both with sources='tokens', or with groups of your own that are the same in both."
            )
    named = {name: t for t, name in enumerate(b.source_labels) if t not in back}
    for s, name in enumerate(a.source_labels):
        if s not in there and name in named:
            there[s] = named[name]
    both: list[tuple[int | None, int | None]] = [(s, there.get(s)) for s in range(len(a.source_labels))]
    return both + [(None, t) for t in range(len(b.source_labels)) if t not in there.values()]


def _name(a: Flow, b: Flow, s: int | None, t: int | None) -> str:
    """What a pair of sources is called; of the same tokens as in `a`, however often each run says them before."""
    ours, theirs = (None if i is None else run.source_labels[i] for run, i in ((a, s), (b, t)))
    said = [[i for i, of in zip(run.token_ids, run.source_of, strict=True) if of == at] for run, at in ((a, s), (b, t))]
    return _both(ours, ours if said[0] and said[0] == said[1] else theirs)


def _locations(a: Location, b: Location, asked: _Asked) -> _Found:
    _same("layers", len(a.by_mlp), len(b.by_mlp), "Take two models of one depth.")
    asks = [(one.target, one.against, one.centred) for one in (a, b)]
    if asks[0] != asks[1]:
        what = [
            f"“{visible(one.target_name)}”" + (f" over “{visible(one.against_name)}”" if one.against_name else "")
            for one in (a, b)
        ]
        said = "the logit of " + " and of ".join(what) if what[0] != what[1] else "one with the mean logit off and one without"
        raise BadPrompt(f"The two locate another answer: {said}. Run both with the same target=, against= and centred=.")
    if (a.position, b.position) not in asked.pairs.places:
        raise BadPrompt(
            f"The answers are read at position {a.position} and at position {b.position}, which are no counterparts. Choose "
            "other positions, or align='end'."
        )
    cells = []
    for one, side in ((a, 0), (b, 1)):
        held = one.by_cell if asked.quantity == "logit" else getattr(one, asked.quantity)
        if held is None:
            raise BadPrompt(f"'{asked.quantity}' needs a contrast in both: locate(..., contrast=...).")
        some = [row in b.rows and row in a.rows for row in one.rows]
        rest = (one.bias + one.put_in) if asked.quantity == "logit" else np.zeros(len(one.rows))
        cells.append(np.column_stack([held[:, [place[side] for place in asked.pairs.places]], rest])[some])
    rows = tuple(row for row in a.rows if row in b.rows)
    position = _positional(asked)
    if any(run[:, -1].any() for run in cells):
        position = Axis("position", (*position.keys, -1), (*position.labels, BIAS))
    else:
        cells = [run[:, :-1] for run in cells]
    return _Found(asked.quantity, (Axis("row", rows), position), cells[0], cells[1], np.ones(cells[0].shape, bool))


def _attentions(a: Attention, b: Attention, asked: _Asked) -> _Found:
    _same("layers", len(a.pattern), len(b.pattern), "Take two models of one depth.")
    _same("heads", a.pattern.shape[1], b.pattern.shape[1], "Take two models with as many.")
    maps = []
    for one, side in ((a, 0), (b, 1)):
        at = [place[side] for place in asked.pairs.places]
        maps.append(one.weighted(asked.quantity)[:, :, at][..., at])
    n_layers, n_heads, n, _ = maps[0].shape
    dest, src = (Axis(name, _positional(asked).keys, asked.labels) for name in ("dest", "src"))
    axes = (Axis("layer", tuple(range(n_layers))), Axis("head", tuple(range(n_heads))), dest, src)
    return _Found(asked.quantity, axes, maps[0], maps[1], np.broadcast_to(np.tri(n, dtype=bool), maps[0].shape))


def _lenses(a: Lens, b: Lens, asked: _Asked) -> _Found:
    _same("layers", a.n_layers, b.n_layers, "Take two models of one depth.")
    kinds = [f"{one.kind}, read at {'its own position' if one.read == 'own' else 'the last'}" for one in (a, b)]
    if kinds[0] != kinds[1]:
        raise BadPrompt(f"The two are other lenses: {kinds[0]}; {kinds[1]}. Run both with the same kind= and read=.")
    shared = [t for t in a.targets if t in b.targets]
    by = asked.quantity
    if asked.by_default and not shared:
        by = "entropy"
    rows = tuple(row for row in a.rows if row in b.rows)
    tokens = by in ("probability", "logit")
    if tokens and not shared:
        raise BadPrompt(
            "The two lenses follow no token in common. Run both with the same targets=, or compare 'entropy' or 'kl'."
        )
    values = []
    for one, side in ((a, 0), (b, 1)):
        name = {"probability": "target_probs", "logit": "target_logits"}.get(by, by)
        at = [one.column(place[side]) for place in asked.pairs.places]
        found = getattr(one, name)[[row in rows for row in one.rows]][:, at]
        values.append(found[..., [one.targets.index(t) for t in shared]] if tokens else found)
    axes: tuple[Axis, ...] = (Axis("row", rows), _positional(asked))
    if tokens:
        axes = (*axes, Axis("target", unique([visible(a.names[t]) for t in shared])))
    return _Found(by, axes, values[0], values[1], np.ones(values[0].shape, bool))


def _next_tokens(a: Generation, b: Generation, asked: _Asked) -> _Found:
    """What was not read is less likely than all that was, and counts nothing."""
    ids = [one.token_ids[0].tolist() for one in (a, b)]
    every = list(dict.fromkeys([*ids[0], *ids[1]]))
    names = {**a.names, **b.names}
    probs = [
        np.array([float(one.probs[0, some.index(i)]) if i in some else 0.0 for i in every])
        for one, some in zip((a, b), ids, strict=True)
    ]
    axes = (Axis("token", unique([visible(names[i]) for i in every])),)
    return _Found(asked.quantity, axes, probs[0], probs[1], np.ones(len(every), bool))


_OF: dict[type, _Kind] = {
    Flow: _Kind(tuple(METRICS), _flows),
    Location: _Kind(("logit", "specific", "hindsight"), _locations),
    Attention: _Kind(tuple(str(w.value) for w in Weighting), _attentions),
    Lens: _Kind(("probability", "logit", "entropy", "kl"), _lenses),
    Generation: _Kind(("probability",), _next_tokens),
}
_LISTED = "decompose, locate, attention, logit_lens and generate"


def _given(**options: Any) -> dict[str, Any]:
    """Those that are not as they are by default, in plain values."""
    first = {"quantity": "", "groups": None, "hidden": None, "align": "none"}
    plain = {k: v if isinstance(v, str) or v is None else tuple(v) for k, v in options.items()}
    return {name: value for name, value in plain.items() if value != first[name]}


def _same(what: str, one: int, other: int, instead: str) -> None:
    if one != other:
        raise BadPrompt(f"The one has {one} {what} and the other {other}, which are compared one by one. {instead}")


def _ids(of: Any) -> tuple[int, ...]:
    """The prompt's tokens."""
    if isinstance(of, Flow):
        return of.token_ids
    if isinstance(of, Attention | Lens):
        return of.prompt_ids
    return tuple(t.id for t in of.pieces[: of.n_prompt]) if isinstance(of, Generation) else tuple(of.provenance.ids)


def _positions(of: Any) -> tuple[int, ...]:
    """Those that a result has values of."""
    return of.positions if isinstance(of, Lens) else tuple(range(len(_ids(of))))


def _read(a: Any, b: Any, pairs: Pairs) -> tuple[tuple[tuple[int, int], ...], tuple[bool, ...]]:
    """Pairs of which both places were read."""
    here, there = set(_positions(a)), set(_positions(b))
    kept = [
        (pair, apart) for pair, apart in zip(pairs.places, pairs.differs, strict=True) if pair[0] in here and pair[1] in there
    ]
    return tuple(pair for pair, _ in kept), tuple(apart for _, apart in kept)


def _positional(asked: _Asked) -> Axis:
    return Axis("position", tuple(p for p, _ in asked.pairs.places), asked.labels)


def _both(one: str | None, other: str | None) -> str:
    """What stands in one place of the two."""
    return str(one or other) if None in (one, other) or one == other else f"{one} | {other}"


def _known(of: Any) -> dict[int, str]:
    """What a result tells of its vocabulary. Pieces of a character have no text of their own, and a space at a text's beginning
    comes and goes."""
    ids, texts = _ids(of), of.tokens
    whole = [p for p in range(len(ids)) if texts[p] and texts[p + 1 : p + 2] != ("",)]
    known = {**getattr(of, "names", {}), **{p.id: p.token for p in _likeliest(of)}, **{ids[p]: texts[p] for p in whole}}
    return {i: text.strip() for i, text in known.items()}


def _same_tokens(a: Any, b: Any) -> None:
    """Refuse results whose token ids mean other texts."""
    ours, theirs = _known(a), _known(b)
    other = next((i for i in ours if i in theirs and ours[i] != theirs[i]), None)
    if other is not None:
        why = f"token {other} is “{visible(ours[other])}” in the one and “{visible(theirs[other])}” in the other"
    elif a.provenance.prompt == b.provenance.prompt and "".join(a.tokens) == "".join(b.tokens) and _ids(a) != _ids(b):
        why = f"the same text is {len(_ids(a))} tokens in the one and {len(_ids(b))} others in the other"
    else:
        return
    raise BadPrompt(f"The two models read other tokens: {why}. Compare models with one tokenizer.")


def _likeliest(of: Any) -> tuple[Prediction, ...]:
    """The likeliest next tokens that a result has."""
    if isinstance(of, Attention):
        return (of.next_token,)
    if isinstance(of, Lens | Generation):
        at = (-1, -1) if isinstance(of, Lens) else 0
        if isinstance(of, Lens) and of.positions[-1] != len(of.tokens) - 1 or getattr(of, "read", "own") != "own":
            return ()
        rows = zip(of.token_ids[at].tolist(), of.probs[at].tolist(), of.logits[at].tolist(), strict=True)
        return tuple(Prediction(of.names[i], i, p, logit) for i, p, logit in rows)
    return tuple(of.top)
