"""What a decomposition says of the last position: which source it is made of, and what raised the likeliest next token."""

from collections.abc import Sequence

import numpy as np

from infoflow.analyses.flow import Flow
from infoflow.summaries.sentence import UNSURE, Sentence, adds_most, off, quoted
from infoflow.tables import flow as tables
from infoflow.text.tokens import visible

DOMINATES = 0.5
"""the first token's share from which it is named and no other"""
SPREAD = 0.75
"""of the sources count, by the entropy of their shares: then none stands out"""
FEW = 3


def sentences(flow: Flow, metric: str = "norm", hidden: Sequence[int | str] | None = None) -> tuple[Sentence, ...]:
    """Of a run as it is first shown: by words where tokens were kept apart, the first token set aside; or as `hidden` says."""
    if hidden is None:
        flow = flow.grouped("words") if flow.provenance.sources == "tokens" else flow
        hidden = (0,) if flow.first_is_one_of_many() else ()
    wrong = off(flow.max_error, flow.provenance)
    return (wrong,) if wrong is not None else (_made_of(flow, metric, hidden), _raised(flow))


def _made_of(flow: Flow, metric: str, hidden: Sequence[int | str]) -> Sentence:
    layer, position = flow.n_layers - 1, len(flow.tokens) - 1
    here = f"the last position after layer {layer}"
    cell = tables.cell(flow, layer, "post", position, metric, hidden)
    shares = dict(zip(cell.sources["source"].astype(int).tolist(), cell.sources["share"].astype(float).tolist(), strict=True))
    place = {"layer": layer, "stage": "post", "position": position}
    if not shares or max(shares.values()) <= 0:
        return Sentence(f"Every source that reaches {here} is hidden, or points against it.", place)
    own = int(flow.source_of[position])
    names = flow.source_labels
    if shares.get(0, 0.0) >= DOMINATES and flow.first_is_one_of_many() and own != 0:
        sink = f"The first token, {quoted(names[0])}, is {shares[0]:.0%} of {here}, as attention sinks are"
        return Sentence(f"{sink}: hide it to see what the others are.", place)
    largest = max(shares, key=lambda source: shares[source])
    if len(shares) > FEW and cell.effective_sources > SPREAD * len(shares):
        said = f"No source stands out in {here}: the largest, {quoted(names[largest])}, is {shares[largest]:.0%}"
        return Sentence(f"{said}, and {cell.effective_sources:.1f} of {len(shares)} count.", place)
    others = {source: share for source, share in shares.items() if source != own and share > 0}
    if largest != own or not others:
        said = f"{quoted(names[largest])} is {shares[largest]:.0%} of {here}"
        return Sentence(f"{said}; {_came(flow, largest, metric, hidden)}", place)
    other = max(others, key=lambda source: others[source])
    own_part = f"The last position after layer {layer} is {shares[own]:.0%} its own, {quoted(names[own])}"
    rest = f"of the others {quoted(names[other])} has most ({others[other]:.0%})"
    return Sentence(f"{own_part}; {rest}, and {_came(flow, other, metric, hidden)}", place)


def _came(flow: Flow, source: int, metric: str, hidden: Sequence[int | str]) -> str:
    """In which layer a source's share of the last position grew most."""
    path = tables.through_depth(flow, source, len(flow.tokens) - 1, metric, hidden)
    after = path["share"].to_numpy()[1::2]
    before = float(source == flow.source_of[-1])  # an embedding is its own token
    steps = np.diff(after, prepend=before)
    layer = int(steps.argmax())
    if steps[layer] <= 0:
        return "its share fell in every layer."
    if steps[layer] >= after[-1] / 2:
        return f"most of it came in layer {layer}."
    return f"its largest step was in layer {layer} (+{steps[layer]:.0%})."


def _raised(flow: Flow) -> Sentence:
    """The likeliest next token, and which source adds most to its logit."""
    top, parts = flow.top[0], flow.logits(flow.top[0].id)
    name, total = quoted(visible(top.token)), float(parts.sum())
    capped = " before the soft cap" if top.before_cap is not None else ""
    adds = f"{adds_most(parts, flow.source_labels)} to its logit{capped}, {total:.1f}."
    place = {"target": top.id}
    if top.probability < UNSURE:
        unsure = f"The model is not sure of the next token: the likeliest, {name}, has {top.probability:.0%}"
        return Sentence(f"{unsure}; {adds}", place)
    return Sentence(f"The next token is {name} ({top.probability:.0%}); {adds}", place)
