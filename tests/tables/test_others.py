"""Tables of attributions, carriers, corrections and models, on results made by hand."""

from dataclasses import replace

import numpy as np
import pytest

from infoflow.models.catalog import MODELS
from infoflow.models.hub import Found
from infoflow.ndif.service import Deployment
from infoflow.settings import Settings
from infoflow.tables import attribution, carriers, corrections, models, owner, start
from tests.helpers import made


def test_parts_of_a_logit_the_largest_first() -> None:
    found = attribution.logit_parts(made.flow(), 0)
    assert list(found.itertuples(index=False, name=None)) == [(1, "bc", -4), (2, "d", 2), (0, "A", 1)]
    lead = attribution.logit_parts(made.flow(), 0, 1)
    assert list(lead.itertuples(index=False, name=None)) == [(2, "d", -6), (1, "bc", -5), (0, "A", -1)]


def test_what_each_source_adds_to_the_likeliest_in_reading_order() -> None:
    assert start.raised(made.flow())[["label", "logit"]].values.tolist() == [["A", 1], ["bc", -4], ["d", 2]]


def test_an_attribution_is_summed_by_the_flows_sources() -> None:
    flow, found = made.flow(), made.attribution([1.0, 2.0, -5.0, 0.5], bias=7.0)
    table = attribution.attributed(flow, found)
    assert list(table.itertuples(index=False, name=None)) == [(1, "bc", -3), (0, "A", 1), (2, "d", 0.5)]
    biased = replace(flow, source_labels=("A", "bc", "d", "bias"))
    assert attribution.attributed(biased, found)["logit"].tolist() == [7, -3, 1, 0.5]


def test_coloured_pieces_are_words_as_they_stand_in_the_prompt() -> None:
    flow = made.flow()
    table = attribution.logit_parts(flow, 0)
    assert list(attribution.coloured_pieces(flow, table, (2,)).itertuples(index=False, name=None)) == [
        ("A", 1),
        ("bc", -4),
        ("d", 0),
    ]

    def pieces(tokens: list[str], labels: list[str], source_of: list[int]) -> list[str]:
        made_of = made.flow(tokens=tuple(tokens), labels=tuple(labels), source_of=np.array(source_of))
        return attribution.coloured_pieces(made_of, table, ())["text"].tolist()

    assert pieces(["<s>", "x", " y", "\n"], ["⟨bos⟩", "x", "y", "⏎"], [0, 0, 0, 0]) == ["⟨bos⟩x", "y", "⏎"]
    assert pieces(["a", "b", "</s>", "c"], ["a", "b", "⟨eos⟩", "c"], [0, 0, 0, 1]) == ["ab", "⟨eos⟩", "c"]
    assert pieces([" ", "a", "b", " "], ["␣", "a", "b", "␣"], [0, 0, 1, 1]) == ["a", "b", "␣"]
    assert pieces(["日", "", "", "x"], ["日₁", "日₂", "日₃", "x"], [0, 0, 0, 1]) == ["日", "x"]  # one character, one piece
    assert pieces(["日", "", "", "x"], ["日₁", "日₂", "日₃", "x"], [0, 1, 2, 2]) == ["日", "日₂", "日₃x"]
    assert pieces([" " * 9, "x", "-" * 99, "y"], ["␣×9", "x", "-", "y"], [0, 1, 2, 2]) == ["␣×9", "x", "-" * 43 + "…", "y"]
    assert pieces(["x" * 12, "y" * 12, "z", "w"], ["x", "y", "z", "w"], [0] * 4) == ["x" * 12 + "y" * 12, "zw"]


def test_writers_are_heads_in_order_and_the_mlp_last() -> None:
    found = attribution.writers(made.attribution([1.0, 2.0]))
    assert list(found.itertuples(index=False, name=None)) == [
        ("L0", "H0", 1, 0, 0), ("L0", "H1", 2, 0, 1), ("L0", "MLP", 5, 0, -1), ("L1", "H0", 3, 1, 0), ("L1", "H1", 4, 1, 1),
        ("L1", "MLP", 6, 1, -1),
    ]  # fmt: skip


def test_carriers_are_named() -> None:
    table = carriers.carried(made.carriers(), 9)
    assert table["name"].tolist() == ["L0 head 1 from 0 A", "L0 MLP", "L1 head 0 from 1 B", "its own embedding", "biases"]
    assert table["share"].tolist() == pytest.approx([0.6, 0.4, -0.3, 0.2, 0.1])
    assert carriers.carried(made.carriers(), 2)["name"].tolist() == ["L0 head 1 from 0 A", "L0 MLP"]


def test_what_arrived_begins_at_the_cell() -> None:
    mid = carriers.arrived(made.carriers())
    assert list(zip(mid["row"], mid["label"], strict=True)) == [("L1", "B"), ("L1", "C"), ("L2", "B"), ("L2", "C")]
    assert mid["share"].tolist() == pytest.approx([0.4, 0.5, 0.7, 0.8])
    assert carriers.arrived(made.carriers(stage="post"))["row"].tolist() == ["L2", "L2"]
    readers = carriers.readers(made.carriers(), 9)
    assert list(readers.itertuples(index=False, name=None)) == [("L2 head 1 to 2 C", -0.5), ("L2 head 0 to 2 C", 0.25)]
    assert len(carriers.readers(made.carriers(), 1)) == 1


def test_attention_at_an_answer_is_summed_by_word() -> None:
    several = np.zeros((2, 2, 1, 3))
    several[0, 0, 0], several[0, 1, 0] = (1, 0, 0), (0.5, 0.5, 0)
    several[1, 0, 0], several[1, 1, 0] = (0.5, 0.3, 0.2), (0.1, 0.1, 0.8)
    found = made.answer(generation=made.generation(several, 3))

    def shares(level: str, hide: bool = True) -> tuple[dict[str, float], float]:
        table, first = corrections.attended(found, level, 1, 0, hide)
        return dict(zip(table["name"], table["share"], strict=True)), first

    assert shares("last layer") == (pytest.approx({"b": 0.4 / 1.4, "c": 1 / 1.4}), pytest.approx(0.3))
    assert shares("one head", hide=False) == (pytest.approx({"a": 0.5, "b": 0.3, "c": 0.2}), pytest.approx(0.5))
    assert shares("mean of all") == (pytest.approx({"b": 0.9 / 1.9, "c": 1 / 1.9}), pytest.approx(0.525))
    assert found.generation.pattern[1, 0, 0, 0] == 0.5
    assert corrections.top(found)["probability"].tolist() == pytest.approx([0.7, 0.1])


def test_answers_side_by_side_the_output_first() -> None:
    found = corrections.layers(made.answer("old"), made.answer("new"))
    assert found.columns.tolist() == ["layer", "“old”", "others", "“new”", "others after"]
    assert found["layer"].tolist() == ["Layer 1", "Layer 0", "Embedding"] and found.index.tolist() == [0, 1, 2]
    assert found["“old”"].tolist() == pytest.approx([8 / 50, 5 / 50, 2 / 50])
    assert corrections.layers(made.answer("old"), made.answer("old")).columns.tolist()[3] == "“old” (after)"
    assert corrections.layers(made.answer("old")).columns.tolist() == ["layer", "“old”", "others"]


def test_turns_and_words_of_a_change() -> None:
    long, least = "x" * 35, "y" * 34
    changed = made.change(made.attribution([1.0, 2.0, -1.0], bias=0.5), parts=(long, least, least), part_of=np.array([0, 2, 2]))
    table = corrections.turns(changed)
    assert table["label"].tolist() == ["x" * 33 + "…", least, least + "·2", "bias"] and table["said"][0] == long
    assert table["logit"].tolist() == [1, 0, 1, 0.5]
    words = corrections.words(changed)
    assert list(words.itertuples(index=False, name=None)) == [
        ("A", 1, long),
        ("B", 2, least),
        ("C", -1, least),
        ("bias", 0.5, "bias"),
    ]
    assert (
        len(corrections.words(made.change(made.attribution([1.0, 2.0, 3.0])))) == 3 and corrections.words(made.change(None)).empty
    )


def test_where_an_answer_changed_is_said() -> None:
    lens = made.lens([[5, 5, 5], [5, 5, 2], [5, 5, 0]], mids=False)

    def change(lead: list[float], ranks: list[int]) -> corrections.Change:
        logits, order = np.zeros_like(lens.target_logits), np.ones_like(lens.target_ranks)
        logits[:, -1, 1], order[:, -1, 1] = lead, ranks
        followed = replace(lens, target_logits=logits, target_ranks=order)
        return made.change(made.attribution([1.0, 2.0, -0.5]), lens=followed)

    def said(lead: list[float], ranks: list[int]) -> str:
        return corrections.said(change(lead, ranks))

    def wins(lead: list[float], ranks: list[int]) -> str:
        return corrections.wins(change(lead, ranks))

    lead = "“new” leads “old” by 2.50 logits"
    assert said([-1, 1, 2], [5, 1, 0]) == f"{lead}, for good from layer 0, after MLP on."
    assert said([1, 1, 2], [0, 0, 1]) == f"{lead}, for good from embedding on."
    level = f"{lead}; read layer by layer, the two are level at the output: neither is ahead for good."
    assert said([-1, 1, 0], [5, 0, 0]) == level
    assert (
        wins([-1, 1, 2], [5, 1, 0])
        == wins([1, 1, 2], [0, 0, 1])
        == "The likeliest of all tokens it is from layer 1, after MLP on."
    )
    assert wins([-1, 1, 0], [5, 0, 0]) == "" == corrections.wins(made.change(None))
    assert corrections.said(made.change(None)).startswith("Both answers begin with the same token")
    assert corrections.said(made.change(None, after=made.answer("old"))).startswith("The answer did not change")
    assert corrections.other_answers(("a", "b"), ("a", "c")) == (
        "The model answers otherwise than when this was saved: answer 2 is “c”, saved was “b”."
    )
    assert corrections.other_answers(("a", "b"), ("a",)) == ""


def test_the_catalogue_says_what_fits_and_where_it_is() -> None:
    demo = models.Held("demo", "llama", 5, "float32", "cpu", 20_000_000, "exact")
    other = models.Held("me/mine", "gpt2", 70, "bfloat16", "cpu", 140_000_000, "approximate")
    up = [Deployment("openai-community/gpt2", "main", "HOT", "RUNNING"), Deployment("demo", "main", "WARM", "X"),
          Deployment("Qwen/Qwen2.5-0.5B", "main", "COLD", "X")]  # fmt: skip
    found = models.models([demo, demo, other], up, free=4 * 494_000_000).set_index("name")
    assert list(found.index) == [*(m.name for m in MODELS), "me/mine"]
    assert found["on NDIF"].tolist()[:5] == ["", "", "in memory", "cold", ""]
    assert (
        found.loc["demo", "in memory"] == "float32 on cpu, 20 MB, float32 on cpu, 20 MB"
        and found.loc["demo", "self-test"] == "exact"
    )
    assert found["fits here"].tolist()[:5] == [True, True, True, False, False] and found["fits here"].iloc[-1]
    assert found["needs"].tolist()[2] == "496 MB" and found.loc["me/mine", "in memory"] == "bfloat16 on cpu, 140 MB"
    small = models.models([other], None, free=1, per_parameter=2).set_index("name")
    assert small.loc["me/mine", "fits here"] and not small.loc["demo", "fits here"]
    assert small["on NDIF"].tolist() == ["", "", *["unknown"] * (len(MODELS) - 1)] and small.loc["demo", "needs"] == "10 MB"


def test_a_model_that_is_held_twice_is_told_apart() -> None:
    one, two = (
        models.Held("me/mine", "gpt2", 70, "float32", "cpu", 140_000_000, "exact", revision) for revision in ("abc", "def")
    )
    names = models.models([one, two], None, 10**9)["name"].tolist()
    assert names[-2:] == ["me/mine@abc", "me/mine@def"]
    assert models.models([one, replace(two, revision="abc")], None, 10**9)["name"].tolist().count("me/mine") == 1


def test_lists_of_the_service_and_of_the_hub() -> None:
    listed = models.deployed([Deployment("a/b", "main", "WARM", "Deploying")])
    assert listed.to_dict("records") == [{"model": "a/b", "revision": "main", "state": "deploying", "level": "warm"}]
    assert models.versions({"torch": ("1", "2")}).to_dict("records") == [{"package": "torch", "here": "1", "there": "2"}]
    hub = [Found("a/b", "llama", 10, False, 7), Found("c/d", "mamba", 0, True, 3), Found("e/f", "gpt2", 11, False, 1)]
    found = models.found_on_hub(hub, free=10_000_000 * 4 + 1)
    assert found["in the table"].tolist() == [True, False, True] and found["fits here"].tolist() == [True, False, False]
    assert (
        found["parameters"].iloc[0] == 10
        and np.isnan(found["parameters"].iloc[1])
        and found["gated"].tolist() == [False, True, False]
    )
    assert found["downloads"].tolist() == [7, 3, 1] and models.found_on_hub(hub, 22_000_001, 2)["fits here"].tolist() == [
        True,
        False,
        True,
    ]
    assert models.found_on_hub(hub, 40_000_000)["fits here"].tolist() == [False] * 3


def test_settings_are_told_as_they_are_in_force_and_secrets_are_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INFOFLOW_MAX_MEMORY_MB", raising=False)
    for name, value in (("MAX_TOKENS", "12"), ("SHARE_KEY", "1"), ("UNLOAD", "0"), ("OWNER_TOKEN", "zq17x")):
        monkeypatch.setenv(f"INFOFLOW_{name}", value)
    monkeypatch.delenv("NDIF_API_KEY", raising=False)
    table = owner.in_force(Settings()).set_index("variable")
    said = {name: tuple(table.loc[name]) for name in table.index}
    assert said["INFOFLOW_MAX_TOKENS"] == ("12", True) and said["INFOFLOW_OWNER_TOKEN"] == ("a secret", True)
    assert said["INFOFLOW_SHARE_KEY"] == ("1", True) and said["INFOFLOW_UNLOAD"] == ("0", True)
    assert said["INFOFLOW_MAX_MEMORY_MB"] == ("none", False) and said["NDIF_API_KEY"] == ("none", False)
