"""A flow as a file: JSON, CSV, Parquet, one-file HTML, PNG, SVG. Everything works offline."""

import io
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import altair as alt
import pandas as pd

from infoflow.analyses.flow import Flow
from infoflow.errors import InfoflowError
from infoflow.provenance import Provenance

FORMATS = ("json", "csv", "parquet", "html", "png", "svg")


def as_dict(flow: Flow) -> dict[str, Any]:
    """`attention_norms` and `mlp_norms` as [layer][position][source], tokens, sources, predictions, errors, provenance."""
    return {
        "tokens": list(flow.tokens),
        "labels": list(flow.labels),
        "token_ids": list(flow.token_ids),
        "source_labels": list(flow.source_labels),
        "source_of": flow.source_of.tolist(),
        "attention_norms": flow.norms("mid").tolist(),
        "mlp_norms": flow.norms("post").tolist(),
        "top_predictions": [asdict(t) for t in flow.top],
        "max_error": flow.max_error,
        "logit_error": flow.logit_error,
        "error": flow.error.tolist(),
        "provenance": asdict(flow.provenance),
    }


def as_json(flow: Flow) -> bytes:
    return json.dumps(as_dict(flow), ensure_ascii=False, indent=1).encode()


def frame_json(frame: pd.DataFrame, provenance: Provenance) -> bytes:
    """A table with what was run: {"provenance": ..., "columns": ..., "rows": ...}."""
    rows = json.loads(frame.to_json(orient="values", double_precision=8))
    return json.dumps(
        {"provenance": asdict(provenance), "columns": list(frame.columns), "rows": rows}, ensure_ascii=False
    ).encode()


def as_csv(flow: Flow, metric: str = "norm") -> bytes:
    return flow.to_frame(metric).to_csv(index=False).encode()


def as_parquet(flow: Flow, metric: str = "norm") -> bytes:
    out = io.BytesIO()
    flow.to_frame(metric).to_parquet(out, index=False)
    return out.getvalue()


def chart_png(chart: alt.TopLevelMixin, background: str, scale: float = 2.0) -> bytes:
    """The chart as a picture, for a page of `background`."""
    return _converted(chart, background, f"vl_convert.vegalite_to_png(spec, scale={scale:g})")


def chart_svg(chart: alt.TopLevelMixin, background: str) -> bytes:
    return _converted(chart, background, "vl_convert.vegalite_to_svg(spec).encode()")


def chart_html(chart: alt.TopLevelMixin, background: str) -> bytes:
    """One file that opens offline, with the library in it and the chart still interactive.

    The converter writes token texts into a script as they are, where `</script>` would end it: every `<` of the chart
    travels as a private character and arrives as its JavaScript escape.
    """
    page = _converted(chart, background, "vl_convert.vegalite_to_html(spec, bundle=True).encode()", less_than=_STAND_IN).decode()
    return page.replace(_STAND_IN, "\\u003c").encode()


_STAND_IN = "\ue0f0"


def _converted(chart: alt.TopLevelMixin, background: str, call: str, less_than: str = "<") -> bytes:
    """Convert in a process of its own: the converter's native code ends its whole process on what it can't draw.

    Raises:
        InfoflowError: it could not draw the chart.
    """
    program = f"import json, sys, vl_convert; spec = json.load(sys.stdin.buffer); sys.stdout.buffer.write({call})"
    spec = json.dumps(_sized(chart, background), ensure_ascii=False).replace("<", less_than).encode("utf-8", "replace")
    done = subprocess.run([sys.executable, "-c", program], input=spec, capture_output=True, timeout=300, check=False)
    if done.returncode != 0:
        raise InfoflowError("The picture could not be drawn. Save the table (CSV or JSON) instead, or try another prompt.")
    return done.stdout


def _sized(chart: alt.TopLevelMixin, background: str) -> dict[str, Any]:
    """Outside a page `width: container` has no meaning: give the chart the width its columns need."""
    spec: dict[str, Any] = chart.to_dict()
    if spec.get("width") == "container":
        x = spec.get("layer", [spec])[0].get("encoding", {}).get("x", {})
        low, high = (x.get("scale") or {}).get("domain") or (0, 20)
        spec["width"] = max(560, int(46 * (high - low)))
    spec.setdefault("config", {})["background"] = background
    return spec


def check_ending(path: str | Path) -> str:
    """The format that a file's ending names.

    Raises:
        InfoflowError: an ending that can't be written.
    """
    kind = Path(path).suffix.lower().lstrip(".")
    if kind not in FORMATS:
        endings = ", ".join("." + f for f in FORMATS)
        raise InfoflowError(f"'{Path(path).name}' has no ending that can be written. Use one of: {endings}.")
    return kind


def write(
    flow: Flow, path: str | Path, picture: Callable[[Flow], alt.TopLevelMixin], background: str, metric: str = "norm"
) -> None:
    """Write a flow in the format of the file's ending; `picture` draws it where the format is a picture.

    Raises:
        InfoflowError: an unknown ending, or a folder that can't be written to.
    """
    makers: dict[str, Callable[[], bytes]] = {
        "json": lambda: as_json(flow),
        "csv": lambda: as_csv(flow, metric),
        "parquet": lambda: as_parquet(flow, metric),
        "html": lambda: chart_html(picture(flow), background),
        "png": lambda: chart_png(picture(flow), background),
        "svg": lambda: chart_svg(picture(flow), background),
    }
    data = makers[check_ending(path)]()
    try:
        Path(path).write_bytes(data)
    except OSError as error:
        raise InfoflowError(f"'{path}' can't be written: {error.strerror}. Choose another place with --out.") from error
