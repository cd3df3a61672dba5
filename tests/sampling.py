"""Large products of cases: `make test` runs a seeded sample of each, `make prove` the whole."""

from __future__ import annotations

import random
from collections.abc import Iterable
from typing import Any

import pytest


def sampled(cases: Iterable[Any], count: int, *, seed: int = 0) -> list[Any]:
    """The cases for `pytest.mark.parametrize`; all but `count` of them, drawn by `seed`, run in `make prove` alone.

    A case is a value, a tuple of values or a `pytest.param`. The order stays.
    """
    cases = [one if isinstance(one, type(pytest.param())) else _param(one) for one in cases]
    drawn = set(random.Random(seed).sample(range(len(cases)), min(count, len(cases))))
    return [
        pytest.param(
            *one.values, id=one.id, marks=[*one.marks, pytest.mark.sampled if place in drawn else pytest.mark.prove]
        )
        for place, one in enumerate(cases)
    ]


def _param(case: Any) -> Any:
    return pytest.param(*case) if isinstance(case, tuple) and not hasattr(case, "_fields") else pytest.param(case)
