"""What a sweep of patched runs says: which part brings most of the answer back, and whether the two runs differ at all."""

import numpy as np

from infoflow.analyses.patching import Patching
from infoflow.analyses.sweeps import Direction
from infoflow.summaries.sentence import Sentence, quoted
from infoflow.tables import patching as tables

HARDLY = "The two hardly differ, so that shares of the way between them mean little: corrupt another word."


def sentences(found: Patching) -> tuple[Sentence, ...]:
    """The two runs, and the strongest part."""
    over = f" over {quoted(found.against_label.strip())}" if found.against_label else ""
    what = f"The {'lead' if over else 'logit'} of {quoted(found.target_label.strip())}{over}"
    clean, corrupted = float(found.clean.lead), float(found.corrupted.lead)
    runs = Sentence(f"{what} is {clean:+.1f} in the clean run and {corrupted:+.1f} in the corrupted one.")
    if found.hardly:
        return runs, Sentence(HARDLY)
    change = found.change("recovery")
    best = found.strongest(1, "recovery")[0]
    if not np.isfinite(change[best]) or not change[best]:
        return runs, Sentence("No single part changes anything.")
    table = tables.strongest(found, "recovery", 1).iloc[0]
    does = "brings back most" if found.direction == Direction.DENOISING else "moves most"
    place = {"layer": int(table["layer"])} | ({"head": int(table["head"])} if "head" in table else {})
    return runs, Sentence(f"Of single parts {table['name']} {does}: {float(change[best]):+.0%} of the way.", place)
