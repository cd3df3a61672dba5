"""When those in a queue have their next turn and when they are through: the queue played ahead."""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import NamedTuple

from ravine.ledger import Had

_TURNS = 400  # that are played; what is not through by then goes on at the pace that it had


@dataclass(frozen=True)
class Player:
    """One that takes turns, of `visitors`; who is `late` comes after all others."""

    visitors: tuple[str, ...]
    turn: float  # seconds that a turn of it takes
    left: float = inf  # seconds of turns until it is through
    late: bool = False
    comes: float = 0.0  # in so many seconds, as far as can be told


class Forecast(NamedTuple):
    """In seconds from now."""

    turn: float  # until its turn begins; 0 if it has begun
    through: float


def forecasts(
    players: Sequence[Player],
    running: Mapping[int, float],
    idle: int,
    had_before: Mapping[str, Had],
    least: float = 0.0,
) -> list[Forecast]:
    """Of players in the order in which they come. Those that are `running` have a place for so many seconds yet, and so many
    places are `idle`; `had_before` tells what each visitor has had, and whoever has had the least comes next. Who comes anew
    counts as one of those, who have had `least`."""
    spent, order, now = dict(had_before), 0, 0.0
    turns = max((one.last for one in had_before.values()), default=0)

    def ranked(index: int) -> tuple[bool, Had, int, int]:
        return (
            players[index].late,
            min((spent.setdefault(one, Had(least)) for one in players[index].visitors), default=Had(least)),
            orders[index],
            index,
        )

    orders = [0] * len(players)
    line: list[tuple[bool, Had, int, int]] = []
    coming = [index for index in range(len(players)) if index not in running][::-1]
    begins = [0.0 if index in running else inf for index in range(len(players))]
    through, had = [inf] * len(players), [0.0] * len(players)
    for index, seconds in running.items():
        had[index] = seconds
    places = [(seconds, index) for index, seconds in running.items()] + [(0.0, -1)] * idle
    heapq.heapify(places)
    for _ in range(_TURNS):
        if not places:
            break
        now, ended = heapq.heappop(places)
        if ended >= 0 and had[ended] < players[ended].left:
            orders[ended] = order = order + 1
            heapq.heappush(line, ranked(ended))
        elif ended >= 0:
            through[ended] = now
        while coming and players[coming[-1]].comes <= now:
            orders[coming[-1]] = order = order + 1
            heapq.heappush(line, ranked(coming.pop()))
        if not line:
            if coming:
                heapq.heappush(places, (players[coming[-1]].comes, -1))
            continue
        while (first := heapq.heappop(line)) != (rank := ranked(first[-1])):  # its visitor had a turn meanwhile
            heapq.heappush(line, rank)
        index = first[-1]
        begins[index] = min(begins[index], now)
        seconds = min(players[index].turn, players[index].left - had[index])
        turns += 1
        spent |= {one: spent[one].with_turn(seconds, turns) for one in players[index].visitors}
        had[index] += seconds
        heapq.heappush(places, (now + seconds, index))
    ends = {index: when for when, index in places}
    for index, one in enumerate(players):
        if through[index] == inf and had[index]:
            through[index] = ends.get(index, now) * one.left / had[index]
    return [Forecast(*pair) for pair in zip(begins, through, strict=True)]
