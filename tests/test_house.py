"""The rules of the house that a program can check: who imports whom, sizes, documented names, a README that is true."""

import ast
import re
from pathlib import Path

import pytest

import infoflow

ROOT = Path(__file__).parent.parent
SOURCES = sorted(ROOT.glob("infoflow/**/*.py"))
PAGES = sorted(ROOT.glob("pages/*.py"))


def imported(path: Path) -> set[str]:
    """Top modules and infoflow rooms that a file imports, also inside functions; not under TYPE_CHECKING."""
    names: set[str] = set()
    tree = ast.parse(path.read_text())
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            names |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{a.name}" for a in node.names} | {node.module}
    return names


def uses(path: Path, *modules: str) -> set[str]:
    return {n for n in imported(path) if any(n == m or n.startswith(m + ".") for m in modules)}


@pytest.mark.parametrize("path", SOURCES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_go_one_way(path: Path) -> None:
    room = path.relative_to(ROOT / "infoflow").parts[0]
    if room != "ui":
        assert not uses(path, "streamlit", "infoflow.ui"), "compute and charts know no Streamlit"
    if room == "charts":
        assert not uses(path, "torch", "infoflow.model", "infoflow.analyses"), "charts draw tables"
    if room == "ui":
        assert not uses(path, "torch"), "pages and their blocks compute nothing"
    if room == "analyses":
        assert not uses(path, "altair", "infoflow.charts", "infoflow.pictures")
    if room != "model.py":
        assert not uses(path, "transformers"), "model.py alone knows it"
    if room != "hub.py":
        assert not uses(path, "huggingface_hub"), "hub.py alone knows it"
    if room not in ("model.py", "remote_run.py"):
        assert not uses(path, "nnsight")
    if room in ("model.py", "architectures.py", "tokens.py", "metrics.py", "budget.py"):
        assert not uses(path, "infoflow.analyses")


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.stem)
def test_pages_are_short_and_compute_nothing(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 150
    assert not uses(path, "torch", "numpy", "pandas", "transformers", "nnsight")


def test_files_stay_small() -> None:
    long = {str(p.relative_to(ROOT)): n for p in SOURCES if (n := len(p.read_text().splitlines())) > 500}
    assert not long


@pytest.mark.parametrize("path", [*SOURCES, *PAGES, ROOT / "streamlit_app.py"], ids=lambda p: str(p.relative_to(ROOT)))
def test_nothing_dangerous(path: Path) -> None:
    text = path.read_text()
    for word in ("unsafe_allow_html", "allow_pickle=True", "trust_remote_code=True", "pickle.load", "weights_only=False"):
        assert word not in text
    assert "import pickle" not in text or "class _PlainUnpickler(pickle.Unpickler)" in text, "that one builds no objects"
    assert text.count("torch.load(") == text.count("weights_only=True"), "data is loaded, never code"


def test_what_runs_in_a_trace_reads_no_weight_and_imports_nothing() -> None:
    traces = [ROOT / "infoflow/frozen.py", *ROOT.glob("infoflow/analyses/*_trace.py")]
    assert len(traces) == 7
    for path in traces:
        _check_trace_code(ast.parse(path.read_text()))


def _check_trace_code(tree: ast.Module) -> None:
    assert not [n for n in ast.walk(tree) if isinstance(n, ast.Attribute) and n.attr in ("weight", "bias")]
    inner = [n for f in tree.body if isinstance(f, ast.FunctionDef) for n in ast.walk(f)]
    assert not [n for n in inner if isinstance(n, ast.Import | ast.ImportFrom)]


def test_every_public_name_exists_and_is_documented() -> None:
    for name in infoflow.__all__:
        value = getattr(infoflow, name)
        if name != "__version__":
            assert value.__doc__, name


def test_public_functions_are_documented_and_typed() -> None:
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if (
                isinstance(node, ast.FunctionDef)
                and not node.name.startswith("_")
                and not path.name.endswith(("_trace.py", "frozen.py"))
            ):
                assert node.returns is not None, f"{path.name}: {node.name} has no return type"


def test_readme_names_what_is_there() -> None:
    readme = (ROOT / "README.md").read_text()
    for folder in ("pages", "infoflow", "infoflow/analyses", "infoflow/charts", "infoflow/ui"):
        for path in (ROOT / folder).glob("*.py"):
            if path.name not in ("__init__.py", "__main__.py"):
                assert path.name in readme, f"{path.relative_to(ROOT)} is not in the README's map"
    for target in re.findall(r"`make ([a-z-]+)`", readme):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.M), target
    for picture in re.findall(r"\]\((docs/[^)]+)\)", readme):
        assert (ROOT / picture).is_file(), picture


def test_requirements_are_pinned() -> None:
    for name in ("requirements.txt", "requirements-dev.txt"):
        for line in (ROOT / name).read_text().split("\n"):
            assert not line or line.startswith("-r ") or re.fullmatch(r"[A-Za-z0-9-]+==[\w.]+", line), line
    assert "torch==2.13.0" in (ROOT / "requirements.txt").read_text()
