"""The Circuits page: verdicts, direct contributions that sum, the minimal circuit, the graph."""

import infoflow
from tests.helpers.pages import ROOT, ask, captions, data_of, errors, opened, unescaped

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
