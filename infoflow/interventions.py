"""What may be changed in a run, as frozen values: a field of every request, and so part of every key, address and file.

No kind of intervention is here yet; the field is, so that none of them can be left out of a key once they come.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Intervention:
    """One change to a run. Its fields say what is changed, where and how."""
