"""Architectures that people train, as landscapes: loss, gradient, Hessian products and both ends of the spectrum, against the
module itself called by torch's own hand, differences of its loss, and dense Hessians by differences of its gradient."""

import copy
import itertools
import warnings

import pytest
import torch
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from landscapes import from_module
from landscapes.curvature import eigenpairs
from landscapes.selfcheck import Way
from tests.landscapes.zoo import ZOO
from tests.sampling import sampled

SURROGATE = "of the surrogate that is trained, not of the loss"
CASES = [
    pytest.param(name, dtype, mode, id=f"{name}, {str(dtype)[6:]}, {mode}")
    for name, dtype in itertools.product(ZOO, (torch.float64, torch.float32))
    for mode in (("train", "eval") if "dropout" not in name else ("train",))  # off in use, where the seed is of no use
]


def specimen(name, mode):
    with torch.random.fork_rng():
        torch.manual_seed(5)
        found = ZOO[name]()
    found.module.train(mode == "train")
    return found


def landscape(found):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return from_module(found.module, found.loss, (found.inputs, found.targets), **found.options)


def as_torch_has_it(found):
    """The loss as a function of the parameters (dim,) in float64, without the code under test."""
    module = copy.deepcopy(found.plainly or found.module).double()
    for layer in module.modules():
        if isinstance(layer, torch.nn.modules.batchnorm._NormBase) and layer.training:
            layer.track_running_stats, layer.running_mean, layer.running_var = False, None, None
    names = {name: one for name, one in module.named_parameters() if one.requires_grad}
    held = {name: one.clone() for name, one in module.named_buffers()}
    sizes = [one.numel() for one in names.values()]
    inputs, targets = (one.double() if one.is_floating_point() else one for one in (found.inputs, found.targets))
    seed = found.options.get("dropout")
    if seed is None:
        for layer in module.modules():
            if isinstance(layer, torch.nn.Dropout):
                layer.eval()

    def loss(params):
        parts = {name: part.view_as(one) for (name, one), part in zip(names.items(), params.split(sizes), strict=True)}
        own = {name: one.clone() for name, one in held.items()}  # batch norm and spectral norm write into them
        with torch.random.fork_rng(), sdpa_kernel(SDPBackend.MATH):
            torch.manual_seed(seed or 0)
            return found.loss(functional_call(module, parts | own, (inputs,)), targets)

    return loss


def dense(loss, params, reach=1e-7):
    """The Hessian (dim, dim) by differences of gradients over steps too short to meet a kink; good to about 1e-8."""

    def grad(at):
        (found,) = torch.autograd.grad(loss(at), at, materialize_grads=True)
        return found

    moves = reach * torch.eye(len(params), dtype=params.dtype)
    ends = [(grad((params + move).requires_grad_(True)), grad((params - move).requires_grad_(True))) for move in moves]
    return torch.stack([(ahead - behind) / (2 * reach) for ahead, behind in ends])


def slope(loss, params, direction, reach=1e-6):
    with torch.no_grad():
        return (loss(params + reach * direction) - loss(params - reach * direction)) / (2 * reach)


def near(found, expected, tolerance):
    """By the size of what is expected: its small parts are differences of large ones."""
    return float((found.double() - expected).norm()) <= tolerance * (1e-3 + float(expected.norm()))


@pytest.mark.parametrize(("name", "dtype", "mode"), sampled(CASES, 8, seed=3))
def test_specimen(name, dtype, mode):
    found = specimen(name, mode)
    land = landscape(found)
    generator = torch.Generator().manual_seed(2)
    start = land.start()[0]
    params = start + 0.05 * torch.randn(start.shape, generator=generator, dtype=start.dtype)  # no kink, no zero there
    params = params.to(dtype)
    loss, exactly = as_torch_has_it(found), params.double()
    tolerance = 1e-6 if dtype == torch.float64 else 2e-3  # rounding, times the condition of what is computed
    assert near(land.loss(params), loss(exactly), tolerance)
    point = exactly.clone().requires_grad_(True)
    (grad,) = torch.autograd.grad(loss(point), point, materialize_grads=True)
    assert near(land.grad(params), grad, tolerance)

    said = land.model.curvature.note
    assert found.says in said
    assert bool(found.says) == bool(said) or SURROGATE in said  # spectral norm looks at its weights without a gradient
    if land.model.curvature.way is Way.NONE:
        with pytest.raises(ValueError, match="There are no Hessian-vector products"):
            land.hvp(params, params)
        return
    for direction in torch.randn(3, land.dim, generator=generator, dtype=torch.float64):
        if SURROGATE not in said:
            assert near(slope(loss, exactly, direction), grad @ direction, 1e-4)
    if found.twin is None and SURROGATE in said:  # a loss whose gradient has no such derivative
        right = torch.autograd.functional.hessian(loss, exactly)
    else:
        right = dense(found.twin or loss, found.at(exactly))
    assert near(right, right.T, 1e-6)
    vectors = torch.randn(2, land.dim, generator=generator, dtype=torch.float64)
    products = land.hvp(params.expand(2, -1), vectors.to(dtype))
    assert near(products, vectors @ right, tolerance)
    values = torch.linalg.eigvalsh(right)
    scale = float(values.abs().max())
    operator = land.hessian_operator(params)
    for sign, end in ((1, values[-1]), (-1, values[0])):
        pairs = eigenpairs(lambda v, sign=sign: sign * operator(v), params, tol=1e-4)
        assert abs(sign * float(pairs.values[0]) - float(end)) <= tolerance * scale
