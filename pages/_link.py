"""The page's state is its link: reading the address bar, and writing it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import streamlit as st

from pages import _export as export
from pages import _sharing as sharing
from pages._text import plain
from ravine import Experiment, Result
from ravine.fingerprint import Fingerprint
from ravine.frame import Frame
from ravine.link import together

_LAG = 1.0  # seconds within which the browser may still send an address that we have just replaced


@dataclass
class Shown:
    """What a page shows: kept in the session, so that coming back to the page finds it again."""

    experiment: Experiment
    query: dict[str, str]  # as last read from or written to the address bar
    refusals: list[str] = field(default_factory=list)
    replaced: list[tuple[float, dict[str, str]]] = field(default_factory=list)
    frame: Frame = Frame()

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
        framed, unframed = Frame.from_query(query)
        for key in [key for key in st.session_state if str(key).startswith(f"{view}.")]:
            del st.session_state[key]
        shown = st.session_state[f"{view} shown"] = Shown(experiment, query, together(refusals, unframed), frame=framed)
    show(view, shown.experiment)
    st.session_state["frame"] = shown.frame
    if shown.frame.title:
        st.markdown(f"## {plain(shown.frame.title)}")
    if shown.refusals:
        st.warning(
            "Not everything in the link could be used:\n" + "\n".join(f"- {plain(one)}" for one in shown.refusals)
        )
    return shown.experiment


def show(view: str, experiment: Experiment) -> None:
    """Remember what the page shows, and put it into the address bar."""
    shown = st.session_state[f"{view} shown"]
    if experiment != shown.experiment:
        shown.experiment, shown.refusals = experiment, []
    query = experiment.to_query() | shown.frame.to_query()
    if st.query_params.to_dict() != query:
        shown.replaced.append((time.monotonic(), shown.query))
        st.query_params.from_dict(query)
    shown.query = query


def reframe(view: str, framed: Frame) -> None:
    """Show the page in another frame from the next rerun on, which is up to the caller."""
    shown = st.session_state[f"{view} shown"]
    shown.frame = framed
    show(view, shown.experiment)


def share(experiment: Experiment) -> None:
    """The link in the frame that the visitor chooses: to copy, as a QR code, or to present here and now."""
    view = experiment.view
    framed: Frame = st.session_state[f"{view} shown"].frame
    if framed.present:
        if st.button("Leave", icon=":material/close_fullscreen:", key=f"{view} leave", help="Back to all controls."):
            reframe(view, Frame(title=framed.title))
            st.rerun()
        return
    popover = st.popover("Share", width="stretch", key=f"{view} share", on_change="rerun")
    if popover.open:
        with popover:
            chosen = sharing.panel(experiment, framed)
        if chosen is not None:
            reframe(view, chosen)
            st.rerun()


def reproduced(result: Result) -> None:
    """Whether this machine got the numbers that the link promises, if it promises any."""
    view = result.experiment.view
    shown = st.session_state[f"{view} shown"]
    if not shown.frame.fp or not result.complete:
        return
    promised = st.session_state.setdefault(f"{view} promised", {}).setdefault(shown.frame.fp, result.experiment.key)
    if promised != result.experiment.key:
        return  # the visitor has changed something since: the promise was about other numbers
    verdict = Fingerprint.read(shown.frame.fp).verdict(result.numbers)
    said, icon = plain(verdict.sentence), ":material/fingerprint:"
    if verdict.kind in ("bits", "tolerance"):
        st.success(said, icon=icon)
    elif verdict.kind == "different":
        st.warning(said, icon=icon)
    else:
        st.info(said, icon=icon)


def download(result: Result) -> None:
    """Pictures and files of a result."""
    popover = st.popover("Export", width="stretch", key=f"{result.experiment.view} export", on_change="rerun")
    if popover.open:
        with popover:
            export.panel(result)
