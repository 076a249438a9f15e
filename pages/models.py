"""Which models run where, what is in memory now, and what is running."""

import streamlit as st

from infoflow import inventory, remote
from infoflow.ui import blocks, cache, inputs, jobs, shelf, texts

inputs.page("Models", texts.MODELS_INTRO)
place = inputs.place()
host = place.host or remote.named_host()
shelf.runs()
service = jobs.run(lambda job: cache.service(host), on_cancel=lambda: None, name="service")


@st.fragment
def models(service: cache.Service) -> None:
    """The table, and what can be done with a model of it: reruns alone."""
    machine = cache.machine()
    catalogue = st.container()  # drawn last: what is done below changes it
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = inputs.model_name()
        inputs.loading(machine.devices)
    shelf.actions(name, inputs.place_here())
    with catalogue:
        up = None if service.failure else service.models
        shelf.table(inventory.models(shelf.held(), up, cache.machine().free, inputs.bytes_per_parameter(machine)), "catalogue")
    shelf.memory(cache.machine())
    words = inputs.search()
    if words:
        with blocks.reporting_errors():
            found = jobs.run(lambda job: cache.found_on_hub(words), on_cancel=lambda: None, name="search")
            shelf.table(inventory.found_on_hub(found, machine.free, inputs.bytes_per_parameter(machine)), "found")
            if not found:
                st.caption("Nothing by that name. Try fewer letters, or type the full name above.")


models(service)
st.subheader("The hosted service", anchor=False)
shelf.service(host, service)
