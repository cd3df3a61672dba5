"""The loss on a plane through the end of training, with the path projected onto it."""

from __future__ import annotations

import dataclasses

import streamlit as st

from pages import _components as components
from pages._link import download, opened, share, show
from pages._live import live
from pages._network import network_controls
from ravine import Result
from ravine.experiment import training
from ravine.picture import plane_field, slice_view

VIEW = "slice"


def draw(result: Result) -> None:
    """The plane, or as long as the network still trains, the training."""
    if result.plane is None:
        components.figure(
            f"{VIEW} figure", dataclasses.replace(result, experiment=training(result.experiment)).figure().to_json()
        )
        return
    identity, packet = plane_field(result.plane)
    components.field(f"{VIEW} field", packet)
    components.canvas(
        f"{VIEW} canvas",
        slice_view(
            dataclasses.replace(result, experiment=dataclasses.replace(result.experiment, mode=experiment.mode)),
            identity,
        ),
    )
    download(result)


experiment = network_controls(opened(VIEW), ("mode", "at", "span", "points", "normalize", "plane_seed"))
show(VIEW, experiment)
with st.sidebar:
    share(experiment)
st.markdown(
    "The loss around the end of training, on the plane of two random directions. Filter-normalized: each filter of a "
    "direction has the norm of the same filter of the network, so that pictures of different networks compare."
)
live(experiment, draw)
