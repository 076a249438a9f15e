"""Tables of a written text on one made by hand: connections, what a click draws, roles, the likeliest, what is said."""

from dataclasses import replace

import numpy as np
import pytest

from infoflow.analyses.generation import Stopped
from infoflow.tables import generation as tables
from infoflow.text.tokens import Token
from tests.helpers import made

WEIGHTS = [[0.5, 0.3, 0.2, 0.0], [0.3, 0.2, 0.1, 0.4]]
"""two tokens written after three"""
EDGES = [
    ("input", 1, 0, "b", "d", 0.3),
    ("input", 2, 0, "c", "d", 0.2),
    ("input", 1, 1, "b", "e", 0.2),
    ("input", 2, 1, "c", "e", 0.1),
    ("output", 0, 1, "d", "e", 0.4),
]


def test_maps_by_level() -> None:
    several = np.stack([np.array([WEIGHTS, np.zeros((2, 4))]), np.array([np.ones((2, 4)), 3 * np.ones((2, 4))])])
    gen = made.generation(several, 3)
    one = tables.connections(gen, "one head", 0, 0, hide_first=False)
    np.testing.assert_allclose(one.inputs, [[0.5, 0.3, 0.2], [0.3, 0.2, 0.1]], rtol=1e-6)
    np.testing.assert_allclose(one.outputs, [[0, 0], [0.4, 0]], rtol=1e-6)
    assert one.title == "Layer 0, head 0" and tables.connections(gen, "one head", 1, 0).title == "Layer 1, head 0"
    layer = tables.connections(gen, "layer mean", 0, 0, hide_first=False)
    np.testing.assert_allclose(layer.inputs[0], [0.25, 0.15, 0.1], rtol=1e-6)
    assert layer.title == "Layer 0: mean of 2 maps"
    every = tables.connections(gen, "mean of all", 0, 0)
    np.testing.assert_allclose(every.inputs[0], [0, (0.3 + 4) / 4, (0.2 + 4) / 4], rtol=1e-6)
    assert every.title == "All layers and heads: mean of 4 maps" and gen.pattern[0, 0, 0, 0] == 0.5


def test_weights_are_raw_or_divided_by_what_is_shown() -> None:
    gen = made.generation(WEIGHTS, 3)
    joint = tables.connections(gen, "one head", 0, 0, "joint")
    np.testing.assert_allclose(joint.inputs, [[0, 0.6, 0.4], [0, 2 / 7, 1 / 7]], rtol=1e-5)
    np.testing.assert_allclose(joint.outputs, [[0, 0], [4 / 7, 0]], rtol=1e-5)
    apart = tables.connections(gen, "one head", 0, 0, "separate")
    np.testing.assert_allclose(apart.inputs, [[0, 0.6, 0.4], [0, 2 / 3, 1 / 3]], rtol=1e-5)
    np.testing.assert_allclose(apart.outputs, [[0, 0], [1, 0]], rtol=1e-5)
    np.testing.assert_allclose((apart.raw_inputs, apart.raw_outputs), [[0.5, 0.3], [0, 0.4]], rtol=1e-6)
    empty = tables.connections(made.generation([[1.0, 0.0]], 2), "one head", 0, 0, "joint")
    assert not empty.inputs.any() and np.isfinite(empty.outputs).all()


def edges(least: float = 0.0) -> list[tuple]:
    gen = made.generation(WEIGHTS, 3)
    found = tables.edges(tables.connections(gen, "one head", 0, 0), gen, least)
    assert found.columns.tolist() == ["kind", "src", "dst", "from", "to", "weight"]
    return [(*row[:5], pytest.approx(row[5])) for row in found.itertuples(index=False, name=None)]


def test_edges_are_those_of_the_threshold_or_more() -> None:
    assert edges() == [(*e[:5], pytest.approx(e[5])) for e in EDGES]
    assert [e[:3] for e in edges(0.2)] == [e[:3] for e in EDGES if e[5] >= 0.2]
    assert [e[:3] for e in edges(0.35)] == [("output", 0, 1)]


def test_a_click_draws_what_touches_its_token() -> None:
    gen = made.generation(WEIGHTS, 3)
    every = tables.edges(tables.connections(gen, "one head", 0, 0), gen, 0.0)

    def kept(*which: object) -> list[int]:
        return tables.shown(every, *which).index.tolist()  # type: ignore[arg-type]

    assert kept(None, None) == [0, 1, 2, 3, 4] and kept(0, None) == [0, 1] and kept(1, None) == [2, 3, 4]
    assert kept(0, ("input", 1)) == [0, 2] and kept(0, ("output", 1)) == [2, 3, 4] and kept(1, ("output", 0)) == [0, 1]


def test_every_token_has_its_side_and_role() -> None:
    gen = made.generation(np.zeros((1, 1, 3, 5)), 3)

    def roles(*which: object, **more: object) -> list[tuple]:
        found = tables.nodes(gen, *which, **more)  # type: ignore[arg-type]
        return list(found[["side", "number", "role"]].itertuples(index=False, name=None))

    outputs = [("output", 0, "earlier"), ("output", 1, "current"), ("output", 2, "later")]
    assert roles(1, None) == [("input", 1, "input"), ("input", 2, "input"), *outputs]
    assert roles(None, None, hide_first=False)[0] == ("input", 0, "input")
    assert [r for *_, r in roles(None, None)] == ["input", "input", "earlier", "earlier", "earlier"]
    assert roles(1, ("output", 2))[-1] == ("output", 2, "selected") and roles(1, ("input", 2))[1:3] == [
        ("input", 2, "selected"),
        outputs[0],
    ]
    assert roles(1, None, window=(1, 1)) == [("input", 1, "input"), *outputs]
    assert roles(1, None, window=(0, 1), hide_first=False)[:2] == [("input", 0, "input"), ("input", 1, "input")]
    assert tables.nodes(gen, 1, None)["label"].tolist() == ["b", "c", "d", "e", "f"] and tables.written(gen, 1) == "e"


def test_the_likeliest_of_a_step() -> None:
    gen = made.generation(WEIGHTS, 3)
    found = tables.likeliest(replace(gen, probs=np.array([[0.7, 0.1], [0.6, 0.2]]), logits=np.array([[3.0, 1], [4, 2]])), 1)
    assert found["token"].tolist() == ["n4", "n21"] and found["written"].tolist() == [True, False]
    assert found["probability"].tolist() == [0.6, 0.2] and found["logit"].tolist() == [4, 2]


def test_what_raised_a_token_is_every_earlier_one_and_the_bias_last() -> None:
    gen = made.generation(WEIGHTS, 3, by_source=np.array([[1, -5, 2, 0], [4, -3, 1, 2]], np.float32))
    assert tables.raised(gen, 0)["logit"].tolist() == [1, -5, 2] and tables.raised(gen, 1)["logit"].tolist() == [4, -3, 1, 2]
    most = tables.raised(gen, 1, most=2)
    assert most["logit"].tolist() == [4, -3] and most["label"].tolist() == ["a", "b"]
    biased = tables.raised(replace(gen, bias=np.array([0.5, 0.25])), 1, 1)
    assert biased["label"].tolist() == ["a", "bias"] and biased["logit"].tolist() == [4, 0.25]
    long = made.generation(np.zeros((1, 1, 1, 70)), 70, pieces=tuple(Token(i, "x") for i in range(71)), labels=("x",) * 71)
    assert len(tables.raised(long, 0)) == 60


def test_how_it_was_written_is_said() -> None:
    gen = made.generation(WEIGHTS, 3, rank=np.array([0, 2]))
    assert list(tables.said(gen)) == ["Greedy. The likeliest token was written at 1 of 2 steps."]
    ended = tables.said(replace(gen, stopped=Stopped.END))
    assert ended[0] == "The model ended its text by itself after 2 tokens." and len(ended) == 2
    once = made.generation([[0.5, 0.5]], 2, stopped=Stopped.END)
    assert tables.said(once)[0].startswith("The model ended at once") and len(tables.said(once)) == 2
