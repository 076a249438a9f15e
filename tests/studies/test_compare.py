"""Two results value by value: nothing differs from itself, each difference is the one found the long way, and what can't be laid
beside each other is refused with what differs."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import infoflow
from infoflow.analyses.result import Prediction
from infoflow.errors import BadPrompt
from infoflow.interventions import Block, Scale
from infoflow.studies.compare import Both, paired_sources
from infoflow.studies.swap import places_of
from infoflow.tables.compare import moved
from infoflow.text.alignment import Align, paired
from tests.helpers import made, tiny

FRANCE, ITALY = "The capital of France is", "The capital of Italy is"
KINDS: dict[str, Any] = {
    "flow": lambda m, p, **more: infoflow.decompose(m, p, **more),
    "location": lambda m, p, **more: infoflow.locate(m, p, m.token_id(" Paris") if m.name == "demo" else 65, **more),
    "attention": lambda m, p, **more: infoflow.attention(m, p, **more),
    "lens": lambda m, p, **more: infoflow.logit_lens(m, p, targets=[" Paris", " Rome"] if m.name == "demo" else [70, 71], **more),
    "generation": lambda m, p, **more: infoflow.generate(m, p, 1, **more),
}


@pytest.fixture(scope="module")
def pairs(demo: infoflow.Model) -> dict[str, tuple[Any, Any]]:
    return {name: (make(demo, FRANCE), make(demo, ITALY)) for name, make in KINDS.items()}


@pytest.mark.parametrize("name", KINDS)
def test_nothing_differs_from_itself(name: str, pairs: dict[str, tuple[Any, Any]]) -> None:
    a, b = pairs[name]
    found = infoflow.compare(a, a)
    assert not found.difference.any() and found.largest["difference"] == 0 and not any(found.differs)
    assert len(found.to_frame()) >= 5 and found.provenance.apart == "nothing"
    there, back = infoflow.compare(a, b), infoflow.compare(b, a)
    assert (
        there.provenance.apart == "prompts"
        and there.max_error == max(getattr(run, "max_error", 0.0) for run in (a, b))
        and np.abs(there.difference).max() > 0
    )
    if name != "generation":  # whose tokens are in another order then
        np.testing.assert_array_equal(there.difference, -back.difference)
    frame = there.to_frame()
    assert list(frame)[-3:] == ["a", "b", "difference"]
    np.testing.assert_array_equal(frame["difference"], frame["b"] - frame["a"])
    assert abs(there.largest["difference"]) == pytest.approx(frame["difference"].abs().max())


def test_the_same_token_has_one_name_however_often_each_prompt_said_it_before(demo: infoflow.Model) -> None:
    a, b = (infoflow.decompose(demo, text) for text in ("saw France and France", "saw Italy and France"))
    found = infoflow.compare(a, b)
    n = len(a.tokens)
    assert a.source_labels[n - 3 :] == ("France", "and", "France·2") and b.source_labels[n - 1] == "France"
    assert found.axis("source").keys[n - 3 : n] == ("France | Italy", "and", "France·2")
    ends = [run.grouped([*("begin" for _ in range(n - 2)), "end", "end"]) for run in (a, b)]
    renamed = replace(ends[1], source_labels=("beginning", "rest"))
    assert infoflow.compare(ends[0], renamed).axis("source").keys == ("begin | beginning", "end"), "of the same tokens"


def test_a_flow_is_compared_source_by_source(pairs: dict[str, tuple[Any, Any]]) -> None:
    """Against the two flows' own tables, row by row; position 4 is the word that differs."""
    a, b = pairs["flow"]
    found = infoflow.compare(a, b).to_frame()
    tables = [run.to_frame(hidden=[0]) for run in (a, b)]
    checked = 0
    for line in found[found["position"] > 0].itertuples():
        names = line.source.split(" | ")
        for table, name, value in zip(tables, (names[0], names[-1]), (line.a, line.b), strict=True):
            of = table[(table["layer"] == line.layer) & (table["stage"] == line.stage) & (table["position"] == line.position)]
            own = of[of["source_label"] == name]["share"]
            assert value == pytest.approx(float(own.iloc[0]) if len(own) else 0.0, abs=1e-6)
            checked += 1
    assert checked > 300 and "France | Italy" in set(found["source"])
    first = found[(found["position"] == 0) & (found["source"] == "⟨bos⟩")]
    assert (first[["a", "b"]] == 1).all(axis=None)  # the hidden first token, at its own position
    shares = infoflow.compare(a, b, "projection", hidden=[]).values
    np.testing.assert_allclose(shares[0][:, 1], a.shares("projection"), atol=1e-6)
    by_word = infoflow.compare(a, b, groups="words", hidden=["France"])
    assert (
        by_word.aside == ("France", "Italy")
        and not by_word.values[..., by_word.axis("source").keys.index("France | Italy")].any()
    )


def test_an_answer_is_compared_cell_by_cell_and_the_sums_differ_as_the_totals(pairs: dict[str, tuple[Any, Any]]) -> None:
    a, b = pairs["location"]
    found = infoflow.compare(a, b)
    np.testing.assert_array_equal(found.difference, b.by_cell - a.by_cell)
    np.testing.assert_allclose(found.difference.sum(1), b.total - a.total, atol=1e-3)
    biased = [infoflow.locate(tiny.model("qwen2"), text, 65) for text in ("When Mary", "When Marx")]
    sums = infoflow.compare(*biased)
    assert sums.axis("position").keys[-1] == -1 and sums.axis("position").labels[-1] == "bias"
    np.testing.assert_allclose(sums.difference.sum(1), biased[1].total - biased[0].total, atol=1e-3)


def test_attention_and_lens_are_compared_as_they_are(pairs: dict[str, tuple[Any, Any]]) -> None:
    a, b = pairs["attention"]
    frame = infoflow.compare(a, b, "contribution").to_frame()
    assert (frame["src"] <= frame["dest"]).all() and len(frame) == a.pattern.shape[0] * a.pattern.shape[1] * 21
    line = frame.iloc[500]
    wanted = [
        run.weighted("contribution")[int(line["layer"]), int(line["head"]), int(line["dest"]), int(line["src"])] for run in (a, b)
    ]
    assert [line["a"], line["b"]] == pytest.approx(wanted)
    one, other = pairs["lens"]
    np.testing.assert_array_equal(infoflow.compare(one, other).difference, other.target_probs - one.target_probs)
    np.testing.assert_array_equal(infoflow.compare(one, other, "kl").difference, other.kl - one.kl)
    rows = infoflow.logit_lens(tiny.model(), "ab", mids=False), infoflow.logit_lens(tiny.model(), "ab", positions=[-1])
    found = infoflow.compare(*rows)  # what both read; they follow no token
    assert found.quantity == "entropy" and found.axis("row").keys == rows[0].rows and found.places == ((2, 2),)


def test_the_likeliest_tokens_of_both_stand_side_by_side(pairs: dict[str, tuple[Any, Any]]) -> None:
    for name, (a, b) in pairs.items():
        top = infoflow.compare(a, b).top
        assert [of[0].token for of in top] == [" Paris", " Rome"], name
    a, b = pairs["generation"]
    frame = infoflow.compare(a, b).to_frame().set_index("token")
    assert frame.loc["Paris", "a"] == pytest.approx(float(a.probs[0, 0])) and frame.loc["Rome", "difference"] > 0.9


def test_places_are_paired_by_hand() -> None:
    assert paired([1, 2, 3], [1, 9, 3]).differs == (False, True, False)
    assert paired([1, 2, 3], [1, 8, 9, 3]).places == ((0, 0), (2, 3))  # alike at both ends
    assert paired([1, 2, 2], [1, 2]).places == ((0, 0), (2, 1))  # no place is taken twice
    apart = paired([1, 5, 7], [1, 2, 5, 8])
    assert apart.places == ((0, 0), (1, 2), (2, 3)) and apart.differs == (
        False,
        False,
        True,
    )  # the last of both, whatever they are
    assert paired([1, 2], [1, 5, 2], Align.START).places == ((0, 0), (1, 1))
    end = paired([1, 2], [1, 5, 2], Align.END)
    assert end.places == ((0, 1), (1, 2)) and end.differs == (True, False)
    assert paired([7], [8, 9]).places == ((0, 1),) and paired([7], [8]).differs == (True,)


def test_what_has_no_counterpart_is_left_out_and_told(demo: infoflow.Model) -> None:
    """“Great Britain” is two tokens more than nothing: its sources count nothing in the other run."""
    one, other = (infoflow.decompose(demo, text) for text in ("The capital of France is", "The capital of the big city is"))
    found = infoflow.compare(one, other)
    assert [one.labels[p] for p in found.alone[0]] == ["France"] and [other.labels[p] for p in found.alone[1]] == [
        "the",
        "big",
        "city",
    ]
    sources = found.axis("source").keys
    assert sources[-3:] == ("the", "big", "city") and not found.values[0][..., -3:].any() and found.values[1][..., -3:].any()
    assert not found.values[1][..., sources.index("France")].any()
    np.testing.assert_allclose(found.values[:, :, :, 1:].sum(-1), 1, atol=1e-5)


def test_the_first_token_of_each_is_set_aside_whatever_it_is(demo: infoflow.Model) -> None:
    """Of prompts that have no counterpart of it, too: else one run's shares would be of what is left, and the other's of all."""
    one, other = (infoflow.decompose(demo, text) for text in (FRANCE, "Yesterday the capital of France is"))
    shares = [run.shares(hidden=[0])[:, -1] for run in (one, other)]
    ends = infoflow.compare(one, other, align="end")
    assert ends.aside == ("⟨bos⟩",) and ends.places[0] == (0, 4)
    for found in (ends, infoflow.compare(*(replace(run, token_ids=(9000 + n, *run.token_ids[1:])) for n, run in
                                           enumerate((one, other))))):  # fmt: skip
        last = found.values[:, :, 1, -1]
        np.testing.assert_allclose(last.sum(-1), 1, atol=1e-5)
        np.testing.assert_allclose(last[1][:, found.axis("source").keys.index("France")], shares[1][:, -2], atol=1e-6)
        np.testing.assert_allclose(last[0][:, found.axis("source").keys.index("France")], shares[0][:, -2], atol=1e-6)
    named = replace(other, labels=("Y", *other.labels[1:]), source_labels=("Y", *other.source_labels[1:]))
    assert infoflow.compare(one, named, align="end").aside == ("⟨bos⟩", "Y")


def test_the_last_positions_are_counterparts_whatever_they_are(demo: infoflow.Model) -> None:
    for text in ("The capital of Italy was not", "The capital of France is the"):
        both = infoflow.locate(demo, FRANCE, " Paris"), infoflow.locate(demo, text, " Paris")
        found = infoflow.compare(*both)
        assert found.places[-1] == (5, len(both[1].labels) - 1) and found.differs[-1]
        assert found.values[1, -1, -1] == pytest.approx(both[1].by_cell[-1, -1])


def test_a_token_that_was_not_read_is_as_likely_as_it_may_be() -> None:
    """Attention knows the likeliest token alone: of another one no more than what that leaves."""
    read = [Prediction(" Rome", 2, 0.45, 1.0), Prediction(" Oslo", 3, 0.3, 0.0)]
    first = (Prediction(" Paris", 1, 0.4, 1.0),)
    assert moved((first, read)) == "“Paris” falls from 40.0% to less than 25.0%; the likeliest is now “Rome” (45.0%)."
    assert moved((first, read[:1])).startswith("“Paris” goes from 40.0% to less than 45.0%; ")
    sure = [Prediction(" Rome", 2, 0.9999, 1.0)]
    assert moved((first, sure)).startswith("“Paris” falls from 40.0% to less than 0.1%; ")
    assert moved((first, (*read, first[0]))).startswith("“Paris” stays at 40.0%; ")


def test_sources_of_one_name_are_one_where_no_token_pairs_them() -> None:
    one = made.flow(top=())
    other = replace(one, token_ids=(0, 9, 8, 3), tokens=("A", " x", "y", " d"), labels=("A", "x", "y", "d"))
    found = infoflow.compare(one, other)
    assert found.differs == (False, True, True, False) and found.axis("source").keys == ("A", "bc", "d")
    split = replace(other, source_labels=("A", "x", "y", "d"), source_of=np.arange(4))
    with pytest.raises(BadPrompt, match="grouped otherwise: “bc” of the one is “y” and more"):
        paired_sources(one, split, paired(one.token_ids, split.token_ids))
    put_in = replace(other, source_labels=("A", "bc", "d", "[steered]"))
    assert paired_sources(one, put_in, paired(one.token_ids, put_in.token_ids))[-1] == (None, 3)


def test_a_changed_run_beside_the_run_as_it_is(demo: infoflow.Model) -> None:
    """What the Interventions page shows is this comparison: the difference is that of the two runs, put-in sources included."""
    cut = [Block("France", -1)]
    for name, make in KINDS.items():
        before, after = make(demo, FRANCE), make(demo, FRANCE, interventions=cut)
        found = infoflow.compare(before, after)
        assert found.provenance.apart == "interventions" and np.abs(found.difference).max() > 0.01, name
    patterns = infoflow.compare(infoflow.attention(demo, FRANCE), infoflow.attention(demo, FRANCE, interventions=cut))
    assert not patterns.difference[0, :, :-1].any() and not patterns.values[1, :, :, -1, 4].any()
    mean = infoflow.interventions.Mean("mlp", 2)
    flows = infoflow.compare(infoflow.decompose(demo, FRANCE), infoflow.decompose(demo, FRANCE, interventions=[mean]))
    assert flows.axis("source").keys[-1] == "[mean]" and not flows.values[0][..., -1].any()


def test_two_checkpoints_and_two_types_of_weights(tmp_path: Path) -> None:
    """Folders stand for `owner/model@step1000` and `@step143000`: one tokenizer, one shape, other weights."""
    runs = []
    for step, seed in (("step1000", 0), ("step143000", 1)):
        tiny.hf_model("gpt_neox", seed).save_pretrained(tmp_path / step)
        tiny.tokenizer().save_pretrained(tmp_path / step)
        runs.append(infoflow.load_model(str(tmp_path / step)))
    for name, make in KINDS.items():
        a, b = (make(model, "When Mary") for model in runs)
        found = infoflow.compare(a, b)
        assert found.provenance.apart == "models" and np.abs(found.difference).max() > 0, name
    half = infoflow.load_model(str(tmp_path / "step1000"), dtype="bfloat16")
    whole, rounded = (infoflow.attention(model, "When Mary") for model in (runs[0], half))
    found = infoflow.compare(whole, rounded)
    assert found.provenance.apart == "weights" and 0 < np.abs(found.difference).max() < 0.1
    np.testing.assert_array_equal(found.difference, rounded.pattern - whole.pattern)


def refused(a: Any, b: Any, match: str, **more: Any) -> None:
    with pytest.raises(BadPrompt, match=match):
        infoflow.compare(a, b, **more)


def test_what_can_not_be_compared_is_refused_with_what_differs(pairs: dict[str, tuple[Any, Any]], demo: infoflow.Model) -> None:
    model = tiny.model()
    flow, attn = pairs["flow"][0], pairs["attention"][0]
    refused(flow, attn, "a Flow and the other a Attention")
    refused("x", flow, "str can't be compared")
    refused(flow, infoflow.decompose(model, FRANCE), "read other tokens: token")
    refused(flow, flow, "no 'volume' of Flow results", quantity="volume")
    refused(attn, attn, "Leave them out", hidden=[0])
    deep = tiny.model(num_hidden_layers=2)
    for name in ("flow", "location", "attention", "lens"):
        refused(
            KINDS[name](model, "ab"), KINDS[name](deep, "ab"), "the one has 3 layers and the other 2|has 3 layers and the other 2"
        )
    wide = tiny.model(num_attention_heads=2)
    refused(infoflow.attention(model, "ab"), infoflow.attention(wide, "ab"), "has 4 heads and the other 2")
    refused(infoflow.locate(model, "ab", 65), infoflow.locate(model, "ab", 66), "locate another answer: the logit of")
    refused(
        infoflow.locate(model, "ab", 65), infoflow.locate(model, "ab", 65, position=1), "read at position 2 and at position 1"
    )
    refused(infoflow.locate(model, "ab", 65), infoflow.locate(model, "ab", 65, centred=True), "one with the mean logit off")
    refused(infoflow.locate(model, "ab", 65), infoflow.locate(model, "ab", 65), "needs a contrast in both", quantity="specific")
    plain, frozen = infoflow.logit_lens(model, "ab"), infoflow.logit_lens(model, "ab", kind="frozen")
    refused(plain, frozen, "other lenses: logit, read at its own position; frozen")
    refused(plain, plain, "follow no token in common", quantity="probability")
    refused(infoflow.decompose(model, "ab"), replace(infoflow.decompose(model, "ab"), token_ids=(0, 66, 65)), "read other tokens")
    words = infoflow.decompose(demo, FRANCE, sources=["a", "b", "b", "c", "d", "e"])
    refused(flow, words, "grouped otherwise")


def test_one_tokenizer_is_told_by_what_its_tokens_mean() -> None:
    """Bytes of characters, and spaces at a beginning, depend on what is around them, and tell nothing."""
    model = tiny.model()
    for text, other in (("日本", "本日"), ("a b", "b a"), ("é", "日")):
        assert infoflow.compare(infoflow.attention(model, text), infoflow.attention(model, other)).kind == "attention"
    one = made.attention(np.tril(np.ones((1, 1, 3, 3))))
    spaced = replace(one, tokens=(" A", "B", "C"))
    assert not infoflow.compare(one, spaced).difference.any()
    refused(one, replace(one, tokens=("A", "B", "X")), "token 2 is “C” in the one and “X” in the other")


def test_a_mark_before_the_text_may_be_there_in_one_run_alone() -> None:
    """As of a base model whose tokenizer puts one before a text, and its instruct model, whose doesn't."""
    model = tiny.model()
    one = infoflow.decompose(model, "abc")
    bare = infoflow.decompose(model, one.token_ids[1:])
    bare = replace(bare, provenance=replace(bare.provenance, request=replace(bare.provenance.request, prompt="abc")))
    for found in (infoflow.compare(one, bare), infoflow.compare(bare, one)):
        assert found.differs == (False,) * 3 and sorted(map(len, found.alone)) == [0, 1]
    found = infoflow.compare(one, bare)
    assert found.places == ((1, 0), (2, 1), (3, 2)) and found.aside == ("⟨bos⟩", "a")


def test_the_largest_difference_is_a_number() -> None:
    pattern = np.tril(np.ones((1, 1, 3, 3)))
    moved = pattern.copy()
    moved[0, 0, 1, 0], moved[0, 0, 2, 1] = np.nan, 0.25
    found = infoflow.compare(made.attention(pattern), made.attention(moved)).largest
    assert (found["dest"], found["src"], found["b"]) == ("C", "B", 0.25)


def test_both_say_what_was_run(pairs: dict[str, tuple[Any, Any]]) -> None:
    a, b = pairs["flow"]
    both = infoflow.compare(a, b, "projection", hidden=(0, 1)).provenance
    assert both.options == {"quantity": "projection", "hidden": (0, 1)} and both.to_dict()["b"]["prompt"] == ITALY
    marks = [replace(a.provenance, verdict=v) for v in ("exact", "approximate", "unsupported", "")]
    assert [Both(a=marks[0], b=mark).verdict for mark in marks] == ["exact", "approximate", "unsupported", ""]
    assert Both(a=marks[0], b=replace(marks[0], dtype="bfloat16")).dtype == "bfloat16"


def test_a_group_is_swapped_by_hand() -> None:
    """Three layers, a band each. At the last position “bc” is as long as 2, 1, 1 beside “d” of 1: shares 2/3, 1/2, 1/2."""
    one = made.flow(parts={(0, 1, 3): [5, 2, 1]})
    other = made.flow(parts={(2, 1, 3): [5, 1, 3]})
    found = infoflow.swap_ratio(one, other, "bc")
    np.testing.assert_allclose(found.a, [2 / 3, 1 / 2, 1 / 2], atol=1e-6)
    np.testing.assert_allclose(found.b, [1 / 2, 1 / 2, 1 / 4], atol=1e-6)
    assert found.ratios == pytest.approx({"early": 4 / 3, "middle": 1.0, "late": 2.0})
    assert found.to_frame()["difference"].tolist() == pytest.approx([-1 / 6, 0, -1 / 4])
    by_place = infoflow.swap_ratio(one, other, [1, 2], [3], 3, "projection")
    assert by_place.group == ("bc", "d") and found.provenance.options == {"group": "bc"}
    told = {"group": (1, 2), "other": (3,), "position": 3, "metric": "projection"}
    assert by_place.provenance.options == told and by_place.provenance.function == "swap_ratio"
    shallow = replace(found, b=found.b[:2])  # a third of two layers is none
    assert set(shallow.ratios) == {"early", "middle"}


def test_a_swap_ratio_says_whose_residual_it_is_of() -> None:
    one, other = made.flow(parts={(0, 1, 3): [5, 2, 1]}), made.flow(parts={(2, 1, 3): [5, 1, 3]})
    for position, said in (
        (-1, "Of the last residual “bc”"),
        (3, "Of position 3’s residual “bc”"),
        (-2, "Of position -2’s residual"),
    ):
        assert infoflow.swap_ratio(one, other, "bc", position=position).summary().startswith(said)
    after = infoflow.swap_ratio(one, other, "bc", position=None)
    assert after.summary().startswith("Of the residuals after it “bc” in A is so many times what “bc” is in B: ")
    assert "1.33 in early layers, 1.00 in middle layers, 2.00 in late layers." in after.summary()
    none = replace(after, a=np.zeros(3), b=np.zeros(3))
    assert none.summary() == "Neither “bc” nor “bc” is a part of the residuals after it that can be told."


def test_a_swap_ratio_is_a_geometric_mean_of_summed_vectors(pairs: dict[str, tuple[Any, Any]]) -> None:
    """Two tokens as one group, over all positions after it, the long way."""
    a, b = pairs["flow"]
    found = infoflow.swap_ratio(a, b, "of France", "of Italy", position=None)
    shares = []
    for run in (a, b):
        whole = run.grouped(["first", "The", "capital", "name", "name", "is"])
        shares.append(whole.shares(hidden=[0])[:, 5:, 3].mean(1))
    np.testing.assert_allclose([found.a, found.b], shares, atol=1e-6)
    late = np.exp(np.log(shares[0][4:] / shares[1][4:]).mean())
    assert found.ratios["late"] == pytest.approx(late, rel=1e-5)
    assert infoflow.swap_ratio(a, a, "France").ratios == {"early": 1, "middle": 1, "late": 1}
    deep = infoflow.decompose(tiny.model(), "My France is")  # of another depth and tokenizer
    assert len(infoflow.swap_ratio(a, deep, "France").b) == 3


def test_groups_that_are_none_are_refused(pairs: dict[str, tuple[Any, Any]]) -> None:
    a, b = pairs["flow"]
    assert places_of(a, "capital of") == [2, 3]
    for group, said in (
        ("Italy", "has no “Italy”"),
        ("ran", "has no “ran”"),
        ([0, 2], "holds the first token"),
        ([9], "no position 9"),
        ([], "is empty"),
    ):
        with pytest.raises(BadPrompt, match=said):
            infoflow.swap_ratio(a, b, group, "Italy")
    with pytest.raises(BadPrompt, match="No position comes after"):
        infoflow.swap_ratio(a, b, "is", position=None)
    with pytest.raises(BadPrompt, match="holds tokens of the group and others"):
        infoflow.swap_ratio(made.flow(), made.flow(), [1])
    with pytest.raises(BadPrompt, match="no metric 'x'"):
        infoflow.swap_ratio(a, b, "France", "Italy", metric="x")
    negative = infoflow.swap_ratio(a, b, "The", metric="projection")
    assert all(ratio != ratio or ratio > 0 for ratio in negative.ratios.values())


def test_a_scaled_run_changes_only_what_comes_after(demo: infoflow.Model) -> None:
    half = infoflow.logit_lens(demo, FRANCE, targets=[" Paris"], interventions=[Scale("mlp", 0.5, 3)])
    found = infoflow.compare(infoflow.logit_lens(demo, FRANCE, targets=[" Paris"]), half)
    rows = found.axis("row").keys
    assert not found.difference[: rows.index("L3.post")].any() and found.difference[rows.index("L3.post") :].any()
