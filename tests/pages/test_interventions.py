"""The Interventions page: changes are described, tried, listed, switched and removed; every page runs under them."""

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import infoflow
from infoflow.files import links
from infoflow.interventions import Block, Intervention, Mean, Reject, Replace, Resample, Scale, Steer, Zero, described
from infoflow.ui import changes
from tests.helpers.pages import ROOT, ask, button, choose, errors, opened, rows_of, unescaped

PAGE = str(ROOT / "pages/interventions.py")
CHANGE = "after − before"
CUT = '{"source":2,"destination":14,"kind":"block"}'
OTHERS = {
    "information_flow": "flow", "answer": "location", "attention": "attention", "logit_lens": "logit_lens",
    "generation": "generation", "corrections": "generation",
}  # fmt: skip


def texts(app: AppTest) -> str:
    return unescaped(" ".join([*(m.value for m in app.markdown), *(c.value for c in app.caption)]))


def with_changes(page: str, *held: str) -> AppTest:
    app = AppTest.from_file(page, default_timeout=120)
    app.query_params["change"] = list(held)
    return app.run()


def kind(app: AppTest, name: str) -> None:
    next(s for s in app.selectbox if s.label == "Change").set_value(name).run()


def text(app: AppTest, label: str, value: str) -> None:
    next(t for t in app.text_input if t.label == label).set_value(value).run()


@pytest.mark.slow
def test_what_adds_most_is_hidden_by_a_click_and_the_answer_falls(demo: infoflow.Model) -> None:
    app = opened(PAGE)
    assert errors(app) == [] and "Nothing is changed yet" in app.info[0].value
    (block,) = [b for b in app.button if "can't be seen by the last token" in b.label]
    assert "“Mary”, which adds most to “Mary”" in unescaped(block.label)
    told = texts(app)  # what comes of each is said before
    block.click().run()
    assert errors(app) == []
    prompt = "When Mary and John went to the store, John gave a drink to"
    wanted = infoflow.generate(demo, prompt, 1, interventions=[Block(2, 14)])
    outcome = f"the likeliest is now “John” ({float(wanted.probs[0, 0]):.1%})"
    assert outcome in texts(app) and outcome in told
    head = np.unravel_index(infoflow.attention(demo, prompt).head_logits.argmax(), (6, 8))
    silent = infoflow.generate(demo, prompt, 1, k=200, interventions=[Zero("z", int(head[0]), 14, int(head[1]))])
    assert f"stays at {float(silent.prob[0]):.1%}, and is still the likeliest" in told
    shown = {r["name"]: r["value"] for r in rows_of(app, "Next tokens") if r["panel"] == CHANGE}
    assert shown["Mary"] < -0.9 and shown["John"] > 0.9
    assert app.query_params["change"] == CUT and "“Mary” (position 2)" in texts(app)
    button(app, "Switch off").click().run()
    assert errors(app) == [] and "Nothing is changed yet" in app.info[0].value
    button(app, "Switch on").click().run()
    assert "falls from 100.0% to less than 0.1%" in texts(app)
    next(t for t in app.toggle if t.label == "1 intervention").set_value(False).run()
    assert errors(app) == [] and "Nothing is changed yet" in app.info[0].value
    button(app, "Remove").click().run()
    assert "change" not in app.query_params and not [t for t in app.toggle if "intervention" in t.label]


@pytest.mark.slow
def test_lens_and_attention_are_compared_and_what_can_not_show_is_said(demo: infoflow.Model) -> None:
    app = choose(with_changes(PAGE, CUT), "Compare", "attention")
    assert errors(app) == []
    heads = rows_of(app, "Attention moved by each head")
    assert len(heads) == 48 and max(h["moved"] for h in heads) > 0.5
    row = {r["column"]: r["value"] for r in rows_of(app, "Head ") if r["panel"] == CHANGE and r["row"] == "to·2"}
    assert row["Mary"] < 0 and sum(row.values()) == pytest.approx(0, abs=1e-4)
    choose(app, "Compare", "lens")
    assert errors(app) == [] and {r["run"] for r in rows_of(app, "Tokens through the layers")} == {"this", "other"}
    prompt = "When Mary and John went to the store, John gave a drink to"
    one, other = (
        infoflow.logit_lens(demo, prompt, targets=[" Mary"], positions=[-1], interventions=c) for c in ([], [Block(2, 14)])
    )
    moved = {(r["row"], r["column"]): r["value"] for r in rows_of(app, "Each token's probability") if r["panel"] == CHANGE}
    assert moved["L5 MLP", "Mary"] == pytest.approx(float((other.target_probs - one.target_probs)[-1, -1, 0]), abs=1e-6)
    silent = with_changes(PAGE, '{"site":"mlp","layers":5,"kind":"zero"}')
    choose(silent, "Compare", "attention")
    assert errors(silent) == [] and any("No head looks elsewhere" in i.value for i in silent.info)
    nothing = with_changes(PAGE, '{"site":"mlp","factor":1.0,"kind":"scale"}')
    for view in ("flow", "answer"):
        choose(nothing, "Compare", view)
        assert errors(nothing) == [] and any("does not reach it" in i.value for i in nothing.info)


@pytest.mark.slow
def test_a_change_is_described_before_it_is_added() -> None:
    app = opened(PAGE)
    assert any("Choose which tokens" in w.value for w in app.warning) and button(app, "Add this change").disabled
    kind(app, "scale")
    next(t for t in app.text_input if t.label == "Layers").set_value("1-2").run()
    assert "In layers 1 to 2 what attention adds is multiplied by 0.5." in texts(app)
    next(t for t in app.text_input if t.label == "Layers").set_value("five").run()
    assert any("“five” is no layer" in unescaped(w.value) for w in app.warning) and button(app, "Add this change").disabled
    next(t for t in app.text_input if t.label == "Layers").set_value("3").run()
    button(app, "Add this change").click().run()
    assert errors(app) == [] and app.query_params["change"] == '{"site":"attn","factor":0.5,"layers":[3],"kind":"scale"}'
    kind(app, "zero")
    button(app, "Add this change").click().run()  # at the same site: it takes the other's place
    assert errors(app) == [] and app.query_params["change"] == '{"site":"attn","layers":[3],"kind":"zero"}'


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "typed", "held"),
    [
        ("mean", {"Layers": "1"}, Mean("attn", (1,))),
        ("replace", {"Other prompt": "It is so", "Layers": "2"}, Replace("attn", "It is so", (2,))),
        ("resample", {"Layers": "2"}, Resample("attn", (2,))),
        ("steer", {"Towards": "joy", "Away from": "grief"}, Steer("attn", ("joy", "grief"))),
        ("reject", {"Layers": "3"}, Reject("attn", "first", (3,))),
    ],
)
def test_each_kind_has_its_form(name: str, typed: dict[str, str], held: Intervention) -> None:
    app = opened(PAGE)
    kind(app, name)
    for label, value in typed.items():
        text(app, label, value)
    assert described(held) in texts(app)
    button(app, "Add this change").click().run()
    assert links.spelled(held) == app.query_params["change"]


@pytest.mark.slow
def test_one_of_the_stack_is_edited_in_its_place() -> None:
    app = with_changes(PAGE, '{"site":"mlp","factor":0.5,"layers":[1,2],"kind":"scale"}', CUT)
    button(app, "Edit").click().run()
    assert next(t for t in app.text_input if t.label == "Layers").value == "1, 2"
    assert next(n for n in app.number_input if n.label == "Factor").value == 0.5
    text(app, "Layers", "4")
    button(app, "Put it in the place of the one that is edited").click().run()
    assert errors(app) == []
    assert app.query_params["change"] == ['{"site":"mlp","factor":0.5,"layers":[4],"kind":"scale"}', CUT]
    assert button(app, "Add this change")


def test_what_is_edited_keeps_its_places_however_they_were_said() -> None:
    stack = [
        '{"source":"John","destination":-1,"kind":"block"}',
        '-{"site":"mlp","seed":5000,"positions":[99],"kind":"resample"}',
    ]
    app = with_changes(PAGE, *stack)
    button(app, "Edit").click().run()
    assert errors(app) == [] and "“to·2” (position 14) can't see “John” (position 4), “John·2” (position 10)." in texts(app)
    [b for b in app.button if b.label == "Edit"][1].click().run()  # of a longer prompt, and beyond what the form counts to
    assert errors(app) == [] and "becomes what it is in a neutral text (draw 5000)" in texts(app)


@pytest.mark.slow
def test_flow_and_answer_are_compared(demo: infoflow.Model) -> None:
    app = choose(with_changes(PAGE, CUT), "Compare", "flow")
    assert errors(app) == []
    shown = [r for r in rows_of(app, "Change of each source") if r["panel"] == CHANGE]
    rows = {(r["row"], r["source_label"]): r["value"] for r in shown}
    prompt = "When Mary and John went to the store, John gave a drink to"
    one, other = (infoflow.decompose(demo, prompt, interventions=c) for c in ([], [Block(2, 14)]))
    wanted = other.shares(hidden=[0])[5, 14, 2] - one.shares(hidden=[0])[5, 14, 2]
    assert rows["L5", "Mary"] == pytest.approx(float(wanted), abs=1e-6) and wanted < -0.01
    choose(app, "Compare", "answer")
    cells = {(r["row"], r["column"]): r["value"] for r in rows_of(app, "Change of what each residual") if r["panel"] == CHANGE}
    target = one.top[0].id
    before, after = (infoflow.locate(demo, prompt, target, interventions=c) for c in ([], [Block(2, 14)]))
    assert cells["L5", "to·2"] == pytest.approx(after.total - before.total, abs=1e-3)
    assert {b.label for b in app.get("download_button")} >= {"PNG", "CSV", "Python"}, "of every view"


def test_the_flow_of_a_long_prompt_is_compared_by_what_fits() -> None:
    app = with_changes(PAGE, '{"site":"mlp","layers":0,"kind":"zero"}')
    app = choose(ask(app, "The old wizard walked through the forest. " * 12), "Compare", "flow")
    assert len(errors(app)) == 1 and "tokens; the limit is 64" in errors(app)[0]
    button(app, "Run by 16 spans").click().run()
    assert errors(app) == [] and app.selectbox(key="run_by").value == "16 spans"
    sources = {r["source_label"] for r in rows_of(app, "Change of each source") if r["panel"] == CHANGE}
    assert len(sources) == 15, "all but the first, which is set aside"


def test_a_change_that_can_not_be_made_is_said_and_taken_back() -> None:
    app = with_changes(PAGE, '{"site":"mlp","layers":77,"kind":"zero"}')
    assert any("There is no layer 77" in e for e in errors(app))
    button(app, "Remove").click().run()
    assert errors(app) == [] and "Nothing is changed yet" in app.info[0].value
    broken = with_changes(PAGE, "{", '{"kind":"zero","site":"nowhere"}', '{"kind":"burn"}')
    assert errors(broken) == [] and "Nothing is changed yet" in broken.info[0].value


@pytest.mark.slow
@pytest.mark.parametrize("page", OTHERS)
def test_every_page_runs_under_them_and_says_so(page: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple] = []
    plan = infoflow.analyses.interventions.changed_plan

    def noted(model: infoflow.Model, interventions: tuple, *more: object) -> object:
        seen.append(tuple(interventions))
        return plan(model, interventions, *more)

    monkeypatch.setattr(f"infoflow.analyses.{OTHERS[page]}.changed_plan", noted)
    app = with_changes(
        str(ROOT / f"pages/{page}.py"), '{"site":"mlp","layers":0,"kind":"zero"}', '-{"site":"attn","kind":"zero"}'
    )
    tested = {()} if page == "information_flow" else set()  # the model's self-test is a decomposition, of the model as it is
    assert errors(app) == [] and set(seen) - tested == {(Zero("mlp", 0),)}
    assert "1 intervention" in texts(app) and any(t.label == "2 interventions" for t in app.toggle)


def test_the_stack_is_in_the_address_and_has_an_end() -> None:
    def page() -> None:
        from infoflow.interventions import Scale
        from infoflow.ui import address, changes

        for number in range(25):
            changes.add(Scale("mlp", 0.5, number))
        address.write("change")

    app = AppTest.from_function(page).run()
    assert not app.exception and len(app.query_params["change"]) == changes.MOST
    assert links.spelled(Scale("mlp", 0.5, 3)) == '{"site":"mlp","factor":0.5,"layers":3,"kind":"scale"}'


@pytest.mark.slow
def test_another_prompt_keeps_them() -> None:
    app = ask(with_changes(PAGE, '{"site":"mlp","layers":0,"kind":"zero"}'), "The capital of France is")
    assert errors(app) == [] and "1 intervention" in texts(app)


@pytest.mark.slow
def test_tokens_are_followed_however_small_they_are(demo: infoflow.Model) -> None:
    app = with_changes(PAGE, CUT)
    next(m for m in app.multiselect if m.label == "Follow").set_value(["France"]).run()
    prompt = "When Mary and John went to the store, John gave a drink to"
    now = infoflow.logit_lens(demo, prompt, targets=[" France"], positions=[-1], interventions=[Block(2, 14)])
    assert errors(app) == [] and float(now.target_probs[-1, -1, 0]) < 0.001
    assert "Followed: “France” less than 0.1% → less than 0.1%." in texts(app)
    choose(app, "Compare", "lens")
    assert errors(app) == [] and {r["token"] for r in rows_of(app, "Tokens through the layers")} == {"Mary", "John", "France"}
