"""Amounts as a reader says them: bytes and seconds, logits."""

import humanize


def in_words(size: int) -> str:
    """Bytes, in decimal units: `3 MB`, `1.2 GB`; at least 1 MB."""
    return humanize.naturalsize(size, format="%.1f" if size >= 1e9 else "%.0f") if size >= 1e6 else "1 MB"


def duration(seconds: float) -> str:
    """About how long: `less than a second`, `about a second`, `40 seconds`, `3 minutes`."""
    if seconds < 1.5:  # finer than humanize's "a moment"
        return "less than a second" if seconds < 0.8 else "about a second"
    return f"{seconds:.0f} seconds" if seconds < 90 else f"{seconds / 60:.0f} minutes"


def before_cap(total: float, after: float) -> str:
    """What is to be said of contributions that sum to a logit (or a difference) before a soft cap, which is not linear."""
    return f"Before the model's soft cap: contributions sum to {total:+.2f}, of which the cap makes {after:+.2f}."
