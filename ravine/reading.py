"""What can be said of a plane: how exact it is, on which scale it is drawn, what counts as a minimum of it."""

from __future__ import annotations

import torch

from landscapes import Plane


def on_log_scale(scale: str, *planes: Plane) -> bool:
    """Are their values drawn on a logarithmic scale? With "auto", where they are positive and span a factor of 30."""
    known = torch.cat([plane.loss[torch.isfinite(plane.loss)] for plane in planes])
    positive = bool(len(known)) and bool(known.min() > 0)
    return positive and (scale == "log" or (scale == "auto" and bool(known.max() > 30 * known.min())))


def persistence(plane: Plane) -> float:
    """How much a minimum must rise to be one: two per cent of the range, and more than the picture may be wrong by."""
    known = plane.loss[torch.isfinite(plane.loss)].double()
    if not len(known):
        return 0.0
    error = plane.error * float(known.abs().max()) if plane.log else plane.error
    return max(0.02 * float(known.max() - known.min()), 2 * error)


def note(*planes: Plane) -> str:
    """How exact a picture is, that of the least exact where there are several: what is written under it."""
    plane = max(planes, key=lambda one: one.error)
    if bool(plane.loss.isnan().all()):
        return "nothing computed yet"
    if not plane.error and plane.evaluations < plane.loss.numel():
        return f"{plane.evaluations:,} of {plane.loss.numel():,} points computed"
    if not plane.error:
        return f"every one of {plane.loss.numel():,} points computed"
    what = "relative" if plane.log else "in the values"
    return f"interpolated from {plane.evaluations:,} points, error estimated at {plane.error:.1e} {what}"
