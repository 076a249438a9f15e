"""1,500 random bodies and headers end in an answer or in a sentence: no error of the server's own."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from starlette.testclient import TestClient

from infoflow.analyses.request import Report, Request
from infoflow.errors import TooLarge
from infoflow.server.problems import MEDIA
from infoflow.server.service import METHODS
from tests.helpers.api import client_of
from tests.helpers.random_values import plain, texts

READ: list[str] = []


def _run(request: Request[Any], key: str, say: Report) -> Any:
    """A body that is a request is looked at as caches, logs and links do, and not run."""
    READ.append(request.key)
    request.to_dict()
    raise TooLarge("Not here.")


@pytest.fixture(scope="module")
def closed() -> TestClient:
    return client_of(_run)


FIELDS = (
    "prompt model sources targets target against position positions interventions k layer layers head site metric clean "
    "corrupted max_new_tokens temperature seed question correction lens kind a b contrast analysis quantity align top_p "
    "rows centred heads draws receiver"
).split()
NATURAL: Any = some.fixed_dictionaries(
    {"prompt": some.sampled_from(["The cat", "", "a"]) | plain},
    optional={name: plain for name in FIELDS[1:]},
)
BODIES = (
    some.binary(max_size=40)
    | plain.map(lambda value: json.dumps(value).encode())
    | some.dictionaries(some.sampled_from(FIELDS), plain, max_size=5).map(lambda value: json.dumps(value).encode())
    | NATURAL.map(lambda value: json.dumps(value).encode())
    | some.just(b'{"prompt": "The cat"}')
)


@pytest.mark.slow
@settings(max_examples=1500, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(
    some.sampled_from([*METHODS, "compare"]),
    BODIES,
    some.dictionaries(some.sampled_from(["format", "events", "dark", "x"]), texts),
)
def test_no_body_is_an_error_of_the_server(closed: TestClient, method: str, body: bytes, query: dict[str, str]) -> None:
    sent = {name: value.encode("utf-8", "replace").decode() for name, value in query.items()}
    answer = closed.post(f"/api/{method}", content=body, params=sent, headers={"Content-Type": "application/json"})
    assert 400 <= answer.status_code < 500 or "text/event-stream" in answer.headers["content-type"], (
        answer.status_code,
        answer.text,
    )
    if answer.headers["content-type"] == MEDIA:
        assert answer.json()["detail"][-1] == "." and "Traceback" not in answer.text


def test_some_of_them_are_requests(closed: TestClient) -> None:
    closed.post("/api/flow", json={"prompt": "The cat"})
    assert READ
