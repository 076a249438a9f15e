"""Which lens to believe: the study of docs/lenses.ipynb, run for a model.

    python benchmarks/lens_study.py                                           # the bundled model
    python benchmarks/lens_study.py --model smollm2 --lens lens.safetensors   # a Jacobian lens from scripts/fit_lenses.py

The notebook is the study: its cells are run here with the parameters that are given, and what they counted is printed.
"""

import argparse
import ast
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

import torch

NOTEBOOK = Path(__file__).parent.parent / "docs" / "lenses.ipynb"


def studied(notebook: Path = NOTEBOOK, show: Callable[[Any], object] = lambda value: None, **parameters: Any) -> dict[str, Any]:
    """What the notebook's cells leave behind, run with other values in the cell of its parameters; `show` is given what a cell
    would show."""
    names: dict[str, Any] = {}
    for cell in json.loads(notebook.read_text())["cells"]:
        if cell["cell_type"] == "code":
            tree = ast.parse("".join(cell["source"]))
            last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
            exec(compile(tree, notebook.name, "exec"), names)
            if last is not None:
                value = eval(compile(ast.Expression(last.value), notebook.name, "eval"), names)  # noqa: S307  our own notebook
                if value is not None:
                    show(value)
            if "parameters" in cell["metadata"].get("tags", ()):
                names |= parameters
    return names


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="demo")
    parser.add_argument("--lens", help="a Jacobian lens; left out, the bundled model's own, and none for another model")
    parser.add_argument("--each", type=int, default=100, help="prompts of a kind, at most")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    started = time.time()
    lens = options.lens or ("bundled" if options.model == "demo" else None)
    study = studied(MODEL=options.model, LENS=lens, EACH=options.each)
    causal = study["found"].drop_duplicates("prompt")["causal"].median()
    print(study["counts"].to_string(), end="\n\n")
    print(study["figures"].to_string(), end="\n\n")
    print(
        f"{options.model}: {study['n_prompts']} prompts, {study['n_layers']} layers, median causal layer {causal:g}; "
        f"{time.time() - started:.0f} s\n"
    )
    table = study["table"]
    print(f"| {' | '.join(table.columns)} |\n|{'---|' * len(table.columns)}")
    for line in table.itertuples(index=False):
        print(f"| {' | '.join(line)} |")


if __name__ == "__main__":
    main()
