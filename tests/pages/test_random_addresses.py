"""1,500 random addresses: 1,460 are given to what reads addresses below the pages, and 40 to whole pages."""

import random
from pathlib import Path

import pytest
from streamlit.testing.v1 import AppTest

from tests.helpers.pages import ROOT, errors
from tests.helpers.random_values import address

PAGES = [path for path in sorted(ROOT.glob("pages/*.py")) if path.stem not in ("batch", "patching", "circuits")]
"""those three take seconds for a prompt, and read their addresses with what the others do"""
WHOLE = 4
"""addresses for each of ten pages"""


@pytest.mark.slow
def test_what_reads_addresses_reads_any() -> None:
    def page() -> None:
        import random

        import streamlit as st

        import infoflow
        from infoflow.errors import InfoflowError
        from infoflow.files import links
        from infoflow.text import ranges
        from infoflow.text.tokens import groups_of
        from infoflow.ui import address as ui_address
        from infoflow.ui import answer, changes, circuits, corrections, information_flow, logit_lens
        from tests.helpers import random_values

        model = infoflow.load_model("demo")
        flow, tokens = infoflow.decompose(model, "The cat"), model.encode("The cat")
        lens, where = infoflow.logit_lens(model, "The cat"), infoflow.locate(model, "The cat")
        chance = random.Random(21)
        for _ in range(1460):
            st.session_state.clear()
            given = random_values.address(chance)
            st.query_params.from_dict(given)
            for entry in changes.stack():
                links.spelled(entry.change)
            for name in given:
                for value in ui_address.restored(name):
                    for read in (
                        lambda v: information_flow.bar_of(flow, v),
                        answer._token,
                        circuits._token,
                        lambda v: logit_lens.cell_of(lens, v),
                        lambda v: answer.cell_of(where, v),
                        lambda v: ranges.numbers(v, "layer"),
                        lambda v: groups_of(v, tokens),
                        lambda v: links.fits(v),
                        lambda v: corrections.quote_plus(v, errors="replace"),
                    ):
                        try:
                            read(value)
                        except InfoflowError as error:
                            assert str(error)
                ui_address.write(name)
        st.session_state["done"] = True

    app = AppTest.from_function(page, default_timeout=120).run()
    assert not app.exception, (app.exception[0].message, app.exception[0].stack_trace)
    assert app.session_state["done"]


@pytest.mark.slow
@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.stem)
def test_no_address_is_a_traceback(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFOFLOW_HOSTED", "1")  # whose limits bound the time, too
    chance = random.Random(path.stem)
    for _ in range(WHOLE):
        given = address(chance)
        given["prompt"] = ["The cat"] if chance.random() < 0.7 else given.get("prompt", [""])
        app = AppTest.from_file(str(path), default_timeout=120)
        app.query_params.update({name: values if len(values) > 1 else values[0] for name, values in given.items()})
        app.run()
        assert not app.exception, (given, app.exception[0].stack_trace)
        assert all(told.strip() for told in errors(app))
