"""A server on loopback that speaks NDIF's protocol and runs small models: a test tool, and never more.

    python tests/helpers/ndif_server.py --port 8901 --model tiny/llama=/path/to/folder [--key UUID] [--min-nnsight 0.8.0]
    python tests/helpers/ndif_server.py --each-line

The second starts one for each line of such arguments, a list in JSON, and tells its process's number: in a fork, which has
imported everything.

It runs the code it is sent, in this process of its own, so that whatever a block needs beyond torch is missing here as it
is there; and a block that reads a parameter is refused, as the service's sandbox refuses it. `POST /_fault` {"mode": ...}
makes the next run fail: busy, drop, silent, garbage, die, error:<what the service says>, or mute-connection, mute-session and
mute-request, which accept and never answer; or hold leaves it in the queue until {"mode": "go on"}. `GET` lists those still to
come. {"mode": "revision:..."} is the revision that it says it runs from then on.
"""

import argparse
import asyncio
import contextlib
import gc
import io
import json
import os
import signal
import sys
import traceback
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import torch
import uvicorn  # the web stack comes before nnsight, whose mounted .save would break it
import zstandard
from packaging.version import Version
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

import nnsight  # isort: skip
from nnsight._c import unmount
from nnsight.intervention.envoy import Envoy
from nnsight.schema.request import RequestModel
from nnsight.schema.response import ResponseModel, Status
from nnsight.tracing.tracer import _saves, dec, inc
from transformers import AutoTokenizer

if unmount is not None:
    unmount("save")

WELCOME = "Please visit https://login.ndif.us/ to create a new one."


def refuse_parameters() -> None:
    """Blocks see modules without weights, as in the service's sandbox."""
    plain = Envoy.__getattr__

    def guarded(self: Any, name: str) -> Any:
        value = plain(self, name)
        if isinstance(value, torch.nn.Parameter):
            raise NotImplementedError("Cannot copy out of meta tensor; no data!")
        return value

    Envoy.__getattr__ = guarded


def be_a_sandbox() -> None:
    """What differs where a block runs in a process of its own, beside the model's: calls of modules come back without a graph, no
    module is there to be counted, and a seed is that of another process than samples."""
    call = Envoy.__call__

    def cut(self: Any, *given: Any, **more: Any) -> Any:
        out = call(self, *given, **more)
        if not isinstance(out, torch.Tensor):
            return out
        learns = torch.is_grad_enabled() and any(isinstance(x, torch.Tensor) and x.requires_grad for x in given)
        return out.detach().clone().requires_grad_(learns)

    def uncounted(self: Any) -> int:
        raise TypeError("object of type 'NoneType' has no len()")

    Envoy.__call__, Envoy.__len__ = cut, uncounted
    torch.manual_seed = lambda seed: None  # type: ignore[assignment]


@dataclass
class Job:
    id: str
    session: str
    envelope: RequestModel
    blob: bytes
    record: dict[str, Any]
    """what tests are told of it"""


class Server:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.folders = dict(pair.split("=", 1) for pair in options.model)
        self.models: dict[str, Any] = {}
        self.sockets: dict[str, WebSocket] = {}
        self.results: dict[str, bytes] = {}
        self.faults: list[str] = []
        self.revision = "main"
        self.waiting: list[str] = []
        self.received: list[dict[str, Any]] = []
        self.queue: asyncio.Queue[Job] = asyncio.Queue()
        self.goes_on = asyncio.Event()

    # ---------------------------------------------------------------- what the client asks

    async def subscribe(self, socket: WebSocket) -> None:
        if self._fault("mute-connection"):
            await asyncio.Event().wait()
        await socket.accept()
        if self._fault("mute-session"):
            await asyncio.Event().wait()
        session = uuid.uuid4().hex
        self.sockets[session] = socket
        await socket.send_json({"session_id": session})
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            while True:
                await socket.receive_text()
        self.sockets.pop(session, None)

    async def request(self, request: Request) -> Response:
        if self._fault("busy"):
            return _refuse(503, "Service temporarily unavailable: compute backend is reconnecting. Please try again.")
        if self._fault("mute-request"):
            await asyncio.Event().wait()
        refused = self._unwelcome(request.headers.get("ndif-api-key", ""), request.headers.get("nnsight-version", "0"))
        if refused is not None:
            return refused
        form = await request.form(max_part_size=1 << 30)
        envelope = RequestModel.model_validate_json(str(form["data"]))
        blob = await form["blob"].read()  # type: ignore[union-attr]
        self.received.append({"key": request.headers.get("ndif-api-key", ""), "bytes": len(blob), "sent": 0})
        job = Job(uuid.uuid4().hex, envelope.session_id, envelope, blob, self.received[-1])
        self.waiting.append(job.id)
        await self.queue.put(job)
        answer = ResponseModel(id=job.id, status=Status.RECEIVED, description="Your job has been received.")
        return Response(answer.model_dump_json(), media_type="application/json")

    def _unwelcome(self, key: str, version: str) -> Response | None:
        if self.options.min_nnsight and Version(version) < Version(self.options.min_nnsight):
            return _refuse(400, f"Client nnsight version {version} is below the minimum supported {self.options.min_nnsight}.")
        if not self.options.key:
            return None
        if not key:
            return _refuse(401, f"Missing or invalid API key. {WELCOME}")
        try:
            uuid.UUID(key)
        except ValueError:
            return _refuse(400, f"Invalid API key format: '{key}'.")
        return None if key in self.options.key else _refuse(403, "Invalid API key.")

    async def status(self, request: Request) -> Response:
        listed = {
            name: {"repo_id": name, "revision": self.revision, "deployment_level": "HOT", "application_state": "RUNNING"}
            for name in self.folders
        }
        return JSONResponse({"deployments": listed})

    async def env(self, request: Request) -> Response:
        packages = {name: metadata.version(name) for name in ("nnsight", "torch", "transformers")}
        if self.options.old:
            packages["nnsight"] = "0.8.0"
        return JSONResponse({"python_version": sys.version, "packages": packages})

    async def result(self, request: Request) -> Response:
        return Response(self.results[request.path_params["id"]], media_type="application/octet-stream")

    async def fault(self, request: Request) -> Response:
        if request.method == "GET":
            return JSONResponse(self.faults)
        mode = (await request.json())["mode"]
        if mode.startswith("revision:"):
            self.revision = mode.removeprefix("revision:")
        elif mode == "go on":
            self.goes_on.set()
        else:
            self.faults.append(mode)
        return JSONResponse({})

    async def log(self, request: Request) -> Response:
        return JSONResponse(self.received)

    def _fault(self, *modes: str) -> str:
        for mode in self.faults:
            if mode.split(":")[0] in modes:
                self.faults.remove(mode)
                return mode
        return ""

    # ---------------------------------------------------------------- running

    async def work(self) -> None:
        while True:
            job = await self.queue.get()
            with contextlib.suppress(Exception):  # a client that has gone
                await self._work(job)
            self.waiting.remove(job.id)

    async def _say(self, job: Job, status: Status, description: str = "", data: Any = None) -> None:
        answer = ResponseModel(id=job.id, status=status, description=description, data=data)
        socket = self.sockets[job.session]
        if isinstance(data, bytes):
            await socket.send_bytes(answer.pickle())
        else:
            await socket.send_text(answer.model_dump_json())

    async def _work(self, job: Job) -> None:
        await self._say(job, Status.QUEUED, f"Added to Queue at position {self.waiting.index(job.id) + 1}.")
        if self._fault("hold"):
            await self.goes_on.wait()
            self.goes_on.clear()
        mode = self._fault("drop", "silent", "garbage", "die", "error")
        if mode == "drop":
            await self.sockets[job.session].close(1011)
            return
        if mode == "silent":
            return
        if mode.startswith("error:"):
            await self._say(job, Status.ERROR, mode.removeprefix("error:"))
            return
        await self._say(job, Status.RUNNING, "Your job has started running.")
        if mode == "die":
            os._exit(1)
        try:
            blob = b"no result" if mode == "garbage" else await asyncio.to_thread(self._execute, job)
        except BaseException as error:  # noqa: BLE001  whatever a block raises is told to its client
            await self._say(job, Status.ERROR, "".join(traceback.format_exception(error)))
            return
        job.record["sent"] = len(blob)
        job.record["by"] = "message" if len(blob) <= self.options.max_inline else "download"
        if len(blob) <= self.options.max_inline:
            await self._say(job, Status.COMPLETED, data=blob)
        else:
            self.results[job.id] = blob
            await self._say(job, Status.COMPLETED, data=f"http://127.0.0.1:{self.options.port}/result/{job.id}")

    def _model(self, key: str) -> Any:
        if key not in self.models:
            repo = json.loads(key.split(":", 1)[1])["repo_id"]
            if repo not in self.folders:
                raise LookupError(f"Could not deploy this model. {repo} can't be loaded.")
            folder = self.folders[repo]
            tokenizer = AutoTokenizer.from_pretrained(folder)
            model = nnsight.TransformersModel(
                folder, task="text-generation", dispatch=True, tokenizer=tokenizer, dtype=self.options.dtype
            )
            model._module.requires_grad_(False)
            self.models[key] = model
        return self.models[key]

    def _execute(self, job: Job) -> bytes:
        model = self._model(job.envelope.model_key)
        if self.options.old:
            model._module.set_attn_implementation("sdpa")
        else:
            model._remoteable_set_env(job.envelope.env)
        tracer = RequestModel.deserialize(job.blob, model._remoteable_persistent_objects(), compress=job.envelope.compress)
        inc()
        try:
            tracer.execute(tracer.info.code)
            marked = _saves()
            saved = {name: value for name, value in tracer.info.frame.f_locals.items() if id(value) in marked}
        finally:
            dec()
        buffer = io.BytesIO()
        torch.save(saved, buffer)
        blob = buffer.getvalue()
        return zstandard.ZstdCompressor().compress(blob) if job.envelope.compress else blob

    def app(self) -> Starlette:
        @contextlib.asynccontextmanager
        async def lifespan(app: Starlette) -> AsyncIterator[None]:
            task = asyncio.create_task(self.work())
            yield
            task.cancel()

        return Starlette(
            lifespan=lifespan,
            routes=[
                WebSocketRoute("/subscribe", self.subscribe),
                Route("/request", self.request, methods=["POST"]),
                Route("/status", self.status),
                Route("/env", self.env),
                Route("/result/{id}", self.result),
                Route("/_fault", self.fault, methods=["GET", "POST"]),
                Route("/_received", self.log),
            ],
        )


def _refuse(code: int, detail: str) -> Response:
    return JSONResponse({"detail": detail}, code)


def main(given: list[str]) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, default=8901)
    parser.add_argument("--model", action="append", default=[], help="name=folder")
    parser.add_argument("--key", action="append", default=[])
    parser.add_argument("--min-nnsight", default="")
    parser.add_argument("--max-inline", type=int, default=8 << 20)
    parser.add_argument("--old", action="store_true", help="as nnsight 0.8.0, which does not switch attention to eager")
    parser.add_argument("--sandbox", action="store_true", help="blocks run as in a process of their own")
    parser.add_argument("--dtype", default="float32")
    options = parser.parse_args(given)
    torch.set_num_threads(1)
    refuse_parameters()
    if options.sandbox:
        be_a_sandbox()
    uvicorn.run(Server(options).app(), host="127.0.0.1", port=options.port, log_level="warning", ws_max_size=1 << 30)


def each_line() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody asks how they ended
    for line in sys.stdin:
        number = os.fork()
        if not number:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.close(0)
            main(json.loads(line))
            os._exit(0)
        print(number, flush=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["--each-line"]:
        gc.set_threshold(50_000)
        gc.freeze()  # what is imported is never written to again: forks share it
        each_line()
    else:
        main(sys.argv[1:])
