"""The rows that a data set keeps of a result, cell by cell against what the result itself says of its last position."""

import numpy as np
import pytest

import infoflow
from infoflow.metrics.heads import KINDS
from infoflow.tables import batch as tables
from tests.helpers import tiny

PROMPT = "abcabc Ab 1"


@pytest.fixture(scope="module")
def model() -> "infoflow.Model":
    return tiny.model("qwen2")  # with biases


def test_rows_of_a_flow_are_the_last_positions_shares(model: "infoflow.Model") -> None:
    found = infoflow.decompose(model, PROMPT, sources="words")
    rows = tables.of_flow(found)
    last = len(found.tokens) - 1
    assert len(rows) == found.n_layers * len(found.source_labels)
    for row in rows.itertuples():
        tokens = [p for p in range(last + 1) if found.source_of[p] == row.source]
        for name, metric in (("share", "norm"), ("projection", "projection")):
            own = float(found.shares(metric, "post")[row.layer, last, row.source])
            assert getattr(row, name) == pytest.approx(own, abs=1e-6), (name, row)
        assert row.position == (tokens[0] if tokens else -1)
        assert row.relative == pytest.approx(tokens[0] / last) if tokens else np.isnan(row.relative)
    first = rows[rows["layer"] == 0]
    assert first["token"].tolist() == ["⟨bos⟩", "abcabc", "Ab", "1", "bias"]
    assert first["kind"].tolist() == ["first token", "word", "capitalised", "number", "other"]


def test_rows_of_a_location_are_what_comes_to_its_position(model: "infoflow.Model") -> None:
    found = infoflow.locate(model, PROMPT, "d")
    frame, moves = found.to_frame(), found.moves_frame()
    for row in tables.of_location(found).itertuples():
        after = frame[(frame["row"] == f"L{row.layer}.post") & (frame["position"] >= 0)]
        most = after.loc[after["logit"].idxmax()]
        assert (row.holds_position, row.holds_logit) == (most["position"], pytest.approx(most["logit"]))
        assert row.holds_token == found.labels[row.holds_position]
        assert row.here == pytest.approx(float(after["logit"].iloc[-1])) and row.total == found.total
        assert row.arrives == pytest.approx(float(found.arrived[row.layer, :, -1].sum()), abs=1e-6)
        come = moves[(moves["layer"] == row.layer) & (moves["dest"] == found.position) & (moves["logit"] > 0)]
        best = come.sort_values("logit").iloc[-1]
        assert (row.head, row.from_position) == (best["head"], best["source"]) and row.from_token == found.labels[best["source"]]
        assert row.from_logit == pytest.approx(best["logit"])


def test_rows_of_a_lens_are_its_last_position(model: "infoflow.Model") -> None:
    found = infoflow.logit_lens(model, PROMPT, targets=["d", "e"])
    rows = tables.of_lens(found)
    assert rows["row"].tolist() == list(found.rows) and rows["layer"].tolist() == [-1, 0, 0, 1, 1, 2, 2]
    for at, row in enumerate(rows.itertuples()):
        order = np.argsort(-found.probs[at, -1])
        assert row.token_id == found.token_ids[at, -1, order[0]] and row.token == found.names[row.token_id]
        assert row.probability == found.probs[at, -1].max() and row.final == (row.token_id == found.token_ids[-1, -1, 0])
        assert (row.entropy, row.kl) == (found.entropy[at, -1], found.kl[at, -1])
        assert (row.target_logit, row.against_logit) == tuple(found.target_logits[at, -1])
        assert (row.target_rank, row.against_rank) == tuple(found.target_ranks[at, -1] + 1)
    alone = tables.of_lens(infoflow.logit_lens(model, PROMPT, targets=["d"]))
    assert alone["against_rank"].isna().all() and alone["against_logit"].isna().all() and alone["target_rank"].min() >= 1
    assert tables.predicted(found).id == found.token_ids[-1, -1, 0]  # type: ignore[union-attr]


def test_rows_of_attention_are_its_heads(model: "infoflow.Model") -> None:
    found = infoflow.attention(model, PROMPT)
    rows = tables.of_attention(found)
    assert len(rows) == found.pattern.shape[0] * found.pattern.shape[1]
    for row in rows.itertuples():
        pattern = found.pattern[row.layer, row.head].astype(float)
        last = pattern[-1]
        looks = max(range(1, len(last)), key=lambda p: last[p])
        assert (row.looks_position, row.looks_token) == (looks, found.labels[looks])
        assert (row.first_weight, row.looks_weight) == pytest.approx((last[0], last[looks]))
        assert row.sink_share == pytest.approx(np.mean([pattern[i, 0] for i in range(1, len(pattern))]), abs=1e-6)
        assert row.concentration == pytest.approx(np.mean([max(of) for of in pattern]), abs=1e-6)
        assert row.entropy == pytest.approx(np.mean([-sum(p * np.log(p) for p in of if p > 0) for of in pattern]), abs=1e-5)
        assert row.writes == found.head_logits[row.layer, row.head]
        assert row.kind == found.scores.labels()[row.layer, row.head]
        for kind, name in zip(KINDS, ("previous", "duplicate", "induction"), strict=True):
            own = found.scores.counted[KINDS.index(kind), row.layer, row.head]
            np.testing.assert_equal(getattr(row, name), own)


def test_rows_of_an_attribution_are_both_of_its_splits(model: "infoflow.Model") -> None:
    found = infoflow.attribute(model, PROMPT, "d", against="e")
    rows = tables.of_attribution(found)
    heads = rows[rows["part"] == "head"].set_index(["layer", "head"])["logit"]
    assert all(heads[at] == value for at, value in np.ndenumerate(found.by_head)) and len(heads) == found.by_head.size
    assert rows.loc[rows["part"] == "MLP", "logit"].tolist() == found.by_mlp.tolist()
    sources = rows[rows["part"] == "source"]
    assert sources["position"].tolist() == [*range(len(found.labels)), -1]
    assert sources["token"].tolist() == [*found.labels, "bias"]
    np.testing.assert_allclose(sources["logit"], [*found.by_source, found.bias], rtol=1e-6)
    for some in (sources, rows[rows["part"] != "source"]):
        assert some["logit"].sum() == pytest.approx(found.total, rel=1e-4)
