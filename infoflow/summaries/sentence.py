"""What a result says, in sentences: what a page has above its picture, and what `Result.summary()` gives.

`summaries/<method>.py` has a function `sentences(result)` for the results of `analyses/<method>.py` (or `studies/`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np

from infoflow.analyses.provenance import UNSUPPORTED, Provenance
from infoflow.analyses.selftest import APPROXIMATE
from infoflow.studies.compare import Both
from infoflow.text.tokens import BIAS, PUT_IN

LIMIT = 1e-3
"""parts that miss the whole by more are not taken for numbers"""
UNSURE = 0.1
"""a likeliest token of less probability is no answer"""


@dataclass(frozen=True)
class Sentence:
    """One sentence, and the place that it is about."""

    text: str
    place: Mapping[str, Any] = field(default_factory=dict)
    """by the names that pages give to it: layer, head, stage, row, position, step; empty where there is no one place"""


def sentences_of(result: Any) -> Sequence[Sentence]:
    """What any result says."""
    method = type(result).__module__.rpartition(".")[2]
    found: Sequence[Sentence] = import_module(f"infoflow.summaries.{method}").sentences(result)
    return found


def spoken(found: Sequence[Sentence]) -> str:
    """Sentences as running text."""
    return " ".join(sentence.text for sentence in found)


def off(error: float, made: Provenance | Both) -> Sentence | None:
    """What is said instead where the parts are not the whole, or the self-test refused the model; None else."""
    if made.verdict == UNSUPPORTED:
        return Sentence("The self-test refused this model, so that nothing here names a winner.")
    if error <= (LIMIT if made.dtype == "float32" else APPROXIMATE):
        return None
    return Sentence(f"The parts miss the whole by {error:.0e} of it, so that nothing here names a winner.")


_NO_TOKEN = {BIAS: "the weights' biases add", PUT_IN: "what interventions put in adds"}


def adds_most(parts: np.ndarray, labels: Sequence[str]) -> str:
    """Which part of a logit is the largest; where that is the first token's, as a sink's often is, the next one's too."""
    order = np.argsort(-parts, kind="stable")
    first = int(order[0])
    if labels[first] in _NO_TOKEN:
        return f"{_NO_TOKEN[labels[first]]} most ({parts[first]:+.1f})"
    if first == 0 and len(order) > 1:
        next_one = next((int(i) for i in order[1:] if labels[int(i)] not in _NO_TOKEN), first)
        both = f"the first token, {quoted(labels[0])}, adds most ({parts[0]:+.1f})"
        return f"{both} and then {quoted(labels[next_one])} ({parts[next_one]:+.1f})" if parts[next_one] > 0 else both
    return f"{quoted(labels[first])} adds most ({parts[first]:+.1f})"


def would_say(own: np.ndarray, specific: np.ndarray, labels: Sequence[str]) -> Sentence:
    """With a contrast: which token's part is most of all hindsight, and which says most beyond it."""
    hindsight = own - specific
    most, best = int(hindsight.argmax()), int(specific.argmax())
    if specific[best] <= 0:
        return Sentence("No token says more of it here than the contrast's does.")
    beyond = f"beyond the contrast {quoted(labels[best])} says most ({specific[best]:+.1f})"
    if hindsight[most] <= 0:
        return Sentence(f"{beyond[0].upper()}{beyond[1:]}.", {"position": best})
    would = f"{quoted(labels[most])} would say {hindsight[most]:+.1f} of its {own[most]:+.1f} in the contrast too"
    return Sentence(f"{would}; {beyond}.", {"position": best})


def quoted(label: str) -> str:
    """A label as it stands in a sentence; a token's text goes through `visible` first."""
    return f"“{label}”"
