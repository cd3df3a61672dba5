"""Gradients and Hessian-vector products by automatic differentiation: the only autograd calls of the project.

A loss here maps (..., dim) to (...). Runs do not interact, so one backward pass through `loss.sum()` gives every run's
gradient at once, and a second one every run's Hessian-vector product.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

Loss = Callable[[Tensor], Tensor]
Operator = Callable[[Tensor], Tensor]  # v -> A v, (..., dim) -> (..., dim)

# Of differences of gradients: lengths of steps tried, over the best one for a smooth loss; how much the slopes on the two
# sides of a point may differ; and how many epsilons of a gradient are rounding.
_SHORTER = {torch.float64: (1, 2**-4, 2**-8, 2**-12), torch.float32: (1, 2**-4)}
_SAME = {torch.float64: 2e-3, torch.float32: 1e-2}
_ROUNDING = 10


class Linearized(NamedTuple):
    """Outputs (..., n, c) at params (..., dim), and products with their Jacobian J."""

    outputs: Tensor
    push: Callable[[Tensor], Tensor]  # v -> J v, (..., dim) -> (..., n, c)
    pull: Callable[[Tensor], Tensor]  # u -> J' u, (..., n, c) -> (..., dim)


def value_and_grad(loss: Loss, params: Tensor) -> tuple[Tensor, Tensor]:
    """Loss (...) and gradient (..., dim) at params (..., dim)."""
    with torch.enable_grad():
        point = params.detach().requires_grad_(True)
        value = loss(point)
        if not value.requires_grad:  # a constant loss
            return value, torch.zeros_like(params)
        (grad,) = torch.autograd.grad(value.sum(), point, materialize_grads=True)
    return value.detach(), grad.detach()


@dataclass
class Saved:
    numbers: int = 0


@contextmanager
def counting_saved() -> Iterator[Saved]:
    """Counts the numbers that autograd saves for later backward passes, each piece of memory once."""
    sizes: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        if tensor.layout is torch.strided:
            memory = tensor.untyped_storage()
            sizes[memory.data_ptr()] = memory.nbytes() // tensor.element_size()
        return tensor

    saved = Saved()
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        yield saved
    saved.numbers = sum(sizes.values())


def beside(loss: Loss, params: Tensor) -> tuple[list[Tensor], bool]:
    """The other tensors that require a gradient and that a loss depends on at params, and whether its backward pass adds to
    the gradients of params by itself, where the one that is returned lacks it.
    """
    with torch.enable_grad():
        point = params.detach().clone().requires_grad_(True)
        value = loss(point)
        if value.requires_grad:
            torch.autograd.grad(value.sum(), point, allow_unused=True)
    return [one for one in _leaves_of(value) if one is not point], point.grad is not None


def _leaves_of(value: Tensor) -> list[Tensor]:
    """The tensors that require a gradient and that the graph of `value` leads to."""
    found, waiting, seen = [], [value.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            found.append(node.variable)
        waiting += [one for one, _ in node.next_functions]
    return found


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
    """The map v -> H v, (..., dim) -> (..., dim), from differences of a gradient (..., dim) -> (..., dim) on both sides.

    For losses that cannot be differentiated twice. The two slopes are weighted so that the error is of second order. The step balances truncation against rounding (Nocedal and Wright 2006,
    Numerical Optimization, ch. 8); expect relative errors of about 1e-9 in float64 and 1e-3 in float32. A kink of a
    rectifier that it crosses shows in the slopes on its two sides: then it is shortened. A product raises ValueError where
    that does not help.
    """
    params, epsilon = params.detach(), torch.finfo(params.dtype).eps
    reach = epsilon ** (1 / 3) * (1 + torch.linalg.vector_norm(params, dim=-1, keepdim=True))
    here = grad(params)
    largest = torch.zeros_like(reach)  # |H v| / |v| so far

    def product(vectors: Tensor) -> Tensor:
        nonlocal largest
        length = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
        length = torch.where(length == 0, 1, length)
        out, settled = torch.zeros_like(params), torch.zeros_like(reach, dtype=torch.bool)
        for shorter in _SHORTER[params.dtype]:
            step = shorter * reach / length
            ahead = (grad(params + step * vectors) - here) / step
            behind = (here - grad(params - step / 2 * vectors)) / (
                step / 2
            )  # half as far, or |x| would look smooth at 0
            found, gap, rounding = (ahead + 2 * behind) / 3, ahead - behind, _ROUNDING * epsilon * here / step
            gap, slope, rounding = (
                torch.linalg.vector_norm(one, dim=-1, keepdim=True) for one in (gap, found, rounding)
            )
            large = torch.maximum(slope, largest * length)
            fine = ~settled & ~(gap > _SAME[params.dtype] * large + rounding)  # what is not finite stays so
            out, settled = torch.where(fine, found, out), settled | fine
            largest = torch.where(fine, torch.maximum(largest, slope / length), largest)
            if bool(settled.all()):
                return out
        raise ValueError(
            "The Hessian cannot be computed here: the module cannot be differentiated twice, and differences of its gradient "
            "cross kinks or jumps however short their steps are."
        )

    return product


def linearized(outputs: Callable[[Tensor], Tensor], params: Tensor) -> Linearized:
    """A map (..., dim) -> (..., n, c) at params. J v is the derivative of u -> J' u, which is linear (Townsend 2017)."""
    with torch.enable_grad():
        point = params.detach().requires_grad_(True)
        value = outputs(point)
        dummy = torch.zeros_like(value, requires_grad=True)
        (pulled,) = torch.autograd.grad(value, point, dummy, create_graph=True, materialize_grads=True)

    def push(vectors: Tensor) -> Tensor:
        (out,) = torch.autograd.grad(pulled, dummy, vectors, retain_graph=True, materialize_grads=True)
        return out

    def pull(cotangents: Tensor) -> Tensor:
        (out,) = torch.autograd.grad(value, point, cotangents, retain_graph=True, materialize_grads=True)
        return out

    return Linearized(value.detach(), push, pull)


def pushforward(
    step: Callable[..., tuple[Tensor, ...]], primals: tuple[Tensor, ...], tangents: tuple[Tensor, ...]
) -> tuple[Tensor, ...]:
    """Derivatives of a batched step at `primals` along m tangents of each: tensors (m, ...) -> tensors (m, ...).

    By the same trick as in `linearized`: rows of a batch do not interact, so each carries a tangent of its own.
    """
    with torch.enable_grad():
        points = [
            one.detach().expand_as(along).requires_grad_(True) for one, along in zip(primals, tangents, strict=True)
        ]
        reached = step(*points)
        moving = [one for one in reached if one.requires_grad]
        dummies = [torch.zeros_like(one, requires_grad=True) for one in moving]
        pulled = torch.autograd.grad(moving, points, dummies, create_graph=True, materialize_grads=True)
    felt = [(one, along) for one, along in zip(pulled, tangents, strict=True) if one.requires_grad]
    pushed = torch.autograd.grad(
        [one for one, _ in felt], dummies, [along for _, along in felt], materialize_grads=True
    )
    found = iter(pushed)
    return tuple(next(found) if one.requires_grad else torch.zeros_like(one) for one in reached)
