"""A results file reopens wherever it is dropped: the page of its view shows its numbers, as they are in the file."""

from __future__ import annotations

import streamlit as st

from pages import _components as components
from pages._text import plain
from ravine import Experiment, Result, export
from ravine.provenance import told

_HELD, _NAME, _COUNT = "held result", "held name", "held count"


def panel() -> None:
    """The field that takes a file, and with it the whole page."""
    key = f"results file {st.session_state.get(_COUNT, 0)}"
    with st.expander("Open a results file", icon=":material/folder_open:"):
        st.caption("Or drop it anywhere on the page. A .zip or .npz, as Export saves it.")
        file = st.file_uploader("Results file", ["zip", "npz"], key=key, label_visibility="collapsed")
    components.drop("drop file", f"st-key-{key.replace(' ', '-')}")
    if file is None:
        return
    try:
        result = export.reopened(file.getvalue())
    except ValueError as refusal:
        st.error(plain(refusal), icon=":material/error:")
        return
    st.session_state[_HELD], st.session_state[_NAME] = result, file.name
    st.session_state[_COUNT] = st.session_state.get(_COUNT, 0) + 1  # the next file finds an empty field
    st.switch_page(f"{result.experiment.view}.py", query_params=result.experiment.to_query())


def held(experiment: Experiment) -> Result | None:
    """The result of a file that was opened, if it is about this experiment; says so above the picture."""
    result: Result | None = st.session_state.get(_HELD)
    if result is None or result.experiment.key != experiment.key:
        return None
    said, button = st.columns([5, 1], gap="medium", vertical_alignment="center")
    said.info(
        f"These numbers are from {plain(st.session_state[_NAME])}, not computed here. {plain(told(result.provenance))}",
        icon=":material/folder_open:",
    )
    button.button(
        "Compute", key=f"{experiment.view} compute", on_click=_close, width="stretch", help="Computes them here."
    )
    return result


def _close() -> None:
    st.session_state.pop(_HELD, None)
