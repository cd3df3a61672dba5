"""Two links side by side: what differs between them, and what came of it. A results file can stand in for a link."""

from __future__ import annotations

import streamlit as st

from pages import _asking as asking
from pages import _components as components
from pages._drawn import drawn
from pages._text import plain
from ravine import Experiment, Result, export
from ravine.differences import differences
from ravine.frame import Frame
from ravine.pictures import Sent, sent

_EMPTY = "Paste a link of this app, as Share gives it, or drop a results file."


def read(side: str) -> Experiment | None:
    """The experiment of one side: of its file, or else of its link."""
    name = side.upper()
    link = st.text_input(f"Link {plain(name)}", st.query_params.get(side, ""), max_chars=8_000, key=f"compare {side}")
    file = st.file_uploader(
        f"Results file {plain(name)}", ["zip", "npz"], key=f"compare file {side}", label_visibility="collapsed",
        help="As Export saves it. Its numbers are shown as they are in the file.",
    )  # fmt: skip
    st.session_state[f"compare {side} held"] = None
    if file is not None:
        try:
            held = export.reopened(file.getvalue())
        except ValueError as refusal:
            st.error(plain(refusal), icon=":material/error:")
            return None
        st.session_state[f"compare {side} held"] = held
        return held.experiment
    if not link.strip():
        st.info(_EMPTY, icon=":material/link:")
        return None
    experiment, refusals = Experiment.from_url(link.strip())
    if refusals:
        st.warning("\n".join(f"- {plain(one)}" for one in refusals))
    return experiment


def numbers(side: str, experiment: Experiment) -> Result | None:
    """The result to show: the file's, or what is computed at once, or what a job has given so far."""
    held: Result | None = st.session_state[f"compare {side} held"]
    if held is not None:
        return held
    # A short run is there at once; before a long one begins, its visitor says so.
    return asking.ask(experiment, f"compare {side}", about="This run", begin=False)


def _figure(result: Result) -> Sent:
    return drawn(result, lambda: sent(export.narrow(result.figure())), "narrow", result.experiment.to_url())


def different(a: Experiment, b: Experiment) -> None:
    """The values in which two links differ."""
    found = differences(a, b)
    if not found:
        st.caption("Both sides say the same.")
        return
    rows = [{"setting": one.label, "A": one.a, "B": one.b, "in the link": one.key} for one in found]
    st.dataframe(rows, hide_index=True, width="stretch")


framed, _ = Frame.from_query(st.query_params.to_dict())
st.markdown(f"## {plain(framed.title or 'Compare')}")
# On a projector the pictures come first.
with st.expander("Links and files", icon=":material/link:") if framed.present else st.container():
    columns = dict(zip("ab", st.columns(2, gap="medium"), strict=True))
experiments: dict[str, Experiment] = {}
for side, column in columns.items():
    with column:
        experiment = read(side)
        if experiment is not None:
            experiments[side] = experiment
links = {side: one.to_url() for side, one in experiments.items()}
if st.query_params.to_dict() != links | framed.to_query():
    st.query_params.from_dict(links | framed.to_query())


def results() -> None:
    """What came of each side."""
    shown: dict[str, Result] = {}
    for side, column in zip("ab", st.columns(2, gap="medium"), strict=True):
        if side not in experiments:
            continue
        with column:
            result = numbers(side, experiments[side])
            if result is not None:
                shown[side] = result
                components.figure(f"compare figure {side}", _figure(result))
                st.markdown(plain(" ".join(result.sentences())))
                st.link_button("Open this side", experiments[side].to_url(), icon=":material/open_in_new:")
    both = len(shown) == 2 and all(one.complete for one in shown.values())
    if both and shown["a"].experiment.key == shown["b"].experiment.key:
        verdict = shown["a"].numbers.against(shown["b"].numbers)
        st.info(f"Both sides are the same experiment. {plain(verdict.sentence)}", icon=":material/fingerprint:")


asking.following("compare", results)
if len(experiments) == 2:
    different(experiments["a"], experiments["b"])
