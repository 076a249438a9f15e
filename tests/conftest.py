"""Fixtures shared by all tests. beartype comes first: it can't be imported after nnsight has been."""

import beartype  # noqa: F401  isort: skip

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from tests.helpers import checked, sources

ROOT = Path(__file__).parent.parent
SENT = ROOT / "infoflow/traced"
"""what is sent to a server as source must stay as it is written; the shapes and types of all else are checked as it runs"""
CHECKED = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in ROOT.glob("infoflow/**/*.py")
    if path.name not in ("__init__.py", "__main__.py") and SENT not in path.parents
]
checked.check(CHECKED)
sources.keep()

import infoflow  # noqa: E402
from tests.helpers import tiny  # noqa: E402
from tests.helpers.loopback import KEY, OTHER, Service, start_service  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts"))
if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"  # of what tests start, too: threads that share a core mostly wait for each other
else:
    torch.set_num_threads(2)


@pytest.fixture(autouse=True)
def no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hosted run that was lost is sent again after some seconds, but not here."""
    monkeypatch.setattr("infoflow.ndif.run.PAUSE", 0.05)


@pytest.fixture(scope="session")
def demo() -> "infoflow.Model":
    """The shipped model."""
    return infoflow.load_model("demo")


@pytest.fixture(scope="session", params=sorted(tiny.FAMILIES))
def family(request: pytest.FixtureRequest) -> "infoflow.Model":
    """A random model of each supported family, with norm gains and biases that are not trivial."""
    return tiny.model(request.param)


@pytest.fixture(scope="session", params=tiny.LLAMA_LIKE)
def llama_like(request: pytest.FixtureRequest) -> "infoflow.Model":
    """Those of them whose layout the slow twin follows."""
    return tiny.model(request.param)


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    found = {}
    for family in ("llama", "qwen2", "gpt2", "mixtral"):
        found[family] = tmp_path_factory.mktemp(family)
        tiny.hf_model(family).save_pretrained(found[family])
        tiny.tokenizer().save_pretrained(found[family])
    return found


@pytest.fixture(scope="session")
def start(folders: dict[str, Path]) -> Iterator[Callable[..., Service]]:
    running: dict[tuple[str, ...], Service] = {}
    mortal: list[Service] = []

    def _start(*more: str) -> Service:
        """One of each kind, since each takes seconds; one without any option is the caller's own, to be killed."""
        if more not in running or running[more].process.poll() is not None:
            one = start_service({k: v for k, v in folders.items() if k != "gpt2"}, *more)
            if not more:
                mortal.append(one)
                return one
            running[more] = one
        return running[more]

    yield _start
    for one in (*running.values(), *mortal):
        one.process.kill()


@pytest.fixture(scope="session")
def service(start: Callable[..., Service]) -> Service:
    return start(f"--key={KEY}", f"--key={OTHER}")


@pytest.fixture
def hosted(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> Callable[..., infoflow.Model]:
    """A hosted model by family; the hub, which would give its canonical name, is not asked."""
    import nnsight.modeling.huggingface as hub

    for family, folder in folders.items():
        monkeypatch.setitem(hub._ID_CACHE, str(folder), f"tiny/{family}")
    monkeypatch.delenv("NDIF_API_KEY", raising=False)

    def load(family: str, service: Service, key: str = KEY, **more: object) -> infoflow.Model:
        return infoflow.load_model(str(folders[family]), remote=True, host=service.host, key=key, **more)  # type: ignore[arg-type]

    return load


@pytest.fixture(scope="session")
def smol() -> "infoflow.Model":
    """A model that was trained on real text."""
    from infoflow.models import catalog, smollm2

    if smollm2.file() is None:
        reason = "SmolLM2 is not here; `make smollm2` brings it"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return infoflow.load_model(catalog.SMOLLM2)
