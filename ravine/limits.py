"""What one request may ask for. The single place for limits; a server lowers them by environment variables.

RAVINE_MAX_STEPS=2000 lowers `steps`, and so on for each field, as far as leaves room for what each view opens with.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, fields

from landscapes.setting import excerpt


@dataclass(frozen=True)
class Limits:
    link: int = 8_000  # characters of a link
    optimizers: int = 4  # rules side by side
    runs: int = 8  # laid over each other: rules, and values of one setting
    steps: int = 10_000  # steps of one run
    points: int = 201  # grid points of a slice, per axis
    work: int = 120 * 10**12  # multiplications in the loss of networks: some hours of one core (see ravine.work)
    memory: int = 2**31  # bytes of one computation on a network, beside what an idle process holds (see ravine.memory)
    axis: int = 512  # values along each axis of a sweep
    updates: int = 2_000_000_000  # steps of all runs of a sweep on a surface
    sessions: int = (
        120  # people at work at once, on as many processors as that takes: one process draws all their pages
    )

    @classmethod
    def from_environment(cls) -> Limits:
        """The limits with RAVINE_MAX_<FIELD> applied. Raises ValueError for what is not a whole number in range."""
        lowered = {}
        for field in fields(cls):
            name = f"RAVINE_MAX_{field.name.upper()}"
            text = os.environ.get(name)
            if text is not None:
                least, most = getattr(_LEAST, field.name), getattr(cls(), field.name)
                if not (text.isascii() and text.isdigit() and len(text) <= 20 and least <= int(text) <= most):
                    raise ValueError(f"{name} = {excerpt(text)} must be a whole number from {least} to {most}.")
                lowered[field.name] = int(text)
        return cls(**lowered)


_LEAST = Limits(
    link=2_000,
    optimizers=1,
    runs=1,
    steps=1,
    points=5,
    work=500 * 10**9,
    memory=2**28,
    axis=2,
    updates=10_000,
    sessions=1,
)
LIMITS = Limits.from_environment()
