"""Bars, coloured text and maps of signed quantities: geometry, honest scales, and specs that render."""

import numpy as np
import pandas as pd
import pytest

import infoflow
from infoflow.charts import signed
from infoflow.charts.palette import signed_ground, signed_ramp
from infoflow.pictures import rendering
from infoflow.pictures.picture import background
from infoflow.tables import attribution as tables
from infoflow.tables import carriers as carrier_tables
from tests.helpers import tiny


def numbers(values: list[float], **more: list) -> pd.DataFrame:
    return pd.DataFrame({"label": [f"t{i}" for i in range(len(values))], "logit": values, **more})


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("values", [[1.0, -2.0, 0.5], [0.0, 0.0], [3.0], [-1.0, -2.0]])
def test_every_chart_renders(values: list[float], dark: bool) -> None:
    table = numbers(values, text=["word"] * len(values), name=["n"] * len(values), row=["L0"] * len(values))
    for chart in (
        signed.columns(table, dark=dark),
        signed.ranking(table, "logit", dark=dark),
        signed.grid(table, "label", "row", "logit", dark=dark),
    ):
        chart.to_dict()  # validates
    assert rendering.chart_svg(signed.columns(table, dark=dark), background(dark)).startswith(b"<svg")


def test_colours_are_symmetric_about_zero() -> None:
    spec = signed.grid(numbers([4.0, -1.0], row=["L0", "L0"]), "label", "row", "logit").to_dict()
    assert spec["encoding"]["color"]["scale"]["domain"] == [-4, 0, 4]
    limited = signed.grid(numbers([4.0, -1.0], row=["L0", "L0"]), "label", "row", "logit", limit=1.0).to_dict()
    assert limited["encoding"]["color"]["scale"]["domain"] == [-1, 0, 1] and limited["encoding"]["color"]["scale"]["clamp"]


def test_tables_of_a_target_add_up_and_keep_to_the_flows_sources() -> None:
    model = tiny.model("qwen2")
    flow = infoflow.decompose(model, "When Mary and John", targets=(65,)).grouped("words")
    found = infoflow.attribute(model, "When Mary and John", 65)
    parts, kept = tables.attributed(flow, found), tables.logit_parts(flow, 65)
    assert parts["logit"].sum() == pytest.approx(found.total, abs=1e-3)
    merged = parts.merge(kept, on="source", suffixes=("", "_kept"))
    np.testing.assert_allclose(merged["logit"], merged["logit_kept"], atol=1e-3)
    pieces = tables.coloured_pieces(flow, parts, hidden=(0,))
    assert pieces["text"].tolist() == ["⟨bos⟩", "When", "Mary", "and", "John"]  # tokens of a word are one piece
    assert pieces["logit"][0] == 0
    assert pieces["logit"][2] == pytest.approx(float(parts.set_index("source_label")["logit"]["Mary"]))


def test_pieces_of_a_script_without_spaces_stay_short() -> None:
    model = tiny.model()
    flow = infoflow.decompose(model, "日本語のテキストはスペースがないので長くなる", sources=["all"] * 67)
    pieces = tables.coloured_pieces(flow, tables.logit_parts(flow, flow.top[0].id), hidden=())
    assert pieces["text"].str.len().max() <= tables.LONGEST_PIECE and len(pieces) > 1


def test_tables_of_carriers_name_layers_heads_and_positions() -> None:
    found = infoflow.carriers(tiny.model(), "When Mary", 1, 6, 3)
    table = carrier_tables.carried(found, 1000)
    assert table["share"].sum() == pytest.approx(1, abs=1e-4)
    assert len(carrier_tables.carried(found, 3)) == 3
    assert table["name"].str.fullmatch(r"L\d head \d from \d+ .+|L\d MLP|its own embedding").all()
    arrived = carrier_tables.arrived(found)
    assert set(arrived["row"]) == {"L2"} and len(arrived) == len(found.tokens) - 6
    assert carrier_tables.readers(found, 5)["name"].str.fullmatch(r"L2 head \d to \d+ .+").all()


def test_a_map_of_writers_has_heads_in_order_and_the_mlp_last() -> None:
    found = infoflow.attribute(tiny.model(), "When Mary", 65)
    table = tables.writers(found)
    assert table["column"].tolist() == [*(f"H{i}" for i in range(4)), "MLP"] * 3
    assert table["logit"].sum() + found.embedding + found.direct_bias == pytest.approx(found.total, abs=1e-4)


@pytest.mark.parametrize("dark", [False, True])
def test_a_ground_is_full_at_the_largest_value_and_plain_at_nothing(dark: bool) -> None:
    low, plain, high = signed_ramp(dark)
    assert [signed_ground(v, 2.0, dark) for v in (-2.0, 0.0, 2.0, 9.0)] == [low, plain, high, high]
    assert signed_ground(1.0, 0.0, dark) == plain and signed_ground(1.0, 2.0, False) == "#b5dcca"
