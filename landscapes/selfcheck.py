"""Are the second derivatives of a user's loss there, and right? A backward pass written by hand may drop them without a word."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from landscapes import derivatives
from landscapes.derivatives import Loss


def doubt(loss: Loss, point: Tensor) -> Exception | None:
    """Why double backward of a loss (dim,) -> () is not to be believed at a point (dim,); None where it is."""
    try:
        product = derivatives.hessian_operator(loss, point)
        if any(_agrees(product, loss, point, seed) for seed in range(3)):  # a kink may spoil one of them
            return None
        return RuntimeError("its second derivatives are not those of its gradient")
    except Exception as failure:  # whatever a user's code raises
        return failure


def missing(loss: Loss, point: Tensor) -> Exception | None:
    """Why there is no double backward of a loss; None where there is one, right or not: for half precision, in which
    differences of gradients would say nothing about it.
    """
    try:
        derivatives.hessian_operator(loss, point)(torch.ones_like(point))
        return None
    except Exception as failure:  # whatever a user's code raises
        return failure


def _agrees(product: Callable[[Tensor], Tensor], loss: Loss, point: Tensor, seed: int) -> bool:
    generator = torch.Generator().manual_seed(seed)
    vector = torch.randn(point.shape, generator=generator, dtype=torch.float64).to(point)

    def grad(at: Tensor) -> Tensor:
        return derivatives.value_and_grad(loss, at)[1]

    expected = derivatives.hessian_by_differences(grad, point)(vector)
    slack = 0.02 * expected.norm() + torch.finfo(point.dtype).eps ** 0.5 * grad(point).norm()
    return bool((product(vector) - expected).norm() <= slack)
