"""What a run is held against: the control, and which of the three quantities is shown."""

from collections.abc import Sequence
from enum import StrEnum

from infoflow.text.contrasts import BANK, difference
from infoflow.ui import controls
from infoflow.ui.places import Places

HELP = """Another prompt of as many tokens, whose residuals take the place of this one's: pick one with a word swapped, the mean
over neutral texts, or type your own and press Enter. What it says too is hindsight: paths that are held fixed are those of the
finished run, and part of what a cell holds along them would be there for any text."""
SHOW = """**own**: all that is held. **specific**: what is there beyond the contrast. **hindsight**: what the contrast would have
said here too. Own is the sum of the two."""


class Shown(StrEnum):
    """Of what is attributed."""

    OWN = "own"
    SPECIFIC = "specific"
    HINDSIGHT = "hindsight"


def contrast(prompt: str, proposed: Sequence[str], place: Places, scope: str, width: int = 220) -> str | None:
    """A proposed contrast, the neutral texts, any prompt that is typed, or none."""
    titles = {**{other: difference(prompt, other) for other in proposed}, BANK: "neutral texts"}
    return controls.held_choice("Contrast", titles, place, scope, HELP, "none", width)


def shown(key: str, contrasted: bool) -> Shown:
    """Which quantity is drawn; without a contrast there is one."""
    return Shown(controls.choice("Show", list(Shown), Shown.OWN, key, SHOW)) if contrasted else Shown.OWN
