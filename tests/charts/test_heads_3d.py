"""What is drawn of heads in three dimensions: heights, colours, ticks, words, and what is refused."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import TypeCheckError

from infoflow.charts import heads_3d
from infoflow.charts.heads_3d import Edge, Head, Labels, described, named, scene, ticks
from infoflow.charts.palette import ink, signs

WORDS = Labels("norm", "contribution", "towards “Paris”", "towards “Rome”", "composition")
VALUES = np.array([[1.0, 0.0, 0.5], [4.0, 2.0, 0.25]])
COLOUR = np.array([[-2.0, 0.0, 1.0], [0.5, -0.004, 0.0]])


def made(**more: Any) -> dict[str, Any]:
    return scene(VALUES, COLOUR, WORDS, **more)


def test_heights_are_shares_of_the_largest_head_by_head() -> None:
    drawn = made()
    assert (drawn["layers"], drawn["heads"]) == (2, 3)
    assert drawn["height"] == [0.25, 0.0, 0.125, 1.0, 0.5, 0.0625]
    assert drawn["ticks"] == [[0.0, "0"], [0.25, "1"], [0.5, "2"], [0.75, "3"], [1.0, "4"]]


@pytest.mark.parametrize("dark", [False, True])
def test_colours_are_full_at_the_largest_size_and_grey_at_nothing(dark: bool) -> None:
    look, (up, down) = made()["dark" if dark else "light"], signs(dark)
    grey = look["ramp"][1]
    assert look["ramp"] == [down, grey, up]
    assert look["fill"][:2] == [down, grey] and look["fill"][5] == grey
    half = ["#" + "".join(f"{round((int(grey[i : i + 2], 16) + int(up[i : i + 2], 16)) / 2):02x}" for i in (1, 3, 5))]
    assert look["fill"][2:3] == half
    assert look["ink"]["paper"] == ink(dark).paper
    flipped = scene(VALUES, -COLOUR, WORDS)["dark" if dark else "light"]["fill"]
    assert flipped[0] == up and flipped[1] == grey


def test_the_scene_is_json_and_says_each_number_as_it_is_printed() -> None:
    drawn = made(edges=[Edge((0, 0), (1, 2), -1.0)], selected=(1, 0))
    assert json.loads(json.dumps(drawn)) == drawn
    assert drawn["said"][0] == ["1.00", "−2.00"] and drawn["said"][4] == ["2.00", "+0.00"]  # no minus before zero
    assert drawn["words"]["away"] == "−2.00 towards “Rome”" and drawn["words"]["towards"] == "+2.00 towards “Paris”"
    assert drawn["selected"] == 3 and made()["selected"] is None
    assert made(selected=(0, 0))["selected"] == 0


def test_edges_lead_from_head_to_head_the_largest_drawn_last() -> None:
    drawn = made(edges=[Edge((0, 2), (1, 0), -4.0), Edge((0, 1), (1, 1), 1.0)])
    assert drawn["edges"] == [
        {"from": 1, "to": 4, "size": 0.25, "raises": True},
        {"from": 2, "to": 3, "size": 1.0, "raises": False},
    ]
    assert drawn["words"]["edge"] == "composition" and made()["words"]["edge"] == ""
    assert made(edges=[Edge((0, 0), (1, 0), 0.0)])["edges"][0]["size"] == 0


def test_the_picture_is_described_in_words() -> None:
    said = described(VALUES, COLOUR, WORDS, [Edge((0, 2), (1, 0), -4.0)])
    assert said == (
        "Heads in three dimensions: 2 layers of 3 heads. Height: norm. Colour: contribution. "
        "Tallest: head 1.0 4.00, head 1.1 2.00, head 0.0 1.00. "
        "Most towards “Paris”: head 0.2 +1.00, head 1.0 +0.50. "
        "Most towards “Rome”: head 0.0 −2.00, head 1.1 +0.00. "
        "1 line: composition; the strongest leads from head 0.2 to 1.0."
    )
    nothing = np.zeros((1, 1))
    assert "Tallest" not in (empty := described(nothing, nothing, WORDS)) and "Most" not in empty and "line" not in empty


def test_nothing_at_all_is_flat_and_grey() -> None:
    drawn = scene(np.zeros((2, 2)), np.zeros((2, 2)), WORDS)
    assert drawn["height"] == [0.0] * 4 and drawn["ticks"] == [[0.0, "0"]]
    assert set(drawn["light"]["fill"]) == {drawn["light"]["ramp"][1]}


@given(st.floats(1e-9, 1e9))
def test_ticks_are_few_round_and_reach_near_the_largest(largest: float) -> None:
    found = ticks(largest)
    assert found[0] == 0 and 2 <= len(found) <= 6
    assert found[-1] <= largest * (1 + 1e-6) and largest - found[-1] < found[1] * (1 + 1e-6)
    digits = f"{found[1]:.0e}"[0]
    assert digits in "125"


@pytest.mark.parametrize(
    ("values", "colour", "more", "said"),
    [
        (-VALUES, COLOUR, {}, "below zero"),
        (VALUES * np.nan, COLOUR, {}, "not a finite"),
        (VALUES, COLOUR + np.inf, {}, "not a finite"),
        (np.zeros((0, 3)), np.zeros((0, 3)), {}, "no heads"),
        (VALUES, COLOUR, {"selected": (2, 0)}, "no head 2.0"),
        (VALUES, COLOUR, {"selected": (0, -1)}, "no head 0.-1"),
        (VALUES, COLOUR, {"edges": [Edge((0, 0), (1, 3), 1.0)]}, "no head 1.3"),
        (VALUES, COLOUR, {"edges": [Edge((1, 0), (1, 1), 1.0)]}, "no path leads from head 1.0 to 1.1"),
        (VALUES, COLOUR, {"edges": [Edge((0, 0), (1, 1), float("nan"))]}, "no path leads"),
    ],
)
def test_what_can_not_be_drawn_is_refused(values: np.ndarray, colour: np.ndarray, more: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        scene(values, colour, WORDS, **more)


def test_heights_and_colours_are_of_the_same_heads() -> None:
    with pytest.raises(TypeCheckError):
        scene(VALUES, COLOUR[:1], WORDS)
    with pytest.raises(ValueError, match="heights are of"):  # where annotations are not checked
        heads_3d._check(VALUES, COLOUR[:1], (), None)


def test_a_head_is_named_by_layer_and_head() -> None:
    head: Head = (5, 1)
    assert named(head) == "5.1"


@pytest.mark.parametrize("shape", [(30, 9), (48, 25), (1, 1)])
def test_large_models_are_small_to_send(shape: tuple[int, int]) -> None:
    values = np.random.default_rng(0).gamma(0.5, 1, shape).astype(np.float32)
    assert len(json.dumps(scene(values, values - 1, WORDS))) < 90 * values.size + 2_000
