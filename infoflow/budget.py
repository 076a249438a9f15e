"""Limits, checked before a run rather than met in the middle of one."""

import os

from infoflow.errors import InfoflowError, TooLarge

DEFAULT_MAX_TOKENS = 64


def max_tokens() -> int:
    """The longest prompt in tokens: INFOFLOW_MAX_TOKENS, 64 by default.

    Raises:
        InfoflowError: the variable is no positive whole number.
    """
    raw = os.environ.get("INFOFLOW_MAX_TOKENS", "").strip()
    if not raw:
        return DEFAULT_MAX_TOKENS
    if not raw.isdigit() or int(raw) < 1:
        raise InfoflowError(f"INFOFLOW_MAX_TOKENS is '{raw}'; it must be a whole number of 1 or more. Correct it or unset it.")
    return int(raw)


def check_length(n_tokens: int) -> None:
    """Refuse a prompt of more tokens than the limit.

    Raises:
        TooLarge: with both numbers.
    """
    limit = max_tokens()
    if n_tokens > limit:
        raise TooLarge(
            f"The prompt has {n_tokens} tokens; the limit is {limit}. Shorten it, or set INFOFLOW_MAX_TOKENS to "
            f"{n_tokens} or more (memory grows with the cube of the number of tokens)."
        )
