"""A visitor without a browser: speaks to a running app as Streamlit's own front end does, and keeps what is on the page."""

import hashlib
import json
from collections.abc import Callable
from types import TracebackType
from typing import Any
from urllib.parse import urlencode

from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.Element_pb2 import Element
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from websockets.asyncio.client import ClientConnection, connect

LARGEST = 64_000_000
"""bytes of a message"""


class Visitor:
    """One session. Use as `async with Visitor(address) as visitor`."""

    def __init__(self, address: str, heard: Callable[[bytes], None] = lambda message: None) -> None:
        """`heard` is given every message as it came."""
        self._address, self._heard = address.replace("http", "ws", 1), heard
        self._socket: ClientConnection | None = None
        self._page, self._query, self._run, self._ended = "", "", "", False
        self._on_page: dict[tuple[int, ...], tuple[str, Element]] = {}
        self.pages: dict[str, str] = {}
        """address of a page: what Streamlit calls it"""
        self.session = ""

    async def __aenter__(self) -> "Visitor":
        self._socket = await connect(
            f"{self._address}/_stcore/stream", subprotocols=["streamlit"], max_size=LARGEST, open_timeout=60, ping_timeout=None
        )  # type: ignore[list-item]
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.socket.close()

    @property
    def socket(self) -> ClientConnection:
        assert self._socket is not None
        return self._socket

    def drop(self) -> None:
        """The connection is cut, as a network cuts it: no goodbye."""
        self.socket.transport.abort()

    async def open(self, place: str, **query: Any) -> None:
        """A link of the app is followed, in this session; its page is drawn when this returns."""
        await self.begin(place, **query)
        await self.settled()

    async def begin(self, place: str, **query: Any) -> None:
        """A link is followed, and nothing is waited for."""
        self._page, self._query = place.strip("/"), urlencode(query, doseq=True)
        await self._rerun()

    async def send(self, message: BackMsg) -> None:
        """A message of Streamlit's protocol that no page asks for; nothing is waited for."""
        await self.socket.send(message.SerializeToString())

    async def set(self, **values: Any) -> None:
        """Widgets on the page, by their keys, are given values; True for a button is a click."""
        await self._rerun({self.widget(key): value for key, value in values.items()})
        await self.settled()

    def widget(self, key: str) -> str:
        """What Streamlit calls the widget of a key that is on the page."""
        found = [w for w in map(_id_of, self.elements()) if w.endswith(f"-{key}")]
        assert found, f"no widget '{key}' on /{self._page}"
        return found[0]

    async def ask(self, prompt: str) -> None:
        """The prompt is typed and Run pressed."""
        button = next(e.button.id for e in self.elements() if e.WhichOneof("type") == "button" and e.button.is_form_submitter)
        await self._rerun({self.widget("prompt"): prompt, button: True})
        await self.settled()

    async def settled(self) -> None:
        """Everything has come that the page's script sends."""
        while not await self._heard_end():
            pass

    async def sees(self, kind: str) -> None:
        """An element of a kind is on the page: "progress" while something is run."""
        while all(e.WhichOneof("type") != kind for e in self.elements()):
            assert not await self._heard_end(), f"no {kind} on /{self._page}: {self.told()} {self.failures()}"

    async def _heard_end(self) -> bool:
        """Take the next message; whether it says that the script rests."""
        data = await self.socket.recv()
        assert isinstance(data, bytes)
        self._heard(data)
        message = ForwardMsg.FromString(data)
        kind = message.WhichOneof("type")
        if kind == "session_status_changed":
            return self._ended and not message.session_status_changed.script_is_running
        if kind is not None:
            self._take(kind, message)
        return False

    def _take(self, kind: str, message: ForwardMsg) -> None:
        if kind == "new_session":
            self._run = message.metadata.run.script_run_id
            self.session = message.new_session.initialize.session_id or self.session
        elif kind == "navigation":
            self.pages = {page.url_pathname: page.page_script_hash for page in message.navigation.app_pages}
        elif kind == "page_info_changed":
            self._query = message.page_info_changed.query_string
        elif kind == "delta":
            path = tuple(message.metadata.delta_path)
            if message.delta.WhichOneof("type") == "new_element":
                self._on_page[path] = (self._run, message.delta.new_element)
            elif message.delta.WhichOneof("type") == "add_block":  # what was there before is no more
                for below in [p for p in self._on_page if p[: len(path)] == path and self._on_page[p][0] != self._run]:
                    del self._on_page[below]
        elif kind == "script_finished":
            self._ended = message.script_finished != ForwardMsg.FINISHED_EARLY_FOR_RERUN  # which comes by itself
            if not message.metadata.run.fragment_ids and self._ended:
                self._on_page = {p: (made, e) for p, (made, e) in self._on_page.items() if made == self._run}

    async def _rerun(self, values: dict[str, Any] | None = None) -> None:
        self._ended = False
        message = BackMsg()
        state = message.rerun_script
        state.query_string, state.page_name = self._query, self._page
        state.page_script_hash = self.pages.get(self._page, "")
        state.context_info.timezone, state.context_info.locale = "Etc/UTC", "en"
        for name, value in (values or {}).items():
            widget = state.widget_states.widgets.add()
            widget.id = name
            if value is True:
                widget.trigger_value = True
            else:
                widget.string_value = str(value)
        await self.socket.send(message.SerializeToString())

    def elements(self) -> list[Element]:
        """What is on the page, from its top."""
        return [element for _, (_, element) in sorted(self._on_page.items())]

    def failures(self) -> list[str]:
        """Exceptions that the page shows."""
        found = [e.exception for e in self.elements() if e.WhichOneof("type") == "exception"]
        return [f"{f.type}: {f.message}" for f in found]

    def told(self) -> list[str]:
        """Errors in words that the page shows."""
        return [e.alert.body for e in self.elements() if e.WhichOneof("type") == "alert" and e.alert.format == e.alert.ERROR]

    def charts(self) -> dict[str, str]:
        """Of each chart on the page a digest of all that is drawn, by its description."""
        found = {}
        for number, element in enumerate(e.vega_lite_chart for e in self.elements() if e.WhichOneof("type") == "vega_lite_chart"):
            spec = json.loads(element.spec)
            tables = sorted(d.data.data for d in element.datasets)
            whole = json.dumps(spec, sort_keys=True).encode() + b"".join(tables) + element.data.data
            found[f"{number} {element.alt}"] = hashlib.sha256(whole).hexdigest()
        return found


def _id_of(element: Element) -> str:
    kind = element.WhichOneof("type")
    return str(getattr(getattr(element, kind), "id", "")) if kind else ""
