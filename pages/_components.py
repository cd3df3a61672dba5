"""The page components: a canvas for paths on a loss, and a Plotly figure that keeps its zoom while its data change.

Their scripts are files served by the app; what travels with each message is only the line that loads them.
"""

from __future__ import annotations

from typing import Any

import streamlit as st

from pages._assets import VERSION
from ravine.pictures import Sent

Part = tuple[str, bytes]  # of a picture: "field", "canvas" or "figure", and what the component of that name draws


def _loader(script: str, export: str) -> str:
    """A component's script: loads the file once and hands over."""
    return f"""
const script = import(new URL("scripts/{VERSION}/{script}", document.baseURI).href);
export default function (component) {{
  let left = false, cleanup = null;
  script.then((module) => {{ if (!left) cleanup = module.{export}(component); }});
  return () => {{ left = true; cleanup?.(); }};
}}"""


_field = st.components.v2.component("ravine_field", js=_loader("surface.js", "field"))
_copy = st.components.v2.component("ravine_copy", js=_loader("copy.js", "default"))
_room = st.components.v2.component("ravine_room", js=_loader("teacher.js", "default"))
_drop = st.components.v2.component("ravine_drop", js=_loader("drop.js", "default"))
_picture = st.components.v2.component("ravine_picture", js=_loader("picture.js", "default"))
_canvas = st.components.v2.component("ravine_canvas", js=_loader("surface.js", "default"))
# Plotly keeps its style sheet in the page itself, where a shadow root would not see it.
_figure = st.components.v2.component("ravine_figure", js=_loader("figure.js", "default"), isolate_styles=False)
_chart = st.components.v2.component("ravine_chart", js=_loader("figure.js", "map"), isolate_styles=False)


def field(key: str, packet: bytes) -> Part:
    """Hands a field of losses to the browser, which keeps the last few. Draws nothing."""
    _field(key=key, data=packet, height=1)
    return "field", packet


def canvas(key: str, packet: bytes, **callbacks: Any) -> Part:
    """Draws runs on a field. `on_start_change` is called after a click, with {"x", "y"} in the session state under key."""
    _canvas(key=key, data=packet, **callbacks)
    return "canvas", packet


def room(key: str, data: dict[str, str] | None, **callbacks: Any) -> None:
    """The teacher's view of a live room. `on_resume_change` is called where the browser remembers one after a reload."""
    _room(key=key, data=data, **callbacks)


def picture(key: str, figure: Sent, data: dict[str, Any]) -> None:
    """Buttons that save a figure with its size and name, as PNG or SVG; where it grows, as a video too."""
    _picture(key=key, data=data | {"figure": figure.decode()})


def drop(key: str, field: str) -> None:
    """Hands a file that is dropped anywhere on the page to the file uploader in the element of this class."""
    _drop(key=key, data=field, height=1)


def copyable(key: str, text: str) -> None:
    """Shows a link with a button that copies it."""
    _copy(key=key, data=text)


def figure(key: str, figure: Sent, **callbacks: Any) -> Part:
    """Draws a Plotly figure; NOTHING only fetches Plotly ahead of the first figure.

    `on_click_change` is called after a click on a trace with a number as its `meta`, with {"step", "run"} in the session
    state under key: where on the x axis, and that number.
    """
    _figure(key=key, data=figure, **callbacks)
    return "figure", figure


def chart(key: str, figure: Sent, **callbacks: Any) -> Part:
    """A figure that answers.

    `on_point_change` is called after a click, with {"x", "y"} in the session state under key, `on_range_change` after a
    zoom, with {"x": [low, high], "y": [low, high], "axis": the x axis's name}, and `on_whole_change` after a double click.
    """
    _chart(key=key, data=figure, **callbacks)
    return "figure", figure
