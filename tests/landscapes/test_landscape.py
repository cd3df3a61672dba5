"""Layouts, the checks of the public methods, and automatic differentiation on functions with known derivatives."""

import math
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from landscapes import Formula, Layout, derivatives
from landscapes.landscape import Differentiated

shapes = st.lists(st.lists(st.integers(1, 4), max_size=3).map(tuple), min_size=1, max_size=5)
batches = st.lists(st.integers(0, 3), max_size=2).map(tuple)


def layout_of(shapes):
    return Layout.of([(f"t{i}", shape) for i, shape in enumerate(shapes)])


@given(shapes, batches)
def test_pack_is_the_inverse_of_unpack(shapes, batch):
    layout = layout_of(shapes)
    assert layout.dim == sum(map(math.prod, shapes))
    params = torch.arange(math.prod(batch) * layout.dim, dtype=torch.float64).reshape(*batch, layout.dim)
    tensors = layout.unpack(params)
    assert {name: tuple(tensor.shape) for name, tensor in tensors.items()} == {
        f"t{i}": batch + shape for i, shape in enumerate(shapes)
    }
    assert torch.equal(layout.pack(tensors), params)
    assert torch.equal(layout.pack({name: tensor.clone() for name, tensor in tensors.items()}), params)


@given(shapes)
def test_blocks_lie_in_row_major_order_without_gaps(shapes):
    layout = layout_of(shapes)
    expected = torch.cat([torch.full(shape, float(i)).flatten() for i, shape in enumerate(shapes)])
    assert torch.equal(layout.pack({f"t{i}": torch.full(shape, float(i)) for i, shape in enumerate(shapes)}), expected)
    stops = [block.stop for block in layout.blocks]
    assert [block.start for block in layout.blocks] == [0, *stops[:-1]]
    assert stops[-1] == layout.dim


@given(shapes, batches)
def test_unpacked_tensors_are_views(shapes, batch):
    layout = layout_of(shapes)
    params = torch.zeros(2, *batch, layout.dim).transpose(0, -2)  # strided too
    for tensor in layout.unpack(params).values():
        tensor.fill_(1.0)
    assert bool((params == 1.0).all())


def test_layout_refuses_what_does_not_fit():
    layout = layout_of([(2, 3), ()])
    good = {"t0": torch.zeros(5, 2, 3), "t1": torch.zeros(5)}
    assert layout.pack(good).shape == (5, 7)
    with pytest.raises(ValueError, match=r"t0 has shape \(5, 3, 2\): it must be \(..., 2, 3\)"):
        layout.pack(good | {"t0": torch.zeros(5, 3, 2)})  # as many numbers, in another order
    with pytest.raises(ValueError, match="'t1' is missing"):
        layout.pack({"t0": good["t0"]})


generator = torch.Generator().manual_seed(0)
SQUARE = torch.randn(5, 5, generator=generator, dtype=torch.float64)
SYMMETRIC = SQUARE + SQUARE.T
SLOPE = torch.randn(5, generator=generator, dtype=torch.float64)


def quadratic(params):
    return ((params @ SYMMETRIC) * params).sum(-1) / 2 + params @ SLOPE


def quartic(params):
    return (params**4).sum(-1)


def linear(params):
    return params @ SLOPE


def partly_linear(params):
    return params[..., 0] ** 2 + params[..., 1]


def constant(params):
    return torch.full(params.shape[:-1], 2.0, dtype=params.dtype)


CASES = {
    "quadratic": (quadratic, lambda p: p @ SYMMETRIC + SLOPE, lambda p, v: v @ SYMMETRIC),
    "quartic": (quartic, lambda p: 4 * p**3, lambda p, v: 12 * p**2 * v),
    "linear": (linear, lambda p: SLOPE.expand_as(p), lambda p, v: torch.zeros_like(v)),
    "partly_linear": (
        partly_linear,
        lambda p: torch.stack([2 * p[..., 0], torch.ones_like(p[..., 0])] + [torch.zeros_like(p[..., 0])] * 3, dim=-1),
        lambda p, v: v * torch.tensor([2.0, 0, 0, 0, 0], dtype=p.dtype),
    ),
    "constant": (constant, torch.zeros_like, lambda p, v: torch.zeros_like(v)),
}


@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 5), (0, 5)])
@pytest.mark.parametrize("name", CASES)
def test_derivatives_of_functions_that_have_known_ones(name, shape):
    loss, gradient, product = CASES[name]
    generator = torch.Generator().manual_seed(1)
    params = torch.randn(shape, generator=generator, dtype=torch.float64)
    vectors = [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(3)]
    with torch.no_grad():  # callers may well have switched it off
        value, grad = derivatives.value_and_grad(loss, params)
        operator = derivatives.hessian_operator(loss, params)
        products = [operator(v) for v in vectors]  # the graph serves more than once
    torch.testing.assert_close(value, loss(params), rtol=0, atol=0)
    torch.testing.assert_close(grad, gradient(params), rtol=1e-12, atol=1e-12)
    for v, hv in zip(vectors, products, strict=True):
        torch.testing.assert_close(hv, product(params, v), rtol=1e-12, atol=1e-12)
    assert not any(one.requires_grad for one in (value, grad, *products, params))


def test_a_run_that_is_not_finite_leaves_the_others_alone():
    params = torch.ones(3, 5, dtype=torch.float64)
    params[1] = float("nan")
    value, grad = derivatives.value_and_grad(quartic, params)
    product = derivatives.hessian_operator(quartic, params)(torch.ones_like(params))
    for one, expected in ((value, 5.0), (grad, 4.0), (product, 12.0)):
        assert bool((one[[0, 2]] == expected).all())
        assert bool(one[1].isnan().all())


@dataclass(frozen=True)
class Mean(Differentiated):
    """Mean over three samples of (params . sample)^2 / 2: its Hessian is the mean of the outer products."""

    name, label, reads, reference, equation = "mean", "Mean", "", "", "m"
    samples = 3
    layout = Layout.of([("point", (2,))])

    def start(self, runs=1, seed=0, *, dtype=torch.float64, device="cpu"):
        return torch.ones(runs, 2, dtype=dtype, device=device)

    def _loss(self, params, batch):
        rows = torch.tensor([[1.0, 0.0], [0.0, 2.0], [3.0, 3.0]], dtype=params.dtype)
        residuals = params @ rows.T
        if batch is not None:
            residuals = residuals.gather(-1, batch.expand(*params.shape[:-1], -1))
        return (residuals**2).mean(-1) / 2


def test_public_methods_of_a_differentiated_landscape():
    land = Mean()
    params = torch.tensor([[1.0, 2.0], [0.5, -1.0]], dtype=torch.float64)
    hessian = torch.tensor([[10.0, 9.0], [9.0, 13.0]], dtype=torch.float64) / 3
    torch.testing.assert_close(land.grad(params), params @ hessian)
    torch.testing.assert_close(land.loss(params), ((params @ hessian) * params).sum(-1) / 2)
    torch.testing.assert_close(land.hvp(params[0], torch.eye(2, dtype=torch.float64)), hessian)  # broadcast
    torch.testing.assert_close(land.hvp(params, torch.tensor([1.0, 0.0], dtype=torch.float64)), hessian[[0, 0]])
    torch.testing.assert_close(land.hessian_operator(params)(params), params @ hessian)
    one_sample = torch.tensor([1])
    torch.testing.assert_close(land.grad(params, one_sample), params * torch.tensor([0.0, 4.0], dtype=torch.float64))
    assert land.dim == 2


METHODS = {
    "loss": lambda land, params, batch=None: land.loss(params, batch),
    "grad": lambda land, params, batch=None: land.grad(params, batch),
    "value_and_grad": lambda land, params, batch=None: land.value_and_grad(params, batch),
    "hvp": lambda land, params, batch=None: land.hvp(params, torch.ones(2), batch),
    "hessian_operator": lambda land, params, batch=None: land.hessian_operator(params, batch),
}


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("land", [Mean(), Formula("x*y")], ids=lambda land: land.name)
def test_public_methods_refuse_bad_input(method, land):
    call = METHODS[method]
    for params in ([1.0, 2.0], None, torch.ones(2, dtype=torch.int64), torch.ones(2, dtype=torch.bool)):
        with pytest.raises(TypeError, match=r"params must be a floating-point tensor of shape \(..., 2\)"):
            call(land, params)
    for params in (torch.tensor(1.0), torch.ones(3), torch.ones(2, 1)):
        with pytest.raises(ValueError, match=rf"params has shape .*{land.name} needs \(..., 2\)"):
            call(land, params)
    if land.samples is None:
        with pytest.raises(ValueError, match="batch must be None"):
            call(land, torch.ones(2), torch.tensor([0]))
        return
    for batch in (torch.tensor([0.0]), torch.tensor(0), torch.tensor([True]), [0], torch.tensor([], dtype=torch.int64)):
        with pytest.raises(TypeError, match="batch must be a tensor of sample indices"):
            call(land, torch.ones(2), batch)
    for batch in (torch.tensor([0, 3]), torch.tensor([-1])):
        with pytest.raises(ValueError, match=r"outside 0 .. 2"):
            call(land, torch.ones(2), batch)


@pytest.mark.parametrize("land", [Mean(), Formula("x*y")], ids=lambda land: land.name)
def test_hvp_refuses_vectors_that_do_not_fit(land):
    for vectors in ([1.0, 2.0], torch.tensor(1.0), torch.ones(3)):
        with pytest.raises(ValueError, match=r"vectors must be a tensor of shape \(..., 2\)"):
            land.hvp(torch.ones(2), vectors)
    with pytest.raises(ValueError, match="must broadcast"):
        land.hvp(torch.ones(3, 2), torch.ones(4, 2))
    with pytest.raises(TypeError, match="one dtype"):
        land.hvp(torch.ones(2), torch.ones(2, dtype=torch.float64))
