"""Every cache of the app. Keys are plain frozen values that hold all a result depends on; sizes and ages are bounded."""

from typing import TYPE_CHECKING

import streamlit as st

from infoflow import samples
from infoflow.analyses.flow import METHOD, Flow
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


@st.cache_data(max_entries=64, ttl=24 * 3600, show_spinner=False)
def _flow(name: str, revision: str, dtype: str, prompt: str, method: int, _job: jobs.Job) -> Flow:
    from infoflow.analyses.flow import decompose

    loaded = model(name)
    _job.say("Waiting for the model …")
    return decompose(loaded, prompt, on_progress=lambda done, total: _job.say(f"Layer {done} of {total}", done / total))


def flow(name: str, prompt: str, job: jobs.Job) -> Flow:
    """The decomposition of a prompt, from a stored run, the cache, or the model.

    Raises:
        InfoflowError: what `load_model` and `decompose` raise; Cancelled when the job is stopped.
    """
    stored = sample(name, prompt, METHOD)
    if stored is not None:
        return stored
    job.say(f"Loading {name} …")
    loaded = model(name)
    return _flow(loaded.name, loaded.revision, loaded.dtype, prompt, METHOD, job)
