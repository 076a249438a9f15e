"""What a lens says of the last position that was read: from which row on its likeliest token is the output's."""

import numpy as np

from infoflow.analyses.logit_lens import Lens
from infoflow.summaries.sentence import UNSURE, Sentence, off, quoted
from infoflow.text.rows import row_title
from infoflow.text.tokens import visible


def sentences(lens: Lens) -> tuple[Sentence, ...]:
    """From which row on the answer leads for good, and what the row below names."""
    wrong = off(lens.max_error, lens.provenance)
    if wrong is not None:
        return (wrong,)
    first, answer = leads_from(lens), int(lens.token_ids[-1, -1, 0])
    position, last = lens.positions[-1], len(lens.rows) - 1
    p = float(lens.probs[-1, -1, 0])
    of = "the last position" if position == len(lens.tokens) - 1 else f"position {position}"
    place = {"row": first, "position": position}
    name = quoted(visible(lens.names[answer]))
    if p < UNSURE:
        return (Sentence(f"The model is not sure at {of}: its likeliest token, {name}, has {p:.0%}.", {**place, "row": last}),)
    if first == 0:
        return (Sentence(f"At {of} every row, the embedding included, already names the output's {name} ({p:.0%}).", place),)
    below = quoted(visible(lens.names[int(lens.token_ids[first - 1, -1, 0])]))
    if first == last:
        said = f"At {of} the output alone names {name} ({p:.0%}); the row below says {below}."
        return (Sentence(said, place),)
    where = row_title(lens.rows[first]).replace("Layer", "layer", 1)
    here = float(lens.probs[first, -1, 0])
    said = f"At {of} {name} leads from {where} on ({here:.0%} there, {p:.0%} at the output); the row below says {below}."
    return (Sentence(said, place),)


def leads_from(lens: Lens) -> int:
    """The first row from which the likeliest token of the last position read is the output's, up to the output."""
    other = np.nonzero(lens.token_ids[:, -1, 0] != lens.token_ids[-1, -1, 0])[0]
    return int(other[-1]) + 1 if len(other) else 0
