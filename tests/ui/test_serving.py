"""Programs ask of the same caches and under the same rules as pages."""

import ast
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import streamlit as st
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.routing import Mount
from starlette.testclient import TestClient
from streamlit.runtime.memory_uploaded_file_manager import MemoryUploadedFileManager
from streamlit.runtime.uploaded_file_manager import UploadedFileRec

from infoflow.analyses.attention import AttentionRequest
from infoflow.server.owner import Behind
from infoflow.ui import programs, serving, streamlit_names
from tests.helpers.api import client_of

ROOT = Path(__file__).parents[2]


def test_two_programs_with_the_same_question_have_it_run_once(monkeypatch: pytest.MonkeyPatch) -> None:
    st.cache_data.clear()
    begun, go_on, runs = threading.Event(), threading.Event(), []
    plain = AttentionRequest.run

    def run(request: Any, model: Any, on_progress: Any = None) -> Any:
        runs.append(request)
        begun.set()
        assert go_on.wait(60)
        return plain(request, model, on_progress)

    monkeypatch.setattr(AttentionRequest, "run", run)
    client, asked = client_of(programs.perform), {"prompt": "The dog sat"}
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(client.post, "/api/attention", json=asked)
        assert begun.wait(60)
        two = pool.submit(client.post, "/api/attention?events=1", json=asked)
        go_on.set()
        assert one.result(60).status_code == two.result(60).status_code == 200
        assert one.result().text in two.result().text
    assert client.post("/api/attention", json=asked).content == one.result().content and len(runs) == 1


def test_programs_ask_for_no_model_nor_place_that_strangers_may_not(monkeypatch: pytest.MonkeyPatch) -> None:
    client = client_of(programs.perform)
    answer = client.post("/api/flow", json={"prompt": "The", "model": {"name": "demo", "host": "https://else.example"}})
    assert answer.status_code == 403 and answer.json()["error"] == "NotAllowed"
    monkeypatch.setenv("INFOFLOW_HOSTED", "1")
    monkeypatch.setattr("huggingface_hub.snapshot_download", None)  # nobody is asked
    for name in ("openai-community/gpt2", "/etc", "../demo"):
        assert client.post("/api/flow", json={"prompt": "The", "model": {"name": name}}).status_code == 403
    assert client.post("/api/lens", json={"prompt": "The", "kind": "tuned", "lens": "/etc/passwd"}).status_code == 403
    assert client.post("/api/generate", json={"prompt": "The", "max_new_tokens": 5000}).status_code == 413
    assert [model["name"] for model in programs.models()] == ["demo"]


def test_a_lens_is_no_file_of_this_machine_where_others_ask(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("INFOFLOW_LOCAL_FOLDERS", "0")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "lens.pt").write_bytes(b"the secret")
    answer = client_of(programs.perform).post(
        "/api/lens", json={"prompt": "The", "kind": "tuned", "lens": str(tmp_path / "lens.pt")}
    )
    assert answer.status_code == 422 and "hub" in answer.json()["detail"]


def test_the_server_starts_without_torch_and_before_any_cache() -> None:
    seen = "*(name in sys.modules for name in ('torch', 'altair', 'infoflow.ui.cache'))"
    program = f"import streamlit_app as it, gc, sys; print(type(it.app).__name__, {seen}, *gc.get_threshold())"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["App", "False", "False", "False", "50000", "10", "10"], done.stderr


def test_what_is_drawn_of_a_kept_result_counts_as_a_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFOFLOW_RUNS_PER_MINUTE", "3")
    programs.cache._allowance.clear()
    client, asked = TestClient(Starlette(routes=[Mount("/api", app=programs.served(""))])), {"prompt": "The dog sat"}
    kinds = ("json", "json", "csv", "svg", "csv", "json")
    assert [client.post(f"/api/lens?format={kind}", json=asked).status_code for kind in kinds] == [200, 200, 200, 200, 429, 200]
    programs.cache._allowance.clear()


def test_streamlits_own_figures_are_for_the_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(programs.cache, "owner", lambda token: token == "the owner's")
    kept = {one.cls: one.kwargs for one in serving.parts()["middleware"]}[Behind]
    assert kept["path"] == "/_stcore/metrics" and kept["let_in"]("the owner's") and not kept["let_in"]("")


def test_streamlit_finds_the_app_where_it_looks() -> None:
    from streamlit.web.server.app_discovery import discover_asgi_app

    for path in ("streamlit_app.py", "deploy/streamlit_app.py"):
        assert discover_asgi_app(ROOT / path).app_name == "app", "it reads the file and does not run it"
        assert "serving.parts()" in ast.unparse(ast.parse((ROOT / path).read_text()))


def test_files_that_strangers_hand_in_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    bounded = [False]
    monkeypatch.setattr(MemoryUploadedFileManager, "add_file", MemoryUploadedFileManager.add_file)  # put back afterwards
    monkeypatch.setattr(streamlit_names, "get_option", lambda name: 1)
    streamlit_names.few_uploads(lambda: bounded[0])
    files = MemoryUploadedFileManager("/upload")

    def hand_in(session: str, name: str, size: int = 2**20) -> None:
        files.add_file(session, UploadedFileRec(name, "a.zip", "application/zip", bytes(size)))

    for number in range(3):
        hand_in("owner", f"{number}")
    files.remove_session_files("owner")
    bounded[0] = True
    for session in ("a", "b", "c"):
        for name in ("1", "2", "2"):  # the same one again takes the place of the first
            hand_in(session, name)
        with pytest.raises(HTTPException, match="Too many files"):
            hand_in(session, "3", 1)
    for session in ("d", "e"):
        hand_in(session, "1")
    with pytest.raises(HTTPException, match="Too many files"):
        hand_in("f", "1")
    files.remove_session_files("a")
    hand_in("f", "1")
