"""Curvature against its peers, in one process and interleaved: PyHessian, curvlinops with scipy's eigsh, hessian-eigenthings.

Run it in an environment that has them (see README.md). Everything is float32 on one thread, on the network 64-128-128-10 with
tanh and all 1,797 digits, unless said; a ratio above 1 means that Ravine is faster. Ratios are of processor time, which other
programs disturb less; wall time stands beside it.
"""

from __future__ import annotations

import time
import warnings
from collections import defaultdict
from collections.abc import Callable
from itertools import count
from statistics import median
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from landscapes import MLP, top_eigenpairs
from landscapes.derivatives import Operator
from landscapes.landscape import Differentiated
from optimizers import OPTIMIZERS, run, running

REPEATS = 5
LAND = MLP()


class Times(NamedTuple):
    cpu: float
    wall: float


def seconds(work: Callable[[], object]) -> Times:
    began, clock = time.process_time(), time.perf_counter()
    work()
    return Times(time.process_time() - began, time.perf_counter() - clock)


def interleaved(works: dict[str, Callable[[], object]], repeats: int = REPEATS) -> dict[str, Times]:
    """The median times of each, in turn, after one round to warm up."""
    times: dict[str, list[Times]] = {name: [] for name in works}
    for turn in range(repeats + 1):
        for name, work in works.items():
            spent = seconds(work)
            if turn:
                times[name].append(spent)
    return {name: Times(*map(median, zip(*found, strict=True))) for name, found in times.items()}


def module(land: MLP, params: Tensor) -> nn.Sequential:
    """The same network as a torch module at the same parameters."""
    named = land.layout.unpack(params)
    layers: list[nn.Module] = []
    for index in range(1, len(land.hidden) + 2):
        out, features = named[f"W{index}"].shape
        layer = nn.Linear(features, out)
        layer.weight.data, layer.bias.data = named[f"W{index}"].clone(), named[f"b{index}"].clone()
        layers += [layer, nn.Tanh()]
    return nn.Sequential(*layers[:-1])


def products() -> None:
    """Goal: a Hessian product costs at most 1.5 autograd gradients, written out, and 1.8 for any module."""
    params = LAND.start(dtype=torch.float32)[0]
    vector = torch.randn_like(params)
    written, automatic = LAND.hessian_operator(params), Differentiated._hessian_operator(LAND, params, None)
    newton = LAND.gauss_newton_operator(params)
    found = interleaved(
        {
            "automatic gradient": lambda: Differentiated._value_and_grad(LAND, params, None),
            "gradient": lambda: LAND.value_and_grad(params),
            "product": lambda: written(vector),
            "automatic product": lambda: automatic(vector),
            "Gauss-Newton product": lambda: newton(vector),
        },
        15,
    )
    unit = found["automatic gradient"].cpu
    print(
        f"In automatic gradients, of {1e3 * unit:.1f} ms: "
        + ", ".join(f"{name} {one.cpu / unit:.2f}" for name, one in found.items())
    )


def trained(steps: int) -> Tensor:
    start = LAND.start(dtype=torch.float32)[0]
    return run(LAND, OPTIMIZERS["gd"](lr=0.6), start, steps, params_every=steps, record_every=steps).final


def cold(steps: int) -> None:
    """Goal: to a true relative error of 1e-3, 2.5 times as fast as PyHessian and 4.5 times as the others.

    Each round starts from other random vectors, ours as theirs: how many products it takes depends on them.
    """
    from curvlinops import HessianLinearOperator
    from hessian_eigenthings import HessianOperator, power_iteration_one, supervised_loss
    from pyhessian import hessian
    from scipy.sparse.linalg import eigsh

    params = trained(steps)
    exact = float(top_eigenpairs(LAND, params.double(), tol=1e-8).values[0])
    net, criterion = module(LAND, params), nn.CrossEntropyLoss()
    inputs, targets = LAND.training_set(params)
    labels = targets.argmax(-1)
    answers: dict[str, list[float]] = defaultdict(list)
    seeds = count()

    def ours(name: str, tol: float) -> None:
        answers[name].append(float(top_eigenpairs(LAND, params, tol=tol, seed=next(seeds)).values[0]))

    def pyhessian_(name: str, tol: float) -> None:
        values, _ = hessian(net, criterion, data=(inputs, labels), cuda=False).eigenvalues(maxIter=100, tol=tol)
        answers[name].append(values[0])

    def curvlinops_() -> None:
        weights = [weight for weight in net.parameters() if weight.requires_grad]
        matrix = HessianLinearOperator(net, criterion, weights, [(inputs, labels)]).to_scipy()
        found = eigsh(matrix, k=1, which="LA", tol=1e-3, return_eigenvectors=False)
        answers["curvlinops + eigsh"].append(float(found[0]))

    def eigenthings() -> None:
        matrix = HessianOperator(net, [(inputs, labels)], supervised_loss(criterion))
        answers["hessian-eigenthings"].append(power_iteration_one(matrix, tol=1e-4, seed=next(seeds))[0])

    found = interleaved(
        {
            "ravine, 2e-2": lambda: ours("ravine, 2e-2", 2e-2),  # the residual; the error goes with its square
            "ravine, 1e-2": lambda: ours("ravine, 1e-2", 1e-2),
            "PyHessian": lambda: pyhessian_("PyHessian", 1e-3),  # its defaults, which stop short of 1e-3
            "PyHessian, 1e-4": lambda: pyhessian_("PyHessian, 1e-4", 1e-4),
            "curvlinops + eigsh": curvlinops_,
            "hessian-eigenthings": eigenthings,
        },
        9,
    )
    print(f"Top eigenvalue after {steps} steps (exact {exact:.4f}):")
    for name, spent in found.items():
        errors = sorted(abs(answer / exact - 1) for answer in answers[name])
        print(
            f"  {name:<20} {1e3 * spent.cpu:7.0f} ms of a processor, {1e3 * spent.wall:.0f} ms of wall time, error "
            f"{median(errors):.1e}, at most {errors[-1]:.1e}, ratio {spent.cpu / found['ravine, 2e-2'].cpu:.1f} "
            f"and {spent.cpu / found['ravine, 1e-2'].cpu:.1f}"
        )


class Counting(MLP):
    """The network, counting the Hessian products that it is asked for."""

    products: ClassVar[int] = 0

    def _hessian_operator(self, params: Tensor, batch: Tensor | None) -> Operator:
        operator = super()._hessian_operator(params, batch)

        def counted(vectors: Tensor) -> Tensor:
            Counting.products += 1
            return operator(vectors)

        return counted


def along(steps: int = 600, lr: float = 0.3) -> None:
    """Goal: every 5 steps at the edge of stability, at most 7 products each, median error 1e-3, none above 2 %."""
    land = Counting(objective="squared", gain=0.5)
    start, rule = land.start(dtype=torch.float32)[0], OPTIMIZERS["gd"](lr=lr)
    spent, grown = [], []
    for path in running(land, rule, start, steps, probes=["sharpness"], record_every=5, report_every=5):
        grown = [path]
        spent.append(Counting.products)
    values = grown[0].probes["sharpness"].double()
    for name, low, high in (("first", 0, len(values) // 2), ("second", len(values) // 2, len(values))):
        errors = []
        for index in range(low, high, max(1, (high - low) // 20)):
            exact = float(top_eigenpairs(land, grown[0].params[index], tol=1e-4).values[0])
            errors.append(abs(float(values[index]) / exact - 1))
        products = spent[high - 2] - (spent[low - 2] if low else 0)  # the first report is of two evaluations
        print(
            f"Sharpness every 5 of {steps} steps, {name} half, at {float(values[low:high].mean()) * lr / 2:.2f} of the "
            f"threshold: {products / (high - low):.1f} products each; relative error of {len(errors)} of them: median "
            f"{median(errors):.1e}, largest {max(errors):.1e}"
        )


def script(land: MLP, lr: float, steps: int, every: int, k: int, tol: float) -> list[float]:
    """What people write: torch.optim, and scipy's eigsh on products by double backward."""
    from scipy.sparse.linalg import LinearOperator, eigsh

    net = module(land, land.start(dtype=torch.float32)[0])
    inputs, targets = land.training_set(torch.empty(0, dtype=torch.float32))
    weights = list(net.parameters())
    optimizer = torch.optim.SGD(weights, lr=lr)

    def loss() -> Tensor:
        return (net(inputs) - targets).square().sum(-1).mean() / 2

    def product(vector: Any) -> Any:
        direction = torch.from_numpy(vector.reshape(-1)).float()
        grads = torch.autograd.grad(loss(), weights, create_graph=True)
        dot = torch.cat([grad.reshape(-1) for grad in grads]) @ direction
        return torch.cat([one.reshape(-1) for one in torch.autograd.grad(dot, weights)]).numpy()

    matrix = LinearOperator((land.dim, land.dim), matvec=product, dtype="float32")
    found = []
    for step in range(steps + 1):
        if step % every == 0:
            found.append(float(eigsh(matrix, k=k, which="LA", tol=tol, return_eigenvectors=False).max()))
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()
    return found


def whole(steps: int = 400, lr: float = 0.3) -> None:
    """Goal: a run at the edge with sharpness every 20 steps, 6 times as fast as the script; sharpness adds at most 40 %.

    The script asks for two eigenvalues with eigsh's defaults, as scripts of the field do, in one thread, in which it is
    fastest. We measure beside the descent, so the goal is about wall time: on one core there is nothing to gain.
    """
    land, rule = MLP(hidden=(200, 200), objective="squared", gain=0.5), OPTIMIZERS["gd"](lr=lr)
    start = land.start(dtype=torch.float32)[0]
    run(land, rule, start, 2, probes=["sharpness"])  # loads the data
    answers: dict[str, list[float]] = {}

    def ours() -> None:
        path = run(land, rule, start, steps, probes=["sharpness"], record_every=20, params_every=steps)
        answers["ravine"] = path.probes["sharpness"].tolist()

    def bare() -> None:
        run(land, rule, start, steps, record_every=20, params_every=steps)

    def scripted(k: int, tol: float) -> Callable[[], None]:
        return lambda: answers.update({f"eigsh, k = {k}, tol = {tol}": script(land, lr, steps, 20, k, tol)})

    peers = {f"eigsh, k = {k}, tol = {tol}": scripted(k, tol) for k, tol in ((2, 0), (1, 0), (1, 1e-2))}
    times = {name: seconds(work) for name, work in {"ravine": ours, "bare": bare, **peers}.items()}
    mine = times["ravine"]
    print(
        f"{steps} steps of 64-200-200-10, sharpness every 20, ending at {answers['ravine'][-1] * lr / 2:.2f} of the "
        f"threshold: {mine.wall:.1f} s of wall time ({mine.cpu:.1f} s of a processor), "
        f"{mine.wall / times['bare'].wall - 1:.0%} ({mine.cpu / times['bare'].cpu - 1:.0%}) more than without"
    )
    for name in peers:
        apart = median(abs(a / b - 1) for a, b in zip(answers["ravine"], answers[name], strict=True))
        print(
            f"  torch.optim and {name}: {times[name].wall:.1f} s ({times[name].cpu:.1f} s), ratio "
            f"{times[name].wall / mine.wall:.1f} ({times[name].cpu / mine.cpu:.1f}), median difference {apart:.1e}"
        )


def main() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # of the peers
    products()
    for steps in (1, 150):
        cold(steps)
    along()
    whole()


if __name__ == "__main__":
    main()
