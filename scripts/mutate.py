"""Which changes to the code would no test notice? Single-point mutants of chosen files, each run against tests that run its line.

    .venv/bin/python scripts/mutate.py infoflow/charts/flow.py infoflow/metrics --mutants 40 --seed 1

Slow (seconds to a minute a mutant), so it is no part of `make test` or CI: it is for finding what tests don't hold. Which tests
run which lines is measured the first time, and kept in .covered; browser tests are left out. Work is done on a copy, the working
tree stays as it is. A survivor is printed with its line, before and after: it is either a gap in the tests or a change that
nobody could see. Ctrl-C ends it and tells of what was tried. Run it where processes can be forked: libraries are imported once.
"""

import argparse
import ast
import contextlib
import difflib
import hashlib
import importlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import coverage
import pytest

ROOT = Path(__file__).parent.parent
LEFT_BEHIND = shutil.ignore_patterns(".venv*", ".git", ".*_cache", "__pycache__", ".hypothesis", "dist", "artifacts", ".covered")
KEPT = ROOT / ".covered"
"""which tests run which lines, as they were measured"""
HERE, FILES = "not browser", 4
LOADED, FAILED, OURS = ".loaded", ".failed", {"infoflow", "tests", "conftest", "__main__", "mutate"}
SWAPPED = {
    "<": ("<=", ">="), "<=": ("<", ">"), ">": (">=", "<="), ">=": (">", "<"), "==": ("!=",), "!=": ("==",), "is": ("is not",),
    "is not": ("is",), "in": ("not in",), "not in": ("in",), "+": ("-",), "-": ("+",), "*": ("/",), "/": ("*",), "//": ("*",),
    "%": ("//",), "**": ("*",), "and": ("or",), "or": ("and",), "&": ("|",), "|": ("&",),
}  # fmt: skip
WRITTEN: dict[type, str] = {
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=", ast.Is: "is", ast.IsNot: "is not",
    ast.In: "in", ast.NotIn: "not in", ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//",
    ast.Mod: "%", ast.Pow: "**", ast.And: "and", ast.Or: "or", ast.BitAnd: "&", ast.BitOr: "|",
}  # fmt: skip
NAMES = {"min": "max", "max": "min", "amin": "amax", "amax": "amin", "maximum": "minimum", "minimum": "maximum"}
NAMES |= {"any": "all", "all": "any"}
COSMETIC = set(
    "fontSize labelFontSize fontWeight labelPadding labelLimit labelFlush labelOverlap labelAngle labelColor titleColor dx dy"
    " strokeWidth strokeDash cornerRadius size opacity fillOpacity tickCount tickMinStep gradientLength gradientThickness limit"
    " ticks grid domain_line padding paddingInner angle strict check capture_output point clip nice interpolate".split()
)
"""keywords that say how something looks, or guard against what can't happen: not mutated"""


@dataclass(frozen=True)
class Mutant:
    """A file with one point changed."""

    file: str
    text: str
    line: int
    """where it is changed"""
    diff: tuple[str, str]
    """that line before and after"""


def points(tree: ast.AST) -> Iterator[ast.AST]:
    """Nodes that compute something: no annotations, decorators, f-strings, messages of errors, looks, or imports for types."""
    if isinstance(tree, ast.JoinedStr | ast.Import | ast.ImportFrom) or _for_types(tree):
        return
    yield tree
    for name, value in ast.iter_fields(tree):
        if name in ("annotation", "returns", "decorator_list", "type_params") or (isinstance(tree, ast.Raise) and name == "exc"):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not (isinstance(child, ast.keyword) and child.arg in COSMETIC):
                if isinstance(tree, ast.Dict) and name == "values" and _key_of(tree, child) in COSMETIC:
                    continue
                yield from points(child)


def _for_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"


def _key_of(node: ast.Dict, value: ast.AST) -> object:
    key = node.keys[next(i for i, v in enumerate(node.values) if v is value)]
    return key.value if isinstance(key, ast.Constant) else None


def mutants(file: str, text: str) -> list[Mutant]:
    """Every single-point mutant of a file, those that parse to the same left out."""
    tree, lines = ast.parse(text), text.encode().splitlines(keepends=True)
    start = [0]
    for line in lines:
        start.append(start[-1] + len(line))
    source, same, found = text.encode(), ast.dump(tree), {}

    def at(node: ast.AST, end: bool = False) -> int:
        where = (node.end_lineno, node.end_col_offset) if end else (node.lineno, node.col_offset)  # type: ignore[attr-defined]
        return start[where[0] - 1] + where[1]

    for node in points(tree):
        for first, last, new in _changes(node, source, at):
            changed = (source[:first] + new.encode() + source[last:]).decode()
            try:
                if ast.dump(ast.parse(changed)) == same:
                    continue
            except SyntaxError:
                continue
            pair = [d for d in difflib.unified_diff(text.splitlines(), changed.splitlines(), n=0, lineterm="")][3:]
            before, after = (next((d for d in pair if d[0] == sign), sign) for sign in "-+")
            found.setdefault(changed, Mutant(file, changed, source[:first].count(b"\n") + 1, (before, after)))
    return list(found.values())


def _changes(node, source, at) -> Iterator[tuple[int, int, str]]:  # type: ignore[no-untyped-def]
    """What is put in place of which bytes, by the kind of node."""
    pairs: list[tuple[ast.AST, ast.AST, ast.AST]] = []
    whole = (at(node), at(node, True)) if hasattr(node, "lineno") else (0, 0)
    written = source[whole[0] : whole[1]].decode()
    if isinstance(node, ast.Compare):
        pairs = list(zip([node.left, *node.comparators], node.ops, node.comparators, strict=False))
    elif isinstance(node, ast.BinOp):
        pairs = [(node.left, node.op, node.right)]
    elif isinstance(node, ast.AugAssign):
        pairs = [(node.target, node.op, node.value)]
    elif isinstance(node, ast.BoolOp):
        pairs = [(a, node.op, b) for a, b in zip(node.values, node.values[1:], strict=False)]
    for left, op, right in pairs:
        between = (at(left, True), at(right))
        said = WRITTEN.get(type(op), "")
        for new in SWAPPED.get(said, ()):
            pattern = re.escape(said).replace(r"\ ", r"\s+")
            yield *between, re.sub(pattern, new, source[between[0] : between[1]].decode(), count=1)
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        yield *whole, str(not node.value)
    elif isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        yield from ((*whole, f"({node.value!r} {step})") for step in ("+ 1", "- 1"))
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not | ast.USub) and not isinstance(node.operand, ast.Constant):
        yield whole[0], at(node.operand), ""
    elif isinstance(node, ast.Return) and node.value is not None:
        yield *whole, "return None"
    elif isinstance(node, ast.Slice):
        for bound in (node.lower, node.upper):
            if bound is not None and not isinstance(bound, ast.Constant):
                yield at(bound), at(bound, True), f"({source[at(bound) : at(bound, True)].decode()} + 1)"
    elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "range" and not isinstance(node.args[-1], ast.Constant):
        end = node.args[min(1, len(node.args) - 1)]
        yield at(end), at(end, True), f"({source[at(end) : at(end, True)].decode()} - 1)"
    elif isinstance(node, ast.Name | ast.Attribute) and written.rpartition(".")[2] in NAMES:
        yield whole[1] - len(written.rpartition(".")[2]), whole[1], NAMES[written.rpartition(".")[2]]
    if isinstance(node, ast.If | ast.IfExp | ast.While | ast.comprehension):
        for test in node.ifs if isinstance(node, ast.comprehension) else [node.test]:
            if not isinstance(test, ast.Compare | ast.BoolOp | ast.UnaryOp):
                yield at(test), at(test, True), f"(not {source[at(test) : at(test, True)].decode()})"
    stands = isinstance(node, ast.AugAssign | ast.Raise | ast.Continue | ast.Break)
    stands = stands or (isinstance(node, ast.Expr) and not isinstance(node.value, ast.Constant))
    if stands or (isinstance(node, ast.Assign) and not isinstance(node.targets[0], ast.Name)):
        yield *whole, "pass"


class Held:
    """Which tests run which line, and how long each takes: measured once, with coverage.py, and kept beside the project."""

    def __init__(self, again: bool) -> None:
        if again or not (KEPT / "times.json").exists():
            _measure()
        said = json.loads((KEPT / "times.json").read_text())
        self._seconds: dict[str, float] = said["seconds"]
        self._texts: dict[str, str] = said["texts"]
        self._data = coverage.CoverageData(str(KEPT / "data"))
        self._data.read()
        self._lines: dict[str, dict[int, set[str]]] = {}

    def fits(self, file: str, text: str) -> bool:
        """Whether a file is what it was when its tests were measured."""
        return hashlib.sha256(text.encode()).hexdigest() == self._texts.get(file)

    def tests(self, mutant: "Mutant", before: str, most: float) -> tuple[list[str], list[str]]:
        """Tests that run the line, `most` seconds of them: those of a few files, which is soon, and those of all. The fastest
        come first, then those that run another line of the file: what is made once for many tests, or as a module is imported,
        is seen to be run by one of them or by none."""
        by_line = self._of(mutant.file)
        own = next((found for line in _near(before, mutant.line) if (found := by_line.get(line))), set())
        others = set().union(*by_line.values()) - own
        if not own and not others:  # nothing but constants
            others = {test for test in self._seconds if test.startswith(f"tests/{mutant.file.split('/')[1]}")}
        number = Counter(test.partition("::")[0] for test in own or others)
        stem = Path(mutant.file).stem
        few = set(sorted(number, key=lambda file: (stem not in file, -number[file]))[:FILES])
        every = (*sorted(own, key=self._time), *sorted(others, key=self._time))
        return self._within([t for t in every if t.partition("::")[0] in few], most), self._within(every, most)

    def _within(self, tests: Sequence[str], most: float) -> list[str]:
        chosen, left = [], most
        for test in tests:
            left -= self._time(test)
            if left < 0 and chosen:
                break
            chosen.append(test)
        return chosen

    def _time(self, test: str) -> float:
        return self._seconds.get(test, 0.01)

    def _of(self, file: str) -> dict[int, set[str]]:
        if file not in self._lines:
            found = self._data.contexts_by_lineno(file)
            self._lines[file] = {line: {c.rpartition("|")[0] for c in of if "|" in c} for line, of in found.items()}
        return self._lines[file]


def _measure() -> None:
    """Run all tests but the browser's, in two processes, once."""
    shutil.rmtree(KEPT, ignore_errors=True)
    KEPT.mkdir()
    settings = KEPT / "settings"
    settings.write_text(f"[run]\nsource = infoflow\nrelative_files = true\ndata_file = {KEPT / 'data'}\n")
    ways = ["-n", "2", "--dist", "worksteal", "-m", HERE, "--cov", f"--cov-config={settings}", "--cov-context=test"]
    shown = ["--cov-report=", "--durations=0", "--durations-min=0", "-vv"]
    done = subprocess.run([sys.executable, "-m", "pytest", *ways, *shown], cwd=ROOT, capture_output=True, text=True)
    seconds: dict[str, float] = {}
    for took, test in re.findall(r"^([0-9.]+)s (?:call|setup|teardown)\s+(\S.*?)\s*$", done.stdout, re.MULTILINE):
        seconds[test] = seconds.get(test, 0.0) + float(took)
    texts = {
        str(p.relative_to(ROOT)): hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted((ROOT / "infoflow").glob("**/*.py"))
    }
    print("\n".join(line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR", "="))), flush=True)
    (KEPT / "times.json").write_text(json.dumps({"seconds": seconds, "texts": texts}))


def _near(text: str, line: int) -> Iterator[int]:
    """A line, those above it of its statement, and those of the function around it: where a default stands, or a line that
    belongs to the statement before it, others are seen to be run."""
    yield line
    around = [n for n in ast.walk(ast.parse(text)) if isinstance(n, ast.stmt) and n.lineno <= line <= (n.end_lineno or 0)]
    for node in sorted(around, key=lambda n: -n.lineno):
        yield from range(line - 1, node.lineno - 1, -1)
        if isinstance(node, ast.FunctionDef):
            yield from range(node.body[0].lineno, (node.end_lineno or 0) + 1)


class Only:
    """Of what is collected these tests alone, in their order; who fails is written down."""

    def __init__(self, tests: list[str], failed: Path) -> None:
        self.place = {test: i for i, test in enumerate(tests)}
        self.failed = failed

    @pytest.hookimpl(wrapper=True)
    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> Iterator[None]:
        yield
        items[:] = sorted((i for i in items if i.nodeid in self.place), key=lambda i: self.place[i.nodeid])

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            with self.failed.open("a") as file:
                file.write(f"{report.nodeid}\n")


def passes(root: Path, tests: list[str], timeout: float) -> bool:
    """Run tests; what takes too long has failed."""
    files = dict.fromkeys(test.partition("::")[0] for test in tests)
    return forked(root, ["-x", *files], [Only(tests, root / FAILED)], timeout)


def forked(root: Path, asked: list[str], plugins: list[Only], timeout: float) -> bool:
    """Whether pytest ends well, in a process forked from this one."""
    child = os.fork()
    if child == 0:
        os.setsid()
        os.chdir(root)
        sys.path.insert(0, str(root))
        quiet = os.open(os.devnull, os.O_WRONLY)
        os.dup2(quiet, 1)
        os.dup2(quiet, 2)
        code = 1
        try:
            without = [f"-pno:{name}" for name in ("cacheprovider", "anyio", "cov")]
            code = int(pytest.main(["-q", *without, *asked], plugins=plugins))
            (root / LOADED).write_text("\n".join(name for name in sys.modules if name.split(".")[0] not in OURS))
        finally:
            os._exit(code)
    end = time.monotonic() + timeout
    done, status = 0, 1
    try:
        while not done and time.monotonic() < end:
            time.sleep(0.05)
            done, status = os.waitpid(child, os.WNOHANG)
    finally:
        if not done:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
    return bool(done) and os.waitstatus_to_exitcode(status) == 0


def prepare(root: Path) -> None:
    """Compile everything once, and import here, for all forks, the libraries that are loaded then. Nothing more is compiled for
    keeps: two mutants of one second and one size would share a file."""
    if not forked(root, ["--collect-only", "tests"], [], 600.0):
        sys.exit("The tests can't be collected.")
    sys.dont_write_bytecode = True
    os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    for name in (root / LOADED).read_text().split("\n"):
        with contextlib.suppress(Exception):  # what can't be imported by itself is left to each fork
            importlib.import_module(name)


def chosen(files: list[str], root: Path, most: int, seed: int) -> list[Mutant]:
    """`most` mutants, as many of each file as its fellows have where it has so many; in an order that can be cut short."""
    draw, by_file = random.Random(seed), []
    for file in files:
        found = mutants(file, (root / file).read_text())
        draw.shuffle(found)
        by_file.append(found)
    draw.shuffle(by_file)
    turns = [m for turn in range(max(map(len, by_file))) for of in by_file for m in of[turn : turn + 1]]
    return turns[:most]


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("files", nargs="+", help="files or folders under infoflow/")
    asked.add_argument("--mutants", type=int, default=50)
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--seconds", type=float, default=60.0, help="of tests, as they were measured, for each mutant")
    asked.add_argument("--again", action="store_true", help="measure anew which tests run which lines (some fifteen minutes)")
    given = asked.parse_args()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background, too
    held = Held(given.again)
    with tempfile.TemporaryDirectory() as place:
        root = Path(shutil.copytree(ROOT, Path(place) / "copy", ignore=LEFT_BEHIND))
        paths = [p for f in given.files for p in (sorted((root / f).glob("**/*.py")) if (root / f).is_dir() else [root / f])]
        files = [str(p.relative_to(root)) for p in paths if p.stem != "__init__"]
        if changed := [file for file in files if not held.fits(file, (root / file).read_text())]:
            print(f"left out, as changed since their tests were measured (--again measures anew): {' '.join(changed)}")
            files = [file for file in files if file not in changed]
        if not files:
            sys.exit("So nothing is left to try.")
        tried: dict[str, list[bool]] = {file: [] for file in files}
        prepare(root)
        with contextlib.suppress(KeyboardInterrupt):  # what was tried until then is told
            for mutant in chosen(files, root, given.mutants, given.seed):
                path = root / mutant.file
                before = path.read_text()
                few, tests = held.tests(mutant, before, given.seconds)
                try:
                    path.write_text(mutant.text)
                    survived = all(passes(root, these, 30.0 + 4 * given.seconds) for these in (few, tests) if these)
                finally:
                    path.write_text(before)
                tried[mutant.file].append(not survived)
                if survived:
                    print(f"{mutant.file}:{mutant.line} ({len(tests)} tests)\n  {mutant.diff[0]}\n  {mutant.diff[1]}", flush=True)
        failed = sorted(set((root / FAILED).read_text().splitlines())) if (root / FAILED).exists() else []
        if failed and not passes(root, failed, 1800.0):
            last = (root / FAILED).read_text().splitlines()[-1]
            print(f"{last} fails where nothing is changed, too: what it has caught is not shown to be")
    for file, caught in tried.items():
        if caught:
            print(f"{sum(caught):4} of {len(caught):4} caught  {file}")
    every = [c for caught in tried.values() for c in caught]
    print(f"{sum(every):4} of {len(every):4} caught, seed {given.seed}")


if __name__ == "__main__":
    main()
