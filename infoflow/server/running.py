"""A run for a client of the network: in a thread, heard as it goes, stopped when the client leaves or the server stops."""

import asyncio
import contextlib
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from infoflow.errors import Busy, Cancelled, InfoflowError, without_frames
from infoflow.server.problems import Problem, problem_of
from infoflow.sharing import Say

MOST = 64
"""runs for clients at once, waiting ones too; whoever comes then is told to come again"""
STOPPING = "The server is being stopped. Ask again when it is back."
LEFT = "The client has left."
_places = threading.BoundedSemaphore(MOST)
_going: set["Run"] = set()
_stopping = threading.Event()


class Run:
    """One run. `outcome` is what came of it; until then, `doing` and `fraction` say how far it is."""

    def __init__(self, work: Callable[[Say], Any]) -> None:
        """Begin it.

        Raises:
            Busy: too many are under way. Problem: the server is being stopped.
        """
        self._places = _places
        if not self._places.acquire(blocking=False):
            raise Busy(f"{MOST} runs are under way or wait already. Ask again in a few seconds.", 5.0)
        self.doing, self.fraction = "", 0.0
        self._loop = asyncio.get_running_loop()
        self.outcome: asyncio.Future[Any] = self._loop.create_future()
        self._heard = asyncio.Event()
        self._why = ""
        _going.add(self)
        try:
            if _stopping.is_set():  # looked at now, when whoever stops them all sees this one
                raise _stopped()
            # not an executor's thread: a server that is stopped would wait for those
            threading.Thread(target=self._do, args=[work], daemon=True, name="infoflow run over HTTP").start()
        except BaseException:  # or there is no thread to be had
            self._ended()
            raise

    def stop(self, why: str) -> None:
        """Let it end at the next word that it says."""
        self._why = self._why or why

    async def heard(self) -> None:
        """Until it says something new, or ends."""
        await self._heard.wait()
        self._heard.clear()

    def _say(self, doing: str, fraction: float = 0.0) -> None:
        if self._why:
            raise Cancelled(self._why)
        if (doing, fraction) != (self.doing, self.fraction):
            self.doing, self.fraction = doing, fraction
            self._tell(self._heard.set)

    def _do(self, work: Callable[[Say], Any]) -> None:
        found: Any = None
        told: BaseException | None = None
        try:
            found = work(self._say)
        except BaseException as error:  # noqa: BLE001  handed to the client's own task, which tells it
            told = error if isinstance(error, InfoflowError | Problem) else problem_of(error)  # which logs its frames
            without_frames(error)  # they hold all that the run held
        self._ended()  # before it is told: who hears of it may ask again at once
        self._tell(self._end, found, told)

    def _ended(self) -> None:
        _going.discard(self)
        self._places.release()

    def _tell(self, what: Callable[..., Any], *about: Any) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is there who would hear it
            self._loop.call_soon_threadsafe(what, *about)

    def _end(self, found: Any, error: BaseException | None) -> None:
        if not self.outcome.done():
            self.outcome.set_exception(error) if error is not None else self.outcome.set_result(found)
            self.outcome.exception()  # a client that left asks for neither
        self._heard.set()


async def left(receive: Callable[[], Awaitable[Any]]) -> None:
    """Until the client is gone."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def finished(run: Run, receive: Callable[[], Awaitable[Any]]) -> Any:
    """What came of a run; a client that leaves ends it.

    Raises:
        Cancelled: the client has left. Whatever the run raises.
    """
    leaving = asyncio.ensure_future(left(receive))
    try:
        await asyncio.wait({run.outcome, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not run.outcome.done():
            raise Cancelled(LEFT)
        return run.outcome.result()
    finally:
        leaving.cancel()
        run.stop(LEFT)


def stop_all() -> None:
    """The server stops: every client is answered now, and its run ends at the next word that it says; no other begins."""
    _stopping.set()
    for run in list(_going):
        run.stop(STOPPING)
        run._tell(run._end, None, _stopped())


def _stopped() -> Problem:
    return Problem(503, STOPPING, headers={"Retry-After": "30"})


@contextlib.contextmanager
def stopped_by_signals() -> Iterator[None]:
    """While it lasts, a signal that stops the server is told to every client first: the server waits for their answers."""
    before = {}
    _stopping.clear()
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            handler = signal.getsignal(number)
            if callable(handler):
                before[number] = handler
                signal.signal(number, _told_first(handler))
    try:
        yield
    finally:
        _stopping.clear()
        for number, handler in before.items():
            signal.signal(number, handler)


def _told_first(handler: Callable[..., Any]) -> Callable[..., Any]:
    def handle(number: int, frame: Any) -> Any:
        stop_all()
        return handler(number, frame)

    return handle
