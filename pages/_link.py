"""The page's state is its link: reading the address bar, and writing it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import streamlit as st

from ravine import Experiment, Result
from ravine.experiment import VIEWS

_LAG = 1.0  # seconds within which the browser may still send an address that we have just replaced


@dataclass
class Shown:
    """What a page shows: kept in the session, so that coming back to the page finds it again."""

    experiment: Experiment
    query: dict[str, str]  # as last read from or written to the address bar
    refusals: list[str] = field(default_factory=list)
    replaced: list[tuple[float, dict[str, str]]] = field(default_factory=list)

    def is_echo(self, query: dict[str, str]) -> bool:
        """Is this an address that we wrote ourselves and replaced a moment ago?"""
        self.replaced = [(when, old) for when, old in self.replaced if time.monotonic() - when < _LAG]
        return query == self.query or any(old == query for _, old in self.replaced)


def opened(view: str) -> Experiment:
    """The experiment that the page opens with: the link's, if the address holds a new one; else what it showed last.

    Widgets of the page forget their values when a link is opened, and start again from the experiment.
    """
    query = st.query_params.to_dict()
    shown = st.session_state.get(f"{view} shown")
    if shown is None or (query and not shown.is_echo(query)):
        experiment, refusals = Experiment.from_query(query, view)
        for key in [key for key in st.session_state if str(key).startswith(f"{view}.")]:
            del st.session_state[key]
        shown = st.session_state[f"{view} shown"] = Shown(experiment, query, refusals)
    show(view, shown.experiment)
    if shown.refusals:
        st.warning(
            "Not everything in the link could be used:\n" + "\n".join(f"- {_plain(one)}" for one in shown.refusals)
        )
    return shown.experiment


def show(view: str, experiment: Experiment) -> None:
    """Remember what the page shows, and put it into the address bar."""
    shown = st.session_state[f"{view} shown"]
    if experiment != shown.experiment:
        shown.experiment, shown.refusals = experiment, []
    query = experiment.to_query()
    if st.query_params.to_dict() != query:
        shown.replaced.append((time.monotonic(), shown.query))
        st.query_params.from_dict(query)
    shown.query = query


def share(experiment: Experiment) -> None:
    """The link, ready to copy."""
    popover = st.popover(
        "Share", icon=":material/link:", width="stretch", key=f"{experiment.view} share", on_change="rerun"
    )
    if popover.open:
        base = (st.context.url or "").rstrip("/").removesuffix(f"/{VIEWS[experiment.view].path}")
        popover.caption("This link holds every value. Whoever opens it sees the same run, with the same numbers.")
        popover.code(experiment.to_url(base), language=None, wrap_lines=True)


def download(result: Result) -> None:
    """Every number of a result, as a file made only when it is asked for."""
    st.download_button(
        "Data",
        result.packed,
        f"ravine-{result.experiment.view}.zip",
        icon=":material/download:",
        on_click="ignore",
        help="Every number as NumPy arrays, with the link that makes them again.",
    )


def _plain(text: str) -> str:
    """Text of a link, shown as it is: no character of it is markup."""
    return "".join(f"\\{char}" if char in "\\`*_{}[]()#+-.!|<>~$:" else char for char in text)
