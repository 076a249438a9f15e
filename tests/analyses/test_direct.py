"""What each part writes itself, in one forward pass: the direct contributions that `attribute` has from its own road."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import infoflow
from infoflow.analyses import logit_lens
from infoflow.analyses.direct import DirectRequest
from infoflow.errors import BadPrompt, TooLarge
from infoflow.interventions import Scale, Zero
from tests.helpers import tiny

PROMPT = "abc the cat"
PARTS = ("by_head", "by_mlp", "embedding", "direct_bias", "direct_put_in", "direct_total", "total", "model_total")


@pytest.mark.slow
@pytest.mark.parametrize("form", ["folded", "without norm"])
def test_it_is_what_the_whole_split_says(form: str, family: "infoflow.Model") -> None:
    for more in ({"against": 70}, {"centred": True, "position": 2}):
        itself = infoflow.direct(family, PROMPT, 65, direct=form, **more)
        whole = infoflow.attribute(family, PROMPT, 65, direct=form, **more)
        for name in PARTS:
            np.testing.assert_allclose(getattr(itself, name), getattr(whole, name), rtol=1e-4, atol=2e-5, err_msg=name)
        assert itself.max_error < 1e-5 and itself.position == whole.position and itself.direct == form
        assert itself.to_frame()["logit"].sum() == pytest.approx(whole.direct_total, abs=1e-4)
        assert itself.to_frame().columns.tolist() == whole.direct_frame().columns.tolist()


@pytest.mark.parametrize("name", ["gpt2", "llama", "gemma2"])
def test_a_changed_run_is_split_as_a_whole(name: str) -> None:
    changes = [Scale("mlp", 0.5, 1), Zero("z", 0, None, 1)]
    itself = infoflow.direct(tiny.model(name), PROMPT, 65, interventions=changes)
    whole = infoflow.attribute(tiny.model(name), PROMPT, 65, interventions=changes)
    np.testing.assert_array_equal(itself.by_head, whole.by_head)
    assert itself.direct_put_in == whole.direct_put_in and itself.provenance.request.interventions == tuple(changes)


def test_a_case_worked_out_by_hand() -> None:
    """Embeddings (1, 1), (1, -1); attention adds (1, 0) to the second, and the MLP g (-1 / s) to its first coordinate, where s is
    the rms of (2, -1) and g = silu(2 / s). Token 1 reads the first coordinate, 2 the second; the final norm divides by t."""
    s = np.sqrt(2.5)
    written = -2 / s / (1 + np.exp(-2 / s)) / s
    t = np.sqrt(((2 + written) ** 2 + 1) / 2)
    found = infoflow.direct(tiny.on_paper(), [1, 2], 1, against=2)
    assert found.embedding == pytest.approx(2 / t, abs=1e-5) and found.by_head[0, 0] == pytest.approx(1 / t, abs=1e-5)
    assert found.by_mlp[0] == pytest.approx(written / t, abs=1e-5) and found.direct_bias == 0


def test_what_it_needs_by_hand(demo: "infoflow.Model") -> None:
    """One position's reading; with weights in half precision each of six output maps, 256 by 256, in float32 beside it."""
    plain = DirectRequest(prompt="a b", target=5).estimate(demo)
    assert plain.bytes == logit_lens.needed_bytes(demo, plain.n_tokens, False, 1)
    half = SimpleNamespace(
        encode=demo.encode, sizes=lambda: replace(demo.sizes(), half=True), memory_limit=demo.memory_limit, n_layers=6
    )
    more = DirectRequest(prompt="a b", target=5).estimate(half).bytes  # type: ignore[arg-type]
    assert more - plain.bytes == 4 * 6 * 256 * 256


def test_bad_input_gets_a_sentence(demo: "infoflow.Model", monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(BadPrompt, match="no position 9"):
        infoflow.direct(demo, "a b", 5, position=9)
    with pytest.raises(BadPrompt, match="direct attribution"):
        infoflow.direct(demo, "a b", 5, direct="sideways")
    monkeypatch.setenv("INFOFLOW_MAX_MEMORY_MB", "1")
    with pytest.raises(TooLarge, match="Reading"):
        infoflow.direct(demo, "a b c " * 100, 5)
