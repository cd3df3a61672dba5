"""Is a step size too large? The one answer that every page, log, command and function gives.

What is judged is the ratio of a sharpness to the stability threshold of the rule at its step size: the latest one, and the
course of all that were measured. On a quadratic the rule converges where the ratio is below 1 and diverges where it is above.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from optimizers.optimizer import Optimizer

HALF = 0.5  # below it gradient descent does not turn round on a quadratic
# Up to 4 / sharpness, wide networks with squared loss come down where it is flatter (Lewkowycz et al. 2020,
# arXiv:2003.02218). Other losses may come back from farther up: beyond it nothing is promised.
CATAPULT = 2.0
MOMENTUM_RETURNS = 1.1  # what rules with momentum are seen to come back from: close above the threshold
# Full-batch training at the edge keeps the sharpness just above the threshold, 1.0 to 1.2 times in the mean (Cohen et al.
# 2021, arXiv:2103.00065, with momentum too; 2022, arXiv:2207.14484, for adaptive rules); a margin for few measurements.
HOVERS_BETWEEN = (0.8, 1.3)
LATE = 0.3  # the share of the measurements, the last ones, that a late mean is of
FEW = 5  # measurements from which on anything is said about a course
STALE = 0.2  # of the run: as much may have gone by since the last measurement
GROWTH = (
    1 / torch.finfo(torch.float32).eps
)  # by which an instability lifts the smallest number to the size of the whole


class Response(StrEnum):
    """What a rule does above its threshold."""

    PLAIN = "plain"
    MOMENTUM = "momentum"
    SCALED = "scaled"  # it divides by the size of its gradients


class Outlook(StrEnum):
    """What the next steps will do along the steepest direction."""

    SMOOTH = "smooth"
    DAMPED = "damped"
    EDGE = "edge"
    RISKY = "risky"
    DIVERGES = "diverges"
    UNKNOWN = "unknown"


class Course(StrEnum):
    """What the measurements have done so far."""

    FEW = "few"  # too few, or too long ago, to say
    BELOW = "below"
    REACHED = "reached"  # the threshold, too lately or with too much of a trend to say more
    HOVERS = "hovers"
    FELL = "fell"  # back below, after the threshold was reached
    ABOVE = "above"  # far, and for long


@dataclass(frozen=True)
class Judgement:
    """What the ratios of sharpness to threshold mean."""

    outlook: Outlook
    course: Course
    ratio: float  # the latest, NaN where there is none
    looks: int
    reached: int | None  # the first step at which the ratio was 1 or more
    late: float  # the mean over the last 30 % of the measurements, NaN where there is none
    reason: str = ""  # why the outlook is unknown

    @property
    def expected(self) -> str:
        """The outlook, as a clause."""
        return f"no verdict: {self.reason}" if self.outlook is Outlook.UNKNOWN else _EXPECTED[self.outlook]

    @property
    def seen(self) -> str:
        """The course, as a clause about the sharpness; it says of how many measurements."""
        of = f"{self.looks} measurement{'s' * (self.looks != 1)}"
        match self.course:
            case Course.FEW if not self.looks:
                return "it was not measured"
            case Course.FEW:
                if self.reached is not None and self.looks > 1:
                    met = f"of {of}, that of step {self.reached} was the first that found it at or above the threshold"
                else:
                    met = f"{of} found it {'below' if self.reached is None else 'at or above'} the threshold"
                return f"{met}: too few, or too long ago, to say more of the run"
            case Course.BELOW:
                return f"it stayed below the threshold at all {of}"
            case Course.REACHED:
                return f"it reached the threshold at step {self.reached}; whether it stays there is not settled"
            case Course.HOVERS:
                return (
                    f"it reached the threshold at step {self.reached} and hovers there, {self.late:.2f} times it in the mean of "
                    f"the last {LATE:.0%} of {of}"
                )
            case Course.FELL:
                return (
                    f"it reached the threshold at step {self.reached} and has fallen back, to {self.ratio:.2g} times it"
                )
        return (
            f"it reached the threshold at step {self.reached} and has stayed above, {self.late:.3g} times it in the mean of the "
            f"last {LATE:.0%} of {of}"
        )


_EXPECTED = {
    Outlook.SMOOTH: "expect steady convergence",
    Outlook.DAMPED: "expect an oscillation that dies out; the limit is near",
    Outlook.EDGE: "expect oscillation, not divergence",
    Outlook.RISKY: "the oscillation may grow faster than the curvature falls; expect the run to diverge",
    Outlook.DIVERGES: "expect divergence",
}
_LASTING = (
    "the sharpness has stayed far above the threshold for long enough that a run that felt it would have diverged or come to "
    "a flatter place; something other than this threshold decides"
)


def response(rule: Optimizer) -> Response:
    """How a rule responds to being above its threshold."""
    if rule.preconditions:
        return Response.SCALED
    return Response.MOMENTUM if rule.has_momentum else Response.PLAIN


def judge(
    ratios: Sequence[float] | Tensor,
    steps: Sequence[int] | Tensor | None = None,
    responds: Response = Response.PLAIN,
    *,
    upto: int | None = None,
    bends: bool = True,
    came_back: bool = False,
    diverged: bool = False,
    doubt: str = "",
) -> Judgement:
    """Judges ratios (n,) of sharpness to threshold, measured at increasing steps (n,), by default 0 to n - 1.

    `upto` is the step at which the run stands, by default that of the last ratio. `bends` says whether the curvature changes
    as one moves along the steepest direction, as it does but on quadratics. What the run has done since the last ratio goes
    before what is expected: it `came_back` if it went on for long enough that an instability must have shown itself (see
    `shows_itself`) and ended no higher, it `diverged` if it left finite numbers. `doubt` says in a clause why the ratio does not
    tell what the steps will do, such as noise or clipping: it takes the place of an outlook. NaN counts as not measured.

    Below its threshold a rule converges on a quadratic: below half of it without turning round (for gradient descent), else
    in a damped oscillation. Above it the oscillation grows, which ends well only where the sharpness falls as one moves along
    its eigenvector, or where a growing gradient enlarges the rule's divisor: self-stabilization (Damian et al. 2023,
    arXiv:2209.15594; Cohen et al. 2022, arXiv:2207.14484). With momentum that is seen close above the threshold only.
    """
    times = range(len(ratios)) if steps is None else steps
    seen = [
        (int(step), float(ratio)) for step, ratio in zip(times, ratios, strict=True) if not math.isnan(float(ratio))
    ]
    if not seen:
        return Judgement(
            Outlook.UNKNOWN, Course.FEW, math.nan, 0, None, math.nan, doubt or "the sharpness was not measured"
        )
    measured = [ratio for _, ratio in seen]
    reached = next((index for index, ratio in enumerate(measured) if ratio >= 1), None)
    late = _late(measured, reached)
    course = _course(seen, reached, late, seen[-1][0] if upto is None else upto, responds)
    outlook, reason = _outlook(measured[-1], course, responds, bends)
    if measured[-1] >= 1 and (came_back or diverged):
        outlook, reason = (Outlook.DIVERGES if diverged else Outlook.EDGE), ""
    return Judgement(
        Outlook.UNKNOWN if doubt else outlook,
        course,
        measured[-1],
        len(seen),
        None if reached is None else seen[reached][0],
        sum(late) / len(late),
        doubt or reason,
    )


def _late(ratios: list[float], reached: int | None) -> list[float]:
    """The last 30 % of the ratios, of those since the threshold was reached."""
    last = max(1, math.ceil(LATE * len(ratios)))
    return ratios[-min(last, len(ratios) - (reached or 0)) :]


def _course(
    seen: list[tuple[int, float]], reached: int | None, late: list[float], upto: int, responds: Response
) -> Course:
    stale = upto - seen[-1][0] > STALE * max(1, upto)
    if stale or len(seen) < FEW:
        return Course.FEW
    if reached is None:
        return Course.BELOW
    if len(seen) - reached < FEW:
        return Course.REACHED
    low, high = HOVERS_BETWEEN
    half = len(late) // 2
    parts = [late[:half], late[half:]] if half else [late]
    means = [sum(part) / len(part) for part in parts]
    if max(means) < low:
        return Course.FELL
    if min(late) > high:
        return Course.ABOVE if responds is Response.SCALED or _has_grown(seen, high) else Course.REACHED
    return Course.HOVERS if all(low <= mean <= high for mean in means) else Course.REACHED


def over_threshold(sharpness: Tensor, threshold: Tensor) -> Tensor:
    """Their ratio (...). Where a weight decay leaves a threshold that is not positive it is infinity above and -infinity below."""
    nothing_left = threshold <= 0
    beyond = torch.where(sharpness >= threshold, math.inf, -math.inf)
    return torch.where(nothing_left, beyond, sharpness / torch.where(nothing_left, 1, threshold))


def shows_itself(ratio: float, steps: float) -> bool:
    """Are `steps` steps at this ratio so many that what grows by 2 ratio - 1 a step, at least, must have been seen?

    That is the growth of gradient descent on a parabola; with momentum it is faster.
    """
    return ratio > 1 and steps * math.log(2 * ratio - 1) >= math.log(GROWTH)


def _has_grown(seen: list[tuple[int, float]], high: float) -> bool:
    """Was the ratio above `high` lately for so many steps that an instability must have shown itself?"""
    below = [index for index, (_, ratio) in enumerate(seen) if ratio <= high]
    above = seen[below[-1] + 1 if below else 0 :]
    return shows_itself(min(ratio for _, ratio in above), above[-1][0] - above[0][0]) if above else False


def _outlook(ratio: float, course: Course, responds: Response, bends: bool) -> tuple[Outlook, str]:
    """The outlook, and why it is unknown."""
    if ratio <= 0:
        return Outlook.UNKNOWN, "no direction curves upward, so the curvature sets no limit to the step size"
    if course is Course.HOVERS:
        return Outlook.EDGE, ""
    if ratio < 1:
        return (Outlook.SMOOTH if ratio < HALF else Outlook.DAMPED), ""
    if responds is Response.SCALED:
        return Outlook.EDGE, ""
    if course is Course.ABOVE:
        return Outlook.UNKNOWN, _LASTING
    if not bends or ratio > CATAPULT:
        return Outlook.DIVERGES, ""
    return (Outlook.RISKY if responds is Response.MOMENTUM and ratio > MOMENTUM_RETURNS else Outlook.EDGE), ""


def stable_step(rule: Optimizer, sharpness: float) -> float:
    """The step size at which the rule's threshold is this sharpness, in the rule's scaling where it divides: infinity where
    nothing curves upward, NaN where the rule has no threshold.

    All thresholds have the form c / step size - d, with d the share of a weight decay.
    """
    at_one, at_two = (
        one.preconditioned_threshold() if rule.preconditions else one.stability_threshold()
        for one in (rule.at(1.0), rule.at(2.0))
    )
    if at_one is None or at_two is None:
        return math.nan
    constant, decay = 2 * float(at_one - at_two), float(at_one - 2 * at_two)
    if math.isinf(float(at_one)) or sharpness + decay <= 0:
        return math.inf
    return constant / (sharpness + decay)
