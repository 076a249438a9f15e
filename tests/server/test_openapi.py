"""The document says what there is: whatever is asked by it is answered by it, and never with a bug."""

from dataclasses import fields
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from jsonschema import Draft202012Validator
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)
from starlette.testclient import TestClient

import infoflow
from infoflow.analyses.perform import Performed
from infoflow.analyses.request import Report, Request, from_dict, known
from infoflow.server.fields import FIELDS
from infoflow.server.openapi import EXAMPLES, SCHEMAS, document
from infoflow.server.service import METHODS
from tests.helpers.api import app_of, on

OPERATIONS = [(verb, path) for path, verbs in document()["paths"].items() for verb in verbs]
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance, unsupported_method]
MANY = 5
"""examples of each"""


@pytest.fixture(scope="module")
def there(demo: "infoflow.Model") -> "schemathesis.schemas.BaseSchema":
    """What the first request of each kind gives is given to all of its kind: what is looked at is what surrounds a run."""
    run, kept = on(demo), {}

    def once(request: Request[Any], key: str, say: Report) -> Performed[Any]:
        if request.analysis not in kept:
            method = next(name for name, analysis in METHODS.items() if analysis == request.analysis)
            kept[request.analysis] = run(from_dict({**EXAMPLES[method], "analysis": request.analysis}), key, say)
        return kept[request.analysis]

    return schemathesis.openapi.from_asgi("/api/openapi.json", app_of(once))


@pytest.mark.slow
@pytest.mark.parametrize(("verb", "path"), OPERATIONS)
def test_what_is_asked_by_the_document_is_answered_by_it(verb: str, path: str, there: "schemathesis.schemas.BaseSchema") -> None:
    @given(case=there[path][verb].as_strategy())
    @settings(
        max_examples=MANY, deadline=None, derandomize=True, database=None, phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    def ask(case: schemathesis.Case) -> None:
        case.call_and_validate(checks=CHECKS, timeout=120)

    ask()


def test_every_field_says_what_it_means() -> None:
    schemas = {name: schema for name, schema in document()["components"]["schemas"].items() if name not in SCHEMAS}
    told = {(name, field): about for name, schema in schemas.items() for field, about in schema.get("properties", {}).items()}
    assert len(told) > 100 and [where for where, about in told.items() if len(about.get("description", "")) < 10] == []
    assert told["FlowRequest", "sources"]["description"].startswith("What is kept apart: ")  # which stands in the request
    assert told["PatchRequest", "site"]["description"] != told["Zero", "site"]["description"]
    assert {name for name in FIELDS if "." in name} <= {f"{name}.{field}" for name, field in told}


@pytest.mark.parametrize("method", METHODS)
def test_its_examples_are_requests(method: str, client: TestClient) -> None:
    whole, kind = document(), known()[METHODS[method]]
    schema = whole["components"]["schemas"][kind.__name__]
    assert schema["properties"].keys() == {field.name for field in fields(kind)}, "a field that is added to a request is in it"
    Draft202012Validator({**whole, **schema}).validate(EXAMPLES[method])
    assert client.post(f"/api/{method}", json=EXAMPLES[method]).status_code == 200


@pytest.mark.parametrize(("field", "value"), [("seed", 2**64), ("seed", -1), ("written", [3, 99_999]), ("written", [-1])])
def test_a_seed_or_a_token_that_there_is_not_is_said(field: str, value: object, client: TestClient) -> None:
    answer = client.post("/api/generate", json={"prompt": "The", "temperature": 1.0, "max_new_tokens": 1, field: value})
    assert answer.status_code == 422 and ("seed" in answer.json()["detail"] or "no token" in answer.json()["detail"])
