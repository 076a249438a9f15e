"""What each head and MLP writes of a logit itself, as a map of layers by heads."""

from infoflow.analyses.direct import DirectAttribution
from infoflow.pictures.circuits import written
from infoflow.pictures.picture import Picture


def picture(found: DirectAttribution, dark: bool = False) -> Picture:
    """The map that the Circuits page has."""
    return written(found, 0, dark)
