"""Two links side by side: what differs between them, and what came of it. A results file can stand in for a link."""

from __future__ import annotations

import streamlit as st

from landscapes import Surface
from pages import _components as components
from pages import _services as services
from pages._drawn import drawn
from pages._sharing import plain
from ravine import Experiment, Result, export
from ravine.crew import Failed
from ravine.differences import differences
from ravine.frame import Frame
from ravine.jobs import FAILED, Busy, Job

_EVERY = 0.5  # seconds between two looks at a running computation
_EMPTY = "Paste a link of this app, as Share gives it, or drop a results file."


def read(side: str) -> Experiment | None:
    """The experiment of one side: of its file, or else of its link."""
    name = side.upper()
    link = st.text_input(f"Link {name}", st.query_params.get(side, ""), max_chars=8_000, key=f"compare {side}")
    file = st.file_uploader(
        f"Results file {name}", ["zip", "npz"], key=f"compare file {side}", label_visibility="collapsed",
        help="As Export saves it. Its numbers are shown as they are in the file.",
    )  # fmt: skip
    st.session_state[f"compare {side} held"] = None
    if file is not None:
        try:
            held = export.reopened(file.getvalue())
        except ValueError as refusal:
            st.error(str(refusal), icon=":material/error:")
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
    if isinstance(experiment.landscape, Surface):
        try:
            return services.result(experiment)
        except Failed as failure:
            st.error(f"This run could not be computed. {plain(str(failure))}", icon=":material/error:")
            return None
    found = services.store().get(experiment)
    if found is not None:
        return found
    job: Job | None = st.session_state.get(f"compare {side} job")
    if job is None or job.experiment.key != experiment.key:
        st.button("Compute", key=f"compare {side} run", on_click=_start, args=(side, experiment), type="primary")
        return None
    if job.state == FAILED:
        st.error(f"This run could not be computed. {job.error}", icon=":material/error:")
    elif job.active:
        services.jobs().poll(experiment, _owner(side))
        st.progress(job.result.done / job.result.total if job.result else 0.0, text="computing")
    return job.result


def _figure(result: Result) -> str:
    return drawn(result, lambda: export.narrow(result.figure()).to_json(), "narrow", result.experiment.to_url())


def _start(side: str, experiment: Experiment) -> None:
    try:
        st.session_state[f"compare {side} job"] = services.jobs().submit(experiment, _owner(side))
    except Busy as full:
        st.toast(str(full), icon=":material/hourglass:")


def _owner(side: str) -> str:
    """Each side has a job of its own: a visitor's new job gives up the old one."""
    return f"{services.visitor()} {side}"


def different(a: Experiment, b: Experiment) -> None:
    """The values in which two links differ."""
    found = differences(a, b)
    if not found:
        st.caption("Both sides say the same.")
        return
    rows = [{"setting": one.label, "A": one.a, "B": one.b, "in the link": one.key} for one in found]
    st.dataframe(rows, hide_index=True, width="stretch")


def polling(experiments: dict[str, Experiment]) -> bool:
    jobs = [st.session_state.get(f"compare {side} job") for side in experiments]
    return any(job is not None and job.active for job in jobs)


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
active = polling(experiments)


@st.fragment(run_every=_EVERY if active else None)
def results() -> None:
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
        st.info(f"Both sides are the same experiment. {verdict.sentence}", icon=":material/fingerprint:")
    if active != polling(experiments):
        st.rerun()


results()
if len(experiments) == 2:
    different(experiments["a"], experiments["b"])
