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
    for name in ("parse", "download_result"):
        assert callable(getattr(backend, name))
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
