"""What programs are answered: the JSON of the command line, the first front end's shape, and every error in words."""

import json
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

import infoflow
from infoflow.cli.main import main
from infoflow.server.service import METHODS
from tests.helpers.loaded_once import load_once

SPAIN, ITALY = "The capital of Spain is", "The capital of Italy is"
BLOCK = {"kind": "block", "source": "Spain", "destination": -1}
ASKED: dict[str, tuple[list[str], dict[str, Any]]] = {
    "flow": ([SPAIN, "--sources", "words", "--targets", " Paris"], {"prompt": SPAIN, "sources": "words", "targets": [" Paris"]}),
    "attribute": ([SPAIN, "--target", " Paris"], {"prompt": SPAIN, "target": " Paris"}),
    "locate": ([SPAIN, "--change", json.dumps(BLOCK)], {"prompt": SPAIN, "interventions": [BLOCK]}),
    "attention": ([SPAIN], {"prompt": SPAIN}),
    "lens": ([SPAIN, "--k", "3"], {"prompt": SPAIN, "k": 3}),
    "generate": ([SPAIN, "--max-new-tokens", "3"], {"prompt": SPAIN, "max_new_tokens": 3}),
    "correct": (["What color is the sky?", "No, it is green."], {"prompt": ["What color is the sky?", "No, it is green."]}),
    "patch": ([SPAIN, ITALY, "--site", "resid_pre"], {"prompt": SPAIN, "corrupted": ITALY, "site": "resid_pre"}),
    "compare": ([SPAIN, ITALY, "--analysis", "locate"], {"analysis": "locate", "a": {"prompt": SPAIN}, "b": {"prompt": ITALY}}),
}  # fmt: skip
"""of every method: what is typed, and the body of the same question"""


@pytest.mark.slow
@pytest.mark.parametrize("method", ASKED)
def test_an_answer_is_what_the_command_line_writes(
    method: str,
    client: TestClient,
    demo: "infoflow.Model",
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    load_once(demo, monkeypatch)
    typed, body = ASKED[method]
    assert main([method, *typed, "--quiet"]) == 0
    written = capfdbinary.readouterr().out
    answer = client.post(f"/api/{method}", json=body)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/json"
    assert answer.content + b"\n" == written


def test_every_method_is_asked_above() -> None:
    assert ASKED.keys() == {*METHODS, "compare"}


def test_the_first_front_end_gets_its_shape(client: TestClient, demo: "infoflow.Model") -> None:
    found = client.get("/api/flow", params={"prompt": SPAIN}).json()
    flow = infoflow.decompose(demo, SPAIN)
    assert np.array_equal(found["attention_norms"], flow.norms("mid"))
    assert np.array_equal(found["mlp_norms"], flow.norms("post"))
    assert found["tokens"] == list(flow.tokens)
    assert found["top_predictions"] == {said.token: said.probability for said in flow.top}
    assert found["top_perdictions"] == found["top_predictions"], "the name that it reads"
