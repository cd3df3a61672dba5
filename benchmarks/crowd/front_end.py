"""What a browser does with a Streamlit app, without a browser: one tab on an asyncio loop, cheap enough to open by the hundred.

A tab fetches the page and the scripts that it names, opens the websocket and speaks the protocol of Streamlit's own front
end: it sends the state of its widgets with each rerun, keeps messages that come back as a hash, and asks again for
fragments that rerun by themselves, on their interval, whether or not the last one was answered. Nothing is drawn; scripts
that the front end would load later, one widget at a time, are left out. Loopback, or a server of one's own: never others'.
"""

from __future__ import annotations

import asyncio
import gzip
import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import websockets
from streamlit.proto.BackMsg_pb2 import BackMsg
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg
from streamlit.proto.WidgetStates_pb2 import WidgetState

PATIENCE = 60.0  # seconds to wait for an answer over HTTP or for the websocket
PICTURES = (
    "ravine_canvas",
    "ravine_figure",
    "ravine_chart",
)  # components that draw; a shorter message is an empty picture
_EMPTY = 100  # bytes
_ALERTS = {1: "error", 2: "warning", 3: "info", 4: "success"}
_ASKED_FIRST = ("/_stcore/health", "/_stcore/host-config")  # by the front end, before it opens the websocket
_MARKED = re.compile(r"\\([^\w\s])")  # what Markdown would take for its own, and shows without the stroke
_CONNECTIONS = 6  # to one server at once, as browsers have


@dataclass(frozen=True)
class Heard:
    """Something of note that came from the server.

    `what` is "run" (a script run begins; `text` is the fragment that runs, or empty for the whole page), "finished",
    "picture" (`text` tells it from others), "progress" (a bar or a spinner), "error", "warning", "info", "success", "exception" or "closed".
    """

    at: float  # by time.perf_counter
    what: str
    text: str = ""


@dataclass
class Widget:
    kind: str  # "slider", "number_input", "button", "file_uploader", ...
    label: str
    fragment: str  # that runs when it changes; empty for the whole page
    proto: Any
    seen: int  # the run that showed it last

    @property
    def key(self) -> str:
        """The key that the app gave it, or "None"."""
        return self.proto.id.split("-", 2)[-1]


@dataclass
class Traffic:
    """What has gone over the network, of all tabs together."""

    requests: int = 0
    http_bytes: int = 0
    messages: int = 0
    websocket_bytes: int = 0
    polls: int = 0
    failures: list[str] = field(default_factory=list)  # of HTTP


class Visitor:
    """A browser of one person: its cookies, and the files that it keeps. Opens tabs."""

    def __init__(self, address: str, traffic: Traffic | None = None):
        self.address, self.traffic = address.rstrip("/"), traffic or Traffic()
        self.cookies: dict[str, str] = {}
        self._kept: set[str] = set()

    async def fetch(self, path: str, connection: Connection | None = None) -> tuple[int, bytes]:
        """Status and body of a GET; status 0 for one that failed, which is noted."""
        one = connection or Connection(self.address)
        try:
            async with asyncio.timeout(PATIENCE):
                status, headers, body = await one.ask("GET", path, {"Cookie": self.cookie(), "Accept-Encoding": "gzip"})
        except (OSError, EOFError, ValueError, TimeoutError) as failure:
            self.traffic.failures.append(f"{type(failure).__name__} {path[:60]}")
            one.close()
            return 0, b""
        finally:
            if connection is None:
                one.close()
        self.traffic.requests += 1
        self.traffic.http_bytes += len(body)
        for name, value in headers:
            if name == "set-cookie":
                key, _, rest = value.partition("=")
                self.cookies[key] = rest.partition(";")[0]
        if status >= 400:
            self.traffic.failures.append(f"{status} {path[:60]}")
        if ("content-encoding", "gzip") in headers:
            body = gzip.decompress(body)
        return status, body

    async def load(self, more: Sequence[str] = ()) -> float:
        """Fetches the page and what it names, a few files at a time, but none a second time; the seconds that it took."""
        begun = time.perf_counter()
        _, index = await self.fetch("/")
        await asyncio.gather(*(self.fetch(one) for one in _ASKED_FIRST))
        named = re.findall(rb'(?:src|href)="\.?/?(static/[^"]+)"', index)
        wanted = sorted({"/" + one.decode() for one in named} | set(more))
        wanted = [one for one in wanted if one not in self._kept]

        async def some() -> None:
            connection = Connection(self.address)
            while wanted:
                path = wanted.pop()
                status, _ = await self.fetch(path, connection)
                if status == 200:
                    self._kept.add(path)
            connection.close()

        await asyncio.gather(*(some() for _ in range(_CONNECTIONS)))
        return time.perf_counter() - begun

    @property
    def new(self) -> bool:
        """Has it no files yet?"""
        return not self._kept

    def tab(self, path: str, query: str, hear: Callable[[Heard], object]) -> Tab:
        return Tab(self, path, query, hear)

    def cookie(self) -> str:
        """All cookies, as a request names them."""
        return "; ".join(f"{key}={value}" for key, value in self.cookies.items())


class Tab:
    """One page in one session. `hear` is told of all that comes, in order; `query` follows the address bar."""

    def __init__(self, visitor: Visitor, path: str, query: str, hear: Callable[[Heard], object]):
        self.visitor, self.path, self.query, self.hear = visitor, path, query, hear
        self.widgets: dict[str, Widget] = {}  # by their ids; those that are on the page
        self.picture = ""  # the newest, empty before the first
        self.session = ""
        self.closed = False
        self.uploads: asyncio.Queue[Any] = asyncio.Queue()  # addresses for files, as asked for
        self._states: dict[str, WidgetState] = {}
        self._messages: dict[str, tuple[ForwardMsg, int]] = {}  # hash -> message, the run that used it last
        self._polls: dict[str, asyncio.Task[None]] = {}  # by fragment
        self._runs, self._fragment, self._script = 0, "", ""
        self._longest = 2  # runs that a message is kept for
        self._news = asyncio.Event()
        self._socket: Any = None
        self._reading: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Connects and asks for the page. Raises OSError or a websockets exception where the server does not let us in."""
        host = urlsplit(self.visitor.address)
        self._socket = await websockets.connect(
            f"ws://{host.netloc}/_stcore/stream",
            subprotocols=[websockets.Subprotocol("streamlit")],
            origin=websockets.Origin(self.visitor.address),
            additional_headers={"Cookie": self.visitor.cookie()} if self.visitor.cookies else {},
            max_size=None,
            open_timeout=PATIENCE,
            ping_interval=None,
        )
        self._reading = asyncio.create_task(self._read())
        await self.rerun()

    async def close(self) -> None:
        for task in [*self._polls.values(), self._reading]:
            if task is not None:
                task.cancel()
        self._polls.clear()
        if self._socket is not None:
            with suppress(Exception):
                await asyncio.wait_for(self._socket.close(), 2)

    async def until(self, met: Callable[[], object], patience: float) -> bool:
        """Waits until something has come that meets the condition; False when patience has ended or the server has closed."""
        end = time.perf_counter() + patience
        while not met():
            self._news.clear()
            left = end - time.perf_counter()
            if left <= 0 or self.closed:
                return False
            with suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), left)
        return True

    def find(self, kind: str, key: str = "", label: str = "") -> list[Widget]:
        """The widgets on the page of a kind whose key ends so and whose label is this."""
        return [
            one
            for one in list(self.widgets.values())
            if one.kind == kind and one.key.endswith(key) and label in ("", one.label)
        ]

    def value(self, slider: Widget) -> str:
        """The text that a slider over texts stands at."""
        held = self._states.get(slider.proto.id)
        return held.string_array_value.data[0] if held else slider.proto.options[int(slider.proto.default[0])]

    def set(self, widget: Widget, value: float | str) -> None:
        """Puts a slider over texts or a number field at a value; the next rerun says so."""
        state = WidgetState(id=widget.proto.id)
        if isinstance(value, str):
            state.string_array_value.data.append(value)
        else:
            state.double_value = value
        self._states[state.id] = state

    def hold(self, state: WidgetState) -> None:
        """Puts a widget of any kind at a state."""
        self._states[state.id] = state

    async def change(self, widget: Widget, value: float | str) -> None:
        self.set(widget, value)
        await self.rerun(widget.fragment)

    async def press(self, button: Widget) -> None:
        await self.rerun(button.fragment, pressed=button.proto.id)

    async def rerun(self, fragment: str = "", pressed: str = "", *, alone: bool = False) -> None:
        """Asks for a run of the page or of a fragment; `alone` for one that nobody has asked for."""
        message = BackMsg()
        run = message.rerun_script
        run.query_string, run.page_script_hash = self.query, self._script
        run.fragment_id, run.is_auto_rerun = fragment, alone
        if not self._script:
            run.page_name = self.path
        run.context_info.url = f"{self.visitor.address}/{self.path}"
        run.context_info.timezone = "Europe/Berlin"
        run.widget_states.widgets.extend(self._states.values())
        if pressed:
            run.widget_states.widgets.add(id=pressed, trigger_value=True)
        run.cached_message_hashes.extend(self._messages)
        await self.send(message)

    async def send(self, message: BackMsg) -> None:
        with suppress(websockets.ConnectionClosed):  # said by `_read`
            await self._socket.send(message.SerializeToString())

    async def _poll(self, fragment: str, interval: float) -> None:
        while True:
            await asyncio.sleep(interval)
            self.visitor.traffic.polls += 1
            await self.rerun(fragment, alone=True)

    async def _read(self) -> None:
        traffic = self.visitor.traffic
        with suppress(websockets.ConnectionClosed):
            async for data in self._socket:
                traffic.messages += 1
                traffic.websocket_bytes += len(data)
                message = ForwardMsg.FromString(data)
                self._take(message, time.perf_counter())
                self._news.set()
        self.closed = True
        for task in self._polls.values():
            task.cancel()
        self._say(time.perf_counter(), "closed", str(getattr(self._socket, "close_code", "")))
        self._news.set()

    def _say(self, at: float, what: str, text: str = "") -> None:
        self.hear(Heard(at, what, _MARKED.sub(r"\1", text)))

    def _take(self, message: ForwardMsg, now: float) -> None:
        """One message of the server."""
        name = message.hash
        if message.WhichOneof("type") == "ref_hash":
            name = message.ref_hash
            if name not in self._messages:
                self._say(now, "exception", "The server names a message that it has not sent.")
                return
            kept, _ = self._messages[name]
            message = kept
            self._messages[name] = kept, self._runs
        elif message.metadata.cacheable and name:
            self._messages[name] = message, self._runs
        match message.WhichOneof("type"):
            case "new_session":
                self._begin(message, now)
            case "script_finished":
                self._end(message.script_finished, now)
            case "navigation":
                self._script = message.navigation.page_script_hash
            case "page_info_changed":
                self.query = message.page_info_changed.query_string
            case "auto_rerun":
                one = message.auto_rerun
                if one.fragment_id not in self._polls:
                    self._polls[one.fragment_id] = asyncio.create_task(self._poll(one.fragment_id, one.interval))
            case "stop_auto_rerun":
                for fragment in message.stop_auto_rerun.fragment_ids:
                    if fragment in self._polls:
                        self._polls.pop(fragment).cancel()
            case "file_urls_response":
                self.uploads.put_nowait(message.file_urls_response)
            case "delta":
                if message.delta.WhichOneof("type") == "new_element":
                    self._show(message.delta.new_element, message.delta.fragment_id, name, now)

    def _begin(self, message: ForwardMsg, now: float) -> None:
        fragments = list(message.metadata.run.fragment_ids)
        self._fragment = fragments[0] if fragments else ""
        self.session = message.new_session.initialize.session_id or self.session
        self._longest = message.new_session.config.max_cached_message_age or self._longest
        self._runs += 1
        if not fragments:
            for task in self._polls.values():
                task.cancel()
            self._polls.clear()
        self._say(now, "run", self._fragment)

    def _end(self, how: int, now: float) -> None:
        """A run is over: what it has not shown is no longer there. One that was stopped for another says nothing."""
        if how == 2:
            return
        if how == 1:
            self._say(now, "exception", "The script does not compile.")
        self.widgets = {
            key: one
            for key, one in self.widgets.items()
            if one.seen == self._runs or (self._fragment and one.fragment != self._fragment)
        }
        if not self._fragment:
            self._messages = {
                key: kept for key, kept in self._messages.items() if self._runs - kept[1] <= self._longest
            }
        self._say(now, "finished")

    def _show(self, element: Any, fragment: str, name: str, now: float) -> None:
        what = element.WhichOneof("type")
        one = getattr(element, what)
        if what == "alert":
            self._say(now, _ALERTS.get(one.format, "info"), one.body)
        elif what in ("progress", "spinner"):
            self._say(now, "progress", one.text)
        elif what == "exception":
            self._say(now, "exception", f"{one.type}: {one.message}")
        elif what == "bidi_component":
            if one.component_name in PICTURES and max(len(one.json), len(one.bytes)) > _EMPTY:
                self.picture = name
                self._say(now, "picture", name)
        elif hasattr(one, "id") and hasattr(one, "label"):
            self.widgets[one.id] = Widget(what, one.label, fragment, one, self._runs)
            if getattr(one, "set_value", False):
                self._states.pop(one.id, None)  # the script has put it elsewhere, and knows where


class Connection:
    """HTTP/1.1 over one connection that stays open, for answers with a length or in chunks."""

    def __init__(self, address: str):
        self._host = urlsplit(address)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(
        self, method: str, path: str, headers: dict[str, str], body: bytes = b""
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        """Status, headers in lower case, body. Raises OSError, EOFError or ValueError for what is no answer."""
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host.hostname, self._host.port or 80, limit=1 << 20)
        reader, writer = self._streams
        sent = {"Host": self._host.netloc} | {key: value for key, value in headers.items() if value}
        if body:
            sent["Content-Length"] = str(len(body))
        head = "".join(f"{key}: {value}\r\n" for key, value in sent.items())
        writer.write(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body)
        await writer.drain()
        lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(lines[0].split(" ")[1])
        found = [(key.strip().lower(), value.strip()) for key, _, value in (one.partition(":") for one in lines[1:-2])]
        known = dict(found)
        if "chunked" in known.get("transfer-encoding", ""):
            content = b""
            while size := int((await reader.readuntil(b"\r\n")).split(b";")[0], 16):
                content += (await reader.readexactly(size + 2))[:-2]
            await reader.readuntil(b"\r\n")
        else:
            content = await reader.readexactly(int(known.get("content-length", "0")))
        if known.get("connection", "").lower() == "close":
            self.close()
        return status, found, content

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
        self._streams = None
