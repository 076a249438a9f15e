"""The counterfactual study: docs/counterfactual.ipynb runs, and its ratios are those that one finds the long way."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import infoflow
from tests.helpers import notebooks

ROOT = Path(__file__).parent.parent
NOTEBOOK = ROOT / "docs/counterfactual.ipynb"


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
def test_the_notebook_runs_and_shows_a_chart(ran: Ran) -> None:
    _, shown = ran
    (chart,) = [data["image/png"] for data in shown if "image/png" in data]
    assert chart[:8] == b"\x89PNG\r\n\x1a\n" and any("another known" in data["text/plain"] for data in shown)


@pytest.mark.slow
def test_every_prompt_is_counted_once(study: dict[str, Any]) -> None:
    counted = [*study["found"]["name"].unique(), *study["left"]["name"]]
    assert sorted(counted) == sorted(prompt[1] for prompts in study["KNOWN"].values() for prompt in prompts[:2])
    assert (study["found"]["against"] == "made up").sum() == 3 * study["found"]["name"].nunique()


@pytest.mark.slow
def test_ratios_are_those_that_one_finds_the_long_way(study: dict[str, Any], demo: infoflow.Model) -> None:
    """Vectors summed by hand: of “France” and of “Hugo” in the last residual of each layer, the first token aside."""
    found = study["found"]
    of = found[(found["name"] == "France") & (found["against"] == "made up")]
    shares = []
    for name in ("France", "Hugo"):
        flow = infoflow.decompose(demo, f"The capital of {name} is")
        lengths = np.sqrt(np.array([[flow.gram[layer, 1, -1, s, s] for s in range(1, 6)] for layer in range(6)]))
        shares.append(lengths[:, 3] / lengths.sum(1))
    ratios = shares[0] / shares[1]
    wanted = [np.exp(np.log(ratios[first : first + 2]).mean()) for first in (0, 2, 4)]
    assert of["ratio"].tolist() == pytest.approx(wanted, rel=1e-4) and of["first"].tolist() == [0, 2, 4]
    assert min(wanted) > 1.2  # the name that is known is taken along
    figures = study["figures"]
    assert figures.loc[("capitals", "made up", "early"), "ratio"] == pytest.approx(
        np.exp(np.log(found[(found["against"] == "made up") & (found["band"] == "early")]["ratio"]).mean())
    )
