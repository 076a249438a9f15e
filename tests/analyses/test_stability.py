"""The directions of contributions: lengths are those of the split, angles those of a plain split that keeps every vector."""

from dataclasses import replace

import numpy as np
import pytest

import infoflow
from infoflow.analyses.flow import FlowRequest
from infoflow.analyses.stability import StabilityRequest
from infoflow.errors import BadPrompt
from infoflow.interventions import Steer, Zero
from tests.helpers import tiny
from tests.helpers.slow_flow import contributions

PROMPT = "When Mary and John"


def test_lengths_are_those_of_the_split(family: "infoflow.Model") -> None:
    for position in (3, -1):
        found, flow = infoflow.stability(family, PROMPT, position), infoflow.decompose(family, PROMPT)
        reach = [flow.source_labels.index(label) for label in found.source_labels]
        gram = flow.gram[:, :, found.position].reshape(-1, *flow.gram.shape[3:])
        lengths = np.sqrt(gram.diagonal(axis1=1, axis2=2))[:, reach].T
        assert np.allclose(found.norms[:, 1:], lengths, atol=1e-4) and found.max_error < 1e-5
        assert found.norms[:, 0].argmax() == found.position  # before the first layer all is its own token


def test_angles_are_those_of_a_slow_split(llama_like: "infoflow.Model") -> None:
    found = infoflow.stability(llama_like, PROMPT, 4)
    ids = [t.id for t in llama_like.encode(PROMPT)]
    parts, _ = contributions(llama_like._hf, ids)  # [layer, stage, position, source, d_model]
    vectors = parts[:, :, 4].reshape(-1, *parts.shape[3:])
    for source, label in enumerate(found.source_labels):
        for a, b in [(0, 1), (1, 4), (2, 5)]:
            x, y = (vectors[row, -1 if label == "bias" else source] for row in (a, b))
            assert found.cosine[source, a + 1, b + 1] == pytest.approx(x @ y / np.linalg.norm(x) / np.linalg.norm(y), abs=1e-4)


def test_it_tells_how_far_it_is() -> None:
    told: list[tuple[int, int]] = []
    infoflow.stability(tiny.model("llama"), PROMPT, on_progress=lambda done, total: told.append((done, total)))
    assert told == [(1, 3), (2, 3), (3, 3)]


def test_groups_and_changes_are_sources_here_too() -> None:
    model = tiny.model("qwen2")  # with biases
    found = infoflow.stability(model, PROMPT, sources="words")
    assert found.source_labels[-1] == "bias" and len(found.source_labels) == 6
    assert replace(found, error=np.linspace(0, 1, len(found.error), dtype=np.float32)).max_error == 1  # the worst of its rows
    stack = [Steer("resid_mid", ("It", "a"), 1.0, 1), Zero("mlp", 0)]
    changed = infoflow.stability(model, PROMPT, interventions=stack)
    flow = infoflow.decompose(model, PROMPT, interventions=stack)
    assert changed.source_labels == flow.source_labels and changed.max_error < 1e-5
    assert np.allclose(changed.norms[-2, 1:], np.sqrt(flow.gram[:, :, -1, -2, -2]).ravel(), atol=1e-4)


def test_its_table_has_each_pair_of_rows_once() -> None:
    found = infoflow.stability(tiny.model("llama"), "ab", 1)
    frame = found.to_frame()
    rows = len(found.rows)
    assert len(frame) == len(found.source_labels) * rows * (rows + 1) // 2
    same = frame[(frame["row"] == frame["other_row"]) & (frame["norm"] > 0)]
    assert np.allclose(same["cosine"], 1, atol=1e-5)


def test_it_says_who_points_as_halfway_most_and_least() -> None:
    found = infoflow.stability(tiny.model("llama"), PROMPT, sources="words")
    half = found.dots.shape[1] // 2
    counts = found.norms[:, -1] >= 0.05 * found.norms[:, -1].max()
    kept = {
        name: found.cosine[s, half, -1] for s, name in enumerate(found.source_labels) if counts[s] and found.norms[s, half] > 0
    }
    most, *_, least = sorted(kept, key=lambda name: -kept[name])
    said = f"“{most}” points most as it did halfway (cosine {kept[most]:.2f} at {found.rows[half]}), “{least}” least"
    assert len(kept) > 2 and kept[most] > kept[least] + 0.01
    assert found.summary().endswith(f"{said} ({kept[least]:.2f}).")


def test_its_cost_is_that_of_the_split() -> None:
    model = tiny.model("llama")
    for sources in ("tokens", "words"):
        asked = {"prompt": PROMPT, "sources": sources}
        ours, split = StabilityRequest(**asked).estimate(model), FlowRequest(**asked).estimate(model)  # type: ignore[arg-type]
        assert ours == split and ours.n_sources < 20
    assert split.n_sources == 5  # four words and what stands before them


def test_a_position_that_is_not_there_is_told() -> None:
    with pytest.raises(BadPrompt, match="no position 9"):
        infoflow.stability(tiny.model("llama"), "ab", 9)
