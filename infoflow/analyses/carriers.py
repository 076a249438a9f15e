"""Who carried a source into a cell, and where does it go from there?

The part of residual x[l, p] that belongs to source s is itself a sum: the source's own embedding (if p is one of its
tokens), and what every head, reading from every earlier position, and every MLP wrote of s into position p on the way up.

    C[l, p, s] = embedding + sum over layers up to l of ( sum_h sum_k A[h, p, k] W_O^h W_V^h norm(C[k, s]) + MLP(C[p, s]) )

Each term is measured by its product with the whole, <term, C[l, p, s]> / |C[l, p, s]|^2, so that the terms sum to 1:
positive ones brought the source there, negative ones took it away. Only one source is carried along, one row a position.

From the cell onward the same linear maps take C[l, p, s] alone: `arrives` says how much of later residuals it makes up
(its projection, as in `flow.py`), `reads` which heads took it from this position to a later one.

Source: the per-path expansion of Elhage et al. (2021), in the form of MATH.md, section 1.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from jaxtyping import Float

from infoflow.analyses.cost import FLOAT, Estimate, refuse_here
from infoflow.analyses.interventions import changed_plan
from infoflow.analyses.provenance import Provenance
from infoflow.analyses.request import Report, Request, as_interventions, as_prompt, by_layer
from infoflow.analyses.result import OfPrompt, of_tokens
from infoflow.errors import BadPrompt
from infoflow.text.rows import STAGES
from infoflow.text.tokens import BIAS, Labels, named, sources_of

if TYPE_CHECKING:
    import infoflow.models.model


@dataclass(frozen=True, kw_only=True)
class Carriers(OfPrompt):
    """One cell's part of one source, split by what brought it there; and what becomes of it. Shares sum to 1."""

    source: str
    layer: int
    stage: str
    position: int
    norm: float
    """|C[l, p, s]|, the length of the part that is split"""
    by_head: Float[np.ndarray, "below head key"]
    """what each head brought from each position, for the layers up to this one"""
    by_mlp: Float[np.ndarray, " below"]
    """what each MLP made of it; 0 for the layer's own where the cell is before it"""
    embedding: float
    """what was there from the beginning"""
    direct_bias: float
    """what biases of attention's output and of norms after a branch added; 0 but for the source 'bias'"""
    arrives: Float[np.ndarray, "layer position"]
    """<part of x that comes from this cell, x> / |x|^2 after each layer; 0 before the cell. Where it stayed and went"""
    reads: Float[np.ndarray, "layer head position"]
    """how much of it each head of the later layers carried from this position to others, as a share of the residual there"""
    max_error: float
    """|sum of all shares - 1|"""
    provenance: Provenance

    def to_frame(self) -> pd.DataFrame:
        """One row per carrier: kind (embedding, head, MLP, bias), layer, head, position, token, share; the largest first."""
        layer, head, key = np.nonzero(self.by_head)
        heads = pd.DataFrame(
            {"kind": "head", "layer": layer, "head": head, "position": key, "share": self.by_head[layer, head, key]}
        )
        mlps = pd.DataFrame({
            "kind": "MLP", "layer": range(len(self.by_mlp)), "head": -1, "position": self.position, "share": self.by_mlp,
        })  # fmt: skip
        rest = pd.DataFrame({
            "kind": ["embedding", "bias"], "layer": -1, "head": -1, "position": self.position,
            "share": [self.embedding, self.direct_bias],
        })  # fmt: skip
        frame = pd.concat([heads, mlps, rest], ignore_index=True)
        frame = frame[frame["share"] != 0]
        frame.insert(4, "token", [self.position_labels[p] for p in frame["position"]])
        return frame.sort_values("share", key=np.abs, ascending=False, ignore_index=True, kind="stable")


@dataclass(frozen=True, kw_only=True)
class CarriersRequest(Request[Carriers]):
    """`carriers` as a value."""

    analysis: ClassVar[str] = "carriers"
    function: ClassVar[str] = "carriers"

    prompt: str | tuple[int, ...]
    layer: int
    position: int
    source: int | str
    stage: str = "post"
    sources: str | tuple[str, ...] = "tokens"

    def run(self, model: "infoflow.models.model.Model", on_progress: Report | None = None) -> Carriers:
        """The carriers."""
        return _carried(self, model, by_layer(on_progress))

    def estimate(self, model: "infoflow.models.model.Model") -> Estimate:
        """Memory."""
        n = len(model.encode(self.prompt))
        return Estimate(n_tokens=n, n_sources=1, bytes=needed_bytes(model, n, self.layer))


def needed_bytes(model: "infoflow.models.model.Model", n_tokens: int, layer: int) -> int:
    """Memory of `carriers` beyond the weights: one row a position, what each layer up to the cell's brought (values T K d_head
    and T patterns of H heads), one layer's run, and in half precision one layer's matrices."""
    s = model.sizes()
    brought = (layer + 1) * n_tokens * (s.kv_heads * s.d_head + s.heads) + 2 * (layer + 1) * s.d_model
    reads = s.layers * s.heads * n_tokens
    one = n_tokens * (10 * s.d_model + 4 * s.hidden + 4 * s.heads * s.d_head) + 5 * s.heads * n_tokens**2
    copies = (s.mapped_parameters // s.layers + s.d_model * s.hidden) if s.half else 0
    return FLOAT * (brought + reads + one + copies + n_tokens * s.vocabulary)


def carriers(
    model: "infoflow.models.model.Model",
    prompt: str | Sequence[int],
    layer: int,
    position: int,
    source: int | str,
    stage: str = "post",
    sources: Labels = "tokens",
    interventions: Sequence[Any] = (),
    on_progress: Callable[[int, int], None] | None = None,
) -> Carriers:
    """Which heads, positions and MLPs brought a source's contribution into residual (layer, stage, position), and where it goes.

    Terms <term, C[l, p, s]> / |C[l, p, s]|^2, summing to 1. `source` is a number or label of the grouping `sources`, as in
    `decompose`; "bias" is what the weights add by themselves.

    Raises:
        BadPrompt: no such layer, stage, position or source, or a source that has nothing there.
        TooLarge: more memory than one run may take.
    """
    request = CarriersRequest(
        model=model.spec, prompt=as_prompt(prompt), layer=layer, position=position, source=source, stage=stage,
        sources=sources if isinstance(sources, str) else tuple(sources), interventions=as_interventions(interventions),
    )  # fmt: skip
    return _carried(request, model, on_progress)


def _carried(
    request: CarriersRequest, model: "infoflow.models.model.Model", on_progress: Callable[[int, int], None] | None = None
) -> Carriers:
    layer, stage, position, source = request.layer, request.stage, request.position, request.source
    tokens = model.encode(request.prompt)
    n = len(tokens)
    names, source_of = sources_of(tokens, request.sources)
    plan = changed_plan(model, request.interventions, tokens)
    if any(site.startswith("resid") and (at, site) != (0, "resid_pre") for at, here in plan.edits.items() for site in here):
        raise BadPrompt(
            "Who carried a source is told by what is written into a residual; here the residual itself is changed on the way. "
            "Take that intervention away, or change what attention or the MLP adds."
        )
    labels = [*names, BIAS] if plan.biased else names
    index = labels.index(source) if source in labels else source
    if isinstance(index, str) or not 0 <= int(index) < len(labels):
        raise BadPrompt(f"There is no source '{source}'. The sources are: {', '.join(labels)}.")
    if not 0 <= layer < model.n_layers or stage not in STAGES or not 0 <= position < n:
        raise BadPrompt(
            f"There is no residual at layer {layer}, stage '{stage}', position {position}: the model has {model.n_layers} layers "
            f"(from 0), stages 'mid' and 'post', and the prompt {n} positions (from 0)."
        )
    is_bias = index == len(names)
    members = [] if is_bias else [p for p, s in enumerate(source_of) if s == index]
    if not is_bias and min(members) > position:
        raise BadPrompt(f"'{labels[int(index)]}' comes after position {position}, so nothing of it can be there.")
    refuse_here(model, needed_bytes(model, n, layer), f"Carriers over {n} tokens need", "Shorten the prompt")
    from infoflow.traced.carriers import carriers_block

    raw = model.run(
        [t.id for t in tokens], carriers_block, plan, n, members, is_bias, layer, STAGES.index(stage), position,
        on_progress,
    )  # fmt: skip
    if raw["norm"] == 0:
        raise BadPrompt(f"Nothing of '{labels[int(index)]}' is at layer {layer}, position {position}.")
    total = float(raw["by_head"].sum() + raw["by_mlp"].sum()) + raw["embedding"] + raw["direct_bias"]
    return Carriers(
        **of_tokens(tokens, model.notes(request.prompt, tokens)),
        source=labels[int(index)],
        layer=layer,
        stage=stage,
        position=position,
        norm=raw["norm"],
        by_head=raw["by_head"].numpy(),
        by_mlp=raw["by_mlp"].numpy(),
        embedding=raw["embedding"],
        direct_bias=raw["direct_bias"],
        arrives=raw["arrives"].numpy(),
        reads=raw["reads"].numpy(),
        max_error=abs(total - 1),
        provenance=Provenance.of(model, request, raw["dtype"], sources=named(request.sources), ids=tuple(t.id for t in tokens)),
    )
