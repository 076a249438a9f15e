"""batch(): analyses of many prompts, written to a data set as they come.

The runner stands here, and not among the studies, because it writes: `studies/batch.py` says what is asked of a prompt and what a
data set says, `tables/batch.py` which rows of a result are kept, and this goes prompt by prompt through the same requests and the
same `analyses/perform.py` as pages and commands.

1. The model is loaded and tested once. What the folder holds already is compared with the prompts, and passed over.
2. Each prompt is run by each analysis. One that fails is a row with its error, and the next one is run.
3. Rows are written in the order of the prompts, some at a time. What ends the run, the rows that are done are kept.

A model here has one lock; prompts of one length share its passes (`models/together.py`), by which the last digits of a number may
depend on what runs beside it. Of a hosted model several requests are under way at once.
"""

import contextlib
import threading
import time
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as waited_for
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from infoflow.analyses.cost import refuse_long
from infoflow.analyses.logit_lens import LensRequest
from infoflow.analyses.perform import in_time, perform, self_tested
from infoflow.analyses.request import Report, Request
from infoflow.errors import BadPrompt, Cancelled, InfoflowError, RemoteRunError, without_frames
from infoflow.files import links, prompts
from infoflow.files.datasets import AT_ONCE, Kept, Writer, text
from infoflow.files.prompts import Row, Shard
from infoflow.models import memory
from infoflow.models.account import ACCOUNT
from infoflow.models.spec import ModelSpec
from infoflow.models.together import together as shared
from infoflow.studies.batch import ANALYSES, Asked, Batch, check_analyses, open_batch, request_of
from infoflow.tables import batch as tables
from infoflow.text.amounts import duration

if TYPE_CHECKING:
    import infoflow.models.model

TOGETHER = 8
"""prompts that share a pass at most: more gain little"""
WINDOW = 64
"""prompts among which those of one length are looked for"""
SETTLED = 3.0
"""seconds before a guess at how much longer it takes says something"""
WAITS = (10.0, 60.0)
"""seconds before a prompt is sent again to a service that failed by itself"""
HEARD = 0.5
"""seconds between two looks whether who asked wants it stopped, while the service is waited for"""
_BY_ITSELF = ("busy", "lost", "silent", "unreachable")
"""failures of a service that another try may mend"""
_FOR_GOOD = ("no key", "bad key", "gated", "not up", "version", "host", "no weights")
"""those that would be the same for every prompt"""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is asked of every prompt alike."""

    analyses: tuple[str, ...] = ANALYSES
    sources: str = "words"
    """of a flow"""
    interventions: tuple[Any, ...] = ()

    def of(self, row: Row, spec: ModelSpec) -> Asked:
        """What is asked of one prompt."""
        return Asked(
            model=spec, prompt=row.prompt, target=row.target, against=row.against, sources=self.sources,
            interventions=self.interventions,
        )  # fmt: skip

    def to_dict(self) -> dict[str, Any]:
        """Beside the analyses."""
        return {"sources": self.sources, "interventions": [links.spelled(one) for one in self.interventions]}


def batch(
    model: "infoflow.models.model.Model",
    prompts: str | Path | Iterable[Any],
    out: str | Path,
    analyses: Sequence[str] = ANALYSES,
    *,
    sources: str = "words",
    interventions: Sequence[Any] = (),
    shard: str | Shard = "1/1",
    limit: int | None = None,
    parallel: int = 1,
    together: int = TOGETHER,
    at_once: int = AT_ONCE,
    spec: ModelSpec | None = None,
    total: int | None = None,
    on_progress: Report | None = None,
) -> Batch:
    """Analyses of many prompts, as rows of a data set in the folder `out`; gives the data set, opened.

    `prompts` is a file (CSV, JSON lines, Parquet, one a line), or texts, mappings or a table with the columns prompt, target,
    against, group and id. `analyses` are some of flow, locate, lens, heads and attribute. A run that was stopped, however, goes
    on where it was when it is asked for again. `shard`, such as "3/16", takes each 16th row from the third on; shards that are
    put into one folder are one data set. `parallel` requests are under way at once on a hosted model; here up to `together`
    prompts of one length share each forward pass, as far as memory allows. `spec` is the model as addresses shall name it,
    `total` how many prompts there are where that can't be counted. `on_progress(doing, fraction)`; raising in it stops the run,
    and keeps what is done.

    Raises:
        BadPrompt: prompts that can't be read, no such analysis, a folder with rows of other prompts.
        InfoflowError: a model that the self-test can't measure, a folder that can't be written to or holds a data set of
        something else.
    """
    settings = Settings(analyses=check_analyses(analyses), sources=sources, interventions=tuple(interventions))
    part = Shard.named(shard) if isinstance(shard, str) else shard
    if parallel > 1 and not model.hosted:
        raise BadPrompt("Several requests at once are for a hosted model; one that runs here has a single lock. Leave it at 1.")
    if total is None:
        total = _count(prompts, limit, part)
    given = _rows(prompts, limit)
    run = Run(model, settings, spec or model.spec, on_progress or (lambda doing, fraction: None))
    about = {"model": asdict(model.spec), "analyses": list(settings.analyses), "settings": settings.to_dict()}
    with Writer(out, about, part, at_once) as writer:
        run.verdict = self_tested(model, run.say).verdict
        rows = _beyond((row for row in given if part.has(row.number)), writer)
        begun, failed = time.monotonic(), writer.failed()
        for done, kept in enumerate(_results(run, rows, parallel, together), 1):
            writer.add(kept)
            failed += kept.record["error"] is not None
            run.tell(
                _doing(writer.done, done, total, failed, time.monotonic() - begun), (writer.done + done) / total if total else 0.0
            )
    return open_batch(out)


def _count(given: Any, limit: int | None, shard: Shard) -> int | None:
    """How many prompts are a shard's, where that can be known; what is wrong with a file is found here, before anything runs."""
    if isinstance(given, str | Path):
        return prompts.count(given, "", limit, shard)
    return sum(shard.has(n) for n in range(len(given)) if limit is None or n < limit) if isinstance(given, Sized) else None


def _rows(given: Any, limit: int | None) -> Iterator[Row]:
    """The rows of a file, or of what is at hand.

    Raises:
        BadPrompt: one mapping, whose columns would be taken for prompts.
    """
    if isinstance(given, str | Path):
        return prompts.read(given, "", limit)
    if isinstance(given, Mapping):
        raise BadPrompt("This is one mapping, and prompts are several: texts, mappings or a table. Put it into a list.")
    if isinstance(given, pd.DataFrame):
        given = given.astype(object).where(given.notna(), None).to_dict("records")
    return islice(prompts.as_rows(given), limit)


def _beyond(rows: Iterator[Row], writer: Writer) -> Iterator[Row]:
    """The rows that are not there yet. Those that are must be the same prompts.

    Raises:
        BadPrompt: other prompts, or fewer.
    """
    for digest in writer.digests():
        row = next(rows, None)
        if row is None:
            raise BadPrompt(
                f"'{writer.folder}' holds more rows than there are prompts. Is it another file's, or is the limit lower than "
                "before? Choose another folder."
            )
        if row.digest != digest:
            raise BadPrompt(
                f"Prompt {row.number} is not the one that '{writer.folder}' holds rows of. Give the same prompts, or choose "
                "another folder."
            )
    yield from rows


def _doing(before: int, done: int, total: int | None, failed: int, seconds: float) -> str:
    """How far it is, in words."""
    of = f"{before + done:,} of {total:,} prompts" if total else f"{before + done:,} prompts"
    bad = f", {failed:,} with an error" if failed else ""
    if seconds < SETTLED:
        return f"{of}{bad}"
    left = f", {duration(seconds / done * (total - before - done))} left" if total and total > before + done else ""
    return f"{of}{bad}, {60 * done / seconds:,.0f} a minute{left}"


class Run:
    """A model with what is asked of every prompt."""

    def __init__(self, model: "infoflow.models.model.Model", settings: Settings, named: ModelSpec, say: Report) -> None:
        self.model, self.settings, self.named, self.say = model, settings, named, say
        self.verdict = ""
        self.stopped = threading.Event()
        self._told = ("Running the first prompts …", 0.0)

    def tell(self, doing: str, fraction: float) -> None:
        """How far all of it is, from now on."""
        self._told = doing, fraction
        self.say(doing, fraction)

    def of(self, row: Row) -> Kept:
        """All analyses of one prompt, and its record.

        Raises:
            Cancelled: the run was stopped.
            RemoteRunError: a service that fails, and would for every prompt.
        """
        begun = time.monotonic()
        asked = self.settings.of(row, self.model.spec)
        found: dict[str, Any] = {}
        failures: dict[str, str] = {}
        kept: dict[str, Any] = {}
        record = self._record(row)
        for analysis in self.settings.analyses:
            try:
                refuse_long(len(self.model.encode(row.prompt)))
                likeliest = self._likeliest(asked, found) if analysis == "attribute" and asked.target is None else None
                result = self._performed(request_of(analysis, asked, likeliest))
                record |= _of_result(analysis, result, self.named)
                kept[analysis] = tables.OF[analysis](result)
                found["first"] = found.get("first") or tables.predicted(result)
                record["n_tokens"], record["dtype"] = len(result.tokens), result.provenance.dtype
            except (Cancelled, RemoteRunError) as error:
                if isinstance(error, Cancelled) or error.kind in (*_BY_ITSELF, *_FOR_GOOD):
                    raise
                failures[analysis] = str(error)
            except Exception as error:  # noqa: BLE001  one prompt stops nothing, whatever its fault
                failures[analysis] = str(error) if isinstance(error, InfoflowError) else f"{type(error).__name__}: {error}"
                without_frames(error)
        top = found.get("first")
        if top is not None:
            record |= {"top": text(top.token), "top_id": top.id, "top_probability": top.probability}
        record |= {"error": _said(failures, len(self.settings.analyses)), "seconds": time.monotonic() - begun}
        return Kept(record, kept)

    def needed(self, row: Row) -> int:
        """Bytes that a prompt takes beyond the weights, by the analysis that takes most; 0 where none can be run."""
        asked, found = self.settings.of(row, self.model.spec), 0
        for analysis in self.settings.analyses:
            with contextlib.suppress(InfoflowError):
                found = max(found, request_of(analysis, asked, 0).estimate(self.model).bytes)
        return found

    def _performed(self, request: Request[Any]) -> Any:
        """The result, by the way of pages and commands; sent again where the service failed by itself."""
        for wait in (*WAITS, None):
            try:
                return perform(request, lambda spec, say: contextlib.nullcontext(self.model), self.heard).result
            except RemoteRunError as error:
                if wait is None or error.kind not in _BY_ITSELF:
                    raise
            self.stopped.wait(wait)
        raise AssertionError("unreachable")

    def heard(self, doing: str = "", fraction: float = 0.0) -> None:
        """Told of each step of a prompt; raises where all of it shall stop."""
        if self.stopped.is_set():
            raise Cancelled("The run was stopped; what is done is kept.")
        self.say(*self._told)

    def _likeliest(self, asked: Asked, found: dict[str, Any]) -> int | None:
        """The likeliest next token, of another analysis of this prompt or of one forward pass."""
        if found.get("first") is None:
            one = LensRequest(model=asked.model, prompt=asked.prompt, interventions=asked.interventions, positions=(-1,), k=1)
            found["first"] = tables.predicted(self._performed(one))
        return int(found["first"].id)

    def _record(self, row: Row) -> dict[str, Any]:
        """The columns of the prompts' table, as far as they are known before the run."""
        asked = self.settings.of(row, self.named)
        addresses = {}
        for analysis in self.settings.analyses:
            with contextlib.suppress(BadPrompt):  # what is raised again by the run itself
                addresses[f"link_{analysis}"] = links.link(request_of(analysis, asked, None))
        first = next(iter(addresses.values()), links.link(request_of("heads", asked)))
        return {
            "number": row.number, "id": text(row.id), "group": text(row.group), "prompt": text(row.prompt),
            "target": _token(row.target), "against": _token(row.against), "model": self.named.name,
            "revision": self.model.revision, "dtype": None, "verdict": str(self.verdict), "link": first, **addresses,
            "digest": row.digest,
        }  # fmt: skip


def _of_result(analysis: str, result: Any, named: ModelSpec) -> dict[str, Any]:
    """What a result adds to its prompt's record: its error, and its address with the very tokens that were asked for; the lens's
    page follows texts."""
    exact = {} if analysis == "lens" else {f"link_{analysis}": links.link(links.named(result.provenance.request, named))}
    return {f"max_error_{analysis}": tables.max_error(result), **exact}


def _token(token: int | str | None) -> str | None:
    return f"#{token}" if isinstance(token, int) else text(token)


def _said(failures: dict[str, str], n_analyses: int) -> str | None:
    """What went wrong with a prompt, in words; None for nothing."""
    if not failures:
        return None
    of = {why: [analysis for analysis, other in failures.items() if other == why] for why in failures.values()}
    if len(failures) == n_analyses and len(of) == 1:
        return text(next(iter(of)))
    return text(" ".join(f"{', '.join(some)}: {why}" for why, some in of.items()))


def _results(run: Run, rows: Iterator[Row], parallel: int, together: int) -> Iterator[Kept]:
    """What comes of each row, in order; of a hosted model several are under way, here those of one length share a pass."""
    if together > 1 and not run.model.hosted:
        while window := list(islice(rows, WINDOW)):
            yield from _side_by_side(run, window, together)
        return
    if parallel <= 1:
        for row in rows:
            yield run.of(row)
        return
    pool = ThreadPoolExecutor(parallel, thread_name_prefix="batch")
    going: deque[Future[Kept]] = deque()
    try:
        for row in rows:
            going.append(pool.submit(_alone(run).of, row))
            while len(going) >= 2 * parallel:
                yield _waited(run, going)
        while going:
            yield _waited(run, going)
    finally:
        run.stopped.set()
        pool.shutdown(wait=False, cancel_futures=True)


def _side_by_side(run: Run, rows: Sequence[Row], most: int) -> Iterator[Kept]:
    """What comes of some rows, in order: those of one length in groups of `most`, or of as many as fit in memory together."""
    model, found, given = run.model, dict[int, Kept](), 0
    for group, needed in _groups(run, rows, most):
        device = str(model.device)
        with model.turn(run.heard), ACCOUNT.reserved(needed, device, run.heard, memory.limit):
            ends = in_time(lambda doing, fraction: None)
            for number, kept in zip(group, shared(model, [partial(_Seated.at, run, rows[n], ends) for n in group]), strict=True):
                found[number] = kept.result()
        while given in found:
            yield found.pop(given)
            given += 1


def _groups(run: Run, rows: Sequence[Row], most: int) -> Iterator[tuple[list[int], int]]:
    """Which of some rows go together, by their places, and the memory that they need; in the order of their first ones."""
    by_length: dict[int, list[int]] = {}
    for place, row in enumerate(rows):
        try:
            length = len(run.model.encode(row.prompt))
        except InfoflowError:  # told in its own row
            length = -1 - place
        by_length.setdefault(length, []).append(place)
    groups = []
    for length, places in by_length.items():
        needed = run.needed(rows[places[0]]) if length > 0 else 0
        fit = max(1, min(most, run.model.memory_limit() // needed if needed else most))
        groups += [(places[i : i + fit], needed * len(places[i : i + fit])) for i in range(0, len(places), fit)]
    yield from sorted(groups)


class _Seated(Run):
    """The same run for one prompt, of a model that several share: nobody is told of its steps, and memory is reserved for all."""

    ends: Report

    @staticmethod
    def at(run: Run, row: Row, ends: Report, seat: "infoflow.models.model.Model") -> Kept:
        """What comes of a row; `ends` is told before each of its runs, and raises where they take too long."""
        one = _Seated(seat, run.settings, run.named, lambda doing, fraction: None)
        one.verdict, one.stopped, one.ends = run.verdict, run.stopped, ends
        return one.of(row)

    def _performed(self, request: Request[Any]) -> Any:
        self.heard()
        self.ends("", 0.0)
        return request.exactly(self.model).run(self.model)


def _waited(run: Run, going: "deque[Future[Kept]]") -> Kept:
    """What the first of them gives; it stays the first until it has."""
    while not waited_for([going[0]], HEARD).done:
        run.heard()
    kept = going[0].result()
    going.popleft()
    return kept


def _alone(run: Run) -> Run:
    """The same run with a connection of its own, which ends what it waits for when the run is stopped."""
    connection = run.model.connection
    assert connection is not None  # of a model that runs here there is one at a time
    other = Run(run.model, run.settings, run.named, lambda doing, fraction: None)  # who asked is told by the one thread
    other.model = run.model.through(replace(connection, on_status=other.heard))
    other.verdict, other.stopped = run.verdict, run.stopped
    return other
