"""The stream itself: the residual before and after every layer, and what attention and the MLP added to it.

What other analyses split into parts is kept here as it is: for a session's `tensors.npz`, for questions about lengths and angles,
and for programs that go on from it.

1. One run; at every layer the residual before it, after attention, and after the MLP, in float32.
2. What attention and the MLP added are the differences: resid_pre + attn_out + mlp_out = resid_post. What interventions in the
   residual put there is in the part before them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import pandas as pd
from jaxtyping import Float

from infoflow.analyses.cost import FLOAT, Estimate
from infoflow.analyses.interventions import changed_plan
from infoflow.analyses.provenance import Provenance
from infoflow.analyses.request import Report, Request, as_interventions, as_prompt, by_layer, check_position
from infoflow.analyses.result import OfPrompt, of_tokens
from infoflow.errors import BadPrompt
from infoflow.metrics.vectors import cosine, norm
from infoflow.models import memory

if TYPE_CHECKING:
    import infoflow.models.model


@dataclass(frozen=True, kw_only=True)
class Activations(OfPrompt):
    """The residual stream of one prompt, and what was added to it."""

    token_ids: tuple[int, ...]
    resid_pre: Float[np.ndarray, "layer position d_model"]
    """before each layer"""
    attn_out: Float[np.ndarray, "layer position d_model"]
    """what attention added"""
    mlp_out: Float[np.ndarray, "layer position d_model"]
    """what the MLP added"""
    resid_post: Float[np.ndarray, "layer position d_model"]
    """after each layer; resid_pre + attn_out + mlp_out"""
    z: Float[np.ndarray, "layer position head d_head"] | None = None
    """of each head, before the output projection; None where it was left out"""
    pattern: Float[np.ndarray, "layer head position src"] | None = None
    """softmaxed attention; None where it was left out"""
    provenance: Provenance

    @property
    def n_layers(self) -> int:
        return int(self.resid_pre.shape[0])

    @property
    def resid_mid(self) -> Float[np.ndarray, "layer position d_model"]:
        """After attention, before the MLP."""
        return self.resid_pre + self.attn_out

    @property
    def stream(self) -> Float[np.ndarray, "row position d_model"]:
        """The residual from the embedding to the output: before the first layer, and after each."""
        return np.concatenate([self.resid_pre[:1], self.resid_post])

    @property
    def turns(self) -> Float[np.ndarray, "layer position"]:
        """The cosine between the residual before each layer and after it: 1 where its direction stays."""
        return cosine(self.resid_pre, self.resid_post)

    @property
    def max_error(self) -> float:
        """|resid_pre + attn_out + mlp_out - resid_post| / |resid_post|, at worst."""
        off = self.resid_pre + self.attn_out + self.mlp_out - self.resid_post
        return float((norm(off) / np.maximum(norm(self.resid_post), 1e-30)).max())

    def between(self, position: int, other: int) -> Float[np.ndarray, " row"]:
        """The cosine between the residuals of two positions, from the embedding to the output.

        Raises:
            BadPrompt: no such position.
        """
        for one in (position, other):
            check_position(one, len(self.tokens))
        return cosine(self.stream[:, position], self.stream[:, other])

    def along(self, direction: Float[np.ndarray, "*row d_model"], position: int = -1) -> Float[np.ndarray, " row"]:
        """The cosine between the residual at a position and a direction, one for all rows or one a row.

        Raises:
            BadPrompt: no such position, or a direction of another width.
        """
        check_position(position, len(self.tokens))
        width = self.resid_pre.shape[-1]
        if direction.shape not in ((width,), (self.n_layers + 1, width)):
            rows = self.n_layers + 1
            raise BadPrompt(f"A direction has {width} numbers, or as many for each of {rows} rows; this: {direction.shape}.")
        return cosine(self.stream[:, position], direction)

    def beside(self, other: "Activations", position: int = -1, its: int | None = None) -> Float[np.ndarray, " row"]:
        """The cosine between the residuals of two runs, at a position of this one and at `its` (else the same) of the other.

        Raises:
            BadPrompt: no such position, or a model of another shape.
        """
        if self.stream.shape[::2] != other.stream.shape[::2]:
            raise BadPrompt("The two runs are of models of different depth or width, whose residuals can't be compared.")
        check_position(position if its is None else its, len(other.tokens))
        return self.along(other.stream[:, position if its is None else its], position)

    def to_frame(self) -> pd.DataFrame:
        """One row per layer and position: layer, position, token, resid_pre, attn_out, mlp_out, resid_post (their L2 norms), turn
        (cosine between the residual before and after the layer)."""
        layer, position = (a.ravel() for a in np.indices(self.turns.shape))
        parts = ("resid_pre", "attn_out", "mlp_out", "resid_post")
        names = np.array(self.position_labels, dtype=object)
        return pd.DataFrame({
            "layer": layer, "position": position, "token": names[position],
            **{part: norm(getattr(self, part)).ravel() for part in parts}, "turn": self.turns.ravel(),
        })  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ActivationsRequest(Request[Activations]):
    """`activations` as a value."""

    analysis: ClassVar[str] = "activations"
    function: ClassVar[str] = "activations"

    prompt: str | tuple[int, ...]

    def run(self, model: "infoflow.models.model.Model", on_progress: Report | None = None) -> Activations:
        """The stream."""
        return _kept(self, model, by_layer(on_progress))

    def estimate(self, model: "infoflow.models.model.Model") -> Estimate:
        """Memory."""
        n = len(model.encode(self.prompt))
        return Estimate(n_tokens=n, n_sources=n, bytes=needed_bytes(model, n))


def needed_bytes(model: "infoflow.models.model.Model", n_tokens: int) -> int:
    """Memory of `activations` beyond the weights: five states and z of every layer, and the patterns; the logits."""
    s = model.sizes()
    states = n_tokens * (5 * s.d_model + s.heads * s.d_head)
    return FLOAT * (s.layers * (states + s.heads * n_tokens**2) + n_tokens * s.vocabulary)


def activations(
    model: "infoflow.models.model.Model",
    prompt: str | Sequence[int],
    interventions: Sequence[Any] = (),
    on_progress: Callable[[int, int], None] | None = None,
) -> Activations:
    """The residual before and after every layer, what attention and the MLP added, each head's z and its pattern.

    `on_progress(done, total)` is called after each layer; raising in it stops the run.

    Raises:
        BadPrompt: an empty prompt.
        TooLarge: states that do not fit in memory.
    """
    request = ActivationsRequest(model=model.spec, prompt=as_prompt(prompt), interventions=as_interventions(interventions))
    return _kept(request, model, on_progress)


def _kept(
    request: ActivationsRequest, model: "infoflow.models.model.Model", on_progress: Callable[[int, int], None] | None = None
) -> Activations:
    from infoflow.traced.activations import stream

    tokens = model.encode(request.prompt)
    n, ids = len(tokens), tuple(t.id for t in tokens)
    allowed = model.memory_limit()
    if model.connection is not None:
        allowed = min(allowed, model.connection.limit)  # all of it travels
    memory.refuse(needed_bytes(model, n), allowed, f"The states of {n} tokens need", "Shorten the prompt")
    plan = changed_plan(model, request.interventions, tokens)
    raw = model.run(ids, stream, plan, n, on_progress)
    pre, mid, post = (raw[name].numpy() for name in ("resid_pre", "resid_mid", "resid_post"))
    return Activations(
        **of_tokens(tokens, model.notes(request.prompt, tokens)),
        token_ids=ids,
        resid_pre=pre,
        attn_out=mid - pre,
        mlp_out=post - mid,
        resid_post=post,
        z=raw["z"].numpy(),
        pattern=raw["pattern"].numpy(),
        provenance=Provenance.of(model, request, raw["dtype"], ids=ids),
    )
