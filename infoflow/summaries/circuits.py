"""What a minimal circuit says: how small it is, how well it does alone, and what is left without it."""

from infoflow.analyses.circuits import Circuit
from infoflow.summaries.sentence import Sentence

SHOWN = 12
"""members that are named"""


def sentences(found: Circuit) -> tuple[Sentence, ...]:
    """Size with both figures, and the members."""
    few = f"{found.size} of {found.knocked.size} heads and MLPs keep {found.faithfulness:.0%} of the lead alone; without them "
    names = ", ".join(found.names[:SHOWN]) + (" …" if found.size > SHOWN else "")
    return Sentence(f"{few}{1 - found.completeness:.0%} of it is left."), Sentence(f"They are {names}.")
