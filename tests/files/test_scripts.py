"""The Python that is written out makes the same result again: run, and compared."""

import ast
import inspect
import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import infoflow
from infoflow.analyses.attention import CalibrationRequest
from infoflow.analyses.patching import PatchRequest
from infoflow.analyses.provenance import Provenance
from infoflow.analyses.request import Request, known
from infoflow.files import scripts
from infoflow.interventions import KINDS, Block, Mean, Noise, Reject, Replace, Resample, Scale, Steer, Zero
from infoflow.models.spec import ModelSpec
from infoflow.pictures.picture import picture_of
from infoflow.text.conversations import Form

PROMPT = "The capital of France is"
CUT = [Scale("mlp", 0.5, range(1, 3), positions=-1), Zero("z", 4, head=[1, 2]), Block("France", -1, layers=5)]
EVERY = [
    *CUT, Steer("resid_pre", (" yes", " no"), 0.25, 2), Mean("mlp", 0), Noise("embed", 0.1, seed=3, positions=2),
    Replace("attn", "The capital of Italy is", 3, positions=(1, -1)), Resample("mlp", 5, positions=1, seed=2),
    Reject("resid_post", layers=1, positions=-2),
]  # fmt: skip
"""one of every kind"""
MADE = {
    "decompose": (lambda m: infoflow.decompose(m, PROMPT, sources="words", targets=[" Paris"]), "gram"),
    "attribute": (
        lambda m: infoflow.attribute(m, PROMPT, " Paris", interventions=[Zero("z", 1, None, 2), Block(2, 5)], contrast="bank"),
        "specific",
    ),
    "logit_lens": (
        lambda m: infoflow.logit_lens(m, PROMPT, 3, [" Paris"], kind="frozen", read="last", rows=["L2.post"], positions=[-1, 0]),
        "target_logits",
    ),
    "locate": (lambda m: infoflow.locate(m, [5, 6, 7, 8], 9, against=10, position=2), "by_cell"),
    "patch": (
        lambda m: infoflow.patch(m, PROMPT, Noise("embed", 2.0, positions="France"), "mlp", layers=[1], units="layers", draws=2),
        "live",
    ),
    "generate": (lambda m: infoflow.generate(m, 'He said "no", and\nleft', 3, temperature=0.7, seed=3, chat=True), "by_source"),
    "query_key": (lambda m: infoflow.query_key(m, PROMPT, 3, 1, -1, 4, against=2, interventions=CUT), "parts"),
    "attention": (lambda m: infoflow.attention(m, PROMPT, interventions=EVERY), "pattern"),
    "carriers": (lambda m: infoflow.carriers(m, PROMPT, 3, 5, "France", "mid", "words", interventions=CUT), "by_head"),
    "causal": (lambda m: infoflow.causal(m, PROMPT, " Paris", " Rome", "swap", sources="words", interventions=CUT), "effect"),
    "circuit": (lambda m: infoflow.circuit(m, PROMPT, " Paris", " Rome", 0.3, texts=["The capital of Italy is"]), "faithfulness"),
    "direct": (lambda m: infoflow.direct(m, PROMPT, " Paris", position=-2, direct="without norm", interventions=CUT), "by_head"),
    "graph": (lambda m: infoflow.graph(m, PROMPT, " Paris", against=" Rome", threshold=0.1, interventions=CUT), "by_source"),
    "patch_pairs": (
        lambda m: infoflow.patch_pairs(m, PROMPT, "The capital of Italy is", heads=[(3, 1), (4, 0), (5, 2)], direction="noising"),
        "heads",
    ),
    "promotions": (lambda m: infoflow.promotions(m, PROMPT, position=2, mids=False, interventions=CUT), "gained"),
    "readers": (lambda m: infoflow.readers(m, PROMPT, 1, 2, " Paris", " Rome", interventions=CUT), "by_head"),
    "roles": (lambda m: infoflow.roles(m, PROMPT, " Paris", against=" Rome", interventions=CUT), "lead"),
    "activations": (lambda m: infoflow.activations(m, PROMPT, interventions=CUT), "z"),
    "stability": (lambda m: infoflow.stability(m, PROMPT, -2, "words", interventions=CUT), "source_labels"),
    "correct": (
        lambda m: infoflow.correct(
            m, "What is the capital of France?", ["No, the answer is Rome.", "Sure?"], interventions=CUT[:1]
        ),
        "turns",
    ),
}


def run(code: str, model: "infoflow.Model", monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A script's names after it has run, where the model that it loads is the one given."""
    monkeypatch.setattr(
        infoflow, "load_model", lambda name, **more: model if name == model.name else pytest.fail(name), raising=False
    )
    names: dict[str, Any] = {}
    exec(compile(code, "script", "exec"), names)
    return names


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(MADE))
def test_a_script_makes_the_same_result(
    name: str, demo: "infoflow.Model", monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    make, field = MADE[name]
    result = make(demo)
    code = scripts.python_of(result.provenance)
    again = run(code, demo, monkeypatch)["result"]
    assert again.provenance.request == result.provenance.request, code
    _same(getattr(again, field), getattr(result, field))
    ours, theirs = picture_of(result), picture_of(again)
    assert theirs.chart.to_dict() == ours.chart.to_dict() and (theirs.title, theirs.note) == (ours.title, ours.note)
    pd.testing.assert_frame_equal(theirs.frame, ours.frame)
    assert result.summary() in capsys.readouterr().out and len(list(tmp_path.glob("*.csv"))) == 1
    assert max(map(len, code.splitlines())) < 200


def _same(one: Any, other: Any) -> None:
    if isinstance(one, np.ndarray):
        np.testing.assert_array_equal(one, other)
    else:
        assert one == other


def test_every_analysis_and_every_intervention_is_among_them() -> None:
    assert set(MADE) | {"calibrate"} == {kind.function for kind in known().values()}
    assert {type(one).__name__ for one in EVERY} == set(KINDS.replace(" and", ",").split(", "))


def test_head_scores_are_drawn_again(demo: "infoflow.Model", monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    request = CalibrationRequest(model=demo.spec, length=5, samples=1, seed=2)
    call = scripts.call_of(request)
    code = f"import infoflow\nmodel = infoflow.load_model('demo')\nresult = {call}"
    again, made = run(code, demo, monkeypatch)["result"], request.run(demo)
    np.testing.assert_array_equal(again.scores, made.scores)


def test_a_notebook_makes_it_too(demo: "infoflow.Model", monkeypatch: pytest.MonkeyPatch) -> None:
    made = infoflow.attribute(demo, PROMPT, " Paris", interventions=[Scale("mlp", 0.5, 1)])
    notebook = json.loads(scripts.notebook_of(made.provenance))
    nbformat = pytest.importorskip("nbformat")
    nbformat.validate(nbformat.from_dict(notebook))
    code = [cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(word in code[0] for word in ("import infoflow", "from infoflow.interventions import Scale"))
    assert code[-1].endswith("\nresult")
    found = run("\n".join(code), demo, monkeypatch)["result"]
    np.testing.assert_array_equal(found.by_source, made.by_source)


def test_what_stands_by_default_is_left_out() -> None:
    request = PatchRequest(prompt="a", corrupted="b", target=5)
    assert scripts.call_of(request) == "infoflow.patch(model, 'a', corrupted='b', target=5)"
    long = replace(request, prompt="x" * 60, interventions=(Steer("resid_pre", ("a", "b"), 0.5, 1), Zero("mlp")))
    assert scripts.call_of(long).splitlines()[1:5] == ["    model,", f"    '{'x' * 60}',", "    corrupted='b',", "    target=5,"]
    assert "Steer(site='resid_pre', direction=('a', 'b'), factor=0.5, layers=1), Zero(site='mlp'))" in scripts.call_of(long)


def test_values_are_written_as_they_are_read() -> None:
    for value in ('it\'s "so"', "a\nb\\", "日本 😀", "\udc80", (1,), (), ((1, 2), "a"), 0.1, None, True, -3):
        assert ast.literal_eval(scripts.literal(value)) == value
    assert scripts.literal(Form.CHAT) == repr(Form.CHAT.value)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        (ModelSpec(name="demo", revision="sha256:ab", device="cpu", dtype="float32"), "load_model('demo', dtype='float32')"),
        (ModelSpec(name="a/b", revision="c0ffee"), "load_model('a/b', revision='c0ffee')"),
        (ModelSpec(name="a/b", device="cuda:1", dtype="bfloat16"), "load_model('a/b', dtype='bfloat16', device='cuda:1')"),
        (ModelSpec(name="a/b", host="https://api.ndif.us"), "load_model('a/b', remote=True, host='https://api.ndif.us')"),
    ],
)
def test_the_model_is_loaded_as_it_was(spec: ModelSpec, said: str) -> None:
    made = Provenance(request=PatchRequest(prompt='"""\\', model=spec), dtype="float32")
    code = scripts.python_of(made)
    assert f"model = infoflow.{said}\n" in code and ("# its weights were sha256:ab" in code) == (spec.name == "demo")
    ast.parse(code)


def test_what_a_file_says_of_its_weights_and_model_is_no_code() -> None:
    """A session may come from anybody: its texts stay in a comment and in the docstring."""
    for bad in ("\nraise SystemExit", "\rraise SystemExit", "\0", '"""\nraise SystemExit', "\\", "\udc80", "\u2028x"):
        spec = ModelSpec(name=f"a{bad}", revision=f"sha256:a{bad}")
        made = Provenance(request=PatchRequest(prompt=f"b{bad}", model=spec), dtype="float32", infoflow=f"1{bad}")
        code = scripts.python_of(made)
        ours = ast.parse(scripts.python_of(Provenance(request=PatchRequest(prompt="b"), dtype="float32"))).body
        assert [type(one) for one in ast.parse(code).body] == [type(one) for one in ours], code
        assert json.loads(scripts.notebook_of(made))["nbformat"] == 4


def test_every_request_can_be_written(every_request: list[Request[Any]]) -> None:
    """Each as a call that binds to its function, with all that the request holds."""
    for request in every_request:
        call = ast.parse(scripts.call_of(request)).body[0]
        assert isinstance(call, ast.Expr) and isinstance(call.value, ast.Call)
        names: dict[str, Any] = {}
        made = scripts.python_of(Provenance(request=request, dtype="float32"))
        imports = [line for line in made.splitlines() if line.startswith(("import", "from"))]
        exec("\n".join(imports), names)
        function = getattr(infoflow, request.function)
        given = eval(
            f"dict_of({scripts.call_of(request).partition('(')[2]}", {**names, "model": None, "dict_of": _noted(function)}
        )
        for name, value in request.arguments().items():
            assert given[name] == value or list(given[name]) == list(value), (request.analysis, name)


def _noted(function: Any) -> Any:
    signature = inspect.signature(function)

    def note(*args: Any, **named: Any) -> dict[str, Any]:
        bound = signature.bind(*args, **named)
        bound.apply_defaults()
        return bound.arguments

    return note


@pytest.fixture
def every_request() -> list[Request[Any]]:
    found: list[Request[Any]] = []
    values = {"prompt": PROMPT, "layer": 1, "head": 2, "query": -1, "key_position": 1, "source": 0, "position": 2, "target": 5}
    for kind in known().values():
        held = {f.name: values[f.name] for f in fields(kind) if f.name in values}
        if kind.analysis == "corrections":
            held["prompt"] = ("What?", "No.", "Never.")
        found.append(kind(**held, interventions=(Block(1, (0,)), Zero("mlp", 1))))
    return found


COMPARED = {
    "two prompts": lambda m, _: infoflow.compare(
        infoflow.decompose(m, PROMPT), infoflow.decompose(m, "The capital of Italy is"), "projection", hidden=["of"]
    ),
    "a change": lambda m, _: infoflow.compare(
        infoflow.locate(m, PROMPT, " Paris"), infoflow.locate(m, PROMPT, " Paris", interventions=[Block(2, 5)])
    ),
    "two models": lambda m, other: infoflow.compare(infoflow.attention(m, PROMPT), infoflow.attention(other, PROMPT)),
    "a name": lambda m, _: infoflow.swap_ratio(
        infoflow.decompose(m, PROMPT), infoflow.decompose(m, "The capital of Italy is"), "France", "Italy", position=None
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPARED)
def test_a_comparison_is_made_again_by_two_calls(
    name: str, demo: "infoflow.Model", monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a script and as a notebook, with the same numbers; a model of its own is loaded for each side that has one."""
    monkeypatch.chdir(tmp_path)
    other = infoflow.load_model("demo", dtype="bfloat16")
    result = COMPARED[name](demo, other)
    loaded: list[str] = []

    def load(_: str, dtype: str = "auto", **more: Any) -> "infoflow.Model":
        loaded.append(dtype)
        return other if dtype == "bfloat16" else demo

    monkeypatch.setattr(infoflow, "load_model", load)
    notebook = json.loads(scripts.notebook_of(result.provenance))
    cells = [cell["source"] for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert cells[-1].endswith("\nresult")
    for code in (scripts.python_of(result.provenance), "\n".join(cells)):
        names: dict[str, Any] = {}
        exec(compile(code, "script", "exec"), names)
        assert names["result"].to_frame().equals(result.to_frame()), code
    assert len(loaded) == (4 if name == "two models" else 2) and result.summary() in capsys.readouterr().out
