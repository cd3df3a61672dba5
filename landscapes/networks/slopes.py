"""The nonlinearities of a network with their first two derivatives, at as few passes over memory as they need."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

_SMALL = 0.1  # root mean square of pre-activations below which 2 sigmoid(2z) - 1 would round more than tanh


class Nonlinearity(NamedTuple):
    """a = value(z). Where slope and bend follow from a alone, `value` puts a in the memory of z."""

    value: Callable[[Tensor], Tensor]
    slope: Callable[[Tensor, Tensor], Tensor] | None  # (z, a) -> the first derivative; None for the constant 1
    bend: Callable[[Tensor, Tensor, Tensor], Tensor] | None  # (z, a, slope) -> the second one; None for the constant 0

    def suited(self, z: Tensor) -> Nonlinearity:
        """The same in the form that is best at pre-activations like these."""
        small = z.device.type != "cpu" or float(torch.linalg.vector_norm(z)) < _SMALL * math.sqrt(z.numel())
        return self._replace(value=_tanh_by_sigmoid) if self.value is torch.tanh_ and not small else self

    def pull(self, delta: Tensor, z: Tensor, a: Tensor) -> None:
        """delta times the slope, in place; a is given up."""
        if self.slope is _slope_of_tanh:
            delta.addcmul_(delta, a.square_(), value=-1)
        elif self.slope is not None:
            delta.mul_(self.slope(z, a))


def _tanh_by_sigmoid(z: Tensor) -> Tensor:
    """tanh z = 2 sigmoid(2z) - 1, which takes half the time."""
    return torch.add(z.new_tensor(-1.0), z.mul_(2).sigmoid_(), alpha=2, out=z)


def _slope_of_tanh(z: Tensor, a: Tensor) -> Tensor:
    return 1 - a * a


def _normal_density(z: Tensor) -> Tensor:
    return torch.exp(-z * z / 2) / math.sqrt(2 * math.pi)


NONLINEARITIES = {
    "tanh": Nonlinearity(torch.tanh_, _slope_of_tanh, lambda z, a, s: (a * s).mul_(-2)),
    "relu": Nonlinearity(torch.relu_, lambda z, a: (a > 0).to(a), None),
    "gelu": Nonlinearity(
        functional.gelu,
        lambda z, a: torch.special.ndtr(z) + z * _normal_density(z),
        lambda z, a, s: _normal_density(z) * (2 - z * z),
    ),
    "elu": Nonlinearity(functional.elu_, lambda z, a: a.clamp_max(0).add_(1), lambda z, a, s: s.masked_fill(a > 0, 0)),
    "softplus": Nonlinearity(
        functional.softplus,
        lambda z, a: torch.sigmoid(z).masked_fill_(z > 20, 1),  # linear there, as torch has it
        lambda z, a, s: s * (1 - s),
    ),
    "sigmoid": Nonlinearity(torch.sigmoid_, lambda z, a: a * (1 - a), lambda z, a, s: s * (1 - 2 * a)),
    "linear": Nonlinearity(lambda z: z, None, None),
}
