"""What `decompose` takes: memory and time before a run, its refusals, and groupings by which a long prompt fits."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from infoflow.analyses.cost import FLOAT, Estimate
from infoflow.errors import TooLarge
from infoflow.models import memory
from infoflow.models.sizes import Sizes
from infoflow.settings import or_set, settings
from infoflow.text.amounts import in_words
from infoflow.text.tokens import Token, groups_of

if TYPE_CHECKING:
    import infoflow.models.model


def estimate(model: "infoflow.models.model.Model", n_tokens: int, n_sources: int | None = None) -> Estimate:
    """Memory beyond the weights and time of `decompose`, before it runs; meant to be right within a factor of 2.

    Sources (one per token unless said) are taken as equal spans of the prompt, so that a position sees half of them on
    average: the state holds T (S + 1) / 2 rows of d_model, the result 2 L T S^2 inner products.
    """
    s, T = model.sizes(), n_tokens
    S = min(n_sources or T, T)
    rows = T * (S + 1) // 2 + T * s.biased
    S += s.biased
    gram = 2 * s.layers * T * S * S
    if model.hosted:  # packed: symmetric, and zero for later sources
        return Estimate(n_tokens=T, n_sources=S, bytes=2 * s.layers * T * (S + 1) * (S + 2) * FLOAT // 6, hosted=True)
    head_width, kv_width = s.heads * s.d_head, s.kv_heads * s.d_head
    attention = min(
        rows * (2 * s.d_model + 3 * head_width + kv_width) + T * S * (head_width + kv_width),
        memory.chunk(model.memory_limit()) // FLOAT,
    )
    mlp = min(rows * (2 * s.d_model + 2 * s.hidden), memory.chunk(model.memory_limit()) // FLOAT)
    seen = T * (6 * s.d_model + 3 * s.hidden) + s.heads * T * T
    forward = T * s.vocabulary + 3 * s.heads * T * T
    copies = (s.mapped_parameters // s.layers + s.d_model * s.hidden) if s.half else 0
    state = rows * s.d_model * (2 if s.parallel else 1)
    floats = state + gram + seen + copies + max(attention, mlp, forward)
    adds = multiply_adds(s, T, S - s.biased)
    moved = s.layers * rows * (8 * s.d_model + 4 * s.hidden)
    seconds = _FIXED_SECONDS + _SECONDS_PER_LAYER * s.layers + _OVERHEAD * adds / model.speed() + moved / _FLOATS_PER_SECOND
    return Estimate(n_tokens=T, n_sources=S, bytes=int(floats * FLOAT + _FIXED_BYTES), seconds=seconds)


def multiply_adds(sizes: Sizes, n_tokens: int, n_sources: int) -> int:
    """Those of one run: the maps on every row, the model's own pass, inner products (in float64, which counts twice)."""
    s, T = sizes, n_tokens
    rows, S = T * (n_sources + 1) // 2 + T * s.biased, n_sources + s.biased
    return rows * s.mapped_parameters + T * s.parameters + 4 * s.layers * T * S * S * s.d_model


_FIXED_BYTES, _FIXED_SECONDS, _SECONDS_PER_LAYER, _OVERHEAD, _FLOATS_PER_SECOND = 6e6, 0.02, 0.004, 1.1, 8e8
"""measured by benchmarks/decompose.py, which prints estimate and outcome side by side"""


def refuse(model: "infoflow.models.model.Model", n_tokens: int, n_sources: int) -> None:
    """Refuse a run of more sources than the limit, or that does not fit in memory.

    Raises:
        TooLarge: with both numbers, and what fits.
    """
    limit = settings().max_tokens
    if n_sources > limit:
        apart = f"The prompt has {n_tokens} tokens" if n_sources == n_tokens else f"The prompt makes {n_sources} sources"
        raise TooLarge(
            f"{apart}; the limit is {limit}. Shorten it, group it (for example into '{min(32, limit)} spans')"
            f"{or_set('MAX_TOKENS', f'{n_sources} or more')} (memory grows with the square of the number of sources)."
        )
    needed = estimate(model, n_tokens, n_sources)
    if model.connection is not None:  # it is the service's memory; what comes back must fit through the wire
        taken = model.connection.limit
        if needed.bytes > taken:
            raise TooLarge(
                f"{n_tokens} tokens in {n_sources} sources would bring {in_words(needed.bytes)} back; {in_words(taken)} are "
                "taken from a service. Group them, for example into '32 spans'."
            )
        return
    allowed = model.memory_limit()
    if needed.bytes > allowed:
        fits = fewer_sources(model, n_tokens, n_sources)
        advice = f"Group it into {fits} spans or fewer" if fits else "Shorten it"
        raise TooLarge(
            f"{n_tokens} tokens in {n_sources} sources need about {in_words(needed.bytes)}; {in_words(allowed)} are allowed. "
            f"{advice}{or_set('MAX_MEMORY_MB')}."
        )


def fewer_sources(model: "infoflow.models.model.Model", n_tokens: int, n_sources: int) -> int:
    """The largest number of equal spans, halving from `n_sources`, that is within both limits; 0 if none is."""
    allowed, spans = model.memory_limit(), min(n_sources, settings().max_tokens)
    while spans >= 1:
        if estimate(model, n_tokens, spans).bytes <= allowed:
            return spans
        spans //= 2
    return 0


def smaller_runs(model: "infoflow.models.model.Model", tokens: Sequence[Token]) -> list[tuple[str, Estimate]]:
    """Named groupings by which this prompt fits within the limits, the finest first."""
    fitting: dict[int, tuple[str, Estimate]] = {}
    for kind in ("words", "sentences", "64 spans", "32 spans", "16 spans"):
        n = len(set(groups_of(kind, tokens)))
        cost = estimate(model, len(tokens), n)
        fits = model.hosted or cost.bytes <= model.memory_limit()
        if n < len(tokens) and n <= settings().max_tokens and fits:
            fitting.setdefault(n, (kind, cost))
    return [fitting[n] for n in sorted(fitting, reverse=True)]
