"""Which model, and where it runs, as a value: what a request names, and what `load_model` is asked for."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ModelSpec:
    """A model by name and place. Never a key: whoever may run it is no part of what is run."""

    name: str = "demo"
    """demo, a name on the hub, or a local folder"""
    revision: str = ""
    """a branch, tag or commit; '' for the default. Of a loaded model: the commit, or the weights' fingerprint"""
    device: str = "auto"
    """here; of a loaded model: the one it is on"""
    dtype: str = "auto"
    """how weights are held here; of a loaded model: their type"""
    host: str = ""
    """address of the service that runs it; '' for this machine"""

    @property
    def hosted(self) -> bool:
        """Whether a service runs it."""
        return bool(self.host)
