"""JSON that any program reads: a number that is none is null, where Python would write NaN."""

import json
import math
from typing import Any


def as_json(value: Any, indent: int | None = None) -> bytes:
    """Plain values as strict JSON (RFC 8259), in UTF-8; half a character pair, as a folder's name may have, is escaped."""
    return json.dumps(_finite(value), ensure_ascii=False, allow_nan=False, indent=indent).encode(errors="backslashreplace")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value
