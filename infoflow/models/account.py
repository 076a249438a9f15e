"""One account of memory for the whole process: what a load or a run will take is promised to it before it starts.

Without it two that fit alone end the process together.
"""

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator
from typing import Any

from infoflow.models import memory
from infoflow.sharing import Say
from infoflow.text.amounts import in_words

_LOOK = 0.2
"""seconds between two looks at the memory that is free: others than this process take and give it too"""


class Account:
    """Promises by device. `shelf`, if there is one, says what unused models could give back."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._promised: dict[int, tuple[str, int]] = {}
        self._number = itertools.count()
        self.shelf: Any = None

    def promised(self, device: str) -> int:
        """Bytes of a device that are promised now."""
        with self._changed:
            return sum(size for place, size in self._promised.values() if place == device)

    def obtainable(self, device: str) -> int:
        """Bytes that are free there, or would be if models went that nobody uses."""
        return memory.free(device) + (self.shelf.unused_bytes(device) if self.shelf is not None else 0)

    @contextlib.contextmanager
    def reserved(
        self, needed: int, device: str, say: Say | None = None, allowed: Callable[[int], int] = lambda free: free
    ) -> Iterator[None]:
        """So many bytes of a device for the time of a `with`. `allowed(free)` is how much of what is free may be taken.

        Where it does not fit, models that nobody uses go first, the one unused longest before the others; then it waits for
        others to give back what they were promised, which `say` is told; where neither helps it goes on, and whoever
        reserves refuses in its own words.

        Raises:
            Cancelled: by `say`, while it waits.
        """
        token = next(self._number)
        while not self._promise(token, needed, device, allowed):
            if say is not None:
                others = in_words(self.promised(device))
                say(f"Waiting for memory: {in_words(needed)} are needed, and {others} are promised to other runs …", 0.0)
            with self._changed:
                self._changed.wait(_LOOK)
        try:
            yield
        finally:
            with self._changed:
                del self._promised[token]
                self._changed.notify_all()

    def _promise(self, token: int, needed: int, device: str, allowed: Callable[[int], int]) -> bool:
        with self._changed:
            others = self.promised(device)

            def fits(free: int) -> bool:
                left = max(0, free - others)
                return needed <= min(left, allowed(left))

            while not fits(memory.free(device)) and fits(self.obtainable(device)):
                if not self.shelf.let_one_go(device):  # somebody has begun to use it
                    break
            if fits(memory.free(device)) or not others:
                self._promised[token] = (device, needed)
                return True
            return False


ACCOUNT = Account()
