"""Every run of a sweep is what a hook on plain transformers makes of that run alone."""

import numpy as np
import pytest

import infoflow
from infoflow.analyses.patching import SITES
from tests.helpers import patched, tiny

CLEAN, CORRUPTED = "Mary saw a", "Mary was a"
FAMILIES = list(tiny.FAMILIES)
THIN = 5
"""every fifth run of a sweep is held against its twin; 1 tries them all"""


@pytest.mark.parametrize("name", FAMILIES)
def test_every_site_is_what_a_hook_makes_of_it(name: str) -> None:
    model = tiny.model(name)
    clean, other = ([t.id for t in model.encode(text)] for text in (CLEAN, CORRUPTED))
    n, plan = len(clean), model.plan()
    for site in SITES:
        if site == "resid_mid" or (site == "pattern" and name == "gpt_oss"):
            continue
        found = infoflow.patch(model, CLEAN, CORRUPTED, site, target=65, against=66)
        scale = max(1.0, float(np.abs(found.effect()).max()))
        assert found.effect().shape == ((3, len(found.heads), 1) if found.heads else (3, 1, n))
        units = [
            (i, h, p) for i in range(3) for h in found.heads or (None,) for p in ((5, 7, n - 1) if found.positions else (None,))
        ]
        for layer, head, p in units[SITES.index(site) % THIN :: THIN]:
            logits = patched.logits_of(model, other, clean, site, layer, head, None if p is None else [p])[-1]
            value = found.effect()[layer, head or 0, p or 0]
            assert value == pytest.approx(float(logits[65] - logits[66]), abs=2e-5 * scale), (site, layer, head, p)
        if found.positions:
            assert (np.abs(found.change()[:, :, :5]) < 1e-6).all()  # before the prompts differ
        assert np.abs(found.change()).max() > 1e-3, site
    if not plan.parallel:
        middle = infoflow.patch(model, CLEAN, CORRUPTED, "resid_mid", target=65, against=66, layers=[1])
        one = infoflow.attribute(
            model, CORRUPTED, 65, 66, interventions=[infoflow.interventions.Replace("resid_mid", CLEAN, 1, 7)]
        )
        assert middle.effect()[0, 0, 7] == pytest.approx(one.model_total, abs=1e-4)
