"""The Patching page: its map is what `infoflow.patch` gives, however it is asked."""

import numpy as np

import infoflow
from tests.helpers.pages import ROOT, button, captions, data_of, errors, opened, unescaped

PAGE = str(ROOT / "pages/patching.py")
CLEAN = "When Mary and John went to the store, John gave a drink to"
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
