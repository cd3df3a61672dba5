"""Closed-form surfaces, every kind in the registry: the declared facts, derivatives against autograd, textbook values."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from landscapes import LANDSCAPES, Formula, Surface
from landscapes.setting import Number, settings
from tests.latex import evaluate

F64, F32 = torch.float64, torch.float32
KINDS = [kind for kind in LANDSCAPES.values() if issubclass(kind, Surface)]


def varied(kind):
    """The kind with every number moved to the middle of its range."""
    values = {}
    for name, one in settings(kind).items():
        if isinstance(one, Number):
            values[name] = math.sqrt(one.low * one.high) if one.log else one.low + 0.6 * (one.high - one.low)
    return kind(**values)


LANDS = [kind() for kind in KINDS] + [varied(kind) for kind in KINDS if varied(kind) != kind()]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
every_land = pytest.mark.parametrize(
    "land", LANDS, ids=lambda land: land.name + ("" if land == type(land)() else "-varied")
)


def points(land, *shape, dtype=F64, seed=3):
    return land.start(math.prod(shape) + 1, seed, dtype=dtype)[1:].reshape(*shape, 2)


def autograd(land, params):
    """Loss, gradient and the product of the Hessian with (1, 2), all by autograd."""
    params = params.clone().requires_grad_(True)
    loss = land.loss(params)
    (grad,) = torch.autograd.grad(loss.sum(), params, create_graph=True)
    (product,) = torch.autograd.grad(
        grad @ torch.tensor([1.0, 2.0], dtype=params.dtype) @ torch.ones(len(grad), dtype=params.dtype), params
    )
    return loss.detach(), grad.detach(), product


def hessian(land, params):
    return land.hvp(params[..., None, :], torch.eye(2, dtype=params.dtype))


def test_there_are_surfaces_with_and_without_settings():
    assert len(KINDS) >= 13
    assert len(LANDS) > len(KINDS)


@every_land
@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("batch", [(), (2,), (2, 3), (0,)])
def test_shapes_and_dtype_are_kept(land, dtype, batch):
    params = points(land, *batch, dtype=dtype)
    loss, grad = land.value_and_grad(params)
    product = land.hvp(params, params)
    assert land.loss(params).shape == loss.shape == batch
    assert grad.shape == product.shape == land.grad(params).shape == (*batch, 2)
    assert {one.dtype for one in (land.loss(params), loss, grad, product)} == {dtype}
    assert land.dim == land.layout.dim == 2


@every_land
def test_a_batch_equals_its_rows_one_by_one(land):
    params = points(land, 2, 3)
    direction = torch.tensor([0.3, -1.1], dtype=F64)
    loss, grad = land.value_and_grad(params)
    product = land.hvp(params, direction)
    for index in np.ndindex(2, 3):
        one = params[index]
        # Vectorised and scalar code of sin, exp and the like may differ in the last bits.
        torch.testing.assert_close(land.loss(one), loss[index], rtol=1e-13, atol=1e-13)
        torch.testing.assert_close(land.grad(one), grad[index], rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(land.hvp(one, direction), product[index], rtol=1e-12, atol=1e-12)


@every_land
def test_gradient_and_hvp_equal_autograd(land):
    params = points(land, 200)
    loss, grad, product = autograd(land, params)
    ours_loss, ours_grad = land.value_and_grad(params)
    for ours, theirs in (
        (ours_loss, loss),
        (land.loss(params), loss),
        (ours_grad, grad),
        (land.hvp(params, torch.tensor([1.0, 2.0], dtype=F64)), product),
        (land.hessian_operator(params)(torch.tensor([1.0, 2.0], dtype=F64).expand(200, 2)), product),
    ):
        # Sums of terms up to the largest entry, in another order: 1e-13 of that.
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-13 * float(theirs.abs().max()))


@every_land
def test_gradcheck(land):
    params = points(land, 5).requires_grad_(True)
    assert torch.autograd.gradcheck(land.loss, (params,), rtol=1e-3)
    scale = float(land.grad(params.detach()).abs().max())
    step = 1e-5 * torch.eye(2, dtype=F64)
    at = params.detach()[:, None]
    slopes = (land.loss(at + step) - land.loss(at - step)) / 2e-5
    torch.testing.assert_close(land.grad(params.detach()), slopes, rtol=1e-6, atol=1e-6 * (1 + scale))
    bends = (land.grad(at + step) - land.grad(at - step)) / 2e-5
    torch.testing.assert_close(
        hessian(land, params.detach()), bends, rtol=1e-5, atol=1e-6 * (1 + float(bends.abs().max()))
    )


@every_land
def test_hessians_are_symmetric(land):
    matrices = hessian(land, points(land, 50))
    torch.testing.assert_close(matrices, matrices.mT, rtol=0, atol=0)


def with_minimizers():
    return [land for land in LANDS if land.minimizers() is not None]


def test_only_known_surfaces_declare_no_minimizers():
    without = {land.name for land in LANDS if land.minimizers() is None}
    assert without == {"saddle", "monkey_saddle", "associative_memory", "formula"}


@pytest.mark.parametrize("land", with_minimizers(), ids=lambda land: land.name)
def test_declared_minimizers_are_minimizers(land):
    found = land.minimizers()
    assert found.dtype == F64
    assert found.ndim == found.shape[-1] == 2
    loss, grad = land.value_and_grad(found)
    # The minimizers are given to 16 digits, so a gradient may be curvature times 1e-15. Ackley has a kink at its
    # minimizer: there the gradient is the subgradient 0.
    assert float(grad.abs().max()) <= 1e-11
    torch.testing.assert_close(loss, loss.min().expand_as(loss), rtol=1e-12, atol=1e-12)
    for candidates in (
        points(land, 2000),
        (found[:, None] + 1e-3 * torch.randn(200, 2, dtype=F64, generator=torch.Generator().manual_seed(0))).reshape(
            -1, 2
        ),
    ):
        assert float(loss.max()) <= float(land.loss(candidates).min()) + 1e-12
    (left, right), (low, high) = land.window
    assert bool(((found[:, 0] >= left) & (found[:, 0] <= right) & (found[:, 1] >= low) & (found[:, 1] <= high)).all())


@every_land
def test_the_window_holds_the_origin(land):
    (left, right), (low, high) = land.window
    x, y = land.origin
    assert left < x < right
    assert low < y < high
    assert float(land.grad(torch.tensor(land.origin, dtype=F64)).norm()) > 1e-3  # a run from here moves


@every_land
def test_starts(land):
    start = land.start(runs=200, seed=5)
    assert start.shape == (200, 2)
    assert start.dtype == F64
    assert tuple(start[0].tolist()) == land.origin
    low, high = torch.tensor(land.window, dtype=F64).T
    assert bool(((start >= low) & (start <= high)).all())
    assert bool((start[1:].std(0) > 0.2 * (high - low)).all())  # uniform: 0.289
    assert torch.equal(start, land.start(runs=200, seed=5))
    assert torch.equal(start[:7], land.start(runs=7, seed=5))
    assert not torch.equal(start[1:], land.start(runs=200, seed=6)[1:])
    assert torch.equal(start.float(), land.start(runs=200, seed=5, dtype=F32))
    assert torch.equal(land.start(), torch.tensor([land.origin], dtype=F64))
    assert land.start(runs=0).shape == (0, 2)


def test_starts_refuse_bad_input():
    land = LANDSCAPES["booth"]()
    for bad in ({"runs": -1}, {"seed": 2**70}, {"runs": 2**70}):
        with pytest.raises(ValueError, match=f"{next(iter(bad))} must be a whole number from"):
            land.start(**bad)
    for bad in ({"runs": 1.0}, {"runs": True}, {"runs": "1"}, {"seed": 0.5}, {"seed": None}):
        with pytest.raises(TypeError, match=f"{next(iter(bad))} must be a whole number"):
            land.start(**bad)
    for dtype in (torch.int64, None, "float64"):
        with pytest.raises(TypeError, match="dtype must be a floating-point dtype"):
            land.start(dtype=dtype)


@every_land
@pytest.mark.parametrize("dtype", [F32, F64])
def test_extreme_values_overflow_without_exceptions(land, dtype):
    sizes = [1e200, -1e200, 1e30, 1e-30, 1e-320, math.inf, -math.inf, math.nan, 0.0]
    params = torch.tensor([(x, y) for x in sizes for y in sizes], dtype=F64).to(dtype)
    params = torch.cat([params, points(land, 1, dtype=dtype)])
    loss, grad = land.value_and_grad(params)
    product = land.hvp(params, torch.ones_like(params))
    assert loss.shape == (82,)
    assert grad.shape == product.shape == (82, 2)
    assert bool(loss[params.isnan().any(-1)].isnan().all())  # NaN is shown, not replaced
    alone = land.value_and_grad(params[-1])
    assert bool(loss[-1].isfinite())
    torch.testing.assert_close(loss[-1], alone[0])
    torch.testing.assert_close(grad[-1], alone[1])


@every_kind
def test_settings_out_of_range_are_refused_with_a_sentence(kind):
    for name, one in settings(kind).items():
        if isinstance(one, Number):
            for bad in (one.high * 2, one.low - 1, math.nan, math.inf):
                with pytest.raises(ValueError, match=f"^{name} = .* is not allowed: it must be .*[.]$"):
                    kind(**{name: bad})
            with pytest.raises(TypeError, match=f"{name} of {kind.name} is a tensor"):
                kind(**{name: torch.tensor([[1.0]])})
        with pytest.raises(TypeError, match=f"^{name} = .* is not allowed: it must be .*[.]$"):
            kind(**{name: None})
    with pytest.raises(TypeError, match=f"{kind.name} has no setting 'nonsense'; its settings are: .*[.]$"):
        kind(nonsense=1)


@every_kind
def test_declared_facts_are_there(kind):
    assert kind.label
    assert kind.reference
    assert kind.reads.endswith((".", "?"))
    assert LANDSCAPES[kind.name] is kind
    assert kind() == kind()
    assert hash(kind()) == hash(kind())
    for one in settings(kind).values():
        assert one.help.endswith(".")
        assert one.symbol or not isinstance(one, Number)
    with pytest.raises(dataclasses.FrozenInstanceError):
        kind().name = "other"


@every_land
def test_the_equation_on_the_screen_is_the_loss(land):
    symbols = {one.symbol: getattr(land, name) for name, one in settings(land).items() if isinstance(one, Number)}
    for x, y in points(land, 6).tolist():
        shown = float(evaluate(land.equation, symbols | {"x": x, "y": y}))
        assert shown == pytest.approx(float(land.loss(torch.tensor([x, y], dtype=F64))), rel=1e-9, abs=1e-9)


# The textbook formulas, from Jamil and Yang 2013 (arXiv:1308.4008) and the papers the classes cite, written anew for
# vectors where the books do so.
REFERENCES = {
    "rosenbrock": lambda p, a, b: (a - p[0]) ** 2 + b * (p[1] - p[0] ** 2) ** 2,
    "quadratic": lambda p, kappa, angle: 0.5 * np.einsum("in,ij,jn->n", p, turned(kappa, angle), p),
    "beale": lambda p: sum((c - p[0] * (1 - p[1] ** i)) ** 2 for i, c in ((1, 1.5), (2, 2.25), (3, 2.625))),
    "himmelblau": lambda p: (p[0] ** 2 + p[1] - 11) ** 2 + (p[0] + p[1] ** 2 - 7) ** 2,
    "rastrigin": lambda p, A: len(p) * A + np.sum(p**2 - A * np.cos(2 * np.pi * p), axis=0),
    "ackley": lambda p: (
        -20 * np.exp(-0.2 * np.sqrt(np.mean(p**2, axis=0))) - np.exp(np.mean(np.cos(2 * np.pi * p), axis=0)) + 20 + np.e
    ),
    "styblinski_tang": lambda p: 0.5 * np.sum(p**4 - 16 * p**2 + 5 * p, axis=0),
    "saddle": lambda p: np.real((p[0] + 1j * p[1]) ** 2),
    "monkey_saddle": lambda p: np.real((p[0] + 1j * p[1]) ** 3),
    "three_hump_camel": lambda p: 2 * p[0] ** 2 - 1.05 * p[0] ** 4 + p[0] ** 6 / 6 + p[0] * p[1] + p[1] ** 2,
    "booth": lambda p: (p[0] + 2 * p[1] - 7) ** 2 + (2 * p[0] + p[1] - 5) ** 2,
    "stability_valley": lambda p: 0.5 * (1 - np.prod(p, axis=0)) ** 2,
    "catapult": lambda p: 0.5 * np.prod(p, axis=0) ** 2,
    "log_cosh_valley": lambda p: np.logaddexp(np.prod(p, axis=0), -np.prod(p, axis=0)) - np.log(2),
    "associative_memory": lambda p, share, overlap: (
        share * np.logaddexp(0, -p[0]) + (1 - share) * np.logaddexp(0, np.array([overlap, np.sqrt(1 - overlap**2)]) @ p)
    ),
    "formula": lambda p, expression, window: np.sin(3 * p[0]) * np.cos(3 * p[1]) + np.sum(p**2, axis=0),
}


def turned(kappa, angle):
    axis = np.array([np.cos(angle), np.sin(angle)])  # the gentle direction
    return kappa * np.eye(2) + (1 - kappa) * np.outer(axis, axis)


def test_every_surface_has_a_reference():
    assert set(REFERENCES) == {kind.name for kind in KINDS}


@every_land
def test_values_agree_with_the_textbook(land):
    params = points(land, 500)
    expected = REFERENCES[land.name](params.numpy().T, **land.values())
    np.testing.assert_allclose(land.loss(params).numpy(), expected, rtol=1e-12, atol=1e-14 * np.abs(expected).max())


# Minima from Jamil and Yang 2013, to the digits printed there.
@pytest.mark.parametrize(
    ("name", "minimum"),
    [
        ("rosenbrock", 0.0),
        ("quadratic", 0.0),
        ("beale", 0.0),
        ("himmelblau", 0.0),
        ("rastrigin", 0.0),
        ("ackley", 0.0),
        ("styblinski_tang", -78.332331),
        ("three_hump_camel", 0.0),
        ("booth", 0.0),
        ("stability_valley", 0.0),
        ("catapult", 0.0),
        ("log_cosh_valley", 0.0),
    ],
)
def test_published_minima(name, minimum):
    land = LANDSCAPES[name]()
    assert land.loss(land.minimizers()).tolist() == pytest.approx([minimum] * len(land.minimizers()), abs=1e-6)


@given(kappa=st.floats(1.0, 1e4), angle=st.floats(-3.2, 3.2), x=st.floats(-2, 2), y=st.floats(-2, 2))
def test_the_quadratic_has_curvatures_one_and_kappa_at_any_angle(kappa, angle, x, y):
    land = LANDSCAPES["quadratic"](kappa=kappa, angle=angle)
    matrix = hessian(land, torch.tensor([x, y], dtype=F64))
    values, vectors = torch.linalg.eigh(matrix)
    np.testing.assert_allclose(values, [1.0, kappa], rtol=0, atol=1e-13 * kappa)
    gentle = torch.tensor([math.cos(angle), math.sin(angle)], dtype=F64)
    torch.testing.assert_close(matrix @ gentle, gentle, rtol=0, atol=1e-12 * kappa)


@given(st.floats(0.1, 4.0))
def test_sharpness_along_the_stability_valley(t):
    land = LANDSCAPES["stability_valley"]()
    at = torch.tensor([t, 1 / t], dtype=F64)
    np.testing.assert_allclose(torch.linalg.eigvalsh(hessian(land, at)), [0.0, t**2 + t**-2], rtol=1e-12, atol=1e-12)
    assert float(land.loss(at)) <= 1e-30
    assert float(land.grad(at).abs().max()) <= 1e-14


def test_booth_has_curvatures_two_and_eighteen():
    values = torch.linalg.eigvalsh(hessian(LANDSCAPES["booth"](), points(LANDSCAPES["booth"](), 10)))
    np.testing.assert_allclose(values, [[2.0, 18.0]] * 10, rtol=1e-13)


def test_the_monkey_saddle_vanishes_to_second_order():
    land, zero = LANDSCAPES["monkey_saddle"](), torch.zeros(2, dtype=F64)
    assert land.grad(zero).tolist() == [0.0, 0.0]
    assert hessian(land, zero).tolist() == [[0.0, 0.0], [0.0, 0.0]]
    assert torch.linalg.eigvalsh(hessian(LANDSCAPES["saddle"](), zero)).tolist() == [-2.0, 2.0]


def test_a_formula_keeps_its_window():
    land = Formula("x*y", window=((0, 10), (-1, 1)))
    assert land.window == ((0.0, 10.0), (-1.0, 1.0))
    assert land.origin == pytest.approx((2.2, 0.62))
    for window in (((1, 0), (0, 1)), ((0, 1),), ((0, 0), (0, 1)), ((0, 1), (0, math.inf)), ((0, 1), (0, 1e7))):
        with pytest.raises(ValueError, match="^window = .* interval low:high"):
            Formula("x", window=window)
