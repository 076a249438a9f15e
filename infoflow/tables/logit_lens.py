"""The tables that the logit lens page shows, beside `Lens.to_frame`."""

import numpy as np
import pandas as pd

from infoflow.analyses.logit_lens import Lens
from infoflow.text.contrasts import BANK
from infoflow.text.rows import row_label, row_title
from infoflow.text.tokens import unique, visible

COLOURS = {
    "probability": "of the likeliest token; stronger is likelier",
    "entropy": "of the distribution, in nats; stronger is surer",
    "rank": "of the followed token; the strongest is rank 1",
    "lead": "logit of the first followed token above the second's; green is ahead, magenta behind",
    "KL to output": "what is lost by taking the row's distribution for the output's, in nats; stronger is closer",
}
"""what the cells of the table can be coloured by"""
NAMES = {"logit": "Logit lens", "frozen": "Frozen lens", "jacobian": "Jacobian lens", "tuned": "Tuned lens"}
"""what lenses are called, by kind"""
OTHER_TEXT = {True: "a neutral text's state", False: "the contrast's state"}
"""whose state reads the same, by whether it is the neutral texts'"""
FOLLOWED = {"rank": 1, "lead": 2}
"""colours that need so many followed tokens"""
ERROR = {"own": "Top row against the model's logits", "last": "Sum of each row's readings against the model's logits"}
"""what the error is of, by where a state is read"""
LEAST = 0.01
"""of probability: less is not told"""
LATE = 0.5
"""a row whose likeliest token is the final one at fewer positions than this is read with care"""


def grid(lens: Lens, colour: str, followed: int | None = None, mids: bool = True) -> pd.DataFrame:
    """One cell per row and position: row, order, position, label, text, value, strength (0 to 1; -1 to 1 for a lead), final
    (whether it says the final answer), shared (whether the contrast's state says the same), and what a tooltip tells.

    `followed` is the number, among the targets, of the token whose rank is shown.
    """
    n_rows, n = lens.entropy.shape
    order, column = np.indices((n_rows, n)).reshape(2, -1)
    position = np.array(lens.positions)[column]
    vocabulary_log = np.log(max(2, max(lens.names) + 1))
    if colour == "probability":
        value = strength = lens.probs[..., 0]
    elif colour == "entropy":
        value, strength = lens.entropy, 1 - lens.entropy / max(float(lens.entropy.max()), 1e-9)
    elif colour == "rank":
        value = lens.target_ranks[..., followed or 0] + 1.0
        strength = 1 - np.log(value) / vocabulary_log
    elif colour == "lead":
        value = lens.target_logits[..., 0] - lens.target_logits[..., 1]
        strength = value / max(float(np.abs(value).max()), 1e-9)
    else:
        value, strength = lens.kl, np.exp(-lens.kl)
    texts = {i: visible(name) for i, name in lens.names.items()}
    likely = [", ".join(f"{texts[i]} {p:.0%}" for i, p in zip(ids, probs, strict=True)) for ids, probs in _cells(lens)]
    flat = lens.probs[..., 0] - lens.probs[..., -1] < 1e-6 * lens.probs[..., 0]  # nothing of the state gets where it is read
    blank = (flat & (lens.probs.shape[-1] > 1)).ravel()
    says = [texts[i] for i in lens.token_ids[..., 0].ravel().tolist()]
    other = [""] * order.size if lens.other_ids is None else [texts[i] for i in lens.other_ids[..., 0].ravel().tolist()]
    shared = np.zeros(order.size, bool) if lens.hindsight is None else lens.hindsight.ravel()
    table = pd.DataFrame({
        "order": order, "row": [row_label(lens.rows[r]) for r in order], "where": [row_title(lens.rows[r]) for r in order],
        "position": position, "label": [lens.position_labels[p] for p in position],
        "text": ["" if none else word for none, word in zip(blank, says, strict=True)], "value": value.ravel().astype(float),
        "strength": np.clip(strength.ravel().astype(float), -1, 1),
        "final": lens.final.ravel() & ~blank, "likely": likely,
        "entropy": lens.entropy.ravel(), "kl": lens.kl.ravel(), "shared": shared & ~blank, "other": other,
    })  # fmt: skip
    return table if mids else table[~table["row"].str.endswith(" attn")].reset_index(drop=True)


def _cells(lens: Lens) -> list[tuple[list[int], list[float]]]:
    k = lens.token_ids.shape[-1]
    return list(zip(lens.token_ids.reshape(-1, k).tolist(), lens.probs.reshape(-1, k).tolist(), strict=True))


def likeliest(lens: Lens, row: int, position: int) -> pd.DataFrame:
    """The top k of one cell: token, probability, logit."""
    cell = row, lens.column(position)
    return pd.DataFrame({
        "token": [visible(lens.names[i]) for i in lens.token_ids[cell].tolist()],
        "probability": lens.probs[cell], "logit": lens.logits[cell],
    })  # fmt: skip


def beyond(lens: Lens, row: int, position: int) -> list[str]:
    """What one cell says beyond the contrast's state there, in a sentence or two; nothing without a contrast."""
    if (
        lens.other_ids is None
        or lens.other_probs is None
        or lens.raised_ids is None
        or lens.raised is None
        or lens.change is None
    ):
        return []
    cell = row, lens.column(position)
    reads = f"“{visible(lens.names[int(lens.other_ids[cell][0])])}” ({float(lens.other_probs[cell][0]):.0%})"
    more = [
        f"{visible(lens.names[i])} +{by:.0%}"
        for i, by in zip(lens.raised_ids[cell].tolist(), lens.raised[cell].tolist(), strict=True)
        if by >= LEAST
    ]
    whose = OTHER_TEXT[lens.contrast == BANK].capitalize()
    said = f"{whose} reads {reads} here; the two readings lie {float(lens.change[cell]):.0%} apart."
    return [said, f"Beyond it: {', '.join(more)}."] if more else [said]


def trajectories(lens: Lens, position: int, mids: bool = True) -> pd.DataFrame:
    """The final distribution's likeliest tokens and the followed ones through every row: order, row, token, id, probability,
    rank (1 is the likeliest; missing for tokens that are not followed), followed."""
    parts, column = [], lens.column(position)
    for n, target in enumerate(lens.targets):
        parts.append((target, lens.target_probs[:, column, n], lens.target_ranks[:, column, n] + 1.0))
    for n, answer in enumerate(lens.answers[column].tolist()):
        if answer not in lens.targets:
            parts.append((answer, lens.answer_probs[:, column, n], np.full(len(lens.rows), np.nan)))
    names = unique([visible(lens.names[token]) for token, *_ in parts])  # " a" and "a" are two tokens, and two lines
    keep = [i for i, row in enumerate(lens.rows) if mids or not row.endswith(".mid")]
    return pd.concat([
        pd.DataFrame({
            "order": keep, "row": [row_label(lens.rows[i]) for i in keep], "token": name, "id": token,
            "probability": probability[keep], "rank": rank[keep], "followed": token in lens.targets,
        }) for name, (token, probability, rank) in zip(names, parts, strict=True)
    ], ignore_index=True)  # fmt: skip


def contrasted(lens: Lens, other: Lens, mids: bool = True) -> pd.DataFrame:
    """Tokens through the layers at the last positions of two runs: those of `trajectories`, but for which run they are of
    (followed: this one). The other run must follow the tokens that are compared; others are left out."""
    mine = trajectories(lens, lens.positions[-1], mids)
    mine = mine[mine["id"].isin(other.targets)]
    theirs = trajectories(other, other.positions[-1], mids)
    names = dict(zip(mine["id"], mine["token"], strict=True))
    theirs = theirs[theirs["id"].isin(list(names))].assign(token=lambda table: table["id"].map(names))
    return pd.concat([mine.assign(followed=True, run="this"), theirs.assign(followed=False, run="other")], ignore_index=True)


def apart(lens: Lens, other: Lens) -> str:
    """Where two runs part, in a sentence or two: what each says in the end, and from which layer on their likeliest differ."""
    ids, others = lens.token_ids[:, -1, 0], other.token_ids[:, -1, 0]
    ends = [f"“{visible(of.names[int(i[-1])])}” ({float(of.probs[-1, -1, 0]):.0%})" for of, i in ((lens, ids), (other, others))]
    said = f"This prompt ends with {ends[0]}, the other with {ends[1]}."
    if ids[-1] == others[-1]:
        return said
    same = np.nonzero(ids == others)[0]
    since = int(same[-1]) + 1 if len(same) else 0
    return f"{said} Their likeliest tokens differ from “{row_title(lens.rows[since])}” on."


def reliability(lens: Lens, mids: bool = True) -> pd.DataFrame:
    """How far each row can be taken for a prediction: order, row, kl (mean over positions), agrees (share of positions)."""
    table = pd.DataFrame({
        "order": range(len(lens.rows)), "row": [row_label(r) for r in lens.rows], "kl": lens.kl.mean(1), "agrees": lens.agrees,
    })  # fmt: skip
    return table if mids else table[~table["row"].str.endswith(" attn")].reset_index(drop=True)


def hint(lens: Lens) -> str:
    """From which row on the lens says what the model says, in a sentence; of parts of a sum, what they are."""
    if lens.read == "last":
        return "Each cell is one part of what the last position says, and early parts say little by themselves."
    early = [row for row, share in zip(lens.rows, lens.agrees, strict=True) if share < LATE]
    if not early:
        return "Every row names the final token at half of the positions or more."
    why = ", they are not made to be unembedded" if lens.kind == "logit" else ""
    return (
        f"Up to “{row_title(early[-1])}”, fewer than half of the positions name the final token: read those rows with care{why}."
    )
