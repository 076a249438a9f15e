"""Lenses side by side, on two made by hand: one with rows after attention and one without, held against a contrast."""

import numpy as np
import pytest

from infoflow.tables import lenses as tables
from infoflow.tables import logit_lens
from tests.helpers import made

PLAIN = [[5, 5], [5, 1], [1, 1], [2, 1], [1, 1]]
"""embedding, and two layers after attention and MLP; two positions, whose final tokens are 1 and 1"""
OTHER = [[5, 5], [3, 1], [1, 3]]


def both() -> dict[str, "tables.Lens"]:
    """The second has a contrast: its states read what OTHER says, and lie 0.0, 0.1, ... apart."""
    ids = np.stack([np.array(OTHER), np.full((3, 2), 8)], -1)
    pushed = made.lens(
        [[5, 1], [1, 1], [1, 1]], mids=False, kind="frozen", contrast="bank", other_ids=ids,
        other_probs=np.full((3, 2, 2), 0.25, np.float32), change=np.arange(6, dtype=np.float32).reshape(3, 2) / 10,
        raised_ids=ids, raised=np.stack([np.full((3, 2), 0.3), np.full((3, 2), 0.001)], -1).astype(np.float32),
    )  # fmt: skip
    return {"logit": made.lens(PLAIN), "frozen": pushed}


def test_one_cell_by_every_lens_that_reads_it() -> None:
    found = tables.cell(both(), "L0.post", 1)
    assert found["lens"].tolist() == ["logit", "frozen"] and found["reads"].tolist() == ["n1", "n1"]
    assert found["probability"].tolist() == pytest.approx([0.55, 0.53]) and found["KL to output"].tolist() == pytest.approx(
        [1, 0.6]
    )
    assert found["contrast reads"].tolist() == ["", "n1"] and np.isnan(found["changes"][0])
    assert found["changes"][1] == pytest.approx(0.3)
    assert tables.cell(both(), "L0.mid", 1)["lens"].tolist() == ["logit"]


def test_rows_of_lenses_lie_beside_each_other() -> None:
    found = tables.trust(both())
    assert set(found["measure"]) == set(tables.MEASURES)
    plain, pushed = (found[(found["lens"] == kind) & (found["measure"] == "names the output")] for kind in ("logit", "frozen"))
    assert plain["order"].tolist() == [0, 1, 2, 3, 4] and plain["value"].tolist() == [0, 0.5, 1, 0.5, 1]
    assert pushed["order"].tolist() == [0, 2, 4] and pushed["value"].tolist() == [0.5, 1, 1]
    changes = found[found["measure"] == "changes"]
    assert changes["lens"].unique().tolist() == ["frozen"] and changes["value"].tolist() == pytest.approx([0.05, 0.25, 0.45])


def test_the_output_s_token_through_the_rows_and_where_the_contrast_says_it_too() -> None:
    found = tables.through(both(), 1)
    pushed = found[found["lens"] == "frozen"]
    assert pushed["row"].tolist() == ["embed", "L0 MLP", "L1 MLP"] and pushed["token"].unique().tolist() == ["n1"]
    assert pushed["probability"].tolist() == pytest.approx([0.02, 0.06, 0.1])
    assert pushed["shared"].tolist() == [False, True, False] and not found[found["lens"] == "logit"]["shared"].any()


def test_from_which_row_on_an_answer_is_known() -> None:
    lenses = both()
    assert tables.known_from(lenses["logit"], 0) == "L1.post" and tables.known_from(lenses["logit"], 1) == "L0.mid"
    assert (
        tables.known_from(lenses["frozen"], 0) == "L0.post" and tables.known_from(lenses["frozen"], 0, beyond=True) == "L1.post"
    )
    assert tables.known_from(lenses["frozen"], 1) == "embed" and tables.known_from(lenses["frozen"], 1, beyond=True) == "L1.post"


def test_what_a_cell_says_beyond_its_contrast() -> None:
    lenses = both()
    assert logit_lens.beyond(lenses["logit"], 0, 0) == []
    said = logit_lens.beyond(lenses["frozen"], 1, 1)
    assert said == ["A neutral text's state reads “n1” (25%) here; the two readings lie 30% apart.", "Beyond it: n1 +30%."]
    cells = logit_lens.grid(lenses["frozen"], "probability")
    assert cells["shared"].tolist() == [True, False, False, True, True, False] and cells["other"][2] == "n3"


def test_a_state_of_which_nothing_arrives_says_nothing() -> None:
    flat = made.lens([[1], [1], [1]], mids=False, probs=np.array([[[0.5, 0.4]], [[0.1, 0.1]], [[0.5, 0.4]]], np.float32))
    assert logit_lens.grid(flat, "probability")["text"].tolist() == ["n1", "", "n1"]
