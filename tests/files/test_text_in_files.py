"""Text in files is text: a spreadsheet computes none of it, a picture has no element from it, a page runs none of it."""

import csv
import io
import json
from html.parser import HTMLParser
from xml.etree import ElementTree

import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as some

import infoflow
from infoflow.files import formats
from infoflow.files.reports import picture_of
from tests.helpers import hostile

FORMULAS = (
    "=1+1",
    " =1+1",
    "-2+3",
    "+1",
    "@SUM(1)",
    "\t=1",
    "\r=1",
    "\n=1",
    "\xa0=1",
    "＝1+1",
    "'=1",
    "''-1",
    '=HYPERLINK("x")',
    "=",
    "-",
)
texts = some.text(some.sampled_from("=+-@＝＋－＠'\" \t\r\n\xa0,;1a"), max_size=8) | some.text(max_size=8)


def cells(data: bytes) -> list[list[str]]:
    return list(csv.reader(io.StringIO(data.decode(), newline="")))


@pytest.mark.slow
@settings(max_examples=300, derandomize=True, deadline=None)
@given(some.lists(texts, min_size=1, max_size=4))
@example(list(FORMULAS))
def test_no_text_of_a_table_is_computed_and_all_come_back(given_texts: list[str]) -> None:
    table = pd.DataFrame({"token": given_texts, "logit": [-1.5] * len(given_texts)})
    (_, *rows) = cells(formats.as_csv(table))
    for (written, number), text in zip(rows, given_texts, strict=True):
        if written.lstrip().startswith(tuple("=+-@＝＋－＠")) or written.startswith(("\t", "\r", "\n")):
            pytest.fail(f"{written!r} would be computed")
        assert formats.of_csv(written) == text and number == "-1.5"


def test_numbers_ordinary_words_and_other_formats_are_left_alone() -> None:
    table = pd.DataFrame(
        {"token": ["the", " cat", "it's", "'tis", "x=1", "1-2"], "logit": [-1.0, 2, -3, 4, -5, 6], "layer": [-1] * 6}
    )
    assert [row[0] for row in cells(formats.as_csv(table))[1:]] == list(table["token"])
    assert [float(row[1]) for row in cells(formats.as_csv(table))[1:]] == list(table["logit"])
    odd = pd.DataFrame({"token": ["=1+1"], "kind": pd.Categorical(["-x"]), "none": [None]})
    assert cells(formats.as_csv(odd))[1] == ["'=1+1", "'-x", ""]
    assert pd.read_parquet(io.BytesIO(formats.as_parquet(odd)))["token"][0] == "=1+1"


@pytest.fixture(scope="module")
def flow(demo: "infoflow.Model") -> "infoflow.Flow":
    return infoflow.decompose(demo, f"=1+1 {hostile.SHORT}")


class Seen(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        assert not [name for name, _ in attrs if name.startswith("on")]


@pytest.mark.slow
def test_a_result_of_a_hostile_prompt_is_a_file_like_any_other(flow: "infoflow.Flow") -> None:
    """A report is opened in a browser in tests/browser/test_reports.py."""
    shown = picture_of(flow)
    svg = ElementTree.fromstring(formats.drawn(lambda: shown, "svg", "#ffffff"))
    kinds = {element.tag.split("}")[-1] for element in svg.iter()}
    assert kinds <= {"svg", "g", "path", "text", "tspan", "line", "rect", "defs", "clipPath", "style", "title"}, kinds
    assert hostile.MARK in "".join(svg.itertext()) and not any("href" in name for e in svg.iter() for name in e.attrib)
    page = formats.drawn(lambda: shown, "html", "#ffffff").decode()
    tags = Seen(page).tags
    assert set(tags) <= {"html", "head", "meta", "title", "style", "script", "body", "div"}, set(tags)
    assert tags.count("script") == 2, "the library, and the chart as data"
    spec = json.loads(formats.drawn(lambda: shown, "vl.json", "#ffffff"))
    assert not [one for one in hostile.expressions(spec) if hostile.MARK in hostile.without_strings(one)]
    words = cells(formats.as_csv(shown.frame, shown))[1][-2]
    assert formats.of_csv(words) == shown.title


def test_the_command_line_writes_no_escapes_to_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    from infoflow.cli.main import main

    assert main(["flow", "a \x1b]0;broken\x07\x1b[31m b"]) in (0, 1)
    said = capsys.readouterr()
    assert "\x1b" not in said.out and "\x1b" not in said.err and "\x07" not in said.out + said.err
