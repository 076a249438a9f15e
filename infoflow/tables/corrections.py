"""The tables that the corrections page shows, beside `Answer.to_frame` and `Change.to_frame`."""

from enum import StrEnum

import pandas as pd

from infoflow.studies.corrections import Answer, Change
from infoflow.tables import attention as attention_tables
from infoflow.tables.flow import visible
from infoflow.tables.generation import likeliest
from infoflow.tables.logit_lens import row_title
from infoflow.text.tokens import BIAS, PUT_IN, groups_of, unique


class Level(StrEnum):
    """Whose attention the bars show."""

    LAST = "last layer"
    ALL = "mean of all"
    HEAD = "one head"


def attended(found: Answer, level: str, layer: int, head: int, hide_first: bool = True) -> tuple[pd.DataFrame, float]:
    """What the position that the answer is read off attends to, summed by word, in shares of what is shown: name, share; and
    the first token's share of the row, which is left out where it is hidden."""
    gen = found.generation
    pattern = gen.pattern[:, :, 0, : gen.n_prompt]
    if level == Level.LAST:
        row = pattern[-1].mean(0)
    elif level == Level.ALL:
        row = pattern.mean((0, 1))
    else:
        row = pattern[layer, head]
    row, first = row.copy(), float(row[0])
    if hide_first:
        row[0] = 0
    words = groups_of("words", gen.pieces[: gen.n_prompt])
    return attention_tables.attended(row[None], words).rename(columns={"label": "name"}), first


def top(found: Answer) -> pd.DataFrame:
    """The five likeliest tokens where the answer begins: token, probability, logit."""
    return likeliest(found.generation, 0).drop(columns="written")


def layers(*answers: Answer) -> pd.DataFrame:
    """`Answer.to_frame` of one or two answers side by side, the output first: layer, and for each the probability of its own
    first token and the likeliest others."""
    columns: dict[str, pd.Series] = {}
    for number, found in enumerate(answers):
        table = found.to_frame()
        columns["layer"] = table["row"].map(lambda row: row_title(row).removesuffix(", after MLP"))
        same = " (after)" if number and found.text == answers[0].text else ""
        columns[f"“{found.text}”{same}"] = table["probability"]
        columns["others" if number == 0 else "others after"] = table["alternatives"]
    return pd.DataFrame(columns)[::-1].reset_index(drop=True)


def turns(change: Change) -> pd.DataFrame:
    """`Change.to_frame` for a picture: label (short, unique), logit, said (in full); with a contrast specific and hindsight."""
    table = change.to_frame()
    short = [part if len(part) <= 34 else part[:33] + "…" for part in table["part"]]
    n = len(change.parts)
    labels = [*unique(short[:n], [BIAS]), *short[n:]]
    return table.drop(columns="part").assign(label=labels, said=table["part"])


def of_quantity(table: pd.DataFrame, quantity: str) -> pd.DataFrame:
    """`turns` with another quantity as its logit: own, or with a contrast specific or hindsight, in which biases have no part."""
    if quantity == "own" or quantity not in table:
        return table
    return table.assign(logit=table[quantity])[~table["said"].isin((PUT_IN, BIAS))]


def words(change: Change, quantity: str = "own") -> pd.DataFrame:
    """The same by token, in reading order: label, logit, part; what is no token's last."""
    found = change.difference
    if found is None:
        return pd.DataFrame({"label": [], "logit": [], "part": []})
    of = {"own": found.by_source, "specific": found.specific, "hindsight": found.hindsight}[quantity]
    table = pd.DataFrame({
        "label": list(found.position_labels), "logit": (found.by_source if of is None else of).astype(float),
        "part": [change.parts[i] for i in change.part_of],
    })  # fmt: skip
    for name, value in found.of_no_token.items() if quantity == "own" or of is None else ():
        table.loc[len(table)] = [name, value, name]
    return table


def said(change: Change) -> str:
    """From which layer on the answer was the new one, in a sentence."""
    old, new = change.before.text, change.after.text
    if change.difference is None:
        same = "The answer did not change" if old == new else "Both answers begin with the same token"
        return f"{same}: there is no lead of one over the other to split."
    lead = f"“{new}” leads “{old}” by {change.difference.model_total:.2f} logits"
    if change.flips_at is None:
        return f"{lead}; read layer by layer, the two are level at the output: neither is ahead for good."
    return f"{lead}, for good from {_in_a_sentence(change.lens.rows[change.flips_at])} on."


def wins(change: Change) -> str:
    """From which row on the new answer is the likeliest token of all; '' where the answer did not change."""
    if change.flips_at is None:
        return ""
    row = change.lens.rows[min(change.wins_at, len(change.lens.rows) - 1)]
    return f"The likeliest of all tokens it is from {_in_a_sentence(row)} on."


def _in_a_sentence(row: str) -> str:
    title = row_title(row)
    return title[0].lower() + title[1:]


def other_answers(saved: tuple[str, ...], now: tuple[str, ...]) -> str:
    """What a reopened conversation answers otherwise than it was saved; '' if nothing."""
    changed = [
        f"answer {n + 1} is “{visible(b)}”, saved was “{visible(a)}”"
        for n, (a, b) in enumerate(zip(saved, now, strict=False))
        if a != b
    ]
    return f"The model answers otherwise than when this was saved: {'; '.join(changed)}." if changed else ""
