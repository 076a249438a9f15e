"""Pages without a browser: opening them, asking, and reading what they show."""

import html
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import streamlit as st
from streamlit import dataframe_util
from streamlit.testing.v1 import AppTest

st.set_option("client.showErrorDetails", "full")  # as its owner sees a bug: a test that fails says why
ROOT = Path(__file__).parents[2]
FLOW, MODELS_PAGE, LENS = (str(ROOT / f"pages/{name}.py") for name in ("information_flow", "models", "logit_lens"))

PLACES = {
    "/": ("Look", "Information flow"), "/start": ("Look", "Start"), "/answer": ("Look", "Answer"),
    "/attention": ("Look", "Attention"),
    "/logit_lens": ("Look", "Logit lens"), "/activations": ("Look", "Activations"), "/generation": ("Look", "Generation"),
    "/interventions": ("Change", "Interventions"), "/circuits": ("Change", "Circuits"), "/patching": ("Change", "Patching"),
    "/corrections": ("Change", "Corrections"), "/compare": ("Keep", "Compare"), "/sessions": ("Keep", "Sessions"),
    "/batch": ("Keep", "Many prompts"), "/models": ("Models", "Models"), "/owner": ("Models", "Owner"),
}  # fmt: skip
"""addresses of all pages, and where each stands in the menu"""


def opened(path: str = FLOW) -> AppTest:
    return AppTest.from_file(path, default_timeout=120).run()


def errors(app: AppTest) -> list[str]:
    assert not app.exception, app.exception
    return [unescaped(e.value) for e in app.error]


def grid_spec(app: AppTest) -> str:
    return app.get("vega_lite_chart")[0].proto.spec


def button(app: AppTest, label: str):  # type: ignore[no-untyped-def]
    return next(b for b in app.button if b.label == label)


def ask(app: AppTest, prompt: str) -> AppTest:
    app.text_area(key="prompt").set_value(prompt)
    return button(app, "Run").click().run()


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
    return " ".join(unescaped(c.value) for c in app.caption)


def unescaped(text: str) -> str:
    """What a reader sees of text that `blocks.plain` wrote."""
    return text.replace("\\", "").replace("\u2060", "").replace("\xa0", " ")


def popovers(app: AppTest) -> list[str]:
    """What the buttons say that open something."""
    return [block.proto.popover.label for block in _blocks(app._tree) if hasattr(block.proto, "popover")]


def _blocks(block: Any) -> Iterator[Any]:
    children = list(getattr(block, "children", {}).values())
    for child in children:
        if hasattr(child, "children"):
            yield child
        yield from _blocks(child)


def running_text(app: AppTest) -> str:
    """What stands on the page as it was written."""
    return " ".join(html.unescape(re.sub(r"<[^>]*>", "", h.proto.body)) for h in app.get("html"))


def choose(app: AppTest, label: str, value: str) -> AppTest:
    next(g for g in app.button_group if g.label == label).set_value(value)
    return app.run()
