"""What is said of a changed run beside the unchanged one; its tables are those of `compare.py`."""

import numpy as np

from infoflow.analyses.attention import Attention
from infoflow.analyses.generation import Generation
from infoflow.analyses.logit_lens import Lens
from infoflow.studies.compare import compare
from infoflow.tables.compare import moved, percent
from infoflow.text.tokens import clean, visible


def said(before: Generation, after: Generation) -> str:
    """What became of the answer, in a sentence."""
    return moved(compare(before, after).top)


def followed(before: Lens, after: Lens) -> str:
    """What became of the tokens that were followed, at the output of the last position, in a line."""
    said = []
    for number, token in enumerate(before.targets):
        was, now = (float(run.target_probs[-1, -1, number]) for run in (before, after))
        said.append(f"“{visible(before.names[token])}” {percent(was)} → {percent(now)}")
    return "; ".join(said)


def weightiest(before: Generation) -> int | None:
    """The position whose token adds most to the answer's logit, but for the first and the last; None where there is no other."""
    parts = before.by_source[0, 1 : before.n_prompt - 1]
    return int(parts.argmax()) + 1 if len(parts) and parts.max() > 0 else None


def writes_most(found: Attention) -> tuple[int, int]:
    """The layer and head that adds most to the likeliest token's logit itself."""
    layer, head = np.unravel_index(int(found.head_logits.argmax()), found.head_logits.shape)
    return int(layer), int(head)


def label(gen: Generation, position: int) -> str:
    """A token of the prompt as pictures call it."""
    return clean(gen.pieces[position])
