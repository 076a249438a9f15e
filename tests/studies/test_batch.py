"""What a data set of many prompts says, of one whose numbers are worked out on paper; opening what is none."""

import json
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest

import infoflow
from infoflow.errors import BadPrompt, InfoflowError
from infoflow.models.spec import ModelSpec
from infoflow.pictures.batch import of as picture
from infoflow.studies.batch import BEYOND, Asked, Batch, check_analyses, request_of
from infoflow.tables.batch import max_error
from infoflow.text.kinds import kind_of
from tests.helpers.dataset import made


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Batch:
    return made(tmp_path_factory.mktemp("set"))


def cells(table: pd.DataFrame, *columns: str) -> list[tuple]:
    return [
        tuple(round(v, 6) if isinstance(v, float) else v for v in row) for row in table[list(columns)].itertuples(index=False)
    ]


def test_what_is_in_it(found: Batch) -> None:
    assert found.counts == (3, 1) and found.groups == ("x", "y") and found.model == "by-hand" and found.heads == (2, 2)
    assert len(found.files) == 2 and found.to_frame()["prompt"].tolist() == ["A b c", "A d", "bad"]
    assert cells(found.failures(), "number", "error", "link") == [(2, "It is bad.", "/?prompt=2")]
    assert found.first(2)["number"].tolist() == [0, 1] and "digest" not in found.to_frame()


def test_shares_by_place_are_means_over_prompts(found: Batch) -> None:
    """The first token of both; b stands at a half and c at the end of a prompt, D at the end of the other."""
    assert cells(found.shares("relative"), "layer", "place", "share", "prompts") == [
        (0, "first token", 0.4, 2), (0, "50–60%", 0.15, 2), (0, "90–100%", 0.45, 2),
        (1, "first token", 0.3, 2), (1, "50–60%", 0.25, 2), (1, "90–100%", 0.45, 2),
    ]  # fmt: skip


@pytest.mark.parametrize("by", ["kind", "relative"])
def test_what_is_no_tokens_is_beyond(by: str, found: Batch, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = pd.DataFrame({
        "layer": 0, "position": [0, 1, -1], "relative": [0.0, 0.95, 0.0], "kind": ["first token", "word", "word"],
        "share": [0.5, 0.3, 0.2],
    })  # fmt: skip
    monkeypatch.setattr(Batch, "rows", lambda self, table, columns: iter([frame[columns]]))
    wanted = [("first token", 0.5), ("word" if by == "kind" else "90–100%", 0.3), (BEYOND, 0.2)]
    assert cells(found.shares(by), "kind" if by == "kind" else "place", "share") == wanted


def test_shares_by_kind_of_token(found: Batch) -> None:
    assert cells(found.shares("kind"), "layer", "kind", "share") == [
        (0, "first token", 0.4), (0, "capitalised", 0.2), (0, "word", 0.4),
        (1, "first token", 0.3), (1, "capitalised", 0.25), (1, "word", 0.45),
    ]  # fmt: skip
    projected = found.shares("kind", "projection")
    assert cells(projected[projected["layer"] == 0], "kind", "share") == [
        ("first token", 0.5),
        ("capitalised", 0.25),
        ("word", 0.5),
    ]
    for by, value in (("length", "share"), ("kind", "size")):
        with pytest.raises(BadPrompt, match="Shares are by"):
            found.shares(by, value)


def test_kinds_of_heads_over_prompts(found: Batch) -> None:
    assert cells(found.head_labels(), "layer", "head", "kind", "share")[:2] == [(0, 0, "induction", 1.0), (0, 1, "diffuse", 1.0)]
    kinds = found.head_kinds()
    assert cells(kinds[(kinds["layer"] == 1) & (kinds["head"] == 1)], "kind", "prompts", "share") == [
        ("induction", 1, 0.5), ("previous token", 1, 0.5),
    ]  # fmt: skip


def test_where_the_answer_moves(found: Batch) -> None:
    """In layer 1 on the first prompt, in layer 0 on the second."""
    assert cells(found.moves(), "layer", "prompts", "share", "arrives") == [(0, 1, 0.5, 1.0), (1, 1, 0.5, 0.5)]


def test_errors_are_counted_by_powers_of_ten(found: Batch) -> None:
    errors = found.errors()
    assert cells(errors[errors["analysis"] == "flow"], "at_most", "prompts") == [(1e-6, 1), (1e-5, 1)]
    assert "heads" not in set(errors["analysis"]), "a map of attention is no sum"


def test_an_error_that_is_no_number_is_the_largest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert max_error(SimpleNamespace(max_error=float("nan"))) == float("inf") and max_error(SimpleNamespace()) is None
    monkeypatch.setattr("tests.helpers.dataset.ERRORS", (float("inf"), 0.0))
    found = made(tmp_path, ("flow",))
    assert cells(found.errors(), "at_most", "prompts") == [(0.0, 1), (float("inf"), 1)]
    drawn = picture("errors", found)
    assert drawn.note == "Prompts by the largest error of each analysis, at most not finite." and len(drawn.frame) == 2


def test_one_head_over_all_prompts(found: Batch) -> None:
    head = found.head(0, 0)
    assert cells(head.prompts, "number", "target", "logit", "kind", "looks_token", "link") == [
        (1, " t1", 3.0, "induction", "A", "/attention?prompt=1&layer=0&head=0&attn_level=one+head"),
        (0, "#7", 1.0, "induction", "b", "/attention?prompt=0&layer=0&head=0&attn_level=one+head"),
    ]  # fmt: skip
    assert cells(head.tokens, "token", "prompts", "weight", "logit") == [("A", 1, 0.25, 3.0), ("b", 1, 0.25, 1.0)]
    assert cells(head.kinds, "kind", "prompts", "share") == [("induction", 2, 1.0)]
    assert found.head(1, 1, most=1).prompts["number"].tolist() == [0] and len(found.head(1, 1).kinds) == 2
    with pytest.raises(BadPrompt, match="There is no head 5.0"):
        found.head(5, 0)


def test_what_a_head_writes_is_of_its_analysis_where_nothing_was_attributed(tmp_path: Path) -> None:
    of_heads, attributed, neither = (
        made(tmp_path / name, analyses) for name, analyses in (("h", ("heads",)), ("a", ("attribute",)), ("n", ("lens",)))
    )
    assert of_heads.head(0, 0).prompts["logit"].tolist() == [30.0, 10.0]
    found = attributed.head(0, 0)
    assert found.prompts["logit"].tolist() == [3.0, 1.0] and found.tokens.empty and found.kinds.empty
    with pytest.raises(BadPrompt, match="says nothing of heads"):
        neither.head(0, 0)
    with pytest.raises(BadPrompt, match="This data set has no 'flow'"):
        neither.shares()


def test_what_heads_write_in_the_mean(found: Batch, tmp_path: Path) -> None:
    assert cells(found.head_writes(), "layer", "head", "logit", "prompts") == [
        (0, 0, 2.0, 2), (0, 1, -0.5, 2), (1, 0, 0.0, 2), (1, 1, 1.5, 2),
    ]  # fmt: skip
    assert made(tmp_path, ("heads",)).head_writes()["logit"].tolist() == [20.0, -5.0, 0.0, 15.0]
    assert found.of_group("z").head_writes().empty


def test_a_group_is_looked_at_alone(found: Batch) -> None:
    one = found.of_group("x")
    assert one.counts == (2, 1) and one.groups == ("x", "y") and one.first(9)["number"].tolist() == [0, 2]
    assert cells(one.shares("kind"), "share")[:2] == [(0.2,), (0.8,)] and one.moves()["prompts"].tolist() == [0, 1]
    assert one.head(0, 0).prompts["number"].tolist() == [0] and one.of_group(None).counts == found.counts
    nobody = found.of_group("z")
    assert nobody.counts == (0, 0) and nobody.shares().empty and nobody.moves().empty and nobody.errors().empty


def test_prompts_that_all_failed_have_summaries_of_nothing(tmp_path: Path) -> None:
    found = made(tmp_path, numbers=(2,))
    assert found.counts == (1, 1)
    assert found.shares().empty and found.moves().empty and found.head_labels().empty and found.errors().empty


def test_what_is_no_data_set_gets_a_sentence(tmp_path: Path) -> None:
    def says(words: str) -> None:
        with pytest.raises(InfoflowError, match=words):
            infoflow.open_batch(tmp_path / "set")

    says("There is no data set of prompts")
    (tmp_path / "set").mkdir()
    says("There is no data set of prompts")
    found = made(tmp_path / "set")
    about = tmp_path / "set/batch.json"
    whole = json.loads(about.read_text())
    for change in ({"analyses": ["../.."]}, {"analyses": 5}, {"model": []}, {"shard": [1]}, {"settings": 3}):
        about.write_text(json.dumps({**whole, **change}))
        says("is no description of a data set")
    for text in ("[]", "{", "[" * 100_000, "\x00"):
        about.write_text(text)
        says("is no description of a data set")
    about.write_text(json.dumps({**whole, "batch": 99}))
    says("is of version 99, and this reads 1")
    about.write_text(json.dumps(whole))
    (tmp_path / "set/prompts" / found.files[0]).write_bytes(b"PAR1")
    says("a file of it is damaged")
    for file in found.files:
        (tmp_path / "set/prompts" / file).unlink()
    says("has no rows yet")


def test_requests_are_those_of_the_pages_analyses() -> None:
    asked = Asked(model=ModelSpec(), prompt="a", target=" x", against=" y")
    assert request_of("lens", asked).targets == (" x", " y") and request_of("lens", asked).positions == (-1,)
    assert request_of("attribute", asked).target == " x" and request_of("locate", asked).against == " y"
    assert request_of("flow", asked).sources == "words" and request_of("heads", asked).analysis == "attention"
    nothing = Asked(model=asked.model, prompt="a")
    assert request_of("attribute", nothing, 7).target == 7
    with pytest.raises(BadPrompt, match="no likeliest next token"):
        request_of("attribute", nothing)
    assert check_analyses(("lens", "flow", "lens")) == ("flow", "lens")


@pytest.mark.parametrize(
    ("text", "position", "special", "kind"),
    [
        ("The", 0, False, "first token"), ("<s>", 0, True, "first token"), ("<s>", 3, True, "special"),
        (" \n", 1, False, "space"),
        (" 1732", 1, False, "number"), (" a1", 1, False, "word"), (" Mary", 1, False, "capitalised"),
        ("“Éa", 1, False, "capitalised"),
        ("...", 1, False, "punctuation"), ("$", 1, False, "punctuation"), ("日本", 1, False, "word"),
        ("\x00", 1, False, "other"),
        ("😀", 1, False, "punctuation"), ("’s", 2, False, "word"),
    ],
)  # fmt: skip
def test_kinds_of_tokens(text: str, position: int, special: bool, kind: str) -> None:
    assert kind_of(text, position, special) == kind
