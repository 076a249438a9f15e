"""The Circuits page: verdicts, direct contributions that sum, the minimal circuit, the graph."""

import pytest

import infoflow
from infoflow.pictures.picture import identity
from infoflow.ui.circuits import _token
from tests.helpers.pages import ROOT, ask, captions, choose, data_of, errors, opened, unescaped

PAGE = str(ROOT / "pages/circuits.py")
IOI = "When Mary and John went to the store, John gave a drink to"


def said(app) -> str:  # type: ignore[no-untyped-def]
    return " ".join(unescaped(m.value) for m in app.markdown)


def test_verdicts_and_what_each_part_writes(demo: infoflow.Model) -> None:
    app = opened(PAGE)
    assert not errors(app)
    split = infoflow.attribute(demo, IOI, " Mary", " John")
    assert "Movers copy the answer from its earlier place: yes" in said(app)
    rows = max(data_of(app, "What each head and MLP writes of the lead"), key=len)
    assert len(rows) == 6 * 9 and abs(sum(r["logit"] for r in rows) + split.embedding + split.direct_bias - split.total) < 1e-3
    assert f"they sum to {split.direct_total:+.2f}" in captions(app)
    layer, head = divmod(int(split.by_head.argmax()), 8)
    assert f"Head {layer}.{head}** writes {split.by_head.max():+.2f}" in said(app)


@pytest.mark.slow
def test_what_is_folded_is_run_when_it_is_unfolded(demo: infoflow.Model) -> None:
    app = opened(PAGE)
    for fold in ("circuit", "graph", "roles", "solid"):
        app.session_state[f"fold_{fold}"] = True
    app.run()
    assert not errors(app)
    circuit = infoflow.circuit(demo, IOI, " Mary", " John")
    assert f"{circuit.size} of 54 heads and MLPs keep {circuit.faithfulness:.0%} of the lead alone" in said(app)
    assert infoflow.graph(demo, IOI, " Mary", " John").summary() in said(app)
    rows = max(data_of(app, "The minimal circuit"), key=len)
    assert len(rows) == 54 and "Drag turns it" in captions(app)


def test_another_prompt_has_other_verdicts() -> None:
    app = ask(opened(PAGE), "The dog saw the")
    assert not errors(app) and "MLPs write the answer" in said(app)


def test_a_head_is_told_with_what_it_writes_and_what_reads_it(demo: infoflow.Model) -> None:
    app = opened(PAGE)
    split = infoflow.attribute(demo, IOI, " Mary", " John")
    layer, head = divmod(int(split.by_head.argmax()), 8)
    found = infoflow.readers(demo, IOI, layer, head, " Mary", " John")
    assert found.summary() in captions(app) and "Promoted and suppressed" not in said(app)
    choose(app, "Show", "writes")
    assert not errors(app) and "By what takes it on first" in said(app)
    parts = max(data_of(app, "What reads head"), key=len)
    assert sum(r["logit"] for r in parts) == pytest.approx(found.total, abs=1e-3) and parts[0]["name"] == "directly"
    words = max(data_of(app, f"What head {layer}.{head} promotes and suppresses"), key=len)
    assert len(words) == 8 and words[0]["logit"] == pytest.approx(float(found.promoted[0, 0]), abs=1e-3)
    choose(app, "Show", "moves")
    assert (
        not errors(app)
        and "along all paths" in captions(app)
        and max(data_of(app, f"What head {layer}.{head} brings from where to where"), key=len)
    )


def test_an_mlp_is_told_by_its_readers_and_moves_nothing(demo: infoflow.Model) -> None:
    app = opened(PAGE)
    made = infoflow.attribute(demo, IOI, " Mary", " John").provenance
    app.session_state[f"circuit_head_{identity(made, made.ids)}"] = (4, -1)
    app.run()
    assert not errors(app) and "**MLP 4** writes" in said(app) and "By what takes it on first" in said(app)
    assert infoflow.readers(demo, IOI, 4, -1, " Mary", " John").summary() in captions(app)
    assert not any(group.label == "Show" for group in app.button_group)


def test_a_token_of_an_address_is_a_number_or_what_was_typed() -> None:
    assert [_token(chosen) for chosen in ("#65", "65", "#x", " Paris", None)] == [65, "65", "#x", " Paris", None]
