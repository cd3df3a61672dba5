"""What is known of each browser tab: whether it has a seat, and what it shows.

Automatic reruns that would draw what is there already are dropped before they cost anything. A page with a computation
asks twice a second whether there is more to show. A rerun of a page's fragment takes the server ten milliseconds and more
even where nothing is new, and with a class most of them: the page therefore says what it has drawn, and as long as that is
the latest the question is answered where it comes in, by saying nothing. So it is while enough others are redrawn: it comes
again in half a second.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

import streamlit as st
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from streamlit.proto.BackMsg_pb2 import BackMsg

from pages import _services as services

_HEADER = "x-ravine-connection"  # set here, on the way to Streamlit: no browser's is let through
_MOST = 4.0  # seconds without a rerun, at most, and as many again while others are redrawn: a rerun also tells for how long to wait, and that somebody still does
_SHARE = 0.2  # of the interpreter's time that all pages together may draw results in that are not the last
_AT_ONCE = 2  # pages that are redrawn by themselves at a time: the interpreter is shared with whoever moves something
_LONGEST = 2.0  # seconds after which one that has not said that it is drawn counts no more
_BROKEN, _UNFIT = 1002, 1003  # codes to close a websocket with: of a protocol error, and of data that nobody takes
# What a page says that a visitor may say; the rest is for who develops Streamlit, or clears what is shared by all.
_HEEDED = {
    "rerun_script", "stop_script", "file_urls_request", "app_heartbeat", "load_git_info", "backend_operation_request",
}  # fmt: skip
Seen = dict[str, tuple[str, int]]  # job -> its state and the number of its results


@dataclass
class _Connection:
    """One browser tab."""

    asked: int = 0  # reruns that its visitor has asked for
    came: bool = False  # has it a seat, or a place in line?
    # `asked` then, what there is, and what was drawn of it:
    drawn: tuple[int, Callable[[], Seen], Seen] = -1, dict, {}
    pause: float = 0.0  # when the next result may be drawn
    until: float = 0.0  # when it is drawn again in any case
    redrawn: float = 0.0  # until when it counts as being redrawn by itself

    def redraws(self) -> bool:
        """May it be redrawn by itself now?"""
        now = time.monotonic()
        if self._rests(now):
            return False
        if now < self.until + _MOST:  # who has waited so long waits no more
            others = sum(one.redrawn > now for one in list(_connections.values()) if one is not self)
            if others >= _AT_ONCE:
                return False
        self.redrawn = now + _LONGEST
        return True

    def _rests(self, now: float) -> bool:
        """Would a rerun draw nothing that is new, or nothing that cannot wait?"""
        asked, seen, drawn = self.drawn
        there = seen()  # looks in any case: the queue learns from it that the visitor is there
        if asked != self.asked or now >= self.until:
            return False
        return there == drawn or (now < self.pause and _stage(there) == _stage(drawn))


def _stage(seen: Seen) -> dict[str, tuple[str, bool]]:
    """That it begins, the first result and the last are worth a hurry."""
    return {job: (state, bool(results)) for job, (state, results) in seen.items()}


_connections: dict[str, _Connection] = {}


class Begun:
    """To be made before a fragment draws; `seen` tells what there is, and must be quick."""

    def __init__(self, seen: Callable[[], Seen]) -> None:
        self._connection = _connections.get(st.context.headers.get(_HEADER, ""))
        self._asked = self._connection.asked if self._connection is not None else 0
        self._seen, self._there, self._began = seen, seen(), time.thread_time()

    def drew(self) -> None:
        """All is drawn, and stays so as long as there is nothing else and the visitor does nothing."""
        if self._connection is None:
            return
        now = time.monotonic()
        # Tabs come and go meanwhile, on another thread: a copy stays as it is.
        live = 1 + sum(one.until > now for one in list(_connections.values()) if one is not self._connection)
        self._connection.drawn = self._asked, self._seen, self._there
        self._connection.pause = now + (time.thread_time() - self._began) * live / _SHARE
        self._connection.until, self._connection.redrawn = now + _MOST, 0.0


def place() -> int:
    """Of this tab in the line of those who wait for a seat; 0 if it has one."""
    return services.seats().place(st.context.headers.get(_HEADER, ""))


class Connections:
    """ASGI middleware that gives each tab that asks for a page a seat or a place in line, drops automatic reruns of pages that
    rest, and closes the connection of who says what no page says.
    """

    def __init__(self, app: ASGIApp):
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "websocket":
            await self._app(scope, receive, send)
            return
        name, connection = secrets.token_hex(16), _Connection()
        closed = False

        async def heard() -> Message:
            nonlocal closed
            while (message := await receive())["type"] == "websocket.receive":
                back = _said(message)
                if isinstance(back, int):
                    closed = True
                    await send({"type": "websocket.close", "code": back})
                    return {"type": "websocket.disconnect", "code": back}
                if back.WhichOneof("type") in _HEEDED and not _is_idle(back, connection):
                    break
            if connection.asked and not connection.came:  # who only holds a connection takes nobody's seat
                connection.came = True
                services.seats().come(name)
            return message

        async def told(message: Message) -> None:
            if not closed:
                await send(message)

        others = [(key, value) for key, value in scope["headers"] if key != _HEADER.encode()]
        _connections[name] = connection
        try:
            await self._app({**scope, "headers": [*others, (_HEADER.encode(), name.encode())]}, heard, told)
        finally:
            services.seats().leave(name)
            del _connections[name]


def _said(message: Message) -> BackMsg | int:
    """What a page says; of what is no message of a page the code to close with. Streamlit has a traceback for each in the log."""
    if message.get("bytes") is None:
        return _UNFIT
    back = BackMsg()
    try:
        back.ParseFromString(message["bytes"])
    except Exception:  # of several classes, by the implementation of protobuf that is installed
        return _BROKEN
    return back


def _is_idle(back: BackMsg, connection: _Connection) -> bool:
    """Is this an automatic rerun that would draw nothing new?"""
    if back.WhichOneof("type") != "rerun_script":
        return False
    if back.rerun_script.is_auto_rerun:
        return not connection.redraws()
    connection.asked += 1
    return False
