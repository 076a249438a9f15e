"""Pictures of many prompts: each draws its summary's numbers, and says over how many prompts."""

from pathlib import Path

import pandas as pd
import pytest

from infoflow.charts import batch as charts
from infoflow.files.datasets import Kept
from infoflow.pictures import batch as pictures
from infoflow.studies.batch import Batch
from infoflow.summaries.batch import sentences
from infoflow.tables import batch as tables
from tests.helpers import dataset
from tests.helpers.dataset import made
from tests.helpers.drawn import drawing


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Batch:
    return made(tmp_path_factory.mktemp("set"))


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("name", ["places", "kinds of token", "heads", "writes", "moves", "errors"])
def test_each_is_valid_and_holds_its_numbers(name: str, dark: bool, found: Batch) -> None:
    drawn = pictures.of(name, found, dark)
    spec = drawn.chart.to_dict(validate=True)
    assert spec["mark"] if "mark" in spec else spec["layer"]
    frames = {
        "places": found.shares("relative"), "kinds of token": found.shares("kind"), "heads": found.head_kinds(),
        "moves": found.moves(), "writes": found.head_writes(), "errors": found.errors(),
    }  # fmt: skip
    assert sorted(drawn.frame.columns) == sorted(frames[name].columns) and len(drawn.frame) == len(frames[name])
    assert "2 prompts on by-hand" in drawn.title and drawn.note


def test_bars_stand_under_each_other_by_value_where_that_is_asked() -> None:
    table = pd.DataFrame({"row": ["L0", "L1"] * 2, "prompts": [1, 2, 3, 4], "kind": ["a", "a", "b", "b"]})
    apart, together = charts.bars(table, "row", "prompts", "row", by="kind"), charts.bars(table[:2], "row", "prompts", "row")
    assert apart.to_dict()["encoding"]["row"]["field"] == "kind" and "row" not in together.to_dict()["encoding"]
    assert len(drawing(together).of("rect")) == 2


def test_the_first_picture_is_of_what_was_run(tmp_path: Path) -> None:
    of_lens = made(tmp_path / "lens", ("lens",))
    assert pictures.shown(of_lens) == ("errors",) and pictures.picture(of_lens).frame["prompts"].sum() == 2
    heads = made(tmp_path / "heads", ("heads", "locate"))
    assert pictures.shown(heads) == ("heads", "moves", "errors")
    nothing = made(tmp_path / "nothing", numbers=(2,))
    for name in pictures.shown(nothing):
        assert pictures.of(name, nothing).frame.empty
    assert pictures.errors(nothing).note == pictures.NOTHING


def test_what_one_analysis_failed_on_is_shown_of_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A target that is no token fails in some analyses alone; each summary says of how many prompts it is."""
    whole = dataset._kept

    def without(*numbers: int) -> Batch:
        def kept(number: int) -> Kept:
            row = whole(number)
            if number not in numbers:
                return row
            return Kept({**row.record, "error": "locate: No."}, {n: t for n, t in row.tables.items() if n != "locate"})

        monkeypatch.setattr(dataset, "_kept", kept)
        return made(tmp_path / str(len(numbers)), numbers=(0, 1))

    none = without(0, 1)
    assert none.counts == (2, 2) and none.ran("locate") == 0 and none.ran("locate", "flow") == 2
    assert pictures.shown(none) == ("places", "kinds of token", "heads", "writes", "errors")
    assert pictures.places(none).title.endswith("2 prompts on by-hand") and sentences(none)[1].text.startswith("Head 0.0 is an")
    one = without(1)
    assert pictures.moves(one).title.endswith(", 1 prompt on by-hand") and "2 prompts on" in pictures.heads(one).title
    said = "Most of the answer comes to the last position in layer 1 on 100% of the 1 that this is known of."
    assert sentences(one)[1].text == said


def test_a_notebook_shows_a_data_set(found: Batch) -> None:
    shown = found._repr_mimebundle_()
    assert shown["image/png"] and found.summary().startswith("3 prompts on by-hand, 1 with an error.")


def test_heads_of_no_kind_have_no_colour(found: Batch) -> None:
    assert tables.mapped_heads(found.head_labels())["value"].tolist() == [1.0, 0.0, 0.0, 0.5]


def test_a_list_of_prompts_has_the_columns_that_hold_something(found: Batch, tmp_path: Path) -> None:
    assert list(tables.listed(found.to_frame())) == [
        "number", "id", "group", "prompt", "next", "probability", "error", "link_heads",
    ]  # fmt: skip
    shown = tables.listed(found.to_frame())
    texts = shown[["id", "group", "next", "error"]]
    assert texts.map(lambda value: isinstance(value, str)).all(axis=None) and sorted(shown["error"])[:2] == ["", ""]
    assert "error" not in tables.listed(made(tmp_path, numbers=(0, 1)).to_frame())
