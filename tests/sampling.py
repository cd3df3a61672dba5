"""Large products of cases: `make test` runs a seeded sample of each, `make prove` the whole.

Where single cases take long, a test says with `sampled` how many are drawn. A numerical test of very many short cases is thinned
without a word of its own, and so are the phenomena, each of which is a long run: these all run as another processor too.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import pytest

WIDE = 40  # cases of one numerical test, from which on it is thinned
_THINNED = {"tests/landscapes/": 1 / 3, "tests/optimizers/": 1 / 3, "tests/phenomena/": 1 / 2}  # what is drawn of each


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


def thin(items: Sequence[pytest.Item]) -> None:
    """Marks the cases of large products among those collected, as `sampled` does; what is not drawn is `thinned` as well."""
    products: dict[str, list[pytest.Item]] = defaultdict(list)
    for one in items:
        folder = next((folder for folder in _THINNED if one.nodeid.startswith(folder)), None)
        if folder is not None and not any(one.get_closest_marker(name) for name in ("prove", "sampled")):
            products[folder if folder == "tests/phenomena/" else one.nodeid.partition("[")[0]].append(one)
    for name, cases in products.items():
        if len(cases) >= WIDE:
            share = next(share for folder, share in _THINNED.items() if name.startswith(folder))
            drawn = set(random.Random(name).sample(range(len(cases)), round(share * len(cases))))
            for place, one in enumerate(cases):
                one.add_marker("sampled" if place in drawn else "prove")
                if place not in drawn:
                    one.add_marker("thinned")
