"""Pieces of work: each once, whatever computes them, and none that is kept."""

import pickle
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import pytest
import torch

from landscapes import LANDSCAPES
from landscapes.pieces import pieces

WORK = {number: (number, 2) for number in (3, 1, 4, 0, 2)}


def power(base, exponent):
    return (torch.tensor(base**exponent),)


class Shelf(dict):
    def put(self, number, piece):
        self[number] = piece


class Faulty:
    """Loses every other piece, as a broken pool or a cluster without workers does."""

    ahead = 2

    def __init__(self):
        self.flying = 0
        self.most = 0

    def submit(self, function, *arguments):
        future = Future()
        self.flying += 1
        self.most = max(self.most, self.flying)
        future.add_done_callback(self.landed)
        if arguments[0] % 2:
            future.cancel() if arguments[0] == 1 else future.set_exception(BrokenProcessPool())
        else:
            future.set_result(function(*arguments))
        if future.cancelled():
            future.set_running_or_notify_cancel()
        return future

    def landed(self, future):
        self.flying -= 1


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_every_piece_comes_once(workers):
    executor = ThreadPoolExecutor(workers) if workers else None
    found = list(pieces(power, WORK, executor=executor))
    assert {number: int(piece[0]) for number, piece in found} == {number: number**2 for number in WORK}
    assert len(found) == len(WORK)
    if not workers:
        assert [number for number, _ in found] == list(WORK)


def test_what_is_kept_comes_first_and_is_not_computed():
    shelf = Shelf({4: (torch.tensor(-1),)})
    found = [(number, int(piece[0])) for number, piece in pieces(power, WORK, shelf=shelf)]
    assert found == [(4, -1), (3, 9), (1, 1), (0, 0), (2, 4)]
    assert {number: int(piece[0]) for number, piece in shelf.items()} == dict(found)


def test_lost_pieces_are_computed_here():
    faulty = Faulty()
    found = {number: int(piece[0]) for number, piece in pieces(power, WORK, executor=faulty)}
    assert found == {number: number**2 for number in WORK}


def test_only_a_few_pieces_are_under_way():
    with ThreadPoolExecutor(1) as pool:
        submitted = []
        watched = type("Watched", (), {"ahead": 2, "submit": lambda self, *a: submitted.append(a) or pool.submit(*a)})()
        stream = pieces(power, WORK, executor=watched)
        next(stream)
        assert len(submitted) == 3
        stream.close()
    assert len(submitted) == 3


def test_an_error_of_the_work_itself_is_raised():
    def fails(number, _):
        raise ValueError(f"no {number}")

    with ThreadPoolExecutor(1) as pool, pytest.raises(ValueError, match="no 3"):
        list(pieces(fails, WORK, executor=pool))


@pytest.mark.parametrize("name", LANDSCAPES)
def test_landscapes_travel_to_workers(name):
    """Also after they have computed something, which they may have kept for the next time."""
    landscape = LANDSCAPES[name]()
    start = landscape.start(dtype=torch.float32)
    expected = landscape.value_and_grad(start)
    packed = pickle.dumps(landscape)
    assert len(packed) < 10_000
    travelled = pickle.loads(packed)
    assert travelled == landscape
    assert all(torch.equal(one, other) for one, other in zip(travelled.value_and_grad(start), expected, strict=True))
