"""A lock that serves in order."""

import threading

from ravine.turns import Turns

PATIENCE = 60.0


def waiting(turns, count):
    """Waits until so many stand in line, whoever holds it among them."""
    while turns._held + len(turns._line) < count:
        threading.Event().wait(0.001)


def test_who_comes_first_is_served_first_and_alone():
    turns, log, inside = Turns(), [], []

    def come(name):
        for _ in range(2):  # the second time behind all who wait by then
            with turns:
                inside.append(name)
                assert len(inside) == 1
                log.append(name)
                inside.pop()

    threads = [threading.Thread(target=come, args=(name,), daemon=True) for name in range(5)]
    with turns:
        for count, thread in enumerate(threads, start=2):
            thread.start()
            waiting(turns, count)
    for thread in threads:
        thread.join(PATIENCE)
    assert log[:5] == [0, 1, 2, 3, 4]
    assert sorted(log) == sorted([0, 1, 2, 3, 4] * 2)


def test_a_failure_gives_it_back():
    turns = Turns()
    for _ in range(2):
        try:
            with turns:
                raise KeyError
        except KeyError:
            pass
    with turns:
        pass
