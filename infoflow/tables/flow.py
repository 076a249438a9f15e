"""The tables a page or an export shows of a flow, beside `Flow.to_frame`."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from infoflow.analyses.flow import Flow
from infoflow.errors import BadPrompt
from infoflow.metrics import shares as metrics
from infoflow.text.rows import ROW_NAMES, STAGES
from infoflow.text.tokens import visible


@dataclass(frozen=True)
class Cell:
    """One bar: its sources, the largest share first, and how far it can be trusted."""

    layer: int
    stage: str
    position: int
    sources: pd.DataFrame
    """source, source_label, share, projection, cosine, norm"""
    error: float
    cancellation: float
    effective_sources: float
    """exp of the entropy of the shares' sizes: how many equal sources would be as mixed"""


def cell(flow: Flow, layer: int, stage: str, position: int, metric: str = "norm", hidden: Sequence[int | str] = ()) -> Cell:
    """The details of one bar of an already grouped flow.

    Raises:
        BadPrompt: no such layer, stage or position.
    """
    if not (0 <= position < len(flow.tokens) and (stage == "embed" or (stage in STAGES and 0 <= layer < flow.n_layers))):
        raise BadPrompt(f"There is no cell at layer {layer}, stage '{stage}', position {position} in this run.")
    mask = flow.hidden_mask(hidden)
    if stage == "embed":
        gram = np.zeros(flow.gram.shape[-2:], dtype=np.float32)
        own = flow.source_of[position]
        gram[own, own] = flow.embedding_norm[position] ** 2
        error = 0.0
    else:
        gram = flow.gram[layer, STAGES.index(stage), position]
        error = float(flow.error[layer, STAGES.index(stage), position])
    seen = metrics.without(gram, mask)
    share = metrics.shares(seen, metric)
    here = np.flatnonzero((flow.first_position() <= position) & ~mask)
    table = pd.DataFrame({
        "source": here, "source_label": [flow.source_labels[i] for i in here], "share": share[here],
        "projection": metrics.shares(seen, "projection")[here], "cosine": metrics.cosine(seen)[here],
        "norm": metrics.norms(seen)[here],
    })  # fmt: skip
    table = table.sort_values("share", key=np.abs, ascending=False, ignore_index=True, kind="stable")
    return Cell(layer, stage, position, table, error, float(metrics.cancellation(gram)), metrics.effective_number(share))


def through_depth(flow: Flow, source: int, position: int, metric: str = "norm", hidden: Sequence[int | str] = ()) -> pd.DataFrame:
    """One source's share of one position in every layer and stage: depth (layers; attention at the half), row, share."""
    mask = flow.hidden_mask(hidden)
    share = metrics.shares(metrics.without(flow.gram[:, :, position], mask), metric)[..., source]
    rows = [(layer, k, stage) for layer in range(flow.n_layers) for k, stage in enumerate(STAGES)]
    return pd.DataFrame({
        "depth": [layer + k / 2 for layer, k, _ in rows],
        "row": [f"layer {layer} {ROW_NAMES[stage]}" for layer, _, stage in rows],
        "share": [float(share[layer, k]) for layer, k, _ in rows],
    })  # fmt: skip


def hidden(flow: Flow, sources: Sequence[int | str]) -> pd.DataFrame:
    """How much of each bar is hidden, by norm: layer, stage, position, share. Empty when nothing is hidden."""
    share = flow.hidden_share(sources) if len(sources) else np.zeros((0, 2, 0))
    layer, stage, position = np.meshgrid(range(share.shape[0]), range(share.shape[1]), range(share.shape[2]), indexing="ij")
    names = np.array(STAGES, dtype=object)
    return pd.DataFrame(
        {"layer": layer.ravel(), "stage": names[stage.ravel()], "position": position.ravel(), "share": share.ravel()}
    )


def sink(flow: Flow) -> str:
    """Where no mark stands before the text, what its first token then is; '' where one does."""
    if flow.labels[0].startswith("⟨"):
        return ""
    return f"No mark stands before this text, so its first word, “{flow.labels[0]}”, takes the place of the attention sink."


def errors(flow: Flow) -> pd.DataFrame:
    """Reconstruction error by layer and stage: depth, row, worst, median over positions."""
    rows = [(layer, k, stage) for layer in range(flow.n_layers) for k, stage in enumerate(STAGES)]
    return pd.DataFrame({
        "depth": [layer + k / 2 for layer, k, _ in rows],
        "row": [f"layer {layer} {ROW_NAMES[stage]}" for layer, _, stage in rows],
        "worst": [float(flow.error[layer, k].max()) for layer, k, _ in rows],
        "median": [float(np.median(flow.error[layer, k])) for layer, k, _ in rows],
    })  # fmt: skip


def predictions(flow: Flow, at_least: float = 0.02, most: int = 5) -> pd.DataFrame:
    """The model's likeliest next tokens: token (whitespace visible), probability, logit."""
    top = [t for i, t in enumerate(flow.top) if i == 0 or (i < most and t.probability >= at_least)]
    return pd.DataFrame(
        {
            "token": [visible(t.token) for t in top],
            "probability": [t.probability for t in top],
            "logit": [t.logit for t in top],
            "id": [t.id for t in top],
        }
    )


def provenance_line(flow: Flow) -> str:
    """What was run, in one line."""
    p = flow.provenance
    return (
        f"Model {p.model}, revision {p.revision}, {p.dtype}; {len(flow.tokens)} tokens; infoflow {p.infoflow}, method {p.method}."
    )


@dataclass(frozen=True)
class Trust:
    """How far a run can be believed, in four numbers."""

    max_error: float
    worst_at: str
    logit_error: float
    top_agrees: bool
    median_cancellation: float
    max_cancellation: float
    aside_share: float
    """mean share, by norm, of the sources set aside (the first one, when none is), over all bars but the first source's own"""


def trust(flow: Flow, set_aside: Sequence[int | str] = ()) -> Trust:
    """The trust line under the picture; `set_aside` are the hidden sources."""
    layer, k, position = np.unravel_index(int(flow.error.argmax()), flow.error.shape)
    kappa = metrics.cancellation(flow.gram)
    later = flow.source_of != 0
    aside = set_aside or (0,)
    share = flow.hidden_share(aside)[..., later] if later.any() else np.ones(1)
    return Trust(
        max_error=flow.max_error,
        worst_at=f"layer {layer} {ROW_NAMES[STAGES[k]]}, position {position}",
        logit_error=flow.logit_error,
        top_agrees=flow.top_agrees,
        median_cancellation=float(np.median(kappa)),
        max_cancellation=float(kappa.max()),
        aside_share=float(share.mean()),
    )


def alone(flow: Flow, source: int) -> str:
    """The tokens that a source alone would raise most, in a line; '' where that is not known."""
    return ", ".join(visible(said.token) for said in (flow.alone[source] if flow.alone else ()))
