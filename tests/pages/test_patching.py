"""The Patching page: its map is what `infoflow.patch` gives, however it is asked."""

import json
from dataclasses import replace

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import infoflow
from infoflow.analyses.patching import Patching, PatchRequest
from infoflow.errors import TooLarge
from infoflow.metrics.effects import Outcomes
from infoflow.tables import patching as tables
from infoflow.ui import controls
from infoflow.ui import patching as ui
from tests.helpers.pages import ROOT, ask, button, captions, choose, data_of, errors, opened, rows_of, unescaped

PAGE = str(ROOT / "pages/patching.py")
CLEAN = "When Mary and John went to the store, John gave a drink to"
FRANCE = "The capital of France is in the middle of the land that is called"
CORRUPTED = "When Mary and John went to the store, Mary gave a drink to"


def changes(rows: list[dict]) -> np.ndarray:  # type: ignore[type-arg]
    return np.array([row["change"] for row in rows], dtype=float)


def test_the_map_is_the_sweep_and_the_estimate_stands_beside_it(demo: infoflow.Model) -> None:
    app = opened(PAGE)
    assert not errors(app)
    found = infoflow.patch(demo, CLEAN, CORRUPTED)
    rows = max(data_of(app, "Patching what each head has gathered (z)"), key=len)
    np.testing.assert_allclose(changes(rows), found.change("recovery").ravel(), atol=1e-4)
    text = " ".join(unescaped(m.value) for m in app.markdown)
    assert "The lead of “Mary” over “John” is +18.6 in the clean run and -16.1 in the corrupted one." in text
    assert "correlates with these exact runs by 0.9" in captions(app)


@pytest.mark.slow
def test_a_sweep_of_many_quick_parts_can_be_stopped_as_a_long_one_can(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cancel is there from so many seconds after the sweep began, not after its part did."""
    now, waited, drawn = [100.0], list[float](), list[int]()

    def run(part: PatchRequest, patience: float) -> Patching:
        waited.append(patience)
        now[0] += 0.3
        return Patching.__new__(Patching)

    monkeypatch.setattr(ui.time, "monotonic", lambda: now[0])
    ui.swept(PatchRequest(prompt="The sky"), 32, run, lambda found, n: drawn.append(len(found)))
    assert waited == [pytest.approx(0.4), pytest.approx(0.1), *[0.0] * 6] and drawn == list(range(1, 8))


def test_another_site_metric_and_way_to_corrupt(demo: infoflow.Model) -> None:
    app = opened(PAGE)
    app.session_state["patch_site"], app.session_state["patch_metric"] = "resid_pre", "logit_diff"
    app.run()
    found = infoflow.patch(demo, CLEAN, CORRUPTED, "resid_pre")
    rows = max(data_of(app, "Patching the residual before each layer"), key=len)
    live = np.tile(found.live, 6)
    np.testing.assert_allclose(changes(rows)[live], found.change()[:, 0].ravel()[live], atol=1e-3)
    assert np.isnan(changes(rows)[~live]).all() and "Left out: before the prompts differ" in captions(app)
    app.session_state["patch_shown"], app.session_state["patch_direction"] = "estimate", "noising"
    app.run()
    assert not errors(app) and "Estimated from one backward pass" in captions(app)


def pick(app: AppTest, alt: str, parameter: str, **where: int) -> AppTest:
    """Click what stands there in the chart whose description begins so."""
    chart = next(c.proto for c in app.get("vega_lite_chart") if c.proto.alt.startswith(alt))
    states = app._tree.get_widget_states()
    states.widgets.add(id=chart.id, string_value=json.dumps({"selection": {parameter: [where]}}))
    return app._run(states)


@pytest.mark.slow
def test_what_is_picked_belongs_to_the_two_prompts(monkeypatch: pytest.MonkeyPatch) -> None:
    linked: list[tuple[int, int]] = []
    monkeypatch.setattr(controls, "head_link", lambda *head: linked.append(head))  # there is no other page to link to
    app = opened(PAGE)
    app.session_state["patch_site"] = "resid_pre"
    app.run()
    pick(app, "Patching the residual before", "cell", layer=3, position=13)
    assert not errors(app) and "Layer 3 at “drink” can change 4 of the cells" in captions(app)
    ask(app, FRANCE)
    assert not errors(app) and "of the cells" not in captions(app)
    app.session_state["patch_site"] = "z"
    app.run()
    for chart in ("Patching what each head", "Strongest parts"):
        pick(app, chart, "head", layer=2, head=7)
        assert not errors(app) and (2, 7) in linked
        linked.clear()
        ask(app, CLEAN if chart.startswith("Patching") else FRANCE)
        assert not errors(app) and linked and (2, 7) not in linked


def test_what_can_not_be_patched_is_said_and_the_last_map_stays() -> None:
    app = opened(PAGE)
    app.session_state["patch_receiver"] = "99.0.q"
    app.run()
    assert "“99.0.q” is no receiver" in errors(app)[0] and "Below is the last good run" in captions(app)
    app.session_state["patch_receiver"], app.session_state["patch_positions"] = "", "x"
    app.run()
    assert errors(app)
    app.session_state["patch_positions"] = ""
    button(app, "Run").click().run()
    assert not errors(app)


def test_pairs_of_the_strongest_heads_are_run_once_they_are_asked_for(demo: infoflow.Model) -> None:
    app = opened(PAGE)
    app.session_state["fold_pairs"] = True
    app.session_state["patch_pairs"] = 4
    app.run()
    assert not errors(app)
    found = infoflow.patch_pairs(demo, CLEAN, CORRUPTED, strongest=4)
    wanted = np.where(np.eye(4, dtype=bool), found.change("recovery"), found.interaction("recovery"))[::-1]
    np.testing.assert_allclose(changes(rows_of(app, "Pairs of the 4 strongest heads")), wanted.ravel(), atol=1e-4)
    assert found.summary() in " ".join(unescaped(m.value) for m in app.markdown)
    choose(app, "Colours", "both together")
    np.testing.assert_allclose(
        changes(rows_of(app, "Pairs of the 4 strongest heads")), found.change("recovery")[::-1].ravel(), atol=1e-4
    )


def test_some_layers_and_a_mean_over_some_positions(demo: infoflow.Model) -> None:
    app = opened(PAGE)
    app.session_state["patch_layers"], app.session_state["patch_averaged"] = "2-3", "3-5"
    app.run()
    assert not errors(app)
    found = infoflow.patch(demo, CLEAN, CORRUPTED, layers=[2, 3], averaged=[3, 4, 5])
    rows = max(data_of(app, "Patching what each head has gathered (z)"), key=len)
    np.testing.assert_allclose(changes(rows), found.change("recovery").ravel(), atol=1e-4)
    labels = found.other_labels[3:6]
    assert f"What is put in everywhere is the mean over {', '.join(f'“{name}”' for name in labels)}." in captions(app)


@pytest.mark.slow
def test_a_sweep_of_too_much_work_offers_smaller_ones(demo: infoflow.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """240 runs from the first layer on do the work of 47 whole ones; 20 are allowed."""
    sizes = demo.sizes()
    once = 15 * (sizes.parameters - sizes.vocabulary * sizes.d_model)
    monkeypatch.setattr(infoflow.Model, "speed", lambda _: 20 * once / 600)
    app = opened(PAGE)
    app.session_state["patch_units"] = "heads and positions"
    app.run()
    assert (
        "240 patched runs of 15 tokens do the work of about 47 whole runs" in errors(app)[0]
        and "INFOFLOW_MAX_MINUTES" in errors(app)[0]
    )
    assert "Estimated from one backward pass" in captions(app)
    offered = next(b for b in app.button if b.label.startswith("The position that is read alone (48 runs)"))
    offered.click().run()
    assert not errors(app) and app.session_state["patch_positions"] == "14"
    assert "correlates with these exact runs" in captions(app)


def test_the_cone_of_a_cell_is_counted_by_hand(demo: infoflow.Model) -> None:
    """Of 6 layers and 5 places that are reached, 10 to 14: below layer 3 at the fourth 3 x 4, above it 2 x 2."""
    found = infoflow.patch(demo, CLEAN, CORRUPTED, "resid_pre", method="gradient")
    assert np.flatnonzero(found.live).tolist() == [10, 11, 12, 13, 14]
    said = tables.cone_said(found, 3, 13)
    assert said.startswith("Layer 3 at “drink” can change 4 of the cells") and "12 can change it" in said


@pytest.mark.slow
def test_where_one_run_is_all_there_is_there_are_no_pairs_and_no_correlation(demo: infoflow.Model) -> None:
    found = infoflow.patch(demo, CLEAN, CORRUPTED, layers=[2])
    one = Outcomes(**{name: value[:, :1] for name, value in vars(found.runs).items()})
    assert ui.can_pair(found) and not ui.can_pair(replace(found, heads=(0,), runs=one))
    app = opened(PAGE)
    app.session_state["patch_units"], app.session_state["patch_site"], app.session_state["patch_layers"] = "layers", "mlp", "2"
    app.run()
    assert not errors(app) and len(rows_of(app, "Patching what the MLP adds")) == 1
    assert "correlates" not in captions(app)  # of one run there is none
    app.session_state["patch_units"], app.session_state["patch_site"], app.session_state["patch_layers"] = "auto", "z", "0"
    app.session_state["patch_frozen"], app.session_state["patch_positions"] = "14", "13"
    app.run()
    assert not errors(app) and len(rows_of(app, "Patching what each head has gathered")) > 1
    assert "correlates" not in captions(app)  # with itself: nothing was estimated


def allow(demo: infoflow.Model, passes: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the work of so many whole runs of 15 tokens ten minutes are allowed."""
    sizes = demo.sizes()
    once = 15 * (sizes.parameters - sizes.vocabulary * sizes.d_model)
    monkeypatch.setattr(infoflow.Model, "speed", lambda _: passes * once / 600)


@pytest.mark.slow
def test_a_sweep_that_has_no_estimate_is_refused_as_a_whole(demo: infoflow.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """8 heads at 5 of 15 places of a layer do the work of 13 runs; at the last place in all 6 layers of 9, and 11 are allowed."""
    allow(demo, 11, monkeypatch)
    app = opened(PAGE)
    before = changes(rows_of(app, "Patching what each head"))
    app.session_state["patch_units"], app.session_state["patch_frozen"] = "heads and positions", "13"
    app.run()
    assert len(errors(app)) == 1 and "240 patched runs" in errors(app)[0] and "Below is the last good run" in captions(app)
    assert not [b.label for b in app.button if b.label.startswith("Run by")]
    np.testing.assert_array_equal(changes(rows_of(app, "Patching what each head")), before)
    offered = [b.label for b in app.button if b.label.endswith("runs)")]
    assert offered == ["The position that is read alone (48 runs)"]  # heads at all places would patch the one that is held
    button(app, offered[0]).click().run()
    assert not errors(app)
    found = infoflow.patch(demo, CLEAN, CORRUPTED, units="heads and positions", frozen=13, positions=[14])
    np.testing.assert_allclose(changes(rows_of(app, "Patching what each head")), found.change("recovery").ravel(), atol=1e-4)


@pytest.mark.slow
def test_offers_are_those_of_what_is_asked(demo: infoflow.Model, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last good run is an estimate whose sweep is too much; what is asked then is too much, too."""
    allow(demo, 11, monkeypatch)
    app = opened(PAGE)
    app.session_state["patch_units"] = "heads and positions"
    app.run()
    assert [b.label for b in app.button if b.label.startswith("The estimate from one")]
    app.session_state["patch_frozen"] = "13"
    app.run()
    assert "Estimated from one backward pass" in captions(app) and "Below is the last good run" in captions(app)
    assert [b.label for b in app.button if b.label.endswith("runs)")] == ["The position that is read alone (48 runs)"]


def test_a_run_that_does_not_fit_has_no_buttons_of_another_page(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: object) -> None:
        raise TooLarge("It takes all there is.")

    monkeypatch.setattr(PatchRequest, "run", run)
    app = opened(PAGE)
    assert errors(app) == ["It takes all there is."] and button(app, "Try again")
    assert not [b.label for b in app.button if b.label.startswith("Run by")]


@pytest.mark.slow
def test_the_last_good_run_keeps_its_layers(demo: infoflow.Model) -> None:
    app = opened(PAGE)
    app.session_state["patch_frozen"], app.session_state["patch_positions"] = "14", "13"
    app.session_state["patch_layers"] = "2-3"
    app.run()
    wanted = infoflow.patch(demo, CLEAN, CORRUPTED, frozen=14, positions=[13], layers=[2, 3]).change("recovery").ravel()
    np.testing.assert_allclose(changes(rows_of(app, "Patching what each head")), wanted, atol=1e-4)
    app.session_state["patch_positions"] = "99"
    app.run()
    assert "no position 99" in errors(app)[0] and "Below is the last good run" in captions(app)
    np.testing.assert_allclose(changes(rows_of(app, "Patching what each head")), wanted, atol=1e-4)
