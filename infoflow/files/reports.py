"""Results as one HTML file that opens anywhere, offline: pictures to point at, what they say, tables, and the Python of each.

Whatever was typed or comes from a model is data: text is escaped, charts travel as JSON in which no `<` is left, and the page's
own policy lets no other script run and nothing be fetched.
"""

import base64
import hashlib
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from infoflow import __version__
from infoflow.analyses.provenance import UNSUPPORTED, Provenance
from infoflow.errors import BadPrompt, InfoflowError
from infoflow.files import atomic, formats, scripts
from infoflow.interventions import described
from infoflow.pictures import glyphs, rendering
from infoflow.pictures.picture import Picture, background, picture_of
from infoflow.studies.compare import Both
from infoflow.summaries.sentence import sentences_of

FOLDER = Path(__file__).parent
ROWS = 200
"""of a table that are in the file"""
FONT = f'"Source Sans", "Noto Sans", sans-serif, {glyphs.FAMILY}'


@dataclass(frozen=True)
class Part:
    """A result of a report."""

    result: Any
    note: str = ""
    """what its reader says of it"""
    light: Picture | None = None
    """as it is shown; None for as it is first shown"""
    dark: Picture | None = None
    """the same for a dark page; None for the light one, on paper of its own"""


def report(results: Any, path: str | Path | None = None, title: str = "", note: str = "") -> bytes:
    """Results as one HTML file: of each its picture, to point at, with what it says, what it is of and how exact it is, its
    table, and the Python that makes it again. It opens offline and asks for nothing; light or dark as its reader has it.

    `results`: a result, or several, or `Part`s of them with notes. With a `path` it is written there, too.

    Raises:
        BadPrompt: no result. InfoflowError: one that has no picture; a place that can't be written to.
    """
    several = isinstance(results, Sequence) and not isinstance(results, str)
    parts = [one if isinstance(one, Part) else Part(one) for one in (results if several else [results])]
    if not parts:
        raise BadPrompt("A report is of one result or more, and there is none.")
    data = _page(parts, title, note)
    if path is not None:
        atomic.write(atomic.place(path), data)
    return data


def _page(parts: Sequence[Part], title: str, note: str) -> bytes:
    datasets: dict[str, Any] = {}
    sections = [_encodable(_section(part, datasets)) for part in parts]
    title, note = _encodable(title), _encodable(note)
    title = title.strip() or (sections[0]["title"] if len(sections) == 1 else f"{len(sections)} results of infoflow")
    used = glyphs.unusual([title, note, *_texts(sections), *_texts(list(datasets.values()))])
    style = (FOLDER / "report.css").read_text(encoding="utf-8") + (glyphs.font_face(used) if used else "")
    own = [_library(), (FOLDER / "report.js").read_text(encoding="utf-8")]
    environment = jinja2.Environment(autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string((FOLDER / "report.html").read_text(encoding="utf-8"))
    page = template.render(
        title=title, note=note.strip(), sections=sections, version=__version__, policy=_policy(own),
        style=Markup(style), datasets=_script(datasets), scripts=[Markup(script) for script in own],  # noqa: S704  files of ours
    )  # fmt: skip
    return page.encode()


@cache
def _library() -> str:
    """The library of all charts; nothing in it ends a script."""
    text = rendering.library().decode()
    if "</script" in text.lower() or "<!--" in text:
        raise InfoflowError("The library of charts can't be put into a page. Install infoflow anew.")
    return text


def _policy(own: Iterable[str]) -> str:
    """What the page may do: run these scripts and no other, and fetch nothing."""
    hashes = " ".join(f"'sha256-{base64.b64encode(hashlib.sha256(one.encode()).digest()).decode()}'" for one in own)
    allowed = f"script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:; font-src data:"
    return f"default-src 'none'; {allowed}; base-uri 'none'; form-action 'none'"


def _script(value: Any) -> Markup:
    """Plain values as JSON that a script element holds: no `<` is left that could end it."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return Markup(  # noqa: S704  see above
        text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    )


def _section(part: Part, datasets: dict[str, Any]) -> dict[str, Any]:
    """What the page says of one result; its charts' data go where those of all are."""
    result, light = part.result, part.light or picture_of(part.result)
    dark = part.dark or (None if part.light else picture_of(result, dark=True))
    made = _made(result)
    refused = any(one.verdict == UNSUPPORTED for one in made)
    specs, least = {}, 0
    for theme, drawn in (("light", light), ("dark", dark)):
        if drawn is not None:
            spec, least = rendering.embedded(drawn.chart)
            datasets |= spec.pop("datasets", {})
            ground = {} if dark is not None else {"background": background()}
            spec["config"] = {**spec.get("config", {}), "font": FONT, **ground}
            specs[theme] = spec
    table = formats.named(light.frame)
    return {
        "title": light.title, "about": light.note, "note": part.note.strip(), "least": least, "specs": _script(specs),
        "warning": "The self-test refused this model: do not rely on what is shown." if refused else "",
        "sentences": [sentence.text for sentence in sentences_of(result)], "told": list(getattr(result, "notes", ())),
        "facts": [fact for one in made for fact in _facts(one)] + _error(result),
        "columns": [str(name) for name in table.columns],
        "rows": [[_cell(value) for value in row] for row in table.head(ROWS).itertuples(index=False)],
        "rows_said": f"{len(table):,} rows" if len(table) <= ROWS else f"the first {ROWS} of {len(table):,} rows",
        "codes": [scripts.python_of(result.provenance)] if made else [],
    }  # fmt: skip


def _encodable(value: Any) -> Any:
    """The same values; half a character pair, which no file in UTF-8 can hold, is a question mark."""
    if isinstance(value, str):
        return value if isinstance(value, Markup) else value.encode("utf-8", "replace").decode()
    if isinstance(value, dict):
        return {key: _encodable(one) for key, one in value.items()}
    return [_encodable(one) for one in value] if isinstance(value, list | tuple) else value


def _made(result: Any) -> list[Provenance]:
    """What was run for a result: of a comparison, both."""
    found = getattr(result, "provenance", None)
    several = [found.a, found.b] if isinstance(found, Both) else [found]
    return [one for one in several if isinstance(one, Provenance)]


def _facts(made: Provenance) -> list[tuple[str, str]]:
    where = f" on {made.request.model.host}" if made.request.model.hosted else ""
    facts = [
        ("model", made.model + where), ("revision", made.revision), ("weights", made.weights), ("computed in", made.dtype),
        ("self-test", made.verdict), ("prompt", made.prompt), ("written", made.how),
        *[("changed", described(change)) for change in made.request.interventions],
        ("infoflow", f"{made.infoflow}, method {made.method}"),
    ]  # fmt: skip
    return [(name, value) for name, value in facts if value]


def _error(result: Any) -> list[tuple[str, str]]:
    error = getattr(result, "max_error", None)
    return [] if error is None else [("worst error", f"{float(error):.1e}")]


def _cell(value: Any) -> dict[str, Any]:
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return {"text": "", "number": False}
    if isinstance(value, float):
        return {"text": f"{value:.4g}", "number": True}
    return {"text": str(value), "number": not isinstance(value, str | bool | tuple | list)}


def _texts(value: Any) -> Iterable[str]:
    """Every text in some values."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from _texts(one)
