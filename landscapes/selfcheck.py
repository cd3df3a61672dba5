"""Which second derivatives of a user's loss are to be believed?

Double backward may be missing (`once_differentiable`), or wrong without a word: a backward pass written by hand may leave
out what it depends on. Differences of gradients find that out, but mean nothing where they cross a kink of a rectifier or a
jump. So each is held against what the faults of the other cannot imitate, on a few samples and away from special points:

- the gradient against differences of the loss, which is continuous at kinks;
- double backward against differences of the gradient over shrinking steps, of which those count whose two sides agree: a step
  across a kink has another slope on its other side;
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

_ROUNDING = 4  # epsilons by which a loss or gradient may be off

_SURROGATE = "where values are rounded with a straight-through gradient or gradients are stopped"
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
    graph: int = 0  # numbers that autograd keeps for products by double backward; 0 where they could not be counted


class _Slope(NamedTuple):
    """A difference quotient of a loss () or gradient (dim,)."""

    value: Tensor
    gap: float  # between the slopes of the two sides, with what rounding may hide of it
    scale: float  # what counts as large

    @property
    def smooth(self) -> bool:
        return self.gap <= _SMOOTH[self.value.dtype] * self.scale

    def near(self, other: Tensor, gap: float = 0.0) -> bool:
        scale = max(self.scale, float(other.norm()))
        return self.apart(other) <= max(_CLOSE[other.dtype] * scale, 2 * (self.gap + gap))

    def apart(self, other: Tensor) -> float:
        return float((self.value - other).norm())

    @property
    def roughness(self) -> float:
        rough = self.gap / self.scale if self.scale > 0 else self.gap
        return rough if rough < torch.inf else torch.inf  # where a step led to what is no number, too


class _Slopes:
    """Difference quotients over steps of several lengths, and what autograd claims that they should be (None for nothing)."""

    def __init__(self, here: Tensor, claimed: Tensor | None, least: float):
        self._here, self._claimed, self._least = here, claimed, least
        self._smoothest: list[_Slope] = []
        self.agree = False  # does any confirm what is claimed?

    def add(self, ahead: Tensor, behind: Tensor, reach: float) -> None:
        value = (ahead - behind) / (2 * reach)
        gap = (ahead - 2 * self._here + behind).norm()
        gap = gap + _ROUNDING * torch.finfo(self._here.dtype).eps * self._here.norm()
        slope = _Slope(value, float(gap) / reach, max(float(value.norm()), self._least))
        self.agree = self.agree or (self._claimed is not None and slope.smooth and slope.near(self._claimed))
        self._smoothest = sorted([*self._smoothest, slope], key=lambda one: one.roughness)[:2]

    @property
    def value(self) -> Tensor:
        return self._smoothest[0].value

    @property
    def roughness(self) -> float:
        return self._smoothest[0].roughness

    @property
    def contradict(self) -> bool:
        """Do the two best agree with each other, and with what is claimed not?"""
        if self.agree:
            return False
        one, other = self._smoothest
        if not (one.smooth and other.smooth and one.near(other.value, other.gap)):
            return False
        return self._claimed is None or not one.apart(self._claimed) < 2 * one.apart(other.value)

    @property
    def off(self) -> float:
        """By how much of its size the claim is off."""
        assert self._claimed is not None
        apart = self._smoothest[0].apart(self._claimed)
        return apart / max(self._smoothest[0].scale, float(self._claimed.norm()))


class _Twice:
    """Double backward of a loss at zero, and what is wrong with it."""

    def __init__(self, loss: Loss, zero: Tensor, least: float):
        self._least = least  # smaller products are rounding
        self.direction, self.other = _normal(zero, 1), _normal(zero, 2)
        self.graph = 0
        try:
            try:
                with derivatives.counting_saved() as saved:
                    self._operator = derivatives.hessian_operator(loss, zero)
                self.graph = saved.numbers
            except RuntimeError:  # torch.func within the module does not allow that
                self._operator = derivatives.hessian_operator(loss, zero)
            self.product = self._operator(self.direction)
            self.failure = ""
        except Exception as failure:  # whatever a user's code raises
            self.failure = line(failure)

    @cached_property
    def _other_product(self) -> Tensor:
        return self._operator(self.other)

    def asymmetry(self, along: Tensor, other: Tensor) -> float:
        """|u'Hv - v'Hu| over the size of the products H v along the two directions."""
        apart = float((self.other @ along - self.direction @ other).abs())
        return apart / max(self._least, float(along.norm()), float(other.norm())) if apart else 0.0

    @property
    def _apart(self) -> float:
        return self.asymmetry(self.product, self._other_product)

    @property
    def symmetric(self) -> bool:
        """Are products those of some Hessian, and not zero because nothing was kept to differentiate again?"""
        return not self.failure and bool(self.product.any()) and self._apart <= _CLOSE[self.product.dtype]

    @property
    def fault(self) -> str:
        if self.failure:
            return f"the module cannot be differentiated twice ({self.failure.rstrip('.')})"
        if not bool(self.product.any()):
            return "the module cannot be differentiated twice: a backward pass in it takes all that it depends on as constant"
        symmetry = "" if self.symmetric else f" (it is not symmetric, by {_percent(self._apart)})"
        return (
            f"double backward of the module is wrong{symmetry}: a backward pass in it cannot be differentiated again, or leaves "
            "out something that it depends on"
        )


def examine(loss: Loss, point: Tensor, layout: Layout, rough: bool = False, cause: str = _SURROGATE) -> Finding:
    """How second derivatives of a loss (dim,) -> () near a point (dim,) are to be had, if at all.

    `cause` says where a gradient may be that of a surrogate. A `rough` loss computes in half precision, in which differences mean nothing: double backward is all there is.
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
            return _judged(moved, value, grad, cause)
    return Finding(
        Way.DOUBLE_BACKWARD,
        "Second derivatives could not be checked, because the loss or its gradient is no finite number at the module's own "
        "parameters.",
    )


def _moved(loss: Loss, origin: Tensor, sizes: Tensor, moves: Tensor) -> Tensor:
    return loss(origin + sizes * moves)


def _judged(loss: Loss, value: Tensor, grad: Tensor, cause: str) -> Finding:
    """Of a loss of moves from a generic point in units of what is moved, with its value and gradient there."""
    twice = _Twice(loss, torch.zeros_like(grad), _FLAT[grad.dtype] * float(grad.norm()))
    of_loss, of_grad = _slopes(loss, value, grad, twice.direction, None if twice.failure else twice.product)
    if of_loss.contradict:
        return _of_a_false_gradient(f"off by {_percent(of_loss.off)}", twice, cause)
    if of_grad.agree:
        return Finding(Way.DOUBLE_BACKWARD, graph=twice.graph)
    if of_grad.contradict and of_loss.agree:
        across = _slopes(loss, value, grad, twice.other, None)[1]
        apart, rough = twice.asymmetry(of_grad.value, across.value), of_grad.roughness + across.roughness
        if apart > max(_CLOSE[grad.dtype], 2 * rough) and twice.symmetric:
            return _of_a_false_gradient(f"differences of it are not symmetric, by {_percent(apart)}", twice, cause)
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


def _of_a_false_gradient(why: str, twice: _Twice, cause: str) -> Finding:
    said = f"the module's gradient is not that of its loss ({why})"
    if twice.symmetric:
        return Finding(
            Way.DOUBLE_BACKWARD,
            f"Hessian-vector products are of the surrogate that is trained, not of the loss: {said}, as {cause}.",
            twice.graph,
        )
    return Finding(
        Way.NONE,
        f"{_NONE}{said}, and {twice.fault}. Look for parts that are computed again with other parameters, for hooks that "
        "change gradients, and for backward passes written by hand.",
    )


def _slopes(
    loss: Loss, value: Tensor, grad: Tensor, direction: Tensor, product: Tensor | None
) -> tuple[_Slopes, _Slopes]:
    """Those of the loss and of its gradient along a direction, in which double backward gives a product."""
    size = float(grad.norm())
    of_loss = _Slopes(value, grad @ direction, size)
    of_grad = _Slopes(grad, product, _FLAT[grad.dtype] * size)
    for reach in _REACHES[grad.dtype]:
        step = reach * direction
        ahead, behind = (derivatives.value_and_grad(loss, move) for move in (step, -step))
        of_loss.add(ahead[0], behind[0], reach)
        of_grad.add(ahead[1], behind[1], reach)
        if of_loss.agree and of_grad.agree:
            break
    return of_loss, of_grad


def _normal(like: Tensor, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(like.shape, generator=generator, dtype=torch.float64).to(like)


def _size(tensor: Tensor) -> Tensor:
    """The root mean square () of a tensor, by which its numbers may be moved."""
    size = tensor.square().mean().sqrt()
    return torch.where(size > 0, size, _LEAST)


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"
