"""The routes as a server has them, in this process, on a model that is loaded once."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

import infoflow
from infoflow.analyses.perform import Performed, perform
from infoflow.analyses.request import Report, Request
from infoflow.server.http import routes
from infoflow.server.service import Service

Perform = Callable[[Request[Any], str, Report], Performed[Any]]


def client_of(run: Perform) -> TestClient:
    """A client of the routes, whose runs are made by `run`."""
    service = Service(perform=run, models=lambda: [{"name": "demo"}])
    return TestClient(Starlette(routes=routes(service)), raise_server_exceptions=True)


@pytest.fixture(scope="session")
def run(demo: "infoflow.Model") -> Perform:
    """Any request, on the bundled model."""

    def performed(request: Request[Any], key: str, say: Report) -> Performed[Any]:
        return perform(request, lambda spec, told: nullcontext(demo), say)

    return performed


@pytest.fixture
def client(run: Perform) -> TestClient:
    return client_of(run)
