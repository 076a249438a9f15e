"""Requests of the package as tools over the Model Context Protocol: a result is its sentence and its picture, and on request its
numbers; an error is a sentence. Needs `infoflow[mcp]`.
"""

import base64
import json
from collections.abc import Callable
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from infoflow import __version__
from infoflow.analyses.perform import Performed
from infoflow.analyses.request import Report, Request, known
from infoflow.errors import BadPrompt
from infoflow.interventions import Intervention
from infoflow.models.spec import ModelSpec
from infoflow.server import answers, asking
from infoflow.server.fields import described
from infoflow.server.openapi import SUMMARY
from infoflow.server.problems import problem_of
from infoflow.server.running import LEFT, Run
from infoflow.server.service import COMPARED, METHODS
from infoflow.studies.compare import compare

if TYPE_CHECKING:
    import mcp.types
    from mcp.server import Server, ServerRequestContext

Perform = Callable[[Request[Any], Report], Performed[Any]]
ABOUT = """Shows per token how information flows through a language model, exactly. A tool takes a prompt and answers with what
its run shows, in a sentence, and a picture of it. "demo" is a small bundled model of synthetic English; "smollm2" is trained
on real text. A token that is named begins with its space: " Paris"."""
WISHES: dict[str, Any] = {
    "picture": {"type": "boolean", "default": True, "description": "Whether the answer has a picture (PNG)."},
    "numbers": {"type": "boolean", "default": False, "description": "Whether it has all numbers, as JSON: often long."},
}
"""of every tool, beside the fields of its request"""


def schema_of(method: str) -> dict[str, Any]:
    """What a tool takes. Interventions are told in a line: written out, they would be most of it, in each tool anew."""
    whole = _adapted(method)
    defs = whole.pop("$defs")
    kinds = {kind.__name__: kind for kind in Intervention.__subclasses__()}
    line = {"type": "object", "description": f"A change to the run, one of: {_kinds(kinds)}."}

    def put(value: Any) -> Any:
        """The same with every reference to something else than the model replaced by what it refers to."""
        if isinstance(value, list):
            return [put(one) for one in value]
        if not isinstance(value, dict):
            return value
        if "discriminator" in value:
            return line
        name = str(value.get("$ref", "")).rpartition("/")[2]
        if name in kinds:
            return line
        return put(defs[name]) if name else {key: put(one) for key, one in value.items()}

    found: dict[str, Any] = put(whole)
    return {**found, "properties": {**found["properties"], **WISHES}}


def _adapted(method: str) -> dict[str, Any]:
    asked = known()[METHODS[method]]
    whole = TypeAdapter(asked).json_schema()
    model = described(whole["$defs"]["ModelSpec"], ModelSpec)
    return {**described(whole, asked), "$defs": {**whole["$defs"], "ModelSpec": model}}


def _kinds(kinds: dict[str, type[Any]]) -> str:
    return "; ".join(
        json.dumps({"kind": name.lower(), **{f.name: "…" for f in fields(kind) if f.name != "kind"}}, ensure_ascii=False)
        for name, kind in kinds.items()
    )


def _compared() -> dict[str, Any]:
    one = {"type": "object", "description": "The fields of the request, as the analysis's own tool takes them."}
    return {
        "type": "object", "additionalProperties": False, "required": ["a", "b"],
        "properties": {
            "analysis": {"enum": list(COMPARED), "default": "flow"}, "a": one, "b": one,
            "quantity": {"type": "string", "default": ""},
            "align": {"enum": ["none", "start", "end"], "default": "none"}, **WISHES,
        },
    }  # fmt: skip


def _wishes(values: dict[str, Any]) -> tuple[bool, bool]:
    """What the answer shall have; taken out of the values, which are the request's then."""
    found = [values.pop(name, wish["default"]) for name, wish in WISHES.items()]
    if not all(isinstance(one, bool) for one in found):
        raise BadPrompt("'picture' and 'numbers' are true or false.")
    return found[0], found[1]


def asks(perform: Perform, tool: str, values: dict[str, Any]) -> Callable[[Report], list[tuple[str, bytes]]]:
    """The work that a tool's call asks for; it gives texts and pictures, each as its type and its data.

    Raises:
        BadPrompt: no such tool, or no request of it.
    """
    given = dict(values)
    picture, numbers = _wishes(given)
    if tool == "compare":
        pair = asking.pair_of(given)

        def result(say: Report) -> Any:
            first = perform(pair.a, say).result
            return compare(first, perform(pair.second(first), say).result, pair.quantity, align=pair.align)

    elif tool in METHODS:
        request = asking.asked(tool, given)

        def result(say: Report) -> Any:
            return perform(request, say).result

    else:
        raise BadPrompt(f"There is no tool '{tool[:40]}'. There are: {', '.join((*METHODS, 'compare'))}.")

    def work(say: Report) -> list[tuple[str, bytes]]:
        found = result(say)
        said = [("text/plain", str(found.summary()).encode())]
        if numbers:
            said.append((asking.JSON, answers.answer(found)))
        if picture:
            say("Drawing …", 1.0)
            said.append(("image/png", answers.answer(found, "png")))
        return said

    return work


def server(perform: Perform) -> "Server[Any]":
    """The tools, to be served over any transport; `perform` runs a request."""
    import mcp.types as types
    from mcp.server import Server

    descriptions = {**SUMMARY, "compare": "Two results of one analysis, value by value"}
    tools = [
        types.Tool(name=name, description=f"{said}.", input_schema=_compared() if name == "compare" else schema_of(name))
        for name, said in descriptions.items()
    ]

    async def listed(ctx: "ServerRequestContext[Any, Any]", params: Any) -> "types.ListToolsResult":
        return types.ListToolsResult(tools=tools)

    async def called(ctx: "ServerRequestContext[Any, Any]", params: "types.CallToolRequestParams") -> "types.CallToolResult":
        try:
            found = await _watched(Run(asks(perform, params.name, params.arguments or {})), ctx.session.report_progress)
        except Exception as error:  # noqa: BLE001  whatever it is, the assistant is told it in words
            return types.CallToolResult(content=[types.TextContent(text=problem_of(error).detail)], is_error=True)
        return types.CallToolResult(content=[_content(kind, data) for kind, data in found])

    return Server("infoflow", version=__version__, instructions=ABOUT, on_list_tools=listed, on_call_tool=called)


async def _watched(run: Run, tell: Callable[..., Any]) -> Any:
    """What comes of a run, told of as it goes; a call that is cancelled ends it."""
    try:
        while not run.outcome.done():
            await run.heard()
            if not run.outcome.done():
                await tell(run.fraction, 1.0, run.doing)
        return run.outcome.result()
    finally:
        run.stop(LEFT)


def _content(kind: str, data: bytes) -> "mcp.types.TextContent | mcp.types.ImageContent":
    import mcp.types as types

    if kind.startswith("image/"):
        return types.ImageContent(data=base64.b64encode(data).decode(), mime_type=kind)
    return types.TextContent(text=data.decode())


def serve(perform: Perform) -> None:
    """Serve them on standard input and output, until that is closed."""
    import anyio
    from mcp.server.stdio import stdio_server

    async def run() -> None:
        serving = server(perform)
        async with stdio_server() as (heard, said):
            await serving.run(heard, said, serving.create_initialization_options())

    anyio.run(run)
