"""Saved runs come back as they were, without pickle; exports hold what they promise."""

import io
import json
import re
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
import vl_convert

import infoflow
from infoflow.analyses.flow import METHOD, Flow, FlowRequest
from infoflow.errors import InfoflowError
from infoflow.files import flows, samples
from infoflow.files import formats as export
from infoflow.models.spec import ModelSpec
from infoflow.pictures import converter, converting, glyphs, rendering
from infoflow.pictures import flow as pictures
from infoflow.text.examples import PRESETS
from tests.helpers import tiny


@pytest.fixture(scope="module")
def flow() -> Flow:
    return infoflow.decompose(tiny.model("qwen2"), "hello <b>w</b>")


def test_a_saved_run_comes_back_as_it_was(flow: Flow, tmp_path: Path) -> None:
    flows.save(flow, tmp_path / "run.npz")
    again = flows.load(tmp_path / "run.npz")
    for field in fields(Flow):
        ours, theirs = getattr(flow, field.name), getattr(again, field.name)
        assert np.array_equal(ours, theirs) if isinstance(ours, np.ndarray) else ours == theirs, field.name


def test_what_is_no_saved_run_gets_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(InfoflowError, match="no file"):
        flows.load(tmp_path / "none.npz")
    (tmp_path / "text.npz").write_text("hello")
    with pytest.raises(InfoflowError, match="no saved run"):
        flows.load(tmp_path / "text.npz")
    np.savez(tmp_path / "pickled.npz", header=np.array([{"a": 1}], dtype=object))
    with pytest.raises(InfoflowError, match="no saved run"):
        flows.load(tmp_path / "pickled.npz")


def test_json_has_what_it_promises(flow: Flow) -> None:
    data = json.loads(export.as_json(flow))
    for key, stage in (("attention_norms", "mid"), ("mlp_norms", "post")):
        assert np.allclose(np.array(data[key]), flow.norms(stage))
        assert np.array(data[key]).shape == (3, len(flow.tokens), len(flow.source_labels))
    assert data["tokens"] == list(flow.tokens)
    assert data["top_predictions"][0]["probability"] == flow.top[0].probability
    assert data["provenance"]["model"] == "tiny-qwen2"


def test_json_keeps_what_is_small(flow: Flow) -> None:
    """A probability of 1e-17 is one, in as few digits as tell it apart; what is none is null."""
    values = np.array([1.3412332e-17, 0.1, np.nan, 3.4e38], dtype=np.float32)
    frame = pd.DataFrame({"prob": values, "token": list("abcd"), "more": values.astype(float) / 3})
    data = export.frame_json(frame, flow.provenance)
    assert b'[1.3412332e-17, "a", 4.47' in data and b'[0.1, "b", 0.0333' in data and b'[null, "c", null]' in data
    rows = json.loads(data)["rows"]
    np.testing.assert_array_equal(np.array([row[0] for row in rows], dtype=np.float32), values)
    np.testing.assert_array_equal(np.array([row[2] for row in rows], dtype=float), frame["more"])


def test_a_folder_whose_name_is_no_text_is_written(flow: Flow) -> None:
    made = replace(flow.provenance, request=replace(flow.provenance.request, model=ModelSpec(name="/a\udcff")))
    assert json.loads(export.as_json(replace(flow, provenance=made)))["provenance"]["model"] == "/a\udcff"


def test_a_picture_that_takes_too_long_is_given_up(flow: Flow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(converter, "PATIENCE", 0.0)
    with pytest.raises(InfoflowError, match="could not be drawn"):
        rendering.chart_svg(pictures.grid(flow).chart, "#ffffff")


def test_tables_come_back_from_their_files(flow: Flow) -> None:
    frame = flow.to_frame()
    pd.testing.assert_frame_equal(pd.read_parquet(io.BytesIO(export.as_parquet(flow.to_frame()))), frame, check_dtype=False)
    csv = pd.read_csv(io.BytesIO(export.as_csv(flow.to_frame())), keep_default_na=False)
    assert set(csv.loc[csv["stage"] == "embed", "layer"]) == {""}  # the embedding is in no layer, and in none of number -1
    csv["layer"] = csv["layer"].replace("", "-1").astype(int)
    pd.testing.assert_frame_equal(csv, frame, check_dtype=False, rtol=1e-5)


def _rewritten(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    with np.load(path) as stored:
        arrays = dict(stored)
    header = json.loads(arrays["header"].tobytes())
    change(header)
    np.savez_compressed(path, **{**arrays, "header": np.frombuffer(json.dumps(header).encode(), dtype=np.uint8)})


def test_a_run_saved_before_there_were_requests_still_opens(flow: Flow, tmp_path: Path) -> None:
    flows.save(flow, tmp_path / "run.npz")

    def as_it_was(header: dict[str, Any]) -> None:
        made = header["provenance"]
        del made["request"], made["weights"], made["verdict"], made["ids"]  # nor was more said of the run
        assert set(made) == {"model", "revision", "dtype", "prompt", "sources", "how", "infoflow", "method"}

    _rewritten(tmp_path / "run.npz", as_it_was)
    again = flows.load(tmp_path / "run.npz")
    np.testing.assert_array_equal(again.gram, flow.gram)
    assert again.provenance.prompt == flow.provenance.prompt and again.provenance.model == flow.provenance.model
    assert again.provenance.request.analysis == "flow" and again.provenance.method == flow.provenance.method


@pytest.mark.parametrize(
    "change",
    [
        lambda header: header.pop("tokens"),
        lambda header: header.update(tokens=5),
        lambda header: header.update(top=[{"token": "a"}]),
        lambda header: header.update(surprise=1),
        lambda header: header.update(logit_error="large"),
        lambda header: header["provenance"]["request"].update(analysis="magic"),
        lambda header: header["provenance"].update(colour="red"),
        lambda header: header.update(provenance={}),
    ],
)
def test_a_header_that_is_not_ours_is_told(change: Callable[[dict[str, Any]], object], flow: Flow, tmp_path: Path) -> None:
    flows.save(flow, tmp_path / "run.npz")
    _rewritten(tmp_path / "run.npz", change)
    with pytest.raises(InfoflowError, match="is no saved run .*Choose a file that infoflow saved"):
        flows.load(tmp_path / "run.npz")


@pytest.mark.slow
def test_pictures_open_offline(flow: Flow) -> None:
    chart = pictures.grid(replace(flow, labels=("<b>w</b>", *flow.labels[1:]))).chart
    assert rendering.chart_png(chart, "#ffffff")[:8] == b"\x89PNG\r\n\x1a\n"
    svg = rendering.chart_svg(chart, "#ffffff").decode()
    assert svg.startswith("<svg") and "<b>" not in svg and "&lt;b&gt;w" in svg  # token text is data
    page = rendering.chart_html(chart, "#ffffff").decode()
    assert 'src="http' not in page and "<b>w" not in page and "\\u003cb>w" in page


@pytest.mark.slow
def test_a_token_can_not_end_the_script_of_an_exported_page(flow: Flow) -> None:
    bad = "</script><script>alert(1)</script>"
    page = rendering.chart_html(pictures.grid(replace(flow, labels=(bad, *flow.labels[1:]))).chart, "#ffffff").decode()
    assert bad not in page and "alert(1)" in page
    assert "\\u003c/script>" in page


@pytest.mark.slow
def test_control_characters_and_odd_predictions_end_no_server(flow: Flow) -> None:
    """An unprintable token among the predictions ends the converter: once the server with it, now a sentence says so."""
    odd = replace(flow.top[0], token="\x0e\x00<&\ud7ff")
    strange = replace(flow, top=(odd, *flow.top[1:]), labels=("\x0e", *flow.labels[1:]))
    with pytest.raises(InfoflowError, match="could not be drawn"):
        rendering.chart_png(pictures.grid(strange).chart, "#ffffff")
    assert rendering.chart_svg(pictures.grid(replace(flow, top=(odd,))).chart, "#ffffff").startswith(b"<svg")


@pytest.mark.slow
def test_vega_lite_is_the_picture_with_its_data_inside(flow: Flow, tmp_path: Path) -> None:
    """What any program draws that reads Vega-Lite: what the SVG has."""
    bad = "</script><script>alert(1)</script> 東京 \ud800"
    drawn = pictures.grid(replace(flow, labels=(bad.replace(" \ud800", ""), *flow.labels[1:])))
    drawn = replace(drawn, title=bad)
    export.write(flow, tmp_path / "flow.vl.json", lambda: drawn, flow.to_frame())
    data = (tmp_path / "flow.vl.json").read_bytes()
    spec = json.loads(data, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert spec["$schema"].startswith("https://vega.github.io/schema/vega-lite/v6") and isinstance(spec["width"], int)
    names = {part["data"]["name"] for part in [spec, *spec["layer"]] if "data" in part}
    assert names <= set(spec["datasets"]) and not re.findall(r'"url": *"', data.decode())
    alt.LayerChart.from_dict(spec)  # what the schema allows
    again = glyphs.with_font(converting.renumbered(vl_convert.vegalite_to_svg(spec)))
    shown = re.sub(r"<style>.*?</style>", "", rendering.chart_svg(drawn.with_words(), "#fffffb").decode())
    assert again.split("<") == shown.split("<")


def test_parquet_keeps_types_and_says_what_it_is_of(flow: Flow) -> None:
    frame = flow.to_frame()
    data = export.as_parquet(frame, pictures.grid(flow))
    words = pyarrow.parquet.read_schema(io.BytesIO(data)).metadata
    assert words[b"infoflow.title"].decode().startswith("Information flow of") and b"Shares of" in words[b"infoflow.note"]
    pd.testing.assert_frame_equal(pd.read_parquet(io.BytesIO(data)), frame, check_dtype=False)
    assert export.check_ending("A.VL.JSON") == "vl.json" and export.check_ending("vl.json") == "json"


def test_an_unknown_ending_or_folder_gets_a_sentence(flow: Flow, tmp_path: Path) -> None:
    with pytest.raises(InfoflowError, match="no ending"):
        export.check_ending("flow.docx")
    with pytest.raises(InfoflowError, match="can't be written"):
        export.write(flow, tmp_path / "nowhere" / "flow.json", lambda: pictures.grid(flow), flow.to_frame())


@pytest.mark.parametrize("preset", PRESETS, ids=lambda p: p.key)
def test_stored_presets_are_what_the_model_gives(preset, demo: infoflow.Model) -> None:  # type: ignore[no-untyped-def]
    stored, fresh = samples.stored(FlowRequest(prompt=preset.prompt)), infoflow.decompose(demo, preset.prompt)
    assert stored is not None, "run `make samples`"
    assert stored.provenance == fresh.provenance and stored.provenance.method == METHOD
    assert stored.tokens == fresh.tokens
    np.testing.assert_allclose(stored.gram, fresh.gram, rtol=1e-3, atol=1e-4 * fresh.gram.max())


@pytest.mark.parametrize("preset", PRESETS, ids=lambda p: p.key)
def test_presets_on_smollm2_are_shown_without_its_weights(preset, monkeypatch: pytest.MonkeyPatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr("infoflow.models.loading.load_model", lambda *_, **__: pytest.fail("a model was loaded"))
    stored = samples.stored(FlowRequest(model=ModelSpec(name="smollm2"), prompt=preset.prompt))
    assert stored is not None, "run `make samples`"
    assert stored.max_error < 1e-5 and stored.top_agrees and stored.n_layers == 30
    made = stored.provenance
    assert made.model == "smollm2" and made.prompt == preset.prompt and made.weights == "4-bit weights, dequantised"
    known = {"ioi": " Mary", "factual": " Paris"}
    if preset.key in known:
        assert stored.top[0].token == known[preset.key]


def test_a_run_of_an_older_method_or_of_other_weights_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    request = FlowRequest(prompt=PRESETS[0].prompt)
    for name, other in (("METHOD", METHOD + 1), ("_weights", lambda model: "others")):
        assert samples.stored(request) is not None
        with monkeypatch.context() as now:
            now.setattr(samples, name, other)
            assert samples.stored(request) is None


def test_only_presets_of_these_models_are_stored() -> None:
    assert samples.stored(FlowRequest(prompt="something else")) is None
    assert samples.stored(FlowRequest(model=ModelSpec(name="other"), prompt=PRESETS[0].prompt)) is None
