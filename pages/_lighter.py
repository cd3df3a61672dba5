"""What Streamlit does anew each time, and need not: with sixty visitors it is a quarter of what the process does.

At the beginning of every run of a script it reads the settings of all sections of the theme, to tell the browser the same
again; and for one look at the value of one widget, most kinds of widgets collect the values of all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache, wraps
from typing import Any

from streamlit.proto.NewSession_pb2 import CustomThemeConfig
from streamlit.runtime import app_session
from streamlit.runtime.state.safe_session_state import SafeSessionState


def lighten() -> None:
    """From now on, in this process; a second time changes nothing. The settings of the theme must not change any more."""
    if not hasattr(app_session._populate_theme_msg, "__wrapped__"):
        _read_the_theme_once()
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
