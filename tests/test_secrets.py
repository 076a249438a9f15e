"""Secrets are planted and everything that is written, sent and logged is searched for them: files, answers, errors, logs, keys of
caches. What pages send is searched in tests/pages/test_hosted.py."""

import io
import json
import logging
import os
import pickle
import traceback
import zipfile
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from starlette.testclient import TestClient

import infoflow
from infoflow.analyses.flow import FlowRequest
from infoflow.analyses.perform import perform
from infoflow.analyses.request import Report, Request
from infoflow.cli.main import main
from infoflow.errors import InfoflowError
from infoflow.files import formats, links, scripts, sessions
from infoflow.files.library import Library
from infoflow.models.spec import ModelSpec
from infoflow.pictures.picture import picture_of
from infoflow.settings import settings
from infoflow.ui import cache, programs
from tests.helpers.api import app_of
from tests.helpers.loopback import KEY, Service

PLANTED = {
    "NDIF_API_KEY": KEY, "INFOFLOW_API_TOKEN": "planted-9f3c-of-the-api", "INFOFLOW_OWNER_TOKEN": "planted-9f3c-of-the-owner",
    "HF_TOKEN": "hf_planted9f3cOfTheHub",
}  # fmt: skip


@pytest.fixture
def planted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Iterator[list[bytes]]:
    """What is found beside what a test adds: whatever was said, logged, and written to this user's folders."""
    for name, value in PLANTED.items():
        monkeypatch.setenv(name, value)
    for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_DATA_HOME", "INFOFLOW_SESSIONS", "INFOFLOW_CACHE"):
        (tmp_path / name).mkdir()
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.chdir(tmp_path)
    found: list[bytes] = []
    logged = io.StringIO()
    listener = logging.StreamHandler(logged)
    logging.getLogger().addHandler(listener)
    before = logging.getLogger().level
    logging.getLogger().setLevel(logging.DEBUG)
    yield found
    logging.getLogger().setLevel(before)
    logging.getLogger().removeHandler(listener)
    said = capfd.readouterr()
    found += [logged.getvalue().encode(), said.out.encode(), said.err.encode()]
    found += [data for file in tmp_path.rglob("*") if file.is_file() for data in _inside(file.read_bytes())]
    assert len(found) > 3
    for secret in PLANTED.values():
        for data in found:
            assert secret.encode() not in data, data[max(0, data.index(secret.encode()) - 200) :][:400]


def _inside(data: bytes) -> Iterator[bytes]:
    """A file, and what is packed in it."""
    yield data
    with suppress(zipfile.BadZipFile), zipfile.ZipFile(io.BytesIO(data)) as packed:
        for name in packed.namelist():
            yield from _inside(packed.read(name))


@pytest.mark.slow
def test_no_secret_is_in_what_comes_of_a_hosted_run(
    planted: list[bytes],
    service: Service,
    hosted: Callable[..., "infoflow.Model"],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    model = hosted("llama", service)
    monkeypatch.setenv("NDIF_API_KEY", KEY)  # which the fixture took away
    assert model.connection is not None and model.connection.key == KEY
    flow = infoflow.decompose(model, "abc def")
    request = flow.provenance.request
    infoflow.save_session("one", [flow, infoflow.attention(model, "abc")], title="A", note="B")
    Library().save(sessions.session_of([flow]))
    infoflow.report([flow], "report.html")
    for ending in ("json", "csv", "parquet", "vl.json"):
        formats.write(flow, f"flow.{ending}", lambda: picture_of(flow), flow.to_frame())
    planted += [links.link(request).encode(), request.key.encode(), repr(request).encode(), repr(model).encode()]
    planted += [scripts.python_of(flow.provenance).encode(), json.dumps(request.to_dict()).encode(), pickle.dumps(request)]
    planted += [cache.of_key(KEY).encode(), repr(settings()).encode(), str(vars(settings())).encode()]
    service.fault("busy")
    with pytest.raises(InfoflowError) as told:
        infoflow.decompose(model, "abc dee")
    planted += ["".join(traceback.format_exception(told.value)).encode(), getattr(told.value, "details", "").encode()]
    assert main(["flow", "abc", "--model", model.name, "--remote", "--host", "http://127.0.0.1:9", "--out", "no.json"]) != 0
    assert main(["sessions", "list"]) == 0
    assert (tmp_path / "one.zip").exists() and (tmp_path / "flow.csv").exists()


@pytest.mark.slow
def test_no_secret_is_in_an_answer_to_a_program(planted: list[bytes], demo: "infoflow.Model") -> None:
    seen: list[str] = []

    def run(request: Request[Any], key: str, say: Report) -> Any:
        seen.append(key)
        if "fault" in str(request.prompt):
            raise RuntimeError(f"a bug with {os.environ['INFOFLOW_OWNER_TOKEN']} in it")
        return perform(request, lambda spec, told: nullcontext(demo), say)

    client = TestClient(app_of(run), raise_server_exceptions=False)
    own = {"Authorization": f"Bearer {PLANTED['INFOFLOW_API_TOKEN']}", "X-NDIF-Key": KEY}
    for body, headers in (
        ({"prompt": "The sky is"}, own), ({"prompt": ""}, own), ({"prompt": "a", "key": KEY[:5]}, own), ({"prompt": "a"}, {}),
        ({"prompt": "a"}, {"Authorization": "Bearer wrong"}),
    ):  # fmt: skip
        answer = client.post("/api/flow", json=body, headers=headers)
        planted += [answer.content, str(answer.headers).encode(), str(answer.url).encode()]
        assert answer.status_code in (200, 400, 401, 422)
    for path in ("health", "models", "presets", "openapi.json"):
        planted.append(client.get(f"/api/{path}", headers=own).content)
    assert seen and seen[0] == KEY, "it was used"


@pytest.mark.slow
def test_no_secret_is_in_what_the_app_keeps(planted: list[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that fails at a service that is not there: its key goes through the queue, the caches and the log."""
    monkeypatch.setenv("NDIF_HOST", "http://127.0.0.1:9")
    kept: list[tuple[Any, ...]] = []
    through = cache._kept_or
    monkeypatch.setattr(cache, "_kept_or", lambda fn, key, work, say: (kept.append(key), through(fn, key, work, say))[1])
    st.cache_data.clear()
    with pytest.raises(InfoflowError) as told:
        there = ModelSpec(name="meta-llama/Llama-3.1-8B", host="http://127.0.0.1:9")
        programs.perform(FlowRequest(prompt="a", model=there), KEY, lambda doing, fraction: None)
    programs.perform(FlowRequest(prompt="The sky"), KEY, lambda doing, fraction: None)
    planted += [repr(kept).encode(), "".join(traceback.format_exception(told.value)).encode()]
    assert kept
