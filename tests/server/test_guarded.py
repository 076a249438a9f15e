"""Who may ask, from where, and what browsers are told of every answer."""

import re

import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from infoflow.server.headers import Headers

THERE = "https://there.example"


def test_a_token_is_asked_for_where_one_is_set(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFOFLOW_API_TOKEN", "tök en")
    assert client.get("/api/health").status_code == 200
    for path in ("/api/models", "/api/openapi.json", "/api/flow?prompt=The", "/api/nothing"):
        for given in ({}, {"Authorization": "Bearer other"}, {"Authorization": "Basic tök en".encode()}, {"Authorization": ""}):
            answer = client.get(path, headers=given)
            assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
            assert "tök" not in answer.text
    assert client.get("/api/models", headers={"Authorization": "Bearer tök en".encode()}).status_code == 200


def test_it_can_be_switched_off(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFOFLOW_API", "0")
    for path in ("/api/health", "/api/models", "/api/flow?prompt=The"):
        assert client.get(path).status_code == 404


def test_a_wrong_setting_is_for_whoever_runs_the_app(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("INFOFLOW_MAX_TOKENS", "many-zq17x")
    answer = client.get("/api/models")
    assert answer.status_code == 500 and "Whoever runs it finds in its log which" in answer.text and "zq17x" not in answer.text
    assert "Nothing can be asked before this is mended: INFOFLOW_MAX_TOKENS" in caplog.text


def test_pages_of_other_hosts_may_not_ask(client: TestClient) -> None:
    asked = {"Origin": THERE, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    for answer in (client.get("/api/models", headers={"Origin": THERE}), client.options("/api/lens", headers=asked)):
        assert not [name for name in answer.headers if name.startswith("access-control")]


def test_those_that_are_named_may(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFOFLOW_CORS_ORIGINS", f"{THERE}, https://third.example")
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization, content-type, x-ndif-key"}
    answer = client.options("/api/lens", headers={"Origin": THERE, **asked})
    assert answer.status_code == 200 and answer.headers["access-control-allow-origin"] == THERE
    assert "access-control-allow-credentials" not in answer.headers
    assert client.get("/api/models", headers={"Origin": THERE}).headers["access-control-allow-origin"] == THERE
    assert "access-control-allow-origin" not in client.get("/api/models", headers={"Origin": "https://else.example"}).headers


def sent(path: str, **more: object) -> dict[str, str]:
    async def plain(request: object) -> PlainTextResponse:
        return PlainTextResponse("", headers={"Referrer-Policy": "origin"} if path == "/own" else {})

    app = Starlette(routes=[Route("/{rest:path}", plain)], middleware=[Middleware(Headers, **more)])  # type: ignore[arg-type]
    return dict(TestClient(app).get(path).headers)


def test_browsers_are_told_to_be_careful() -> None:
    page, program = sent("/"), sent("/api/models")
    for headers in (page, program):
        assert headers["x-content-type-options"] == "nosniff" and headers["referrer-policy"] == "no-referrer"
        assert "camera=()" in headers["permissions-policy"]
    assert "default-src 'none'" in program["content-security-policy"]
    policy = dict(re.findall(r"([a-z-]+) ([^;]*)", page["content-security-policy"]))
    assert "unsafe" not in policy["script-src"].replace("'wasm-unsafe-eval'", "")
    assert (
        policy["default-src"] == policy["base-uri"] == policy["frame-ancestors"] == "'self'" and policy["object-src"] == "'none'"
    )
    assert not re.search(r"https?:|\*", page["content-security-policy"]), "nothing comes from another host"
    assert sent("/own")["referrer-policy"] == "origin"


def test_scripts_are_known_by_what_they_say() -> None:
    # the hash of `alert(1)` as every browser computes it
    assert "'sha256-bhHHL3z2vDgxUt0W3dWQOrprscmda2Y5pLsLg4GF+pI='" in sent("/", scripts=["alert(1)"])["content-security-policy"]


def test_those_that_show_the_app_in_a_frame_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFOFLOW_FRAMES", "https://a.example, https://b.example")
    assert sent("/")["content-security-policy"].endswith("frame-ancestors 'self' https://a.example https://b.example")
    monkeypatch.setenv("INFOFLOW_HOSTED", "1")
    for host in ("https://a.example", "https://huggingface.co", "https://*.streamlit.app"):
        assert host in sent("/")["content-security-policy"].partition("frame-ancestors")[2]
