"""Many runs as one batch, against the same runs one after the other in torch.optim."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from statistics import median

import torch

from landscapes import LANDSCAPES, MLP, Landscape
from optimizers import OPTIMIZERS, sweep

REPEATS = 5


def seconds(work: Callable[[], object], clock: Callable[[], float] = time.perf_counter) -> float:
    began = clock()
    work()
    return clock() - began


def map_of_a_surface() -> None:
    """256 x 256 step sizes and momenta, 500 steps each, on the threads of a worker pool."""
    land, rule = LANDSCAPES["rosenbrock"](), OPTIMIZERS["heavy_ball"]()
    cores = os.cpu_count() or 1
    with ThreadPoolExecutor(cores, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        for dtype in (torch.float32, torch.float64):
            over = {
                "lr": torch.logspace(-5, -2, 256, dtype=dtype),
                "momentum": torch.linspace(0, 0.99, 256, dtype=dtype),
            }
            start = land.start(dtype=dtype)[0]
            times = [seconds(lambda: sweep(land, rule, over, 500, start=start, executor=pool)) for _ in range(REPEATS)]  # noqa: B023
            print(
                f"256 x 256 x 500 steps, {dtype}, {cores} threads: {median(times):.2f} s ({min(times):.2f})", flush=True
            )


def one_by_one(land: Landscape, lrs: torch.Tensor, steps: int, start: torch.Tensor) -> torch.Tensor:
    """What everybody writes: a network of torch's own modules, trained afresh for each step size."""
    assert isinstance(land, MLP)
    inputs, targets = land.training_set(start)
    named = land.layout.unpack(start)
    depth = len(land.hidden) + 1
    losses = []
    for lr in lrs.tolist():
        layers: list[torch.nn.Module] = []
        for index in range(1, depth + 1):
            weight = named[f"W{index}"]
            linear = torch.nn.Linear(weight.shape[1], weight.shape[0], dtype=start.dtype)
            with torch.no_grad():
                linear.weight.copy_(weight)
                linear.bias.copy_(named[f"b{index}"])
            layers += [linear, torch.nn.Tanh()] if index < depth else [linear]
        model = torch.nn.Sequential(*layers)
        optimizer = torch.optim.SGD(model.parameters(), lr=lr)
        for _ in range(steps):
            optimizer.zero_grad()
            loss = (model(inputs) - targets).square().sum(-1).mean() / 2
            loss.backward()
            optimizer.step()
        losses.append(((model(inputs) - targets).square().sum(-1).mean() / 2).detach())
    return torch.stack(losses)


def step_sizes_of_a_network(name: str, land: Landscape, runs: int, steps: int, repeats: int) -> None:
    start = land.start(dtype=torch.float32)[0]
    lrs = torch.logspace(-3, -1, runs)
    rule = OPTIMIZERS["gd"]()
    together = sweep(land, rule, {"lr": lrs}, steps, start=start).final_loss
    torch.testing.assert_close(together, one_by_one(land, lrs, steps, start), rtol=1e-3, atol=1e-5)
    pairs = [
        (
            seconds(lambda: sweep(land, rule, {"lr": lrs}, steps, start=start), time.process_time),
            seconds(lambda: one_by_one(land, lrs, steps, start), time.process_time),
        )
        for _ in range(repeats)
    ]
    ratios = [alone / batch for batch, alone in pairs]
    print(
        f"{runs} step sizes of {name}, one thread: {median(ratios):.2f} times as fast as one by one "
        f"({min(ratios):.2f} to {max(ratios):.2f})",
        flush=True,
    )


def main() -> None:
    torch.set_num_threads(1)
    map_of_a_surface()
    toy = MLP(data=TOY, hidden=(16, 16), objective="squared", subset=200)
    step_sizes_of_a_network(f"a toy network on {TOY}", toy, 64, 50, REPEATS)
    step_sizes_of_a_network("the digits network 64-128-128-10", MLP(objective="squared"), 4, 50, 9)


TOY = "two_moons"

if __name__ == "__main__":
    main()
