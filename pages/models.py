"""Which models run where, what is in memory now, and what is running."""

import streamlit as st

from infoflow.settings import settings
from infoflow.tables import models as tables
from infoflow.ui import asking, blocks, cache, frame, jobs
from infoflow.ui import models as ui

frame.page("Models", ui.INTRO)
place = asking.place()
host = place.host or settings().host
tell_on = ui.runs()
service = ui.asked_of(host)


@st.fragment
def models(service: cache.Service | None) -> None:
    """The table, and what can be done with a model of it: reruns alone."""
    machine = cache.machine()
    catalogue = st.container()  # drawn last: what is done below changes it
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = asking.model_name(key="models_name", in_address=False)
        if asking.offered() is None:
            asking.how_held(machine.devices)
    ui.actions(name, asking.place_here())
    with catalogue:
        up = None if service is None or service.failure else service.models
        rows = tables.models(ui.held(), up, cache.machine().free, ui.bytes_per_parameter(machine))
        ui.table(ui.listed(rows), "catalogue")
    ui.memory(cache.machine())
    words = ui.search()
    if words:
        with blocks.reporting_errors():
            found = jobs.run(lambda job: cache.found_on_hub(words, job.say), on_cancel=lambda: None, name="search")
            ui.table(tables.found_on_hub(found, machine.free, ui.bytes_per_parameter(machine)), "found")
            if not found:
                st.caption("Nothing by that name. Try fewer letters, or type the full name above.")


models(service)
ui.service(host, service)
ui.ended()
tell_on()
