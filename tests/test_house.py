"""The rules of the house that a program can check: who imports whom, sizes, documented names, a README that is true."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest

import infoflow

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "infoflow"
SOURCES = sorted(PACKAGE.glob("**/*.py"))
PAGES = sorted(ROOT.glob("pages/*.py"))
TRACED = sorted((PACKAGE / "traced").glob("*.py"))
ROOMS = (
    "errors", ("settings", "interventions", "sharing"), "metrics", ("traced", "text"), "turns", "ndif", "models", "analyses",
    "studies",
    ("charts", "tables"), ("pictures", "summaries"), "files", "server", "cli", "ui", "pages",
)  # fmt: skip
"""from the ground up: what is imported lies below; rooms side by side do not know each other"""
ALONE = {
    "streamlit": ("ui",), "altair": ("charts", "pictures"), "transformers": ("models",), "huggingface_hub": ("models",),
    "nnsight": ("models", "ndif"), "torch": ("traced", "ndif", "models", "analyses"),
    "pydantic_settings": ("settings",), "httpx": ("ndif",), "coloraide": ("charts",), "humanize": ("text",),
    "starlette": ("server", "ui"), "mcp": ("server",),
}  # fmt: skip
"""libraries that only these rooms know"""
PRIVATE = {
    "streamlit.runtime": "ui/streamlit_names.py", "nnsight._c": "ndif/nnsight_names.py",
    "nnsight.intervention": "ndif/nnsight_names.py", "nnsight.schema": "ndif/nnsight_names.py",
    "huggingface_hub.constants": "models/hub_names.py", "transformers.utils": "models/transformers_names.py",
}  # fmt: skip
"""what other libraries do not promise to keep, each behind one file"""
RANK = {room: n for n, rooms in enumerate(ROOMS) for room in ((rooms,) if isinstance(rooms, str) else rooms)}


@cache
def imported(path: Path) -> frozenset[str]:
    """Every module and name that a file imports: inside functions and for the type checker alone, too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {a.name for a in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{a.name}" for a in node.names} | {node.module}
    return frozenset(names)


def uses(path: Path, *modules: str) -> set[str]:
    return {n for n in imported(path) if any(n == m or n.startswith(m + ".") for m in modules)}


def room_of(path: Path) -> str:
    return "pages" if path.parent.name == "pages" else path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_every_room_is_known() -> None:
    there = {p.name for p in PACKAGE.iterdir() if p.is_dir() and any(p.glob("*.py"))} | {
        p.stem for p in PACKAGE.glob("*.py") if not p.stem.startswith("__")
    }
    assert there | {"pages"} == set(RANK)


@pytest.mark.slow
@pytest.mark.parametrize("path", [*(p for p in SOURCES if p.parent != PACKAGE or p.stem[0] != "_"), *PAGES], ids=named)
def test_imports_go_down_and_never_up(path: Path) -> None:
    room = room_of(path)
    for name in uses(path, "infoflow"):
        below = name.split(".")[1] if "." in name else ""
        if below in RANK and below != room:
            assert RANK[below] < RANK[room], f"{named(path)} imports {name}"
    if room == "charts":
        assert not uses(path, "infoflow.analyses", "infoflow.studies", "infoflow.models"), "charts draw tables"
    for library, rooms in ALONE.items():
        assert room in rooms or room == "pages" and library == "streamlit" or not uses(path, library), f"{room}: {library}"
    for module, file in PRIVATE.items():
        assert path == PACKAGE / file or not uses(path, module), f"{module} stands behind {file}"


def test_no_import_goes_round() -> None:
    modules = {".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): p for p in SOURCES}
    below = {name: {n for n in imported(path) if n in modules and n != name} for name, path in modules.items()}
    below["infoflow"] = set()  # the map of the package: it imports on first use
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, " -> ".join((*trail[trail.index(name) :], name))
        if name not in done:
            for other in below[name] - {"infoflow"}:
                visit(other, (*trail, name))
            done.add(name)

    for name in modules:
        visit(name, ())


@pytest.mark.parametrize("path", PAGES, ids=lambda p: p.stem)
def test_pages_are_short_and_compute_nothing(path: Path) -> None:
    assert len(path.read_text().splitlines()) < 150
    assert not uses(path, "torch", "numpy", "pandas", "transformers", "nnsight")


def test_a_method_has_the_same_name_in_every_room() -> None:
    """`information_flow` is an address that is kept: in the rooms below the method is called flow."""
    for page in PAGES:
        assert (PACKAGE / "ui" / page.name).is_file(), page.name
        method = "flow.py" if page.stem == "information_flow" else page.name
        assert (PACKAGE / "tables" / method).is_file(), page.name
        for room in ("analyses", "studies"):
            if (PACKAGE / room / method).is_file():
                assert (PACKAGE / "pictures" / method).is_file(), page.name
    for trace in TRACED:
        if trace.stem not in ("__init__", "frozen", "experts", "patterns"):
            assert (PACKAGE / "analyses" / trace.name).is_file(), trace.name


def test_files_and_signatures_stay_small() -> None:
    long = {named(p): n for p in SOURCES if (n := len(p.read_text().splitlines())) > 500}
    assert not long
    many = []
    for path in [p for p in (*SOURCES, *PAGES) if p not in TRACED]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name not in infoflow.__all__:  # those mirror their request's fields
                names = [a.arg for a in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
                many += [f"{named(path)}: {node.name}"] * (len(names) - (names[:1] in (["self"], ["cls"])) > 7)
    assert not many


@pytest.mark.parametrize("path", [*SOURCES, *PAGES, ROOT / "streamlit_app.py"], ids=named)
def test_nothing_dangerous(path: Path) -> None:
    text = path.read_text()
    for word in ("unsafe_allow_html", "allow_pickle=True", "trust_remote_code=True", "pickle.load", "weights_only=False"):
        assert word not in text
    assert "import pickle" not in text or "class _PlainUnpickler(pickle.Unpickler)" in text, "that one builds no objects"
    assert text.count("torch.load(") == text.count("weights_only=True"), "data is loaded, never code"
    assert "torch.load(" not in text or named(path) in ("infoflow/ndif/run.py", "infoflow/models/lens_files.py")


def test_each_exception_from_a_rule_says_why() -> None:
    """Of the rules about security, in the line itself; pyproject.toml has those of whole folders with their reasons."""
    for path in (*SOURCES, *PAGES):
        for line in path.read_text().splitlines():
            assert not re.search(r"# noqa: [A-Z0-9, ]*\bS[0-9]{3}\b(?!.*  \w)", line), f"{named(path)}: {line.strip()}"


def test_what_runs_in_a_trace_reads_no_weight_and_imports_nothing() -> None:
    traces = [path for path in TRACED if path.stem not in ("__init__", "experts")]
    assert len(traces) >= 7
    for path in traces:
        _check_trace_code(ast.parse(path.read_text()))


def _check_trace_code(tree: ast.Module) -> None:
    assert not [n for n in ast.walk(tree) if isinstance(n, ast.Attribute) and n.attr in ("weight", "bias")]
    inner = [n for f in tree.body if isinstance(f, ast.FunctionDef) for n in ast.walk(f)]
    assert not [n for n in inner if isinstance(n, ast.Import | ast.ImportFrom)]


def test_environment_variables_are_read_in_one_place() -> None:
    reading = [named(p) for p in (*SOURCES, *PAGES) if re.search(r"\bos\.(environ|getenv)\b", p.read_text())]
    assert reading == ["infoflow/settings.py"]


def test_every_public_name_exists_and_is_documented() -> None:
    for name in infoflow.__all__:
        value = getattr(infoflow, name)
        if name != "__version__":  # a dataclass without a docstring is given its signature for one
            assert value.__doc__ and not value.__doc__.startswith(f"{name}("), name


def test_public_functions_say_what_they_return() -> None:
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and path not in TRACED:
                assert node.returns is not None, f"{path.name}: {node.name} has no return type"


def on_the_map(readme: str) -> set[str]:
    """Files and folders of the README's map, each by the path that its place in the map gives it."""
    found: set[str] = set()
    above: list[str] = []
    for indent, names in re.findall(r"^ {4}( *)(\w+/|\w+\.py(?:, \w+\.py)*)", readme.split("## Finding your way")[1], re.M):
        del above[len(indent) // 2 :]
        found |= {"/".join((*above, name.rstrip("/"))) for name in names.split(", ")}
        above += [names[:-1]] * names.endswith("/")
    return found


def test_readme_names_what_is_there() -> None:
    """Each file in its own room: many rooms have a file of the same name."""
    readme = (ROOT / "README.md").read_text()
    files = {named(p) for p in (ROOT / "streamlit_app.py", *PAGES, *SOURCES) if not p.name.startswith("__")}
    mapped = {path for path in on_the_map(readme) if path.endswith(".py")}
    scripts = {path for path in mapped if path.startswith("scripts/")}  # some of them are named
    assert mapped - scripts == files and all((ROOT / path).is_file() for path in scripts)
    folders = {named(p.parent) for p in SOURCES if p.name == "__init__.py"}
    assert folders <= on_the_map(readme)
    for target in re.findall(r"`make ([a-z-]+)`", readme):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.M), target
    for picture in re.findall(r"\]\((docs/[^)]+)\)", readme):
        assert (ROOT / picture).is_file(), picture


def test_tests_mirror_the_rooms_and_do_not_import_each_other() -> None:
    for path in ROOT.glob("tests/**/*.py"):
        assert not [n for n in imported(path) if re.match(r"tests\.(?:\w+\.)*test_", n)], named(path)
    for folder in (p for p in (ROOT / "tests").iterdir() if p.is_dir() and p.name[0] != "_"):
        assert folder.name in {*RANK, "browser", "helpers"}, named(folder)


def test_requirements_are_pinned() -> None:
    for name in ("requirements.txt", "requirements-dev.txt"):
        for line in (ROOT / name).read_text().split("\n"):
            assert not line or line.startswith("-r ") or re.fullmatch(r"[A-Za-z0-9-]+==[\w.]+", line), line
    assert "torch==2.13.0" in (ROOT / "requirements.txt").read_text()
