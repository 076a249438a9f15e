"""What is said above pictures, of results made by hand: each number is the result's; of weak numbers no winner is named."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from infoflow.analyses.result import Prediction
from infoflow.studies.corrections import Correction
from infoflow.summaries import (
    attention,
    attribution,
    carriers,
    causal,
    corrections,
    direct,
    flow,
    generation,
    graph,
    location,
    logit_lens,
    promotions,
    query_key,
    readers,
)
from infoflow.summaries.sentence import would_say
from tests.helpers import made

END = {"layer": 2, "stage": "post", "position": 3}


def texts(found: Any) -> list[str]:
    return [sentence.text for sentence in found]


@pytest.mark.parametrize(
    ("parts", "hidden", "said"),
    [
        ({}, None, "“bc” is 50% of the last position after layer 2; most of it came in layer 0."),
        (
            {(2, 1, 3): [1, 5, 1], (1, 1, 3): [1, 2, 2], (0, 1, 3): [1, 1, 9]}, None,
            "“bc” is 83% of the last position after layer 2; its largest step was in layer 1 (+40%).",
        ),
        ({(2, 1, 3): [1, 1, 5]}, None, "The last position after layer 2 is 83% its own, “d”; of the others “bc” has most (17%), "
         "and most of it came in layer 0."),
        ({(2, 1, 3): [9, 1, 1]}, (), "The first token, “A”, is 82% of the last position after layer 2, as attention sinks are: "
         "hide it to see what the others are."),
    ],
)  # fmt: skip
def test_what_the_last_position_is_made_of(parts: dict[Any, list[float]], hidden: Any, said: str) -> None:
    first, second = flow.sentences(made.flow(parts=parts), hidden=hidden)
    assert first.text == said and first.place == END
    assert second.text == "The next token is “t0” (50%); “d” adds most (+2.0) to its logit, -1.0." and second.place == {
        "target": 0
    }


def test_sources_of_one_size_name_none_and_weak_predictions_are_called_so() -> None:
    gram = np.ones((1, 2, 5, 5, 5)) * np.eye(5)
    gram[..., 1, 1] = 1.21
    names = ("A", "b", "c", "d", "e")
    even = made.flow(
        gram=gram.astype(np.float32), tokens=names, labels=names, token_ids=tuple(range(5)), word_labels=names,
        source_labels=names, source_of=np.arange(5), embedding_norm=np.ones(5, np.float32),
        error=np.zeros((1, 2, 5), np.float32),
        top=(Prediction(" x", 1, 0.06, 2.0),), targets=(Prediction(" x", 1, 0.06, 2.0),),
        source_logits=np.ones((5, 1), np.float32),
    )  # fmt: skip
    first, second = texts(flow.sentences(even, hidden=()))
    assert first == "No source stands out in the last position after layer 0: the largest, “b”, is 22%, and 5.0 of 5 count."
    assert second.startswith(
        "The model is not sure of the next token: the likeliest, “x”, has 6%; the first token, “A”, adds most"
    )
    capped = replace(even, top=(Prediction(" x", 1, 0.6, 2.0, 5.0),))
    assert texts(flow.sentences(capped, hidden=()))[1].endswith("and then “b” (+1.0) to its logit before the soft cap, 5.0.")


@pytest.mark.parametrize("error", [0.5, float("nan")])
def test_parts_that_are_not_the_whole_name_no_winner(error: float) -> None:
    wrong = np.full((3, 2, 4), error, np.float32)
    (only,) = texts(flow.sentences(made.flow(error=wrong)))
    assert "nothing here names a winner" in only
    weights = [[0.5, 0.3, 0.2]]
    for of in (
        logit_lens.sentences(made.lens([[1, 2]] * 3, max_error=error)),
        generation.sentences(made.generation(weights, 3, max_error=error)),
        attribution.sentences(made.attribution([1.0, 2.0], max_error=error)),
        carriers.sentences(made.carriers(max_error=error)),
        location.sentences(made.location([[1, 2, 3]] * 3, max_error=error)),
        corrections.sentences(made.change(made.attribution([1.0], max_error=error)))[-1:],
    ):
        assert len(of) == 1 and "names a winner" in of[0].text


def pattern(last: list[float]) -> np.ndarray:
    found = np.zeros((2, 2, 3, 3))
    found[..., 0, 0], found[..., 1, :2] = 1, (0.2, 0.8)
    found[..., 2, :] = last
    return found


def test_the_head_that_matters_is_named_with_what_it_reads() -> None:
    (said,) = attention.sentences(made.attention(pattern([0.1, 0.7, 0.2])))
    assert said.text == "Head 1.1 reads “B” (70%) and adds +3.0 to the logit of “next”, the likeliest next token (80%)."
    assert said.place == {"layer": 1, "head": 1} and attention.best_head(made.attention(pattern([0.1, 0.7, 0.2]))) == (1, 1)
    unsure = made.attention(pattern([0.1, 0.7, 0.2]), next_token=Prediction(" x", 3, 0.05, 1.0))
    assert texts(attention.sentences(unsure))[0].startswith("The model is not sure what comes next; head 1.1 reads “B”")
    sink = attention.sentences(made.attention(pattern([0.9, 0.06, 0.04])))
    assert sink[0].text.startswith("Head 1.1 looks mostly at the first token, “A” (90%), and adds +3.0")
    assert sink[1].text == "55% of all weight lies on “A”, as attention sinks take it."


def test_no_head_is_named_where_none_stands_out() -> None:
    many = np.zeros((2, 20, 3, 3))
    many[..., 0] = 0.4
    many[..., 2, 1] = 0.6
    even = made.attention(many, head_logits=np.full((2, 20), 0.5, np.float32))
    weak = "No head stands out at the last position: the largest, head 0.0, adds +0.5 to the logit of “next”, the likeliest next "
    assert texts(attention.sentences(even)) == [f"{weak}token (80%), and all that raise it +20.0."]
    lowered = made.attention(many, head_logits=np.full((2, 20), -0.5, np.float32))
    assert texts(attention.sentences(lowered))[0].startswith("No head stands out")
    assert texts(attention.sentences(made.attention(np.ones((1, 1, 1, 1))))) == [
        "This prompt is a single token, which every head looks at."
    ]


@pytest.mark.parametrize(
    ("likeliest", "said", "row"),
    [
        ([5, 2, 2], "At the last position “n2” leads from layer 0, after attention on (50% there, 50% at the output); the row "
         "below says “n5”.", 1),
        ([2, 2, 2], "At the last position every row, the embedding included, already names the output's “n2” (50%).", 0),
        ([2, 5, 2], "At the last position the output alone names “n2” (50%); the row below says “n5”.", 2),
    ],
)  # fmt: skip
def test_from_which_row_on_the_answer_leads(likeliest: list[int], said: str, row: int) -> None:
    probs = np.full((3, 1, 2), 0.5, np.float32)
    (found,) = logit_lens.sentences(made.lens([[i] for i in likeliest], probs=probs))
    assert found.text == said and found.place == {"row": row, "position": 0}
    (unsure,) = logit_lens.sentences(made.lens([[i] for i in likeliest], probs=probs / 10))
    assert unsure.text == "The model is not sure at the last position: its likeliest token, “n2”, has 5%."


def test_up_to_where_the_contrast_says_it_too() -> None:
    probs = np.full((4, 1, 2), 0.5, np.float32)

    def said(other: list[int], contrast: str = "bank", kind: str = "frozen") -> tuple[str, ...]:
        ids = np.stack([np.array([[i] for i in other]), np.full((4, 1), 8)], -1)
        lens = made.lens([[5], [2], [2], [2]], mids=False, probs=probs, kind=kind, contrast=contrast, other_ids=ids)
        return tuple(s.text for s in logit_lens.sentences(lens)[1:])

    assert said([2, 3, 3, 3]) == ("In none of them does a neutral text's state read the same.",)
    too = "Up to layer 0, after MLP a neutral text's state reads “n2” there too: that is hindsight, not news of this prompt."
    assert said([3, 2, 3, 3]) == (too,)
    too = "In 1 of these 3 rows the contrast's state reads “n2” there too: there it is no news of this prompt."
    assert said([3, 3, 2, 3], "abc", "logit") == said([3, 3, 3, 2], "abc", "logit") == (too,)
    too = "Up to the output the contrast's state reads “n2” too, so that nothing here is news of this prompt."
    assert said([3, 2, 2, 2], "abc") == (too,)


def test_of_states_that_are_read_at_the_last_position_the_clearest_is_named() -> None:
    """Token 1 is the answer; the last position's own states are left out."""
    probs = np.array([[0.1, 0.3, 0.9], [0.2, 0.6, 0.9], [0.1, 0.1, 1.0]], np.float32)

    def said(ids: list[list[int]], **more: Any) -> str:
        both = np.stack([probs, probs], -1)
        lens = made.lens(ids, mids=False, kind="frozen", read="last", answer_probs=both, **more)
        (one,) = logit_lens.sentences(lens)
        return one.text

    assert said([[1, 1, 1], [5, 1, 1], [5, 5, 1]]) == (
        "Read at the last position, “B” (position 1) names “n1” most clearly at layer 0, after MLP (60%)."
    )
    other = np.ones((3, 3, 2), int)
    assert said([[1, 5, 1], [1, 5, 1], [5, 5, 1]], contrast="bank", other_ids=other).endswith(
        "“A” (position 0) names “n1” most clearly at layer 0, after MLP (20%); so does a neutral text's state in its place."
    )
    assert said([[5, 5, 1]] * 3) == "Of the states that are read, none but the last position's own names “n1” there by itself."


def test_what_a_written_token_rests_on_and_where_the_model_was_least_sure() -> None:
    weights = [[0.5, 0.3, 0.2, 0.0], [0.3, 0.2, 0.1, 0.4]]
    (first,) = generation.sentences(made.generation(weights, 3))
    assert first.text == "Token 1 of 2 is “d” (70%); “c” adds most (+3.0) to its logit, 10.0." and first.place == {"step": 0}
    second, least = generation.sentences(made.generation(weights, 3, prob=np.array([0.7, 0.2]), softcap=30.0), step=1)
    assert second.text == "Token 2 of 2 is “e” (20%); “d” adds most (+8.0) to its logit before the soft cap, 26.0."
    assert least.text == "The model was least sure of “e”, token 2 (20%)." and least.place == {"step": 1}
    assert len(generation.sentences(made.generation(weights, 3, prob=np.array([0.7, generation.SURE])))) == 1  # it was sure
    biased = made.generation(weights, 3, bias=np.array([9.0, 0.0]))
    assert "the weights' biases add most (+9.0)" in generation.sentences(biased)[0].text
    sink = made.generation(weights, 3, by_source=np.array([[5.0, 1.0, 2.0, 0.0], [1.0, 1.0, 1.0, 1.0]], np.float32))
    assert "the first token, “a”, adds most (+5.0) and then “c” (+2.0)" in generation.sentences(sink)[0].text


def test_the_turn_that_changed_an_answer() -> None:
    change = made.change(made.attribution([1.0, 2.0, -0.5]))
    where, which = texts(corrections.sentences(change))
    assert where.startswith("“new” leads “old” by 2.50 logits") and which == "“question: q” added most to that lead: +2.00."
    assert texts(corrections.sentences(made.answer("b"))) == ["The model answers “b”; its first token has 70%."]
    whole = Correction(answers=(change.before, change.after), changes=(change,), provenance=made.talked())
    assert texts(corrections.sentences(whole)) == [where, which]
    assert len(corrections.sentences(made.change(None))) == 1


def test_what_raises_a_logit_and_who_brought_a_source() -> None:
    raised, wrote = attribution.sentences(made.attribution([1.0, 2.0, -0.5]))
    assert raised.text == "Of the logit, +2.5, “B” adds most (+2.0); “C” lowers it most (-0.5)." and raised.place == {
        "position": 1
    }
    assert wrote.text == "Of all heads, 1.1 writes most of it here itself: +4.0." and wrote.place == {"layer": 1, "head": 1}
    assert texts(attribution.sentences(made.attribution([-1.0, -2.0])))[0].startswith(
        "No token raises the logit, -3.0; “B” lowers"
    )
    (brought,) = carriers.sentences(made.carriers())
    assert brought.text == "L0 head 1 from 0 A brought more of “A” here than any other: +60% of it."
    assert brought.place == {"layer": 0, "head": 1}
    (moved,) = texts(promotions.sentences(made.promotions(3)))
    assert moved == "L0 attn raised a token's probability most of all blocks: “n3” by 30%."
    still = replace(made.promotions(3), gained=np.zeros((3, 4), np.float32))
    assert texts(promotions.sentences(still)) == ["No block raised any token's probability by as much as 0.01 %."]


def test_with_a_contrast_hindsight_and_what_is_beyond_it_are_named() -> None:
    def said(own: list[float], specific: list[float]) -> str:
        return would_say(np.array(own), np.array(specific), "abc").text

    assert (
        said([3, 1, 1], [0, 1, 0.5])
        == "“a” would say +3.0 of its +3.0 in the contrast too; beyond the contrast “b” says most (+1.0)."
    )
    assert said([0, 1, -1], [0, 1, -1]) == "Beyond the contrast “b” says most (+1.0)."
    assert said([1, 1, 1], [0, -1, 0]) == "No token says more of it here than the contrast's does."
    found = made.attribution([1.0, 2.0], specific=np.array([0.0, 2.0], np.float32), contrast="a cc", contrast_total=0.5)
    assert texts(attribution.sentences(found))[1].endswith("says most (+2.0).")


def test_where_an_answer_was_and_what_moved_it() -> None:
    said = made.location([[1, 4, 1], [1, 4, 1], [0, 0, 6]], [(1, 1, 1, 2, 4.0), (1, 0, 1, 2, 0.5), (1, 0, 0, 2, 1.0)])
    was, moved = location.sentences(said)
    assert was.text == (
        "Of the logit of “b” (+6.0) the largest part is at “B” up to layer 0, after MLP (+4.0 there), "
        "and at “C” from layer 1, after MLP on."
    )
    assert was.place == {"row": 2, "position": 2}
    assert moved.text == "Heads 1.1 and 1 more move most of all: +4.5 from “B” to “C”." and moved.place == {"layer": 1, "head": 1}
    (only,) = texts(location.sentences(made.location([[1, 2, 3], [0, 0, 6], [0, 0, 6]], against=2, against_name="c")))
    assert only == "Of “b” over “c” (+6.0) the largest part is at “C” from the embedding on."
    held = made.location([[3, 4, 1], [1, 4, 1], [0, 0, 8]], specific=np.array([[0, 3, 1], [0, 4, 1], [0, 0, 8.0]], np.float32))
    assert location.sentences(held)[1].text == (
        "“A” would say +3.0 of its +3.0 in the contrast too; beyond the contrast “B” says most (+3.0)."
    )
    assert location.sentences(held)[1].place == {"row": 0, "position": 1}
    (first, _) = texts(location.sentences(made.location([[4, 1, 1], [0, 0, 6], [0, 0, 6]], [(0, 0, 0, 2, 4.0)])))
    assert "the largest part is at “A” (the first token) up to the embedding (+4.0 there)" in first
    (moved_on, *_) = texts(location.sentences(made.location([[4, 1, 1], [1, 4, 1], [0, 0, 6]])))
    assert "the largest part is at “B” still at layer 0, after MLP (+4.0 there)" in moved_on
    (none,) = texts(location.sentences(made.location([[-1, 0, 0]] * 3)))
    assert none == "The logit of “b” is -1.0, so that there is no answer to locate."
    by_biases = replace(made.location([[1, 0, -1], [0, 0, -1], [0, 0, -1]]), total=2.0)
    (said_by,) = texts(location.sentences(by_biases))
    assert said_by == (
        "Of the logit of “b” (+2.0) “C” holds -1.0 at the end: it is the weights' biases, or what was put in, that says it."
    )


def test_a_test_by_removal_says_how_well_contributions_foretell_it() -> None:
    found = made.causal([9.0, 1.0, 2.0, 3.0, 0.5], [0.0, 2.0, 4.0, 5.5, float("nan")])
    said, worst = causal.sentences(found)
    assert said.text.startswith("Over 3 sources without the first, contributions correlate with what removing them does by 1.00")
    assert worst.text == "They are furthest apart at “A”: it contributes +9.0, and removing it takes +0.0 away."
    assert worst.place == {"position": 0}
    words = replace(made.causal([9.0, 1.0], [0.0, 2.0]), tokens=tuple("ABCD"), source_of=np.array([1, 0, 0, 1]))
    assert causal.sentences(words)[1].place == {"position": 1}  # where a source of several tokens begins
    (few, _) = texts(causal.sentences(made.causal([1.0, 2.0], [1.0, 2.0])))
    assert few == "There are too few sources to correlate contributions with what removing them does."
    (none,) = texts(causal.sentences(made.causal([1.0], [float("nan")])))
    assert none == "No source could be removed in this way."


def test_a_score_says_where_it_stands_in_its_row_and_what_it_is_made_of() -> None:
    found = made.query_key([[0.5, 0.0, -1.0], [0.0, 0.0, 0.0], [3.0, 0.0, 0.5]])
    looks, largest = query_key.sentences(found)
    assert looks.text == "Head 1.0 of “C” looks at “A” (75%): score 3.0, the highest of 3."
    assert looks.place == {"layer": 1, "head": 0, "position": 2}
    assert largest.text == (
        "The largest part is “C” in the query by “A” in the key (+3.0); of the query's sources “C” adds most in all (+3.5), of "
        "the key's “A” (+3.5)."
    )
    lower = replace(found, scores=np.array([3.0, 4.0, -1.0]))
    assert texts(query_key.sentences(lower))[0].endswith("score 3.0, after 1 higher one, of 3.")
    rather = replace(found, against=1, scores=np.array([3.0, 0.0, -1.0]))
    assert texts(query_key.sentences(rather))[0].endswith("(75%) rather than at “B” (12%): its score is +3.0 above that one's.")
    (none,) = texts(query_key.sentences(made.query_key([[2.0]])))
    assert none.startswith("Head 1.0 of “A” looks at “A”, the only one")
    position = replace(found, parts=np.zeros((3, 3)), by_position=3.0)
    assert texts(query_key.sentences(position))[1] == "The position adds most of it (+3.0)."
    assert texts(query_key.sentences(replace(found, parts=-np.abs(found.parts))))[1] == "No pair of sources raises it."
    (off,) = texts(query_key.sentences(replace(found, max_error=0.1)))
    assert off.startswith("The parts miss the whole by 1e-01")


def test_a_graph_says_what_it_keeps_who_brings_most_and_its_largest_move() -> None:
    paths = [(0, 1, 1, 3.0), (0, 2, 2, 1.0), (1, 1, 2, 3.0), (1, 2, 2, 1.0)]
    kept, brings, move = graph.sentences(made.graph(paths, [0.0, 2.5, 1.0]))
    assert (
        kept.text == "88% of the logit of “b” (+4.0) comes along 1 move between positions of at least 10% of it and what stays."
    )
    assert brings.text == "Along these paths “B” adds most (+2.5)." and brings.place == {"position": 1}
    assert move.text == "The largest move is in layer 1, +3.0 from “B” to “C”, most of it by head 1.1."
    assert move.place == {"layer": 1, "head": 1}
    (little,) = texts(graph.sentences(made.graph(paths, [0.0, 0.5, 1.0])))
    assert little.startswith(
        "The logit of “b” is +4.0, and 38% of it comes along 1 move between positions of at least 10% of it: they do not say"
    )
    (nothing,) = texts(graph.sentences(made.graph(paths, [0.0, 0.5, 1.0], total=0.0)))
    assert "there is no share that comes along" in nothing
    stays = graph.sentences(made.graph(paths[1:2] + paths[3:], [0.0, 0.0, 1.0], threshold=0.0))
    assert (
        texts(stays)[0] == "100% of the logit of “b” (+1.0) comes along no move between positions and what stays."
        and len(stays) == 2
    )


def test_a_writer_says_what_it_adds_and_who_takes_it_on() -> None:
    by_way, promotes = readers.sentences(made.readers(1.0, [0.5, -0.25], 2.0))
    assert by_way.text == (
        "Head 0.1 adds +3.25 of +10.00 to the lead along all paths: +1.00 directly, +2.25 through others, most through MLP 1 "
        "(+2.00)."
    )
    assert by_way.place == {"layer": 0, "head": 1}
    assert promotes.text == (
        "Its write at this position promotes “␣b” most (+3.00) and suppresses “␣c” most (-2.00), directly."
    ).replace("␣b", readers.tables.visible(" b")).replace("␣c", readers.tables.visible(" c"))
    of_logit = made.readers(0.5, [0.0, -2.0], 1.0, head=-1, against=None, against_name=None, logit_total=0.1)
    assert texts(readers.sentences(of_logit))[0] == (
        "MLP 0 adds -0.50 to the logit along all paths: +0.50 directly, -1.00 through others, most through head 1.1 (-2.00)."
    )
    weak = made.readers(1.0, [0.01, 0.02], 0.03, promoted=np.full((2, 2), [[0.01], [-0.01]], np.float32))
    assert [t.rpartition(", ")[2] for t in texts(readers.sentences(weak))] == [
        "none of which takes much of it on.", "Its write at this position moves no token by much directly.",
    ]  # fmt: skip
    against = made.readers(1.0, [0.5], 0.0, promoted=np.full((2, 2), [[0.01], [-2.0]], np.float32))
    assert "and suppresses " in texts(readers.sentences(against))[1]  # though it promotes nothing by much
    last = made.readers(1.0, [], 0.0, head=-1, layer=1)
    assert texts(readers.sentences(last))[0].endswith("+1.00 directly, for nothing comes after it.")
    (off,) = texts(readers.sentences(made.readers(1.0, [], 0.0, max_error=0.1)))
    assert "nothing here names a winner" in off


def test_which_head_and_mlp_write_most_themselves() -> None:
    said = "head 1.1 writes most of all heads itself (+4.0), and of the MLPs that of layer 1 (+6.0)."
    assert texts(direct.sentences(made.direct())) == [f"Of the logit, +21.8, {said}"]
    assert texts(direct.sentences(made.direct(against=2))) == [f"Of the difference, +21.8, {said}"]
    assert texts(direct.sentences(made.direct(max_error=0.1)))[0].startswith("The parts miss the whole")


def test_every_result_has_a_summary_in_python() -> None:
    results = (
        made.flow(), made.attention(pattern([0.1, 0.7, 0.2])), made.lens([[1, 2]] * 3), made.generation([[0.5, 0.3, 0.2]], 3),
        made.change(made.attribution([1.0])), made.answer(), made.attribution([1.0, 2.0]), made.carriers(), made.promotions(3),
        made.causal([1.0, 2.0, 3.0], [1.0, 1.0, float("nan")]),
        made.location([[1, 2, 3], [0, 0, 6], [0, 0, 6]]), made.query_key([[1.0, 2.0], [3.0, 4.0]]),
        made.graph([(0, 0, 0, 3.0), (1, 0, 1, 3.0)], [3.0, 0.0]), made.readers(1.0, [0.5], 2.0),
        made.direct(),
    )  # fmt: skip
    for result in results:
        assert result.summary().endswith(".") and "nan" not in result.summary()
    assert made.flow().summary() == " ".join(texts(flow.sentences(made.flow())))


def test_of_a_model_that_was_refused_no_winner_is_named() -> None:
    for found in (made.flow(), made.attention(pattern([0.1, 0.7, 0.2])), made.lens([[1, 2]] * 3), made.attribution([1.0, 2.0])):
        refused = replace(found, provenance=replace(found.provenance, verdict="unsupported"))
        assert refused.summary() == "The self-test refused this model, so that nothing here names a winner."
