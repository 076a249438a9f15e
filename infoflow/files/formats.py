"""A result as a file: JSON, CSV, Parquet, one-file HTML, PNG, SVG, PDF, Vega-Lite. Everything works offline."""

import csv
import io
import json
import math
import os
import re
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from infoflow.analyses.flow import Flow
from infoflow.analyses.provenance import Provenance
from infoflow.errors import InfoflowError
from infoflow.files import atomic, flows, strict
from infoflow.pictures.picture import Picture, background
from infoflow.pictures.rendering import chart_html, chart_pdf, chart_png, chart_svg, chart_vegalite
from infoflow.studies.compare import Both

VEGALITE = "vl.json"
DRAWN = ("png", "svg", "pdf", "html", VEGALITE)
FORMATS = ("json", "csv", "parquet", *DRAWN)


def as_json(result: Any) -> bytes:
    """A result with its provenance: a flow in full, any other as its table."""
    if isinstance(result, Flow):
        return flows.as_json(result)
    return frame_json(result.to_frame(), result.provenance)


def frame_json(frame: pd.DataFrame, provenance: Provenance | Both) -> bytes:
    """A table with what was run: {"provenance": ..., "columns": ..., "rows": ...}."""
    rows: list[list[Any]] = json.loads(named(frame).to_json(orient="values"))
    for place, (_, column) in enumerate(frame.items()):
        if pd.api.types.is_float_dtype(column):  # pandas would leave ten decimals of the smallest probability, too
            for row, value in zip(rows, column.to_numpy(na_value=math.nan), strict=True):
                row[place] = float(str(value))  # as few digits as tell it apart from others of its type
    return strict.as_json({"provenance": provenance.to_dict(), "columns": list(frame.columns), "rows": rows})


def with_words(data: bytes, picture: Picture) -> bytes:
    """The JSON of what a picture shows, with the picture's title and note in front."""
    return strict.as_json({"title": picture.title, "note": picture.note, **json.loads(data)})


def as_csv(frame: pd.DataFrame, picture: Picture | None = None) -> bytes:
    """A table; of a picture with its title and note as two more columns, the same in every row. A text that a spreadsheet would
    compute has a ' before it: `of_csv` takes it away. Numbers are left as they are."""
    words = {} if picture is None else {"title": picture.title, "note": picture.note}
    table = named(frame).assign(**words)
    texts = {name: table[name].map(_for_csv) for name in table.select_dtypes(["object", "string", "category"])}
    returns = any(isinstance(value, str) and "\r" in value for column in texts.values() for value in column)
    quoted = csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL  # which takes a lone \r for no end of a line; readers do
    return table.assign(**texts).to_csv(index=False, quoting=quoted).encode()


_COMPUTED = re.compile(r"'*\s*[=+\-@＝＋－＠\t\r\n]")
"""how a text begins that Excel, LibreOffice or Sheets takes for a formula, or cuts at its first sign and then does; with marks
that it has already, so that none is taken away that was not put there"""


def _for_csv(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and _COMPUTED.match(value) else value


def of_csv(text: str) -> str:
    """A text of a CSV file as it was before it was written there."""
    return text[1:] if text[:1] == "'" and _COMPUTED.match(text) else text


def named(frame: pd.DataFrame) -> pd.DataFrame:
    """A table as a reader opens it: a layer, head or position of -1, which stands for none, is left empty."""
    out = frame.copy(deep=False)
    for column in ("layer", "head", "position"):
        if column in out and pd.api.types.is_integer_dtype(out[column]) and (out[column] < 0).any():
            out[column] = out[column].astype("Int64").mask(out[column] < 0)
    return out


def as_parquet(frame: pd.DataFrame, picture: Picture | None = None) -> bytes:
    """A table with its types; of a picture with its title and note in the file's metadata, as `infoflow.title` and so on."""
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.Table.from_pandas(_encodable(frame), preserve_index=False)
    words = {} if picture is None else {"infoflow.title": picture.title, "infoflow.note": picture.note}
    told = {name: text.encode("utf-8", "replace") for name, text in words.items()}
    out = io.BytesIO()
    pyarrow.parquet.write_table(table.replace_schema_metadata({**(table.schema.metadata or {}), **told}), out)
    return out.getvalue()


def _encodable(frame: pd.DataFrame) -> pd.DataFrame:
    """Half a character pair, which no file in UTF-8 can hold, as a question mark."""
    texts = {name: frame[name].map(_utf8) for name in frame.select_dtypes(["object", "string"])}
    return frame.assign(**texts) if texts else frame


def _utf8(value: Any) -> Any:
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def words_of(frame: pd.DataFrame) -> set[str]:
    """Every text that occurs in a table."""
    texts = frame.select_dtypes(["object", "string"])
    return {str(text) for name in texts for text in texts[name].unique()}


def check_ending(path: str | Path) -> str:
    """The format that a file's ending names.

    Raises:
        InfoflowError: an ending that can't be written.
    """
    name = Path(path).name.lower()
    kind = VEGALITE if name.endswith(f".{VEGALITE}") else Path(path).suffix.lower().lstrip(".")
    if kind not in FORMATS:
        endings = ", ".join("." + f for f in FORMATS)
        raise InfoflowError(f"'{Path(path).name}' has no ending that can be written. Use one of: {endings}.")
    return kind


def check_place(path: str | Path) -> str:
    """That a file can be written there, before there is anything to write; the format that its ending names.

    Raises:
        InfoflowError: an ending that can't be written, no such folder, or one that can't be written to.
    """
    kind = check_ending(path)
    try:
        place = Path(path).expanduser()
        folder, taken = place.parent, place.is_dir()
    except (OSError, RuntimeError) as error:  # a name that is too long, a home that nobody has
        why = getattr(error, "strerror", None) or str(error).rstrip(".")
        raise InfoflowError(f"'{path}' can't be written: {why}. Choose another place with --out.") from None
    if not folder.is_dir():
        raise InfoflowError(
            f"'{path}' can't be written: there is no folder '{folder}'. Make it, or choose another place with --out."
        )
    if taken:
        raise InfoflowError(f"'{path}' can't be written: it is a folder. Give the file a name of its own.")
    if not os.access(folder, os.W_OK):
        raise InfoflowError(f"'{path}' can't be written: '{folder}' lets nobody write there. Choose another place with --out.")
    return kind


def drawn(picture: Callable[[], Picture], kind: str, paper: str) -> bytes:
    """A picture with its words as a file of one of the kinds in `DRAWN`.

    Raises:
        InfoflowError: it could not be drawn.
    """
    found = picture()
    if kind == "html":
        return chart_html(found.with_words(), paper, found.title)
    makers = {"png": chart_png, "svg": chart_svg, "pdf": chart_pdf, VEGALITE: chart_vegalite}
    return makers[kind](found.with_words(), paper)


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
    atomic.write(atomic.place(path), data)
