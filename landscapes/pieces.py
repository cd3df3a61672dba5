"""Long work cut into pieces: computed here or by the workers of an executor, and kept for whoever comes next.

A piece is what one call of a plain function gives, a tuple of tensors. Where they are computed, in which order and by how
many workers changes no bit of them.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, CancelledError, Executor, Future, wait
from itertools import islice
from typing import Any, Protocol

from torch import Tensor

Piece = tuple[Tensor, ...]


class Shelf(Protocol):
    """Where finished pieces are kept, by number, so that a restart computes only what is missing."""

    def get(self, number: int) -> Piece | None: ...

    def put(self, number: int, piece: Piece) -> None: ...


def pieces(
    function: Callable[..., Piece],
    work: Mapping[int, tuple[Any, ...]],
    *,
    executor: Executor | None = None,
    shelf: Shelf | None = None,
) -> Iterator[tuple[int, Piece]]:
    """(number, function(*arguments)) for each number and its arguments in `work`, as they finish. Stop pulling to cancel.

    What is on the shelf comes first and is not computed. An executor is given a few pieces at a time (its `ahead`, by
    default two for each core), so that several computations can share it; a piece that it loses is computed here.
    """
    missing = []
    for number in work:
        kept = shelf.get(number) if shelf is not None else None
        if kept is None:
            missing.append(number)
        else:
            yield number, kept
    for number, piece in _fresh(function, {number: work[number] for number in missing}, executor):
        if shelf is not None:
            shelf.put(number, piece)
        yield number, piece


def _fresh(
    function: Callable[..., Piece], work: Mapping[int, tuple[Any, ...]], executor: Executor | None
) -> Iterator[tuple[int, Piece]]:
    if executor is None:
        for number, arguments in work.items():
            yield number, function(*arguments)
        return
    waiting = iter(work.items())
    flying: dict[Future[Piece], int] = {}

    def launch(count: int) -> None:
        for number, arguments in islice(waiting, count):
            flying[executor.submit(function, *arguments)] = number

    launch(getattr(executor, "ahead", 2 * (os.cpu_count() or 1)))
    try:
        while flying:
            for future in wait(flying, return_when=FIRST_COMPLETED).done:
                number = flying.pop(future)
                launch(1)
                try:
                    piece = future.result()
                except (CancelledError, BrokenExecutor):
                    piece = function(*work[number])
                yield number, piece
    finally:
        for future in flying:
            future.cancel()
