"""What is downloaded is the view that is shown, and not the one that a result is first shown by."""

import html
import re
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from infoflow.files import paper
from infoflow.ui import blocks
from tests.helpers.pages import ROOT, errors

FRANCE, ITALY = "The capital of France is", "The capital of Italy is"
SILENT = '{"site":"mlp","layers":0,"kind":"zero"}'
VIEWS: dict[str, tuple[str, dict[str, str], str]] = {
    "compare, a position": ("compare", {"prompt_b": ITALY, "cmp_place": "of", "cmp_stage": "mid", "change": SILENT}, "“of”"),
    "compare, a head": ("compare", {"prompt_b": ITALY, "cmp_view": "attention", "compare_head": "3.1"}, "3.1"),
    "before and after": ("interventions", {"change": SILENT, "change_view": "flow"}, "before"),
    "lengths": ("activations", {"act_norm": "L1", "act_position": "2: capital"}, "L1"),
    "two runs": ("activations", {"act_show": "two runs", "act_prompt": ITALY}, "Italy"),
    "a direction": ("activations", {"act_show": "a direction", "act_from": FRANCE, "act_to": ITALY}, "two texts"),
}


@pytest.mark.parametrize("name", VIEWS)
def test_a_report_and_a_figure_are_of_the_view_that_is_shown(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[tuple[Any, ...]] = []
    monkeypatch.setattr(blocks, "downloads", lambda *all_of_it: given.append(all_of_it))
    page, address, said = VIEWS[name]
    app = AppTest.from_file(str(ROOT / f"pages/{page}.py"), default_timeout=120)
    for key, value in {"prompt": FRANCE, **address}.items():
        app.query_params[key] = value
    assert errors(app.run()) == []
    ((shown, _, _, _, _, result, draw),) = given
    assert said in f"{shown.title} {shown.note}"
    for dark in (False, True):
        drawn = draw(dark=dark)
        assert (drawn.title, drawn.note) == (shown.title, shown.note) and drawn.frame.equals(shown.frame)
    assert draw(dark=True).chart.to_dict() != draw(dark=False).chart.to_dict()
    assert shown.title in html.unescape(blocks._report(result, draw).decode())
    if page == "interventions":  # where the two are called by when they are
        assert paper.caption(shown, result).count("With the change “Paris” falls") == 1
        assert " before, " in result.summary() and not re.search(r"\bin [AB]\b|From A", paper.caption(shown, result))
