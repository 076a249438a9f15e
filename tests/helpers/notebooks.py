"""A notebook, run in this process: what its cells leave behind and what they show, in a notebook's forms of it."""

import base64
from pathlib import Path
from typing import Any

import nbformat
import pytest
from IPython.core.formatters import DisplayFormatter

ROOT = Path(__file__).parents[2]


def run(path: Path, **parameters: Any) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    notebook = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    assert not any(cell.get("outputs") for cell in notebook.cells), "it ships without what it printed"
    if parameters:
        (cell,) = [cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", ())]
        assert all(f"{name} = " in cell.source for name in parameters)
    shown: list[dict[str, Any]] = []

    def show(value: object) -> None:
        forms = DisplayFormatter().format(value)[0]
        png = forms.get("image/png")
        shown.append(forms | {"image/png": base64.b64decode(png)} if isinstance(png, str) else forms)

    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        from lens_study import studied

        names = studied(path, show, **parameters)
    return names, shown
