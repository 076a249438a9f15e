"""A result is taken from a service up to a size, whether or not it is said before; in blocks, and each is told."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
import zstandard

from infoflow.errors import RemoteRunError
from infoflow.ndif import run
from infoflow.ndif.service import Connection


class Served:
    """What httpx gives of an address: blocks of a thousand bytes, counted as they are taken."""

    def __init__(self, content: bytes, headers: dict[str, str]) -> None:
        self.content, self.headers, self.taken, self.looked = content, headers, 0, False

    def raise_for_status(self) -> None:
        self.looked = True

    def iter_bytes(self, size: int) -> Iterator[bytes]:
        for start in range(0, len(self.content), 1000):
            self.taken += 1
            yield self.content[start : start + 1000]


def backend(limit: int, told: list[str], compress: bool = False) -> Any:
    made = run._Backend.__new__(run._Backend)
    made.display, made.compress = run._Watch(Connection(on_status=told.append, limit=limit)), compress
    return made


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Any:
    def start(content: bytes, headers: dict[str, str]) -> Served:
        served = Served(content, headers)

        @contextmanager
        def stream(method: str, url: str, **more: Any) -> Iterator[Served]:
            assert (method, url) == ("GET", "http://service/result")
            yield served

        monkeypatch.setattr(run.httpx, "stream", stream)
        return served

    return start


def saved(value: Any) -> bytes:
    held = io.BytesIO()
    torch.save(value, held)
    return held.getvalue()


def test_a_size_that_is_not_said_is_checked_block_by_block(serve: Any) -> None:
    served = serve(b"x" * 9000, {})
    with pytest.raises(RemoteRunError, match="The result is larger than") as refused:
        backend(2500, []).download_result("http://service/result")
    assert refused.value.kind == "too large" and served.taken == 3


def test_a_size_that_is_said_is_checked_at_once(serve: Any) -> None:
    served = serve(b"x" * 9000, {"Content-Length": "9000"})
    with pytest.raises(RemoteRunError, match="Use fewer tokens or sources"):
        backend(8999, []).download_result("http://service/result")
    assert served.taken == 1
    lying = serve(b"x" * 9000, {"Content-Length": "10"})
    with pytest.raises(RemoteRunError, match="larger than"):
        backend(1000, []).download_result("http://service/result")
    assert lying.taken == 2


def test_what_is_no_larger_is_taken_and_told_of(serve: Any) -> None:
    content, told = saved({"a": torch.arange(3)}), []
    served = serve(content, {"Content-Length": str(len(content))})
    assert backend(len(content), told).download_result("http://service/result")["a"].tolist() == [0, 1, 2]
    assert served.looked and served.taken == -(-len(content) // 1000)
    assert told[0] == "Sending" and told[1:] == ["Downloading the result: 1 MB of 1 MB"] * served.taken
    serve(content, {})
    backend(len(content), told).download_result("http://service/result")
    assert told[-1] == "Downloading the result: 1 MB"


def test_what_comes_in_the_message_itself_is_checked_too() -> None:
    content = saved({"a": 1})
    assert backend(len(content), []).download_result(content) == {"a": 1}
    with pytest.raises(RemoteRunError, match="larger than"):
        backend(len(content) - 1, []).download_result(content)


def test_a_little_that_unpacks_to_a_lot_is_refused() -> None:
    content = saved({"a": torch.zeros(100_000)})
    packed = zstandard.ZstdCompressor().compress(content)
    assert len(packed) < 5000
    with pytest.raises(RemoteRunError, match="larger than"):
        backend(len(content) - 1, [], compress=True).finalize(packed)
    assert len(backend(len(content), [], compress=True).finalize(packed)["a"]) == 100_000
