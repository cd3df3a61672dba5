"""Eigenpairs that are measured again and again while their matrix changes: the one way in which a measurement goes on from the last."""

from __future__ import annotations

from typing import Any, ClassVar

from landscapes.solvers import Eigenpairs


class Warm:
    """Where a measurement starts, and how exact it is to be.

    Seven pairs more than are measured are carried along: a second eigenvalue is seen to overtake the first, and the solver
    makes sure that no third has (witness.py). The first measurement starts cold. The error of an eigenvalue is of the order
    of the square of its residual. One whose residual is not reached is no measurement: it is NaN.
    """

    extra: ClassVar[int] = 7

    def __init__(self, memory: Any = None, tol: float = 5e-3, first: float = 1e-3):
        self.count: int = memory[0] if memory else 0  # the seed of what is drawn at random: different each time
        self.start: Eigenpairs | None = Eigenpairs(*memory[1]) if memory else None
        self.tol = tol if memory else first

    def after(self, pairs: Eigenpairs) -> Any:
        """The memory for the next measurement: plain, as checkpoints keep it."""
        return self.count + 1, tuple(pairs)
