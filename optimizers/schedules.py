"""Schedules: a factor on the step size for each step of a run.

The factor of step t is s(k) with k = t - 1 = 0, 1, ..., T - 1. To add one, write a class with a `shape` and add it to the
tuple in `optimizers/__init__.py`.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from landscapes import setting
from landscapes.setting import Declared

Norms = Callable[[], Tensor]  # makes a rehearsal run and returns its gradient norms (..., T)


@dataclass(frozen=True)
class Schedule(Declared):
    """`factors` (..., T): the shape over the run, times a linear warm-up (Goyal et al. 2017, arXiv:1706.02677)."""

    equation: ClassVar[str]
    idea: ClassVar[str]
    reference: ClassVar[str]
    rehearses: ClassVar[bool] = False  # does it need the gradient norms of a first run?
    warmup: int = setting(
        0, 0, 1_000_000, label="Warm-up steps", help="The step size first rises linearly over so many steps."
    )

    @abstractmethod
    def shape(self, steps: int, norms: Norms) -> Tensor:
        """Factors of the steps without warm-up, (T,) or (..., T), in float64."""

    def factors(self, steps: int, norms: Norms) -> Tensor:
        """Factors (T,), or (..., T) with one row per run, in float64."""
        shape = self.shape(steps, norms)
        if not self.warmup:
            return shape
        ramp = (torch.arange(1, steps + 1, dtype=torch.float64) / self.warmup).clamp(max=1)
        return shape * ramp.to(shape.device)


@dataclass(frozen=True)
class Constant(Schedule):
    name, label = "constant", "Constant"
    idea = "The same step size throughout, after an optional warm-up."
    equation = "s(k) = 1"
    reference = "warm-up: Goyal et al. 2017, arXiv:1706.02677"

    def shape(self, steps: int, norms: Norms) -> Tensor:
        return torch.ones(steps, dtype=torch.float64)


@dataclass(frozen=True)
class LinearDecay(Schedule):
    name, label = "linear", "Linear decay"
    idea = "Straight down to zero at the end of the run."
    equation = "s(k) = 1 - k / T"
    reference = "Defazio et al. 2023, arXiv:2310.07831"

    def shape(self, steps: int, norms: Norms) -> Tensor:
        return 1 - torch.arange(steps, dtype=torch.float64) / steps


@dataclass(frozen=True)
class Cosine(Schedule):
    name, label = "cosine", "Cosine"
    idea = "Half a cosine from the full step size down to a share of it."
    equation = r"s(k) = \epsilon + (1 - \epsilon) \tfrac{1}{2}\left(1 + \cos \tfrac{\pi k}{T}\right)"
    reference = "Loshchilov and Hutter 2016, arXiv:1608.03983"
    floor: float = setting(
        0.0, 0.0, 1.0, high_open=True, symbol=r"\epsilon", help="Share of the step size that remains."
    )

    def shape(self, steps: int, norms: Norms) -> Tensor:
        return _cosine(1.0, self.floor, torch.arange(steps, dtype=torch.float64) / steps)


@dataclass(frozen=True)
class WarmRestarts(Schedule):
    name, label = "sgdr", "Cosine with restarts"
    idea = "Cosine decay that starts again and again, each time for longer."
    equation = (
        r"s = \epsilon + (1 - \epsilon) \tfrac{1}{2}\left(1 + \cos \tfrac{\pi j}{T_i}\right), \quad T_i = T_0\, m^i"
    )
    reference = "Loshchilov and Hutter 2016, arXiv:1608.03983"
    period: int = setting(10, 1, 1_000_000, label="First period", symbol="T_0", help="Steps until the first restart.")
    mult: int = setting(
        2, 1, 100, label="Period factor", symbol="m", help="Each period is so many times as long as the last."
    )
    floor: float = setting(
        0.0, 0.0, 1.0, high_open=True, symbol=r"\epsilon", help="Share of the step size that remains."
    )

    def shape(self, steps: int, norms: Norms) -> Tensor:
        cycles: list[Tensor] = []
        length, covered = self.period, 0
        while covered < steps:
            cycles.append(torch.arange(min(length, steps - covered), dtype=torch.float64) / length)
            length, covered = length * self.mult, covered + length
        return _cosine(1.0, self.floor, torch.cat(cycles))


@dataclass(frozen=True)
class OneCycle(Schedule):
    """The step size of the rule is the peak; three phases add a symmetric way back down before the final fall."""

    name, label = "one_cycle", "1cycle"
    idea = "Up to the peak over the first part of the run, then far below where it began."
    equation = r"s: \tfrac{1}{d} \nearrow 1 \searrow \tfrac{1}{d f}"
    reference = "Smith and Topin 2017, arXiv:1708.07120"
    pct: float = setting(
        0.3,
        0.0,
        1.0,
        low_open=True,
        high_open=True,
        label="Share of the rise",
        symbol="p",
        help="Share of the run spent rising.",
    )
    div: float = setting(
        25.0, 1.0, 1e6, log=True, label="Initial divisor", symbol="d", help="The run begins at the step size over this."
    )
    final_div: float = setting(
        1e4, 1.0, 1e12, log=True, label="Final divisor", symbol="f", help="It ends at the initial one over this."
    )
    three_phase: bool = setting(False, help="Come down symmetrically before the final fall.")
    linear: bool = setting(False, help="Straight lines instead of cosines.")

    def shape(self, steps: int, norms: Norms) -> Tensor:
        k = torch.arange(steps, dtype=torch.float64)
        low, end = 1 / self.div, 1 / self.div / self.final_div
        rise, last = self.pct * steps - 1, float(steps - 1)
        corners = [(0.0, low), (rise, 1.0)]
        corners += [(2 * self.pct * steps - 2, low)] if self.three_phase else []
        corners += [(last, end)]
        factors = torch.full((steps,), end, dtype=torch.float64)
        for (begin, start), (stop, goal) in reversed(list(zip(corners, corners[1:], strict=False))):
            x = ((k - begin) / max(stop - begin, 1e-12)).clamp(0, 1)
            piece = start + (goal - start) * x if self.linear else _cosine(start, goal, x)
            factors = torch.where(k <= stop, piece, factors)
        return factors


@dataclass(frozen=True)
class StepDecay(Schedule):
    name, label = "step", "Step decay"
    idea = "Multiply the step size by a constant every so many steps."
    equation = r"s(k) = \gamma^{\lfloor k / K \rfloor}"
    reference = "He et al. 2015, arXiv:1512.03385"
    period: int = setting(100, 1, 1_000_000, symbol="K", help="Steps between two cuts.")
    gamma: float = setting(0.1, 0.0, 1.0, symbol=r"\gamma", help="What each cut leaves.")

    def shape(self, steps: int, norms: Norms) -> Tensor:
        return self.gamma ** (torch.arange(steps, dtype=torch.float64) // self.period)


@dataclass(frozen=True)
class Refined(Schedule):
    """Two passes: a rehearsal at constant step size records the gradient norms G_k; the schedule that minimizes the bound

    for them is s_k = p_k * sum of the later p_j with p = G^-2, divided by its maximum. Its last step is zero.
    """

    name, label = "refined", "Refined from gradient norms"
    rehearses = True
    idea = "Let a rehearsal run say where gradients are large, and take small steps there."
    equation = r"s_k \propto \|g_k\|^{-2} \sum_{j > k} \|g_j\|^{-2}"
    reference = "Defazio et al. 2023, arXiv:2310.07831"
    tau: float = setting(
        0.1,
        0.0,
        1.0,
        high_open=True,
        label="Smoothing",
        symbol=r"\tau",
        help="Width of the running median over the norms, as a share of the run; 0 takes them raw.",
    )

    def shape(self, steps: int, norms: Norms) -> Tensor:
        raw = norms().double()[..., :steps]
        # A diverged rehearsal has no norms to its end: the last known one stands for the rest.
        filled = _filled(torch.where(raw.isfinite() & (raw > 0), raw, torch.nan))
        smooth = _median_filtered(filled, int(self.tau * steps) // 2)
        weights = (smooth.amin(-1, keepdim=True) / smooth).square()  # within (0, 1]: squares of the norms may overflow
        tails = weights.flip(-1).cumsum(-1).flip(-1)
        factors = weights * torch.cat([tails[..., 1:], torch.zeros_like(tails[..., :1])], dim=-1)
        peak = factors.amax(-1, keepdim=True)
        return torch.where(peak > 0, factors / torch.where(peak > 0, peak, 1), 1.0)


def _cosine(start: float, goal: float, x: Tensor) -> Tensor:
    """From start at x = 0 to goal at x = 1."""
    return goal + (start - goal) * (1 + torch.cos(math.pi * x)) / 2


def _filled(values: Tensor) -> Tensor:
    """NaN replaced by the last number before it, else by the first one after it, else by 1."""
    for _ in range(2):  # forward, then the other way round for those at the beginning
        index = torch.arange(values.shape[-1], device=values.device).expand_as(values)
        last = torch.where(values.isnan(), 0, index).cummax(-1).values
        values = values.gather(-1, last).flip(-1)
    return values.nan_to_num(1.0)


def _median_filtered(values: Tensor, half: int) -> Tensor:
    """Running median over 2 * half + 1 entries: the first one repeated before the start, the last ones mirrored beyond the

    end without repeating the very last, as in the authors' code.
    """
    if half == 0:
        return values
    before = values[..., :1].expand(*values.shape[:-1], half)
    padded = torch.cat([before, values, values[..., -half - 1 : -1].flip(-1)], dim=-1)
    return padded.unfold(-1, 2 * half + 1, 1).median(dim=-1).values
