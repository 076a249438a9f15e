"""What many prompts say in sentences, of a data set worked out on paper."""

from pathlib import Path

from infoflow.summaries.batch import sentences
from tests.helpers.dataset import made


def test_sentences_name_what_is_usual(tmp_path: Path) -> None:
    whole = made(tmp_path / "whole")
    first, moves, heads = sentences(whole)
    assert first.text == "3 prompts on by-hand, 1 with an error."
    assert moves.text == "Most of the answer comes to the last position in layer 0 on 50% of them." and moves.place == {
        "layer": 0
    }
    assert heads.text == "Head 0.0 is an induction head on 100% of them." and heads.place == {"layer": 0, "head": 0}
    # of the three heads that are of a kind, two are of the same
    others = made(tmp_path / "others", ("heads",), numbers=(0,))
    assert (
        sentences(others)[1].text == "Head 0.0 is an induction head on 100% of them, as is 1 other on most."
    )  # 1.0 is of another kind
    assert sentences(whole.of_group("y"))[0].text == "1 prompt of “y” on by-hand."
    of_flow = sentences(made(tmp_path / "flow", ("flow",)))
    assert [s.text for s in of_flow[1:]] == ["After the last layer 45% of the last position is of the last tenth of its prompt."]
    assert [s.text for s in sentences(made(tmp_path / "bad", numbers=(2,)))] == ["1 prompt on by-hand, 1 with an error."]
    assert len(sentences(made(tmp_path / "lens", ("lens",)))) == 1
