"""What holds on every page: it opens alone, by a link, with any text, and turns bad input into a sentence."""

import re
from pathlib import Path

import altair as alt
import pytest
from altair.utils.schemapi import SchemaValidationError
from streamlit.testing.v1 import AppTest

from infoflow.models.catalog import MODELS, Entry
from infoflow.text.examples import PRESETS
from infoflow.ui import blocks
from tests.helpers import tiny
from tests.helpers.pages import FLOW, MODELS_PAGE, ROOT, ask, captions, errors, grid_spec, opened

PAGES = sorted(ROOT.glob("pages/*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.stem)
def test_every_page_stands_alone(path: Path) -> None:
    app = opened(str(path))
    assert errors(app) == []
    assert app.title[0].value


@pytest.mark.slow
@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.stem)
def test_every_chart_is_valid_vega_lite(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages leave the check out; here it is made, and it can fail."""
    monkeypatch.setattr(blocks, "CHECKED", True)
    assert errors(opened(str(path))) == []
    wrong = alt.Chart(alt.Data(values=[])).mark_bar()
    wrong.mark = "nonsense"
    with pytest.raises(SchemaValidationError):
        blocks.chart(wrong)
    monkeypatch.setattr(blocks, "CHECKED", False)
    blocks.chart(wrong)


@pytest.mark.parametrize("name", ["INFOFLOW_MAX_TOKENS", "INFOFLOW_LOCAL_FOLDERS"])
@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.stem)
def test_a_wrong_setting_is_a_sentence_on_every_page(path: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "perhaps")
    assert errors(opened(str(path)))[0].startswith(f"{name} is 'perhaps'; it must be ")


def test_the_router_opens_the_first_page() -> None:
    assert errors(opened(str(ROOT / "streamlit_app.py"))) == []


@pytest.mark.parametrize("name", ["/no/such/folder", "a/b/c", "/"])
def test_an_unknown_model_gets_a_sentence_and_the_last_picture_stays(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("infoflow.ui.asking.MODELS", (*MODELS, Entry(name, name, "", 0, "")))  # AppTest can't type a new option
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
    monkeypatch.setattr("infoflow.ui.asking.MODELS", (*MODELS, Entry(str(tmp_path), "tiny", "", 0, "")))
    app = opened()
    app.selectbox(key="model").set_value(str(tmp_path))
    assert errors(ask(app, "hello")) == []
    monkeypatch.delenv("INFOFLOW_LOCAL_FOLDERS")  # and the app listens to no address of this machine alone
    app = opened()
    app.selectbox(key="model").set_value(str(tmp_path))
    assert errors(ask(app, "hello there"))[0].startswith("Give a name on the hub")
    assert "Local folders are off" in captions(opened(MODELS_PAGE))


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
    before = grid_spec(app)
    for block in (*app.markdown, *app.caption):
        assert not block.allow_html
    ask(app, "  ")  # the caption of the last good run holds the prompt, with what markdown would take for its own escaped
    (told,) = [c.value for c in app.caption if c.value.startswith("Below is the last good run")]
    assert grid_spec(app) == before and not re.search(r"(?<!\\)[*_$`\[<#]", told.replace("\n", " "))


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
    assert grid_spec(first) == grid_spec(second)
    ask(first, "The cat sat on the hat")
    second.run()
    assert second.text_area(key="prompt").value == PRESETS[0].prompt
    assert grid_spec(first) != grid_spec(second) == grid_spec(opened())


@pytest.mark.slow
@pytest.mark.parametrize("name", ["information_flow", "attention", "logit_lens", "generation"])
def test_a_single_token_is_no_error_anywhere(name: str, one_token_model: str) -> None:
    app = opened(str(ROOT / f"pages/{name}.py"))
    app.selectbox(key="model").set_value(one_token_model)
    assert errors(ask(app, "a")) == [] and "Below is the last good run" not in captions(app)
    if name == "attention":
        assert "no earlier one to look at" in app.info[0].value
    if name == "generation":
        assert "1.00 in all" in captions(app)  # its only token is not hidden
