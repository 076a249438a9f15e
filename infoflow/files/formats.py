"""A result as a file: JSON, CSV, Parquet, one-file HTML, PNG, SVG, PDF. Everything works offline."""

import io
import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from infoflow.analyses.flow import Flow
from infoflow.analyses.provenance import Provenance
from infoflow.errors import InfoflowError
from infoflow.files import flows, strict
from infoflow.pictures.picture import Picture, background
from infoflow.pictures.rendering import chart_html, chart_pdf, chart_png, chart_svg
from infoflow.studies.compare import Both

DRAWN = ("png", "svg", "pdf", "html")
FORMATS = ("json", "csv", "parquet", "html", "png", "svg", "pdf")


def as_json(result: Any) -> bytes:
    """A result with its provenance: a flow in full, any other as its table."""
    if isinstance(result, Flow):
        return flows.as_json(result)
    return frame_json(result.to_frame(), result.provenance)


def frame_json(frame: pd.DataFrame, provenance: Provenance | Both) -> bytes:
    """A table with what was run: {"provenance": ..., "columns": ..., "rows": ...}."""
    rows = json.loads(named(frame).to_json(orient="values", double_precision=8))
    return strict.as_json({"provenance": provenance.to_dict(), "columns": list(frame.columns), "rows": rows})


def with_words(data: bytes, picture: Picture) -> bytes:
    """The JSON of what a picture shows, with the picture's title and note in front."""
    return strict.as_json({"title": picture.title, "note": picture.note, **json.loads(data)})


def as_csv(frame: pd.DataFrame, picture: Picture | None = None) -> bytes:
    """A table; of a picture with its title and note as two more columns, the same in every row."""
    words = {} if picture is None else {"title": picture.title, "note": picture.note}
    return named(frame).assign(**words).to_csv(index=False).encode()


def named(frame: pd.DataFrame) -> pd.DataFrame:
    """A table as a reader opens it: a layer, head or position of -1, which stands for none, is left empty."""
    out = frame.copy(deep=False)
    for column in ("layer", "head", "position"):
        if column in out and pd.api.types.is_integer_dtype(out[column]) and (out[column] < 0).any():
            out[column] = out[column].astype("Int64").mask(out[column] < 0)
    return out


def as_parquet(frame: pd.DataFrame) -> bytes:
    out = io.BytesIO()
    frame.to_parquet(out, index=False)
    return out.getvalue()


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


def check_place(path: str | Path) -> None:
    """That a file can be written there, before there is anything to write.

    Raises:
        InfoflowError: an ending that can't be written, no such folder, or one that can't be written to.
    """
    check_ending(path)
    folder = Path(path).expanduser().parent
    if not folder.is_dir():
        raise InfoflowError(
            f"'{path}' can't be written: there is no folder '{folder}'. Make it, or choose another place with --out."
        )
    if Path(path).expanduser().is_dir():
        raise InfoflowError(f"'{path}' can't be written: it is a folder. Give the file a name of its own.")
    if not os.access(folder, os.W_OK):
        raise InfoflowError(f"'{path}' can't be written: '{folder}' lets nobody write there. Choose another place with --out.")


def drawn(picture: Callable[[], Picture], kind: str, paper: str) -> bytes:
    """A picture with its words as a file of one of the kinds in `DRAWN`.

    Raises:
        InfoflowError: it could not be drawn.
    """
    found = picture()
    if kind == "html":
        return chart_html(found.with_words(), paper, found.title)
    return {"png": chart_png, "svg": chart_svg, "pdf": chart_pdf}[kind](found.with_words(), paper)


def write(result: Any, path: str | Path, picture: Callable[[], Picture], frame: pd.DataFrame, dark: bool = False) -> None:
    """Write a result in the format of the file's ending: `frame` is its table, `picture` draws it where the format is one.

    Raises:
        InfoflowError: an unknown ending, or a folder that can't be written to.
    """
    paper = background(dark)
    makers: dict[str, Callable[[], bytes]] = {
        "json": lambda: as_json(result),
        "csv": lambda: as_csv(frame),
        "parquet": lambda: as_parquet(frame),
        **{kind: partial(drawn, picture, kind, paper) for kind in DRAWN},
    }
    data = makers[check_ending(path)]()
    try:
        Path(path).write_bytes(data)
    except OSError as error:
        raise InfoflowError(f"'{path}' can't be written: {error.strerror}. Choose another place with --out.") from error
