"""What a lens says of the last position that was read: from which row on its likeliest token is the output's, and from which on
that is news of this prompt."""

import numpy as np

from infoflow.analyses.logit_lens import Lens
from infoflow.summaries.sentence import UNSURE, Sentence, off, quoted
from infoflow.text.contrasts import BANK
from infoflow.text.rows import row_title
from infoflow.text.tokens import visible


def sentences(lens: Lens) -> tuple[Sentence, ...]:
    """From which row on the answer leads for good, what the row below names; up to where the contrast's state says it too."""
    wrong = off(lens.max_error, lens.provenance)
    if wrong is not None:
        return (wrong,)
    if lens.read == "last":
        return _of_the_last(lens)
    first, answer = leads_from(lens), int(lens.token_ids[-1, -1, 0])
    position, last = lens.positions[-1], len(lens.rows) - 1
    p = float(lens.probs[-1, -1, 0])
    of = "the last position" if position == len(lens.tokens) - 1 else f"position {position}"
    place = {"row": first, "position": position}
    name = quoted(visible(lens.names[answer]))
    if p < UNSURE:
        return (Sentence(f"The model is not sure at {of}: its likeliest token, {name}, has {p:.0%}.", {**place, "row": last}),)
    too = _too(lens, first, name, position)
    if first == 0:
        said = f"At {of} every row, the embedding included, already names the output's {name} ({p:.0%})."
        return (Sentence(said, place), *too)
    below = quoted(visible(lens.names[int(lens.token_ids[first - 1, -1, 0])]))
    if first == last:
        said = f"At {of} the output alone names {name} ({p:.0%}); the row below says {below}."
        return (Sentence(said, place),)
    where = row_title(lens.rows[first]).replace("Layer", "layer", 1)
    here = float(lens.probs[first, -1, 0])
    said = f"At {of} {name} leads from {where} on ({here:.0%} there, {p:.0%} at the output); the row below says {below}."
    return (Sentence(said, place), *too)


def _too(lens: Lens, first: int, name: str, position: int) -> tuple[Sentence, ...]:
    """In which of the rows that name the answer the contrast's state names it too."""
    if lens.hindsight is None:
        return ()
    whose, shared = _whose(lens), lens.hindsight[first:, -1]
    n, known = len(shared), int(shared.sum())
    here = int(np.argmin(shared)) if not shared.all() else n  # so many of the first ones
    if not known:
        return (Sentence(f"In none of them does {whose} read the same."),)
    if known == n:
        return (Sentence(f"Up to the output {whose} reads {name} too, so that nothing here is news of this prompt."),)
    what = "that is hindsight, not news of this prompt" if lens.kind == "frozen" else "there it is no news of this prompt"
    if known > here:
        return (Sentence(f"In {known} of these {n} rows {whose} reads {name} there too: {what}."),)
    row = first + here - 1
    return (Sentence(f"Up to {_row(lens, row)} {whose} reads {name} there too: {what}.", {"row": row, "position": position}),)


def _of_the_last(lens: Lens) -> tuple[Sentence, ...]:
    """Where states are read at the last position: which of them says the answer most, beside the last position's own."""
    answer = int(lens.answers[-1, 0])
    name = quoted(visible(lens.names[answer]))
    says = np.where(lens.token_ids[..., 0] == answer, lens.answer_probs[..., 0], -1.0)
    says[:, [p == len(lens.tokens) - 1 for p in lens.positions]] = -1.0
    row, column = (int(i) for i in np.unravel_index(int(says.argmax()), says.shape))
    if says[row, column] < 0:
        return (Sentence(f"Of the states that are read, none but the last position's own names {name} there by itself."),)
    position = lens.positions[column]
    too = f"; so does {_whose(lens)} in its place" if lens.hindsight is not None and lens.hindsight[row, column] else ""
    said = (
        f"Read at the last position, {quoted(lens.position_labels[position])} (position {position}) names {name} most clearly at "
        f"{_row(lens, row)} ({says[row, column]:.0%}){too}."
    )
    return (Sentence(said, {"row": row, "position": position}),)


def _whose(lens: Lens) -> str:
    return "a neutral text's state" if lens.contrast == BANK else "the contrast's state"


def _row(lens: Lens, row: int) -> str:
    """A row as it is called within a sentence."""
    return row_title(lens.rows[row]).replace("Layer", "layer", 1).replace("Embedding", "the embedding")


def leads_from(lens: Lens) -> int:
    """The first row from which the likeliest token of the last position read is the output's, up to the output."""
    other = np.nonzero(lens.token_ids[:, -1, 0] != lens.token_ids[-1, -1, 0])[0]
    return int(other[-1]) + 1 if len(other) else 0
