"""Theory models of more than two parameters: each against its formula written out in NumPy, derivatives against finite
differences, batches, data and starts. What they declare of themselves is checked in test_facts.py; surfaces in test_surfaces.py.
"""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from sklearn.svm import SVC

from landscapes import LANDSCAPES, settings
from landscapes.theory import THEORY
from landscapes.theory.classification import nearest_to_zero

F64, F32 = torch.float64, torch.float32
# Small ones, with every setting that changes the shape of something away from its default.
LANDS = {
    "scalar_network": {"depth": 5, "target": 2.0},
    "deep_linear": {"depth": 4, "width": 3, "rank": 2, "scale": 0.6},
    "matrix_factorization": {"rows": 3, "columns": 4, "rank": 2},
    "matrix_sensing": {"size": 4, "samples": 9, "rank": 2, "scale": 0.7},
    "diagonal_network": {"features": 6, "samples": 4, "nonzero": 3, "scale": 0.8},
    "quadratic_regression": {"outputs": 4, "parameters": 6},
    "opposing_signals": {"regular": 7, "pairs": 2, "scale": 0.9},
    "catapult_network": {"units": 5},
    "scale_invariant": {"features": 4, "samples": 6},
    "phase_retrieval": {"features": 4, "samples": 7, "scale": 1.0},
    "logistic": {"features": 3, "samples": 8},
    "linear_softmax": {"levels": 3, "features": 4, "constant": 2.0},
    "token_memory": {"tokens": 7, "embedding": 4, "labels": 3, "zipf": 1.3},
}
MODELS = [LANDSCAPES[name](**values) for name, values in LANDS.items()]
every_model = pytest.mark.parametrize("land", MODELS, ids=lambda land: land.name)
every_sum = pytest.mark.parametrize("land", [land for land in MODELS if land.samples], ids=lambda land: land.name)


def points(land, *shape, dtype=F64):
    noise = torch.randn(*shape, land.dim, generator=torch.Generator().manual_seed(2), dtype=F64)
    return (land.start(1, seed=3)[0] + 0.5 * noise).to(dtype)


def product(matrices):
    return matrices[0] if len(matrices) == 1 else product(matrices[:-2] + [matrices[-1] @ matrices[-2]])


def deep_linear(land, w):
    layers = [w[i : i + 9].reshape(3, 3) for i in range(0, 36, 9)]
    target = np.diag([2.0, 1.0, 0.0])
    return 0.5 * np.sum((layers[3] @ layers[2] @ layers[1] @ layers[0] - target) ** 2)


def matrix_factorization(land, w):
    u, v = w[:6].reshape(3, 2), w[6:].reshape(4, 2)
    target = np.zeros((3, 4))
    target[range(3), range(3)] = [2.0, 1.0, 0.5]
    return 0.5 * np.linalg.norm(u @ v.T - target) ** 2


def matrix_sensing(land, w):
    u, truth = w.reshape(4, 4), np.diag([1.0, 0.5, 0.0, 0.0])
    sensors = land.tensors(torch.zeros(0, dtype=F64))[0].numpy().reshape(9, 4, 4)
    assert np.array_equal(sensors, sensors.transpose(0, 2, 1))
    return np.mean([np.trace(a @ (u @ u.T - truth)) ** 2 for a in sensors]) / 4


def quadratic_regression(land, w):
    z, j, q = (one.numpy() for one in land.tensors(torch.zeros(0, dtype=F64)))
    return 0.5 * sum((z[a] + j[a] @ w + w @ q[a] @ w / 2) ** 2 for a in range(len(z)))


def rows(land):
    return zip(*(one.numpy() for one in land.tensors(torch.zeros(0, dtype=F64))), strict=True)


def linear_softmax(land, w):
    matrix = w.reshape(7, 5)
    terms = []
    for x, label in rows(land):
        scores = matrix @ x
        terms.append(np.log(np.sum(np.exp(scores - scores.max()))) + scores.max() - scores[label])
    return np.mean(terms)


def token_memory(land, w):
    """From the embeddings as they are drawn: outputs after inputs, each of unit length."""
    draw = torch.Generator().manual_seed(land.seed)
    drawn = [torch.randn(count, 4, generator=draw, dtype=F64).numpy() for count in (7, 3)]
    inputs, outputs = (noise / np.linalg.norm(noise, axis=1, keepdims=True) for noise in drawn)
    p = np.arange(1.0, 8.0) ** -1.3
    logits = np.array([[u @ w.reshape(4, 4) @ e for u in outputs] for e in inputs])
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return -np.sum(p / p.sum() * np.log(shares[range(7), np.arange(7) % 3]))


FORMULAS = {
    "scalar_network": lambda land, w: 0.5 * (np.prod(w) - 2.0) ** 2,
    "deep_linear": deep_linear,
    "matrix_factorization": matrix_factorization,
    "matrix_sensing": matrix_sensing,
    "diagonal_network": lambda land, w: np.mean([(w[:6] * w[6:] @ x - y) ** 2 / 2 for x, y in rows(land)]),
    "quadratic_regression": quadratic_regression,
    "opposing_signals": lambda land, w: np.mean([(w[5] * (w[:5] @ x) - y) ** 2 / 2 for x, y in rows(land)]),
    "catapult_network": lambda land, w: (w[:5] @ w[5:] / np.sqrt(5)) ** 2 / 2,
    "scale_invariant": lambda land, w: 1 - w[0] / np.linalg.norm(w),  # the noise cancels
    "phase_retrieval": lambda land, w: np.mean([((x @ w) ** 2 - x[0] ** 2) ** 2 / 4 for x, _ in rows(land)]),
    "logistic": lambda land, w: np.mean([np.log1p(np.exp(-(x @ w))) for (x,) in rows(land)]),
    "linear_softmax": linear_softmax,
    "token_memory": token_memory,
}


def test_every_model_is_tested():
    assert set(LANDS) == set(FORMULAS) == {kind.name for kind in THEORY}


@every_model
def test_values_agree_with_the_formula(land):
    params = points(land, 20)
    expected = [FORMULAS[land.name](land, w) for w in params.numpy()]
    np.testing.assert_allclose(land.loss(params).numpy(), expected, rtol=1e-11, atol=1e-13)


@every_model
def test_derivatives_agree_with_differences(land):
    params = points(land, 3)
    step = 1e-5 * torch.eye(land.dim, dtype=F64)[:, None]
    slopes = (land.loss(params + step) - land.loss(params - step)).T / 2e-5
    loss, grad = land.value_and_grad(params)
    scale = 1 + float(grad.abs().max())
    torch.testing.assert_close(loss, land.loss(params), rtol=1e-13, atol=0)
    torch.testing.assert_close(grad, slopes, rtol=1e-6, atol=1e-8 * scale)
    bends = (land.grad(params + step) - land.grad(params - step)).movedim(0, 1) / 2e-5
    hessian = land.hvp(params[:, None], torch.eye(land.dim, dtype=F64))
    torch.testing.assert_close(hessian, bends, rtol=1e-5, atol=1e-7 * (1 + float(bends.abs().max())))
    torch.testing.assert_close(hessian, hessian.mT, rtol=1e-10, atol=1e-12 * (1 + float(bends.abs().max())))
    assert torch.autograd.gradcheck(land.loss, (params.requires_grad_(True),), rtol=1e-3)


@every_model
@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("lead", [(), (2,), (2, 3), (0,)])
def test_shapes_and_dtype_are_kept(land, dtype, lead):
    params = points(land, *lead, dtype=dtype)
    loss, grad = land.value_and_grad(params)
    assert loss.shape == lead
    assert grad.shape == land.hvp(params, params).shape == params.shape
    assert {loss.dtype, grad.dtype, land.hvp(params, params).dtype, land.start(2, dtype=dtype).dtype} == {dtype}


@every_model
def test_a_batch_equals_its_rows_one_by_one(land):
    params = points(land, 2, 3)
    loss, grad = land.value_and_grad(params)
    products = land.hvp(params, params)
    for index in np.ndindex(2, 3):
        torch.testing.assert_close(land.loss(params[index]), loss[index], rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(land.grad(params[index]), grad[index], rtol=1e-11, atol=1e-13)
        torch.testing.assert_close(land.hvp(params[index], params[index]), products[index], rtol=1e-11, atol=1e-12)


@every_model
def test_data_first_used_without_autograd_serve_it_later(land):
    other = type(land)(**(LANDS[land.name] | {"seed": 77}))
    params = other.start(2)[1]
    with torch.inference_mode():
        other.loss(params)  # draws and keeps them, as a run of a landscape with analytic derivatives does
    point = params.clone().requires_grad_(True)
    (slope,) = torch.autograd.grad(other.loss(point), point)
    torch.testing.assert_close(slope, other.grad(params), rtol=1e-10, atol=1e-12)


@every_sum
def test_the_loss_is_the_mean_over_samples(land):
    params = points(land, 2)
    terms = torch.stack([land.loss(params, torch.tensor([i])) for i in range(land.samples)])
    slopes = torch.stack([land.grad(params, torch.tensor([i])) for i in range(land.samples)])
    torch.testing.assert_close(terms.mean(0), land.loss(params), rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(slopes.mean(0), land.grad(params), rtol=1e-11, atol=1e-12)
    assert float(terms.std(0).max()) > 1e-6  # they differ
    own = torch.tensor([[0, 1, 1], [2, 0, 3]])  # a batch a run
    expected = torch.stack([land.loss(params[run], own[run]) for run in range(2)])
    torch.testing.assert_close(land.loss(params, own), expected, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(expected[0], terms[own[0], 0].mean(), rtol=1e-12, atol=1e-14)


@every_model
def test_starts_and_data_follow_from_the_seeds(land):
    start = land.start(5, seed=4)
    assert torch.equal(start, land.start(5, seed=4))
    assert torch.equal(start[:2], land.start(2, seed=4))
    assert torch.equal(start.float(), land.start(5, seed=4, dtype=F32))
    assert not torch.equal(start[1:], land.start(5, seed=5)[1:])
    assert len({tuple(row) for row in start.tolist()}) == 5
    assert land.start(0).shape == (0, land.dim)
    other = type(land)(**(LANDS[land.name] | {"seed": 9}))
    assert not torch.equal(start[1:], other.start(5, seed=4)[1:])
    double, single = land.tensors(torch.zeros(0, dtype=F64)), land.tensors(torch.zeros(0, dtype=F32))
    for one, rounded in zip(double, single, strict=True):
        torch.testing.assert_close(one.to(rounded), rounded, rtol=0, atol=0)
    if "samples" in settings(land) or land.name == "opposing_signals":
        assert not torch.equal(double[0], other.tensors(torch.zeros(0, dtype=F64))[0])


@pytest.mark.parametrize("kind", THEORY, ids=lambda kind: kind.name)
def test_declarations_are_complete(kind):
    land = kind()
    assert kind.reads.endswith(".")
    assert "arXiv:" in kind.reference
    assert land.equation
    assert all(one.help.endswith(".") for one in settings(kind).values())
    assert list(settings(kind))[-1] == "seed"
    assert 0 < land.dim <= 24_000  # within what the app admits at any number of steps


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("deep_linear", {"rank": 4, "width": 3}),
        ("matrix_sensing", {"rank": 5, "size": 4}),
        ("diagonal_network", {"nonzero": 7, "features": 6}),
    ],
)
def test_a_target_larger_than_the_model_is_refused(name, values):
    with pytest.raises(ValueError, match="is not allowed: it must be at most"):
        LANDSCAPES[name](**values)


@pytest.mark.parametrize("seed", range(4))
def test_the_largest_margin_is_that_of_a_support_vector_machine(seed):
    land = LANDSCAPES["logistic"](features=4, samples=30, seed=seed)
    (signed,) = land.tensors(torch.zeros(0, dtype=F64))
    labels = np.where(np.arange(30) % 2, 1, -1)
    # Mirrored at zero, the problem has no use for a bias.
    inputs = np.concatenate([signed.numpy() * labels[:, None], -signed.numpy() * labels[:, None]])
    machine = SVC(kernel="linear", C=1e8, tol=1e-8).fit(inputs, np.concatenate([labels, -labels]))
    expected = machine.coef_[0] / np.linalg.norm(machine.coef_[0])
    np.testing.assert_allclose(land.bias_target().numpy(), expected, atol=1e-5)


def test_the_nearest_point_of_a_hull():
    square = torch.tensor([[1.0, 1.0], [1.0, -1.0], [3.0, 1.0], [3.0, -1.0]], dtype=F64)
    nearest = nearest_to_zero(square)
    torch.testing.assert_close(nearest / nearest.norm(), torch.tensor([1.0, 0.0], dtype=F64))
    corner = nearest_to_zero(square + torch.tensor([0.0, 5.0]))
    torch.testing.assert_close(corner / corner.norm(), torch.tensor([1.0, 4.0], dtype=F64) / 17**0.5)


def test_the_bias_of_a_diagonal_network_goes_from_sparse_to_least_norm():
    """Woodworth et al. 2020: a small start finds the least l1 norm, a large one the least l2 norm."""
    small, large = (LANDSCAPES["diagonal_network"](scale=scale) for scale in (1e-4, 10.0))
    inputs, targets = (one.numpy() for one in small.tensors(torch.zeros(0, dtype=F64)))
    np.testing.assert_allclose(small.bias_target().numpy(), small.truth.numpy(), atol=0.02)
    np.testing.assert_allclose(large.bias_target().numpy(), np.linalg.pinv(inputs) @ targets, atol=0.005)
    for land in (small, large):
        np.testing.assert_allclose(inputs @ land.bias_target().numpy(), targets, atol=1e-8)


def test_the_bias_of_a_diagonal_network_minimizes_its_hyperbolic_entropy():
    """Woodworth et al. 2020, theorem 1, by a general solver: sum of q(b_i), q' = arcsinh(b / (2 c)), with c = scale^2 / 4."""
    land = LANDSCAPES["diagonal_network"](features=8, samples=3, nonzero=2, scale=0.7)
    inputs, targets = (one.numpy() for one in land.tensors(torch.zeros(0, dtype=F64)))
    c = land.scale**2 / 4

    def entropy(b):
        slope = np.arcsinh(b / (2 * c))
        return np.sum(b * slope - np.sqrt(4 * c**2 + b**2)), slope

    fits = {"type": "eq", "fun": lambda b: inputs @ b - targets, "jac": lambda b: inputs}
    found = minimize(entropy, np.zeros(8), jac=True, constraints=fits, method="SLSQP", options={"ftol": 1e-14})
    np.testing.assert_allclose(land.bias_target().numpy(), found.x, atol=1e-5)


def test_softmax_declares_its_infimum_only_where_the_classes_are_separable():
    assert LANDSCAPES["linear_softmax"](noise=0.1).infimum() == 0.0
    assert LANDSCAPES["linear_softmax"](noise=5.0).infimum() is None
    assert LANDSCAPES["linear_softmax"](constant=0.0).infimum() is None


def test_the_flow_of_a_scalar_network_that_ends_at_a_saddle_is_said():
    land = LANDSCAPES["scalar_network"](depth=3, target=1.0)
    starts = torch.tensor([[-1.0, 1.0, 2.0], [-1.0, 0.9, 2.0], [1.0, 1.0, 2.0], [0.0, 0.0, 1.0]], dtype=F64)
    found = land.gfs_sharpness(starts)
    assert found.isnan().tolist() == [True, False, False, True]


@pytest.mark.parametrize("target", [0.01, 1.0, 5.0])
def test_the_largest_step_of_a_product_of_vectors_is_exact(target):
    """Liang and Montúfar 2025, arXiv:2509.25351, from 300 starts: far from the minimum, beside it, and of the wrong sign."""
    land = LANDSCAPES["matrix_factorization"](rows=1, columns=1, rank=3, top=target)
    start = torch.randn(300, 6, generator=torch.Generator().manual_seed(0), dtype=F64)
    for factor in (0.98, 1.02):
        params, step = start, factor * land.largest_step(start)[:, None]
        for _ in range(600):
            params = (params - step * land.grad(params)).clamp(-1e20, 1e20)
        assert bool(((params.norm(dim=-1) < 1e3) == (factor < 1)).all())
