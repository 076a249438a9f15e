"""Every cache of the app. Keys are plain frozen values that hold all a result depends on; sizes and ages are bounded."""

import os
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import streamlit as st

from infoflow import budget, remote, samples
from infoflow.analyses.attention import Attention, attention, calibrate
from infoflow.analyses.attribution import Attribution, attribute
from infoflow.analyses.carriers import Carriers, carriers
from infoflow.analyses.corrections import Answer, Change, Correction, answer, change, form_of
from infoflow.analyses.flow import METHOD, Flow, decompose
from infoflow.analyses.generation import Generation, generate
from infoflow.analyses.logit_lens import Lens, logit_lens
from infoflow.errors import InfoflowError, UnsupportedModel
from infoflow.heads import HeadScores
from infoflow.selftest import Check, check, judge
from infoflow.tokens import groups_of
from infoflow.ui import jobs
from infoflow.vocabulary import CHAT, Turn

if TYPE_CHECKING:
    import infoflow.hub
    import infoflow.model


@dataclass(frozen=True)
class Place:
    """Where a run happens: here, on a device, or on the service with a visitor's key, which belongs to no cache key, log or
    message."""

    host: str = ""
    """of the service; '' for this machine"""
    key: str = field(default="", repr=False, compare=False)
    device: str = "auto"
    dtype: str = "auto"
    """how weights are held here"""


HERE = Place()


@st.cache_resource(show_spinner=False)
def _held() -> "weakref.WeakValueDictionary[tuple[str, str, str], infoflow.model.Model]":
    return weakref.WeakValueDictionary()


def folders_allowed() -> bool:
    """Whether visitors may name folders of this machine: INFOFLOW_LOCAL_FOLDERS (1 or 0), else only where the app listens to
    this machine alone, as `make app` starts it."""
    chosen = os.environ.get("INFOFLOW_LOCAL_FOLDERS", "").strip()
    return chosen == "1" if chosen else st.get_option("server.address") in ("127.0.0.1", "localhost", "::1")


@st.cache_resource(max_entries=2, show_spinner=False)
def model(name: str, device: str, dtype: str, folders: bool, _job: jobs.Job) -> "infoflow.model.Model":
    """A loaded model, shared by all visitors; it owns its lock."""
    from infoflow.model import load_model  # transformers loads when a model is first needed, not before the first picture

    found = load_model(name, device=device, dtype=dtype, folders=folders, on_progress=_job.say)
    _held()[name, device, dtype] = found
    return found


def in_memory() -> "dict[tuple[str, str, str], infoflow.model.Model]":
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
def hosted(name: str, host: str, folders: bool, _job: jobs.Job) -> "infoflow.model.Model":
    """A model that the service runs, shared by all visitors without anyone's key."""
    from infoflow.model import load_model

    return load_model(name, remote=True, host=host, key="", folders=folders, on_progress=_job.say)


@dataclass(frozen=True)
class Service:
    """What the hosted service says of itself."""

    models: tuple[remote.Deployment, ...] = ()
    versions: dict[str, tuple[str, str]] = field(default_factory=dict)
    """of packages: here, there"""
    failure: str = ""
    """why nothing is known of it"""


@st.cache_data(max_entries=4, ttl=20, show_spinner=False)
def service(host: str) -> Service:
    """What the service has up and runs on, asked at most every twenty seconds; a failure is kept as long."""
    try:
        to = remote.connection(host)
        listed = tuple(remote.deployments(to))
        try:
            return Service(listed, remote.versions(to))
        except InfoflowError:  # an older service does not tell
            return Service(listed)
    except InfoflowError as error:
        return Service(failure=str(error))


@st.cache_data(max_entries=32, ttl=600, show_spinner=False)
def found_on_hub(text: str) -> "list[infoflow.hub.Found]":
    """What a search of the hub gives."""
    from infoflow import hub

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
    from infoflow import devices

    there = sorted(devices.available(), key=lambda d: d != devices.choose())
    warnings = tuple(w for d in there if (w := devices.warning(d)))
    used, free = devices.used_memory(), devices.free_memory(there[0])
    return Machine({d: devices.title(d) for d in there}, devices.suited(there[0]), warnings, used, free)


@st.cache_data(max_entries=32, ttl=3600, show_spinner=False)
def sample(name: str, prompt: str, method: int) -> Flow | None:
    return samples.sample(name, prompt)


@dataclass(frozen=True)
class Run:
    """A decomposition with what the page says of it."""

    flow: Flow
    verdict: Check
    """of the model's self-test; of the run itself where it was stored and no model is in memory"""
    cost: budget.Estimate | None
    """as estimated before the run; None for a stored one"""


def loaded(place: Place, name: str, job: jobs.Job) -> "infoflow.model.Model":
    """The model, loaded and tested.

    Raises:
        InfoflowError: what `load_model` raises; a model that the decomposition does not run on; Cancelled.
    """
    job.say(f"Loading {name} …")
    if place.host:
        shared = hosted(name, place.host, folders_allowed(), job)
        # this visitor's key and status line
        found = shared.through(remote.Connection(place.host, place.key, job.say, remote.SILENCE, remote.LARGEST))
        if shared.tested is None:  # without a lock: the run queues there, and nobody here shall wait for it
            job.say("Self-test …")
            shared.tested = found.tested = check(found)
    else:
        shared = found = model(name, place.device, place.dtype, folders_allowed(), job)
        with shared.lock:
            if shared.tested is None:
                job.say("Self-test …")
                shared.tested = check(shared)
    if not shared.tested.errors:  # nothing could be measured
        raise UnsupportedModel(shared.tested.reason)
    return found


Made = tuple[str, str, str, str]
"""what numbers come from: the service or the device here, the model, its revision, its type"""


def _made(place: Place, found: "infoflow.model.Model") -> Made:
    return place.host or str(found.device), found.name, found.revision, found.dtype


@st.cache_data(max_entries=64, max_size="1GB", ttl=24 * 3600, show_spinner=False)
def _flow(
    made: Made,
    prompt: str,
    sources: str,
    method: int,
    _model: "infoflow.model.Model",
    _job: jobs.Job,
) -> tuple[Flow, budget.Estimate]:
    _job.say("Waiting for the model …")
    tokens = _model.encode(prompt)
    n_sources = len(set(groups_of(sources, tokens)))
    cost = budget.estimate(_model, len(tokens), n_sources)
    said = f"{len(tokens)} tokens in {n_sources} sources, {cost}"

    def report(done: int, total: int) -> None:
        _job.say(f"Layer {done} of {total} · {said}", done / total)

    return decompose(_model, prompt, sources, on_progress=report), cost


def flow(place: Place, name: str, prompt: str, sources: str, job: jobs.Job) -> Run:
    """The decomposition of a prompt, from a stored run, the cache, or the model.

    Raises:
        InfoflowError: what `loaded` and `decompose` raise; Cancelled when the job is stopped.
    """
    stored = sample(name, prompt, METHOD) if sources == "tokens" and place == HERE else None
    if stored is not None:
        return Run(stored, judge(stored), None)
    found = loaded(place, name, job)
    result, cost = _flow(_made(place, found), prompt, sources, METHOD, found, job)
    return Run(result, found.tested, cost)


def smaller_runs(place: Place, name: str, prompt: str, job: jobs.Job) -> list[tuple[str, budget.Estimate]]:
    """Groupings by which a prompt fits that is too large otherwise, with what they cost.

    Raises:
        InfoflowError: what `loaded` raises, or a prompt that the model can't read at all.
    """
    found = loaded(place, name, job)
    return budget.smaller_runs(found, found.encode(prompt))


@st.cache_data(max_entries=64, max_size="100MB", ttl=24 * 3600, show_spinner=False)
def _attribution(
    made: Made,
    prompt: str,
    target: int,
    against: int | None,
    centred: bool,
    direct: str,
    _model: "infoflow.model.Model",
    _job: jobs.Job,
) -> Attribution:
    def report(done: int, total: int) -> None:
        _job.say(f"Layer {done} of {total}", done / total)

    return attribute(_model, prompt, target, against, centred=centred, direct=direct, on_progress=report)


def attribution(
    place: Place, name: str, prompt: str, target: int | str, against: int | str | None, centred: bool, direct: str, job: jobs.Job
) -> Attribution:
    """What raises a logit at the last position. Typed targets may leave out their leading space.

    Raises:
        InfoflowError: what `loaded` and `attribute` raise; Cancelled when the job is stopped.
    """
    found = loaded(place, name, job)
    wanted = found.token_id_near(target)
    rival = None if against is None else found.token_id_near(against)
    return _attribution(_made(place, found), prompt, wanted, rival, centred, direct, found, job)


@st.cache_data(max_entries=32, max_size="200MB", ttl=24 * 3600, show_spinner=False)
def _lens(
    made: Made,
    prompt: str,
    targets: tuple[int, ...],
    mids: bool,
    _model: "infoflow.model.Model",
    _job: jobs.Job,
) -> Lens:
    def report(done: int, total: int) -> None:
        _job.say(f"Layer {done} of {total}", done / total)

    return logit_lens(_model, prompt, targets=targets, mids=mids, on_progress=report)


def lens(place: Place, name: str, prompt: str, targets: tuple[int | str, ...], mids: bool, job: jobs.Job) -> tuple[Lens, Check]:
    """Every row of a run read through the unembedding, with the self-test's verdict. Typed targets may leave out their leading
    space.

    Raises:
        InfoflowError: what `loaded` and `logit_lens` raise; Cancelled when the job is stopped.
    """
    found = loaded(place, name, job)
    wanted = tuple(found.token_id_near(t) for t in targets)
    return _lens(_made(place, found), prompt, wanted, mids, found, job), found.tested


@st.cache_data(max_entries=16, max_size="300MB", ttl=24 * 3600, show_spinner=False)
def _attention(made: Made, prompt: str, _model: "infoflow.model.Model", _job: jobs.Job) -> Attention:
    def report(done: int, total: int) -> None:
        _job.say(f"Layer {done} of {total}", done / total)

    return attention(_model, prompt, on_progress=report)


def patterns(place: Place, name: str, prompt: str, job: jobs.Job) -> Attention:
    """Every head's pattern on a prompt.

    Raises:
        InfoflowError: what `loaded` and `attention` raise; Cancelled when the job is stopped.
    """
    found = loaded(place, name, job)
    return _attention(_made(place, found), prompt, found, job)


@dataclass(frozen=True)
class Written:
    """A continuation with what the page says of the model."""

    gen: Generation
    chat: bool
    """whether the prompt went through the chat template"""
    has_template: bool


@st.cache_data(max_entries=32, max_size="300MB", ttl=24 * 3600, show_spinner=False)
def _generation(
    made: Made,
    prompt: str,
    new_tokens: int,
    sampling: tuple[float, float, int],
    chat: bool,
    _model: "infoflow.model.Model",
    _job: jobs.Job,
) -> Generation:
    _job.say("Waiting for the model …" if not made[0].startswith("http") else "Writing …")
    written = [0]

    def tell(text: str) -> None:
        written[0] += 1
        _job.say(f"Writing, {written[0]} of at most {new_tokens}: {' '.join(text.split())}", 0.7 * written[0] / new_tokens)

    def report(done: int, total: int) -> None:
        _job.say(f"Reading what was written, layer {min(done, total - 1)} of {total - 1}", 0.7 + 0.3 * done / total)

    temperature, top_p, seed = sampling
    return generate(_model, prompt, new_tokens, temperature, top_p, seed, chat, on_token=tell, on_progress=report)


def generation(
    place: Place, name: str, prompt: str, new_tokens: int, sampling: tuple[float, float, int], form: str, job: jobs.Job
) -> Written:
    """What the model writes after a prompt. `sampling` is temperature, top-p and seed; `form` is "chat", "plain text" or
    "auto": by what the model was made for.

    Raises:
        InfoflowError: what `loaded` and `generate` raise; Cancelled when the job is stopped.
    """
    found = loaded(place, name, job)
    chat = form == CHAT or (form == "auto" and found.is_instruct)
    return Written(
        _generation(_made(place, found), prompt, new_tokens, sampling, chat, found, job), chat, found.has_chat_template
    )


@dataclass(frozen=True)
class Talked:
    """A conversation with what the page says of the model."""

    found: Correction
    has_template: bool


@st.cache_data(max_entries=64, max_size="300MB", ttl=24 * 3600, show_spinner=False)
def _answer(made: Made, turns: tuple[Turn, ...], form: str, _what: str, _model: "infoflow.model.Model", _job: jobs.Job) -> Answer:
    _job.say(f"{_what} …")
    return answer(_model, turns, form, on_progress=lambda done, total: _job.say(f"{_what} …", done / total))


@st.cache_data(max_entries=64, max_size="200MB", ttl=24 * 3600, show_spinner=False)
def _change(
    made: Made,
    turns: tuple[Turn, ...],
    form: str,
    _what: str,
    _before: Answer,
    _after: Answer,
    _model: "infoflow.model.Model",
    _job: jobs.Job,
) -> Change:
    return change(_model, _before, _after, lambda done, total: _job.say(f"{_what} …", done / total))


def conversation(place: Place, name: str, said: tuple[str, ...], form: str, job: jobs.Job) -> Talked:
    """A question and its corrections, every answer and every change. What was answered already is not asked again.

    Raises:
        InfoflowError: what `loaded` and `correct` raise; Cancelled when the job is stopped.
    """
    found = loaded(place, name, job)
    made, form = _made(place, found), form_of(found, form)
    answers: list[Answer] = []
    for number, text in enumerate(said):
        before = (*answers[-1].turns, ("assistant", answers[-1].text)) if answers else ()
        what = f"Answer {number + 1} of {len(said)}"
        answers.append(_answer(made, (*before, ("user", text)), form, what, found, job))
    changes = tuple(
        _change(made, b.turns, form, f"Change {n + 1} of {len(said) - 1}", a, b, found, job)
        for n, (a, b) in enumerate(zip(answers, answers[1:], strict=False))
    )
    return Talked(Correction(answers=tuple(answers), changes=changes), found.has_chat_template)


@st.cache_data(max_entries=32, ttl=24 * 3600, show_spinner=False)
def _calibrated(made: Made, _model: "infoflow.model.Model", _job: jobs.Job) -> HeadScores:
    def report(done: int, total: int) -> None:
        _job.say(f"Random tokens, {done} of {total}", done / total)

    return calibrate(_model, on_progress=report)


def calibrated(place: Place, name: str, job: jobs.Job) -> HeadScores:
    """Scores of every head on random tokens said twice.

    Raises:
        InfoflowError: what `loaded` and `calibrate` raise; Cancelled when the job is stopped.
    """
    found = loaded(place, name, job)
    return _calibrated(_made(place, found), found, job)


@st.cache_data(max_entries=128, max_size="200MB", ttl=24 * 3600, show_spinner=False)
def _carriers(
    made: Made,
    prompt: str,
    sources: tuple[str, ...],
    cell: tuple[int, str, int],
    source: int,
    _model: "infoflow.model.Model",
    _job: jobs.Job,
) -> Carriers:
    def report(done: int, total: int) -> None:
        _job.say(f"Layer {done} of {total}", done / total)

    layer, stage, position = cell
    return carriers(_model, prompt, layer, position, source, stage, sources, on_progress=report)


def who_carried(
    place: Place, name: str, prompt: str, sources: tuple[str, ...], cell: tuple[int, str, int], source: int, job: jobs.Job
) -> Carriers:
    """Who brought a source into a cell; `sources` has a label for each token, `source` is a number among them.

    Raises:
        InfoflowError: what `loaded` and `carriers` raise; Cancelled when the job is stopped.
    """
    found = loaded(place, name, job)
    return _carriers(_made(place, found), prompt, sources, cell, source, found, job)
