"""What a server installs and is started with: the CPU build of torch there and nowhere else, the image, settings from secrets.

No container engine is at hand where these tests run, so the image is not built: hadolint reads its Dockerfile, what it copies is
looked for, and tests/browser/test_deployed.py starts the app as the image does, on a file system that can't be written to.
"""

import http.client
import json
import os
import re
import subprocess
import sys
import sysconfig
import tomllib
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from infoflow.settings import OF_STRANGERS, Settings
from tests.helpers import torch_page

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy/requirements.txt"
CPU = "torch==2.13.0+cpu"
PYTORCH = "https://download.pytorch.org"
"""the address that PyTorch's own instructions give"""


def _pip(report: Path, *arguments: str) -> list[tuple[str, str, str]]:
    """What pip would install, each with its version and where it comes from; it knows no index but what the files name."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("PIP_")} | {"PIP_CONFIG_FILE": os.devnull}
    command = [sys.executable, "-m", "pip", "--no-input", *arguments, "--report", str(report)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=clean, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(report.read_text())["install"]
    return [(one["metadata"]["name"], one["metadata"]["version"], one["download_info"]["url"]) for one in found]


@pytest.fixture(scope="module")
def without_torch(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment where all that the tests have is installed, as far as pip knows, but torch."""
    place = tmp_path_factory.mktemp("without_torch")
    venv.create(place, with_pip=False)
    (libraries,) = place.glob("lib/python3*/site-packages")
    for about in Path(sysconfig.get_paths()["purelib"]).glob("*.dist-info"):
        if not about.name.startswith("torch-"):
            (libraries / about.name).symlink_to(about)
    return place


@pytest.fixture(scope="module")
def page() -> Iterator[tuple[str, list[str]]]:
    with torch_page.served() as found:
        yield found


def _here(folder: Path, host: str, root: str = "-r ../requirements.txt") -> Path:
    """The server's requirements with PyTorch's page on this machine."""
    (folder / "deploy").mkdir()
    (folder / "requirements.txt").write_text((ROOT / "requirements.txt").read_text())
    text = DEPLOY.read_text().replace(PYTORCH, host).replace("-r ../requirements.txt", root)
    (folder / "deploy/requirements.txt").write_text(text)
    return folder / "deploy/requirements.txt"


@pytest.mark.slow
def test_a_server_takes_the_cpu_build_and_nothing_for_gpus(
    without_torch: Path, page: tuple[str, list[str]], tmp_path: Path
) -> None:
    host, asked = page
    wanted = _here(tmp_path, host)
    options = ("--python", str(without_torch), "install", "--dry-run", "--quiet", "--no-index", "-r", str(wanted))
    ((name, version, url),) = _pip(tmp_path / "report.json", *options)
    assert (name, version) == ("torch", "2.13.0+cpu") and url.startswith(f"{host}/whl/cpu/torch-2.13.0%2Bcpu-")
    assert {path for path in asked if not path.endswith(".whl")} == {torch_page.PATH}, "it is asked for torch alone"


@pytest.mark.slow
@pytest.mark.parametrize("python", ["3.12", "3.13"])
@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_there_is_a_build_for_each_python_of_community_cloud(
    python: str, machine: str, page: tuple[str, list[str]], tmp_path: Path
) -> None:
    wanted = _here(tmp_path, page[0], root="")
    options = (
        "install", "--dry-run", "--quiet", "--no-index", "--no-deps", "--target", str(tmp_path / "there"), "-r", str(wanted),
        "--python-version", python, "--platform", f"manylinux_2_28_{machine}", "--only-binary", ":all:",
    )  # fmt: skip
    ((_, version, url),) = _pip(tmp_path / "report.json", *options)
    assert version == "2.13.0+cpu" and f"cp{python.replace('.', '')}-manylinux_2_28_{machine}" in url


@pytest.mark.slow
def test_the_plain_install_asks_no_other_address(tmp_path: Path) -> None:
    """On a machine that has what is pinned nothing is looked for at all; GPUs and macOS take torch as their index has it."""
    assert _pip(tmp_path / "report.json", "install", "--dry-run", "--quiet", "--no-index", "-r", "requirements.txt") == []
    for file in ("requirements.txt", "requirements-dev.txt", "pyproject.toml"):
        assert "pytorch.org" not in (ROOT / file).read_text()
    assert "torch==2.13.0\n" in (ROOT / "requirements.txt").read_text()


def test_pytorchs_own_page_has_the_build() -> None:
    """Where it can be reached; that the page is laid out as the one of these tests is seen here alone."""
    connection = http.client.HTTPSConnection(PYTORCH.removeprefix("https://"), timeout=10)
    try:
        connection.request("GET", torch_page.PATH)
        links = connection.getresponse().read().decode()
    except OSError as error:
        pytest.skip(f"PyTorch's page can't be reached from here ({error}); what pip makes of such a page is tested without it.")
    for python in torch_page.PYTHONS:
        assert re.search(rf"torch-2\.13\.0(?:%2B|\+)cpu-cp{python}-cp{python}-manylinux_2_28_x86_64\.whl", links), python


def test_what_a_server_installs_is_what_is_tested() -> None:
    lines = [line for line in DEPLOY.read_text().splitlines() if line and line[0] != "#"]
    assert lines == [f"--find-links {PYTORCH}{torch_page.PATH}", "-r ../requirements.txt", CPU]
    assert CPU.removesuffix("+cpu") in (ROOT / "requirements.txt").read_text().splitlines()


def test_the_image_is_written_as_hadolint_wants_it() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.exists():
        pytest.skip("hadolint is not installed; `make test` brings it with requirements-dev.txt")
    done = subprocess.run([str(hadolint), "Dockerfile"], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_image_holds_the_app_and_no_secret() -> None:
    text = (ROOT / "Dockerfile").read_text()
    copied = [line.split()[1:-1] for line in text.splitlines() if line.startswith("COPY ") and "--from" not in line]
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert (ROOT / ".dockerignore").read_text().splitlines()[1] == "*", "all else stays outside"
    for source in (source for sources in copied for source in sources):
        assert (ROOT / source).exists() and source in {name.removesuffix("/*.py") for name in let_in}, source
    assert not [name for name in let_in if "secrets" in name or ".git" in name]
    last = text.split("\nFROM ")[-1]
    assert "\nUSER 1000\n" in last and "\nHEALTHCHECK " in last and "INFOFLOW_HOSTED=1" in last
    assert (ROOT / ".streamlit/config.toml").exists() and "--server.address=0.0.0.0" in last


def test_the_example_for_compose_is_closed() -> None:
    app = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())["services"]["infoflow"]
    assert app["read_only"] is True and app["cap_drop"] == ["ALL"] and app["security_opt"] == ["no-new-privileges:true"]
    assert app["mem_limit"] == app["memswap_limit"] and app["tmpfs"][0].startswith("/tmp:size=")
    assert app["ports"] == ["127.0.0.1:8501:8501"] and app["environment"]["INFOFLOW_HOSTED"] == "1"
    checked = re.search(r'HEALTHCHECK.*?CMD \["python", "-c", "(.*?)"\]', (ROOT / "Dockerfile").read_text(), re.S)
    assert checked and app["healthcheck"]["test"][-1] == checked[1]


FROM_SECRETS = """
import sys
from streamlit.web import bootstrap
bootstrap.load_config_options({"secrets_files": [sys.argv[1]]})
bootstrap.prepare_streamlit_environment("streamlit_app.py")  # what `streamlit run` calls before it serves anything
from infoflow.settings import settings
now = settings()
print(now.hosted, now.listed, now.listed_on_ndif, now.max_seconds, now.share_key, now.api_token.get_secret_value())
"""


def test_settings_come_from_streamlits_secrets(tmp_path: Path) -> None:
    example = ROOT / ".streamlit/secrets.toml.example"
    said = re.sub(r"^# (?=[A-Z_]+ = )", "", example.read_text(), flags=re.M)
    assert tomllib.loads(example.read_text()) == {"INFOFLOW_HOSTED": 1, "INFOFLOW_MODELS": "demo"}
    known = {f"INFOFLOW_{name.upper()}" for name in Settings.model_fields} | {"NDIF_API_KEY", "NDIF_HOST"}
    values = tomllib.loads(said)
    assert values.keys() <= known and all(type(value) in (str, int) for value in values.values()), "true would not arrive"
    limits = {name: values[f"INFOFLOW_{name.upper()}"] for name in OF_STRANGERS if f"INFOFLOW_{name.upper()}" in values}
    assert len(limits) == 7 and limits == {name: OF_STRANGERS[name] for name in limits} | {"share_key": 1}
    (tmp_path / "secrets.toml").write_text(said)
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("INFOFLOW_", "NDIF_"))}
    done = subprocess.run(
        [sys.executable, "-c", FROM_SECRETS, str(tmp_path / "secrets.toml")],
        capture_output=True, text=True, timeout=60, cwd=ROOT, env=clean,
    )  # fmt: skip
    assert done.stdout.split("\n")[0] == "True ('demo',) ('meta-llama/Llama-3.1-8B',) 120 True ...", done.stderr


def test_every_setting_is_explained_with_what_a_hosted_app_has() -> None:
    readme, deploying = ((ROOT / name).read_text() for name in ("README.md", "docs/deploying.md"))
    told: dict[str, str] = {}
    for names, values in re.findall(r"^\| (`INFOFLOW_.*?) \| (.*?) \|", deploying, flags=re.M):
        told |= zip(re.findall(r"INFOFLOW_(\w+)", names), values.split(", "), strict=False)
    limits = {name.upper(): str(most) for name, most in OF_STRANGERS.items() if most is not False}
    assert limits == {name: told.get(name) for name in limits}
    for field, of in Settings.model_fields.items():
        variable = str(of.validation_alias or f"INFOFLOW_{field.upper()}")
        assert f"`{variable}" in readme + deploying, variable


def test_secrets_are_not_in_git() -> None:
    git = ["git", "-C", str(ROOT), "check-ignore", "--quiet"]
    inside = subprocess.run(["git", "-C", str(ROOT), "rev-parse"], capture_output=True)
    if inside.returncode:
        pytest.skip("this is no checkout: there is nothing that git could ignore")
    assert subprocess.run([*git, ".streamlit/secrets.toml"]).returncode == 0
    assert subprocess.run([*git, ".streamlit/secrets.toml.example"]).returncode == 1
