"""What does a state alone amount to at the end? The rest of the frozen network as a lens: exact, and nothing is fitted.

With patterns, gates and norm scales frozen, all that is above a row is linear, so that the logits are a sum over the states of
that row and over what is added above it:

    logits[q] = sum_p W_U norm_f(F[r: p -> q] x[r, p]) + biases above r + what interventions put in above r

Read at its own position, F[r: p -> p] x[r, p], a state is met by the paths along that position alone, and the last row is the
model's own output. Read at the last position it is one part of the sum, centred over the vocabulary. Hindsight is in both
(MATH.md, section 8): frozen paths are those of the finished run.
"""

from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from infoflow.analyses.cost import FLOAT
from infoflow.models import memory

if TYPE_CHECKING:
    import infoflow.models.model


def needed_bytes(
    model: "infoflow.models.model.Model", n_tokens: int, n_rows: int, positions: Sequence[int], to_last: bool, times: int
) -> int:
    """Memory of pushing the states of so many rows on, beyond the weights: all of them as they go through a layer (one a cell at
    its own position; to the last one, one a position and source that has reached it), what a chunk of them needs in between, one
    layer's pattern, and in half precision the maps in float32. `times`: 2 where another prompt's states go along."""
    from infoflow.traced.frozen_lens import sources_to_last

    s, packed, sources, dense = model.sizes(), len(positions), len(positions), 0
    if to_last:
        met = list(accumulate((source + 1 for source in sources_to_last(n_tokens, list(positions))[0]), max))
        packed, sources = sum(met) + n_tokens * s.biased, met[-1] + s.biased
        dense = 5 * n_tokens * s.heads * s.d_head
    alive = times * n_rows * packed * s.d_model * (2 if s.parallel or not to_last else 1)
    ends = 2 * times * n_rows * sources * s.d_model
    maps = (
        ((4 if s.biased else 2) * s.d_model * s.vocabulary + 4 * s.d_model * max(s.hidden, s.heads * s.d_head)) if s.half else 0
    )
    return FLOAT * (alive + ends + 2 * dense + 3 * s.heads * n_tokens**2 + maps) + memory.chunk(model.memory_limit())
