"""Every cache of the app. Keys are plain values that hold all a result depends on; sizes and ages are bounded."""

import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import streamlit as st

from infoflow.analyses.cost import Estimate
from infoflow.analyses.perform import Performed, perform, run_now
from infoflow.analyses.request import Report, Request, Study
from infoflow.analyses.selftest import judge
from infoflow.errors import InfoflowError
from infoflow.files import samples
from infoflow.models import devices, memory
from infoflow.models.spec import ModelSpec
from infoflow.ndif import service as ndif
from infoflow.settings import settings

if TYPE_CHECKING:
    import infoflow.models.hub
    import infoflow.models.model

R = TypeVar("R")


@st.cache_resource(show_spinner=False)
def _held() -> "weakref.WeakValueDictionary[tuple[str, str, str], infoflow.models.model.Model]":
    return weakref.WeakValueDictionary()


def folders_allowed() -> bool:
    """Whether visitors may name folders of this machine: INFOFLOW_LOCAL_FOLDERS (1 or 0), else only where the app listens to
    this machine alone, as `make app` starts it."""
    chosen = settings().local_folders
    return chosen if chosen is not None else st.get_option("server.address") in ("127.0.0.1", "localhost", "::1")


@st.cache_resource(max_entries=2, show_spinner=False)
def model(name: str, device: str, dtype: str, folders: bool, _say: Report) -> "infoflow.models.model.Model":
    """A loaded model, shared by all visitors; it owns its lock."""
    from infoflow.models.loading import load_model  # transformers loads when a model is first needed, not before

    found = load_model(name, device=device, dtype=dtype, folders=folders, on_progress=_say)
    _held()[name, device, dtype] = found
    return found


def in_memory() -> "dict[tuple[str, str, str], infoflow.models.model.Model]":
    """The models held here now, by name, device and type as they were asked for; looking loads none."""
    return dict(_held())


def unload(name: str) -> None:
    """Give a model's memory back, however it is held. A run that uses it ends first."""
    for held, device, dtype in in_memory():
        if held == name:
            for folders in (True, False):
                model.clear(name, device, dtype, folders)
            _held().pop((held, device, dtype), None)


@st.cache_resource(max_entries=8, show_spinner=False)
def hosted(name: str, host: str, folders: bool, _say: Report) -> "infoflow.models.model.Model":
    """A model that the service runs, shared by all visitors without anyone's key."""
    from infoflow.models.loading import load_model

    return load_model(name, remote=True, host=host, key="", folders=folders, on_progress=_say)


def load(spec: ModelSpec, key: str, say: Report) -> "infoflow.models.model.Model":
    """The model of a request; a hosted one with this visitor's key and status line.

    Raises:
        InfoflowError: what `load_model` raises; Cancelled.
    """
    say(f"Loading {spec.name} …", 0.0)
    if not spec.hosted:
        return model(spec.name, spec.device, spec.dtype, folders_allowed(), say)
    shared = hosted(spec.name, spec.host, folders_allowed(), say)
    return shared.through(ndif.Connection(spec.host, key, lambda doing: say(doing, 0.0), ndif.SILENCE, ndif.LARGEST))


@st.cache_data(max_entries=256, max_size="2GB", ttl=24 * 3600, show_spinner=False)
def _kept(asked: str, _request: Request[R], _model: "infoflow.models.model.Model", _say: Report) -> tuple[R, Estimate]:
    """What came of a request, under all that it depends on: `asked` is the request of the very model that runs it, as text."""
    if not isinstance(_request, Study):
        return run_now(_request, _model, _say)
    cost = _request.estimate(_model)

    def part(request: Request[Any], on_progress: Report | None) -> Any:
        return _kept(request.exactly(_model).key, request.exactly(_model), _model, on_progress or _say)[0]

    return _request.run(_model, _say, run_part=part), cost


def results(request: Request[R], key: str, say: Report) -> Performed[R]:
    """What comes of a request: from a stored run, from the cache, or from the model.

    Raises:
        InfoflowError: what loading and running raise; Cancelled when the job is stopped.
    """
    found = sample(request)
    if found is not None:
        return Performed(found, judge(found))
    return perform(
        request, lambda spec, told: load(spec, key, told), say, lambda exact, model, told: _kept(exact.key, exact, model, told)
    )


def sample(request: Request[Any]) -> Any:
    """The stored run of an example, if that is what is asked."""
    return _sample(request.key, request)


@st.cache_data(max_entries=32, ttl=3600, show_spinner=False)
def _sample(asked: str, _request: Request[Any]) -> Any:
    return samples.stored(_request)


def smaller(request: Request[R], key: str, say: Report) -> list[tuple[str, Request[R], Estimate]]:
    """What may be run instead of a request that is too large.

    Raises:
        InfoflowError: what loading raises, or a prompt that the model can't read at all.
    """
    return request.smaller(load(request.model, key, say))


@dataclass(frozen=True)
class Service:
    """What the hosted service says of itself."""

    models: tuple[ndif.Deployment, ...] = ()
    versions: dict[str, tuple[str, str]] = field(default_factory=dict)
    """of packages: here, there"""
    failure: str = ""
    """why nothing is known of it"""


@st.cache_data(max_entries=4, ttl=20, show_spinner=False)
def service(host: str) -> Service:
    """What the service has up and runs on, asked at most every twenty seconds; a failure is kept as long."""
    try:
        to = ndif.connection(host)
        listed = tuple(ndif.deployments(to))
        try:
            return Service(listed, ndif.versions(to))
        except InfoflowError:  # an older service does not tell
            return Service(listed)
    except InfoflowError as error:
        return Service(failure=str(error))


@st.cache_data(max_entries=32, ttl=600, show_spinner=False)
def found_on_hub(text: str) -> "list[infoflow.models.hub.Found]":
    """What a search of the hub gives."""
    from infoflow.models import hub

    return hub.search(text)


@dataclass(frozen=True)
class Machine:
    """What the app runs on."""

    devices: dict[str, str]
    """name and title, the one that is chosen by itself first"""
    suited: str
    """how weights are held on that one if nothing is said"""
    warnings: tuple[str, ...]
    used: int
    """bytes that the app holds"""
    free: int
    """bytes"""


def machine() -> Machine:
    """Devices and memory now."""
    there = sorted(devices.available(), key=lambda d: d != devices.choose())
    warnings = tuple(w for d in there if (w := devices.warning(d)))
    return Machine({d: devices.title(d) for d in there}, devices.suited(there[0]), warnings, memory.used(), memory.free(there[0]))
