"""Every cache of the app. Keys are plain frozen values that hold all a result depends on; sizes and ages are bounded."""

from typing import TYPE_CHECKING

import streamlit as st

from infoflow import budget, samples
from infoflow.analyses.attribution import Attribution, attribute
from infoflow.analyses.carriers import Carriers, carriers
from infoflow.analyses.flow import METHOD, Flow, decompose
from infoflow.selftest import Check, check
from infoflow.tokens import groups_of
from infoflow.ui import jobs

if TYPE_CHECKING:
    import infoflow.model


@st.cache_resource(max_entries=2, show_spinner=False)
def model(name: str) -> "infoflow.model.Model":
    """A loaded model, shared by all visitors; it owns its lock."""
    from infoflow.model import (
        load_model,
    )  # transformers loads when a model is first needed, not before the first picture

    return load_model(name)


@st.cache_data(max_entries=32, ttl=3600, show_spinner=False)
def sample(name: str, prompt: str, method: int) -> Flow | None:
    return samples.sample(name, prompt)


@st.cache_resource(show_spinner=False)
def _verdicts() -> dict[str, Check]:
    """Self-tests of the models in memory, by name."""
    return {}


def verdict(name: str) -> Check | None:
    """What the self-test said when this model was loaded; None if it has not been."""
    return _verdicts().get(name)


def loaded(name: str, job: jobs.Job) -> "infoflow.model.Model":
    """The model, loaded and tested.

    Raises:
        InfoflowError: what `load_model` raises; Cancelled when the job is stopped.
    """
    job.say(f"Loading {name} …")
    found = model(name)
    if name not in _verdicts():
        job.say("Self-test …")
        _verdicts()[name] = check(found)
    return found


@st.cache_data(max_entries=64, ttl=24 * 3600, show_spinner=False)
def _flow(name: str, revision: str, dtype: str, prompt: str, sources: str, method: int, _job: jobs.Job) -> Flow:
    found = model(name)
    _job.say("Waiting for the model …")
    said = ""

    def report(done: int, total: int) -> None:
        _job.say(f"Layer {done} of {total}{said}", done / total)

    tokens = found.encode(prompt)
    n_sources = len(set(groups_of(sources, tokens)))
    said = f" · {len(tokens)} tokens in {n_sources} sources, {budget.estimate(found, len(tokens), n_sources)}"
    return decompose(found, prompt, sources, on_progress=report)


def flow(name: str, prompt: str, sources: str, job: jobs.Job) -> Flow:
    """The decomposition of a prompt, from a stored run, the cache, or the model.

    Raises:
        InfoflowError: what `load_model` and `decompose` raise; Cancelled when the job is stopped.
    """
    stored = sample(name, prompt, METHOD) if sources == "tokens" else None
    if stored is not None:
        return stored
    found = loaded(name, job)
    return _flow(found.name, found.revision, found.dtype, prompt, sources, METHOD, job)


def cost(name: str, n_tokens: int, n_sources: int) -> budget.Estimate | None:
    """What a run of this size takes on a model in memory; None where it isn't."""
    return budget.estimate(model(name), n_tokens, n_sources) if name in _verdicts() else None


def smaller_runs(name: str, prompt: str) -> list[tuple[str, budget.Estimate]]:
    """Groupings by which a prompt fits that is too large otherwise, with what they cost."""
    found = model(name)
    return budget.smaller_runs(found, found.encode(prompt))


@st.cache_data(max_entries=64, ttl=24 * 3600, show_spinner=False)
def _attribution(
    name: str,
    revision: str,
    dtype: str,
    prompt: str,
    target: int,
    against: int | None,
    centred: bool,
    direct: str,
    _job: jobs.Job,
) -> Attribution:
    def report(done: int, total: int) -> None:
        _job.say(f"Layer {done} of {total}", done / total)

    return attribute(model(name), prompt, target, against, centred=centred, direct=direct, on_progress=report)


def attribution(
    name: str, prompt: str, target: int | str, against: int | str | None, centred: bool, direct: str, job: jobs.Job
) -> Attribution:
    """What raises a logit at the last position. Typed targets may leave out their leading space.

    Raises:
        InfoflowError: what `load_model` and `attribute` raise; Cancelled when the job is stopped.
    """
    found = loaded(name, job)
    wanted = found.token_id_near(target)
    rival = None if against is None else found.token_id_near(against)
    return _attribution(found.name, found.revision, found.dtype, prompt, wanted, rival, centred, direct, job)


@st.cache_data(max_entries=128, ttl=24 * 3600, show_spinner=False)
def _carriers(
    name: str,
    revision: str,
    dtype: str,
    prompt: str,
    sources: tuple[str, ...],
    cell: tuple[int, str, int],
    source: int,
    _job: jobs.Job,
) -> Carriers:
    def report(done: int, total: int) -> None:
        _job.say(f"Layer {done} of {total}", done / total)

    layer, stage, position = cell
    return carriers(model(name), prompt, layer, position, source, stage, sources, on_progress=report)


def who_carried(
    name: str, prompt: str, sources: tuple[str, ...], cell: tuple[int, str, int], source: int, job: jobs.Job
) -> Carriers:
    """Who brought a source into a cell; `sources` has a label for each token, `source` is a number among them.

    Raises:
        InfoflowError: what `load_model` and `carriers` raise; Cancelled when the job is stopped.
    """
    found = loaded(name, job)
    return _carriers(found.name, found.revision, found.dtype, prompt, sources, cell, source, job)
