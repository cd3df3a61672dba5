"""What lies between two solutions of a plane: the wall on the straight line, what renumbering leaves of it, a way around it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from landscapes import Landscape, Plane
from landscapes.alignment import Line, aligned, line
from optimizers import Stepper
from optimizers.curves import connecting

STRAIGHT, MATCHED, CURVED = "from A to B", "from A to B, units matched", "along a trained curve"


def between(landscape: Landscape, plane: Plane) -> Iterator[dict[str, Line]]:
    """The loss from the centre of a plane through solutions, A, to its first other, B; then also to B with units matched to A's.

    Where hidden units cannot be renumbered there is the first line alone.
    """
    first = plane.center
    second = first + plane.directions[0]  # B is at (1, 0)
    lines = {STRAIGHT: line(landscape, first, second)}
    yield lines
    try:
        matched = aligned(landscape, second, first)
    except ValueError:
        return
    yield lines | {MATCHED: line(landscape, first, matched)}


def bending(landscape: Landscape, plane: Plane, rule: Stepper, steps: int) -> Iterator[tuple[int, Line | None]]:
    """A curve of low loss from A to B: yields the steps of its training, and with the last one the loss along it."""
    return connecting(landscape, plane.center, plane.center + plane.directions[0], rule, steps)


def told(lines: Mapping[str, Line]) -> str:
    """The barriers in a sentence."""
    barriers = {name: f"{one.barrier:.3g}" for name, one in lines.items()}
    said = f"On the straight line from A to B the loss rises {barriers[STRAIGHT]} above the line between their losses"
    if MATCHED in barriers:
        said += (
            "; after B's hidden units are renumbered to match A's, which changes nothing that B computes, "
            f"it rises {barriers[MATCHED]}"
        )
    else:
        said += "; the units of this network cannot be renumbered layer by layer"
    return said + (
        f". Along a curve trained to avoid the wall it rises {barriers[CURVED]}." if CURVED in barriers else "."
    )
