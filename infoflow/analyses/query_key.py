"""Why did the head look there? The score of one query with one key, before the softmax, split by source on both sides.

1. With patterns, gates and norm scales of the layers below fixed (`flow.py`), the residual that enters the layer is a sum over
   sources, at the query's position and at the key's.
2. So are the query and the key: through the norm before attention, the projections, and norms of queries and keys where a
   family has them, all with their scales fixed. Biases, those of the projections too, are a source of their own.
3. Both are turned by their positions (RoPE), which is linear. How, is read off this run: what takes the queries and keys of all
   heads, as the projections give them, to those that the model compares.
4. The score is bilinear:

       score = sum_s sum_t  scaling * <q[s], k[t]>  (+ what a position adds by itself: ALiBi)

   a matrix of the query's sources by the key's.

What a softmax makes of a score depends on the other keys of the row alone: the same added to all of them changes nothing. Held
`against` another key, what is split is how much higher the score is, which is the logarithm of the ratio of the two weights
(before a soft cap, where a family has one).

Source: the QK circuit of Elhage et al., "A Mathematical Framework for Transformer Circuits" (2021).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from jaxtyping import Float

from infoflow.analyses import flow_cost
from infoflow.analyses.cost import FLOAT, Estimate
from infoflow.analyses.interventions import changed_plan
from infoflow.analyses.provenance import Provenance
from infoflow.analyses.request import Report, Request, as_interventions, as_prompt, by_layer
from infoflow.analyses.result import OfPrompt, of_tokens
from infoflow.errors import BadPrompt, RemoteRunError, UnsupportedModel
from infoflow.text.tokens import BIAS, Labels, Token, named, sources_of

if TYPE_CHECKING:
    import infoflow.models.model

POSITION = "(position)"
"""what a position adds by itself, as a part among others"""
MADE_OTHERWISE = (
    "This model makes its queries and keys in a way that is not known here ({why}), so its scores can't be split. Its patterns "
    "can be looked at all the same."
)
TURNED, TURNED_HALF = 1e-4, 0.05
"""how far turned queries and keys may be from the model's own, relative to them: in float32, and in half precision"""


@dataclass(frozen=True, kw_only=True)
class QueryKey(OfPrompt):
    """One score of one head, split by the sources of the query and of the key; or how much higher it is than another key's."""

    layer: int
    head: int
    query: int
    """the position that looks"""
    key: int
    """the position that it looks at"""
    against: int | None
    """another key, whose score is taken off"""
    source_labels: tuple[str, ...]
    parts: Float[np.ndarray, "query_source key_source"]
    """with `by_position` they sum to `score`"""
    by_position: float
    """what the position adds by itself (ALiBi); 0 in other families, where positions turn queries and keys or are embedded"""
    score: float
    """the model's own, scaled; before a soft cap and the softmax"""
    scores: Float[np.ndarray, " key"]
    """the same of every key of this query, none taken off; -inf where the query may not look"""
    weights: Float[np.ndarray, " key"]
    """the row of the pattern"""
    softcap: float
    """the family's soft cap of scores; 0 where it has none"""
    max_error: float
    """|sum of the parts - score|, relative to the larger of |score| and 1"""
    provenance: Provenance

    @property
    def weight(self) -> float:
        """The softmaxed pattern's entry."""
        return float(self.weights[self.key])

    @property
    def note(self) -> str:
        """What is to be said of a family that caps its scores; '' of any other."""
        if not self.softcap:
            return ""
        capped = [self.softcap * np.tanh(self.scores[k] / self.softcap) for k in (self.key, self.against) if k is not None]
        after = capped[0] - sum(capped[1:])
        return f"Before the model's soft cap of scores: parts sum to {self.score:+.2f}, of which the cap makes {after:+.2f}."

    def by_query(self) -> pd.DataFrame:
        """One row per source of the query, whatever the key's: source_label, part."""
        return pd.DataFrame({"source_label": self.source_labels, "part": self.parts.sum(1)})

    def by_key(self) -> pd.DataFrame:
        """One row per source of the key, whatever the query's: source_label, part."""
        return pd.DataFrame({"source_label": self.source_labels, "part": self.parts.sum(0)})

    def top(self, n: int = 10) -> pd.DataFrame:
        """The largest parts, as `to_frame` has them."""
        frame = self.to_frame()
        frame = frame[frame["part"] != 0]
        return frame.sort_values("part", key=np.abs, ascending=False, ignore_index=True, kind="stable").head(n)

    def to_frame(self) -> pd.DataFrame:
        """One row per pair of sources: query_source, key_source, part; last, where there is something, what the position adds."""
        query, key = (a.ravel() for a in np.indices(self.parts.shape))
        names = np.array(self.source_labels, dtype=object)
        frame = pd.DataFrame({"query_source": names[query], "key_source": names[key], "part": self.parts.ravel()})
        if self.by_position:
            frame.loc[len(frame)] = [POSITION, POSITION, self.by_position]
        return frame


@dataclass(frozen=True, kw_only=True)
class QueryKeyRequest(Request[QueryKey]):
    """`query_key` as a value."""

    analysis: ClassVar[str] = "query_key"
    function: ClassVar[str] = "query_key"

    prompt: str | tuple[int, ...]
    layer: int
    head: int
    query: int
    key_position: int
    """`key` of the function: a request's own key is what it is kept under"""
    against: int | None = None
    sources: str | tuple[str, ...] = "tokens"

    def arguments(self) -> dict[str, Any]:
        """The key's position as `key`."""
        given = super().arguments()
        return {"key": given.pop("key_position"), **given}

    def run(self, model: "infoflow.models.model.Model", on_progress: Report | None = None) -> QueryKey:
        """The split score."""
        return _split(self, model, by_layer(on_progress))

    def estimate(self, model: "infoflow.models.model.Model") -> Estimate:
        """At most what `decompose` takes, which goes through all layers; of a hosted run a matrix comes back."""
        tokens = model.encode(self.prompt)
        n = len(sources_of(tokens, self.sources)[0])
        if model.hosted:
            return Estimate(n_tokens=len(tokens), n_sources=n, bytes=4 * FLOAT * n * n, hosted=True)
        return flow_cost.estimate(model, len(tokens), n)


def query_key(
    model: "infoflow.models.model.Model",
    prompt: str | Sequence[int],
    layer: int,
    head: int,
    query: int,
    key: int,
    sources: Labels = "tokens",
    interventions: Sequence[Any] = (),
    against: int | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> QueryKey:
    """The score of positions `query` and `key` in a head, before the softmax, by source of the query and of the key.

    parts[s, t] = scaling * <q[s], k[t]>; with what a position adds by itself they sum to the score; with `against`, another
    position, to how much higher it is than that one's. `sources` as in `decompose`. Positions may count from the end.
    `on_progress(done, total)` is called after each layer; raising in it stops the run.

    Raises:
        BadPrompt: no such layer, head or position, or a key that the query may not look at.
        TooLarge: as `decompose`.
        UnsupportedModel: queries and keys that are made in an unknown way.
    """
    request = QueryKeyRequest(
        model=model.spec, prompt=as_prompt(prompt), layer=layer, head=head, query=query, key_position=key, against=against,
        sources=sources if isinstance(sources, str) else tuple(sources), interventions=as_interventions(interventions),
    )  # fmt: skip
    return _split(request, model, on_progress)


def _split(
    request: QueryKeyRequest, model: "infoflow.models.model.Model", on_progress: Callable[[int, int], None] | None = None
) -> QueryKey:
    from infoflow.traced.query_key import NO_SCORES, score_block

    tokens = model.encode(request.prompt)
    names, source_of = sources_of(tokens, request.sources)
    plan = changed_plan(model, request.interventions, tokens)
    plan.biased = plan.biased or plan.query_key_biased
    layer, head = request.layer, request.head
    if not (0 <= layer < plan.n_layers and 0 <= head < plan.n_heads):
        raise BadPrompt(
            f"There is no head {layer}.{head}: the model has {plan.n_layers} layers of {plan.n_heads} heads, both from 0."
        )
    query, *keys = _positions(request, tokens)
    flow_cost.refuse(model, len(tokens), len(names))
    if not all(plan.projections):
        raise UnsupportedModel(MADE_OTHERWISE.format(why="their projections, or the call that compares them"))
    blocked = _blocked(plan.edits, layer, head, query)
    try:
        raw = model.run([t.id for t in tokens], score_block, plan, source_of, layer, head, query, keys, on_progress)
    except (ValueError, RemoteRunError) as error:
        if NO_SCORES in f"{error} {getattr(error, 'details', '')}":
            raise UnsupportedModel(MADE_OTHERWISE.format(why=NO_SCORES)) from None
        raise
    hidden, dtype = raw["hidden"].numpy(), raw["dtype"]
    for key in keys:
        if hidden[key]:
            cut = "an intervention blocks it" if key in blocked else "it is further back than this layer's attention reaches"
            raise BadPrompt(
                f"Head {layer}.{head} can't look from position {query} at position {key}: {cut}. Choose a nearer key, "
                "or another layer."
            )
    if not raw["off"] <= (TURNED if dtype == "float32" else TURNED_HALF):
        raise UnsupportedModel(MADE_OTHERWISE.format(why=f"turned by position they miss the model's own by {raw['off']:.0e}"))
    scores = np.where(hidden, -np.inf, raw["scores"].numpy())
    of_position = raw["position"].numpy()
    parts, score, by_position = raw["parts"][0].numpy(), float(scores[keys[0]]), float(of_position[keys[0]])
    if len(keys) > 1:
        parts, score = parts - raw["parts"][1].numpy(), score - float(scores[keys[1]])
        by_position -= float(of_position[keys[1]])
    labels = [*names, *plan.given, *([BIAS] if plan.biased else [])]
    return QueryKey(
        **of_tokens(tokens, model.notes(request.prompt, tokens)),
        layer=layer,
        head=head,
        query=query,
        key=keys[0],
        against=keys[1] if len(keys) > 1 else None,
        source_labels=tuple(labels),
        parts=parts,
        by_position=by_position,
        score=score,
        scores=scores,
        weights=raw["pattern"].numpy(),
        softcap=raw["softcap"],
        max_error=abs(float(parts.sum()) + by_position - score) / max(1.0, abs(score)),
        provenance=Provenance.of(model, request, dtype, sources=named(request.sources), ids=tuple(t.id for t in tokens)),
    )


def _positions(request: QueryKeyRequest, tokens: Sequence[Token]) -> list[int]:
    """The query's position, the key's, and the other key's where there is one; from 0.

    Raises:
        BadPrompt: a position outside the prompt, a key after the query, or a key held against itself.
    """
    n = len(tokens)
    asked = [p for p in (request.query, request.key_position, request.against) if p is not None]
    for p in asked:
        if not -n <= p < n:
            raise BadPrompt(f"There is no position {p}; the prompt has {n} tokens (0 to {n - 1}, or -1 for the last).")
    query, *keys = (p % n for p in asked)
    for key in keys:
        if key > query:
            raise BadPrompt(
                f"Position {query} can't look at position {key}, which comes after it. Choose a key from 0 to {query}."
            )
    if len(set(keys)) < len(keys):
        raise BadPrompt(f"Position {keys[0]} is held against itself, of which nothing is left. Choose another key.")
    return [query, *keys]


def _blocked(edits: dict[int, dict[str, Any]], layer: int, head: int, query: int) -> list[int]:
    """The keys that interventions cut off from a query of a head."""
    cut = edits.get(layer, {}).get("block")
    return [] if cut is None else [int(key) for key in cut[head, query].nonzero().flatten()]
