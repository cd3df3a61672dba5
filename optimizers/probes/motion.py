"""Probes of the way itself: where the parameters are and how they move."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from optimizers.probes.probe import Memory, Moment, Probe


@dataclass(frozen=True)
class Distance(Probe):
    name, label = "distance", "Distance from the start"
    symbol = r"\|w - w_0\|"
    reference = "Euclidean norm"
    help = "How far the parameters have come, as the crow flies."

    def measure(self, moment: Moment, memory: Memory) -> tuple[Tensor, Memory]:
        start = moment.params if memory is None else memory
        return (moment.params - start).norm(dim=-1), start
