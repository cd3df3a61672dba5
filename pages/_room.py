"""The teacher's side of a live room: opening it, showing the page to it, and what the students said."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import streamlit as st

from pages import _components as components
from pages import _services as services
from pages._components import Part
from pages._controls import visible
from pages._sharing import address, qr
from pages._text import plain
from ravine import Experiment, teacher
from ravine.question import question
from ravine.rooms import Refused

_KEY = "room"  # in the session: code and the teacher's key
_TEACHER = "teacher"  # in the session: did the visitor show the key that opening a room takes?


def controls(view: str) -> None:
    """A button that opens a room; of an open one its code, who is there, and the votes."""
    room = _mine()
    # Always there: after a reload the browser still knows the room that it opened.
    data = {"locked": "yes"} if _locked() else None
    if room is not None:
        data = {"code": room[0], "key": room[1]}
    components.room(
        f"{view} room",
        data,
        on_resume_change=lambda: _resume(view),
        on_teacher_change=lambda: _enter(st.session_state[f"{view} room"]["teacher"]),
    )
    if room is None:
        if not visible("room"):
            return
        if _locked():
            with st.popover("Open a live room", icon=":material/groups:", width="stretch", key=f"{view} locked"):
                field = f"{view} teacher key"
                st.text_input(
                    "Teacher's key", key=field, type="password", on_change=lambda: _enter(st.session_state[field])
                )
                st.caption("Whoever runs this server gave it to those who teach here.")
            return
        st.button(
            "Open a live room", icon=":material/groups:", key=f"{view} open room", on_click=_open, width="stretch",
            help="Students who scan the room's code see this page follow within a second, and vote on what will happen. A vote is "
            "no ballot: one person may hold several seats.",
        )  # fmt: skip
        return
    if st.button("Show the code", icon=":material/qr_code_2:", key=f"{view} room qr", width="stretch"):
        qr(f"{address()}/room/{room[0]}")
    st.button("Close", key=f"{view} close room", on_click=_close, width="stretch", help="Ends the room for everyone.")


def show(
    experiment: Experiment, parts: Sequence[Part], *, says: str = "", asking: bool = False, answer: str = ""
) -> None:
    """Shows the parts of a picture to the room, if one is open; what the page says and the answer, or else its question."""
    room = _mine()
    if room is None:
        return
    names = [hashlib.sha256(packet).hexdigest()[:20] for _, packet in parts]
    packets = {name: packet for name, (_, packet) in zip(names, parts, strict=True)}
    asked = question(experiment)
    state = {
        "parts": [{"kind": kind, "name": name} for (kind, _), name in zip(parts, names, strict=True)],
        "title": st.session_state["frame"].title or experiment.landscape.label,
        "link": experiment.to_url(),
        "says": "" if asking else says,
        "question": asked.text,
        "answers": dict(asked.answers),
        "answer": answer,
    }
    try:
        services.rooms().publish(*room, state, packets, experiment.key if asking else "", asked.answers)
    except Refused as refusal:
        st.warning(plain(refusal))


def _mine() -> tuple[str, str] | None:
    """The room of this session, as long as it is open."""
    room: tuple[str, str] | None = st.session_state.get(_KEY)
    return room if room is not None and services.rooms().owns(*room) else None


def _locked() -> bool:
    """Does this visitor still need the teacher's key?"""
    return teacher.asked() and not st.session_state.get(_TEACHER, False)


def _enter(key: object) -> None:
    """A key from the link or the field."""
    if key:
        st.session_state[_TEACHER] = teacher.fits(str(key))
        if _locked():
            st.toast("This is not the teacher's key.", icon=":material/error:")


def _open() -> None:
    if _locked():
        return
    try:
        st.session_state[_KEY] = services.rooms().open(services.visitor(), st.context.ip_address or "")
    except Refused as refusal:
        st.toast(plain(refusal), icon=":material/error:")


def _close() -> None:
    services.rooms().close(*st.session_state.pop(_KEY))


def _resume(view: str) -> None:
    """The browser remembers a room: it is this session's again, if the key says so."""
    said = st.session_state[f"{view} room"]["resume"]
    if said and _mine() is None and services.rooms().owns(str(said["code"]), str(said["key"])):
        st.session_state[_KEY] = (str(said["code"]), str(said["key"]))
