"""What a page can draw around the present step of a run on a surface, and what it means, in the order of the menu."""

from __future__ import annotations

AROUND = {
    "gradient": "the direction of steepest descent",
    "step": "the last step, which is what momentum carries on",
    "response": "how the next step answers to a gradient from each side: a circle, unless the rule preconditions",
    "curvature": "a level line of the local quadratic, in absolute curvatures: long where the loss is flat",
    "stability": "where the largest curvature stays below the rule's threshold",
}
