"""Pieces that several pages have: errors in one place, warnings, downloads, how it is computed."""

import html
import inspect
import pkgutil
import re
import string
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st

from infoflow.analyses.provenance import Provenance
from infoflow.analyses.selftest import APPROXIMATE
from infoflow.charts.drawing import unchecked
from infoflow.charts.palette import signed_ground
from infoflow.errors import Cancelled, InfoflowError, RemoteRunError, without_frames
from infoflow.files import formats, reports, scripts
from infoflow.pictures import glyphs
from infoflow.pictures.picture import Picture, background
from infoflow.studies.compare import Both
from infoflow.summaries.sentence import Sentence
from infoflow.ui import paper, seen

WARN_ERROR = 1e-3
CHECKED = False
"""whether charts are checked at every redraw"""
TABLE_ROWS = 5_000
"""what a browser is sent of a longer table"""
PERCENT = st.column_config.NumberColumn("probability", format="percent")
LOGIT = st.column_config.NumberColumn("logit", format="%.2f")


unchecked()  # nor are pieces of charts, as they are made


def chart(drawn: Any, **more: Any) -> Any:
    """A chart of ours on the page: `st.altair_chart`, whose arguments it takes, but for a check against the schema of Vega-Lite,
    which takes a quarter of a redraw. That charts pass it is what tests hold."""
    object.__setattr__(drawn, "to_dict", partial(drawn.to_dict, validate=CHECKED))
    return st.altair_chart(drawn, **more)


@contextmanager
def fold(label: str, key: str) -> Iterator[bool]:
    """What unfolds on a click; gives whether it is open, for what is in it need not be made before."""
    with st.expander(label, key=f"fold_{key}", on_change="rerun") as held:
        yield bool(held.open)


@contextmanager
def reporting_errors() -> Iterator[None]:
    """Show what the reader can mend as a sentence; anything else is a bug and shows as one."""
    try:
        yield
    except Cancelled as stopped:
        st.info(plain(str(stopped)), icon=":material/cancel:")
        without_frames(stopped)  # a page keeps what it was told
    except InfoflowError as error:
        failed(error)
        without_frames(error)


def failed(error: InfoflowError) -> None:
    """What happened and what to do; what a service said of it can be unfolded."""
    st.error(plain(str(error)), icon=":material/error:")
    if isinstance(error, RemoteRunError) and error.details.strip() not in ("", str(error)):
        with st.expander("What the service said"):
            st.code(error.details, language=None, wrap_lines=True, height=240)


_SIGNS = re.compile(r"(?<!\S)(?=(?:<->|->|<-|--|>=|<=|~=)(?!\S))|(?<=:)(?=streamlit:)")
"""before what Streamlit draws as another sign where it stands alone, whatever is escaped"""
_SPACES = re.compile(r"(?<=[ \n]) |^ ")


def plain(text: str) -> str:
    """Text as Markdown that shows it as it is: token text is data, never markup. Its lines stay lines, its spaces spaces, and
    what looks like an arrow stays what was typed. For running text there is `verbatim`."""
    kept = _SPACES.sub("\xa0", _SIGNS.sub("\u2060", text))
    return "".join("\\" + c if c in string.punctuation else "\\\n" if c == "\n" else c for c in kept)


def verbatim(text: str, marked: str = "") -> None:
    """Text as it is, never as markup, with its lines and spaces; `marked` follows it on a ground of its own."""
    ground = "background: rgba(255, 165, 0, 0.25); border-radius: 3px; padding: 0 2px; font-weight: 600"
    after = f'<span style="{ground}">{html.escape(marked)}</span>' if marked else ""
    st.html(f'<div style="white-space: pre-wrap; overflow-wrap: anywhere">{html.escape(text)}{after}</div>')


def coloured(pieces: pd.DataFrame, dark: bool) -> None:
    """The prompt as running text, each piece on a ground of its value's colour, which is its tooltip. Columns: text, logit."""
    largest = float(pieces["logit"].abs().max())
    spans = [
        f'<span title="{value:+.3f}" style="background: {signed_ground(value, largest, dark)}; border-radius: 3px; '
        f'padding: 2px 4px; margin-right: 2px">{html.escape(text)}</span>'
        for text, value in zip(pieces["text"], pieces["logit"].astype(float), strict=True)
    ]
    st.html(f'<div style="line-height: 1.9; overflow-wrap: anywhere">{"<wbr>".join(spans)}</div>')


def says(found: Sequence[Sentence], go: Callable[[Mapping[str, Any]], None] | None = None) -> None:
    """What the result says, above its picture: a sentence that has a place is a button that goes there."""
    with st.container(horizontal=True, gap="small", key="says"):
        for number, sentence in enumerate(found):
            if go is not None and sentence.place:
                st.button(
                    plain(sentence.text), key=f"says_{number}", type="tertiary", icon=":material/arrow_outward:", on_click=go,
                    args=(sentence.place,), wrap=True,
                )  # fmt: skip
            else:
                st.markdown(plain(sentence.text), width="content")


def told(notes: Sequence[str]) -> None:
    """What a reader should know of how the prompt became tokens."""
    for note in notes:
        st.caption(f":material/info: {plain(note)}")


def warn_if_off(error: float, made: Provenance, what: str) -> None:
    """A warning where numbers are not what the model itself computed, by more than its type's rounding."""
    if not error <= (WARN_ERROR if made.dtype == "float32" else APPROXIMATE):
        st.warning(f"{what}: error {error:.1e}. Do not rely on what is shown for this model.", icon=":material/error:")


def largest(table: pd.DataFrame, name: str, value: str, form: str = ".1%", most: int = 3) -> str:
    """What a chart of one value each shows, in words for who can't see it: the largest, and how many there are."""
    order = table[value].abs().sort_values(ascending=False, kind="stable").index[:most]
    named = ", ".join(f"{table.loc[i, name]} {table.loc[i, value]:{form}}" for i in order)
    return f"Largest: {named}; {len(table)} in all." if named else "It is empty."


def ticked(table: pd.DataFrame) -> pd.DataFrame:
    """A table whose yes and no are marks to read, and not boxes that look as if they could be ticked."""
    return table.assign(**{name: table[name].map({True: "✓", False: ""}) for name in table.select_dtypes("bool")})


def downloads(
    picture: Picture,
    as_json: Callable[[], bytes],
    dark: bool,
    made: Provenance | Both,
    key: str = "",
    result: Any = None,
    draw: paper.Draw | None = None,
) -> None:
    """The picture as it is shown, the numbers behind it, each with its title and note, and the Python that makes them again; with
    its `result` and what draws it as it is shown a report, too, and a figure for a paper. `key` tells those of one page apart."""
    frame, ground = picture.frame, background(dark)
    seen.look()  # here, where pages end that are drawn again alone
    with st.container(horizontal=True, vertical_alignment="center", gap="xsmall", key=f"downloads_{key}"):
        st.markdown("**Download**", width="content")
        for kind in formats.DRAWN:
            _button(kind, partial(formats.drawn, lambda: picture, kind, ground), picture, key)
        _button("csv", lambda: formats.as_csv(frame, picture), picture, key)
        _button("json", lambda: formats.with_words(as_json(), picture), picture, key)
        _button("parquet", lambda: formats.as_parquet(frame, picture), picture, key)
        _button("py", lambda: scripts.python_of(made).encode(errors="backslashreplace"), picture, key)
        _button("ipynb", lambda: scripts.notebook_of(made), picture, key)
        if draw is not None:
            _button("report.html", partial(_report, result, draw), picture, key)
            paper.popover(picture, draw, result, key)
    missing = glyphs.lacking(formats.words_of(frame))
    if missing:
        st.caption(plain(glyphs.sentence(missing)))
    with fold(f"Table ({len(frame):,} rows)", f"table_{key}") as is_open:
        if is_open:
            st.dataframe(formats.named(frame.head(TABLE_ROWS)), hide_index=True, height=320)
        if is_open and len(frame) > TABLE_ROWS:
            st.caption(f"The first {TABLE_ROWS:,} rows; the CSV holds all.")


def _report(result: Any, draw: paper.Draw) -> bytes:
    """The view as a page of its own, in light and dark."""
    return reports.report(reports.Part(result, light=draw(dark=False), dark=draw(dark=True)))


_MIMES = {
    "png": "image/png", "svg": "image/svg+xml", "pdf": "application/pdf", "html": "text/html", "csv": "text/csv",
    "json": "application/json", "py": "text/x-python", "ipynb": "application/x-ipynb+json", "report.html": "text/html",
    "vl.json": "application/json", "parquet": "application/vnd.apache.parquet",
}  # fmt: skip


_CALLED = {"py": "Python", "ipynb": "Notebook", "vl.json": "Vega-Lite", "parquet": "Parquet", "report.html": "Report"}
"""kinds of files that are called otherwise than by their ending"""


def called(kind: str) -> str:
    """What a file of a kind is called on a button."""
    return _CALLED.get(kind, kind.upper())


def _button(kind: str, make: Callable[[], bytes], picture: Picture, key: str) -> None:
    name, mime = f"{picture.file_name}.{kind}", _MIMES[kind]
    st.download_button(called(kind), make, file_name=name, mime=mime, key=f"download_{key}{kind}", on_click="ignore")


def how(words: str, *functions: str) -> None:
    """How it is computed, in words and in the source of the very functions, by their full names, that made the numbers: an
    explanation that can't drift from the code."""
    with fold("How is it computed?", "how") as is_open:
        if is_open:
            st.markdown(words)
            for name in functions:
                source = inspect.getsource(pkgutil.resolve_name(name))
                st.code(source, language="python", height=320)
