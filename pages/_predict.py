"""Predict first: a question before the outcome is shown, and afterwards whether the prediction was right."""

from __future__ import annotations

import streamlit as st

from pages._text import ours, plain
from ravine import Experiment, Result
from ravine.question import answer, question


def asks(experiment: Experiment) -> bool:
    """Does the link ask for a prediction of this very experiment that was not made yet?"""
    return bool(st.session_state["frame"].predict) and experiment.key not in _said(experiment.view)


def ask(experiment: Experiment, *, beside: bool = False) -> None:
    """The question and its buttons, one below the other or `beside` each other."""
    asked, view = question(experiment), experiment.view
    st.markdown(f"**{plain(asked.text)}**")
    places = st.columns(len(asked.answers)) if beside else [st.container() for _ in asked.answers]
    for place, (word, text) in zip(places, asked.answers.items(), strict=True):
        place.button(
            plain(text), key=f"{view} predict {word}", on_click=_said(view).__setitem__, args=(experiment.key, word), width="stretch"
        )  # fmt: skip


def told(result: Result) -> str:
    """Says whether the prediction was right, where one was asked for and there is an answer; the answer as a sentence."""
    experiment = result.experiment
    said = _said(experiment.view).get(experiment.key)
    true = answer(result) if said is not None and st.session_state["frame"].predict and result.complete else ""
    if said is None or not true:
        return ""
    asked = question(experiment)
    right = asked.answers[true]
    if said == true:
        st.success(f"Right: {plain(_within(right))}.", icon=":material/check:")
    else:
        st.info(f"{plain(right)}; you said that {plain(_within(asked.answers[said]))}.", icon=":material/lightbulb:")
    with st.expander("What the words mean"):
        st.markdown(ours(asked, "meaning"))
    return f"{right}."


def _within(sentence: str) -> str:
    return sentence[0].lower() + sentence[1:]


def _said(view: str) -> dict[str, str]:
    """Key of an experiment -> the word predicted for it."""
    said: dict[str, str] = st.session_state.setdefault(f"{view} predictions", {})
    return said
