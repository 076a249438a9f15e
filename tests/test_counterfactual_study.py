"""The counterfactual study: docs/counterfactual.ipynb runs, and its ratios are those that one finds the long way."""

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pytest
from nbclient import NotebookClient

import infoflow

ROOT = Path(__file__).parent.parent
NOTEBOOK = ROOT / "docs/counterfactual.ipynb"


@pytest.fixture(scope="module")
def study() -> Iterator[dict[str, Any]]:
    """What the cells of two prompts a kind leave behind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        from lens_study import studied

        yield studied(NOTEBOOK, EACH=2)


@pytest.mark.slow
def test_the_notebook_runs_and_shows_a_chart() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)  # type: ignore[no-untyped-call]
    assert not any(cell.get("outputs") for cell in notebook.cells), "it ships without what it printed"
    (parameters,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
    parameters.source = re.sub(r"(?m)^EACH = \d+", "EACH = 2", parameters.source)
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}).execute()
    shown = [out.data for cell in notebook.cells for out in cell.get("outputs", []) if out.get("data")]
    (chart,) = [base64.b64decode(data["image/png"]) for data in shown if "image/png" in data]
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
