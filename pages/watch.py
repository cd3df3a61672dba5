"""A training run of the visitor's own, as `ravine.watch` logs it: live while the file grows."""

from __future__ import annotations

import os
from pathlib import Path

import streamlit as st

from pages import _components as components
from pages._text import plain
from ravine.log import ENVIRONMENT, Log, parsed, read_log
from ravine.pictures import sent

_EVERY = 1.0  # seconds between two looks at a growing file
_EXAMPLE = """import ravine

probe = ravine.watch(model, loss_fn, data, optimizer, every=20, to="run.ravine")
for inputs, targets in loader:
    optimizer.zero_grad()
    loss = loss_fn(model(inputs), targets)
    loss.backward()
    optimizer.step()
    probe.step(loss)"""


def draw(log: Log) -> None:
    """What a log says, in words and in a picture."""
    head = log.header
    named = head.get("rule", "").lower()
    rule = f" ({named})" if named not in ("", head.get("optimizer", "").lower()) else ""
    samples = f"; curvature on {head['samples']:,} samples" if head.get("samples") else ""
    st.markdown(
        plain(
            f"{head.get('model', 'A model')} with {head.get('parameters', 0):,} parameters, trained by "
            f"{head.get('optimizer', 'an optimizer')}{rule}{samples}."
        )
    )
    for sentence in log.findings():
        st.info(plain(sentence), icon=":material/insights:")
    for note in [*log.notes, *([f"{log.damaged} lines could not be read."] if log.damaged else [])]:
        st.caption(plain(note))
    components.figure("watch figure", sent(log.figure()))
    cost = log.fields["cost"]
    with st.expander("Where these numbers come from"):
        st.markdown(
            f"The *sharpness* is the largest eigenvalue of the Hessian on the watched data, by Lanczos, to 1 % (at the first look, of at "
            f"most 128 samples and to a few); of fewer samples than all it comes out too high. The *preconditioned sharpness* is that of $P^{{-1/2}} (H + \\lambda) P^{{-1/2}}$ with the "
            f"optimizer's own diagonal $P$ (Cohen et al. 2022, arXiv:2207.14484) and the weight decay $\\lambda$ that it adds to the gradient. Along the update $u$ the curvature is "
            f"$u^\\top H u / |u|^2$. A rule oscillates where its sharpness passes its threshold, here "
            f"{plain(str(head.get('threshold') or 'unknown'))}: of steps that are made from the gradient of the watched data. How "
            f"far the gradient that the optimizer is given differs from that one, by batches, clipping or a sum, is measured at each look."
        )
        if len(cost):
            st.markdown(f"Watching took {100 * cost[-1]:.1f} % of the time of the run so far.")


def live(path: Path) -> None:
    """The log of a file on this machine, drawn again as it grows."""

    @st.fragment(run_every=_EVERY)
    def follow() -> None:
        try:
            draw(read_log(path))
        except (OSError, ValueError) as refusal:
            st.warning(plain(f"{path.name} cannot be shown yet. {refusal}"), icon=":material/hourglass:")

    st.caption(f"Follows {plain(path.name)} while it is being written.")
    follow()


local = os.environ.get(ENVIRONMENT)
dropped = st.file_uploader("A log of another run", type=["ravine"], help="A file that ravine.watch has written.")
if dropped is not None:
    try:
        draw(parsed(dropped.getvalue()))
    except ValueError as refusal:
        st.error(plain(refusal), icon=":material/error:")
elif local:
    live(Path(local))
else:
    st.markdown(
        "See what the sharpness of *your* model does while you train it, against the stability threshold of *your* optimizer. "
        "Two lines in your training loop write a small file; drop it here, or follow it live with `ravine open run.ravine`."
    )
    st.code(_EXAMPLE, language="python")
