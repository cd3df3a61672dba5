"""When a watched run can pay for the next look at its curvature."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import median

_CREDIT = 1.0  # seconds that watching may take beyond its share, so that a short run is looked at more than once
_REACH = 200  # logged steps that they are to last for
_STEP = 1.25  # from one such look to the next, at least: more would tell nothing new
_REMEMBERED = 3  # looks that a guess is made of: one that was interrupted must not bar all later ones
_FIRST = (
    65  # gradients that a first look takes the time of: about twenty products of three each, and what prepares them
)
_EXACT = 1.5  # times as many products as the first one takes the second, which is more exact and on all samples
_TRIED = (8, 8, 32, 128)  # samples that a gradient is timed on
_TRIFLE = 0.1  # of the second: so much may another one take


class Pace:
    """Looks are taken while they fit into a share `budget` of the training time; None: always.

    One second is given on top, which pays for the first look where it is expected to take no longer. The looks that it pays
    for lie ever farther apart, each at a multiple of the step of the one before, so that it lasts for more than the beginning
    of a run. What torch does in the first look once and never again does not count.
    """

    def __init__(self, budget: float | None, every: int):
        self.budget, self._horizon = budget, _REACH * every
        self._prices: list[float] = []
        self._last = 0  # step of the last look
        self._once = 0.0  # seconds of the first look that no other will take
        self._estimated = False  # is the one price a guess?
        self.expected: float | None = None  # seconds of the first look, guessed before it

    @property
    def first(self) -> bool:
        """Has there been no look yet?"""
        return not self._prices and self.budget is not None

    def guess(self, gradient: Callable[[int], float], count: int) -> None:
        """Guesses what the first look takes on `count` samples from the seconds that `gradient(b)` says for b of them.

        Few of them tell too much where most of the time goes into calling the layers, and once too much where something is
        prepared: then more is tried, as long as that is cheap.
        """
        sizes = [min(size, count) for size in _TRIED]
        for size, after in zip(sizes, [*sizes[1:], count], strict=True):
            seconds = gradient(size)
            self.expected = _FIRST * seconds * count / size
            if self.expected <= _CREDIT or seconds * after / size > _TRIFLE * _CREDIT:
                return

    def wait(self, spent: float) -> float:
        """Seconds of training until the first look is paid for; 0 where it is."""
        if self.budget is None or self.expected is None or not self.first:
            return 0.0
        return max(0.0, self.expected + spent - _CREDIT) / self.budget

    def affords(self, step: int, trained: float, spent: float) -> bool:
        """Is there a look at this step, after so many seconds of training, and so many spent on watching?"""
        if self.budget is None:
            return True
        if self.first:
            return trained >= self.wait(spent)
        price, left = median(self._prices), self.budget * trained + self._once - spent
        if left >= price:
            return True
        looks = (left + _CREDIT) / price if price else math.inf
        ahead = max(self._horizon / self._last, _STEP) if self._last else 0.0
        return looks >= 1 and step >= self._last * max(ahead ** (1 / looks), _STEP)

    def took(self, step: int, seconds: float) -> None:
        """A look was taken, for this price; that of the first is forgotten once there is another."""
        if len(self._prices) == 1 and self._estimated:
            self._prices.clear()
        self._estimated = False
        self._prices = [*self._prices, seconds][-_REMEMBERED:]
        self._last = step

    def began(self, step: int, seconds: float, products: Sequence[float], share: float, again: int = 1) -> None:
        """The first look was taken, on a share of the samples, with Hessian-vector products of so many seconds each.

        `again` says how many eigenvalues the next one measures: each takes half as many products more, as it is more exact, and
        two for what else there is.
        """
        self._once = max(0.0, seconds - (len(products) + 2) * median(products)) if products else 0.0
        each = median(products) * again * (_EXACT * len(products) + 2) if products else seconds
        self.took(step, each / share)
        self._estimated = True
