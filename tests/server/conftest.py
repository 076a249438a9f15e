"""The routes as a server has them, in this process, on a model that is loaded once."""

import pytest
from starlette.testclient import TestClient

import infoflow
from tests.helpers.api import client_of, on


@pytest.fixture
def client(demo: "infoflow.Model") -> TestClient:
    return client_of(on(demo))
