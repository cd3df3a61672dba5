"""Sharpness along training, against the stability threshold of the rule."""

from __future__ import annotations

import streamlit as st

from pages import _components as components
from pages._link import download, opened, share, show
from pages._live import live
from pages._network import network_controls
from ravine import Result

VIEW = "edge"


def draw(result: Result) -> None:
    figure = result.figure()
    components.figure(f"{VIEW} figure", figure.to_json())
    download(result)


experiment = network_controls(opened(VIEW))
show(VIEW, experiment)
with st.sidebar:
    share(experiment)
st.markdown(
    "While gradient descent trains a network, the largest curvature of the loss, its *sharpness* $\\lambda$, climbs "
    "until the step size can only just cope with it, at $2/\\eta$, and stays there.",
)
live(experiment, draw)
