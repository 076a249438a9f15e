"""The models that a process holds for everybody who uses it: each once, whatever it was asked for as.

Who uses a model takes it for the time of a `with`. One that nobody uses goes when memory is wanted, the one unused longest
before the others; one in use goes when the last who uses it is done.
"""

import contextlib
import itertools
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from infoflow.models import memory
from infoflow.models.account import Account
from infoflow.models.spec import ModelSpec
from infoflow.sharing import Say, SharedWork

if TYPE_CHECKING:
    import infoflow.models.model

MOST = 2
"""so many are kept that nobody uses"""


@dataclass
class Shelved:
    """One model on the shelf."""

    model: "infoflow.models.model.Model"
    weights: ModelSpec
    """what it is of, the same for every way to ask for it"""
    number: int
    """of its place in the order of use: larger is later"""
    users: int = 0
    leaving: bool = False
    """whether it goes when its last user is done"""
    asked_as: set[tuple[ModelSpec, bool]] = field(default_factory=set)


class Shelf:
    """Models held, by their weights, device and type."""

    def __init__(self, account: Account | None = None) -> None:
        self._lock = threading.RLock()
        self._places: list[Shelved] = []
        self._loading = SharedWork()
        self._count = itertools.count()
        if account is not None:
            account.shelf = self

    @contextlib.contextmanager
    def using(self, spec: ModelSpec, folders: bool, say: Say) -> Iterator["infoflow.models.model.Model"]:
        """A model, loaded if it is not here. Two who ask for the same at once load it once, and both are told.

        Raises:
            InfoflowError: what loading raises; Cancelled.
        """
        place = self._take(spec, folders) or self._put(spec, folders, say)
        try:
            yield place.model
        finally:
            self._done_with(place)

    def look(self, spec: ModelSpec, folders: bool) -> "infoflow.models.model.Model | None":
        """A model that was asked for in this way before and is still here; looking neither loads nor waits."""
        with self._lock:
            found = self._named(spec, folders)
            return found.model if found is not None else None

    def held(self) -> list[tuple["infoflow.models.model.Model", int]]:
        """Every model here now, and by how many runs each is used."""
        with self._lock:
            return [(place.model, place.users) for place in self._places]

    def unload(self, name: str) -> int:
        """Let a model go, however it is held: now if nobody uses it, else when the last is done. How many use it still."""
        with self._lock:
            users = 0
            for place in self._places:
                if name in (place.model.name, f"{place.model.name}@{place.model.revision}"):
                    place.leaving = True
                    users += place.users
            gone = self._drop(lambda: [p for p in self._places if p.leaving and not p.users])
        self._after(gone)
        return users

    def unused_bytes(self, device: str) -> int:
        """What would be free if everything went that nobody uses."""
        with self._lock:
            return sum(p.model.bytes for p in self._places if not p.users and str(p.model.device) == device)

    def let_one_go(self, device: str) -> bool:
        """The model there that is unused longest goes; False where all are used."""
        with self._lock:
            gone = self._drop(lambda: [p for p in self._unused() if p.model.bytes and str(p.model.device) == device][:1])
        self._after(gone)
        return bool(gone)

    def _unused(self) -> list[Shelved]:
        """The one unused longest first."""
        return sorted((p for p in self._places if not p.users), key=lambda p: p.number)

    def _named(self, spec: ModelSpec, folders: bool) -> Shelved | None:
        return next((p for p in self._places if (spec, folders) in p.asked_as), None)

    def _take(self, spec: ModelSpec, folders: bool) -> Shelved | None:
        with self._lock:
            found = self._named(spec, folders)
            return None if found is None else self._begin_with(found, spec, folders)

    def _begin_with(self, place: Shelved, spec: ModelSpec, folders: bool) -> Shelved:
        place.users += 1
        place.number = next(self._count)
        place.asked_as.add((spec, folders))
        return place

    def _put(self, spec: ModelSpec, folders: bool, say: Say) -> Shelved:
        say("Loading torch and transformers", 0.0)
        from infoflow.models import loading  # torch and transformers load when a model is first needed, and that takes seconds

        found: loading.Resolved = self._loading.do((spec, folders), lambda report: loading.resolve(spec, folders, report), say)
        weights = found.weights

        def here() -> Shelved | None:
            with self._lock:
                place = next((p for p in self._places if p.weights == weights), None)
                return None if place is None else self._begin_with(place, spec, folders)

        def put(report: Say) -> None:
            with self._lock:  # it may have come while this one was on its way
                there = any(p.weights == weights for p in self._places)
            if not there:
                loading.libraries_stay()
                model = loading.read(found, report)
                with self._lock:
                    self._places.append(Shelved(model, weights, next(self._count)))

        while True:
            place = here()
            if place is not None:
                return place
            self._loading.do(weights, put, say)

    def _done_with(self, place: Shelved) -> None:
        with self._lock:
            place.users -= 1
            place.number = next(self._count)
            spare = len(self._unused()) - MOST
            gone = self._drop(lambda: [p for n, p in enumerate(self._unused()) if p.leaving or n < spare])
        if gone:  # its last user holds it until this returns
            later = threading.Timer(1.0, self._after, [gone])
            later.daemon = True
            later.start()

    def _drop(self, which: Callable[[], list[Shelved]]) -> set[str]:
        """Take some off the shelf, which leaves nobody holding them. The devices they were on."""
        devices = set()
        for place in which():
            self._places.remove(place)
            devices.add(str(place.model.device))
        return devices

    def _after(self, devices: set[str]) -> None:
        for device in devices:
            memory.give_back(device)
