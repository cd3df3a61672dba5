"""One computation on several cores: independent parts of it, each of a millisecond or so, by a few threads of this process.

How a computation is divided must depend on its shapes alone and never on the machine: then no number of cores changes a bit.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from threading import BoundedSemaphore
from typing import TypeVar

import torch

T = TypeVar("T")

_CORES = torch.get_num_threads()  # when this is imported: OMP_NUM_THREADS, else those of the machine
_idle = BoundedSemaphore(_CORES)  # cores that nobody here computes on
_helpers = ThreadPoolExecutor(_CORES, "ravine-lanes", torch.set_num_threads, (1,))


def side_by_side(part: Callable[[int], T], count: int) -> list[T]:
    """[part(0), ..., part(count - 1)], by the caller and by a helper for each idle core. Raises what a part raises.

    On busy cores the caller does it all: three threads on two cores would take a half longer than two. So it does where
    torch's operations are spread over the cores themselves.
    """
    if count == 1 or torch.get_num_threads() > 1:
        return [part(number) for number in range(count)]
    numbers, results = iter(range(count)), {}

    def walk() -> None:
        for number in numbers:  # whoever is ready takes the next
            results[number] = part(number)

    taken = 0
    helping: list[Future[None]] = []
    try:
        while taken < count and _idle.acquire(blocking=False):  # the first is the caller's own
            taken += 1
        helping += [_helpers.submit(walk) for _ in range(taken - 1)]
        walk()
    finally:
        helping = [helper for helper in helping if not helper.cancel()]  # who has not begun has nothing left to do
        wait(helping)
        if taken:
            _idle.release(taken)
    for helper in helping:
        helper.result()
    return [results[number] for number in range(count)]
