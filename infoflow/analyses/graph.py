"""Along which paths did a logit come? From a prediction back to the tokens, through the cells of the residual stream.

1. One run of the model gives patterns, gates and norm scales (`frozen.py`); with them fixed the logit (or the difference of
   two) is a linear function of the residual stream, and so a sum over paths: from a token's embedding, layer by layer, it stays
   at its position or is moved to another one by attention, up to the position whose logit it is.
2. Back from the logit, layer by layer, give its slope at every cell (row = after which layer, position), and with it what
   the cells hold (as `location.py` has it) and every edge between two rows, all heads of a layer together:

       move[l, j -> i] = sum_h A[l, h, i, j] <W_O^h W_V^h norm(x[l, j]), d logit / d mid[l, i]>        i != j
       stay[l, j] = held[l, j] - sum_i move[l, j -> i]

   mid is the stream after attention (after the layer, where the MLP reads what attention read). So the edges out of a cell sum to
   what it holds; those into one, with what biases add there, too, which is tested on every run.
3. A move is kept that is at least `threshold` of the logit by size and from whose end kept moves lead on to the logit. To stay
   costs nothing, for a residual stays where it is; a position is in the graph up to the layer at which the last kept move
   leaves it.
4. What the graph keeps is the sum over the paths all of whose moves are kept: back through the same network with its patterns
   zero where a move is not. Of a token, what of its embedding arrives along them; biases (and what interventions put in)
   enter at the cells that they are added to and go on along kept paths as all else.

Everything that `location.py` says of hindsight holds: the paths are those of the finished run.

Source: the paths of Elhage et al. (2021); graphs of what is above a threshold as in Ferrando and Voita, "Information Flow Routes"
(2024), here with exact amounts of one logit.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from jaxtyping import Float, Int

from infoflow.analyses import attribution
from infoflow.analyses.cost import FLOAT, Estimate, refuse_here
from infoflow.analyses.interventions import changed_plan
from infoflow.analyses.provenance import Provenance
from infoflow.analyses.request import Report, Request, as_interventions, as_prompt, by_layer, check_position
from infoflow.analyses.result import OfPrompt, of_tokens
from infoflow.errors import BadPrompt
from infoflow.text.amounts import before_cap
from infoflow.text.rows import rows_of

if TYPE_CHECKING:
    import infoflow.models.model

THRESHOLD = 0.04
"""of the logit, which a move has to be to be kept"""
HEADS = 5
"""so many heads of a move are kept by name"""
STAY, MOVE = "stay", "move"


@dataclass(frozen=True)
class Nodes:
    """Cells from which a kept path leads to the logit, from the embeddings up."""

    row: Int[np.ndarray, " node"]
    """its number in `Graph.rows`"""
    position: Int[np.ndarray, " node"]
    amount: Float[np.ndarray, " node"]
    """what the cell holds of the logit, along all paths"""


@dataclass(frozen=True)
class Edges:
    """What stays at a position through a layer, or is moved by its attention; from row `layer` to the next. By layer."""

    layer: Int[np.ndarray, " edge"]
    source: Int[np.ndarray, " edge"]
    """the position that it comes from"""
    dest: Int[np.ndarray, " edge"]
    """the position that it goes to"""
    amount: Float[np.ndarray, " edge"]
    """in logits, along all paths through it; all heads of the layer together"""
    head: Int[np.ndarray, "edge head"]
    """those that do most of it, by size; -1 of what stays, which no head does alone"""
    head_amount: Float[np.ndarray, "edge head"]

    @property
    def moves(self) -> np.ndarray:
        """Which edges are moves."""
        return self.source != self.dest


@dataclass(frozen=True, kw_only=True)
class Graph(OfPrompt):
    """The paths along which a logit (or the difference of two) came, as far as they are of some size. In logits."""

    target: int
    target_name: str
    against: int | None
    against_name: str | None
    position: int
    """whose logit it is"""
    threshold: float
    """the share of the logit that a kept move has at least, by size"""
    rows: tuple[str, ...]
    """embed, L0.post, ..."""
    nodes: Nodes
    edges: Edges
    by_source: Float[np.ndarray, " position"]
    """what of each token's embedding reaches the logit along kept paths"""
    all_by_source: Float[np.ndarray, " position"]
    """the same along all paths: the attribution by source"""
    bias: float
    """what the weights' biases add that reaches it along kept paths"""
    all_bias: float
    put_in: float
    """the same of what interventions put in; 0 where none does"""
    all_put_in: float
    total: float
    """the logit, or the difference: the model's own, and before its soft cap where it has one"""
    model_total: float
    """the same of the logits that the model's probabilities are of, after a soft cap"""
    softcap: float
    """the family's soft cap; 0 where it has none"""
    max_error: float
    """the largest of |a row's sum - total|, |edges into a cell, with what is added there - what it holds|, and |logit, scaled and
    capped - the model's own|, relative to the larger of |total| and 1"""
    provenance: Provenance

    @property
    def kept_total(self) -> float:
        """What arrives along kept paths, from all tokens, from biases and from interventions."""
        return float(self.by_source.sum(dtype=np.float64)) + self.bias + self.put_in

    @property
    def share(self) -> float:
        """The share of the logit that the graph keeps: of all paths' sum, so that it may be above 1 where what is left out
        lowers the logit. 1 with a threshold of 0; NaN of a logit of 0."""
        return self.kept_total / self.total if self.total else float("nan")

    @property
    def note(self) -> str:
        """What is to be said of a family that caps its logits; '' of any other."""
        return before_cap(self.total, self.model_total) if self.softcap else ""

    def to_frame(self) -> pd.DataFrame:
        """One row per edge: layer, kind (stay or move), source and dest (positions), from and to (tokens), amount, share (of the
        logit), head (that does most of it; -1 of what stays), heads (the strongest with their amounts)."""
        edges, names = self.edges, np.array(self.position_labels, dtype=object)
        share = edges.amount / self.total if self.total else np.full(len(edges.amount), np.nan)
        return pd.DataFrame({
            "layer": edges.layer, "kind": np.where(edges.moves, MOVE, STAY), "source": edges.source, "dest": edges.dest,
            "from": names[edges.source], "to": names[edges.dest], "amount": edges.amount, "share": share,
            "head": edges.head[:, 0], "heads": [self.heads_of(edge) for edge in range(len(edges.layer))],
        })  # fmt: skip

    def heads_of(self, edge: int) -> str:
        """The strongest heads of an edge in words: `3.1 +0.42, 3.0 -0.08`; '' of what stays."""
        of = self.edges
        pairs = zip(of.head[edge].tolist(), of.head_amount[edge].tolist(), strict=True)
        return ", ".join(f"{of.layer[edge]}.{head} {amount:+.2f}" for head, amount in pairs if head >= 0 and amount)


@dataclass(frozen=True, kw_only=True)
class GraphRequest(Request[Graph]):
    """`graph` as a value."""

    analysis: ClassVar[str] = "graph"
    function: ClassVar[str] = "graph"

    prompt: str | tuple[int, ...]
    target: int | str | None = None
    """the likeliest next token where none is given"""
    against: int | str | None = None
    position: int = -1
    threshold: float = THRESHOLD

    def run(self, model: "infoflow.models.model.Model", on_progress: Report | None = None) -> Graph:
        """The graph."""
        return _drawn(self, model, by_layer(on_progress))

    def estimate(self, model: "infoflow.models.model.Model") -> Estimate:
        """Memory."""
        n = len(model.encode(self.prompt))
        return Estimate(n_tokens=n, n_sources=n, bytes=needed_bytes(model, n, self.threshold))

    def exactly(self, model: "infoflow.models.model.Model") -> "GraphRequest":
        """Typed targets may leave out their leading space."""
        target, against = (None if t is None else model.token_id_near(t) for t in (self.target, self.against))
        return replace(self, model=model.spec, target=target, against=against)


def needed_bytes(model: "infoflow.models.model.Model", n_tokens: int, threshold: float = THRESHOLD) -> int:
    """Memory of `graph` beyond the weights: what `attribute` takes, one layer's moves by head with its two patterns and their
    gradients, 6 H T^2 numbers, and the kept moves with their heads, twice: at most L T^2 / 2 of them, and few where each is a
    hundredth of the logit or more."""
    s = model.sizes()
    most = s.layers * n_tokens**2 // (2 if threshold < 0.01 else 20)
    edges = 2 * most * (7 + 3 * HEADS)
    return attribution.needed_bytes(model, n_tokens) + FLOAT * (6 * s.heads * n_tokens**2 + edges)


def graph(
    model: "infoflow.models.model.Model",
    prompt: str | Sequence[int],
    target: int | str | None = None,
    against: int | str | None = None,
    position: int = -1,
    threshold: float | int = THRESHOLD,
    interventions: Sequence[Any] = (),
    on_progress: Callable[[int, int], None] | None = None,
) -> Graph:
    """The paths along which the logit of `target` at `position` came (or its lead over `against`), back to the prompt's tokens.

    Nodes are cells (row of the residual stream, position), edges what stays or is moved between two rows, weighted by the exact
    amount of the logit. Moves of less than `threshold` of it are left out; `share` says how much of the logit comes along the
    paths that are left, `by_source` from which tokens. Without a target it is the likeliest next token.
    `on_progress(done, total)` is called after each layer, up and then down; raising in it stops the run.

    Raises:
        BadPrompt: empty prompt, a target that is no single token, a position outside the prompt, a threshold outside 0 to 1.
        TooLarge: a prompt whose backward pass does not fit in memory.
    """
    request = GraphRequest(
        model=model.spec, prompt=as_prompt(prompt), target=target, against=against, position=position,
        threshold=_share(threshold), interventions=as_interventions(interventions),
    )  # fmt: skip
    return _drawn(request, model, on_progress)


def _drawn(
    request: GraphRequest, model: "infoflow.models.model.Model", on_progress: Callable[[int, int], None] | None = None
) -> Graph:
    from infoflow.traced.graph import graph_block

    tokens = model.encode(request.prompt)
    n, position = len(tokens), request.position
    check_position(position, n)
    _share(request.threshold)
    ids = [-1 if request.target is None else model.token_id(request.target)]
    ids += [] if request.against is None else [model.token_id(request.against)]
    refuse_here(model, needed_bytes(model, n, request.threshold), f"A graph over {n} tokens needs", "Shorten the prompt")
    plan = changed_plan(model, request.interventions, tokens)
    raw = model.run(
        [t.id for t in tokens], graph_block, plan, n, position % n, ids, request.threshold, HEADS, on_progress
    )  # fmt: skip
    cells = raw["cells"].numpy()
    bias, put_in = (raw[name].numpy().astype(np.float64).sum(1) for name in ("added", "put_in"))
    later = (np.append(of[::-1].cumsum()[::-1], 0.0) for of in (bias, put_in))  # after each row
    off = np.abs(cells.sum(1, dtype=np.float64) + sum(later) + raw["end"] - raw["total"]).max()
    target, against = raw["ids"][0], ids[1] if len(ids) > 1 else None
    reaches = raw["reaches"].numpy()
    row, at = np.nonzero(reaches)
    return Graph(
        **of_tokens(tokens, model.notes(request.prompt, tokens)),
        target=target,
        target_name=model.name_of(target),
        against=against,
        against_name=None if against is None else model.name_of(against),
        position=position % n,
        threshold=request.threshold,
        rows=rows_of(model.n_layers, mids=False),
        nodes=Nodes(row, at, cells[row, at]),
        edges=_edges_of(raw, reaches),
        by_source=raw["by_source"].numpy(),
        all_by_source=cells[0],
        bias=raw["kept_added"] + raw["end"],
        all_bias=float(bias.sum()) + raw["end"],
        put_in=raw["kept_put_in"],
        all_put_in=float(put_in.sum()),
        total=raw["total"],
        model_total=raw["model_total"],
        softcap=plan.softcap,
        max_error=float(np.max([off, raw["off"]])) / max(1.0, abs(raw["total"])),  # NaN stays one
        provenance=Provenance.of(
            model, replace(request, target=target, against=against), raw["dtype"], ids=tuple(t.id for t in tokens)
        ),
    )


def _share(threshold: Any) -> float:
    """A threshold as a request keeps it.

    Raises:
        BadPrompt: anything but a number from 0 to 1.
    """
    number = isinstance(threshold, (int, float, np.integer, np.floating)) and not isinstance(threshold, bool)
    if not number or not 0 <= threshold <= 1:
        raise BadPrompt(
            f"The threshold is the share of the logit that a move must have to be kept, from 0 (every move) to 1; {threshold!r} "
            "is none. 4% of it is 0.04."
        )
    return float(threshold)


def _edges_of(raw: dict[str, Any], reaches: np.ndarray) -> Edges:
    """The kept moves, and what stays below every cell that has a kept way on; by layer, destination and source."""
    layer, at = np.nonzero(reaches[1:])
    moves = {name: raw[name].numpy() for name in ("layer", "source", "dest", "amount", "head", "head_amount")}
    none = np.full((len(layer), moves["head"].shape[1]), -1)
    stays = {
        "layer": layer, "source": at, "dest": at, "amount": raw["stays"].numpy()[layer, at], "head": none,
        "head_amount": np.zeros(none.shape, np.float32),
    }  # fmt: skip
    both = {name: np.concatenate([stays[name], moves[name]]) for name in stays}
    order = np.lexsort((both["source"], both["dest"], both["layer"]))
    return Edges(**{name: values[order] for name, values in both.items()})
