"""A run as server-sent events: `progress` as it goes, at the end `result` or `problem`; comments keep a quiet line open."""

import asyncio
from collections.abc import Callable

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from infoflow.files import strict
from infoflow.server.problems import problem_of
from infoflow.server.running import LEFT, Run, left

MEDIA = "text/event-stream"
QUIET = 15.0
"""seconds without a word after which one is sent all the same, so that no proxy closes the line"""


def event(name: str, data: bytes) -> bytes:
    """One event; whoever reads it puts the lines of its data together again."""
    lines = b"".join(b"data: %b\n" % line for line in data.split(b"\n"))
    return b"event: %b\n%b\n" % (name.encode(), lines)


class Events(Response):
    """The answer that tells of a run."""

    media_type = MEDIA

    def __init__(self, begin: Callable[[], Run]) -> None:
        self.status_code, self.background = 200, None
        # nginx would keep events back until it has a page of them
        self.init_headers({"Cache-Control": "no-store", "X-Accel-Buffering": "no", "Content-Type": f"{MEDIA}; charset=utf-8"})
        self._run = begin()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Tell it to whoever listens; one who leaves ends it."""
        run = self._run
        leaving = asyncio.ensure_future(left(receive))
        try:
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            while not run.outcome.done():
                heard = asyncio.ensure_future(run.heard())
                await asyncio.wait({heard, leaving}, timeout=QUIET, return_when=asyncio.FIRST_COMPLETED)
                told = heard.done()
                heard.cancel()
                if leaving.done():
                    return
                if run.outcome.done():
                    break
                said = event("progress", strict.as_json({"doing": run.doing, "fraction": run.fraction}))
                await send({"type": "http.response.body", "body": said if told else b": still here\n\n", "more_body": True})
            try:
                last = event("result", run.outcome.result())
            except Exception as error:  # noqa: BLE001  whatever it is, it is told as a problem
                last = event("problem", problem_of(error).as_json())
            await send({"type": "http.response.body", "body": last, "more_body": False})
        finally:
            leaving.cancel()
            run.stop(LEFT)
