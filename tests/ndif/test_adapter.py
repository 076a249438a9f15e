"""What nnsight does not promise to keep is still there, and does what we take it for."""

import inspect

import nnsight

from infoflow.ndif import nnsight_names
from tests.helpers import tiny


def test_no_object_has_a_save_of_its_own() -> None:
    assert not hasattr(object(), "save") and not hasattr((), "save")
    assert callable(nnsight.save)


def test_a_backend_has_what_ours_replaces_and_uses() -> None:
    backend = nnsight_names.RemoteBackend
    for name in ("parse", "download_result", "request", "_post", "_serialize", "send", "handle"):
        assert callable(getattr(backend, name))
    assert list(inspect.signature(backend.request).parameters) == ["self", "request", "tracer"]
    assert list(inspect.signature(backend._post).parameters) == ["self", "request", "blob"]
    assert {"host", "api_key", "env"} <= set(inspect.signature(backend.__init__).parameters)
    assert {"RECEIVED", "QUEUED", "PROVISIONING", "DEPLOYING", "DISPATCHED", "RUNNING", "COMPLETED"} <= {
        status.name for status in nnsight_names.Status
    }
    assert {"status", "description"} <= set(nnsight_names.ResponseModel.model_fields)
    assert issubclass(nnsight_names.RemoteError, Exception)


def test_a_traced_model_gives_its_module_and_environment() -> None:
    model = tiny.model()
    assert nnsight_names.module_of(model._traced) is model._hf
    assert nnsight_names.environment_of(model._traced)


def test_a_name_on_the_service_is_asked_for_once_and_is_what_runs_ask_for() -> None:
    model = tiny.model()
    model._traced.repo_id = "tiny/Asked-Once"
    asked: list[int] = []
    for _ in range(2):
        assert nnsight_names.name_there("tiny/Asked-Once", lambda: asked.append(1) or "Tiny/asked-once") == "Tiny/asked-once"
    assert asked == [1] and '"repo_id": "Tiny/asked-once"' in model._traced.to_model_key()
