"""A data set of three prompts made by hand: every number of its summaries can be worked out on paper."""

from pathlib import Path
from typing import Any

import pandas as pd

from infoflow.files.datasets import Kept, Writer
from infoflow.files.prompts import Shard
from infoflow.studies.batch import ANALYSES, Batch, open_batch

PROMPTS = (("A b c", "x"), ("A d", "y"), ("bad", "x"))
LAYERS = 2
SHARES = (
    [("A", 0, 0.0, "first token"), ("b", 1, 0.5, "word"), ("c", 2, 1.0, "word")],
    [("A", 0, 0.0, "first token"), ("D", 1, 1.0, "capitalised")],
)
"""of each prompt that is not bad: token, position, relative place, kind"""
VALUES = ([[0.2, 0.3, 0.5], [0.1, 0.5, 0.4]], [[0.6, 0.4], [0.5, 0.5]])
"""share by layer and source"""
KINDS = (["induction", "diffuse", "previous token", "induction"], ["induction", "diffuse", "diffuse", "previous token"])
"""of heads 0.0, 0.1, 1.0, 1.1"""
WRITES = ([1.0, -1.0, 0.5, 2.0], [3.0, 0.0, -0.5, 1.0])
ARRIVES = ([0.5, 2.0], [1.5, -1.0])
ERRORS = (3e-7, 2e-6)
_FLOW = ["layer", "source", "position", "relative", "token", "kind", "share"]


def _heads(number: int) -> pd.DataFrame:
    rows = [(n // 2, n % 2, kind) for n, kind in enumerate(KINDS[number])]
    table = pd.DataFrame(rows, columns=["layer", "head", "kind"])
    looks = ("b", "A")[number]
    return table.assign(
        previous=0.1, duplicate=0.2, induction=0.3, entropy=1.0, concentration=0.5, sink_share=0.4, first_weight=0.6,
        looks_position=1 - number, looks_token=looks, looks_weight=0.25, writes=[10 * w for w in WRITES[number]],
    )  # fmt: skip


def _kept(number: int) -> Kept:
    prompt, group = PROMPTS[number]
    bad = number == 2
    record: dict[str, Any] = {
        "number": number, "id": f"p{number}", "group": group, "prompt": prompt, "target": "#7" if number == 0 else None,
        "against": None, "model": "by-hand", "revision": "r1", "dtype": None if bad else "float32", "verdict": "exact",
        "digest": str(number),
        "n_tokens": None if bad else 3 - number, "top": None if bad else f" t{number}", "top_probability": None if bad else 0.5,
        "error": "It is bad." if bad else None, "seconds": 0.1, "link": f"/?prompt={number}",
        "link_heads": f"/attention?prompt={number}",
        **({} if bad else {f"max_error_{name}": ERRORS[number] for name in ANALYSES if name != "heads"}),
    }  # fmt: skip
    if bad:
        return Kept(record, {})
    flow = [
        (layer, source, position, relative, token, kind, VALUES[number][layer][source])
        for layer in range(LAYERS) for source, (token, position, relative, kind) in enumerate(SHARES[number])
    ]  # fmt: skip
    tables = {
        "flow": pd.DataFrame(flow, columns=_FLOW).assign(projection=0.5),
        "locate": pd.DataFrame({
            "layer": [0, 1], "arrives": ARRIVES[number], "head": 0, "from_position": 0, "from_token": "A", "from_logit": 1.0,
            "holds_position": 0, "holds_token": "A", "holds_logit": 1.0, "here": 1.0, "total": 2.0,
        }),
        "lens": pd.DataFrame({
            "row": ["embed", "L0.post", "L1.post"], "layer": [-1, 0, 1], "token": "t", "token_id": 1, "probability": 0.5,
            "entropy": 1.0, "kl": 0.5, "final": [False, False, True], "target_logit": 1.0, "target_rank": 1,
            "against_logit": 0.0, "against_rank": 2,
        }),
        "heads": _heads(number),
        "attribute": pd.DataFrame({
            "part": [*["head"] * 4, "MLP", "source"], "layer": [0, 0, 1, 1, 1, -1], "head": [0, 1, 0, 1, -1, -1],
            "position": [*[-1] * 5, 0], "token": [*[""] * 5, "A"], "logit": [*WRITES[number], 9.0, 9.0],
        }),
    }  # fmt: skip
    return Kept(record, tables)


def made(folder: Path, analyses: tuple[str, ...] = ANALYSES, numbers: tuple[int, ...] = (0, 1, 2), at_once: int = 2) -> Batch:
    """The data set in a folder, some of its tables alone."""
    about = {"model": {"name": "by-hand", "revision": "r1"}, "analyses": list(analyses), "settings": {}}
    with Writer(folder, about, Shard(), at_once) as writer:
        for number in numbers:
            kept = _kept(number)
            writer.add(Kept(kept.record, {name: table for name, table in kept.tables.items() if name in analyses}))
    return open_batch(folder)
