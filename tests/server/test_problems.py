"""What can't be answered is said in words, in one form, whatever it is."""

import asyncio
import json
import logging
from typing import Any

import pytest
from starlette.testclient import TestClient

from infoflow import errors
from infoflow.server.asking import LARGEST
from infoflow.server.http import WISHES
from infoflow.server.openapi import WHY
from infoflow.server.problems import MEDIA
from tests.helpers.api import app_of, client_of, failing

JSON = {"Content-Type": "application/json"}
BODIES: dict[str, tuple[bytes, dict[str, str], int, str]] = {
    "nothing": (b"", JSON, 400, "no JSON"),
    "no type": (b'{"prompt": "The"}', {}, 415, "application/json"),
    "a form's type": (b'{"prompt": "The"}', {"Content-Type": "text/plain"}, 415, "application/json"),
    "another charset": (b'{"prompt": "The"}', {"Content-Type": "application/json; charset=latin-1"}, 415, "UTF-8"),
    "no text": (b'{"prompt": "\xff"}', JSON, 400, "UTF-8"),
    "half a character": (b'{"prompt": "\\ud800"}', JSON, 400, "half a character"),
    "half a character as a name": (b'{"\\ud800": 1}', JSON, 400, "half a character"),
    "no number": (b'{"prompt": NaN}', JSON, 400, "NaN"),
    "a number too large": (b'{"prompt": "The", "k": 1e999}', JSON, 400, "too large"),
    "a number of too many digits": (b'{"k": ' + b"9" * 5000 + b"}", JSON, 400, "digits"),
    "an end too soon": (b'{"prompt": "The"', JSON, 400, "no JSON"),
    "a list": (b"[]", JSON, 422, "object"),
    "too deep": (b'{"prompt": ' + b"[" * 40 + b"]" * 40 + b"}", JSON, 400, "32 levels"),
    "much too deep": (b"[" * 200_000, JSON, 400, "no JSON"),
    "too large": (b'{"prompt": "' + b"a" * LARGEST + b'"}', JSON, 413, f"{LARGEST:,}"),
    "no prompt": (b"{}", JSON, 422, "prompt: Field required"),
    "another field": (b'{"prompt": "The", "sky": 1}', JSON, 422, "sky"),
    "an analysis": (b'{"prompt": "The", "analysis": "flow"}', JSON, 422, "address"),
    "an intervention that is none": (b'{"prompt": "The", "interventions": [{"kind": "zero"}]}', JSON, 422, "interventions"),
    "a prompt that can't be": (b'{"prompt": [-1]}', JSON, 422, "-1"),
}  # fmt: skip
"""what is sent, and with which headers; the status of the answer, and what it says"""


def problem(answer: Any, status: int) -> dict[str, Any]:
    assert (answer.status_code, answer.headers["content-type"]) == (status, MEDIA), answer.text
    found = answer.json()
    assert found["status"] == status and found["type"] == "about:blank" and found["title"] and found["detail"][-1] == "."
    assert status in WHY or status in (404, 405), "the document says when it comes"
    return found  # type: ignore[no-any-return]


@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_is_none(name: str, client: TestClient) -> None:
    body, headers, status, said = BODIES[name]
    assert said in problem(client.post("/api/lens", content=body, headers=headers), status)["detail"]


def test_a_body_may_be_as_large_as_is_said(client: TestClient) -> None:
    body = b'{"prompt": "The", "k": 1}'.ljust(LARGEST)
    assert client.post("/api/lens", content=body, headers=JSON).status_code == 200
    assert client.post("/api/lens", content=body + b" ", headers=JSON).status_code == 413


def test_a_body_that_does_not_end_is_not_kept(client: TestClient) -> None:
    sent = []

    def endless() -> Any:
        while len(sent) < 1000:
            sent.append(0)
            yield b" " * 65536

    problem(client.post("/api/lens", content=endless(), headers=JSON), 413)


@pytest.mark.parametrize(
    ("method", "path", "status"), [("PUT", "/api/lens", 405), ("GET", "/api/lens", 405), ("OPTIONS", "/api/lens", 405),
    ("DELETE", "/api/flow", 405), ("POST", "/api/health", 405), ("GET", "/api/nothing", 404), ("POST", "/api/circuit", 404),
    ("GET", "/api/flow", 422), ("GET", "/api/flow?prompt=The&model=nobody%2Fno", 200), ("GET", "/api/", 404)],
)  # fmt: skip
def test_an_address_that_takes_something_else(method: str, path: str, status: int, client: TestClient) -> None:
    answer = client.request(method, path)
    if status != 200:
        problem(answer, status)
    if status == 405:
        allowed = "POST" if path == "/api/lens" else "GET, HEAD, POST" if "flow" in path else "GET, HEAD"
        assert sorted(answer.headers["allow"].split(", ")) == allowed.split(", ")
    assert client.head(path.replace("/api/lens", "/api/nothing")).status_code in (200, 404, 422)


@pytest.mark.parametrize("query", ["format=doc", "dark=yes", "events=2", "events=1&format=png"])
def test_a_wish_that_is_not_known(query: str, client: TestClient) -> None:
    problem(client.post(f"/api/lens?{query}", json={"prompt": "The"}), 422)


@pytest.mark.parametrize(
    ("method", "path", "said"),
    [
        ("POST", "/api/lens?metric=norm", "'metric'"), ("POST", "/api/lens?prompt=The", "'prompt'"),
        ("GET", "/api/flow?prompt=The&format=csv", "'format'"), ("GET", "/api/flow?prompt=The&sources=words", "'sources'"),
        ("GET", "/api/flow?prompt=The&prompt=A", "twice"), ("POST", "/api/lens?dark=1&dark=1", "twice"),
        ("POST", f"/api/lens?{'x' * 5000}=1", "x" * 40 + "'"), ("HEAD", "/api/flow?prompt=The&k=1", ""),
    ],
)  # fmt: skip
def test_an_address_that_says_what_nobody_would_hear(method: str, path: str, said: str, client: TestClient) -> None:
    answer = client.request(method, path, json={"prompt": "The"} if method == "POST" else None)
    assert answer.status_code == 422 and (method == "HEAD" or said in problem(answer, 422)["detail"])


def test_the_document_names_what_an_address_may_say(client: TestClient) -> None:
    paths = client.get("/api/openapi.json").json()["paths"]
    for verb, names in WISHES.items():
        named = {p["name"] for p in paths["/api/flow"][verb.lower()]["parameters"] if p["in"] == "query"}
        assert named == set(names)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.BadPrompt("It is empty."), 422), (errors.BadLens("It is none."), 422), (errors.BadFile("It is none."), 422),
        (errors.UnsupportedModel("There is none."), 422), (errors.TooLarge("It is too long."), 413),
        (errors.NotAllowed("It does not run that."), 403), (errors.Cancelled("It was stopped."), 499),
        (errors.InfoflowError("It can't be drawn."), 422),
    ],
)  # fmt: skip
def test_an_error_that_can_be_mended_is_told_as_it_is(error: errors.InfoflowError, status: int) -> None:
    found = problem(client_of(failing(error)).post("/api/lens", json={"prompt": "The"}), status)
    assert found["detail"] == str(error) and found["error"] == type(error).__name__


def test_one_of_the_service_says_its_cause_and_nothing_that_the_service_said() -> None:
    error = errors.RemoteRunError("queue", "It is full.", details="a trace of the service's")
    answer = client_of(failing(error)).post("/api/lens", json={"prompt": "The"})
    assert problem(answer, 502)["cause"] == "queue" and "trace" not in answer.text


def test_who_asks_too_much_is_told_when_to_come_again() -> None:
    for seconds, said in ((12.4, "13"), (0.1, "1"), (0.0, "1")):  # sooner it would be refused again
        answer = client_of(failing(errors.Busy("Too many.", seconds))).post("/api/lens", json={"prompt": "The"})
        problem(answer, 429)
        assert answer.headers["retry-after"] == said


def test_a_bug_says_nothing_of_itself_but_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.ERROR):
        answer = client_of(failing(ZeroDivisionError("the secret"))).post("/api/lens", json={"prompt": "The"})
    assert "secret" not in json.dumps(problem(answer, 500)) and "the secret" in caplog.text


def test_settings_that_are_wrong_are_not_told_to_strangers(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INFOFLOW_MAX_TOKENS", "the secret")
    assert "secret" not in problem(client.get("/api/models"), 500)["detail"]


def test_comparisons_that_are_none(client: TestClient) -> None:
    one = {"prompt": "The"}
    for body in (
        {}, {"a": one}, {"a": one, "b": 3}, {"a": one, "b": {}},
        *({"a": one, "b": one, **more} for more in (
            {"c": one}, {"align": "up"}, {"analysis": "patch"}, {"analysis": ["flow"]}, {"quantity": 1}, {"quantity": "sky"},
        )),
    ):  # fmt: skip
        problem(client.post("/api/compare", json=body), 422)


def test_who_leaves_before_the_body_is_there_is_no_bug(caplog: pytest.LogCaptureFixture) -> None:
    app, sent = app_of(failing(AssertionError("nothing is run"))), []
    told = iter([{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}])
    scope = {
        "type": "http", "method": "POST", "path": "/api/lens", "raw_path": b"/api/lens", "query_string": b"", "root_path": "",
        "headers": [(b"content-type", b"application/json")],
    }  # fmt: skip

    async def receive() -> Any:
        return next(told)

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    assert sent[0]["status"] == 499 and not caplog.records
