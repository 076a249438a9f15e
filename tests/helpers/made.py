"""Results made by hand, in which every number is one that a test can name. No model runs."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from infoflow.analyses.attention import Attention, AttentionRequest
from infoflow.analyses.attribution import Attribution, AttributionRequest
from infoflow.analyses.carriers import Carriers, CarriersRequest
from infoflow.analyses.causal import Causal, CausalRequest
from infoflow.analyses.direct import DirectAttribution, DirectRequest
from infoflow.analyses.flow import Flow, FlowRequest
from infoflow.analyses.generation import Generation, GenerationRequest, Stopped
from infoflow.analyses.graph import Edges, Graph, GraphRequest, Nodes
from infoflow.analyses.location import Location, LocationRequest, Moves
from infoflow.analyses.logit_lens import Lens, LensRequest
from infoflow.analyses.promotions import Promotions, PromotionsRequest
from infoflow.analyses.provenance import Provenance
from infoflow.analyses.query_key import QueryKey, QueryKeyRequest
from infoflow.analyses.readers import Readers, ReadersRequest
from infoflow.analyses.result import Prediction
from infoflow.metrics import heads
from infoflow.models.spec import ModelSpec
from infoflow.studies.corrections import Answer, Change, CorrectionRequest
from infoflow.text.conversations import Form
from infoflow.text.rows import rows_of
from infoflow.text.tokens import Token, label
from infoflow.text.vocabulary import AFTER, AROUND

SPEC = ModelSpec(name="by-hand", revision="r1")
PROMPT = "a bb c"


def _of(request: Any, **more: Any) -> Provenance:
    return Provenance(request=request, dtype="float32", **more)


def flow(n_layers: int = 3, parts: dict[tuple[int, int, int], list[float]] | None = None, **more: Any) -> Flow:
    """Positions 0, 1, 2 of the sources first, second, second, third (at 3), all parts at right angles and of length 1 but for
    `parts`: lengths of the sources by (layer, stage, position)."""
    n, first = 4, [0, 1, 3]
    gram = np.zeros((n_layers, 2, n, 3, 3), np.float32)
    for cell in np.ndindex(n_layers, 2, n):
        for s in range(3):
            gram[(*cell, s, s)] = float(first[s] <= cell[2])
        for s, length in enumerate((parts or {}).get(cell, [])):
            gram[(*cell, s, s)] = length**2
    error = np.zeros((n_layers, 2, n), np.float32)
    error[1:2, 0, 2:] = 4e-6, 1e-6
    top = tuple(Prediction(f"t{i}", i, p, 5.0 - i) for i, p in enumerate((0.5, 0.2, 0.02, 0.019)))
    fields: dict[str, Any] = {
        "tokens": ("A", " b", "c", " d"),
        "labels": ("A", "b", "c", "d"),
        "token_ids": (0, 1, 2, 3),
        "word_labels": ("A", "bc", "bc", "d"),
        "source_labels": ("A", "bc", "d"),
        "source_of": np.array([0, 1, 1, 2]),
        "gram": gram,
        "embedding_norm": np.array([2, 3, 4, 5], np.float32),
        "error": error,
        "top": top,
        "targets": top[:2],
        "source_logits": np.array([[1, 2], [-4, 1], [2, 8]], np.float32),
        "logit_error": 1e-6,
        "top_agrees": True,
        "pattern_row_error": 0.0,
        "provenance": _of(FlowRequest(model=SPEC, prompt=PROMPT, sources="words"), sources="words", infoflow="9.9", method=7),
    }
    return Flow(**{**fields, **more})


def attention(pattern: np.ndarray, **more: Any) -> Attention:
    """Any pattern [layer, head, dest, src]; values of source j are j + 1 long, what they write ten times that."""
    n_layers, n_heads, n, _ = pattern.shape
    lengths = np.broadcast_to(np.arange(1, n + 1, dtype=np.float32), (n_layers, n_heads, n))
    names = tuple("ABCDEFGH"[:n])
    fields: dict[str, Any] = {
        "tokens": names,
        "labels": names,
        "prompt_ids": tuple(range(n)),
        "word_labels": names,
        "pattern": pattern.astype(np.float32),
        "value_norm": lengths.copy(),
        "write_norm": 10 * lengths,
        "write_scale": np.ones((n_layers, n), np.float32),
        "scores": heads.score(pattern, range(n)),
        "next_token": Prediction(" next", 7, 0.8, 4.0),
        "head_logits": np.arange(n_layers * pattern.shape[1], dtype=np.float32).reshape(n_layers, -1),
        "provenance": _of(AttentionRequest(model=SPEC, prompt=PROMPT)),
    }
    return Attention(**{**fields, **more})


def generation(weights: list[list[float]] | np.ndarray, n_prompt: int, **more: Any) -> Generation:
    """A written text whose only head has these weights, [step, source]; or several heads' [layer, head, step, source]."""
    pattern = np.array(weights, dtype=np.float32)
    pattern = pattern if pattern.ndim == 4 else pattern[None, None]
    steps = pattern.shape[2]
    pieces = tuple(Token(i, f" {chr(97 + i)}") for i in range(n_prompt + steps))
    labels = tuple(map(label, pieces))
    values = np.arange(1, steps * pattern.shape[-1] + 1, dtype=np.float32).reshape(steps, -1)
    likely = np.array([[n_prompt + step, 20 + step] for step in range(steps)])
    fields: dict[str, Any] = {
        "tokens": tuple(t.text for t in pieces),
        "labels": labels,
        "pieces": pieces,
        "n_prompt": n_prompt,
        "stopped": Stopped.LENGTH,
        "pattern": pattern,
        "by_source": values,
        "bias": np.zeros(steps, np.float32),
        "put_in": np.zeros(steps, np.float32),
        "specific": None,
        "contrast": None,
        "contrast_total": None,
        "total": values.sum(1),
        "logit": values.sum(1),
        "softcap": 0.0,
        "token_ids": likely,
        "logits": np.tile(np.array([3.0, 1.0], np.float32), (steps, 1)),
        "probs": np.tile(np.array([0.7, 0.1], np.float32), (steps, 1)),
        "prob": np.full(steps, 0.7, np.float32),
        "rank": np.zeros(steps, np.int32),
        "max_error": 0.0,
        "names": {int(i): f" n{i}" for i in likely.ravel()},
        "how": "greedy",
        "form": Form.PLAIN,
        "provenance": _of(GenerationRequest(model=SPEC, prompt=PROMPT)),
    }
    return Generation(**{**fields, **more})


def lens(likeliest: list[list[int]], mids: bool = True, **more: Any) -> Lens:
    """The likeliest token of every row and position; the second likeliest is token 9. Followed: tokens 1 and 2."""
    ids = np.array(likeliest)
    n_rows, n = ids.shape
    names = tuple("ABCD"[:n])
    grid = np.arange(n_rows * n, dtype=np.float32).reshape(n_rows, n)
    both = np.stack([ids, np.full_like(ids, 9)], -1)
    fields: dict[str, Any] = {
        "tokens": names,
        "labels": names,
        "prompt_ids": tuple(range(n)),
        "positions": tuple(range(n)),
        "rows": rows_of((n_rows - 1) // (1 + mids), mids),
        "token_ids": both,
        "logits": np.stack([grid, grid - 1], -1),
        "probs": np.stack([0.5 + grid / 100, 0.4 - grid / 100], -1),
        "entropy": grid / 10,
        "kl": grid[::-1] / 5,
        "targets": (1, 2),
        "target_logits": np.stack([grid, 2.0 * grid[::-1]], -1),
        "target_probs": np.stack([grid / 50, grid / 100], -1),
        "target_ranks": np.stack([ids, ids + 1], -1),
        "answers": np.array([[1, 7]] * n),
        "answer_probs": np.stack([grid / 50, grid / 25], -1),
        "max_error": 0.0,
        "names": {i: f" n{i}" for i in range(12)},
        "provenance": _of(LensRequest(model=SPEC, prompt=PROMPT, targets=(1, 2))),
    }
    return Lens(**{**fields, **more})


def causal(linear: list[float], effect: list[float], **more: Any) -> Causal:
    """One token a source."""
    names = tuple("ABCDEFGH"[: len(linear)])
    fields: dict[str, Any] = {
        "tokens": names, "labels": names, "target": 1, "against": 2, "position": len(linear) - 1, "by": "block",
        "source_labels": names, "source_of": np.arange(len(linear)), "linear": np.array(linear), "effect": np.array(effect),
        "total": 4.0, "max_error": 0.0, "provenance": _of(CausalRequest(model=SPEC, prompt=PROMPT, target=1, against=2)),
    }  # fmt: skip
    return Causal(**{**fields, **more})


def query_key(parts: list[list[float]], **more: Any) -> QueryKey:
    """Head 1.0 of the last of as many tokens as there are sources, at the first; scores of the others are -1."""
    size = len(parts)
    names, whole = tuple("ABCDEFGH"[:size]), float(np.sum(parts))
    fields: dict[str, Any] = {
        "tokens": names, "labels": names, "layer": 1, "head": 0, "query": size - 1, "key": 0, "against": None,
        "source_labels": names, "parts": np.array(parts, dtype=float), "by_position": 0.0, "score": whole,
        "scores": np.array([whole, *[-1.0] * (size - 1)]), "weights": np.array([0.75, *[0.25 / max(1, size - 1)] * (size - 1)]),
        "softcap": 0.0, "max_error": 0.0,
        "provenance": _of(QueryKeyRequest(model=SPEC, prompt=PROMPT, layer=1, head=0, query=size - 1, key_position=0)),
    }  # fmt: skip
    return QueryKey(**{**fields, **more})


def readers(direct: float, by_head: Sequence[float], by_mlp: float, head: int = 1, **more: Any) -> Readers:
    """Head 0.1 of two layers, over A, B, C: what goes directly, through the heads of layer 1 and through its MLP. All of it comes
    from B to C but for 0.5 that stays at C. Its write promotes token 1 and suppresses token 2."""
    total = direct + sum(by_head) + by_mlp
    moved = np.zeros((3, 3), np.float32)
    moved[2, 1:] = total - 0.5, 0.5
    fields: dict[str, Any] = {
        "tokens": tuple("ABC"), "labels": tuple("ABC"), "layer": 0, "head": head, "target": 1, "target_name": " b", "against": 2,
        "against_name": " c", "position": 2, "direct": direct, "by_head": np.array([[0.0] * len(by_head), by_head], np.float32),
        "by_mlp": np.array([0.0, by_mlp], np.float32), "by_position": np.array([0, 0, total], np.float32),
        "moves": None if head < 0 else moved, "bias": 0.0, "put_in": 0.0, "token_ids": np.array([[1, 3], [2, 4]]),
        "promoted": np.array([[3.0, 1.0], [-2.0, -0.5]], np.float32), "names": {1: " b", 2: " c", 3: "d", 4: "e"},
        "total": total, "logit_total": 10.0, "softcap": 0.0, "max_error": 0.0,
        "provenance": _of(ReadersRequest(model=SPEC, prompt=PROMPT, layer=0, head=head, target=1)),
    }  # fmt: skip
    return Readers(**{**fields, **more})


def promotions(n_rows: int) -> Promotions:
    """The same of every row: token 3 rose, 5 fell, 4 did both by little."""
    return Promotions(
        tokens=("A", "B"),
        labels=("A", "B"),
        position=1,
        rows=rows_of((n_rows - 1) // 2, True),
        token_ids=np.tile(np.array([3, 4, 5, 4]), (n_rows, 1)),
        gained=np.tile(np.array([0.3, 5e-5, -0.4, 0.02], np.float32), (n_rows, 1)),
        rank_before=np.tile(np.array([8, 7, 0, 7]), (n_rows, 1)),
        rank_after=np.tile(np.array([0, 6, 9, 6]), (n_rows, 1)),
        names={i: f" n{i}" for i in range(12)},
        provenance=_of(PromotionsRequest(model=SPEC, prompt=PROMPT, position=1)),
    )


def direct(**more: Any) -> DirectAttribution:
    """Two layers of two heads that write 1 to 4, and MLPs of 5 and 6."""
    fields: dict[str, Any] = {
        "tokens": ("A", "B"), "labels": ("A", "B"), "target": 1, "against": None, "position": 1,
        "by_head": np.array([[1, 2], [3, 4]], np.float32), "by_mlp": np.array([5, 6], np.float32), "embedding": 0.5,
        "direct_bias": 0.25, "direct_put_in": 0.0, "direct_total": 21.75, "total": 21.75, "model_total": 21.75,
        "direct": "folded", "centred": False, "max_error": 0.0,
        "provenance": _of(DirectRequest(model=SPEC, prompt=PROMPT, target=1)),
    }  # fmt: skip
    return DirectAttribution(**{**fields, **more})


def attribution(by_source: list[float], bias: float = 0.0, **more: Any) -> Attribution:
    """Two layers of two heads, whose direct contributions are 1 to 4, and MLPs of 5 and 6."""
    n = len(by_source)
    names = tuple("ABCDEFGH"[:n])
    total = sum(by_source) + bias
    fields: dict[str, Any] = {
        "tokens": names,
        "labels": names,
        "target": 1,
        "against": None,
        "position": n - 1,
        "by_source": np.array(by_source, np.float32),
        "bias": bias,
        "put_in": 0.0,
        "by_head": np.array([[1, 2], [3, 4]], np.float32),
        "by_mlp": np.array([5, 6], np.float32),
        "embedding": 0.5,
        "direct_bias": 0.25,
        "direct_put_in": 0.0,
        "total": total,
        "model_total": total,
        "softcap": 0.0,
        "direct": "folded",
        "direct_total": total,
        "specific": None,
        "contrast": None,
        "contrast_total": None,
        "centred": False,
        "max_error": 1e-6,
        "provenance": _of(AttributionRequest(model=SPEC, prompt=PROMPT, target=1)),
    }
    return Attribution(**{**fields, **more})


def carriers(**more: Any) -> Carriers:
    """What is at layer 1 of 3 of a source: one head brought 0.6 of it, another -0.3."""
    by_head = np.zeros((2, 2, 3), np.float32)
    by_head[0, 1, 0], by_head[1, 0, 1] = 0.6, -0.3
    reads = np.zeros((3, 2, 3), np.float32)
    reads[2, 1, 2], reads[2, 0, 2] = -0.5, 0.25
    fields: dict[str, Any] = {
        "tokens": ("A", "B", "C"),
        "labels": ("A", "B", "C"),
        "source": "A",
        "layer": 1,
        "stage": "mid",
        "position": 1,
        "norm": 2.0,
        "by_head": by_head,
        "by_mlp": np.array([0.4, 0.0], np.float32),
        "embedding": 0.2,
        "direct_bias": 0.1,
        "arrives": np.arange(9, dtype=np.float32).reshape(3, 3) / 10,
        "reads": reads,
        "max_error": 0.0,
        "provenance": _of(CarriersRequest(model=SPEC, prompt=PROMPT, layer=1, position=1, source="A", stage="mid")),
    }
    return Carriers(**{**fields, **more})


def location(by_cell: Sequence[Sequence[float]], moves: Sequence[tuple[int, int, int, int, float]] = (), **more: Any) -> Location:
    """Where a logit is at the three rows of a model of two layers without rows between: positions A, B, C, read off at C. Moves:
    layer, head, source, dest, logit."""
    cells = np.array(by_cell, np.float32)
    arrived, left = np.zeros((2, 2, 3), np.float32), np.zeros((2, 2, 3), np.float32)
    ends = [Moves(np.zeros((2, 3, 3), np.float32), np.zeros((2, 3, 3), int), np.zeros((2, 3, 3), int)) for _ in range(2)]
    for layer, head, source, dest, logit in moves:
        arrived[layer, head, dest] += logit
        left[layer, head, source] += logit
        for end, (here, other) in zip(ends, ((dest, source), (source, dest)), strict=True):
            slot = int((end.logit[layer, here] != 0).sum())
            end.logit[layer, here, slot], end.head[layer, here, slot], end.other[layer, here, slot] = logit, head, other
    fields: dict[str, Any] = {
        "tokens": ("A", "B", "C"), "labels": ("A", "B", "C"), "target": 1, "target_name": "b", "against": None,
        "against_name": None, "position": 2, "rows": ("embed", "L0.post", "L1.post"), "by_cell": cells,
        "bias": np.zeros(3, np.float32), "put_in": np.zeros(3, np.float32), "put_in_at": np.zeros((2, 3), np.float32),
        "added": np.zeros((2, 3), np.float32), "arrived": arrived, "left": left,
        "arrivals": ends[0], "departures": ends[1], "by_mlp": np.full((2, 3), 0.5, np.float32), "total": float(cells[0].sum()),
        "specific": None, "contrast": None, "contrast_total": None, "contrasts": ("a cc c",),
        "model_total": float(cells[0].sum()), "softcap": 0.0, "centred": False,
        "top": (Prediction("b", 1, 0.75, 2.0), Prediction("c", 2, 0.125, 1.0)), "max_error": 0.0,
        "provenance": _of(LocationRequest(model=SPEC, prompt=PROMPT, target=1)),
    }  # fmt: skip
    return Location(**{**fields, **more})


def graph(edges: Sequence[tuple[int, int, int, float]], by_source: Sequence[float], n_layers: int = 2, **more: Any) -> Graph:
    """Paths to the logit after the last of positions A, B, C, ...: layer, source, dest, amount of each edge. Of a move, head 1
    does 0.5 more than all of it, and head 0 lowers that. A cell holds what goes on from it."""
    n, ends = len(by_source), (n_layers, len(by_source) - 1)
    layer, source, dest, amount = (np.array(values) for values in zip(*edges, strict=True))
    moves = source != dest
    held: dict[tuple[int, int], float] = {}
    for at, start, _, logit in edges:
        held[at, start] = held.get((at, start), 0.0) + logit
    held[ends] = sum(logit for at, _, to, logit in edges if (at + 1, to) == ends)
    cells = sorted(held)
    names = tuple("ABCDEFGH"[:n]) if n <= 8 else tuple(f"t{i}" for i in range(n))
    fields: dict[str, Any] = {
        "tokens": names, "labels": names, "target": 1, "target_name": "b", "against": None, "against_name": None,
        "position": n - 1, "threshold": 0.1, "rows": rows_of(n_layers, False),
        "nodes": Nodes(*np.array(cells).T, np.array([held[cell] for cell in cells], np.float32)),
        "edges": Edges(
            layer, source, dest, amount.astype(np.float32), np.where(moves[:, None], [1, 0], -1),
            np.where(moves[:, None], np.stack([amount + 0.5, np.full(len(edges), -0.5)], 1), 0).astype(np.float32),
        ),
        "by_source": np.array(by_source, np.float32), "all_by_source": np.array(by_source, np.float32) + 1,
        "bias": 0.0, "all_bias": 0.0, "put_in": 0.0, "all_put_in": 0.0, "total": held[ends], "model_total": held[ends],
        "softcap": 0.0, "max_error": 0.0, "provenance": _of(GraphRequest(model=SPEC, prompt=PROMPT, target=1)),
    }  # fmt: skip
    return Graph(**{**fields, **more})


def answer(text: str = "b", **more: Any) -> Answer:
    """An answer read off three tokens, through embedding and two layers."""
    fields: dict[str, Any] = {
        "turns": (("user", "q"),),
        "text": text,
        "form": Form.PLAIN,
        "turn_of": (AROUND, 0, AFTER),
        "generation": generation([[0.5, 0.3, 0.2]], 3),
        "lens": lens([[5, 5, 5], [5, 5, 2], [5, 5, 1]], mids=False, targets=(1,)),
    }
    made = {**fields, **more}
    if len(made["lens"].targets) == 1 and made["lens"].target_logits.shape[-1] == 2:
        made["lens"] = _followed(made["lens"], 1)
    return Answer(**made)


def _followed(of: Lens, n: int) -> Lens:
    fields = {name: getattr(of, name) for name in of.__dataclass_fields__}
    for name in ("target_logits", "target_probs", "target_ranks"):
        fields[name] = fields[name][..., :n]
    return Lens(**fields)


def change(difference: Attribution | None, **more: Any) -> Change:
    """From “old” to “new” in a conversation of three parts."""
    fields: dict[str, Any] = {
        "before": answer("old"),
        "after": answer("new"),
        "lens": lens([[5, 5, 5], [5, 5, 2], [5, 5, 0]], mids=False),
        "parts": ("start", "question: q", "answer cue"),
        "part_of": np.array([0, 1, 2]),
        "difference": difference,
    }
    return Change(**{**fields, **more})


def talked() -> Provenance:
    """Of a conversation."""
    return _of(CorrectionRequest(model=SPEC, prompt=("Is it?", "No.")))
