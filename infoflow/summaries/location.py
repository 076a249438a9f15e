"""What a location says: from which row on the answer is where it is said, where most of it was before, and what moved it."""

from dataclasses import replace

import numpy as np

from infoflow.analyses.location import Location
from infoflow.summaries.sentence import Sentence, off, quoted, would_say
from infoflow.tables import answer as tables
from infoflow.text.rows import row_title


def sentences(found: Location) -> tuple[Sentence, ...]:
    """Where it was, from where on it is at the end, and the largest move."""
    wrong = off(found.max_error, found.provenance)
    if wrong is not None:
        return (wrong,)
    whole = f"Of {tables.what(found)} ({found.total:+.1f})"
    end, start = quoted(found.position_labels[found.position]), arrives(found)
    if found.total <= 0:
        what = tables.what(found)
        return (Sentence(f"{what[0].upper()}{what[1:]} is {found.total:+.1f}, so that there is no answer to locate."),)
    if start == len(found.rows):
        held = float(found.by_cell[-1, found.position])
        return (
            Sentence(f"{whole} {end} holds {held:+.1f} at the end: it is the weights' biases, or what was put in, that says it."),
        )
    if start == 0:
        return (Sentence(f"{whole} the largest part is at {end} from the embedding on.", {"row": 0, "position": found.position}),)
    before = int(found.path[start - 1])
    held = float(found.by_cell[start - 1, before])
    first = " (the first token)" if before == 0 else ""
    until = "up to" if (found.path[:start] == before).all() else "still at"
    there = f"{quoted(found.position_labels[before])}{first} {until} {_row(found, start - 1)} ({held:+.1f} there)"
    said = f"{whole} the largest part is at {there}, and at {end} from {_row(found, start)} on."
    came = Sentence(said, {"row": start, "position": found.position})
    if found.specific is not None:
        said_too = would_say(found.by_cell[0], found.specific[0], found.position_labels)
        return came, replace(said_too, place={"row": 0, **said_too.place} if said_too.place else {})
    moves = tables.moves(found, list(range(len(found.rows))), 1)
    if moves.empty:
        return (came,)
    move = moves.iloc[0]
    names = move["every"].split(", ")
    head, verb = (f"Head {names[0]}", "moves") if len(names) == 1 else (f"Heads {names[0]} and {len(names) - 1} more", "move")
    said = f"{head} {verb} most of all: {move['logit']:+.1f} from {quoted(move['from'])} to {quoted(move['to'])}."
    return came, Sentence(said, {"layer": int(move["layer"]), "head": int(move["head"])})


def arrives(found: Location) -> int:
    """The first row from which the position whose logit it is holds most, up to the output."""
    other = np.nonzero(found.path != found.position)[0]
    return int(other[-1]) + 1 if len(other) else 0


def _row(found: Location, row: int) -> str:
    title = row_title(found.rows[row])
    return title.replace("Layer", "layer", 1).replace("Embedding", "the embedding")
