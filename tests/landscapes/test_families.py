"""Every eigenvalue method against the dense Hessian, on every family of models there is, at no more than 2,000 parameters."""

from functools import cache

import pytest
import torch

from landscapes import LANDSCAPES, MLP, Supervised, Surface, eigenpairs, settings, top_eigenpairs
from landscapes.landscape import Differentiated
from landscapes.networks import products
from landscapes.networks.layers import ACTIVATIONS
from landscapes.spectrum import frobenius, quadrature, trace

# What makes a family small, by the names of settings.
SMALL = {
    "hidden": (6, 5),
    "width": 6,
    "blocks": 1,
    "channels": (2, 3),
    "subset": 20,
    "levels": 4,
    "head": 4,
    "heads": 2,
}


def small(kind):
    values = {}
    for name, value in SMALL.items():
        one = settings(kind).get(name)
        if one is not None:
            values[name] = max(value) if isinstance(one.default, int) and isinstance(value, tuple) else value
    land = kind(**values)
    assert land.dim <= 2000, "give the family a smaller setting above"
    return land


FAMILIES = {name: small(kind) for name, kind in LANDSCAPES.items() if not issubclass(kind, Surface)}
every_family = pytest.mark.parametrize("land", FAMILIES.values(), ids=FAMILIES)
TOLERANCE = 1e-6


def place(land):
    """(2, dim), where nothing is special."""
    noise = torch.randn(2, land.dim, generator=torch.Generator().manual_seed(4), dtype=torch.float64)
    return land.start(2) + 0.1 * noise


def dense(land, params):
    """The Hessian by products of automatic differentiation with the unit vectors, whatever route the landscape takes."""
    autograd = Differentiated._hessian_operator(land, params.expand(land.dim, -1).contiguous(), None)
    return autograd(torch.eye(land.dim, dtype=params.dtype))


@cache
def true_eigenvalues(land):
    """(2, dim), rising, at the place of a landscape."""
    return torch.stack([torch.linalg.eigvalsh(dense(land, w)) for w in place(land)])


@every_family
def test_eigenvalues_are_those_of_the_dense_hessian(land):
    params, true = place(land), true_eigenvalues(land)
    scale = true.abs().amax(-1, keepdim=True)
    top = top_eigenpairs(land, params, 3, TOLERANCE)
    assert ((top.values - true.flip(-1)[:, :3]).abs() <= TOLERANCE * scale).all()
    assert (top.residuals <= TOLERANCE * scale * (1 + 1e-6)).all()
    hessian = land.hessian_operator(params)
    low = -eigenpairs(lambda v: -hessian(v), params, 1, TOLERANCE).values
    assert ((low - true[:, :1]).abs() <= TOLERANCE * scale).all()
    nodes, _ = quadrature(hessian, params, steps=min(land.dim, 60), draws=1)
    assert ((nodes >= true[:, :1] - 1e-9 * scale) & (nodes <= true[:, -1:] + 1e-9 * scale)).all()


@every_family
def test_random_estimates_are_right_within_their_standard_errors(land):
    params, true = place(land), true_eigenvalues(land)
    hessian = land.hessian_operator(params)
    for estimate, expected in (
        (trace(hessian, params, 60), true.sum(-1)),
        (frobenius(hessian, params, 60), true.norm(dim=-1)),
    ):
        # Five standard errors, and rounding where the estimate is exact.
        assert ((estimate.value - expected).abs() <= 5 * estimate.error + 1e-9 * true.abs().sum(-1)).all()
        assert (estimate.error < 0.5 * expected.abs() + 0.1 * true.abs().sum(-1)).all()


@pytest.mark.parametrize(
    "land",
    [
        MLP(data="chebyshev", hidden=(5, 4), objective="squared"),
        MLP(hidden=(4,), subset=40, weight_decay=0.1),
        MLP(hidden=(), subset=40),
    ],
    ids=["squared", "cross-entropy", "linear"],
)
def test_gauss_newton_and_jacobian_products_are_those_of_the_dense_matrices(land):
    params = place(land)
    inputs, targets = land.training_set(params)
    vectors = torch.randn(2, land.dim, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    ours, jacobian = land.gauss_newton_operator(params)(vectors), land.jacobian(params)
    for index, w in enumerate(params):
        full = torch.autograd.functional.jacobian(lambda p: land.outputs(p, inputs), w).flatten(0, 1)  # (n c, dim)
        outputs = land.outputs(w, inputs)
        curved = torch.zeros(len(full), len(full), dtype=torch.float64)
        for sample, row in enumerate(outputs):
            own = torch.eye(len(row), dtype=torch.float64)
            if land.objective == "cross_entropy":
                share = row.softmax(-1)
                own = torch.diag(share) - torch.outer(share, share)
            block = slice(sample * len(row), (sample + 1) * len(row))
            curved[block, block] = own / len(outputs)
        expected = full.T @ curved @ full @ vectors[index] + land.weight_decay * vectors[index]
        torch.testing.assert_close(ours[index], expected)
        torch.testing.assert_close(jacobian.push(vectors)[index].flatten(), full @ vectors[index])
        torch.testing.assert_close(jacobian.pull(jacobian.outputs)[index], full.T @ outputs.flatten())


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("objective", ["cross_entropy", "squared"])
def test_the_hand_written_products_are_those_of_automatic_differentiation(activation, objective):
    land = MLP(hidden=(5, 4), activation=activation, objective=objective, weight_decay=0.1, subset=30)
    for lead in ((), (3,), (2, 2)):
        generator = torch.Generator().manual_seed(6)
        params = land.start()[0] + 0.3 * torch.randn(*lead, land.dim, generator=generator, dtype=torch.float64)
        vectors = torch.randn(*lead, land.dim, generator=generator, dtype=torch.float64)
        for batch in (None, torch.tensor([3, 3, 7]), torch.randint(30, (*lead, 5), generator=generator)):
            own = *land.value_and_grad(params, batch), land.hvp(params, vectors, batch)
            plain = (
                *Differentiated._value_and_grad(land, params, batch),
                Differentiated._hessian_operator(land, params, batch)(vectors),
            )
            torch.testing.assert_close(own, plain, rtol=1e-11, atol=1e-13)
        written, plain = land.jacobian(params), Supervised.jacobian(land, params)
        torch.testing.assert_close(written.push(vectors), plain.push(vectors))
        torch.testing.assert_close(written.pull(plain.outputs), plain.pull(plain.outputs))


@pytest.mark.parametrize("gain", [1.0, 0.01])  # tanh is evaluated in another way where signals are small
@pytest.mark.parametrize("runs", [1, 2])
def test_digits_in_blocks_of_samples_are_those_of_automatic_differentiation(gain, runs, monkeypatch):
    monkeypatch.setattr(products, "_BLOCK_BYTES", 0)  # 300 samples each: narrow layers would be of one block
    land = MLP(hidden=(5, 4), gain=gain)
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 2e-5)):  # sums over 1,797 samples
        params = land.start(runs, dtype=dtype)
        vectors = torch.randn(params.shape, generator=torch.Generator().manual_seed(6), dtype=dtype)
        exact = params.double()
        plain = *Differentiated._value_and_grad(land, exact, None), *hvp_and_jacobian(land, exact, vectors.double())
        own = (
            *land.value_and_grad(params),
            land.hvp(params, vectors),
            land.jacobian(params).push(vectors),
            land.jacobian(params).pull(land.jacobian(params).outputs),
        )
        for ours, true in zip(own, plain, strict=True):
            assert (ours - true).norm() <= tolerance * true.norm()


def hvp_and_jacobian(land, params, vectors):
    """H v, J v and J' z by automatic differentiation, with the outputs z."""
    outputs, push, pull = Supervised.jacobian(land, params)
    return Differentiated._hessian_operator(land, params, None)(vectors), push(vectors), pull(outputs)


def test_runs_that_do_not_fit_the_cache_together_are_solved_one_by_one():
    land = MLP(hidden=(8,))  # all digits: a chunk of one or two
    params = place(land).float()
    assert land.chunk(params.double()) * land.dim < params.expand(3, 2, -1).numel()
    several = params.double().expand(3, 2, -1)
    pairs = top_eigenpairs(land, several, 2, 1e-3)
    assert pairs.values.shape == (3, 2, 2)
    again = top_eigenpairs(land, several, 2, 1e-3, start=pairs.vectors)
    torch.testing.assert_close(again.values, pairs.values, rtol=1e-5, atol=1e-5)
    assert again.products < pairs.products
    for index in range(2):
        torch.testing.assert_close(pairs.values[1, index], top_eigenpairs(land, several[0, index], 2, 1e-3).values)
