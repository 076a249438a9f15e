"""What can be asked over HTTP as an OpenAPI document, made from the requests: a field that is added to one is in it."""

from functools import cache
from typing import Any, Literal

from pydantic import TypeAdapter

from infoflow import __version__
from infoflow.analyses.request import Request, known
from infoflow.files.formats import VEGALITE
from infoflow.interventions import Intervention
from infoflow.models.spec import ModelSpec
from infoflow.server import events, problems
from infoflow.server.answers import MEDIA
from infoflow.server.fields import described
from infoflow.server.service import COMPARED, METHODS

AT = "#/components/schemas/{model}"
WHY = {
    400: "The body is no JSON.", 401: "The token is missing or wrong.", 403: "This server does that for nobody, or not for you.",
    413: "Too many bytes, tokens, or more memory than there is: ask for less.", 415: "The body is not said to be JSON.",
    422: "A prompt, a model or a field that can't be worked with.", 429: "Too much is asked now: come again after Retry-After.",
    499: "The client has left.", 500: "A bug of the app.", 502: "The hosted service failed.", 503: "The server is being stopped.",
}  # fmt: skip
"""each error that can be an answer"""
SHORT = (401, 404, 500)
"""those of what runs nothing"""
SUMMARY = {
    "flow": "Split every residual by source token", "attribute": "Split a logit by source, head and MLP",
    "locate": "Where the answer is, row by row", "attention": "Where each head looks", "lens": "What each row would say",
    "generate": "Write, and what each token rests on", "correct": "A question, corrections, and what each turn did",
    "patch": "Which parts make the difference between two prompts",
}  # fmt: skip
EXAMPLES: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("flow", "attention", "lens"), {"prompt": "The capital of France is"}),
    **dict.fromkeys(("attribute", "locate"), {"prompt": "The capital of France is", "target": " Paris", "against": " Rome"}),
    "generate": {"prompt": "The capital of France is", "max_new_tokens": 3},
    "correct": {"prompt": ["What is the capital of France?", "No, the answer is Rome."]},
    "patch": {"prompt": "The capital of France is", "corrupted": "The capital of Italy is", "site": "resid_pre"},
}  # fmt: skip
_NUMBERS = {"type": "array", "items": {"type": "array", "items": {"type": "array", "items": {"type": ["number", "null"]}}}}
_TEXTS = {"type": "array", "items": {"type": "string"}}
_OBJECT = {"type": "object"}
SCHEMAS: dict[str, Any] = {
    "Problem": {
        "type": "object", "description": "Why there is no answer (RFC 9457).", "required": ["type", "title", "status", "detail"],
        "properties": {
            "type": {"type": "string"}, "title": {"type": "string"}, "status": {"type": "integer"},
            "detail": {"type": "string", "description": "What happened, with the values, and what to do."},
            "error": {"type": "string", "description": "What kind it is, as the command line tells it."},
            "cause": {"type": "string", "description": "Of an error of the hosted service: its cause."},
        },
    },
    "Table": {
        "type": "object", "description": "A result as a table, with what was run.", "required": ["provenance", "columns", "rows"],
        "properties": {"provenance": _OBJECT, "columns": _TEXTS, "rows": {"type": "array", "items": {"type": "array"}}},
    },
    "Flow": {
        "type": "object", "description": "A flow in full: norms as [layer][position][source].",
        "required": ["tokens", "source_labels", "attention_norms", "mlp_norms", "top_predictions", "max_error", "provenance"],
        "properties": {
            "tokens": _TEXTS, "source_labels": _TEXTS, "attention_norms": _NUMBERS, "mlp_norms": _NUMBERS,
            "top_predictions": {"type": "array", "items": _OBJECT}, "max_error": {"type": ["number", "null"]},
            "provenance": _OBJECT,
        },
    },
    "Event": {
        "type": "object", "description": "One of the events of a run; what it says is JSON.", "required": ["event", "data"],
        "properties": {"event": {"enum": ["progress", "result", "problem"]}, "data": {"type": "string"}},
    },
    "Norms": {
        "type": "object", "description": "A flow in short: norms as [layer][position][source], {token: probability}.",
        "required": ["tokens", "attention_norms", "mlp_norms", "top_predictions"],
        "properties": {
            "tokens": _TEXTS, "attention_norms": _NUMBERS, "mlp_norms": _NUMBERS,
            "top_predictions": {"type": "object", "additionalProperties": {"type": "number"}},
        },
    },
}  # fmt: skip


def _refers(name: str) -> dict[str, str]:
    return {"$ref": AT.format(model=name)}


def _asked(method: str) -> type[Request[Any]]:
    return known()[METHODS[method]]


@cache
def document(base: str = "") -> dict[str, Any]:
    """The document; `base` is what stands before every path."""
    adapters: list[tuple[str, Literal["validation"], Any]] = [(m, "validation", TypeAdapter(_asked(m))) for m in METHODS]
    made, rest = TypeAdapter.json_schemas(adapters, ref_template=AT)
    names = {method: _asked(method).__name__ for method in METHODS}
    requests = {}
    for method, name in names.items():
        found = made[method, "validation"]
        requests[name] = rest["$defs"].pop(name) if "$ref" in found else found
    kinds = {kind.__name__: kind for kind in (*map(_asked, METHODS), *Intervention.__subclasses__(), ModelSpec)}
    told = {name: described(schema, kinds.get(name)) for name, schema in {**rest["$defs"], **requests}.items()}
    schemas = {**SCHEMAS, **told, "Comparison": _comparison(names)}
    paths: dict[str, Any] = {
        "/api/health": {"get": _short("health", "Whether the app is alive", _OBJECT)},
        "/api/models": {"get": _short("models", "Which models may be asked", {"type": "array", "items": _OBJECT})},
        "/api/presets": {"get": _short("presets", "Prompts to begin with", {"type": "array", "items": _OBJECT})},
        "/api/openapi.json": {"get": _short("openapi", "This document", _OBJECT)},
        **{f"/api/{m}": {"post": _method(m, SUMMARY[m], _refers(name), EXAMPLES[m])} for m, name in names.items()},
        "/api/compare": {"post": _method("compare", "Two results, value by value", _refers("Comparison"), {
            "analysis": "flow", "a": {"prompt": "The capital of France is"}, "b": {"prompt": "The capital of Italy is"},
        })},
    }  # fmt: skip
    paths["/api/flow"]["get"] = _norms()
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "infoflow", "version": __version__, "license": {"name": "MIT", "identifier": "MIT"},
            "description": "How information flows through a language model. Bodies are requests of the package, answers are what "
            "its command line writes.",
        },
        "servers": [{"url": base or "/"}],
        "security": [{}, {"bearer": []}],
        "paths": paths,
        "components": {"schemas": schemas, "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}}},
    }  # fmt: skip


def _comparison(names: dict[str, str]) -> dict[str, Any]:
    """Two requests of one analysis: one alternative for each that can be compared."""
    return {"anyOf": [_compared(method, names[method]) for method in COMPARED]}


def _compared(method: str, name: str) -> dict[str, Any]:
    schema = {
        "type": "object", "additionalProperties": False, "required": ["a", "b", *(["analysis"] if method != "flow" else [])],
        "properties": {
            "analysis": {"const": method, "default": "flow"}, "a": _refers(name), "b": _refers(name),
            "quantity": {"type": "string", "default": ""}, "align": {"enum": ["none", "start", "end"], "default": "none"},
        },
    }  # fmt: skip
    return described(schema, None)


def _problems(which: tuple[int, ...]) -> dict[str, Any]:
    content = {problems.MEDIA: {"schema": _refers("Problem")}}
    return {str(status): {"description": WHY.get(status, "There is no such thing."), "content": content} for status in which}


def _short(name: str, summary: str, schema: dict[str, Any]) -> dict[str, Any]:
    answer = {"description": summary, "content": {"application/json": {"schema": schema}}}
    return {"operationId": name, "summary": summary, "responses": {"200": answer, **_problems(SHORT)}}


def _parameter(name: str, where: str, schema: dict[str, Any], said: str, needed: bool = False) -> dict[str, Any]:
    return {"name": name, "in": where, "schema": schema, "description": said, "required": needed}


def _key() -> dict[str, Any]:
    return _parameter("X-NDIF-Key", "header", {"type": "string"}, "A key for the hosted service; never in a body or an address.")


def _norms() -> dict[str, Any]:
    answer = {"description": "The norms", "content": {"application/json": {"schema": _refers("Norms")}}}
    asked = [
        _parameter("prompt", "query", {"type": "string"}, "The text to run.", needed=True),
        _parameter("model", "query", {"type": "string", "default": "demo"}, "Which model."), _key(),
    ]  # fmt: skip
    return {
        "operationId": "norms", "summary": "The norms of a flow, by an address alone", "parameters": asked,
        "responses": {"200": answer, **_problems(tuple(s for s in WHY if s not in (400, 415)))},
    }  # fmt: skip


def _method(method: str, summary: str, body: dict[str, Any], example: dict[str, Any]) -> dict[str, Any]:
    flag = {"type": "string", "enum": ["0", "1"], "default": "0"}
    schema = _refers("Flow" if method == "flow" else "Table")
    text, given = {"schema": {"type": "string"}}, {"one": {"value": example}}
    content = {kind.partition(";")[0]: text for kind in MEDIA.values()} | {
        "application/json": {"schema": schema},
        events.MEDIA: {"schema": _refers("Event")},
        MEDIA[VEGALITE]: {"schema": _OBJECT},
    }
    return {
        "operationId": method, "summary": summary,
        "parameters": [
            _parameter("format", "query", {"type": "string", "enum": list(MEDIA), "default": "json"}, "Of the answer."),
            _parameter("dark", "query", flag, "Whether pictures are for a dark page."),
            _parameter("events", "query", flag, "Tell of the run as it goes, as Accept: text/event-stream does."), _key(),
        ],
        "requestBody": {"required": True, "content": {"application/json": {"schema": body, "examples": given}}},
        "responses": {"200": {"description": "The result", "content": content}, **_problems(tuple(WHY))},
    }  # fmt: skip
