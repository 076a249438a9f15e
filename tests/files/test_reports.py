"""One HTML file of results: what it says is theirs, whatever is typed is data, and it asks for nothing."""

import base64
import hashlib
import io
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import pytest
from fontTools.ttLib import TTFont

import infoflow
from infoflow.analyses.provenance import UNSUPPORTED
from infoflow.errors import BadPrompt, InfoflowError
from infoflow.files import reports, scripts
from infoflow.files.reports import Part, report
from infoflow.interventions import Zero
from infoflow.pictures import rendering
from infoflow.pictures.picture import Picture, picture_of
from infoflow.studies.corrections import Correction
from tests.helpers import made

HOSTILE = [
    "</script><script>alert(1)</script>", "{{7*7}}{% raw %}", "<img src=x onerror=alert(1)>", "\" onmouseover=\"alert(1)",
    "</title><b>", "<!--", "]]>", "&lt;b&gt;", "javascript:alert(1)", "\u202eevil\u2066", "\u2028\u2029", "\x00\x07", "\udc80",
    "${alert(1)}",
]  # fmt: skip


class Read(HTMLParser):
    """A page as a browser reads it: elements with their attributes, and the text in each."""

    def __init__(self, page: bytes) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[tuple[str, ...], str]] = []
        self.path: list[str] = []
        self.feed(page.decode())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br"):
            self.path.append(tag)

    def handle_endtag(self, tag: str) -> None:
        while self.path and self.path.pop() != tag:
            pass

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((tuple(self.path), data))

    def of(self, tag: str) -> list[str]:
        return [text for path, text in self.texts if tag in path]

    def scripts(self, kind: str | None) -> list[str]:
        kinds = [given.get("type") for tag, given in self.elements if tag == "script"]
        texts = [text for path, text in self.texts if path and path[-1] == "script"]
        return [text for found, text in zip(kinds, texts, strict=True) if found == kind]


@pytest.fixture(scope="module", autouse=True)
def library() -> Any:
    """The library of charts is the same in every page, and takes a second: here a word stands for it."""
    kept, reports._library = reports._library, lambda: "var vegaEmbed;"
    yield
    reports._library = kept


def test_a_report_says_what_its_results_say() -> None:
    flow, found = made.flow(), made.attribution([1.0, -3.0])
    page = Read(report([Part(flow, "Look at\nthe second."), found], title="Two", note="Of one prompt."))
    assert (
        page.of("h1") == ["Two"] and page.of("title") == ["Two"] and page.of("h2") == [picture_of(r).title for r in (flow, found)]
    )
    said = " ".join(page.of("p"))
    assert "Of one prompt." in said and "Look at\nthe second." in said
    for one in (flow, found):
        assert one.summary() in " ".join(page.of("section")) and picture_of(one).note in said
    facts = dict(zip(page.of("dt"), page.of("dd"), strict=True))
    assert facts["model"] == "by-hand" and facts["revision"] == "r1" and facts["computed in"] == "float32"
    assert (
        facts["prompt"] == made.PROMPT
        and facts["worst error"] == "1.0e-06"
        and facts["infoflow"].startswith(infoflow.__version__)
    )
    assert page.of("code") == [scripts.python_of(one.provenance) for one in (flow, found)]
    assert page.of("th")[-3:] == ["position", "token", "logit"] and "-3" in page.of("td")
    assert Read(report(found)).of("h1") == [picture_of(found).title]  # of one alone it is the title


def test_charts_are_those_of_the_pictures_in_light_and_dark() -> None:
    found = made.attribution([1.0, -3.0])
    page = Read(report(found))
    data, specs = [json.loads(text) for text in reversed(page.scripts("application/json"))]
    for theme in ("light", "dark"):
        spec = specs[theme]
        names = {part["data"]["name"] for part in [spec, *spec.get("layer", [])] if "name" in part.get("data", {})}
        whole = {**spec, "datasets": {name: data[name] for name in names}}
        alone, _ = rendering.embedded(picture_of(found, theme == "dark").chart)
        assert whole["datasets"] == alone["datasets"] and {**whole, "config": 0} == {**alone, "config": 0}
        alt.Chart.from_dict(whole)  # what the schema allows
    assert specs["light"] != specs["dark"]


def test_a_view_is_reported_as_it_is_shown() -> None:
    flow = made.flow()
    light = replace(picture_of(flow), title="As I see it", note="By hand.")
    page = Read(report(Part(flow, light=light)))
    specs = json.loads(page.scripts("application/json")[0])
    assert page.of("h1") == ["As I see it"] and not page.of("h2") and "By hand." in page.of("p") and list(specs) == ["light"]
    both = Read(report(Part(flow, light=light, dark=picture_of(flow, True))))
    assert set(json.loads(both.scripts("application/json")[0])) == {"light", "dark"}


@pytest.mark.slow
@pytest.mark.parametrize("bad", HOSTILE)
def test_what_is_typed_is_data(bad: str) -> None:
    """A prompt, a token, a note, a title, a model's name and its intervention: the page has the elements of a plain one."""

    def of(word: str) -> bytes:
        token = word.replace("\udc80", "")  # no token is half a character pair
        found = made.attribution([1.0, -3.0], labels=(token, "b"), tokens=(token, "b"), notes=(word,))
        request = replace(
            found.provenance.request, prompt=word, model=replace(made.SPEC, name=word), interventions=(Zero("z", positions=word),)
        )
        one = replace(found, provenance=replace(found.provenance, request=request))
        return report([Part(one, note=word), one], title=word, note=word)

    page, plain = Read(of(f"a{bad}")), Read(of("plain"))
    assert [tag for tag, _ in page.elements] == [tag for tag, _ in plain.elements]
    names = [sorted(given) for _, given in page.elements]
    assert names == [sorted(given) for _, given in plain.elements] and not any(n.startswith("on") for each in names for n in each)
    assert page.scripts(None) == plain.scripts(None)
    json_of = page.scripts("application/json")
    assert len(json_of) == 3 and all("<" not in text and json.loads(text) for text in json_of)
    shown = "".join(page.of("h1"))
    assert "49" not in shown and (shown == ("a" + bad.replace("\udc80", "?")).strip() or "\x00" in bad)


def test_what_may_turn_the_reading_direction_is_kept_apart() -> None:
    turned = "\u202eevil"
    page = Read(report(Part(made.attribution([1.0], labels=(turned,)), note=turned), title=turned, note=turned))
    for path, text in page.texts:
        if turned in text and "script" not in path and "title" not in path:
            assert path[-1] == "bdi", (path, text)
    assert turned not in "".join(page.of("code"))


def test_the_page_runs_its_own_scripts_and_fetches_nothing() -> None:
    data = report(made.attribution([1.0, -3.0]))
    page = Read(data)
    (policy,) = [given["content"] for tag, given in page.elements if tag == "meta" and "http-equiv" in given]
    assert policy is not None and policy.startswith("default-src 'none'; script-src 'sha256-") and "unsafe-eval" not in policy
    own = re.findall(rb"<script>(.*?)</script>", data, re.S)
    allowed = {base64.b64encode(hashlib.sha256(one).digest()).decode() for one in own}
    assert set(re.findall(r"sha256-([^']+)", policy)) == allowed and len(own) == 2
    assert not [
        given for tag, given in page.elements if {"src", "srcset", "action"} & set(given) or tag in ("link", "iframe", "img")
    ]
    assert all((given["href"] or "").startswith("#") for tag, given in page.elements if tag == "a")


def test_long_tables_say_how_many_rows_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reports, "ROWS", 3)
    page = Read(report(made.attribution([1.0, 2.0, 3.0, 4.0])))
    assert "Table (the first 3 of 5 rows)" in page.of("summary") and len(page.of("tr")) == 3 + 3 * 3
    assert page.of("td")[2::3] == ["1", "2", "3"]


def test_unusual_letters_bring_their_glyphs() -> None:
    plain, found = report(made.attribution([1.0])), report(made.attribution([1.0], labels=("日本 مرحبا 😀",)))
    assert b"@font-face" not in plain
    (data,) = re.findall(rb"src:url\(data:font/ttf;base64,([^)]+)\)", found)
    have = set(TTFont(io.BytesIO(base64.b64decode(data))).getBestCmap())
    assert {ord(char) for char in "日本مرحبا😀"} <= have and len(found) - len(plain) < 60_000


def test_a_comparison_says_what_both_runs_were(demo: "infoflow.Model") -> None:
    plain = infoflow.attention(demo, "The sky is")
    found = infoflow.compare(plain, infoflow.attention(demo, "The sky is", interventions=[Zero("mlp", 1)]))
    page = Read(report(found))
    assert page.of("dt").count("model") == 2 and "changed" in page.of("dt") and len(page.of("code")) == 1
    assert "infoflow.compare(a, b" in page.of("code")[0] and found.summary() in " ".join(page.of("section"))


def test_a_refused_model_is_warned_of() -> None:
    found = made.attribution([1.0])
    refused = replace(found, provenance=replace(found.provenance, verdict=UNSUPPORTED))
    assert "do not rely on what is shown" in " ".join(Read(report(refused)).of("p"))
    assert "rely" not in " ".join(Read(report(found)).of("p"))


@pytest.mark.slow
def test_every_kind_of_result_has_a_report() -> None:
    change = made.change(made.attribution([1.0, 2.0, 3.0]))
    attn = made.attention(np.tile(np.tril(np.ones((3, 3))) / [[1], [2], [3]], (2, 2, 1, 1)))
    several = [
        made.flow(), attn, made.lens([[5, 5, 0], [5, 1, 0], [5, 1, 3]]), made.causal([1.0], [1.0]),
        made.generation([[0.5, 0.3, 0.2]], 3), made.query_key([[0.5, 0.0], [0.0, 1.0]]), made.readers(1.0, [0.5], 2.0),
        made.promotions(5), made.direct(), made.carriers(),
        made.location([[1, 4, 1], [1, 4, 1], [0, 0, 6]]), made.graph([(0, 0, 0, 1.0), (1, 0, 0, 1.0)], [1.0]),
        Correction(answers=(change.before, change.after), changes=(change,), provenance=made.talked()),
    ]  # fmt: skip
    page = Read(report(several))
    assert (
        len(page.of("h2")) == len(page.of("code")) == len(several) and len(page.scripts("application/json")) == len(several) + 1
    )
    assert "13 results of infoflow" in page.of("h1")


def test_it_is_written_where_it_is_wanted(tmp_path: Path) -> None:
    found = made.attribution([1.0])
    assert infoflow.report(found, tmp_path / "r.html") == (tmp_path / "r.html").read_bytes()
    with pytest.raises(InfoflowError, match="can't be written"):
        report(found, tmp_path / "none" / "r.html")
    with pytest.raises(BadPrompt, match="one result or more"):
        report([])


def test_numbers_that_are_none_are_left_out() -> None:
    page = Read(report(made.causal([1.0, 2.0], [1.0, float("nan")])))
    assert "nan" not in " ".join(page.of("td")).lower() and all("NaN" not in text for text in page.scripts("application/json"))


@pytest.mark.slow
def test_the_real_library_ends_no_script() -> None:
    text = rendering.library().decode()
    assert "vegaEmbed" in text and "</script" not in text.lower() and "<!--" not in text and len(text) > 500_000


def test_a_picture_without_data_of_its_own_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    chart = alt.Chart(alt.InlineData(values=[{"a": 1}])).mark_bar().encode(x="a:Q").properties(width="container")
    found = made.attribution([1.0])
    page = Read(report(Part(found, light=Picture(chart, found.to_frame(), "T", "N"))))
    assert json.loads(page.scripts("application/json")[-1])
