"""A Streamlit app that behaves in a way that is known beforehand, for the clients of the class to tell of.

Opened with `?does=...` it shows a picture; what becomes of a change of its one field is what the link says.
"""

import time

import streamlit as st

from tests.classroom.behaviour import DELAY, EACH, EVERY, PLACES, RUNS, SAID

picture = st.components.v2.component("ravine_figure", js="export default function () {}")
value = st.number_input("Seed", 0, 10**6, 0, key="seed")


def draw(text):
    picture(key="figure", data=f"{text} {value}" + "x" * 500)


def queue():
    """Waits for its turn, then runs, then is there: each look, by a fragment that reruns by itself, finds it one further."""
    looks = f"looks {value}"

    @st.fragment(run_every=EVERY if st.session_state.get(looks, 0) < PLACES + RUNS else None)
    def follow():
        look = st.session_state[looks] = st.session_state.get(looks, 0) + 1
        if look <= PLACES:
            left = PLACES + 1 - look
            st.progress(0.0, f"waiting; {left} before this one, about {left * EACH:.1f} s until it begins")
        elif look <= PLACES + RUNS:
            st.progress(0.5, f"step 1 of 2 · about {SAID:.0f} s left")
            draw("half")
        else:
            st.success("All is computed.")
            draw("whole")
            if look == PLACES + RUNS + 1:
                st.rerun()

    follow()


match st.query_params["does"] if value else "nothing of note":
    case "wait":
        time.sleep(DELAY)
        draw("late")
    case "refuse":
        st.error("60 computations are waiting already. Please try again in a minute.")
    case "fail":
        st.error("This run could not be computed. The loss is not a number.")
    case "cancel":
        st.info("Cancelled. What it had computed stays.")
    case "raise":
        raise ValueError("as the test wants it")
    case "be silent":
        pass
    case "queue":
        queue()
    case _:
        draw("at once")
