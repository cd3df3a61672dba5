"""Whose turn is next: that of the visitor who has been computed for the least."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple


class Had(NamedTuple):
    """What a visitor has had; the smallest comes next."""

    seconds: float = 0.0
    last: int = 0  # the number of their last turn: of equals, whose was earliest comes first, or who had none yet

    def with_turn(self, seconds: float, turn: int) -> Had:
        return Had(self.seconds + seconds, turn)


class Ledger:
    """What each visitor has had. Who joins, or begins anew, counts as the one of those here who has had the least: nobody
    is to wait behind a whole class for having come late, nor to be first for hours.
    """

    def __init__(self) -> None:
        self._had: dict[str, Had] = {}
        self._turns = 0  # given so far

    def __contains__(self, visitor: str) -> bool:
        return visitor in self._had

    @property
    def all(self) -> Mapping[str, Had]:
        return self._had

    def least(self, here: Iterable[str]) -> float:
        """Seconds that those had who had the least."""
        return min((self._had[one].seconds for one in here if one in self._had), default=0.0)

    def begin(self, visitor: str, here: Iterable[str]) -> None:
        """They owe nothing."""
        self._had[visitor] = Had(self.least(here))

    def rank(self, visitors: Collection[str]) -> Had:
        """The smallest comes next."""
        return min((self._had[one] for one in visitors), default=Had())

    def charge(self, visitors: Iterable[str], seconds: float) -> dict[str, float]:
        """A turn begins that is to take so long; what each is charged for it."""
        self._turns += 1
        charged = dict.fromkeys(visitors, seconds)
        self._had |= {one: self._had[one].with_turn(seconds, self._turns) for one in charged}
        return charged

    def settle(self, charged: Mapping[str, float], seconds: float) -> None:
        """It has taken so long."""
        for visitor, paid in charged.items():
            if visitor in self._had:
                had = self._had[visitor]
                self._had[visitor] = had.with_turn(seconds - paid, had.last)

    def keep(self, known: Collection[str]) -> None:
        """Forgets all others."""
        self._had = {one: had for one, had in self._had.items() if one in known}
