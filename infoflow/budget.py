"""What a run will cost, and limits, checked before it rather than met in the middle of it."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from infoflow.errors import InfoflowError, TooLarge
from infoflow.tokens import Token, groups_of

if TYPE_CHECKING:
    import infoflow.model

DEFAULT_MAX_TOKENS = 64
_FLOAT = 4


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """What the cost of an analysis depends on."""

    layers: int
    d_model: int
    d_head: int
    heads: int
    kv_heads: int
    vocabulary: int
    hidden: int
    """the widest layer of an MLP"""
    parameters: int
    mapped_parameters: int
    """of the maps that act on every (position, source) pair: values, output, up, down"""
    biased: bool
    parallel: bool
    half: bool
    """weights stored in half precision: each map in use is held in float32 too"""


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a decomposition will take."""

    n_tokens: int
    n_sources: int
    bytes: int
    """memory beyond the weights, at the peak; of a hosted run, what comes back"""
    seconds: float | None
    """on this machine, from the measured speed of its matrix products; None for a hosted run"""

    def __str__(self) -> str:
        if self.seconds is None:
            return f"about {in_words(self.bytes)} to bring back"
        return f"about {in_words(self.bytes)} of memory and {_seconds(self.seconds)}"


def estimate(model: "infoflow.model.Model", n_tokens: int, n_sources: int | None = None) -> Estimate:
    """Memory beyond the weights and time of `decompose`, before it runs; meant to be right within a factor of 2.

    Sources (one per token unless said) are taken as equal spans of the prompt, so that a position sees half of them on
    average: the state holds T (S + 1) / 2 rows of d_model, the result 2 L T S^2 inner products.
    """
    s, T = model.sizes(), n_tokens
    S = min(n_sources or T, T)
    rows = T * (S + 1) // 2 + T * s.biased
    S += s.biased
    gram = 2 * s.layers * T * S * S
    if model.connection is not None:  # packed: symmetric, and zero for later sources
        return Estimate(n_tokens=T, n_sources=S, bytes=2 * s.layers * T * (S + 1) * (S + 2) * _FLOAT // 6, seconds=None)
    head_width, kv_width = s.heads * s.d_head, s.kv_heads * s.d_head
    attention = min(
        rows * (2 * s.d_model + 3 * head_width + kv_width) + T * S * (head_width + kv_width), chunk_bytes(model) // _FLOAT
    )
    mlp = min(rows * (2 * s.d_model + 2 * s.hidden), chunk_bytes(model) // _FLOAT)
    seen = T * (6 * s.d_model + 3 * s.hidden) + s.heads * T * T
    forward = T * s.vocabulary + 3 * s.heads * T * T
    copies = (s.mapped_parameters // s.layers + s.d_model * s.hidden) if s.half else 0
    state = rows * s.d_model * (2 if s.parallel else 1)
    floats = state + gram + seen + copies + max(attention, mlp, forward)
    adds = rows * s.mapped_parameters + T * s.parameters + 4 * s.layers * T * S * S * s.d_model
    moved = s.layers * rows * (8 * s.d_model + 4 * s.hidden)
    seconds = _FIXED_SECONDS + _SECONDS_PER_LAYER * s.layers + _OVERHEAD * adds / model.speed() + moved / _FLOATS_PER_SECOND
    return Estimate(n_tokens=T, n_sources=S, bytes=int(floats * _FLOAT + _FIXED_BYTES), seconds=seconds)


_FIXED_BYTES, _FIXED_SECONDS, _SECONDS_PER_LAYER, _OVERHEAD, _FLOATS_PER_SECOND = 6e6, 0.02, 0.004, 1.1, 8e8
"""measured by benchmarks/decompose.py, which prints estimate and outcome side by side"""


def memory_limit(model: "infoflow.model.Model | None" = None) -> int:
    """Bytes that one run may take: INFOFLOW_MAX_MEMORY_MB, or half of what the model's device (the machine) has free now.

    Raises:
        InfoflowError: the variable is no positive whole number.
    """
    given = _whole_number("INFOFLOW_MAX_MEMORY_MB")
    return given * 1_000_000 if given is not None else (model.free_memory() if model else free_memory()) // 2


def chunk_bytes(model: "infoflow.model.Model | None" = None) -> int:
    """Memory for the steps between two states: an eighth of the limit, between 16 and 32 MB (more is not faster)."""
    return int(min(32e6, max(16e6, memory_limit(model) / 8)))


def free_memory() -> int:
    """Bytes of the machine's memory that are free now, within the container's limit where there is one."""
    free = int(psutil.virtual_memory().available)
    try:
        limit = int(Path("/sys/fs/cgroup/memory.max").read_text())
        used = int(Path("/sys/fs/cgroup/memory.current").read_text())
        kept = dict(line.split() for line in Path("/sys/fs/cgroup/memory.stat").read_text().splitlines())
        return max(0, min(free, limit - used + int(kept.get("inactive_file", 0))))  # file cache is given up when needed
    except (OSError, ValueError):
        return free


def max_tokens() -> int:
    """The most sources that are kept apart in one run: INFOFLOW_MAX_TOKENS, 64 by default.

    Raises:
        InfoflowError: the variable is no positive whole number.
    """
    given = _whole_number("INFOFLOW_MAX_TOKENS")
    return DEFAULT_MAX_TOKENS if given is None else given


def check(model: "infoflow.model.Model", n_tokens: int, n_sources: int) -> None:
    """Refuse a run of more sources than the limit, or that does not fit in memory.

    Raises:
        TooLarge: with both numbers, and what fits.
    """
    limit = max_tokens()
    if n_sources > limit:
        apart = f"The prompt has {n_tokens} tokens" if n_sources == n_tokens else f"The prompt makes {n_sources} sources"
        raise TooLarge(
            f"{apart}; the limit is {limit}. Shorten it, group it (for example into '{min(32, limit)} spans'), or set "
            f"INFOFLOW_MAX_TOKENS to {n_sources} or more (memory grows with the square of the number of sources)."
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
    allowed = memory_limit(model)
    if needed.bytes > allowed:
        fits = fewer_sources(model, n_tokens, n_sources)
        advice = f"Group it into {fits} spans or fewer" if fits else "Shorten it"
        raise TooLarge(
            f"{n_tokens} tokens in {n_sources} sources need about {in_words(needed.bytes)}; {in_words(allowed)} are allowed. "
            f"{advice}, or set INFOFLOW_MAX_MEMORY_MB to more."
        )


def _refuse(model: "infoflow.model.Model", needed: int, what: str, advice: str) -> None:
    """Raises TooLarge where a run here needs more than it may take."""
    allowed = memory_limit(model)
    if model.connection is None and needed > allowed:
        raise TooLarge(
            f"{what} needs about {in_words(needed)}; {in_words(allowed)} are allowed. {advice}, or set INFOFLOW_MAX_MEMORY_MB to "
            "more."
        )


def attribution_bytes(model: "infoflow.model.Model", n_tokens: int) -> int:
    """Memory of `attribute` beyond the weights: a backward pass holds the patterns and hidden units of all layers,
    L (H T^2 + T (4 d_mlp + 2 d_model)) numbers."""
    s = model.sizes()
    floats = s.layers * (s.heads * n_tokens**2 + n_tokens * (4 * s.hidden + 2 * s.d_model)) + n_tokens * s.vocabulary
    return _FLOAT * (floats + (s.mapped_parameters if s.half else 0))


def check_attribution(model: "infoflow.model.Model", n_tokens: int) -> None:
    """Refuse an attribution that does not fit in memory.

    Raises:
        TooLarge: with both numbers.
    """
    _refuse(model, attribution_bytes(model, n_tokens), f"Attribution over {n_tokens} tokens", "Shorten the prompt")


def attention_bytes(model: "infoflow.model.Model", n_tokens: int) -> int:
    """Memory of `attention` beyond the weights: the patterns of all heads, L H T^2 numbers, twice where they come packed."""
    s = model.sizes()
    kept = s.layers * s.heads * n_tokens**2
    return _FLOAT * (kept * (2 if model.connection is not None else 1) + 5 * s.heads * n_tokens**2 + n_tokens * s.vocabulary)


def check_attention(model: "infoflow.model.Model", n_tokens: int) -> None:
    """Refuse patterns that do not fit in memory, or through the wire.

    Raises:
        TooLarge: with both numbers.
    """
    needed, allowed = attention_bytes(model, n_tokens), memory_limit(model)
    if model.connection is not None:
        allowed = min(allowed, 4 * model.connection.limit)  # half of each pattern travels, once
    if needed > allowed:
        raise TooLarge(
            f"The patterns of {n_tokens} tokens need about {in_words(needed)}; {in_words(allowed)} are allowed. Shorten the "
            "prompt, or set INFOFLOW_MAX_MEMORY_MB to more."
        )


def generation_bytes(model: "infoflow.model.Model", n_prompt: int, n_new: int) -> int:
    """Memory of `generate` beyond the weights: an attribution over prompt and output whose backward passes run together, each
    step's patterns L H N T and logits N V, and the keys and values of the run before it, 2 L T d."""
    s, n = model.sizes(), n_prompt + n_new
    more = s.layers * n * (s.heads * n_new + 2 * s.kv_heads * s.d_head) + 2 * n_new * s.vocabulary
    return int(1.5 * attribution_bytes(model, n)) + _FLOAT * more + chunk_bytes(model)  # measured by benchmarks/memory.py


def check_generation(model: "infoflow.model.Model", n_prompt: int, n_new: int) -> None:
    """Refuse a continuation whose reading does not fit in memory.

    Raises:
        TooLarge: with both numbers.
    """
    what = f"Writing {n_new} tokens after {n_prompt} and reading them"
    _refuse(model, generation_bytes(model, n_prompt, n_new), what, "Shorten the prompt, ask for fewer tokens")


def lens_bytes(model: "infoflow.model.Model", n_tokens: int, mids: bool) -> int:
    """Memory of `logit_lens` beyond the weights: every row's residual, (1 + L or 2 L) T d_model numbers, the model's logits
    T V, and each row's logits at some positions at a time."""
    s = model.sizes()
    rows = 1 + s.layers * (1 + mids)
    at_once = min(n_tokens, max(1, chunk_bytes(model) // (32 * s.vocabulary)))
    forward = 3 * s.heads * n_tokens**2  # one layer's scores, as the model itself computes them
    return _FLOAT * (rows * n_tokens * s.d_model + 2 * n_tokens * s.vocabulary + 12 * at_once * s.vocabulary + forward)


def check_lens(model: "infoflow.model.Model", n_tokens: int, mids: bool) -> None:
    """Refuse a lens that does not fit in memory.

    Raises:
        TooLarge: with both numbers.
    """
    _refuse(model, lens_bytes(model, n_tokens, mids), f"Reading {n_tokens} tokens at every layer", "Shorten the prompt")


def fewer_sources(model: "infoflow.model.Model", n_tokens: int, n_sources: int) -> int:
    """The largest number of equal spans, halving from `n_sources`, that is within both limits; 0 if none is."""
    allowed, spans = memory_limit(model), min(n_sources, max_tokens())
    while spans >= 1:
        if estimate(model, n_tokens, spans).bytes <= allowed:
            return spans
        spans //= 2
    return 0


def smaller_runs(model: "infoflow.model.Model", tokens: Sequence[Token]) -> list[tuple[str, Estimate]]:
    """Named groupings by which this prompt fits within the limits, the finest first."""
    fitting: dict[int, tuple[str, Estimate]] = {}
    for kind in ("words", "sentences", "64 spans", "32 spans", "16 spans"):
        n = len(set(groups_of(kind, tokens)))
        cost = estimate(model, len(tokens), n)
        fits = cost.seconds is None or cost.bytes <= memory_limit(model)
        if n < len(tokens) and n <= max_tokens() and fits:
            fitting.setdefault(n, (kind, cost))
    return [fitting[n] for n in sorted(fitting, reverse=True)]


def in_words(size: int) -> str:
    """Bytes as a reader says them."""
    if size >= 1e12:
        return f"{size / 1e12:.1f} TB"
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(1, round(size / 1e6))} MB"


def _seconds(seconds: float) -> str:
    if seconds < 1.5:
        return "less than a second" if seconds < 0.8 else "about a second"
    return f"{seconds:.0f} seconds" if seconds < 90 else f"{seconds / 60:.0f} minutes"


def _whole_number(name: str) -> int | None:
    raw = os.environ.get(name, "").strip()
    if not raw:
        return None
    if not raw.isdigit() or int(raw) < 1:
        raise InfoflowError(f"{name} is '{raw}'; it must be a whole number of 1 or more. Correct it or unset it.")
    return int(raw)
