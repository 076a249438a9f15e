"""The tables of what raises a logit: by source, as coloured text, by writer."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from infoflow.analyses.attribution import Attribution
from infoflow.analyses.direct import DirectAttribution
from infoflow.analyses.flow import Flow
from infoflow.text.amounts import before_cap
from infoflow.text.characters import printable, shortened, spaces, width
from infoflow.text.tokens import BIAS, PUT_IN

LONGEST_PIECE = 24
"""how wide a piece of coloured text may become by joining tokens"""
LONGEST_SHOWN = 44
"""characters of a single token"""


def logit_parts(flow: Flow, target: int, against: int | None = None) -> pd.DataFrame:
    """Each source's part of a target's logit at the last position, or of its lead over another's: source, source_label, logit."""
    parts = flow.logits(target, against)
    table = pd.DataFrame({"source": range(len(parts)), "source_label": list(flow.source_labels), "logit": parts})
    return table.sort_values("logit", key=np.abs, ascending=False, ignore_index=True, kind="stable")


def cap_note(flow: Flow, target: int, against: int | None = None) -> str:
    """What is to be said of `logit_parts` where the family caps its logits; '' of any other."""
    of = {t.id: t for t in flow.targets}
    both = [of[target], *([of[against]] if against is not None else [])]
    if both[0].before_cap is None:
        return ""
    signs = (1, -1)
    total = sum(sign * (t.before_cap or 0.0) for sign, t in zip(signs, both, strict=False))
    return before_cap(total, sum(sign * t.logit for sign, t in zip(signs, both, strict=False)))


def attributed(flow: Flow, found: Attribution, quantity: str = "own") -> pd.DataFrame:
    """The same table as `logit_parts`, of an attribution to any target, its tokens summed by the flow's sources: their own parts,
    or with a contrast what is specific, or hindsight."""
    of = {"own": found.by_source, "specific": found.specific, "hindsight": found.hindsight}[quantity]
    labels = list(flow.source_labels)
    parts, first = np.zeros(len(labels)), int(flow.source_of.max()) + 1
    np.add.at(parts, flow.source_of, found.by_source if of is None else of)
    if labels[-1] == BIAS and quantity == "own":
        parts[-1] += found.bias
    if found.put_in and quantity == "own" and first < len(labels):  # told in one number, whatever is put in
        parts[first] += found.put_in
        labels[first] = labels[first] if len(labels) - first == 1 + (labels[-1] == BIAS) else PUT_IN
    table = pd.DataFrame({"source": range(len(parts)), "source_label": labels, "logit": parts})
    return table.sort_values("logit", key=np.abs, ascending=False, ignore_index=True, kind="stable")


def coloured_pieces(flow: Flow, parts: pd.DataFrame, hidden: Sequence[int]) -> pd.DataFrame:
    """The prompt piece by piece, each with what its source adds: text, logit; 0 for a hidden source. A word is one piece."""
    value = dict(zip(parts["source"], parts["logit"], strict=True))
    pieces: list[tuple[str, int]] = []  # as in the prompt, and of which source
    for p, source in enumerate(flow.source_of.tolist()):
        if not flow.tokens[p] and pieces and pieces[-1][1] == source:
            continue  # a later piece of a character
        special = flow.labels[p].startswith("⟨") or not flow.tokens[p]  # a mark, bytes, such a piece by itself
        text = flow.labels[p] if special else flow.tokens[p]
        before = pieces[-1][0] if p and pieces[-1][1] == source else None
        long = before is not None and width(before) + width(text) > LONGEST_PIECE  # scripts without spaces
        if before is not None and not special and not long and not (text[:1].isspace() and before.strip()):
            text = pieces.pop()[0] + text
        pieces.append((text, source))
    shown = [shortened(printable(t).strip() or spaces(t) or "␣", LONGEST_SHOWN) for t, _ in pieces]
    rows = [(t, 0.0 if s in hidden else float(value[s])) for t, (_, s) in zip(shown, pieces, strict=True)]
    return pd.DataFrame(rows, columns=["text", "logit"])


def writers(found: Attribution | DirectAttribution) -> pd.DataFrame:
    """Direct contributions as a map: row (layer), column (head, or MLP), logit, layer, head (-1 of an MLP)."""
    table = found.direct_frame()
    table = table[table["layer"] >= 0]
    column = np.where(table["kind"] == "MLP", "MLP", "H" + table["head"].astype(str))
    out = pd.DataFrame({"row": "L" + table["layer"].astype(str), "column": column, "logit": table["logit"]})
    out["layer"], out["head"] = table["layer"], table["head"]
    order = table.assign(last=table["kind"] == "MLP").sort_values(["layer", "last", "head"], kind="stable").index
    return out.loc[order].reset_index(drop=True)
