"""What rounding makes of a computation: the same one again, with the errors that another processor might have made.

Torch promises nothing about the order of a sum, and so of a matrix product: it changes with the processor, with the shape of
a batch, and with where its rows lie in memory. The same goes for the last bit of tanh and its kind, and for whether a product
and a sum are rounded once or twice. Equality to the bit is thus a matter of copies and of single roundings (+, -, *, /, the
square root), and elsewhere a tolerance is a multiple of the distance that such errors cause; `AnotherOrder` draws them.
"""

from __future__ import annotations

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

aten = torch.ops.aten
_PRODUCTS = {aten.mm, aten.bmm, aten.mv, aten.dot, aten.addmm, aten.baddbmm, aten.convolution}
_SUMS = {aten.sum, aten.mean, aten.linalg_vector_norm, aten.cumsum, aten.logsumexp, aten.var, aten.std}
_FUNCTIONS = {
    aten.tanh, aten.exp, aten.expm1, aten.log, aten.log1p, aten.log2, aten.log10, aten.sin, aten.cos, aten.erf, aten.pow,
    aten.sigmoid, aten.softplus, aten.gelu, aten.silu, aten.rsqrt, aten.atan2, aten.addcmul, aten.addcdiv, aten.lerp,
    aten.tanh_backward, aten.sigmoid_backward, aten.softplus_backward, aten.gelu_backward, aten.silu_backward,
    aten._softmax, aten._log_softmax,
}  # fmt: skip
_DECOMPOSITIONS = {aten._linalg_eigh, aten.linalg_qr, aten._linalg_svd}


class AnotherOrder(TorchDispatchMode):
    """Every sum, product of matrices and transcendental function is off by a random part of its bound on rounding errors,
    for one rounding; a decomposition is that of a matrix off by half as much of its largest entry. What is done in place is off by a
    part of its result."""

    def __init__(self, seed=0):
        super().__init__()
        self.generator = torch.Generator().manual_seed(seed)

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs, kind = kwargs or {}, function.overloadpacket
        if kind in _DECOMPOSITIONS:
            matrix = args[0]
            if kind is aten._linalg_eigh:  # reads one triangle
                matrix = (matrix + matrix.mT) / 2
            off = self.noise(matrix) * matrix.abs().amax((-2, -1), keepdim=True)
            return function(
                matrix + ((off + off.mT) / 4 if kind is aten._linalg_eigh else off / 2), *args[1:], **kwargs
            )
        result = function(*args, **kwargs)
        if not _floating(result):
            return result
        if function._schema.is_mutable:  # in place or into `out`
            named = getattr(aten, kind._qualified_op_name.partition("::")[2].rstrip("_"), None)
            known = named in _PRODUCTS | _SUMS | _FUNCTIONS
            return result.add_(result.abs() * self.noise(result)) if known else result
        if kind in _PRODUCTS | _SUMS:
            absolute = tree_map(lambda one: one.abs() if _floating(one) else one, (args, kwargs))
            return result + function(*absolute[0], **absolute[1]) * self.noise(result)
        return result + result.abs() * self.noise(result) if kind in _FUNCTIONS else result

    def noise(self, like):
        """From -eps to eps, in the shape and dtype of another tensor."""
        drawn = torch.rand(like.shape, generator=self.generator, dtype=like.dtype)
        return (2 * drawn - 1) * torch.finfo(like.dtype).eps


def _floating(one):
    return isinstance(one, torch.Tensor) and one.dtype.is_floating_point


def amplified(compute, draws=3):
    """The largest change of each number of `compute()`, a tensor, over some draws of such errors."""
    plain, worst = compute(), None
    for seed in range(draws):
        with AnotherOrder(seed):
            other = compute()
        apart = (other - plain).abs().nan_to_num(nan=0.0, posinf=torch.inf)
        worst = apart if worst is None else torch.maximum(worst, apart)
    return worst
