"""Fixtures shared by all tests. beartype comes first: it can't be imported after nnsight has been."""

import beartype  # noqa: F401  isort: skip

import sys
from pathlib import Path

import pytest
import torch
from jaxtyping import install_import_hook

ROOT = Path(__file__).parent.parent
SENT = ("frozen.py", "_trace.py")
"""what is sent to a server as source must stay as it is written; the shapes and types of all else are checked as it runs"""
CHECKED = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in ROOT.glob("infoflow/**/*.py")
    if path.name != "__init__.py" and not path.name.endswith(SENT)
]
install_import_hook(CHECKED, "beartype.beartype")

import infoflow  # noqa: E402
from tests import tiny  # noqa: E402

sys.path.insert(0, str(Path(__file__).parent.parent / "scripts"))
torch.set_num_threads(2)


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
