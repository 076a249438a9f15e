"""What a run is held against: the control, and which of the three quantities is shown."""

import json
from collections.abc import Sequence
from enum import StrEnum

from infoflow.text.contrasts import BANK, difference, proposals
from infoflow.ui import controls
from infoflow.ui.places import Places

HELP = """Another prompt of as many tokens, whose residuals take the place of this one's: pick one with a word swapped, the mean
over neutral texts, or type your own and press Enter. What it says too is hindsight: paths that are held fixed are those of the
finished run, and part of what a cell holds along them would be there for any text."""
SHOW = """**own**: all that is held. **specific**: what is there beyond the contrast. **hindsight**: what the contrast would have
said here too. Own is the sum of the two."""


EACH = 3
"""so many are proposed for a turn"""
WITHOUT = "Hindsight is in it: what these tokens would say in any text; a contrast tells the two apart."


class Shown(StrEnum):
    """Of what is attributed."""

    OWN = "own"
    SPECIFIC = "specific"
    HINDSIGHT = "hindsight"


def contrast(prompt: str, proposed: Sequence[str], place: Places, scope: str, width: int = 220) -> str | None:
    """A proposed contrast, the neutral texts, any prompt that is typed, or none."""
    titles = {**{other: difference(prompt, other) for other in proposed}, BANK: "neutral texts"}
    return controls.held_choice("Contrast", titles, place, scope, HELP, "none", width)


def axis(quantity: str, whole: str = "logit") -> str:
    """What stands at the axis of a chart, where there is little room."""
    return whole if quantity == Shown.OWN else quantity


def of_turns(said: Sequence[str], place: Places, scope: str, help_text: str) -> str | tuple[str, ...] | None:
    """The same for what is said turn by turn: one turn with a word swapped, the neutral texts, another question, or none."""
    titles: dict[str, str] = {}
    for number, text in reversed(list(enumerate(said))):  # the last correction is what mattered, most likely
        for other in proposals(text, lambda one: len(one.split()), EACH):
            titles[json.dumps([*said[:number], other, *said[number + 1 :]])] = difference(text, other)
    titles[BANK] = "neutral texts"
    chosen = controls.held_choice("Contrast", titles, place, scope, help_text, "none", 220)
    return tuple(json.loads(chosen)) if chosen in titles and chosen != BANK else chosen


def shown(key: str, contrasted: bool) -> Shown:
    """Which quantity is drawn; without a contrast there is one."""
    return Shown(controls.choice("Show", list(Shown), Shown.OWN, key, SHOW)) if contrasted else Shown.OWN
