"""Figures for machines that watch the app, in the text format of Prometheus, behind the owner's token."""

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from infoflow.server.owner import refusal

SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
NAMES = 50
"""models that are told apart; of more, the rest are one"""


@dataclass(frozen=True)
class HeldModel:
    """A model in memory."""

    name: str
    bytes: int
    users: int
    """runs that use it, waiting ones too"""
    waiting: int
    """runs that wait for it"""
    took: float
    """seconds of a run, in the mean of the latest; 0 where none was"""


@dataclass(frozen=True)
class Now:
    """What the process is doing."""

    models: Sequence[HeldModel]
    resident: int
    """bytes that it holds"""
    free: int
    """bytes that it may still take"""
    promised: int
    """bytes that are promised to runs"""
    sessions: int
    """visitors whose page is open"""


class Counts:
    """Runs since the process began."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._names, self._lock = set[str](), threading.Lock()
        self._runs = Counter("infoflow_runs", "Runs", ("analysis", "model", "outcome"), registry=self.registry)
        self._seconds = Histogram(
            "infoflow_run_seconds",
            "From the question to the answer",
            ("analysis", "outcome"),
            buckets=SECONDS,
            registry=self.registry,
        )

    def add(self, analysis: str, model: str, outcome: str, seconds: float) -> None:
        """One run has ended."""
        with self._lock:
            if model not in self._names and len(self._names) >= NAMES:
                model = "other"
            self._names.add(model)
        self._runs.labels(analysis, model, outcome).inc()
        self._seconds.labels(analysis, outcome).observe(seconds)

    def text(self, now: Now) -> bytes:
        """All of it as Prometheus reads it."""
        gauges = CollectorRegistry()
        gauges.register(_Gauges(now))
        return generate_latest(self.registry) + generate_latest(gauges)


class _Gauges:
    """What is so now, collected at each look."""

    def __init__(self, now: Now) -> None:
        self._now = now

    def collect(self) -> Iterator[GaugeMetricFamily]:
        now = self._now
        for name, says, value in (
            ("infoflow_resident_bytes", "Memory that the process holds", now.resident),
            ("infoflow_free_bytes", "Memory that it may still take", now.free),
            ("infoflow_promised_bytes", "Memory that is promised to runs", now.promised),
            ("infoflow_sessions", "Visitors whose page is open", now.sessions),
            ("infoflow_models", "Models in memory", len(now.models)),
        ):
            yield GaugeMetricFamily(name, says, value=value)
        for name, says, of in (
            ("infoflow_waiting_runs", "Runs that wait for a model", lambda m: m.waiting),
            ("infoflow_model_users", "Runs that use a model or wait for it", lambda m: m.users),
            ("infoflow_model_bytes", "Memory of its weights", lambda m: m.bytes),
        ):
            family = GaugeMetricFamily(name, says, labels=["model"])
            for model in {model.name: None for model in now.models}:  # one may be held in two types, and a name stands once
                family.add_metric([model], sum(of(one) for one in now.models if one.name == model))
            yield family


def route(text: Callable[[], bytes], let_in: Callable[[str], bool], path: str = "/metrics") -> Route:
    """Where the figures are read, by whoever `let_in` lets in (`owner.refusal`)."""

    async def answer(received: Request) -> Response:
        no = refusal(received, let_in)
        if no is not None:
            return no
        found = await run_in_threadpool(text)
        return Response(found, headers={"Cache-Control": "no-store", "Content-Type": CONTENT_TYPE_LATEST})

    return Route(path, answer, methods=["GET"])
