"""Seats for so many, and a line for the others."""

from types import SimpleNamespace

import pytest

from ravine.seats import Seats


@pytest.fixture
def clock():
    return SimpleNamespace(now=100.0)


@pytest.fixture
def seats(clock):
    found = Seats(2, lambda: clock.now)
    for who in "abcde":
        found.come(who)
    return found


def places(seats, whom="abcde"):
    return [seats.place(who) for who in whom]


def test_who_comes_late_waits_in_line_and_moves_up(seats):
    assert (places(seats), seats.taken, seats.waiting) == ([0, 0, 1, 2, 3], 2, 3)
    seats.leave("d")  # has had enough
    assert places(seats, "abce") == [0, 0, 1, 2]
    seats.leave("a")
    assert (places(seats, "bce"), seats.taken, seats.waiting) == ([0, 0, 1], 2, 1)
    for who in "bce":
        seats.leave(who)
        seats.leave(who)  # once is enough
    assert (seats.taken, seats.waiting) == (0, 0)
    seats.come("f")
    assert places(seats, ["f", "nobody"]) == [0, 0]


def test_the_waiting_time_is_that_at_the_rate_at_which_seats_become_free(seats, clock):
    assert seats.wait(1) is None
    waited = {}
    for _ in range(60):  # one leaves each half minute, one comes each half minute: a line of constant length
        clock.now += 30.0
        leaves = next(iter(seats._seated))
        before = {who: seats.place(who) for who in seats._line}
        seats.leave(leaves)
        for who in before:
            if not seats.place(who):
                said, when = waited.pop(who, (None, 0.0))
                assert said is None or said / 2 < clock.now - when < said * 2
        seats.come(f"{clock.now}")
        waited[f"{clock.now}"] = seats.wait(seats.place(f"{clock.now}")), clock.now
    assert len(waited) < 5
    assert seats.wait(3) == pytest.approx(90.0, rel=0.1)
    clock.now += 3600.0  # and then nobody
    assert seats.wait(1) is None
