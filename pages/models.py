"""Which models run where, and what is in memory now."""

import streamlit as st

from infoflow import tables
from infoflow.ui import blocks, cache, inputs, jobs, texts

inputs.page("Models", texts.MODELS_INTRO)
place = inputs.place()
name = inputs.model_name()


@st.fragment
def actions(name: str) -> None:
    """Load, with progress and Cancel; unload; use."""
    held = cache.in_memory()
    with st.container(horizontal=True, vertical_alignment="center"):
        load = st.button("Load here", disabled=name in held, icon=":material/memory:", help=texts.LOAD)
        st.button("Unload", disabled=name not in held, on_click=cache.unload, args=(name,), icon=":material/eject:")
        if st.button("Use it", type="primary", help=texts.USE):
            inputs.use_model(name)
    if load:
        with blocks.reporting_errors():
            found = jobs.run(lambda job: cache.loaded(cache.HERE, name, job), on_cancel=lambda: None, name="load")
            st.success(blocks.plain(f"{name} is in memory. {found.tested.verdict}: {found.tested.reason}"))
    table = tables.models({name: (m.tested.verdict if m.tested else "loading", m.dtype) for name, m in cache.in_memory().items()})
    st.dataframe(table, hide_index=True, width="stretch", column_config=inputs.MODEL_COLUMNS)


actions(name)
if place.host:
    st.subheader("On NDIF now", anchor=False)
    with blocks.reporting_errors():
        listed = jobs.run(lambda job: cache.deployments(place.host), on_cancel=lambda: None, name="status")
        st.dataframe(tables.deployed(listed), hide_index=True, width="stretch")
        st.caption(f"{len(listed)} models, as {place.host} lists them; asked again after twenty seconds.")
else:
    st.caption(texts.MODELS_NDIF)
