"""Lengths and angles of the stream on their page, and what is said of them."""

from dataclasses import replace

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import infoflow
from infoflow.charts.activations import lines
from infoflow.metrics.vectors import Norm
from infoflow.pictures import activations as pictures
from infoflow.pictures import stability as directions
from infoflow.summaries.activations import sentences
from infoflow.tables import activations as tables
from infoflow.tables import stability as stability_tables
from tests.helpers import tiny
from tests.helpers.pages import ROOT, captions, errors, rows_of

PAGE = str(ROOT / "pages/activations.py")
PROMPT = "The capital of France is"


def at(**view: str) -> AppTest:
    app = AppTest.from_file(PAGE, default_timeout=120)
    for name, value in {"prompt": PROMPT, **view}.items():
        app.query_params[name] = value
    return app.run()


def values(app: AppTest, line: str) -> list[float]:
    rows = [row for row in rows_of(app, "") if row["line"] == line]
    return [row["value"] for row in sorted(rows, key=lambda row: row["order"])]


def test_lengths_are_those_of_the_states(demo: "infoflow.Model") -> None:
    found = infoflow.activations(demo, PROMPT)
    app = at(act_norm="L1", act_position="2: capital")
    assert errors(app) == []
    assert values(app, "residual") == pytest.approx(np.abs(found.stream[:, 2]).sum(-1).tolist(), rel=1e-5)
    assert values(app, "MLP adds") == pytest.approx(np.abs(found.mlp_out[:, 2]).sum(-1).tolist(), rel=1e-5)
    app.selectbox(key="act_position").set_value("mean of all but the first").run()
    assert values(app, "residual") == pytest.approx(np.abs(found.stream[:, 1:]).sum(-1).mean(1).tolist(), rel=1e-5)
    assert "mean of all positions but the first" in captions(app)


def test_angles_are_those_of_the_states(demo: "infoflow.Model") -> None:
    found = infoflow.activations(demo, PROMPT)
    app = at(act_show="two positions", act_other="4: France")
    assert errors(app) == []
    assert values(app, "with 4 (France)") == pytest.approx(found.between(-1, 4).tolist(), abs=1e-5)
    app = at(act_show="turn by layer")
    assert values(app, "is") == pytest.approx(found.turns[:, -1].tolist(), abs=1e-5)
    app = at(act_show="two runs")
    assert errors(app) == [] and "Type another prompt" in app.info[0].value
    app = at(act_show="two runs", act_prompt="The capital of Italy is")
    other = infoflow.activations(demo, "The capital of Italy is")
    assert errors(app) == []
    assert values(app, "“The capital of Italy is”") == pytest.approx(found.beside(other).tolist(), abs=1e-5)
    app = at(act_show="a direction", act_from="The capital of Italy is", act_to=PROMPT)
    way = found.stream[:, -1] - other.stream[:, -1]
    assert values(app, f"The capital of Italy is → {PROMPT}") == pytest.approx(found.along(way).tolist(), abs=1e-5)
    app = at(act_show="two runs", act_prompt="The", act_position="4: France")
    assert errors(app) == ["The other prompt has 2 tokens, and no position 4. Choose an earlier one."]


def test_folds_hold_the_map_and_the_directions(demo: "infoflow.Model") -> None:
    app = AppTest.from_file(PAGE, default_timeout=120)
    app.query_params["prompt"] = PROMPT
    app.session_state["fold_act_map"] = app.session_state["fold_act_stable"] = True
    app.run()
    assert errors(app) == []
    found = infoflow.activations(demo, PROMPT)
    assert max(row["value"] for row in rows_of(app, "Length of the residual")) == pytest.approx(
        float(np.linalg.norm(found.resid_post, axis=-1).max()), rel=1e-5
    )
    turned = infoflow.stability(demo, PROMPT, sources="words")
    drawn = [row for row in rows_of(app, "Directions of contributions") if row["line"] == "France"]
    source = turned.source_labels.index("France")
    expected = [turned.cosine[source, row, -1] for row in (0, *range(2, 13, 2)) if turned.norms[source, row] > 0]
    assert [row["value"] for row in sorted(drawn, key=lambda row: row["order"])] == pytest.approx(expected, abs=1e-5)


def test_what_is_said_names_the_layer_that_turns_it_most_and_the_sink() -> None:
    found = infoflow.activations(tiny.model("llama"), "abc")
    pre = np.zeros((3, 4, 48), np.float32)
    pre[:, :, 0] = 1.0
    post = pre.copy()
    post[1, 3, 0], post[1, 3, 1] = 3.0, 4.0  # layer 1 turns the last position to a cosine of 0.6, and makes it 5 long
    pre[2, 3], post[2, 3] = post[1, 3], 2 * post[1, 3]
    post[0, 0, 0] = 100.0
    made = replace(found, resid_pre=pre, attn_out=post - pre, mlp_out=np.zeros_like(pre), resid_post=post)
    first, second = sentences(made)
    assert first.text == "The residual at “c” goes from 1 long to 10; after the first layer, 1 turns it most (cosine 0.60)."
    assert second.text == "“⟨bos⟩” is 100 times as long as any other there (row 1): a sink." and first.place == {"layer": 1}


def test_pictures_say_what_they_show() -> None:
    model = tiny.model("qwen2")
    found = infoflow.activations(model, "abc")
    drawn = pictures.norms(found, None, Norm.COUNT)
    assert drawn.note == "L0 norm, entries above 1 % of the largest; mean of all positions but the first."
    assert set(tables.norms(found)["line"]) == {"residual", "attention adds", "MLP adds"}
    spec = lines(tables.cosines(found, np.linspace(-0.5, 0.9, 4).astype(np.float32), "x"), "cosine", signed=True).to_dict()
    assert spec["layer"][0]["encoding"]["y"]["scale"]["domain"] == [-1.0, 1.0] and len(spec["layer"]) == 2
    turned = infoflow.stability(model, "abc")
    assert "6 sources that are longest" not in directions.picture(turned).note  # there are five
    table = stability_tables.to_the_end(turned)
    assert table[table["row"] == "L2"]["value"].tolist() == pytest.approx([1.0] * 5, abs=1e-5)
    one = infoflow.activations(model, [5])
    assert len(tables.norms(one)) == 10  # of a single token the mean is its own
