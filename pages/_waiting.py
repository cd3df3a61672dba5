"""What a visitor sees who comes when all seats are taken."""

from __future__ import annotations

import streamlit as st

from pages import _connections as connections
from pages import _services as services
from pages._text import Markdown

_EVERY = 3.0  # seconds between two looks


def room() -> None:
    """Says the visitor's place in line, in place of the page, until there is a seat; then the page opens by itself."""

    @st.fragment(run_every=_EVERY)
    def line() -> None:
        place = connections.place()
        if not place:
            st.rerun()
        st.info(sentence(place, services.seats().most, services.seats().wait(place)), icon=":material/hourglass:")

    line()
    st.stop()


def sentence(place: int, most: int, seconds: float | None) -> Markdown:
    """Where in line one is, and for how long."""
    if seconds is None:
        when = "how long that takes nobody can say, for nobody has left so far"
    elif seconds < 90:
        when = f"in about {max(1, round(seconds)):d} s, at the rate at which people leave"
    else:
        when = f"in about {round(seconds / 60):d} minutes, at the rate at which people leave"
    before = "You are next" if place == 1 else f"You are number {place:d} in line"
    return (
        f"This server is full: its seats are all taken ({most:d}), and more people at work would only make all of them wait. "
        f"**{before}.** This "
        f"page opens by itself when a seat becomes free: {when}."
    )
