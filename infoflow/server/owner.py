"""Who owns the app: who knows INFOFLOW_OWNER_TOKEN; where none is set and the app listens to this machine alone, its reader."""

import hmac
import threading
import time
from collections import deque
from collections.abc import Callable

from infoflow.errors import Busy, NotAllowed
from infoflow.settings import settings
from infoflow.text.amounts import duration

WRONG = 20
"""tokens that may be wrong in a minute, of all who try: then none is looked at"""
MINUTE = 60.0
UNSET = """Others can reach this app, and it has no owner's token: there is nothing to see here. Whoever runs it can set
INFOFLOW_OWNER_TOKEN to a long random text and start it again."""


class Door:
    """Lets the owner in."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now, self._lock = now, threading.Lock()
        self._wrong: deque[float] = deque()

    def opens(self, given: str, alone: bool) -> bool:
        """Whether a token opens it; `alone`: the app listens to this machine alone.

        Raises:
            NotAllowed: others reach the app, and no token is set. Busy: too many wrong ones came.
        """
        token = settings().owner_token.get_secret_value()
        if not token:
            if alone:
                return True
            raise NotAllowed(UNSET.replace("\n", " "))
        if not given:
            return False
        with self._lock:
            now = self._now()
            while self._wrong and self._wrong[0] <= now - MINUTE:
                self._wrong.popleft()
            if len(self._wrong) >= WRONG:
                soon = self._wrong[0] + MINUTE - now
                raise Busy(f"{WRONG} wrong tokens were given in a minute. Try again in {duration(soon)}.", soon)
            if hmac.compare_digest(given.encode(), token.encode()):
                return True
            self._wrong.append(now)
            return False
