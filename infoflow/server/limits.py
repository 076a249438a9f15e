"""What a hosted app lets strangers ask: which models, how much in one request, how many in a minute.

What can be told from a request alone is refused here, before anything is loaded. What needs the model is refused where it is
known: tokens and time in `analyses/perform.py`, patched runs in `analyses/reruns.py`, the line of a model in `turns.py`.
"""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Collection, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from infoflow.analyses.request import Request
from infoflow.errors import Busy, NotAllowed, TooLarge
from infoflow.interventions import Intervention, texts_of
from infoflow.models.lenses import BUNDLED
from infoflow.models.spec import ModelSpec
from infoflow.settings import settings
from infoflow.text.amounts import duration
from infoflow.text.characters import shortened

MOST = {"k": 200, "top_k": 1000, "draws": 8, "strongest": 20, "length": 64, "samples": 8}
"""of a field that work grows with"""
OF_LENSES = {**MOST, "k": 50}
"""whose k is of every layer and position"""
CHARACTERS = 20_000
"""of one text"""
TEXTS = 16
"""that a prompt is held against, or that interventions have run"""
TARGETS = 50
"""tokens that a lens follows, at every layer and position"""
CHANGES = 32
"""interventions of one run"""
WRITTEN = 100_000
"""characters of a request as JSON: a steering vector is numbers"""
NUMBERS = 1_500_000
"""of one answer: as text, each takes half a kilobyte while it is written"""
MINUTE = 60.0
VISITORS = 10_000
"""whose last runs are remembered; beyond, those of the one seen longest ago are forgotten"""


def check_model(spec: ModelSpec, held: Collection[ModelSpec] = ()) -> None:
    """That this app runs a model at all; nothing is looked up for one that it does not. `held`: those in memory, which were let
    in before, as results name them.

    Raises:
        NotAllowed: a model that is not on the list, or held otherwise than the app holds it.
    """
    now = settings()
    if not now.hosted or spec in held:
        return
    asked = f"{spec.name}@{spec.revision}" if spec.revision else spec.name
    listed, where = (now.listed_on_ndif, "on NDIF") if spec.hosted else (now.listed, "here")
    if asked not in listed:
        choice = f"Choose one of: {', '.join(listed)}." if listed else "None may be."
        raise NotAllowed(f"This app does not run '{shortened(asked, 80)}' {where}. {choice}")
    if spec.hosted and spec.host != now.host:
        raise NotAllowed(f"This app sends runs to {now.host} alone. Leave the host out.")
    if not spec.hosted and (spec.device, spec.dtype) != ("auto", "auto"):
        raise NotAllowed("This app chooses device and type of the weights itself. Leave both at 'auto'.")


def check(request: Request[Any], held: Collection[ModelSpec] = ()) -> None:
    """That a request is one that this app answers.

    Raises:
        NotAllowed: of a model or a lens that is not on offer. TooLarge: more than one request may ask.
    """
    check_model(request.model, held)
    now = settings()
    written = max(getattr(request, "max_new_tokens", 0), len(getattr(request, "output", ())))
    if now.max_new_tokens is not None and written > now.max_new_tokens:
        raise TooLarge(
            f"{written:,} new tokens are asked for; this app writes at most {now.max_new_tokens} in one run.", always=True
        )
    if not now.hosted:
        return
    lens = getattr(request, "lens", None)
    if lens not in (None, BUNDLED):
        raise NotAllowed("This app reads no lens of a file or of the hub. Leave it out: the model's own is read.")
    for name, most in (OF_LENSES if request.analysis == "logit_lens" else MOST).items():
        if getattr(request, name, 0) > most:
            raise TooLarge(f"{name} is {getattr(request, name):,}; this app takes at most {most}.", always=True)
    corrupted = getattr(request, "corrupted", None)
    check_changes((*request.interventions, *((corrupted,) if isinstance(corrupted, Intervention) else ())))
    for field in fields(request):
        value = getattr(request, field.name)
        texts = (value,) if isinstance(value, str) else value if isinstance(value, tuple) else ()
        long = next((text for text in texts if isinstance(text, str) and len(text) > CHARACTERS), None)
        if long is not None:
            raise TooLarge(f"{field.name} has {len(long):,} characters; this app takes at most {CHARACTERS:,}.", always=True)
        if field.name == "targets" and len(texts) > TARGETS:
            raise TooLarge(f"{len(texts):,} targets are asked for; this app follows at most {TARGETS}.", always=True)
        if field.name in ("contrast", "texts") and len([text for text in texts if isinstance(text, str)]) > TEXTS:
            raise TooLarge(f"{field.name} has {len(texts)} texts; this app takes at most {TEXTS}.", always=True)
    if len(request.key) > WRITTEN:
        raise TooLarge(f"The request is {len(request.key):,} characters long; this app takes at most {WRITTEN:,}.", always=True)


def check_changes(interventions: Sequence[Intervention]) -> None:
    """That a run is changed in no more ways than this app answers: each text of theirs is a run of its own, which nothing stops.

    Raises:
        TooLarge: it is.
    """
    if not settings().hosted:
        return
    if len(interventions) > CHANGES:
        raise TooLarge(
            f"{len(interventions)} interventions are asked for; this app makes at most {CHANGES} in one run.", always=True
        )
    texts = {text for one in interventions for text in texts_of(one)}
    if len(texts) > TEXTS:
        raise TooLarge(
            f"The interventions read {len(texts):,} other texts; this app runs at most {TEXTS}. Take fewer.", always=True
        )


def check_answer(result: Any) -> None:
    """That a result is no larger than what this app sends a program.

    Raises:
        TooLarge: it is.
    """
    numbers = _numbers(result) if settings().hosted else 0
    if numbers > NUMBERS:
        raise TooLarge(
            f"The answer holds {numbers:,} numbers; this app sends at most {NUMBERS:,}. Ask of a shorter prompt.", always=True
        )


def _numbers(of: Any) -> int:
    if isinstance(of, np.ndarray):
        return of.size
    return sum(_numbers(getattr(of, field.name)) for field in fields(of)) if is_dataclass(of) else 0


class Allowance:
    """How many runs each visitor has begun in the last minute. Looks and what is kept already count for nothing."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now, self._lock = now, threading.Lock()
        self._begun: OrderedDict[str, deque[float]] = OrderedDict()

    def take(self, who: str, runs: int = 1) -> None:
        """Count this visitor's runs, if so many more may be.

        Raises:
            Busy: as many as a minute allows were begun.
        """
        most = settings().runs_per_minute
        if most is None:
            return
        with self._lock:
            begun = self._begun.setdefault(who, deque())
            self._begun.move_to_end(who)
            while len(self._begun) > VISITORS:
                self._begun.popitem(last=False)
            now = self._now()
            while begun and begun[0] <= now - MINUTE:
                begun.popleft()
            if runs > most:
                raise TooLarge(
                    f"{runs} runs are asked for at once; this app makes {most} in a minute for one visitor. Ask for fewer."
                )
            over = len(begun) + runs - most
            if over > 0:
                soon = begun[over - 1] + MINUTE - now
                raise Busy(
                    f"{len(begun)} runs were begun for you in the last minute, and {most} are made for one visitor. "
                    f"Try again in {duration(soon)}.",
                    soon,
                )
            begun.extend([now] * runs)
