"""Curvature against its peers, in one process and interleaved: PyHessian, curvlinops with scipy's eigsh, hessian-eigenthings.

Run it in an environment that has them (see README.md). Everything is float32 on one thread, on the network 64-128-128-10 with
tanh and all 1,797 digits, unless said; a ratio above 1 means that Ravine is faster.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from statistics import median

import torch
from torch import Tensor, nn

from landscapes import MLP, top_eigenpairs
from landscapes.landscape import Differentiated
from optimizers import OPTIMIZERS, run

REPEATS = 5
LAND = MLP()


def seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def interleaved(works: dict[str, Callable[[], object]], repeats: int = REPEATS) -> dict[str, float]:
    """The median time of each, in turn, after one round to warm up."""
    times: dict[str, list[float]] = {name: [] for name in works}
    for turn in range(repeats + 1):
        for name, work in works.items():
            spent = seconds(work)
            if turn:
                times[name].append(spent)
    return {name: median(found) for name, found in times.items()}


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
            "gradient": lambda: LAND.value_and_grad(params),
            "written out": lambda: written(vector),
            "automatic": lambda: automatic(vector),
            "Gauss-Newton": lambda: newton(vector),
        },
        15,
    )
    print("One product in gradients: " + ", ".join(f"{name} {t / found['gradient']:.2f}" for name, t in found.items()))


def trained(steps: int) -> Tensor:
    start = LAND.start(dtype=torch.float32)[0]
    return run(LAND, OPTIMIZERS["gd"](lr=0.6), start, steps, params_every=steps, record_every=steps).final


def cold(steps: int) -> None:
    """Goal: to a true relative error of 1e-3, 2.5 times as fast as PyHessian and 4.5 times as the others."""
    from curvlinops import HessianLinearOperator
    from hessian_eigenthings import HessianOperator, power_iteration_one, supervised_loss
    from pyhessian import hessian
    from scipy.sparse.linalg import eigsh

    params = trained(steps)
    exact = float(top_eigenpairs(LAND, params.double(), tol=1e-8).values[0])
    net, criterion = module(LAND, params), nn.CrossEntropyLoss()
    inputs, targets = LAND.training_set(params)
    labels = targets.argmax(-1)
    answers: dict[str, float] = {}

    def ours() -> None:
        answers["ravine"] = float(top_eigenpairs(LAND, params, tol=1e-2).values[0])

    def pyhessian_() -> None:
        values, _ = hessian(net, criterion, data=(inputs, labels), cuda=False).eigenvalues(maxIter=100, tol=1e-3)
        answers["PyHessian"] = values[0]

    def curvlinops_() -> None:
        weights = [weight for weight in net.parameters() if weight.requires_grad]
        matrix = HessianLinearOperator(net, criterion, weights, [(inputs, labels)]).to_scipy()
        answers["curvlinops + eigsh"] = float(eigsh(matrix, k=1, which="LA", tol=1e-3, return_eigenvectors=False)[0])

    def eigenthings() -> None:
        matrix = HessianOperator(net, [(inputs, labels)], supervised_loss(criterion))
        answers["hessian-eigenthings"] = power_iteration_one(matrix, tol=1e-4, seed=0)[0]

    found = interleaved(
        {
            "ravine": ours,
            "PyHessian": pyhessian_,
            "curvlinops + eigsh": curvlinops_,
            "hessian-eigenthings": eigenthings,
        }
    )
    print(f"Top eigenvalue after {steps} steps (exact {exact:.4f}):")
    for name, spent in found.items():
        error = abs(answers[name] / exact - 1)
        print(f"  {name:<20} {1e3 * spent:7.0f} ms, error {error:.1e}, ratio {spent / found['ravine']:.1f}")


def main() -> None:
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # of the peers
    products()
    for steps in (1, 150):
        cold(steps)


if __name__ == "__main__":
    main()
