"""The protocol's own client asks: tools, sentences, pictures, progress, and a call that is given up."""

import asyncio
import base64
import json
import sys
import threading
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from jsonschema import Draft202012Validator

mcp = pytest.importorskip("mcp")

import infoflow  # noqa: E402
from infoflow.analyses.perform import Performed  # noqa: E402
from infoflow.analyses.request import Report, Request  # noqa: E402
from infoflow.errors import Cancelled  # noqa: E402
from infoflow.files import formats  # noqa: E402
from infoflow.server.mcp import server  # noqa: E402
from infoflow.server.openapi import EXAMPLES  # noqa: E402
from infoflow.server.service import METHODS  # noqa: E402
from tests.helpers.api import on  # noqa: E402

SPAIN = "The capital of Spain is"
Talk = Callable[[Any], Coroutine[Any, Any, Any]]


def talk(perform: Any, what: Talk) -> Any:
    """What comes of talking to a server whose requests are run so."""

    async def both() -> Any:
        async with mcp.Client(server(perform)) as client:
            return await asyncio.wait_for(what(client), 120)

    return asyncio.run(both())


@pytest.fixture
def run(demo: "infoflow.Model") -> Any:
    performed = on(demo)
    return lambda request, say: performed(request, "", say)


@pytest.mark.slow
def test_every_method_is_a_tool_that_says_what_it_takes(run: Any) -> None:
    tools = {tool.name: tool for tool in talk(run, lambda client: client.list_tools()).tools}
    assert tools.keys() == {*METHODS, "compare"}
    for method in METHODS:
        schema = Draft202012Validator(tools[method].input_schema)
        schema.validate({**EXAMPLES[method], "model": {"name": "demo"}, "picture": False})
        assert not schema.is_valid({"sky": 1})
    assert len(json.dumps([tool.input_schema for tool in tools.values()])) < 60_000, "an assistant reads all of it"


@pytest.mark.slow
def test_an_answer_is_a_sentence_a_picture_and_the_numbers_that_were_wanted(run: Any, demo: "infoflow.Model") -> None:
    told: list[tuple[float, str]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, str(message)))

    asked = {"prompt": SPAIN, "numbers": True}
    found = talk(run, lambda client: client.call_tool("flow", asked, progress_callback=hear))
    sentence, numbers, picture = found.content
    flow = infoflow.decompose(demo, SPAIN)
    assert not found.is_error and sentence.text == str(flow.summary()) and numbers.text.encode() == formats.as_json(flow)
    assert picture.mime_type == "image/png" and base64.b64decode(picture.data)[:8] == b"\x89PNG\r\n\x1a\n"
    assert told and told[-1] == (1.0, "Drawing …")


def test_two_runs_are_compared(run: Any) -> None:
    asked = {"analysis": "lens", "a": {"prompt": SPAIN}, "b": {"prompt": "The capital of Italy is"}, "picture": False}
    (sentence,) = talk(run, lambda client: client.call_tool("compare", asked)).content
    assert "Italy" in sentence.text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("tool", "asked", "said"),
    [
        ("flow", {}, "prompt: Field required"), ("flow", {"prompt": ""}, "empty"), ("sky", {"prompt": "The"}, "no tool 'sky'"),
        ("flow", {"prompt": "The", "picture": 1}, "true or false"), ("attribute", {"prompt": "The", "target": "xyz"}, "xyz"),
    ],
)  # fmt: skip
def test_an_error_is_a_sentence(tool: str, asked: dict[str, Any], said: str, run: Any) -> None:
    found = talk(run, lambda client: client.call_tool(tool, asked))
    assert found.is_error and said in found.content[0].text


def test_a_bug_is_told_without_what_it_was() -> None:
    def broken(request: Request[Any], say: Report) -> Performed[Any]:
        raise ZeroDivisionError("the secret")

    found = talk(broken, lambda client: client.call_tool("flow", {"prompt": "The"}))
    assert found.is_error and "secret" not in found.content[0].text


@pytest.mark.slow
def test_a_call_that_is_given_up_ends_its_run() -> None:
    begun, ended = threading.Event(), threading.Event()

    def long(request: Request[Any], say: Report) -> Performed[Any]:
        try:
            while True:
                say("Layer 1 of 2", 0.5)
                begun.set()
                ended.wait(0.01)
        except Cancelled:
            ended.set()
            raise

    async def give_up(client: Any) -> None:
        call = asyncio.create_task(client.call_tool("flow", {"prompt": "The"}))
        assert await asyncio.to_thread(begun.wait, 60)
        call.cancel()
        assert await asyncio.to_thread(ended.wait, 60)

    talk(long, give_up)


@pytest.mark.slow
def test_the_command_serves_on_standard_input_and_output() -> None:
    there = mcp.StdioServerParameters(command=sys.executable, args=["-m", "infoflow", "mcp"])

    async def ask() -> Any:
        async with mcp.Client(there) as client:
            return await client.call_tool("lens", {"prompt": SPAIN})

    found = asyncio.run(asyncio.wait_for(ask(), 120))
    assert not found.is_error and [one.type for one in found.content] == ["text", "image"]
