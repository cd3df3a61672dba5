"""Ravine's run(...) against the loop that everybody writes: torch.optim, one rule after the other, recording as much."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import torch

from landscapes import LANDSCAPES
from optimizers import OPTIMIZERS, run

REPEATS = 9
START = (-1.5, 2.0)
RULES = {
    "gd": (torch.optim.SGD, {"lr": 1e-3}),
    "heavy_ball": (torch.optim.SGD, {"lr": 1e-3, "momentum": 0.9}),
    "nag": (torch.optim.SGD, {"lr": 1e-3, "momentum": 0.9, "nesterov": True}),
    "adam": (torch.optim.Adam, {"lr": 0.5}),
}


def ours(steps: int) -> list[torch.Tensor]:
    """The last point of each rule."""
    rules = tuple(
        OPTIMIZERS[name](**{key: value for key, value in settings.items() if key != "nesterov"})
        for name, (_, settings) in RULES.items()
    )
    path = run(LANDSCAPES["rosenbrock"](), rules, torch.tensor(START, dtype=torch.float64), steps)
    return list(path.params[-1])


def theirs(steps: int) -> list[torch.Tensor]:
    out = []
    for kind, settings in RULES.values():
        point = torch.tensor(START, dtype=torch.float64, requires_grad=True)
        optimizer = kind([point], **settings)
        path, losses = [], []
        for _ in range(steps):
            optimizer.zero_grad()
            x, y = point
            loss = (1 - x) ** 2 + 100 * (y - x**2) ** 2
            loss.backward()
            path.append(point.detach().clone())
            losses.append(loss.item())
            optimizer.step()
        out.append(point.detach())
    return out


def milliseconds(work: Callable[[int], object], steps: int) -> float:
    began = time.perf_counter()
    work(steps)
    return 1e3 * (time.perf_counter() - began)


def main() -> None:
    torch.set_num_threads(1)
    print(f"4 rules on the Rosenbrock valley, float64, every step recorded; median (min) ms of {REPEATS}, interleaved")
    for steps in (250, 1000):
        for mine, other in zip(ours(steps), theirs(steps), strict=True):
            torch.testing.assert_close(mine, other, rtol=1e-6, atol=1e-9)
        pairs = [(milliseconds(ours, steps), milliseconds(theirs, steps)) for _ in range(REPEATS)]
        (a, b), (c, d) = ((median(side), min(side)) for side in zip(*pairs, strict=True))
        print(f"{steps:>5} steps: ravine {a:.0f} ({b:.0f}), torch.optim {c:.0f} ({d:.0f}), ratio {a / c:.2f}")


if __name__ == "__main__":
    main()
