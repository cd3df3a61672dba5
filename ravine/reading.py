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
    if not plane.error:
        many = f"{plane.evaluations:,} of" if plane.evaluations < plane.loss.numel() else "every one of"
        return f"{many} {plane.loss.numel():,} points computed{_exactness(planes)}"
    what = "relative" if plane.log else "in the values"
    return f"interpolated from {plane.evaluations:,} points, error estimated at {plane.error:.1e} {what}"


def undecided(plane: Plane) -> int:
    """At how many points a value is no more than it may be wrong by: it is not told from zero there."""
    return (
        0
        if plane.uncertainty is None
        else int(((plane.loss.abs() <= plane.uncertainty) & (plane.uncertainty > 0)).sum())
    )


def _exactness(planes: tuple[Plane, ...]) -> str:
    """To what share of themselves values are known that are estimates, those left out that may be zero."""
    shares = [(one.uncertainty / one.loss.abs()).flatten() for one in planes if one.uncertainty is not None]
    if not shares:
        return ""
    every = torch.cat(shares)
    known = every[every < 1]
    told = [f"each to {100 * max(float(known.max()), 1e-6):.1g} % of its value or better"] if len(known) else []
    if bool((every >= 1).any()):
        told.append("but for those not told from zero" if told else "none of them told from zero")
    return "".join(f", {one}" for one in told)
