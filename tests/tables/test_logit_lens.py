"""Tables of a lens on one made by hand: cells by every colour, moves, trajectories, two runs, how far rows can be trusted."""

from dataclasses import replace

import numpy as np
import pytest

from infoflow.tables import logit_lens as tables
from infoflow.tables import promotions
from tests.helpers import made

LIKELIEST = [[5, 5, 0], [5, 1, 0], [5, 1, 3], [2, 1, 3], [2, 1, 4]]
"""embedding, and two layers after attention and MLP; three positions"""


def test_every_cell_says_what_it_is() -> None:
    found = tables.grid(made.lens(LIKELIEST), "probability")
    assert found["order"].tolist() == [r for r in range(5) for _ in range(3)] and found["position"].tolist() == [0, 1, 2] * 5
    assert found["row"].tolist()[::3] == ["embed", "L0 attn", "L0 MLP", "L1 attn", "L1 MLP"]
    assert found["where"][3] == "Layer 0, after attention" and found["label"].tolist()[:3] == ["A", "B", "C"]
    assert found["text"].tolist() == [f"n{i}" for row in LIKELIEST for i in row]
    np.testing.assert_allclose(found["value"], 0.5 + np.arange(15) / 100, rtol=1e-6)
    np.testing.assert_allclose(found["strength"], found["value"])
    assert (
        found["final"].tolist() == [False, False, False, False, True, False, False, True, False, True, True, False] + [True] * 3
    )
    assert found["likely"][2] == "n0 52%, n9 38%"
    np.testing.assert_allclose(found["entropy"], np.arange(15) / 10, rtol=1e-6)
    assert found["kl"].tolist() == pytest.approx([2.4, 2.6, 2.8, 1.8, 2.0, 2.2, 1.2, 1.4, 1.6, 0.6, 0.8, 1.0, 0, 0.2, 0.4])
    without = tables.grid(made.lens(LIKELIEST), "probability", mids=False)
    assert without["order"].tolist()[::3] == [0, 2, 4] and without.index.tolist() == list(range(9))


def test_colours_are_as_strong_as_what_they_stand_for() -> None:
    lens = made.lens(LIKELIEST)
    by = {colour: tables.grid(lens, colour) for colour in tables.COLOURS}
    np.testing.assert_allclose(by["entropy"]["strength"], 1 - np.arange(15) / 14, atol=1e-6)
    np.testing.assert_allclose(by["entropy"]["value"], np.arange(15) / 10, rtol=1e-6)
    ranks = np.array(LIKELIEST).ravel() + 1
    np.testing.assert_allclose(by["rank"]["value"], ranks)
    np.testing.assert_allclose(by["rank"]["strength"], 1 - np.log(ranks) / np.log(12), atol=1e-6)
    np.testing.assert_allclose(tables.grid(lens, "rank", followed=1)["value"], ranks + 1)
    lead = np.arange(15.0).reshape(5, 3) - 2 * np.arange(15.0).reshape(5, 3)[::-1]
    np.testing.assert_allclose(by["lead"]["value"], lead.ravel())
    np.testing.assert_allclose(by["lead"]["strength"], lead.ravel() / 26, rtol=1e-6)
    kl = np.arange(15.0).reshape(5, 3)[::-1].ravel() / 5
    np.testing.assert_allclose(by["KL to output"]["value"], kl, rtol=1e-6)
    np.testing.assert_allclose(by["KL to output"]["strength"], np.exp(-kl), rtol=1e-6)
    sure = made.lens([[1], [1], [1]], entropy=np.zeros((3, 1), np.float32), target_logits=np.zeros((3, 1, 2), np.float32))
    assert (
        tables.grid(sure, "entropy")["strength"].tolist() == [1] * 3 and tables.grid(sure, "lead")["strength"].tolist() == [0] * 3
    )
    assert tables.grid(made.lens([[1], [1], [1]], names={i: "x" for i in (1, 9)}), "rank")["strength"][0] == pytest.approx(
        1 - np.log(2) / np.log(10)
    )


def test_the_likeliest_and_the_moves_of_a_cell() -> None:
    lens = made.lens(LIKELIEST)
    likely = tables.likeliest(lens, 3, 2)
    assert likely["token"].tolist() == ["n3", "n9"] and likely["logit"].tolist() == [11, 10]
    assert likely["probability"].tolist() == pytest.approx([0.61, 0.29])
    moved = promotions.moved(made.promotions(5), 1)  # 4 is in both halves: its first place counts, and is too small a move
    assert moved["token"].tolist() == ["n5", "n3"] and moved["rank"].tolist() == ["1 → 10", "9 → 1"]
    assert moved["change"].tolist() == pytest.approx([-0.4, 0.3]) and moved.index.tolist() == [0, 1]


def test_the_largest_moves_of_all_blocks() -> None:
    found = made.promotions(5)
    gained = found.gained.copy()
    gained[0], gained[3, 0] = 0.9, 0.45  # nothing moved before the embedding
    table = promotions.largest(replace(found, gained=gained), 3)
    assert table["name"].tolist() == ["L1 attn: n3", "L0 attn: n5", "L0 MLP: n5"]
    assert table["change"].tolist() == pytest.approx([0.45, -0.4, -0.4]) and table.index.tolist() == [0, 1, 2]


def test_followed_tokens_and_final_ones_run_through_every_row() -> None:
    lens = made.lens(LIKELIEST)
    found = tables.trajectories(lens, 2)
    assert found["token"].tolist() == ["n1"] * 5 + ["n2"] * 5 + ["n7"] * 5 and found["id"].tolist()[::5] == [1, 2, 7]
    assert found["order"].tolist() == list(range(5)) * 3 and found["row"][3] == "L1 attn"
    at = np.arange(2, 15, 3)
    np.testing.assert_allclose(found["probability"], [*(at / 50), *(at / 100), *(at / 25)], rtol=1e-6)
    np.testing.assert_allclose(found["rank"], [1, 1, 4, 4, 5, 2, 2, 5, 5, 6, *[np.nan] * 5])
    assert found["followed"].tolist() == [True] * 10 + [False] * 5
    assert tables.trajectories(lens, 2, mids=False)["order"].tolist() == [0, 2, 4] * 3


def test_two_runs_are_compared_by_tokens_that_both_follow() -> None:
    lens, other = made.lens(LIKELIEST), made.lens([[1, 1], [1, 1], [1, 2]], targets=(2, 7))
    found = tables.contrasted(lens, other)
    mine, theirs = found[found["run"] == "this"], found[found["run"] == "other"]
    assert set(mine["id"]) == {2, 7} and mine["followed"].all() and len(mine) == 10
    assert set(theirs["id"]) == {2, 7} and not theirs["followed"].any() and len(theirs) == 6
    assert set(theirs["token"]) == {"n2", "n7"} and theirs["probability"].tolist()[:3] == pytest.approx([1 / 50, 3 / 50, 5 / 50])
    assert mine[mine["id"] == 2]["probability"].tolist() == pytest.approx([n / 100 for n in (2, 5, 8, 11, 14)])


@pytest.mark.parametrize(
    ("this", "other", "since"),
    [([5, 5, 1, 2, 1], [5, 5, 1, 3, 2], "Layer 1, after attention"), ([1, 1, 1, 1, 1], [2, 2, 2, 2, 2], "Embedding"),
     ([1, 2, 1, 2, 1], [2, 2, 2, 2, 2], "Layer 1, after MLP"), ([5, 1, 1, 1, 2], [6, 3, 3, 3, 2], "")],
)  # fmt: skip
def test_where_two_runs_part(this: list[int], other: list[int], since: str) -> None:
    lenses = [made.lens([[0, i] for i in ids]) for ids in (this, other)]
    said = tables.apart(*lenses)
    assert said.startswith(f"This prompt ends with “n{this[-1]}” (59%), the other with “n{other[-1]}” (59%).")
    assert said.endswith(f"differ from “{since}” on." if since else "(59%).")


def test_how_far_rows_can_be_trusted() -> None:
    lens = made.lens(LIKELIEST)
    found = tables.reliability(lens)
    assert found["agrees"].tolist() == pytest.approx([0, 1 / 3, 1 / 3, 2 / 3, 1]) and found["order"].tolist() == [0, 1, 2, 3, 4]
    assert found["kl"].tolist() == pytest.approx([2.6, 2.0, 1.4, 0.8, 0.2]) and found["row"].tolist()[1] == "L0 attn"
    assert tables.reliability(lens, mids=False)["row"].tolist() == ["embed", "L0 MLP", "L1 MLP"]
    assert tables.hint(lens).startswith("Up to “Layer 0, after MLP”, fewer than half")
    half = made.lens([[1, 5], [5, 1], [1, 1]])
    assert tables.hint(half) == "Every row names the final token at half of the positions or more."
    assert tables.hint(lens).endswith("with care, they are not made to be unembedded.")
    assert tables.hint(replace(lens, kind="frozen")).endswith("read those rows with care.")
    assert "“Layer 0, after attention”" in tables.hint(made.lens([[1, 1], [5, 5], [1, 1]]))
