"""What Streamlit does anew each time, and need not: with sixty visitors it is a quarter of what the process does.

At the beginning of every run of a script it reads the settings of all sections of the theme, to tell the browser the same
again; and for one look at the value of one widget, most kinds of widgets collect the values of all. A page goes to the browser
as a hundred messages, and for each the thread that runs the script wakes the event loop, and the loop lets all other threads
have the interpreter twice, which then takes its time to come back to it. And all of them wait for one lock at each look at a
setting.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import cache, wraps
from typing import Any

from streamlit import config
from streamlit.proto.NewSession_pb2 import CustomThemeConfig
from streamlit.runtime import app_session, runtime
from streamlit.runtime.app_session import AppSession
from streamlit.runtime.runtime import Runtime
from streamlit.runtime.state.safe_session_state import SafeSessionState

_STRETCH = 0.005  # seconds that messages are written for before the loop looks at anything else


def lighten() -> None:
    """From now on, in this process; a second time changes nothing. The settings of the theme must not change any more."""
    if not hasattr(app_session._populate_theme_msg, "__wrapped__"):
        _read_the_theme_once()
    if not hasattr(AppSession._call_soon_on_event_loop, "__wrapped__"):
        AppSession._call_soon_on_event_loop = _in_batches(AppSession._call_soon_on_event_loop)  # type: ignore[assignment, method-assign]
        Runtime._enqueued_some_message = _said_once(Runtime._enqueued_some_message)  # type: ignore[assignment, method-assign]
        vars(runtime)["asyncio"] = _Asyncio()
        config.get_option = _unlocked(config.get_option)  # type: ignore[assignment]
    SafeSessionState.filtered_state = property(_Values)  # type: ignore[assignment]


def _read_the_theme_once() -> None:
    read = app_session._populate_theme_msg

    @cache
    def found(section: str) -> CustomThemeConfig:
        message = CustomThemeConfig()
        read(message, section)
        return message

    @wraps(read)
    def populate(message: CustomThemeConfig, section: str = "theme") -> None:
        known = found(section)
        if known.ByteSize():  # to merge nothing would still say that there is such a section
            message.MergeFrom(known)

    app_session._populate_theme_msg = populate  # type: ignore[assignment]


_Wake = Callable[[AppSession, Callable[[], None]], None]


def _in_batches(wake: _Wake) -> _Wake:
    """What a session asks of the event loop, in its order: the loop is woken once for all that is asked until it comes."""

    @wraps(wake)
    def soon(self: AppSession, callback: Callable[[], None]) -> None:
        asked = self.__dict__.setdefault("_ravine_asked", deque())
        asked.append(callback)
        if not self.__dict__.get("_ravine_woken"):
            self.__dict__["_ravine_woken"] = True
            wake(self, lambda: answer(self, asked))

    def answer(self: AppSession, asked: deque[Callable[[], None]]) -> None:
        self.__dict__["_ravine_woken"] = False  # first: what is asked from here on wakes the loop again
        try:
            while asked:
                asked.popleft()()
        finally:
            if asked:  # one has failed, as the loop will tell, and the others are still to come
                wake(self, lambda: answer(self, asked))

    return soon


def _said_once(say: Callable[[Runtime], None]) -> Callable[[Runtime], None]:
    """There is something to send: on the event loop that is noted at once, and need not be said for each message."""

    def said(self: Runtime) -> None:
        loop = self._get_async_objs()
        if _running() is loop.eventloop:
            loop.need_send_data.set()
        else:
            say(self)

    return said


def _running() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class _Asyncio:
    """The module asyncio, but for a pause of no length, which the loop that sends messages makes after each of them."""

    def __init__(self) -> None:
        self._paused = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(asyncio, name)

    async def sleep(self, delay: float) -> None:
        if delay > 0 or time.monotonic() - self._paused >= _STRETCH:
            await asyncio.sleep(delay)
            self._paused = time.monotonic()


def _unlocked(look_up: Callable[[str], Any]) -> Callable[[str], Any]:
    """A setting of Streamlit's, as each widget and each message asks for some: without the one lock that all threads wait for."""

    @wraps(look_up)
    def get_option(key: str) -> Any:
        known = config._config_options
        return known[key].value if known is not None and key in known else look_up(key)

    return get_option


class _Values(Mapping[str, Any]):
    """What a visitor's widgets hold, by their keys, and what else is in the session: each looked up when it is asked for."""

    def __init__(self, session: SafeSessionState):
        self._session = session

    def __getitem__(self, key: str) -> Any:
        with self._session._lock:
            return self._session._state[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def _all(self) -> dict[str, Any]:
        with self._session._lock:
            return self._session._state.filtered_state
