"""Probes: what to measure along a run. To add one, write a class with these attributes and add it to the tuple below."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from landscapes import Landscape, top_eigenpairs
from landscapes.setting import Declared

Memory = Any  # what a probe carries from one measurement to the next


class Moment(NamedTuple):
    """One recorded step of a run."""

    landscape: Landscape
    step: int
    params: Tensor  # (..., dim)
    loss: Tensor  # (...)
    grad: Tensor  # (..., dim)


@dataclass(frozen=True)
class Probe(Declared):
    """A quantity of one number per run; pure, with explicit memory."""

    symbol: ClassVar[str]  # LaTeX
    reference: ClassVar[str]

    @abstractmethod
    def measure(self, moment: Moment, memory: Memory) -> tuple[Tensor, Memory]:
        """The values (...) at this moment, and the memory for the next; the first memory is None."""


@dataclass(frozen=True)
class Sharpness(Probe):
    """Lanczos, warm-started from the previous measurement; every 50th starts cold and is solved ten times tighter,

    because a warm start can stay with the second eigenvector when the two cross.
    """

    name, label = "sharpness", "Sharpness"
    symbol = r"\lambda_{\max}(\nabla^2 L)"
    reference = "Cohen et al. 2021, arXiv:2103.00065"
    tolerance: ClassVar[float] = 1e-2  # residual; the error of the eigenvalue is of the order of its square
    cold_every: ClassVar[int] = 50

    def measure(self, moment: Moment, memory: Memory) -> tuple[Tensor, Memory]:
        count, vectors = memory or (0, None)
        cold = count % self.cold_every == 0
        pairs = top_eigenpairs(
            moment.landscape,
            moment.params,
            tol=self.tolerance / 10 if cold else self.tolerance,
            start=None if cold else vectors,
            seed=count,
        )
        return pairs.values[..., 0], (count + 1, pairs.vectors)


@dataclass(frozen=True)
class Distance(Probe):
    name, label = "distance", "Distance from the start"
    symbol = r"\|w - w_0\|"
    reference = "Euclidean norm"

    def measure(self, moment: Moment, memory: Memory) -> tuple[Tensor, Memory]:
        start = moment.params if memory is None else memory
        return (moment.params - start).norm(dim=-1), start


PROBES: dict[str, type[Probe]] = {kind.name: kind for kind in (Sharpness, Distance)}


def measured(names: list[str]) -> dict[str, Probe]:
    """The named probes. Raises ValueError for a name that is not registered."""
    for name in names:
        if name not in PROBES:
            raise ValueError(f"{name!r} is not a probe: it must be one of {', '.join(PROBES)}.")
    return {name: PROBES[name]() for name in names}


def unmeasured(loss: Tensor) -> Tensor:
    """NaN of the shape (...): the placeholder for a step at which nothing was measured."""
    return torch.full_like(loss, torch.nan)
