"""Nobody else's page makes a reader's own app work."""

from typing import Any

import pytest
from starlette.datastructures import Headers

from infoflow.server.origins import check
from infoflow.server.problems import Problem
from tests.helpers.api import client_of, failing

OURS = ("https://front.example",)


@pytest.mark.parametrize(
    ("headers", "alone"),
    [
        ({}, True),  # no browser
        ({"host": "localhost:8501"}, True),
        ({"host": "127.0.0.1:8501"}, True),
        ({"host": "[::1]:8501"}, True),
        ({"host": "[::1]"}, True),
        ({"host": "LocalHost"}, True),
        ({"host": "app.example", "sec-fetch-site": "same-origin"}, False),
        ({"host": "app.example", "sec-fetch-site": "none"}, False),  # typed by a reader
        ({"host": "app.example", "sec-fetch-site": "cross-site", "origin": "https://front.example"}, False),
    ],
)
def test_who_may_ask(headers: dict[str, str], alone: bool) -> None:
    check(Headers(headers), OURS, alone)


@pytest.mark.parametrize(
    ("headers", "alone", "words"),
    [
        ({"sec-fetch-site": "cross-site"}, False, "A page of another host"),  # a picture's address, a form
        ({"sec-fetch-site": "same-site"}, False, "A page of another host"),  # another port, another name below the same
        ({"sec-fetch-site": "cross-site", "origin": "https://evil.example"}, True, "A page of another host"),
        ({"sec-fetch-site": "cross-site", "origin": "null"}, False, "A page of another host"),
        ({"host": "rebound.example:8501"}, True, "asked by another name"),
        ({"host": "127.0.0.1.evil.example"}, True, "asked by another name"),
        ({"host": "localhost.evil.example:80"}, True, "asked by another name"),
        ({"host": ""}, True, "asked by another name"),
    ],
)
def test_who_may_not(headers: dict[str, Any], alone: bool, words: str) -> None:
    with pytest.raises(Problem) as told:
        check(Headers(headers), OURS, alone)
    assert told.value.status == 403 and words in told.value.detail


def test_the_routes_hold_to_it() -> None:
    api = client_of(failing(ZeroDivisionError()))
    refused = api.get("/api/presets", headers={"Sec-Fetch-Site": "cross-site"})
    assert refused.status_code == 403 and refused.headers["content-type"] == "application/problem+json"
    assert api.get("/api/presets", headers={"Sec-Fetch-Site": "same-origin"}).status_code == 200
