"""When a watched run can pay for the next look at its curvature."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

_CREDIT = 1.0  # seconds that watching may take beyond its share, so that a short run is looked at more than once
_REACH = 200  # logged steps that they are to last for
_STEP = 1.25  # from one such look to the next, at least: more would tell nothing new
_REMEMBERED = 3  # looks that a guess is made of: one that was interrupted must not bar all later ones


class Pace:
    """Looks are taken while they fit into a share `budget` of the training time; None: always.

    One second is given on top. The looks that it pays for lie ever farther apart, each at a multiple of the step of the one
    before, so that it lasts for more than the beginning of a run. The first look is taken whatever it costs; what torch does in
    it once and never again does not count.
    """

    def __init__(self, budget: float | None, every: int):
        self.budget, self._horizon = budget, _REACH * every
        self._prices: list[float] = []
        self._last = 0  # step of the last look
        self._once = 0.0  # seconds of the first look that no other will take
        self._estimated = False  # is the one price a guess?

    @property
    def first(self) -> bool:
        """Is the next look the one that nothing has paid for?"""
        return not self._prices and self.budget is not None

    def affords(self, step: int, trained: float, spent: float) -> bool:
        """Is there a look at this step, after so many seconds of training, and so many spent on watching?"""
        if self.budget is None or not self._prices:
            return True
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

    def began(self, step: int, seconds: float, products: Sequence[float], share: float) -> None:
        """The first look was taken, on a share of the samples, with Hessian-vector products of so many seconds each.

        What all samples will take is bounded by that of the products, and two more for what else there is.
        """
        warm = (len(products) + 2) * median(products) if products else seconds
        self._once = max(0.0, seconds - warm)
        self.took(step, warm / share)
        self._estimated = True
