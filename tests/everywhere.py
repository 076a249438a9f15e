"""Fixtures of all tests, and the order in which they run. beartype is first: it can't be imported after nnsight has been."""

import beartype  # noqa: F401  isort: skip

import gc
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from tests.helpers import checked, kept

ROOT = Path(__file__).parent.parent
SENT = ROOT / "infoflow/traced"
"""what is sent to a server as source must stay as it is written; the shapes and types of all else are checked as it runs"""
CHECKED = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in ROOT.glob("infoflow/**/*.py")
    if path.name not in ("__init__.py", "__main__.py") and SENT not in path.parents
]
checked.check(CHECKED)
kept.sources()
kept.components()
kept.scripts()
kept.quiet()

import infoflow  # noqa: E402
from tests.helpers import tiny  # noqa: E402
from tests.helpers.loopback import KEY, OTHER, Service, start_service  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts"))
if "PYTEST_XDIST_WORKER" in os.environ:
    torch.set_num_threads(1)
    os.environ["OMP_NUM_THREADS"] = "1"  # of what tests start, too: threads that share a core mostly wait for each other
else:
    torch.set_num_threads(2)


FIRST = ("tests/browser/",)
SECOND = (
    "tests/ndif/", "tests/server/", "tests/browser/test_hosted.py", "tests/pages/test_hosted.py", "tests/cli/",
    "tests/files/test_batch.py", "tests/ui/test_cache.py", "tests/test_lens_study.py", "tests/test_counterfactual_study.py",
    "tests/test_packaging.py",
)  # fmt: skip


FEW = ("llama", "gpt2", "gpt_neox", "gemma2", "mixtral")
"""families for the fast part: grouped heads or not, both norms, biases, blocks side by side, soft caps, experts"""


def pytest_itemcollected(item: pytest.Item) -> None:
    """What is tried with every family is tried with a few of them in the fast part."""
    chosen = getattr(item, "callspec", None)
    if chosen and any(value in tiny.FAMILIES and value not in FEW for value in chosen.params.values() if isinstance(value, str)):
        item.add_marker(pytest.mark.slow)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Of two processes each gets a half and, when it is through, what stands last in the other's. So what takes long, or has
    servers and runs of its own to begin with, stands first: the browser's in one half, hosted runs and studies in the other."""
    second = [item for item in items if item.nodeid.startswith(SECOND)]
    first = [item for item in items if item.nodeid.startswith(FIRST) and item not in second]
    apart = {*first, *second}
    rest = [item for item in items if item not in apart]
    left = max(0, len(items) // 2 - len(first))
    items[:] = [*first, *rest[:left], *second, *rest[left:]]


def pytest_collection_finish() -> None:
    """What is imported stays: a look for what nobody holds, as after every run of a script and after every run that memory ran
    out in, need not go through all of it again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def no_pause() -> Iterator[None]:
    """A hosted run that was lost is sent again after some seconds, but not here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("infoflow.ndif.run.PAUSE", 0.05)
        yield


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
        if more not in running or not running[more].process.is_running():
            one = start_service({k: v for k, v in folders.items() if k != "gpt2"}, *more)
            if not more:
                mortal.append(one)
                return one
            running[more] = one
        return running[more]

    yield _start
    for one in (*running.values(), *mortal):
        one.end()


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
