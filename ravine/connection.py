"""What lies between two solutions of a plane: the wall on the straight line, and what renumbering leaves of it."""

from __future__ import annotations

from landscapes import Landscape, Plane
from landscapes.alignment import Line, aligned, line


def between(landscape: Landscape, plane: Plane) -> dict[str, Line]:
    """The loss from the centre of a plane through solutions, A, to its first other, B; and to B with units matched to A's.

    Where hidden units cannot be renumbered there is the first line alone.
    """
    first = plane.center
    second = first + plane.directions[0]  # B is at (1, 0)
    lines = {"from A to B": line(landscape, first, second)}
    try:
        matched = aligned(landscape, second, first)
    except ValueError:
        return lines
    return lines | {"from A to B, units matched": line(landscape, first, matched)}


def told(lines: dict[str, Line]) -> str:
    """The barriers in a sentence."""
    barriers = [one.barrier for one in lines.values()]
    said = f"On the straight line from A to B the loss rises {barriers[0]:.3g} above the line between their losses"
    if len(barriers) == 1:
        return f"{said}; the units of this network cannot be renumbered layer by layer."
    return (
        f"{said}; after B's hidden units are renumbered to match A's, which changes nothing that B computes, "
        f"it rises {barriers[1]:.3g}."
    )
