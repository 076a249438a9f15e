"""Charts and tables: geometry, steady colours, and specs that validate."""

import numpy as np
import pandas as pd
import pytest

import infoflow
from infoflow.analyses.flow import Flow
from infoflow.charts import flow as charts
from infoflow.charts.palette import Palette, oklch, source_colours
from infoflow.errors import BadPrompt
from infoflow.pictures import flow as pictures
from infoflow.tables import attribution
from infoflow.tables import flow as tables
from tests.helpers import made, tiny

PROMPT = "The cat sat on the mat"


@pytest.fixture(scope="module")
def flow() -> Flow:
    return infoflow.decompose(tiny.model("qwen2"), PROMPT).grouped("words")


def look(flow: Flow, **more: object) -> charts.Look:
    return charts.Look(colours=pictures.colours_of(flow), **more)  # type: ignore[arg-type]


@pytest.mark.slow
@pytest.mark.parametrize("metric", ["norm", "projection", "distance"])
@pytest.mark.parametrize("hidden", [(), (0,), (0, 3)])
@pytest.mark.parametrize("emphasis", list(charts.Emphasis))
def test_every_picture_is_a_valid_spec(flow: Flow, metric: str, hidden: tuple[int, ...], emphasis: str) -> None:
    spec = pictures.grid(flow, metric, hidden, pictures.Look(emphasis, traced=1), bool(hidden)).chart.to_dict()
    names = {p["name"] for p in spec["params"]}
    assert {"cell", "hover", "pin", "view", "token_labels", "row_names"} <= names
    assert spec["width"] == "container"


def test_segments_fill_each_bar_in_source_order_and_stay_in_their_column(flow: Flow) -> None:
    drawn = charts.segments(flow.to_frame("norm"), look(flow))
    for (_, _, position), bar in drawn.groupby(["layer", "stage", "position"]):
        assert bar.source.is_monotonic_increasing
        assert bar.x.min() >= position and bar.x2.max() <= position + 1
        np.testing.assert_allclose(bar.x.to_numpy()[1:], bar.x2.to_numpy()[:-1], atol=0.01)
        np.testing.assert_allclose((bar.x2 - bar.x).sum(), 0.88, atol=0.01)


def test_negative_shares_hang_below_on_the_same_scale() -> None:
    frame = pd.DataFrame({
        "layer": 0, "stage": "post", "position": 0, "token": "t", "source": [0, 1], "source_label": ["a", "b"],
        "share": [1.5, -0.5],
    })  # fmt: skip
    up, down = charts.segments(frame, charts.Look(colours=["#000000", "#ffffff"])).itertuples()
    assert up.x2 - up.x == pytest.approx(0.88)
    assert down.x2 - down.x == pytest.approx(0.88 / 3)
    assert down.y2 <= up.y


def test_rows_do_not_overlap_and_the_output_is_on_top(flow: Flow) -> None:
    for emphasis in list(charts.Emphasis):
        drawn = charts.segments(flow.to_frame("norm"), look(flow, emphasis=emphasis))
        bands = drawn.groupby(["layer", "stage"]).agg(y=("y", "min"), y2=("y2", "max")).sort_values("y")
        assert (bands.y.to_numpy()[1:] >= bands.y2.to_numpy()[:-1]).all()
        assert bands.index[-1] == (flow.n_layers - 1, "post") and bands.index[0] == (-1, "embed")


def test_folding_keeps_the_largest_and_the_total(flow: Flow) -> None:
    frame = flow.to_frame("norm")
    folded = charts.fold(frame, keep=2)
    cell = ["layer", "stage", "position"]
    assert folded.groupby(cell).size().max() == 3
    pd.testing.assert_series_equal(folded.groupby(cell).share.sum(), frame.groupby(cell).share.sum(), check_exact=False)
    assert folded[folded.source != charts.OTHER].share.max() == frame.share.max()


def test_a_large_grid_is_folded_and_says_so() -> None:
    flow = infoflow.decompose(tiny.model("llama", num_hidden_layers=6), "x" * 60)
    grid = pictures.grid(flow)
    assert grid.folded and grid.segments <= (2 * 6 + 1) * 61 * (charts.FOLDED_TO + 1)


def test_a_layer_range_shows_those_layers_only(flow: Flow) -> None:
    spec = pictures.grid(flow, look=pictures.Look(layers=(1, 1))).chart.to_dict()
    layers = {row["layer"] for data in spec["datasets"].values() for row in data if "source_label" in row and "y2" in row}
    assert layers == {1}


@pytest.mark.parametrize("palette", list(Palette))
@pytest.mark.parametrize("dark", [False, True])
def test_colours_are_steady_and_distinct(palette: str, dark: bool) -> None:
    labels = [f"t{i}" for i in range(20)] + ["bias"]
    colours = source_colours(labels, palette, dark, weights=[float(i) for i in range(21)])
    assert len(colours) == 21 and all(len(c) == 7 for c in colours)
    assert colours == source_colours(labels, palette, dark, weights=[float(i) for i in range(21)])
    assert len(set(colours)) == (21 if palette != "top 8" else 11)


def test_oklch_of_white_and_grey() -> None:
    assert oklch(1.0, 0.0, 0.0) == "#ffffff"
    assert oklch(0.0, 0.0, 0.0) == "#000000"


def test_cell_table_has_share_projection_and_norm_of_what_can_reach_it(flow: Flow) -> None:
    cell = tables.cell(flow, 1, "mid", 7, "norm")
    assert set(cell.sources.source) == set(np.flatnonzero(flow.first_position() <= 7))
    assert cell.sources.share.sum() == pytest.approx(1)
    assert cell.sources.projection.sum() == pytest.approx(1)
    assert cell.error == flow.error[1, 0, 7]
    assert cell.cancellation == pytest.approx(cell.sources.norm.sum() / flow.residual_norm("mid")[1, 7], rel=1e-4)
    embed = tables.cell(flow, -1, "embed", 3)
    assert embed.sources.share.max() == pytest.approx(1) and embed.effective_sources == pytest.approx(1)
    with pytest.raises(BadPrompt, match="no cell"):
        tables.cell(flow, 99, "mid", 0)


def test_trust_states_what_is_hidden(flow: Flow) -> None:
    trust = tables.trust(flow, (0, 2))
    expected = flow.hidden_share((0, 2))[..., flow.source_of != 0].mean()
    assert trust.aside_share == pytest.approx(expected)
    assert trust.max_error == flow.max_error and trust.top_agrees


def test_through_depth_is_the_cells_share(flow: Flow) -> None:
    path = tables.through_depth(flow, 1, 8, "projection")
    assert len(path) == 2 * flow.n_layers
    assert path.share.iloc[-1] == pytest.approx(flow.shares("projection")[-1, 8, 1])


def test_logit_parts_sum_to_the_logit(flow: Flow) -> None:
    target, against = flow.targets[0], flow.targets[1]
    assert attribution.logit_parts(flow, target.id).logit.sum() == pytest.approx(target.logit, abs=1e-3)
    assert attribution.logit_parts(flow, target.id, against.id).logit.sum() == pytest.approx(
        target.logit - against.logit, abs=1e-3
    )


@pytest.mark.parametrize(("layers", "attn"), [(6, 6), (30, 0)])
def test_rows_that_are_close_are_named_once_a_layer(layers: int, attn: int) -> None:
    """Of names that stand on each other a drawing keeps whichever it comes to first, which may be that without a number."""
    frame = made.flow(layers).to_frame()
    spec = charts.grid(frame, ("A", "b", "c", "d"), [0, 1, 1, 2], charts.Look(colours=["#000"] * 3)).to_dict()
    (named,) = [p["value"] for p in spec["params"] if p["name"] == "row_names"]
    assert [name for name in named.values() if name.endswith("MLP")] == [f"L{i} MLP" for i in range(layers)]
    assert sum(name.endswith("attn") for name in named.values()) == attn
