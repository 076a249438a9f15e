"""Each page alone, without a browser: it opens, answers its controls, and turns bad input into a sentence."""

import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import streamlit as st
from huggingface_hub import constants
from streamlit import dataframe_util
from streamlit.testing.v1 import AppTest
from tokenizers import processors

import infoflow
from infoflow.catalog import MODELS, PRESETS, Entry
from infoflow.errors import BadPrompt
from infoflow.selftest import Check
from infoflow.ui import cache, jobs
from infoflow.ui.views import WINDOW
from tests import tiny

ROOT = Path(__file__).parent.parent
PAGES = sorted(ROOT.glob("pages/*.py"))
FLOW, MODELS_PAGE = str(ROOT / "pages/information_flow.py"), str(ROOT / "pages/models.py")


@pytest.fixture(autouse=True)
def fresh_caches(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("INFOFLOW_LOCAL_FOLDERS", "1")
    monkeypatch.setenv("NDIF_HOST", "http://127.0.0.1:9")  # nobody there, and no test asks the public one
    st.cache_data.clear()
    yield
    st.cache_data.clear()


def opened(path: str = FLOW) -> AppTest:
    return AppTest.from_file(path, default_timeout=120).run()


def errors(app: AppTest) -> list[str]:
    assert not app.exception, app.exception
    return [e.value.replace("\\", "") for e in app.error]


def grid_spec(app: AppTest) -> str:
    return app.get("vega_lite_chart")[0].proto.spec


def button(app: AppTest, label: str):  # type: ignore[no-untyped-def]
    return next(b for b in app.button if b.label == label)


def ask(app: AppTest, prompt: str) -> AppTest:
    app.text_area(key="prompt").set_value(prompt)
    return button(app, "Run").click().run()


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.stem)
def test_every_page_stands_alone(path: Path) -> None:
    app = opened(str(path))
    assert errors(app) == []
    assert app.header[0].value


def test_the_router_opens_the_first_page() -> None:
    assert errors(opened(str(ROOT / "streamlit_app.py"))) == []


def test_opening_shows_a_finished_picture_without_a_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "model", lambda *_: pytest.fail("a model was loaded for the first picture"))
    app = opened()
    assert errors(app) == []
    assert app.text_area(key="prompt").value == PRESETS[0].prompt
    assert "bars" in grid_spec(app) or "token_labels" in grid_spec(app)
    text = " ".join(m.value for m in app.markdown)
    assert "Worst error" in text and "Logits" in text and "Cancellation" in text and "of the norm" in text


def test_looking_never_runs_the_model_again(demo) -> None:  # type: ignore[no-untyped-def]
    passes: list[int] = []
    hook = cache.loaded(cache.HERE, "demo", jobs.Job())._hf.model.embed_tokens.register_forward_hook(lambda *_: passes.append(1))
    try:
        app = ask(opened(), "The dog sat on the mat and looked at the moon")
        assert errors(app) == [] and len(passes) == 1
        before = grid_spec(app)
        for key, values in (
            ("metric", ["projection", "distance", "norm"]),
            ("sources", ["tokens", "custom", "words"]),
            ("emphasis", ["attention", "MLP"]),
            ("colours", ["ordered", "top 8"]),
        ):
            for value in values:
                app.segmented_control(key=key).set_value(value).run()
                assert errors(app) == []
        app.toggle(key="hide_first").set_value(False).run()
        app.multiselect[0].set_value([app.multiselect[0].options[2]]).run()
        app.slider[0].set_value((1, 3)).run()
        assert errors(app) == [] and grid_spec(app) != before
        assert len(passes) == 1
        ask(app, "The cat sat on the hat")
        assert len(passes) == 2
    finally:
        hook.remove()


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ("", "The prompt is empty"),
        (" \n ", "The prompt is empty"),
        ("one two three four five six seven " * 12, "the limit is 64"),
    ],
)
def test_a_bad_prompt_gets_a_sentence_and_the_last_picture_stays(prompt: str, message: str) -> None:
    app = opened()
    before = grid_spec(app)
    ask(app, prompt)
    (error,) = errors(app)
    assert message in error
    assert grid_spec(app) == before
    assert any(PRESETS[0].prompt in c.value.replace("\\", "") for c in app.caption)


@pytest.mark.parametrize("name", ["/no/such/folder", "a/b/c", "/"])
def test_an_unknown_model_gets_a_sentence_and_the_last_picture_stays(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infoflow.ui.inputs.MODELS", (*MODELS, Entry(name, name, "", 0, "")))  # AppTest can't type a new option
    app = opened()
    before = grid_spec(app)
    app.selectbox(key="model").set_value(name)
    ask(app, "hello")
    (error,) = errors(app)
    assert "folder" in error
    assert grid_spec(app) == before


def test_folders_are_off_where_others_can_reach_the_app(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tiny.hf_model("llama").save_pretrained(tmp_path)
    tiny.tokenizer().save_pretrained(tmp_path)
    monkeypatch.setattr("infoflow.ui.inputs.MODELS", (*MODELS, Entry(str(tmp_path), "tiny", "", 0, "")))
    app = opened()
    app.selectbox(key="model").set_value(str(tmp_path))
    assert errors(ask(app, "hello")) == []
    monkeypatch.delenv("INFOFLOW_LOCAL_FOLDERS")  # and the app listens to no address of this machine alone
    cache.model.clear()
    app = opened()
    app.selectbox(key="model").set_value(str(tmp_path))
    assert errors(ask(app, "hello there"))[0].startswith("Give a name on the hub")
    assert "Local folders are off" in captions(opened(MODELS_PAGE))


def test_models_are_loaded_used_and_unloaded() -> None:
    cache.unload("demo")
    app = opened(MODELS_PAGE)
    assert app.dataframe[0].value.set_index("name").loc["demo", "in memory"] == ""
    button(app, "Load here").click().run()
    assert "demo is in memory. exact" in app.success[0].value.replace("\\", "")
    row = app.dataframe[0].value.set_index("name").loc["demo"]
    assert row["in memory"] == "float32 on cpu, 20 MB" and row["self-test"] == "exact" and row["fits here"]
    assert not app.dataframe[0].value.set_index("name").loc["meta-llama/Llama-3.1-405B", "fits here"]
    button(app, "Unload").click().run()
    assert app.dataframe[0].value.set_index("name").loc["demo", "in memory"] == ""
    app.selectbox(key="dtype").set_value("float16").run()
    button(app, "Load here").click().run()
    assert app.dataframe[0].value.set_index("name").loc["demo", "in memory"] == "float16 on cpu, 10 MB"
    button(app, "Unload").click().run()


def test_a_model_that_can_not_be_loaded_gets_a_sentence_on_the_models_page(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    app = opened(MODELS_PAGE)
    app.selectbox(key="models_name").set_value("Qwen/Qwen3-0.6B").run()
    assert "about 1.5 GB" in captions(app)
    button(app, "Load here").click().run()
    assert "can't be reached from here" in errors(app)[0]
    app.text_input(key="hub_search").set_value("pythia").run()
    assert "can't be searched from here" in errors(app)[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    "prompt",
    ["😀 smile 👩‍👩‍👧", "日本語のテキスト", "مرحبا بالعالم", "line one\nline two\n\nline three",
     "<script>alert(1)</script> <b>x</b>",
     "# head *star* _under_ $x^2$ [a](b) `code` :smile:", "a", "\ud7ff\u0000z"],
)  # fmt: skip
def test_any_text_is_data(prompt: str) -> None:
    app = ask(opened(), prompt)
    assert errors(app) == []
    for block in (*app.markdown, *app.caption):
        assert not block.allow_html


def test_hiding_everything_gets_a_sentence_and_the_picture_stays() -> None:
    app = opened()
    labels = app.multiselect[0].options
    app.multiselect[0].set_value(labels[:1]).run()
    before = grid_spec(app)
    app.multiselect[0].set_value(labels).run()
    (error,) = errors(app)
    assert "Every source is hidden" in error
    assert grid_spec(app) == before


@pytest.mark.slow
def test_groups_can_be_merged_named_and_undone() -> None:
    app = ask(opened(), next(p.prompt for p in PRESETS if p.key == "copying"))
    app.segmented_control(key="sources").set_value("custom").run()
    app.multiselect(key="flow_merge").set_value(["password", "SWORDFISH"])
    app.text_input(key="flow_merge_name").set_value("the secret")
    button(app, "Merge").click().run()
    assert errors(app) == []
    assert "the secret" in app.multiselect(key="flow_merge").options
    assert "SWORDFISH" not in app.multiselect(key="flow_merge").options
    button(app, "Undo").click().run()
    assert "SWORDFISH" in app.multiselect(key="flow_merge").options
    button(app, "Tokens").click().run()
    assert errors(app) == []
    assert "SWORDFISH" not in app.multiselect(key="flow_merge").options
    button(app, "Words again").click().run()
    assert "SWORDFISH" in app.multiselect(key="flow_merge").options


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS, ids=lambda p: p.key)
def test_each_example_is_one_click_away(preset) -> None:  # type: ignore[no-untyped-def]
    app = opened()
    app.button_group(key="preset").set_value(preset.title).run()
    assert errors(app) == []
    assert app.text_area(key="prompt").value == preset.prompt
    assert any(preset.expected in c.value for c in app.caption)


def test_a_link_opens_its_prompt() -> None:
    app = AppTest.from_file(FLOW, default_timeout=120)
    app.query_params["prompt"] = PRESETS[2].prompt
    app.run()
    assert errors(app) == []
    assert app.text_area(key="prompt").value == PRESETS[2].prompt


def test_two_visitors_keep_their_own_pictures() -> None:
    first, second = opened(), opened()
    ask(first, "The cat sat on the hat")
    second.run()
    assert second.text_area(key="prompt").value == PRESETS[0].prompt
    assert grid_spec(first) != grid_spec(second)


# ------------------------------------------------------------------ badge, budget, logits, carriers


def data_of(app: AppTest, alt: str) -> list[list[dict]]:
    """The tables behind the chart whose description begins so, row by row."""
    for chart in app.get("vega_lite_chart"):
        if chart.proto.alt.startswith(alt):
            frames = [dataframe_util.convert_arrow_bytes_to_pandas_df(d.data.data) for d in chart.proto.datasets]
            return [frame.to_dict("records") for frame in frames]
    raise AssertionError(f"no chart '{alt}' among {[c.proto.alt for c in app.get('vega_lite_chart')]}")


def rows_of(app: AppTest, alt: str) -> list[dict]:
    return max(data_of(app, alt), key=len)


def captions(app: AppTest) -> str:
    return " ".join(c.value.replace("\\", "") for c in app.caption)


def test_the_badge_and_the_cost_are_shown() -> None:
    app = ask(opened(), "The cat sat on the hat")
    assert errors(app) == []
    assert any("exact" in m.value and "badge" in m.value for m in app.markdown)
    assert re.search(r"7 tokens, each a source: about \d+ MB of memory and less than a second", captions(app))


def test_a_model_that_is_not_exact_is_said_to_be_so(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = Check(verdict="unsupported", reason="The reconstruction error is 5.0e-01.", errors={})
    monkeypatch.setattr(cache, "judge", lambda flow: wrong)
    app = opened()
    assert any("unsupported" in m.value for m in app.markdown)
    assert any("Do not rely on" in w.value and "5\\.0e" in w.value for w in app.warning)


def test_a_prompt_too_large_is_refused_with_numbers_and_runs_that_fit_are_offered() -> None:
    app = ask(opened(), "The old wizard walked through the forest. " * 12)
    (error,) = errors(app)
    assert re.search(r"has \d+ tokens; the limit is 64", error)
    offered = [b for b in app.button if b.label.startswith("Run by")]
    assert {"Run by sentences", "Run by 32 spans"} <= {b.label for b in offered}
    assert all("Takes about" in b.help for b in offered)
    next(b for b in offered if b.label == "Run by 32 spans").click().run()
    assert errors(app) == []
    assert app.selectbox(key="run_by").value == "32 spans"
    assert "tokens in 32 sources: about" in captions(app)
    assert "Below is the last good run" not in captions(app)
    (slider,) = [s for s in app.slider if s.label == "Positions"]
    assert slider.value[1] - slider.value[0] == WINDOW - 1
    slider.set_value((0, 20)).run()
    assert errors(app) == []


def test_no_memory_is_refused_with_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFOFLOW_MAX_MEMORY_MB", "15")
    app = ask(opened(), "The old wizard walked through the forest and saw a cat. " * 4)
    (error,) = errors(app)
    assert re.search(r"need about \d+ MB; 15 MB are allowed", error)
    assert [b.label for b in app.button if b.label.startswith("Run by")]


def test_what_raises_a_logit_for_likely_tokens_needs_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "loaded", lambda place, name, job: pytest.fail("the model ran"))
    app = opened()
    assert "together give the logit: " in captions(app)
    target = next(s for s in app.selectbox if s.label == "Target")
    assert target.options[0].startswith("Mary")
    next(s for s in app.selectbox if s.label == "against").set_value(target.options[1]).run()
    assert errors(app) == []
    assert "together give the logit difference: " in captions(app)
    assert [r["label"] for r in rows_of(app, "Contribution of each source")][:3] == ["When", "Mary", "and"]
    assert [r["text"] for r in rows_of(app, "The prompt, coloured")][:3] == ["⟨bos⟩", "When", "Mary"]


def test_details_of_the_last_cell_hold_the_same_numbers() -> None:
    app = opened()
    table = next(d.value for d in app.dataframe if "cosine" in d.value)
    bars = rows_of(app, "Contribution of each source")
    assert dict(zip(table["source_label"], table["logit"], strict=True)) == pytest.approx({r["label"]: r["logit"] for r in bars})


def test_heads_and_mlps_and_a_centred_logit() -> None:
    app = opened()
    toggles = {t.label: t for t in app.toggle}
    toggles["Heads and MLPs"].set_value(True).run()
    assert errors(app) == []
    rows = rows_of(app, "Direct contribution of each head")
    assert len(rows) == 6 * 9 and rows[8]["column"] == "MLP"
    app.selectbox(key="flow_direct").set_value("without norm").run()
    assert "In this form they sum to" in captions(app)
    next(t for t in app.toggle if t.label == "Centred").set_value(True).run()
    assert errors(app) == [] and "together give the centred logit" in captions(app)


def test_who_carried_it_sums_to_the_cell() -> None:
    app = opened()
    app.segmented_control(key="panel").set_value("Who carried it?").run()
    assert errors(app) == []
    assert "of them add to 100.0%" in captions(app)
    rows = rows_of(app, "Largest carriers")
    assert rows[0]["name"].startswith("L5 ") and len(rows) == 12
    assert "nothing comes after it" in captions(app)
    next(s for s in app.selectbox if s.label == "Source").select_index(2).run()
    assert errors(app) == [] and "of them add to 100.0%" in captions(app)


def test_a_model_that_does_not_run_gets_a_sentence_and_the_picture_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    app = opened()
    before = grid_spec(app)
    broken = SimpleNamespace(lock=threading.RLock(), tested=Check(verdict="unsupported", reason="It does not run.", errors={}))
    monkeypatch.setattr(cache, "model", lambda *_: broken)
    ask(app, "The moon is")
    assert errors(app) == ["It does not run."]
    assert grid_spec(app) == before


def test_a_target_that_fails_draws_nothing_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise BadPrompt("'two words' is 2 tokens here.")

    monkeypatch.setattr(cache, "attribution", refuse)
    app = opened()
    assert any(c.proto.alt.startswith("Contribution of each") for c in app.get("vega_lite_chart"))
    next(t for t in app.toggle if t.label == "Centred").set_value(True).run()
    assert errors(app) == ["'two words' is 2 tokens here."]
    assert not any(c.proto.alt.startswith("Contribution of each") for c in app.get("vega_lite_chart"))
    assert "together give" not in captions(app)


def test_one_source_is_shown_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    alone = infoflow.decompose(infoflow.load_model("demo"), [40])
    monkeypatch.setattr(cache, "sample", lambda name, prompt, method: alone)
    app = opened()
    assert errors(app) == [] and alone.n_layers == 6
    assert "First token" in " ".join(m.value for m in app.markdown)


def test_the_first_sentence_is_no_attention_sink() -> None:
    app = opened()
    app.selectbox(key="run_by").set_value("32 spans")
    ask(app, "The cat sat. It slept.")
    assert errors(app) == []
    assert "Hidden: ⟨bos⟩" in " ".join(m.value for m in app.markdown)


# ------------------------------------------------------------------ logit lens

LENS = str(ROOT / "pages/logit_lens.py")


def lens_cells(app: AppTest) -> list[dict]:
    return rows_of(app, "Logit lens")


def follow(app: AppTest, *tokens: str) -> AppTest:
    app.session_state["lens_follow"] = list(tokens)
    return app.run()


def test_paris_rises_through_the_layers_one_click_away() -> None:
    app = opened(LENS)
    app.pills(key="preset").set_value("Factual recall").run() if hasattr(app, "pills") else ask(app, "The capital of France is")
    assert errors(app) == []
    last = [c for c in lens_cells(app) if c["position"] == 5]
    assert (
        next(c for c in last if c["order"] == 12)["text"] == "Paris" and next(c for c in last if c["order"] == 0)["text"] == "is"
    )
    follow(app, "Paris")
    assert errors(app) == []
    line = [r for r in rows_of(app, "Tokens through the layers") if r["token"] == "Paris" and r["followed"]]
    assert line[-1]["probability"] > 0.9 and line[0]["rank"] > 100
    assert "error 0e+00" in captions(app)


def test_looking_at_the_lens_never_runs_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    app = ask(opened(LENS), "The capital of France is")
    monkeypatch.setattr(cache, "logit_lens", lambda *_, **__: pytest.fail("the model was run"))
    for colour in ("entropy", "KL to output", "lead", "rank"):
        next(g for g in app.button_group if g.label == "Colour").set_value(colour).run()
        assert errors(app) == []
    assert "Type a token to follow" in app.info[0].value
    next(t for t in app.toggle if t.label == "Rows after attention").set_value(False).run()
    assert errors(app) == [] and not any(c["row"].endswith("attn") for c in lens_cells(app))


@pytest.mark.parametrize(("prompt", "message"), [("  ", "empty"), ("x " * 3000, "this model reads at most")])
def test_a_bad_prompt_for_the_lens_gets_a_sentence_and_the_last_table_stays(prompt: str, message: str) -> None:
    app = ask(opened(LENS), "The sky is")
    before = lens_cells(app)
    assert message in errors(ask(app, prompt))[0]
    assert lens_cells(app) == before and "Below is the last good run: The sky is" in captions(app)


def test_a_token_that_is_several_lists_its_pieces() -> None:
    app = follow(ask(opened(LENS), "The sky is"), "not one token")
    assert "tokens here" in errors(app)[0]
    assert errors(follow(app)) == []


def test_long_and_one_token_prompts_have_their_lens() -> None:
    app = ask(opened(LENS), "The cat sat on the mat. " * 20)
    assert errors(app) == []
    assert len({c["position"] for c in lens_cells(app)}) == 24
    ask(app, "a")
    assert errors(app) == [] and len({c["position"] for c in lens_cells(app)}) <= 2


def test_a_lens_that_is_off_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    run = cache.logit_lens
    monkeypatch.setattr(cache, "logit_lens", lambda *a, **k: replace(run(*a, **k), max_error=0.2))
    app = opened(LENS)
    assert errors(app) == [] and "error 2.0e-01. Do not rely on" in app.warning[0].value


@pytest.fixture
def one_token_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A model whose tokenizer puts nothing before a text, so that a prompt can be a single token."""
    tokenizer = tiny.tokenizer()
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(single="$A", special_tokens=[])
    tokenizer.save_pretrained(tmp_path)
    tiny.hf_model("llama").save_pretrained(tmp_path)
    monkeypatch.setattr("infoflow.ui.inputs.MODELS", (*MODELS, Entry(str(tmp_path), str(tmp_path), "", 0, "")))
    return str(tmp_path)


@pytest.mark.parametrize("name", ["information_flow", "attention", "logit_lens", "generation"])
def test_a_single_token_is_no_error_anywhere(name: str, one_token_model: str) -> None:
    app = opened(str(ROOT / f"pages/{name}.py"))
    app.selectbox(key="model").set_value(one_token_model)
    assert errors(ask(app, "a")) == [] and "Below is the last good run" not in captions(app)
    if name == "attention":
        assert "no earlier one to look at" in app.info[0].value
    if name == "generation":
        assert "1.00 in all" in captions(app)  # its only token is not hidden


def test_one_token_s_lead_over_another_colours_the_lens() -> None:
    app = follow(ask(opened(LENS), "The capital of France is"), "Paris", "Rome")
    next(g for g in app.button_group if g.label == "Colour").set_value("lead").run()
    assert errors(app) == [] and not app.info and "of  Paris over  Rome" in captions(app)
    last = next(c for c in lens_cells(app) if c["position"] == 5 and c["order"] == 12)
    assert last["value"] > 3 and 0 < last["strength"] <= 1
    app = follow(app, "Paris")
    assert "Type two tokens" in app.info[0].value


def test_two_prompts_are_compared_through_the_layers() -> None:
    app = follow(ask(opened(LENS), "The capital of France is"), "Rome")
    app.text_input(key="lens_other").set_value("The capital of Italy is").run()
    assert errors(app) == []
    said = " ".join(m.value for m in app.markdown).replace("\\", "")
    assert "This prompt ends with “Paris” (100%), the other with “Rome” (100%)" in said and "differ from" in said
    rows = rows_of(app, "Tokens through the layers of two prompts")
    rome = {r["run"]: r["probability"] for r in rows if r["token"] == "Rome" and r["order"] == 12}
    assert rome["other"] > 0.9 > 0.1 > rome["this"]
    app.text_input(key="lens_other").set_value("x " * 3000).run()
    assert "this model reads at most" in errors(app)[0]
