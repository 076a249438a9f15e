"""A sweep of patched runs, as a map."""

from infoflow.analyses.patching import Method, Patching, PatchRequest
from infoflow.analyses.sweeps import Direction
from infoflow.charts import patching as charts
from infoflow.metrics.effects import METRICS, measured
from infoflow.pictures.picture import Picture, short
from infoflow.tables import patching as tables
from infoflow.text.tokens import unique

SITES = {
    "z": "what each head has gathered (z)", "q": "each head's queries", "k": "each head's keys", "v": "each head's values",
    "pattern": "each head's attention pattern", "attn": "what attention adds", "mlp": "what the MLP adds",
    "resid_pre": "the residual before each layer", "resid_mid": "the residual between attention and MLP",
    "resid_post": "the residual after each layer",
}  # fmt: skip


def picture(found: Patching, dark: bool = False, metric: str = "recovery") -> Picture:
    """How far each patched run moves a metric from where it is with nothing patched."""
    table = tables.cells(found, metric)
    made = found.provenance
    largest = float(table.loc[table["live"], "change"].abs().max()) if table["live"].any() else 0.0
    return Picture(
        chart=charts.grid(table, tables.FORMS[metric], largest or None, dark),
        frame=found.to_frame(),
        title=f"Patching {site_words(found)} of “{short(made.prompt)}”, {made.whose}",
        note=f"{METRICS[metric]} {said(found, metric)}",
    )


def _mean_said(found: Patching, request: PatchRequest) -> str:
    if request.averaged is None:
        return ""
    places = [request.averaged] if isinstance(request.averaged, int | str) else request.averaged
    names = unique(found.other_labels, [])
    called = ", ".join(f"“{p if isinstance(p, str) else names[p]}”" for p in places)
    return f" What is put in everywhere is the mean over {called}."


def site_words(found: Patching) -> str:
    """What was patched."""
    return SITES[found.site]


def said(found: Patching, metric: str) -> str:
    """What the colours are, of which runs, and what is left grey."""
    denoising = found.direction == Direction.DENOISING
    into = "the clean run's into the corrupted run" if denoising else "the corrupted run's into the clean run"
    start = float(measured(found.unpatched, metric, found.clean, found.corrupted))
    request = found.provenance.request
    how = "Estimated from one backward pass: " if isinstance(request, PatchRequest) and request.method == Method.GRADIENT else ""
    together = f" At {len(found.together)} positions together." if found.together and not found.positions else ""
    mean = _mean_said(found, request) if isinstance(request, PatchRequest) else ""
    path = f" Along paths to {request.receiver} alone." if isinstance(request, PatchRequest) and request.receiver else ""
    grey = "" if found.live.all() else " Left out: before the prompts differ, or after what is read, nothing can change it."
    return f"{how}Change by taking {into}, one at a time, from {start:+.2f} with nothing taken.{together}{mean}{path}{grey}"
