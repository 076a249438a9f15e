"""What is installed works from any folder: the wheel with its model, its command and its app; the notebook; other Pythons."""

import json
import os
import re
import socket
import subprocess
import sys
import sysconfig
import time
import tomllib
import urllib.request
import venv
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import infoflow
from tests.helpers import notebooks

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an sdist and the wheel that is built from it."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(out), str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The commands of an environment that holds the wheel; what the wheel needs is lent by the tests' own."""
    place = tmp_path_factory.mktemp("environment")
    venv.create(place, with_pip=False)
    (wheel,) = built.glob("*.whl")
    command = [sys.executable, "-m", "pip", "--python", str(place), "install", "--quiet", "--no-deps", "--no-index", str(wheel)]
    subprocess.run(command, check=True, timeout=300)
    (libraries,) = place.glob("lib/python3*/site-packages")
    (libraries / "lent.pth").write_text(sysconfig.get_paths()["purelib"] + "\n")
    return place / "bin"


def _run(command: list[str], folder: Path) -> str:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_wheel_holds_what_it_needs_and_nothing_else(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    (sdist,) = built.glob("*.tar.gz")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    sources = {str(p.relative_to(ROOT)) for p in ROOT.glob("infoflow/**/*") if p.is_file() and "__pycache__" not in p.parts}
    app = {f"infoflow/app/pages/{p.name}" for p in ROOT.glob("pages/*.py")}
    app |= {"infoflow/app/streamlit_app.py", "infoflow/app/.streamlit/config.toml"}
    assert {n for n in names if ".dist-info/" not in n} == sources | app
    assert wheel.stat().st_size < 30e6 and sdist.stat().st_size < 30e6


@pytest.mark.slow
def test_the_installed_package_decomposes_from_any_folder_and_so_does_its_command(installed: Path, tmp_path: Path) -> None:
    """One after the other in one process: to start another takes seconds."""
    program = (
        "import runpy, sys, infoflow; flow = infoflow.decompose(infoflow.load_model(), 'The capital of France is');"
        "print(infoflow.__file__, flow.top[0].token, flow.max_error < 1e-5);"
        "del sys.argv[0]; runpy.run_path(sys.argv[0], run_name='__main__')"
    )
    asked = [str(installed / "infoflow"), "flow", "The capital of France is", "--out", "flow.json", "--quiet"]
    where, *said = _run([str(installed / "python"), "-c", program, *asked], tmp_path).split()
    assert Path(where).is_relative_to(installed.parent) and said == ["Paris", "True"]
    flow = json.loads((tmp_path / "flow.json").read_text())
    assert flow["top_predictions"][0]["token"] == " Paris" and flow["max_error"] < 1e-5
    assert _run([str(installed / "infoflow"), "--version"], tmp_path).strip() == infoflow.__version__


@pytest.mark.slow
def test_the_command_opens_the_app_from_any_folder(installed: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(installed / "infoflow"), "app", "--headless", "--port", str(port)]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    server = subprocess.Popen(command, cwd=tmp_path, env=environment, start_new_session=True)
    try:
        deadline = time.time() + 60
        while True:
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=1) as answer:
                    assert answer.read() == b"ok"
                break
            except OSError:
                assert server.poll() is None and time.time() < deadline, "the app did not start"
                time.sleep(0.1)
    finally:
        os.killpg(server.pid, 15)
        server.wait(10)
    program = "from infoflow.cli.app import router; print(router())"
    first = Path(_run([str(installed / "python"), "-c", program], tmp_path).strip())
    assert first.is_relative_to(installed.parent) and (first.parent / "pages/information_flow.py").is_file()


@pytest.mark.slow
def test_the_notebook_runs_and_shows_pictures() -> None:
    _, shown = notebooks.run(ROOT / "docs/notebook.ipynb")
    pictures = [data for data in shown if "image/png" in data]
    assert len(pictures) == 4
    for data in pictures:
        assert data["image/png"][:8] == b"\x89PNG\r\n\x1a\n"
        assert any(re.fullmatch(r"application/vnd\.vegalite\.v\d+\+json", kind) for kind in data)
        assert "to_frame" in data["text/plain"]


def test_the_package_asks_for_what_is_tested() -> None:
    pins = dict(line.split("==") for line in (ROOT / "requirements.txt").read_text().split())
    wanted = {r.name: r for r in map(Requirement, PROJECT["dependencies"])}
    assert wanted.keys() == pins.keys()
    for name, pin in pins.items():
        assert wanted[name].specifier.contains(pin), name
        lowest = next(s.version for s in wanted[name].specifier if s.operator in ("==", ">="))
        assert lowest == pin, f"{name}: nothing older was tested"


def test_no_python_is_turned_away_that_can_run_it() -> None:
    assert PROJECT["requires-python"] == ">=3.11"


LEAVES_ALONE = """
import logging, os, threading, warnings
import altair, huggingface_hub.constants as constants, nnsight, pandas, psutil, torch, transformers
before = dict(os.environ), list(warnings.filters), threading.active_count(), logging.root.level, list(logging.root.handlers)
xet, threads, hook = constants.HF_HUB_DISABLE_XET, torch.get_num_threads(), transformers.utils.logging._tqdm_hook
bars, grad, dtype = transformers.utils.logging.is_progress_bar_enabled(), torch.is_grad_enabled(), torch.get_default_dtype()
import infoflow
for name in infoflow.__all__:
    getattr(infoflow, name)
import infoflow.models.hub, infoflow.files.formats
assert constants.HF_HUB_DISABLE_XET == xet and torch.get_num_threads() == threads
assert transformers.utils.logging._tqdm_hook is hook and transformers.utils.logging.is_progress_bar_enabled() == bars
assert torch.is_grad_enabled() == grad and torch.get_default_dtype() == dtype
assert not hasattr(object(), "save") and not hasattr(1, "save"), "nnsight gives every object a .save; that is undone"
after = dict(os.environ), list(warnings.filters), threading.active_count(), logging.root.level, list(logging.root.handlers)
changed = {k: v for k, v in after[0].items() if before[0].get(k) != v}
print(sorted(changed), [f for f in after[1] if f not in before[1]], after[2] - before[2], after[3:] == before[3:])
"""


@pytest.mark.slow
def test_importing_changes_nothing_in_the_rest_of_the_process(tmp_path: Path) -> None:
    """Beyond what the libraries do that it imports; and one thing of theirs is undone."""
    done = subprocess.run(
        [sys.executable, "-c", LEAVES_ALONE], capture_output=True, text=True, timeout=120, cwd=ROOT, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[] [] 0 True"
