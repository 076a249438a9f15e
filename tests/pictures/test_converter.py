"""The process that converts charts: it stays for the next one, which comes out as if it were the first; nobody waits for it."""

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from infoflow.errors import InfoflowError
from infoflow.pictures import converter
from infoflow.pictures.converter import Converter
from infoflow.pictures.picture import picture_of
from infoflow.pictures.rendering import inlined
from tests.helpers import made

pytestmark = pytest.mark.slow


@pytest.fixture
def own() -> Iterator[Converter]:
    one = Converter()
    yield one
    one.close()


def _spec(result: Any, **more: Any) -> bytes:
    spec = inlined(picture_of(result).chart).to_dict(validate=False)
    return json.dumps({**spec, "width": 400, **more}, default=str).encode()


FLOW, BARS = _spec(made.flow()), _spec(made.attribution([1.0, -3.0]))
ENDS_IT = _spec(made.attribution([1.0, -3.0]), title="\x0e\x00")
"""what its native code ends on"""


def _waits(own: Converter) -> Any:
    assert own._idle is not None
    return own._idle[0]._running


def test_one_process_draws_one_after_the_other_and_each_as_if_it_were_the_first(own: Converter) -> None:
    first = own.convert("svg", FLOW)
    process = _waits(own)
    assert first.startswith(b"<svg") and b'clip-path="url(#clip0)"' in first and b'id="clip0"' in first
    assert own.convert("png", BARS, scale=1.0).startswith(b"\x89PNG") and own.convert("pdf", BARS).startswith(b"%PDF")
    assert own.convert("svg", FLOW) == first and _waits(own) is process


def test_what_can_not_be_drawn_costs_the_next_one_nothing(own: Converter) -> None:
    own.convert("svg", BARS)
    process = _waits(own)
    with pytest.raises(InfoflowError, match="could not be drawn"):
        own.convert("svg", b'{"mark": 5}')  # told by the converter, which goes on
    assert _waits(own) is process
    with pytest.raises(InfoflowError, match="could not be drawn"):
        own.convert("png", ENDS_IT, scale=1.0)
    assert process.wait(60) and own._idle is None
    assert own.convert("svg", BARS).startswith(b"<svg") and _waits(own) is not process


def test_one_that_was_ended_while_it_waited_is_replaced(own: Converter) -> None:
    own.convert("svg", BARS)
    process = _waits(own)
    process.kill()
    process.wait()
    assert own.convert("svg", BARS).startswith(b"<svg") and _waits(own) is not process


def test_it_goes_when_nothing_more_is_asked(own: Converter, monkeypatch: pytest.MonkeyPatch) -> None:
    own.convert("svg", BARS)
    process = _waits(own)
    monkeypatch.setattr(converter, "STAYS", 0.0)
    own.convert("svg", BARS)
    assert process.wait(60) is not None and own._idle is None


def test_two_are_drawn_at_the_same_time_and_one_process_stays(own: Converter, monkeypatch: pytest.MonkeyPatch) -> None:
    both, drawn, used = threading.Barrier(2, timeout=120), [], []
    do = converter._Process.do

    def done(process: Any, *job: Any) -> Any:
        used.append(process._running)
        both.wait()
        return do(process, *job)

    monkeypatch.setattr(converter._Process, "do", done)
    threads = [threading.Thread(target=lambda: drawn.append(own.convert("svg", BARS))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    stays = _waits(own)
    assert len(drawn) == 2 and drawn[0] == drawn[1] and stays in used and used[0] is not used[1]
    assert [one.poll() is None for one in used] == [one is stays for one in used]


def test_who_stops_waiting_leaves_no_process_behind(own: Converter, monkeypatch: pytest.MonkeyPatch) -> None:
    own.convert("svg", BARS)
    process = _waits(own)

    def stopped(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(converter.json, "dumps", stopped)
    with pytest.raises(KeyboardInterrupt):
        own.convert("svg", BARS)
    assert process.poll() is not None and own._idle is None
