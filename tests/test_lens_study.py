"""The study of lenses: docs/lenses.ipynb runs, and its layers are those that one finds the long way."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import infoflow
from infoflow.interventions import Replace
from tests.helpers import notebooks

ROOT = Path(__file__).parent.parent
NOTEBOOK = ROOT / "docs/lenses.ipynb"


Ran = tuple[dict[str, Any], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def ran() -> Ran:
    """The cells of two prompts a kind."""
    return notebooks.run(NOTEBOOK, EACH=2)


@pytest.fixture(scope="module")
def study(ran: Ran) -> dict[str, Any]:
    """What they leave behind."""
    return ran[0]


@pytest.mark.slow
def test_the_notebook_runs_and_shows_charts(ran: Ran) -> None:
    _, shown = ran
    charts = [data["image/png"] for data in shown if "image/png" in data]
    assert len(charts) == 3 and all(chart[:8] == b"\x89PNG\r\n\x1a\n" for chart in charts)
    assert any("none: the median causal layer" in data["text/plain"] for data in shown), "the table"


@pytest.mark.slow
def test_every_prompt_is_counted_once(study: dict[str, Any]) -> None:
    assert list(study["PROMPTS"]) == ["facts", "copying", "indirect object", "numbers", "opposites", "stories"]
    counted = [*study["found"]["prompt"].unique(), *study["left"]["prompt"]]
    assert sorted(counted) == sorted(prompt for prompts in study["PROMPTS"].values() for prompt in prompts[:2])
    assert len(study["found"]) == 9 * study["n_prompts"], "three lenses, as they are and beyond two controls"


@pytest.mark.slow
def test_a_partner_is_the_nearest_with_another_answer(study: dict[str, Any]) -> None:
    model = study["model"]
    for prompt, other in study["found"][["prompt", "partner"]].drop_duplicates().itertuples(index=False):
        here, there = ([token.id for token in model.encode(text)] for text in (prompt, other))
        assert len(here) == len(there)
        assert study["KNOWN"][prompt][1] != study["KNOWN"][other][1]
    mary = "When Mary and John went to the store, {} gave a drink to"
    assert study["partner"](mary.format("John")) == mary.format("Mary")


@pytest.mark.slow
def test_layers_are_those_that_one_finds_the_long_way(study: dict[str, Any]) -> None:
    model, found = study["model"], study["found"]
    for (prompt, other), part in list(found.groupby(["prompt", "partner"], sort=False))[::2]:
        answer = infoflow.decompose(model, prompt, top_k=1).top[0].id
        assert model.name_of(answer) == part["answer"].iloc[0]
        changes = [_says(model, other, prompt, layer) == answer for layer in range(model.n_layers + 1)]
        assert part["causal"].unique().tolist() == [_from(changes)]
        for line in part.itertuples():
            assert line.changes == changes[line.layer]
            contrast = other if line.by == "partner" else "bank"
            table = infoflow.logit_lens(model, prompt, kind=line.lens, mids=False, contrast=contrast).to_frame()
            last = table[(table["position"] == table["position"].max()) & (table["place"] == 0)]
            names = (last["predicted_id"] == answer).to_numpy()
            control = (last["other"] == last["predicted"]).to_numpy()
            assert line.layer == _from(list(names & ~control if line.by != "known" else names))


def _says(model: infoflow.Model, prompt: str, other: str, layer: int) -> int:
    """What a prompt's run says with the state of another's last position after so many layers."""
    put = Replace("resid_post", other, layers=layer - 1, positions=-1) if layer else Replace("embed", other, positions=-1)
    return infoflow.decompose(model, prompt, interventions=[put], top_k=1).top[0].id


def _from(says: list[bool]) -> int:
    """From which place on all is true; the last where even that is not."""
    return next((at for at in range(len(says)) if all(says[at:])), len(says) - 1)


@pytest.mark.slow
def test_a_row_of_the_table_by_hand(study: dict[str, Any]) -> None:
    pd = study["pd"]
    part = pd.DataFrame({
        "layer": [1, 2, 6], "causal": [1, 5, 5], "changes": [True, False, True], "neutral says it": [False, False, True],
        "partner says it": [True, True, False],
    })  # fmt: skip
    row = study["row"](part)
    assert row["layer"] == 2 and row["depth"] == 2 / 6 and row["off"] == 1 and row["near"] == row["changes"] == 2 / 3
    assert row["neutral says it"] == 1 / 3 and row["partner says it"] == 2 / 3
    np.testing.assert_allclose(row["correlation"], 1.5 / np.sqrt(2 * 1.5))  # ranks 1, 2, 3 and 1, 2.5, 2.5
    assert np.isnan(study["row"](part.assign(layer=4))["correlation"]), "nothing varies"
    assert study["for_good"](np.array([True, False, True, True])) == 2
    assert study["for_good"](np.array([True, True])) == 0 and study["for_good"](np.array([True, False])) == 1
