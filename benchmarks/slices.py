"""Slices of networks on the digits, against loss-landscapes, landscaper and a plain loop of `load_state_dict`.

All in one process, interleaved, on the same plane size. A peer that is not installed is left out. What a peer would need for
201 x 201 points is its time for a few points times their number, and is marked so.
"""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from statistics import median

import torch
from torch import Tensor, nn

from landscapes import LANDSCAPES, MLP, Network, slice_2d, slicing
from landscapes.directions import normalize, random_directions

HIDDEN = (128, 128)
GRID = 9  # points per axis of an exact slice
FINE = 201
REPEATS = 5


def module(land: MLP, params: Tensor) -> nn.Sequential:
    """The network as the peers want it."""
    kinds = {"tanh": nn.Tanh, "relu": nn.ReLU}
    named = land.layout.unpack(params)
    layers: list[nn.Module] = []
    for index in range(1, len(land.hidden) + 2):
        weight = named[f"W{index}"]
        linear = nn.Linear(weight.shape[1], weight.shape[0])
        linear.load_state_dict({"weight": weight, "bias": named[f"b{index}"]})
        layers += [linear, kinds[land.activation]()]
    return nn.Sequential(*layers[:-1])


def convolutional(channels: tuple[int, ...], pool: str, side: int) -> nn.Sequential:
    """A convolutional network of two stages on images of side x side pixels, as people write it."""
    kinds = {"average": nn.AvgPool2d, "max": nn.MaxPool2d}
    layers: list[nn.Module] = []
    for before, after in zip((1, *channels), channels, strict=False):
        layers += [nn.Conv2d(before, after, 3, padding=1), nn.ReLU(), kinds[pool](2)]
        side //= 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels[-1] * side**2, 10))


def loop(land: Network, model: nn.Module, params: Tensor, inputs: Tensor, labels: Tensor) -> Tensor:
    """What people write: a model whose weights are loaded anew at each point."""
    names = list(model.state_dict())
    pair = normalize(random_directions(land.layout, params, 2, 0), params, land.layout, "filter")
    out = torch.empty(GRID, GRID)
    steps = torch.linspace(-1, 1, GRID)
    with torch.no_grad():
        for i, a in enumerate(steps):
            for j, b in enumerate(steps):
                blocks = land.layout.unpack(params + a * pair[0] + b * pair[1]).values()
                model.load_state_dict(dict(zip(names, blocks, strict=True)))
                out[i, j] = nn.functional.cross_entropy(model(inputs), labels)
    return out


def peers(land: MLP, params: Tensor, inputs: Tensor, labels: Tensor) -> dict[str, Callable[[], object]]:
    """Name -> an exact slice of GRID x GRID points."""
    found: dict[str, Callable[[], object]] = {
        "plain loop": lambda: loop(land, module(land, params), params, inputs, labels)
    }
    if find_spec("loss_landscapes"):
        import loss_landscapes
        import loss_landscapes.metrics

        metric = loss_landscapes.metrics.Loss(nn.functional.cross_entropy, inputs, labels)
        model = module(land, params)
        found["loss-landscapes"] = lambda: loss_landscapes.random_plane(
            model, metric, distance=1, steps=GRID, normalization="filter", deepcopy_model=True
        )
    if find_spec("landscaper"):
        from landscaper.compute import compute_loss_landscape

        own = module(land, params)
        pair = [[torch.randn_like(one) for one in own.parameters()] for _ in range(2)]

        def landscaper() -> None:
            with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
                compute_loss_landscape(
                    own, (inputs, labels), pair,
                    lambda model, data: float(nn.functional.cross_entropy(model(data[0]), data[1])),
                    steps=GRID, distance=1.0, dim=2, device="cpu",
                )  # fmt: skip

        found["landscaper"] = landscaper
    return found


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def first_picture(land: MLP, params: Tensor, pool: ThreadPoolExecutor) -> None:
    next(
        plane
        for plane in slicing(land, params, points=FINE, tolerance=1e-2, executor=pool)
        if not bool(plane.loss.isnan().any())
    )


def main() -> None:
    torch.set_num_threads(1)
    pool = ThreadPoolExecutor(2, initializer=torch.set_num_threads, initargs=(1,))
    for activation, tolerance in (("tanh", 1e-4), ("relu", 1e-3)):
        compare(activation, tolerance, pool)
    for channels, pooling in (((8, 16), "average"), ((8, 16), "max"), ((32, 64), "max")):
        compare_convolutional(channels, pooling, pool)


def compare_convolutional(channels: tuple[int, ...], pooling: str, pool: ThreadPoolExecutor) -> None:
    land = LANDSCAPES["cnn"](subset=1797, channels=channels, pool=pooling)
    assert isinstance(land, Network)
    params = land.start(dtype=torch.float32)[0]
    inputs, targets = land.training_set(params)
    labels, model = targets.argmax(-1), convolutional(channels, pooling, inputs.shape[-1])
    work: dict[str, Callable[[], object]] = {
        "plain loop": lambda: loop(land, model, params, inputs, labels),
        "kernel, 1 thread": lambda: slice_2d(land, params, points=GRID),
        "kernel, 2 threads": lambda: slice_2d(land, params, points=GRID, executor=pool),
    }
    torch.testing.assert_close(slice_2d(land, params, points=GRID).loss, work["plain loop"](), rtol=1e-4, atol=0)
    times: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(REPEATS):
        for name, one in work.items():
            times[name].append(seconds(one))
    print(
        f"convolutions of {channels} channels, {pooling} pooling, {land.samples} digits, float32; median of {REPEATS}"
    )
    for name, taken in times.items():
        ratio = median(times["plain loop"]) / median(taken)
        print(f"  {name:<34} {1e3 * median(taken) / GRID**2:7.2f} ms a point, {ratio:.1f} x the plain loop")


def compare(activation: str, tolerance: float, pool: ThreadPoolExecutor) -> None:
    n = 1024
    square = torch.randn(n, n)
    land = MLP(hidden=HIDDEN, activation=activation)
    # Biases of zero, which a network starts from, make loss-landscapes divide by zero.
    noise = torch.randn(land.dim, generator=torch.Generator().manual_seed(0))
    params = land.start(dtype=torch.float32)[0] + 0.01 * noise
    inputs, targets = land.training_set(params)
    labels = targets.argmax(-1)
    others = peers(land, params, inputs, labels)
    torch.testing.assert_close(slice_2d(land, params, points=GRID).loss, others["plain loop"](), rtol=1e-5, atol=0)
    work: dict[str, Callable[[], object]] = {
        "kernel, 1 thread": lambda: slice_2d(land, params, points=GRID),
        "kernel, 2 threads": lambda: slice_2d(land, params, points=GRID, executor=pool),
        **others,
        f"{FINE} x {FINE}, verified to {tolerance:g}, 2 threads": lambda: slice_2d(
            land, params, points=FINE, tolerance=tolerance, executor=pool
        ),
        "first picture, 2 threads": lambda: first_picture(land, params, pool),
        "sgemm": lambda: square @ square,
    }
    times: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(REPEATS):
        for name, one in work.items():
            times[name].append(seconds(one))
    middle = {name: median(one) for name, one in times.items()}
    widths = (64, *HIDDEN, 10)
    flops = 2 * land.samples * sum(a * b for a, b in zip(widths, widths[1:], strict=False))
    peak = 2 * n**3 / middle.pop("sgemm")
    print(f"{activation}: 64-128-128-10, {land.samples} digits, float32; median of {REPEATS}, interleaved")
    for name in list(work)[: 2 + len(others)]:
        per_point = middle[name] / GRID**2
        rate = flops / per_point / peak
        print(f"  {name:<34} {1e3 * per_point:7.2f} ms a point, {rate:.0%} of sgemm's flops in one thread")
    reference = "loss-landscapes" if "loss-landscapes" in others else "plain loop"
    for name, points in ((list(work)[2 + len(others)], FINE**2), ("first picture, 2 threads", 25**2)):
        ratio = middle[reference] / GRID**2 * points / middle[name]
        print(f"  {name:<34} {middle[name]:7.2f} s; {reference} for {points:,} points (extrapolated): {ratio:.0f} x")


if __name__ == "__main__":
    main()
