"""Pieces of the Models page: what is running, the tables, what can be done with a model, memory, the hosted service."""

import pandas as pd
import streamlit as st

from infoflow import budget, inventory, remote
from infoflow.catalog import MODELS
from infoflow.ui import blocks, cache, inputs, jobs, texts


def runs() -> None:
    """What was begun in this session and how far it is; it goes on while this page is open."""
    st.fragment(_runs, run_every=1.0 if any(work.running for work in jobs.begun()) else None)()


def _runs() -> None:
    works = jobs.begun()
    if not works:
        st.caption("Nothing has been run in this session yet.")
    for number, work in enumerate(works):
        with st.container(horizontal=True, vertical_alignment="center"):
            if work.running:
                st.progress(min(1.0, work.job.fraction), blocks.plain(f"{work.title}: {work.state}"), width="stretch")
                st.button("Cancel", key=f"stop_{number}", on_click=work.job.stop)
            else:
                st.caption(blocks.plain(f"{work.title}: {work.state}"))


def held() -> list[inventory.Held]:
    """The models in memory now."""
    return [
        inventory.Held(
            m.name, m.family, m.parameters, m.dtype, str(m.device), m.bytes, m.tested.verdict if m.tested else "not tested"
        )
        for m in cache.in_memory().values()
    ]


def table(rows: pd.DataFrame, key: str) -> None:
    """Models by row; a click chooses one."""
    st.dataframe(
        rows,
        hide_index=True,
        width="stretch",
        column_config=inputs.MODEL_COLUMNS,
        key=key,
        on_select=lambda: inputs.pick(key, rows["name"].tolist()),
        selection_mode="single-row",
    )


def actions(name: str, place: cache.Place) -> None:
    """Load, with progress and Cancel; unload; use, here or there."""
    with st.container(horizontal=True, vertical_alignment="center"):
        load = st.button("Load here", icon=":material/memory:", help=texts.LOAD)
        unload = st.empty()
        here = st.button("Use here", type="primary", help=texts.USE_HERE, on_click=inputs.use, args=(name, inputs.WHERE[0]))
        there = st.button(
            "Use on NDIF", help=texts.USE_THERE, disabled=name == "demo", on_click=inputs.use, args=(name, inputs.WHERE[1])
        )
    if load:
        with blocks.reporting_errors():
            found = jobs.run(lambda job: cache.loaded(place, name, job), on_cancel=lambda: None, name="load")
            st.success(blocks.plain(f"{name} is in memory. {found.tested.verdict}: {found.tested.reason}"))
    in_memory = any(held == name for held, *_ in cache.in_memory())  # after the loading, which changes it
    unload.button("Unload", disabled=not in_memory, on_click=cache.unload, args=(name,), icon=":material/eject:")
    note = next((m.note for m in MODELS if m.name == name), "")
    if note:
        st.caption(note)
    if here or there:
        # with parameters of our own: it refuses to clear those that widgets are bound to
        st.switch_page("pages/information_flow.py", query_params={"model": name})


def memory(machine: cache.Machine) -> None:
    """What the app holds, and what is free; what is known to be wrong with this machine."""
    devices = ", ".join(machine.devices.values())
    now = f"The app holds {budget.in_words(machine.used)}; {budget.in_words(machine.free)} are free. Devices: {devices}."
    st.caption(f"{now} {texts.NEVER}{'' if cache.folders_allowed() else f' {texts.NO_FOLDERS}'}")
    for warning in machine.warnings:
        st.warning(warning, icon=":material/warning:")


def service(host: str, found: cache.Service) -> None:
    """What the hosted service has up, and whether its versions go with ours."""
    if found.failure:
        st.info(blocks.plain(f"Not known now: {found.failure}"), icon=":material/cloud_off:")
        return
    left, right = st.columns([1.6, 1], gap="large")
    with left:
        if found.models:
            st.dataframe(inventory.deployed(found.models), hide_index=True, width="stretch")
        many = f"{len(found.models)} model{'' if len(found.models) == 1 else 's'}"
        st.caption(blocks.plain(f"{many}, as {host} lists them; asked again after twenty seconds."))
    with right:
        if found.versions:
            st.dataframe(inventory.versions(found.versions), hide_index=True, width="stretch")
            mismatch = remote.mismatch(found.versions)
            if mismatch:
                st.warning(blocks.plain(mismatch), icon=":material/warning:")
            else:
                st.caption("These versions go together.")
        else:
            st.caption("The service does not tell which versions it runs.")
