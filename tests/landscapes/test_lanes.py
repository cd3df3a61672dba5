"""Work divided between cores: the same bits on any number of them, and nothing lost."""

from concurrent.futures import Future, ThreadPoolExecutor
from threading import Barrier, BoundedSemaphore, get_ident

import pytest
import torch

from landscapes import MLP, lanes

WIDE = MLP(hidden=(1024, 8), subset=700)  # wide enough for samples to go in several lanes


@pytest.fixture
def cores(monkeypatch):
    """A machine of so many cores."""
    pools = []

    def of(count):
        pools.append(ThreadPoolExecutor(count, initializer=torch.set_num_threads, initargs=(1,)))
        monkeypatch.setattr(lanes, "_idle", BoundedSemaphore(count))
        monkeypatch.setattr(lanes, "_helpers", pools[-1])

    yield of
    for pool in pools:
        pool.shutdown()


def derivatives(params):
    vector = torch.linspace(-1, 1, WIDE.dim).expand_as(params)
    loss, grad = WIDE.value_and_grad(params)
    along = WIDE.jacobian(params)
    return loss, grad, WIDE.hessian_operator(params)(vector), along.push(vector), along.pull(along.push(vector))


@pytest.mark.parametrize("runs", [1, 2])
def test_no_number_of_cores_changes_a_bit(runs, cores):
    params = WIDE.start(dtype=torch.float32)[0] * torch.linspace(1, 2, runs)[:, None]
    found = []
    for count in (1, 2, 4):
        cores(count)
        found.append(derivatives(params))
    for others in found[1:]:
        for one, other in zip(found[0], others, strict=True):
            assert torch.equal(one, other)


def test_each_idle_core_takes_a_part(cores):
    cores(2)
    both = Barrier(2, timeout=30)  # opens only if two threads are there at once

    def part(number):
        both.wait()
        return number, get_ident()

    found = lanes.side_by_side(part, 2)
    assert [number for number, _ in found] == [0, 1]
    assert len({thread for _, thread in found}) == 2


def test_on_busy_cores_the_caller_does_it_all(cores):
    cores(2)

    def part(_):
        return {thread for _ in range(2) for thread in lanes.side_by_side(lambda _: get_ident(), 3)} | {get_ident()}

    assert all(len(threads) == 1 for threads in lanes.side_by_side(part, 2))


def test_helpers_that_never_begin_are_not_waited_for(cores, monkeypatch):
    """As in a fork, which has none of its parent's threads."""

    class Deaf:
        def submit(self, work):
            return Future()

    cores(4)
    monkeypatch.setattr(lanes, "_helpers", Deaf())
    assert lanes.side_by_side(lambda number: number**2, 5) == [0, 1, 4, 9, 16]


def test_an_error_reaches_the_caller_and_frees_the_cores(cores):
    cores(3)
    for bad in range(4):
        with pytest.raises(ZeroDivisionError):
            lanes.side_by_side(lambda number, bad=bad: 1 / (number - bad), 4)
    assert [lanes._idle.acquire(blocking=False) for _ in range(4)] == [True, True, True, False]
