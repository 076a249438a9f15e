"""What the app tells of its runs: one line of JSON each, and the last of them for its owner.

Never a prompt, unless INFOFLOW_LOG_PROMPTS says so, and never a key. Visitors and questions are named by keyed digests whose key
dies with the process: a short prompt could be guessed from a plain one.
"""

import hashlib
import hmac
import json
import logging
import secrets
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar

from infoflow.analyses.perform import Performed
from infoflow.analyses.request import Report, Request, text_of
from infoflow.errors import Busy, Cancelled, InfoflowError
from infoflow.models import memory
from infoflow.models.catalog import MODELS
from infoflow.models.spec import ModelSpec
from infoflow.server.metrics import Counts
from infoflow.settings import settings
from infoflow.turns import visitor

R = TypeVar("R")
LAST = 200
"""runs that are remembered"""
LOOK = 0.1
"""seconds after which one who waits says so first"""
UNLISTED = "(not listed)"
"""for the name of a model that a hosted app does not run: whatever somebody typed"""
_log = logging.getLogger("infoflow.runs")


class Outcome(StrEnum):
    """How a run ended."""

    RAN = "ran"
    KEPT = "kept"
    """it was there already, or came of another's run of the same"""
    REFUSED = "refused"
    """in words, before anything ran"""
    BUSY = "busy"
    STOPPED = "stopped"
    FAILED = "failed"
    """in words"""
    BUG = "bug"


FAILURES = (Outcome.FAILED, Outcome.BUG)


@dataclass(frozen=True)
class Ran:
    """One run, as it is told."""

    time: str
    request: str
    """digest of the whole question"""
    visitor: str
    analysis: str
    model: str
    where: str
    tokens: int | None
    seconds: float
    """from the question to the answer"""
    waited: float
    """of these, for its turn, for memory or for another's run to begin"""
    resident: int
    """bytes that the process held afterwards"""
    outcome: str
    error: str = ""
    """kind of the error; its words may quote a prompt"""
    prompt: str | None = None


@dataclass(frozen=True)
class Question:
    """What a run was asked, as far as it is told."""

    key: str
    """says all of it"""
    analysis: str
    model: ModelSpec
    prompt: str

    @classmethod
    def of(cls, request: Request[Any]) -> "Question":
        """That of a request."""
        return cls(request.key, request.analysis, request.model, text_of(request.prompt))


class _Now:
    """A run that is under way."""

    def __init__(self) -> None:
        self.begun = self.last = time.monotonic()
        self.waited, self.waits, self.runs = 0.0, False, False

    def heard(self, doing: str) -> None:
        now, waits = time.monotonic(), doing.startswith(("Waiting", "Another"))
        if waits:  # what was done since the last word, before one waited, was no waiting
            self.waited += now - self.last if self.waits else min(now - self.last, LOOK)
        self.last, self.waits = now, waits


_current: ContextVar[_Now | None] = ContextVar("run", default=None)


def runs() -> None:
    """Told from where a model is set to work: what is asked in this thread was not there yet."""
    now = _current.get()
    if now is not None:
        now.runs = True


class Journal:
    """All runs of this process: written to the log, counted, and the last ones remembered."""

    def __init__(self) -> None:
        self.counts = Counts()
        self._salt, self._lock = secrets.token_bytes(32), threading.Lock()
        self._last: deque[Ran] = deque(maxlen=LAST)

    def last(self) -> list[Ran]:
        """The last runs, the latest first."""
        with self._lock:
            return list(self._last)[::-1]

    def told(self, asked: Question, say: Report, work: Callable[[Report], R]) -> R:
        """What `work` gives; how it went is told, whatever it raises."""
        with self._telling(asked) as (now, done):

            def hear(doing: str, fraction: float) -> None:
                now.heard(doing)
                say(doing, fraction)

            found = work(hear)
            done.append(found)
            return found

    @contextmanager
    def _telling(self, asked: Question) -> Iterator[tuple[_Now, list[Any]]]:
        now, failure = _Now(), None
        done: list[Any] = []
        token = _current.set(now)
        try:
            yield now, done
        except BaseException as error:
            failure = error
            raise
        finally:
            _current.reset(token)
            self._tell(self._ran(asked, now, done[0] if done else None, failure))
            failure = None  # it holds this frame, and with it all that the run held

    def _ran(self, asked: Question, now: _Now, found: Any, failure: BaseException | None) -> Ran:
        cost = found.cost if isinstance(found, Performed) else None
        outcome = _outcome(now.runs, failure)
        return Ran(
            datetime.now(UTC).isoformat(timespec="milliseconds"),
            self._digest(asked.key),
            self._digest(visitor()) if visitor() else "",
            asked.analysis,
            _name(asked.model.name),
            "ndif" if asked.model.hosted else "here",
            cost.n_tokens if cost is not None else None,
            round(time.monotonic() - now.begun, 3),
            round(now.waited, 3),
            memory.used(),
            outcome,
            type(failure).__name__ if failure is not None else "",
            asked.prompt if settings().log_prompts else None,
        )

    def _tell(self, ran: Ran) -> None:
        with self._lock:
            self._last.append(ran)
        self.counts.add(ran.analysis, ran.model, ran.outcome, ran.seconds)
        level = logging.ERROR if ran.outcome == Outcome.BUG else logging.INFO
        _log.log(level, "%s", json.dumps({k: v for k, v in asdict(ran).items() if v is not None}, ensure_ascii=True))

    def _digest(self, text: str) -> str:
        return hmac.new(self._salt, text.encode("utf-8", "surrogatepass"), hashlib.sha256).hexdigest()[:16]


def _outcome(began: bool, failure: BaseException | None) -> Outcome:
    if failure is None:
        return Outcome.RAN if began else Outcome.KEPT
    if isinstance(failure, Busy):
        return Outcome.BUSY
    if isinstance(failure, Cancelled):
        return Outcome.STOPPED
    if isinstance(failure, InfoflowError):
        return Outcome.FAILED if began else Outcome.REFUSED
    return Outcome.BUG


def _name(model: str) -> str:
    """What a model is called in the log: of a hosted app, those it runs alone."""
    now = settings()
    known = {entry.name for entry in MODELS} | {one.partition("@")[0] for one in (*now.listed, *now.listed_on_ndif)}
    return UNLISTED if now.hosted and model not in known else model[:80]


def to_stderr() -> None:
    """Lines go to this process's errors, whatever else is set up; once."""
    if not _log.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(logging.Formatter("%(message)s"))
        _log.addHandler(handler)
        _log.propagate = False
    _log.setLevel(logging.INFO)
