"""Gradients and Hessian-vector products by automatic differentiation: the only autograd calls of the project.

A loss here maps (..., dim) to (...). Runs do not interact, so one backward pass through `loss.sum()` gives every run's
gradient at once, and a second one every run's Hessian-vector product.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Loss = Callable[[Tensor], Tensor]


def value_and_grad(loss: Loss, params: Tensor) -> tuple[Tensor, Tensor]:
    """Loss (...) and gradient (..., dim) at params (..., dim)."""
    with torch.enable_grad():
        point = params.detach().requires_grad_(True)
        value = loss(point)
        if not value.requires_grad:  # a constant loss
            return value, torch.zeros_like(params)
        (grad,) = torch.autograd.grad(value.sum(), point, materialize_grads=True)
    return value.detach(), grad


def hessian_operator(loss: Loss, params: Tensor) -> Callable[[Tensor], Tensor]:
    """The map v -> H v, (..., dim) -> (..., dim), at params (Pearlmutter 1994).

    The graph of the gradient is built once and kept, so that each product costs one backward pass through it.
    """
    with torch.enable_grad():
        point = params.detach().requires_grad_(True)
        value = loss(point)
        grad = point.detach()  # stands for the gradient of a constant loss
        if value.requires_grad:
            (grad,) = torch.autograd.grad(value.sum(), point, create_graph=True, materialize_grads=True)

    def product(vectors: Tensor) -> Tensor:
        if not grad.requires_grad:  # a linear or constant loss: its gradient does not depend on params
            return torch.zeros_like(point)
        (out,) = torch.autograd.grad(grad, point, vectors, retain_graph=True, materialize_grads=True)
        return out

    return product


def hessian_by_differences(grad: Loss, params: Tensor) -> Callable[[Tensor], Tensor]:
    """The map v -> H v, (..., dim) -> (..., dim), from central differences of a gradient (..., dim) -> (..., dim).

    For losses that cannot be differentiated twice. The step balances truncation against rounding (Nocedal and Wright 2006,
    Numerical Optimization, ch. 8); expect relative errors of about 1e-9 in float64 and 1e-3 in float32.
    """
    reach = torch.finfo(params.dtype).eps ** (1 / 3) * (1 + torch.linalg.vector_norm(params, dim=-1, keepdim=True))

    def product(vectors: Tensor) -> Tensor:
        length = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
        step = reach / torch.where(length == 0, 1, length)
        return (grad(params + step * vectors) - grad(params - step * vectors)) / (2 * step)

    return product
