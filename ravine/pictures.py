"""What a page shows of a result, as it goes to a browser. It is made where the result is computed, by a worker: the process
that draws pages has one interpreter for all its visitors, and takes tens of milliseconds for one figure.
"""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, NewType, TypedDict

from ravine.experiment import training
from ravine.picture import map_field, slice_view

if TYPE_CHECKING:  # Result.pictures calls this module
    from plotly.graph_objects import Figure

    from ravine.result import Result

# The JSON of a Plotly figure in whose texts nothing is a link, and nothing styled but by a color.
Sent = NewType("Sent", bytes)
# Of what Plotly takes for markup in its texts, all but what our figures use; its JSON writes < so.
_TAG = re.compile(
    r"(?:\\u003c|<)(?!(?:\\u002f|/)?(?:b|i|br|sub|sup|span|extra)(?:\\u003e|>)"
    r'|span style=\\"color:#[0-9a-fA-F]{6}\\"(?:\\u003e|>))'
)
NOTHING = Sent(b"")


class Pictures(TypedDict, total=False):
    """Those of one result, by what draws them there."""

    figure: Sent
    field: bytes  # of the canvas: the field of losses,
    view: bytes  # and the path on it
    barriers: Sent


def sent(figure: Figure) -> Sent:
    """A figure as it goes to a browser, whoever wrote the texts in it."""
    return Sent(_TAG.sub("&lt;", figure.to_json()).encode())


def pictures(result: Result) -> Pictures:
    """Those of Edge, Slice, Sweep and Step size. Descend shows more than a result tells, and draws that itself."""
    asked = result.experiment
    if asked.view == "slice" and result.plane is None:  # as long as the network still trains, that is shown
        return {"figure": sent(dataclasses.replace(result, experiment=training(asked)).figure())}
    found: Pictures = {}
    if asked.view == "slice" and asked.drawing == "map" and not result.beside:
        identity, found["field"] = map_field(result)
        found["view"] = slice_view(result, identity)
    else:
        figure = result.figure()
        if asked.view == "edge":
            # Where a click is answered, and how many pixels a tall screen keeps for what stands below.
            room_below = {"below": 80} if asked.at >= 0 and len(result.paths) == 1 else {}
            figure.update_layout(meta={"answer": "edge-beside"} | room_below)
        found["figure"] = sent(figure)
    if result.lines:
        from ravine.figures.lines import barriers

        found["barriers"] = sent(barriers(result.lines))
    return found
