"""Which heads and MLPs write the answer, what do they do, and does it need them?"""

from functools import partial

import streamlit as st

from infoflow.analyses.attention import AttentionRequest
from infoflow.analyses.attribution import Attribution
from infoflow.analyses.circuits import Circuit, CircuitRequest
from infoflow.analyses.graph import GraphRequest
from infoflow.analyses.location import Location, LocationRequest
from infoflow.files import formats
from infoflow.pictures.circuits import written
from infoflow.pictures.graph import picture as graph_picture
from infoflow.pictures.picture import identity
from infoflow.studies.roles import RolesRequest
from infoflow.ui import asking, blocks, frame, results
from infoflow.ui import circuits as ui

NAME = "Circuits"
head = frame.page(NAME, ui.INTRO, ui.USE, ("head", "MLP", "layer", "logit"))
asked, _ = asking.question()
view = ui.view(asked.model, asked.prompt)
request = LocationRequest(
    model=asked.model, prompt=asked.prompt, target=view.target, against=view.against, interventions=asked.interventions
)
result = results.last_good(NAME, request, asked.key)


def minimal(shown: LocationRequest, found: Attribution, dark: bool) -> Circuit | None:
    """The minimal circuit, once it is asked for."""
    with blocks.fold(ui.SEARCH, "circuit") as is_open, blocks.reporting_errors():
        if not is_open:
            return None
        wanted = CircuitRequest(
            model=shown.model, prompt=shown.prompt, target=found.target, against=found.against, keep=view.keep,
            interventions=shown.interventions,
        )  # fmt: skip
        circuit = results.of(wanted, asked.key, "circuit")
        drawn, as_json = ui.minimal(circuit, dark), partial(formats.as_json, circuit)
        draw = partial(ui.picture, circuit)
        blocks.downloads(drawn, as_json, dark, circuit.provenance, "circuit_", circuit, draw)
        return circuit
    return None


def page(shown: LocationRequest, where: Location) -> None:
    """Verdicts, what each part writes, the head that is looked at, the minimal circuit."""
    dark = frame.dark()
    found = results.of(ui.written_of(shown, where), asked.key, "circuit_direct")
    draw = partial(written, found, view.path)
    drawn, scope = draw(dark=dark), identity(found.provenance, found.provenance.ids)
    verdicts, (left, right) = st.container(), st.columns([1.7, 1], gap="large")
    with left:
        alt = f"{drawn.title}. {drawn.note}"
        blocks.chart(drawn.chart, key=ui.CHART, on_select=partial(ui.pick, scope), selection_mode="head", alt=alt)
        st.caption(blocks.plain(drawn.note))
        ui.solid(found, view.path, scope)
    blocks.warn_if_off(found.max_error, found.provenance, "Parts do not sum to the logit")
    with verdicts, blocks.reporting_errors():
        wanted = RolesRequest(
            model=shown.model, prompt=shown.prompt, target=found.target, against=found.against, interventions=shown.interventions
        )
        roles = results.of(wanted, asked.key, "roles")
        blocks.says(ui.verdicts_of(roles, shown.title))
        with left, blocks.fold("All roles", "roles") as is_open:
            if is_open:
                ui.roles_table(roles)
    circuit = minimal(shown, found, dark)
    paths(shown, found, dark)
    with right, blocks.reporting_errors():
        read = results.of(ui.readers_of(shown, found, scope), asked.key, "circuit_readers")
        blocks.warn_if_off(read.max_error, read.provenance, "What readers take on does not sum to the whole")
        if ui.inspector(read, circuit, dark) == ui.LOOKS:
            patterns = AttentionRequest(model=shown.model, prompt=shown.prompt, interventions=shown.interventions)
            ui.looks(results.of(patterns, asked.key, "circuit_attention"), read.layer, read.head)
    blocks.downloads(drawn, lambda: formats.frame_json(drawn.frame, found.provenance), dark, found.provenance, "", found, draw)


def paths(shown: LocationRequest, found: Attribution, dark: bool) -> None:
    """The contribution graph, once it is asked for."""
    with blocks.fold(ui.GRAPH, "graph") as is_open, blocks.reporting_errors():
        if not is_open:
            return
        wanted = GraphRequest(
            model=shown.model, prompt=shown.prompt, target=found.target, against=found.against, threshold=ui.threshold(),
            interventions=shown.interventions,
        )  # fmt: skip
        graph = results.of(wanted, asked.key, "graph")
        draw = partial(graph_picture, graph)
        drawn = draw(dark=dark)
        st.markdown(blocks.plain(graph.summary()))
        blocks.chart(drawn.chart, key="circuit_graph", alt=f"{drawn.title}. {graph.summary()}")
        st.caption(blocks.plain(drawn.note))
        blocks.downloads(drawn, partial(formats.as_json, graph), dark, graph.provenance, "graph_", graph, draw)


if result is not None:
    frame.shown(head, *result)
    with blocks.reporting_errors():
        page(result[0], result[1].result)
    blocks.how(
        ui.HOW, "infoflow.studies.roles._members", "infoflow.analyses.circuits._searched", "infoflow.traced.readers.readers_block"
    )
