"""The routes as a server has them, in this process, on a model that is loaded once."""

import asyncio
from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

import infoflow
from tests.helpers.api import client_of, on


@pytest.fixture
def client(demo: "infoflow.Model") -> TestClient:
    return client_of(on(demo))


@pytest.fixture(autouse=True)
def no_other_loop() -> Iterator[None]:
    """A browser's test that went before leaves its loop running in this thread, beside which asyncio begins none."""
    other = asyncio._get_running_loop()
    asyncio._set_running_loop(None)
    yield
    asyncio._set_running_loop(other)
