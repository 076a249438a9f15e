"""The controls and pieces of the Many prompts page: what is run or opened, the summaries, one head over all prompts."""

import io
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any

import pandas as pd
import streamlit as st

from infoflow.analyses.request import Report
from infoflow.errors import BadPrompt, Cancelled, InfoflowError, without_frames
from infoflow.files import batch as runner
from infoflow.files import formats, prompts
from infoflow.files.prompts import Row
from infoflow.models.spec import ModelSpec
from infoflow.pictures import batch as pictures
from infoflow.pictures.picture import Picture, background
from infoflow.server import limits, log
from infoflow.studies.batch import ANALYSES, Batch, HeadOver, open_batch
from infoflow.tables import batch as tables
from infoflow.text.examples import PRESETS
from infoflow.ui import asking, blocks, cache, changes, controls, jobs
from infoflow.ui.controls import choice
from infoflow.ui.streamlit_names import write_bound

MOST, OF_STRANGERS = 50, 10
"""prompts that are run here; more are the command's. The second: where strangers use the app"""
PARALLEL = 4
"""requests under way at once on the hosted service"""
LISTED = 200
"""prompts in the table"""
ONE_HEAD = "one head"

INTRO = """Many prompts at once: what is usual of a model, and what one prompt's picture can't tell. Each prompt goes through the
same analyses as on the other pages; its row is a link to its picture there."""
USE = """Type prompts, one a line, or bring a file with the columns prompt, target, against, group and id."""
WHOLE = """A data set of any size is made by `infoflow batch prompts.csv --out results/`, and its folder is opened here."""
PROMPTS = """One a line. They are run where Run is pressed; at most {most} here."""
FILE = """CSV or JSON lines with a column `prompt`, and where you have them `target`, `against`, `group` and `id`; or a
text with one prompt a line. It comes before what is typed."""
FOLDER = """What `infoflow batch --out` wrote, on this machine. Empty: the prompts above."""
WHAT = """What is run of each prompt: where the last position's parts come from (flow), where the answer moves (locate), what each
layer would say (lens), what kind each head is (heads), what each writes of the answer (attribute)."""
SHOW = """Means and counts over all prompts. **one head**: on which prompts it writes most, and what it looks at there."""
GROUP = """The prompts of one group alone, of the column `group`."""
STOPPED = """The run was stopped. What is done is kept: Run goes on with it."""
LINKS = {
    "link_flow": "flow", "link_locate": "answer", "link_lens": "lens", "link_heads": "attention", "link_attribute": "circuit",
    "link": "picture",
}  # fmt: skip
"""columns with addresses, by what they are called"""
ENDINGS = ["csv", "tsv", "jsonl", "ndjson", "txt"]
_MADE, _CANCELLED, _FAILED, _FILE = "batch_made", "batch_cancelled", "batch_failed", "batch_uploaded"
_SHOWN = "batch_shown"
BEFORE = """Below is the last data set that was shown."""


@dataclass(frozen=True)
class Wanted:
    """What is to be run."""

    rows: tuple[Row, ...]
    model: ModelSpec
    analyses: tuple[str, ...]
    interventions: tuple[Any, ...] = ()


@dataclass(frozen=True)
class Uploaded:
    """Prompts of a file that was brought."""

    name: str
    rows: tuple[Row, ...]
    error: BaseException | None = None


@dataclass
class Made:
    """Where its rows are, for as long as its reader's session lasts."""

    wanted: Wanted
    place: "tempfile.TemporaryDirectory[str]"
    done: bool = False
    turn: threading.Lock = field(default_factory=threading.Lock)
    """of the one run that writes there: one that was stopped may still be on its way out"""


def use() -> str:
    """How the page is used, by whoever this reader is."""
    with suppress(InfoflowError):  # a setting that is wrong: the page says so
        return f"{USE} {WHOLE}" if cache.folders_allowed() else USE
    return USE


def most() -> int:
    """Prompts that are run here."""
    return MOST if asking.offered() is None else OF_STRANGERS


def asked() -> tuple[Wanted | None, str, str]:
    """Prompts, model and analyses, in the sidebar; a folder instead, where folders may be named; and the key to run with.

    Raises:
        BadPrompt: no prompts, or more than are run here.
    """
    with st.sidebar, st.container():
        with st.form("ask_many", border=False):
            typed = st.text_area(
                "Prompts", "\n".join(p.prompt for p in PRESETS), key="batch_prompts", height=170,
                help=PROMPTS.format(most=most()),
                max_chars=asking.MAX_CHARACTERS, persist_state="session",
            )  # fmt: skip
            name = asking.model_name()
            analyses = st.pills(
                "Analyses", ANALYSES, selection_mode="multi", default=list(ANALYSES), key="batch_analyses", help=WHAT,
                bind="query-params",
            )  # fmt: skip
            st.form_submit_button("Run", type="primary", width="stretch", on_click=asking.run_again)
        st.file_uploader("or a file of them", type=ENDINGS, key="batch_file", help=FILE, on_change=_brought)
        uploaded: Uploaded | None = st.session_state.get(_FILE)
        if uploaded is not None and st.session_state.get("batch_file") is None:
            st.caption(f"{len(uploaded.rows)} prompts of {blocks.plain(uploaded.name)}")
            st.button("Use what is typed", key="batch_typed", on_click=lambda: st.session_state.pop(_FILE, None))
        folder = ""
        if cache.folders_allowed():
            folder = st.text_input(
                "Data set", key="batch_folder", placeholder="a folder", help=FOLDER, bind="query-params"
            ).strip()
    changed = changes.in_force()
    there = asking.place()
    write_bound()
    if folder:
        return None, folder, there.key
    if uploaded is not None and uploaded.error is not None:
        raise uploaded.error
    rows = checked(prompts.as_rows(prompts.typed(typed))) if uploaded is None else uploaded.rows
    return Wanted(rows, there.spec(name), tuple(a for a in ANALYSES if a in analyses), changed), "", there.key


def _brought() -> None:
    """A file was brought, or taken away; what it holds is kept when its reader comes back to the page."""
    file = st.session_state.get("batch_file")
    st.session_state.pop(_FILE, None)
    if file is not None:
        try:
            rows = checked(prompts.read(io.BytesIO(file.getvalue()), prompts.kind_of(file.name)))
            st.session_state[_FILE] = Uploaded(file.name, rows)
        except InfoflowError as error:
            st.session_state[_FILE] = Uploaded(file.name, (), without_frames(error))


def checked(given: Iterator[Row]) -> tuple[Row, ...]:
    """Prompts that may be run here.

    Raises:
        BadPrompt: none, or too many.
    """
    found = tuple(islice(given, most() + 1))
    if not found:
        raise BadPrompt("There are no prompts. Type some, one a line.")
    if len(found) > most():
        instead = "Use `infoflow batch`, and open its folder." if cache.folders_allowed() else "Give fewer."
        raise BadPrompt(f"More than {most()} prompts are not run here. {instead}")
    long = next((row for row in found if len(row.prompt) > asking.MAX_CHARACTERS), None)
    if long is not None:
        raise BadPrompt(f"Prompt {long.number} has more than {asking.MAX_CHARACTERS:,} characters. Shorten it.")
    return found


def made(wanted: Wanted, key: str) -> Batch | None:
    """The data set of these prompts, run now or before; None where it was stopped before anything was done."""
    if not wanted.analyses:
        raise BadPrompt("No analysis is chosen. Choose one in the sidebar.")
    kept: Made | None = st.session_state.get(_MADE)
    if kept is None or kept.wanted != wanted:
        kept = st.session_state[_MADE] = Made(wanted, tempfile.TemporaryDirectory(prefix="infoflow", ignore_cleanup_errors=True))
    folder = kept.place.name
    if kept.done:
        return open_batch(folder)
    failed: tuple[Wanted, InfoflowError] | None = st.session_state.get(_FAILED)
    if st.session_state.get(_CANCELLED) == wanted:
        st.info(STOPPED, icon=":material/cancel:")
    elif failed is not None and failed[0] == wanted:
        raise failed[1]
    else:
        title = f"{len(wanted.rows)} prompts on {wanted.model.name}"
        stop = partial(st.session_state.__setitem__, _CANCELLED, wanted)
        try:
            jobs.run(partial(_run, kept, key), on_cancel=stop, name="batch", keep=wanted, title=title)
            kept.done = True
            return open_batch(folder)
        except Cancelled:
            stop()
            st.info(STOPPED, icon=":material/cancel:")
        except InfoflowError as error:
            st.session_state[_FAILED] = wanted, without_frames(error)
            raise
    try:
        return open_batch(folder)
    except InfoflowError:  # nothing is done
        return None


def last_good(data: Batch | None) -> Batch | None:
    """What the page shows: this data set; where there is none, the one that it showed before, said to be that."""
    if data is not None:
        st.session_state[_SHOWN] = data, st.session_state.get(_MADE)  # which keeps its folder
        return data
    before: tuple[Batch, Made | None] | None = st.session_state.get(_SHOWN)
    if before is None:
        return None
    st.caption(BEFORE)
    return before[0]


def _run(made: Made, key: str, job: jobs.Job) -> bool:
    wanted = made.wanted
    asked = log.Question(repr(wanted), "batch", wanted.model, "\n".join(row.prompt for row in wanted.rows))
    return cache.journal().told(asked, job.say, partial(_ran, made, key))


def _ran(made: Made, key: str, say: Report) -> bool:
    wanted = made.wanted
    limits.check_changes(wanted.interventions)
    cache.count(len(wanted.rows))
    while not made.turn.acquire(timeout=0.1):
        say("Waiting for the run that was stopped …", 0.0)
    try:
        with cache.using(wanted.model, key, say) as model:
            log.runs()
            runner.batch(
                model, wanted.rows, made.place.name, wanted.analyses, interventions=wanted.interventions, spec=wanted.model,
                parallel=PARALLEL if model.hosted else 1, at_once=8, on_progress=say,
            )  # fmt: skip
    finally:
        made.turn.release()
    return True


def view(found: Batch) -> tuple[str, Batch, tuple[int, int]]:
    """The row of controls above the picture: which summary, whose prompts, and which head."""
    names = [*pictures.shown(found), *([ONE_HEAD] if found.heads[0] else [])]
    with controls.row():
        name = choice("Show", names, names[0], "batch_show", SHOW)
        head = (-1, -1)
        if name == ONE_HEAD:
            _begin_with(found)
            head = controls.layer_and_head(*found.heads, False, False)
        group = None
        if found.groups:
            group = st.selectbox(
                "Group", found.groups, index=None, key="batch_group", placeholder="all", help=GROUP, bind="query-params",
                width=180,
            )  # fmt: skip
    return name, found.of_group(group), head


def _begin_with(found: Batch) -> None:
    """Look at the head that writes most in the mean, where no other was chosen."""
    if all(key not in st.session_state and key not in st.query_params for key in ("layer", "head")):
        table = found.head_writes()
        if len(table):
            best = table.loc[table["logit"].idxmax()]
            st.session_state.update(layer=int(best["layer"]), head=int(best["head"]))


def go(place: Mapping[str, Any]) -> None:
    """To what a sentence is about: a head over all prompts, or where the answer moves."""
    if "head" in place:
        st.session_state.update(layer=place["layer"], head=place["head"], batch_show=ONE_HEAD)
    else:
        st.session_state["batch_show"] = "moves"


def pick_head(chart: str) -> None:
    """A head of the map was clicked: it is shown over all prompts."""
    found = next(iter(st.session_state[chart].selection.get("head") or []), None)
    if found:
        go({"layer": int(found["layer"]), "head": int(found["head"])})


def drawn(name: str, found: Batch, dark: bool) -> Picture:
    """One of the summaries, with its words."""
    picture = pictures.of(name, found, dark)
    key = f"batch_{name}"
    says = f"{picture.title}. {picture.note} {len(picture.frame)} rows."
    if name in ("heads", "writes"):
        blocks.chart(picture.chart, key=key, on_select=partial(pick_head, key), selection_mode="head", alt=says)
    else:
        blocks.chart(picture.chart, key=key, alt=says)
    st.caption(blocks.plain(picture.note))
    return picture


def one_head(found: HeadOver) -> None:
    """On which prompts it writes most, what it looks at, and of which kind it is."""
    config = {**_links(found.prompts), "logit": blocks.LOGIT, "looks_weight": _WEIGHT, "looks_token": "looks at", "prompt": _WIDE}
    left, right = st.columns([2, 1], gap="medium")
    with left:
        empty = [name for name in ("id", "group", "kind", "looks_token", "looks_weight") if found.prompts[name].isna().all()]
        st.dataframe(_linked(tables.written(found).drop(columns=["number", *empty])), hide_index=True, column_config=config)
        st.caption(
            f"**Head {found.layer}.{found.head}**: prompts on which it writes most of the target's logit itself, the most first."
        )
    with right:
        config = {
            **_links(found.tokens),
            "logit": blocks.LOGIT,
            "weight": st.column_config.NumberColumn("weight", format="percent"),
        }
        st.dataframe(_linked(found.tokens), hide_index=True, column_config=config)
        st.caption("What the last position looks at beside the first token, by what it writes then (means over prompts).")
        kinds = ", ".join(f"{kind} on {share:.0%}" for kind, share in zip(found.kinds["kind"], found.kinds["share"], strict=True))
        if kinds:
            st.markdown(f"**Kinds over prompts**: {blocks.plain(kinds)}")
    controls.head_link(found.layer, found.head)


_WIDE = st.column_config.TextColumn("prompt", width=260)
_WEIGHT = st.column_config.NumberColumn("weight", format="percent")


def listed(found: Batch) -> None:
    """The prompts, each with its pictures' addresses, and what went wrong."""
    rows, failed = found.counts
    st.markdown(f"**The prompts**{f', {failed:,} with an error' if failed else ''}")
    table = tables.listed(found.first(LISTED))
    height: Any = 320 if len(table) > 8 else "auto"
    st.dataframe(_linked(table), hide_index=True, column_config={**_links(table), "probability": blocks.PERCENT}, height=height)
    if rows > LISTED:
        st.caption(f"{LISTED} of {rows:,}; `infoflow.open_batch` has all.")


def _linked(table: pd.DataFrame) -> pd.DataFrame:
    """Addresses beside this page's own, wherever the app is served; an address that there is none of is empty."""
    of = [name for name in table if str(name).startswith("link")]
    return table.assign(**{name: [f".{link}" if isinstance(link, str) and link else None for link in table[name]] for name in of})


def _links(table: pd.DataFrame) -> dict[str, Any]:
    there = [name for name in LINKS if name in table]
    return {name: st.column_config.LinkColumn(LINKS[name], display_text="open", width="small") for name in there}


def downloads(picture: Picture, dark: bool) -> None:
    """The picture and the numbers behind it."""
    paper = background(dark)
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown("**Download**", width="content")
        for kind in formats.DRAWN:
            make = partial(formats.drawn, lambda: picture, kind, paper)
            st.download_button(
                blocks.called(kind), make, f"{picture.file_name}.{kind}", key=f"batch_download_{kind}", on_click="ignore"
            )
        st.download_button(
            "CSV", lambda: formats.as_csv(picture.frame, picture), f"{picture.file_name}.csv", "text/csv",
            key="batch_download_csv", on_click="ignore",
        )  # fmt: skip
