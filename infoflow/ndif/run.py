"""One run on the hosted service, and its failures in words.

A run is nnsight's own request: the block's source, its arguments and the prompt go up; tensors, numbers and texts come
back. Nothing here touches nnsight's process-wide settings, so that visitors with different keys never share one.
"""

import contextlib
import inspect
import io
import json
import pickle
import re
import sys
import time
import traceback
import zipfile
from collections.abc import Callable, Sequence
from importlib import metadata
from types import SimpleNamespace
from typing import Any

import httpx
import nnsight
import pydantic
import torch
import websocket
import zstandard

from infoflow.errors import InfoflowError, RemoteRunError
from infoflow.ndif.nnsight_names import RemoteBackend, RemoteError, ResponseModel, Status, environment_of
from infoflow.ndif.service import Connection, trusted, unreachable
from infoflow.text.amounts import in_words as amount
from infoflow.traced import interventions
from infoflow.traced.patterns import NO_PATTERN

_STATUS = {
    Status.RECEIVED: "Received, waiting for a place in the queue",
    Status.QUEUED: "Queued",
    Status.PROVISIONING: "The service is making room for the model",
    Status.DEPLOYING: "The service is loading the model",
    Status.DISPATCHED: "Sent to the model",
    Status.RUNNING: "Running",
    Status.COMPLETED: "Downloading the result",
}


PAUSE = 6.0
"""seconds before a run that was lost is sent again: what a service needs to start a model anew"""
_REFRESH = 0.1
"""seconds between two looks at a connection"""


def run(traced: Any, ids: Sequence[int], block: Callable[..., Any], args: Sequence[Any], to: Connection) -> Any:
    """`Model.run` on the service. A connection that is lost in the middle is tried once more.

    Raises:
        RemoteRunError: every failure, in words; its `kind` names the cause, `details` holds what the server said.
    """
    return _twice(lambda: _run(traced, ids, block, args, to), to)


def generate(traced: Any, ids: Sequence[int], arguments: dict[str, Any], seed: int | None, to: Connection) -> list[int]:
    """The ids that the hosted model adds to `ids`; `seed` where it samples.

    Raises:
        RemoteRunError: as `run`.
    """
    found = _twice(lambda: _generate(traced, ids, arguments, seed, to), to)
    return [int(i) for i in found[0, len(ids) :]]


def _twice(work: Callable[[], Any], to: Connection) -> Any:
    for attempt in (1, 2):
        try:
            return work()
        except InfoflowError:
            raise  # told already, or abandoned by the reader
        except Exception as error:  # noqa: BLE001  the client raises a dozen kinds; all are told in words
            told = in_words(error, to)
            if told.kind != "lost" or attempt == 2:
                raise told from error
            _pause(to)
    raise AssertionError("unreachable")


def _pause(to: Connection) -> None:
    """Some seconds for a service that starts a model again; each look may end it."""
    until = time.monotonic() + PAUSE
    while time.monotonic() < until:
        if to.on_status is not None:
            to.on_status("The connection was lost; trying once more")
        time.sleep(min(_REFRESH, PAUSE))


def _run(traced: Any, ids: Sequence[int], block: Callable[..., Any], args: Sequence[Any], to: Connection) -> Any:
    changed = changed_in(args)
    prompt = torch.tensor(rows_of(ids, changed))
    if changed is None:
        with torch.no_grad(), traced.trace(prompt, backend=_backend(traced, to)) as tracer:
            result = nnsight.save(block(traced, tracer, *args))
    else:  # two parts of one run, of which the second reads what the first has changed
        with torch.no_grad(), traced.trace(backend=_backend(traced, to)) as tracer:
            with tracer.invoke(prompt, **last_alone(traced, changed)):
                interventions.apply(traced, tracer, changed)
            with tracer.invoke():
                result = nnsight.save(block(traced, tracer, *args))
    return result


def changed_in(args: Sequence[Any]) -> SimpleNamespace | None:
    """The plan among what a block is given, where it changes the run."""
    return next((a for a in args if isinstance(a, SimpleNamespace) and (a.edits or a.joins or a.graph)), None)


def rows_of(ids: Sequence[int], changed: SimpleNamespace | None) -> list[list[int]]:
    """What runs side by side: the prompt, or copies of it, and the texts beside it."""
    if changed is None:
        return [list(ids)]
    return [list(ids)] * changed.copies + [list(other) for other in changed.beside]


def last_alone(traced: Any, changed: SimpleNamespace) -> dict[str, Any]:
    """What a run of several copies is asked for: logits of the last positions alone, where the model can be told so. Where rows
    join on the way, no keys and values are kept for a continuation that does not come."""
    if changed.joins:
        return {} if changed.prefix else {"use_cache": False}
    told = "logits_to_keep" in inspect.signature(traced._module.forward).parameters
    return {"logits_to_keep": changed.keep} if changed.copies > 1 and told else {}


def _generate(traced: Any, ids: Sequence[int], arguments: dict[str, Any], seed: int | None, to: Connection) -> Any:
    prompt = torch.tensor([list(ids)])
    with torch.no_grad(), traced.generate(prompt, backend=_backend(traced, to), **arguments) as tracer:
        if seed is not None:
            torch.manual_seed(seed)
        result = nnsight.save(tracer.result)
    return result  # noqa: RET504  nnsight needs the name


def _backend(traced: Any, to: Connection) -> "_Backend":
    backend = _Backend(traced.to_model_key(), host=to.host, api_key=to.key, env=environment_of(traced))
    backend.api_key = to.key  # an empty key stays empty: never the one of this machine's owner
    backend.display = _Watch(to)
    return backend


def _status(kind: object, name: str) -> Any:
    found = {one.name: one for one in Status}.get(name)
    if kind is not Status or found is None:
        raise pickle.UnpicklingError(f"{name} of {kind} is no status")
    return found


class _PlainUnpickler(pickle.Unpickler):
    """Of dicts, texts, bytes and numbers, and a status; any other class is refused, so that no answer can run code."""

    def find_class(self, module: str, name: str) -> Any:
        if name == "Status" and module == Status.__module__:
            return Status
        if (module, name) == ("builtins", "getattr"):  # how Python 3.11.0 to 3.11.3 writes a status
            return _status
        raise pickle.UnpicklingError(f"{module}.{name} is no plain value")


class _Backend(RemoteBackend):
    """nnsight's, but what comes back is data and never code (tensors and plain values alone are loaded), and no wait is endless:
    its own connects, and waits for its session and for the answer to its request, without a limit or for ten minutes."""

    def request(self, request: Any, tracer: Any) -> Any:
        """Subscribe, send, and hear of the run until it is done."""
        blob = self._serialize(tracer)
        header, answer = {"ndif-api-key": self.api_key} if self.api_key else None, self.display.to.answer
        try:
            connection = websocket.create_connection(f"{self.ws_host}/subscribe", header=header, timeout=answer)
        except websocket.WebSocketTimeoutException:
            raise _silent(answer) from None
        with contextlib.closing(connection):
            connection.settimeout(_REFRESH)
            request.session_id = json.loads(self._next(connection, answer))["session_id"]
            self.send(request, blob)
            while True:
                response = self.parse(self._next(connection, self.display.to.silence))
                result = self.handle(response)
                if response.status == Status.COMPLETED:
                    return result

    def _next(self, connection: Any, patience: float) -> Any:
        """The next message; meanwhile the run's status is told ten times a second, which can stop it."""
        since = time.monotonic()
        while True:
            try:
                return connection.recv()
            except websocket.WebSocketTimeoutException:
                self.display.refresh()
                if time.monotonic() - since > patience:
                    raise _silent(patience) from None

    def _post(self, request: Any, blob: bytes) -> ResponseModel:
        """Hand the request in. What is wrong with it is in the answer's body."""
        here = {"nnsight-version": metadata.version("nnsight"), "python-version": sys.version}
        headers = {"ndif-timestamp": repr(time.time()), **here, **({"ndif-api-key": self.api_key} if self.api_key else {})}
        form, files = {"data": request.metadata()}, {"blob": ("request", blob, "application/octet-stream")}
        answer = self.display.to.answer
        try:
            with httpx.Client(timeout=httpx.Timeout(10.0, read=answer, write=answer), verify=trusted()) as client:
                given = client.post(f"{self.host}/request", data=form, files=files, headers=headers)
            given.raise_for_status()
        except httpx.ReadTimeout:
            raise _silent(answer) from None
        except httpx.HTTPStatusError as error:
            try:
                body = error.response.json()
                detail = body.get("detail") if isinstance(body, dict) else body
            except ValueError:
                detail = error.response.text
            raise RemoteError(f"Failed to send request: {detail or error}") from error
        except httpx.HTTPError as error:
            raise RemoteError(f"Failed to send request: {error}") from error
        return ResponseModel.model_validate_json(given.text)

    @staticmethod
    def parse(message: str | bytes) -> ResponseModel:
        if isinstance(message, str):
            return ResponseModel.model_validate_json(message)
        with zipfile.ZipFile(io.BytesIO(message)) as archive:  # as torch.save wrote it
            name = next(n for n in archive.namelist() if n.endswith("data.pkl"))
            return ResponseModel(**_PlainUnpickler(io.BytesIO(archive.read(name))).load())

    def download_result(self, url: str | bytes | None) -> Any:
        """The result, from the message itself or from where the service has put it; in blocks, each told of."""
        if not isinstance(url, str):
            return self.finalize(bytes(url or b""))
        got = bytearray()
        with httpx.stream("GET", url, timeout=httpx.Timeout(10.0, read=60.0), verify=trusted()) as response:
            response.raise_for_status()
            total = int(response.headers.get("Content-Length", 0))
            for block in response.iter_bytes(1 << 17):
                got += block
                self._check_size(max(total, len(got)))
                self.display.receive(len(got), total)
        return self.finalize(bytes(got))

    def finalize(self, content: bytes) -> Any:
        raw, limit = content, self.display.to.limit
        if self.compress:  # a little may unpack to a lot
            raw = zstandard.ZstdDecompressor().stream_reader(content).read(limit + 1)
        self._check_size(len(raw))
        return torch.load(io.BytesIO(raw), map_location="cpu", weights_only=True)

    def _check_size(self, size: int) -> None:
        if size > self.display.to.limit:
            limit = amount(self.display.to.limit)
            raise RemoteRunError("too large", f"The result is larger than {limit}. Use fewer tokens or sources.")


class _Watch:
    """Stands where nnsight prints: `update` with every status, `refresh` ten times a second while waiting."""

    enabled = True

    def __init__(self, to: Connection) -> None:
        self.to, self.doing = to, "Sending"
        self._tell()

    def _tell(self) -> None:
        if self.to.on_status is not None:
            self.to.on_status(self.doing)

    def update(self, response: ResponseModel) -> None:
        said = _STATUS.get(response.status)
        if said is not None:
            position = response.description.rstrip(".").rpartition("position ")[2]
            self.doing = f"Queued at position {position}" if response.status == Status.QUEUED and position.isdigit() else said
        self._tell()

    def receive(self, done: int, total: int) -> None:
        self.doing = f"Downloading the result: {amount(done)}" + (f" of {amount(total)}" if total else "")
        self._tell()

    def refresh(self) -> None:
        self._tell()


def in_words(error: BaseException, to: Connection) -> RemoteRunError:
    """What went wrong and what to do, whatever the client raised. The key is in none of it."""
    text = str(error).replace(to.key, "…") if to.key else str(error)
    if isinstance(error, RemoteError):
        return _server_said(text, to)
    if isinstance(error, TimeoutError | websocket.WebSocketTimeoutException):
        return _silent(to.answer)
    lost = (websocket.WebSocketConnectionClosedException, pydantic.ValidationError, ConnectionResetError, BrokenPipeError)
    if isinstance(error, lost):
        return RemoteRunError("lost", "The connection to the service was lost during the run, twice. Try again.", text)
    if isinstance(error, OSError | websocket.WebSocketException | httpx.HTTPError):
        return unreachable(to, text)
    damaged = (zstandard.ZstdError, EOFError, RuntimeError, json.JSONDecodeError, pickle.UnpicklingError, zipfile.BadZipFile)
    if isinstance(error, damaged):
        return RemoteRunError("result", "What came back could not be read; it may have been damaged on the way. Try again.", text)
    details = "".join(traceback.format_exception(error))
    return RemoteRunError("client", f"The run could not be sent ({type(error).__name__}). {text[:200]}", details)


def _because(text: str) -> str:
    """The line of an answer that names the reason, after the one that says what happened."""
    first, *rest = [line.strip() for line in text.splitlines() if line.strip()] or [""]
    reason = first.partition("Could not deploy this model.")[2].strip() or (rest[0] if rest else "")
    return f" ({reason[:160].rstrip('.')})" if reason else ""


_LOST = "The model went away during the run, twice: the service has restarted it, or it has been given up. Try again."


def _silent(seconds: float) -> RemoteRunError:
    return RemoteRunError(
        "silent", f"Nothing was heard of the run for {seconds:.0f} seconds, so it was given up. Try again later."
    )


_SAID: tuple[tuple[str, str, str], ...] = (  # what the server's text holds, the kind, what to tell
    ("missing or invalid api key", "no key", "The service wants a key. Get one at login.ndif.us and enter it."),
    ("invalid api key format", "bad key", "That is no NDIF key: it looks like xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx."),
    ("invalid api key", "bad key", "The service does not know this key. Check it, or get a new one at login.ndif.us."),
    ("gated", "gated", "The model is gated: accept its licence on the Hugging Face hub with the account of your key."),
    (
        "could not deploy",
        "not up",
        "The service can't run this model now{because}. Choose one that is up, or ask for it at ndif.us.",
    ),
    ("temporarily unavailable", "busy", "The service is busy or restarting. Try again in a few minutes."),
    ("auth backend unavailable", "busy", "The service can't look keys up just now. Try again in a few minutes."),
    ("error submitting request to model deployment", "lost", _LOST),
    ("error starting model", "lost", _LOST),
    ("runner socket", "lost", _LOST),
    (
        "execution timeout of",
        "too long",
        "The service gives a run {limit}, and this one took longer. Use fewer tokens or sources.",
    ),
    ("internal server error", "server", "The service has failed inside. Try again later."),
    ("below the minimum supported", "version", "The service needs a newer nnsight than is installed here; upgrade it."),
    ("version was not provided", "version", "The service needs a newer nnsight than is installed here; upgrade it."),
    (
        NO_PATTERN,
        "version",
        "The service runs an nnsight older than 0.8.1, which gives no attention patterns. Use another service.",
    ),
    ("no module named", "version", "The service lacks a package that this version sends. It may run another version."),
    ("too large", "too large", "The result is too large for the service. Use fewer tokens or sources."),
    ("timed out", "silent", "The service gave the run up: it took too long. Use fewer tokens or sources."),
    ("out of memory", "too large", "The service ran out of memory. Use fewer tokens or sources."),
    ("meta tensor", "no weights", "The service does not give this analysis the weights it needs for this kind of model."),
)


def _server_said(text: str, to: Connection) -> RemoteRunError:
    low = text.lower()
    limit = re.search(r"execution timeout of ([\d.]+) ?s", low)
    for part, kind, sentence in _SAID:
        if part in low:
            said = sentence.format(
                because=_because(text), limit=f"{float(limit[1].rstrip('.')):g} seconds" if limit else "less time"
            )
            return RemoteRunError(kind, said, text)
    if text.startswith("Failed to send request:"):
        return unreachable(to, text)
    last = next((line.strip() for line in reversed(text.splitlines()) if line.strip()), "no reason given")
    return RemoteRunError("server", f"The run failed on the service: {last[:300]}", text)
