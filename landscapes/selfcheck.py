"""Which second derivatives of a user's loss are to be believed?

Double backward may be missing (`once_differentiable`), or wrong without a word: a backward pass written by hand may leave
out what it depends on. Differences of gradients find that out, but mean nothing where they cross a kink of a rectifier or a
jump. So each is held against what the faults of the other cannot imitate, on a few samples and away from special points:

- the gradient against differences of the loss, which is continuous at kinks;
- double backward against differences of the gradient over shrinking steps, of which that one counts whose two sides agree
  best: a step across a kink has another slope on its other side;
- double backward against its own symmetry, u'Hv = v'Hu.

Where a value goes through something that its gradient takes no notice of (rounding with a straight-through gradient, a
stopped gradient), the gradient is that of a surrogate. Double backward then gives the surrogate's Hessian, which is
symmetric; the derivative of a gradient that is the gradient of nothing is not.
"""

from __future__ import annotations

from enum import Enum
from functools import cached_property, partial
from typing import NamedTuple

import torch
from torch import Tensor

from landscapes import derivatives
from landscapes.derivatives import Loss
from landscapes.landscape import Layout
from landscapes.objective import line

_AWAY = 0.1  # of a tensor's own size: so far from the module's own parameters, which may lie on a kink (biases of zero)
_LEAST = 0.01  # the size that a tensor of zeros is taken to have
_REACHES = {  # by how much of its size each parameter is moved; the most promising first
    torch.float64: (1e-7, 1e-8, 1e-9, 1e-6, 1e-5, 1e-10, 1e-4, 1e-3),
    torch.float32: (1e-3, 3e-3, 3e-4, 1e-2, 1e-4),
}
_CLOSE = {torch.float64: 1e-4, torch.float32: 1e-2}  # numbers that differ by no more of their size are the same
_SMOOTH = {torch.float64: 1e-2, torch.float32: 5e-2}  # so much may the slopes on the two sides of a point differ
_FLAT = {
    torch.float64: 1e-6,
    torch.float32: 1e-3,
}  # a gradient that moves by less of its size is constant up to rounding

_NONE = "There are no Hessian-vector products of this module: "
_KINKS = "differences of its gradient cross kinks or jumps however short their steps are"


class Way(Enum):
    """How Hessian-vector products are computed."""

    DOUBLE_BACKWARD = "double backward"
    DIFFERENCES = "differences of gradients"
    NONE = "none"


class Finding(NamedTuple):
    way: Way
    note: str = ""  # for the user; empty where all is as it should be
    graph: int = 0  # numbers that autograd keeps for products by double backward


class _Slope(NamedTuple):
    """A difference quotient of a loss () or gradient (dim,), over the step whose two sides agree best."""

    value: Tensor
    gap: float  # between the slopes of the two sides
    scale: float  # what counts as large

    @property
    def smooth(self) -> bool:
        return self.gap <= _SMOOTH[self.value.dtype] * self.scale

    @property
    def exact(self) -> bool:
        return self.gap <= _CLOSE[self.value.dtype] * self.scale

    def error(self, claimed: Tensor) -> float:
        """By how much of its size what autograd claims is off; 0 where this difference cannot tell."""
        apart, scale = float((self.value - claimed).norm()), max(self.scale, float(claimed.norm()))
        if not self.smooth or apart <= max(_CLOSE[self.value.dtype] * scale, 2 * self.gap):
            return 0.0
        return apart / scale if apart < torch.inf else torch.inf  # what is claimed may be no number


class _Twice:
    """Double backward of a loss at zero, and what is wrong with it."""

    def __init__(self, loss: Loss, zero: Tensor, least: float):
        self._least = least  # smaller products are rounding
        self._directions = [_normal(zero, seed) for seed in (1, 2)]
        self.graph = 0
        try:
            with derivatives.counting_saved() as saved:
                self._operator = derivatives.hessian_operator(loss, zero)
            self.graph = saved.numbers
            self.product = self._operator(self.direction)
            self.failure = ""
        except Exception as failure:  # whatever a user's code raises
            self.failure = line(failure)

    @property
    def direction(self) -> Tensor:
        return self._directions[0]

    @cached_property
    def _other(self) -> Tensor:
        return self._operator(self._directions[1])

    @cached_property
    def _asymmetry(self) -> float:
        """|u'Hv - v'Hu| over the size of the products."""
        apart = float((self._directions[1] @ self.product - self.direction @ self._other).abs())
        return apart / max(self._least, float(self.product.norm()), float(self._other.norm())) if apart else 0.0

    @property
    def symmetric(self) -> bool:
        """Are products those of some Hessian, and not zero because nothing was kept to differentiate again?"""
        return not self.failure and self._asymmetry <= _CLOSE[self.product.dtype] and bool(self.product.any())

    @property
    def fault(self) -> str:
        if self.failure:
            return f"the module cannot be differentiated twice ({self.failure.rstrip('.')})"
        if not bool(self.product.any()):
            return "the module cannot be differentiated twice: a backward pass in it takes all that it depends on as constant"
        symmetry = "" if self.symmetric else f" (it is not symmetric, by {_percent(self._asymmetry)})"
        return (
            f"double backward of the module is wrong{symmetry}: a backward pass in it cannot be differentiated again, or leaves "
            "out something that it depends on"
        )


def examine(loss: Loss, point: Tensor, layout: Layout, rough: bool = False) -> Finding:
    """How second derivatives of a loss (dim,) -> () near a point (dim,) are to be had, if at all.

    A `rough` loss computes in half precision, in which differences mean nothing: double backward is all there is.
    """
    if rough:
        twice = _Twice(loss, point, 0)
        return Finding(
            Way.NONE if twice.failure else Way.DOUBLE_BACKWARD,
            f"{_NONE}{twice.fault}, and differences of its gradient are no more than rounding."
            if twice.failure
            else "",
            twice.graph,
        )
    named = layout.unpack(point)
    sizes = layout.pack({name: _size(one).expand_as(one) for name, one in named.items()})
    for origin in (point + _AWAY * sizes * _normal(point, 0), point):
        moved = partial(_moved, loss, origin, sizes)
        value, grad = derivatives.value_and_grad(moved, torch.zeros_like(point))
        if bool(torch.isfinite(value) & torch.isfinite(grad).all()):
            return _judged(moved, value, grad)
    return Finding(
        Way.DOUBLE_BACKWARD,
        "Second derivatives could not be checked, because the loss or its gradient is no finite number at the module's own "
        "parameters.",
    )


def _moved(loss: Loss, origin: Tensor, sizes: Tensor, moves: Tensor) -> Tensor:
    return loss(origin + sizes * moves)


def _judged(loss: Loss, value: Tensor, grad: Tensor) -> Finding:
    """Of a loss of moves from a generic point in units of what is moved, with its value and gradient there."""
    twice = _Twice(loss, torch.zeros_like(grad), _FLAT[grad.dtype] * float(grad.norm()))
    of_loss, of_grad = _slopes(loss, value, grad, twice.direction)
    off = of_loss.error(grad @ twice.direction)
    if off:
        return _of_a_false_gradient(off, twice)
    if of_grad.smooth and not twice.failure and not of_grad.error(twice.product):
        return Finding(Way.DOUBLE_BACKWARD, graph=twice.graph)
    if of_grad.smooth and of_loss.smooth:
        return Finding(
            Way.DIFFERENCES, f"Hessian-vector products are central differences of gradients, because {twice.fault}."
        )
    if twice.symmetric:
        return Finding(
            Way.DOUBLE_BACKWARD,
            f"Hessian-vector products could be checked for symmetry only, because {_KINKS}.",
            twice.graph,
        )
    return Finding(Way.NONE, f"{_NONE}{twice.fault}, and {_KINKS}.")


def _of_a_false_gradient(off: float, twice: _Twice) -> Finding:
    said = f"the module's gradient is not that of its loss, but off by {_percent(off)}"
    if twice.symmetric:
        return Finding(
            Way.DOUBLE_BACKWARD,
            f"Hessian-vector products are of the surrogate that is trained, not of the loss: {said}, as where values are "
            "rounded with a straight-through gradient or gradients are stopped.",
            twice.graph,
        )
    return Finding(
        Way.NONE,
        f"{_NONE}{said}, and {twice.fault}. Look for parts that are computed again with other parameters, for hooks that "
        "change gradients, and for backward passes written by hand.",
    )


def _slopes(loss: Loss, value: Tensor, grad: Tensor, direction: Tensor) -> tuple[_Slope, _Slope]:
    """Those of the loss and of its gradient along a direction."""
    size = float(grad.norm())
    best: list[_Slope] = []
    for reach in _REACHES[grad.dtype]:
        step = reach * direction
        ahead, behind = (derivatives.value_and_grad(loss, move) for move in (step, -step))
        found = [
            _slope(ahead[0], value, behind[0], reach, size),
            _slope(ahead[1], grad, behind[1], reach, _FLAT[grad.dtype] * size),
        ]
        best = [min(pair, key=_roughness) for pair in zip(best, found, strict=True)] if best else found
        if all(one.exact for one in best):
            break
    return best[0], best[1]


def _slope(ahead: Tensor, here: Tensor, behind: Tensor, reach: float, least: float) -> _Slope:
    value = (ahead - behind) / (2 * reach)
    return _Slope(value, float((ahead - 2 * here + behind).norm()) / reach, max(float(value.norm()), least))


def _roughness(slope: _Slope) -> float:
    rough = slope.gap / slope.scale if slope.scale > 0 else slope.gap
    return rough if rough < torch.inf else torch.inf  # where a step led to what is no number, too


def _normal(like: Tensor, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(like.shape, generator=generator, dtype=torch.float64).to(like)


def _size(tensor: Tensor) -> Tensor:
    """The root mean square () of a tensor, by which its numbers may be moved."""
    size = tensor.square().mean().sqrt()
    return torch.where(size > 0, size, _LEAST)


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"
