"""Quantities on a plane, each against its definition at every point."""

import pickle

import pytest
import torch

from landscapes import LANDSCAPES, MLP, Formula, slice_2d
from landscapes.quantities import QUANTITIES, OnPlaneOf

NETWORK = MLP(hidden=(4,), test_share=0.8)
AXES = torch.eye(2, dtype=torch.float64)


def by_definition(name, land, where):
    inputs, targets = land.test_set(where) if name.startswith("test_") else land.training_set(where)
    outputs = land.outputs(where, inputs)
    hessian = torch.autograd.functional.hessian(land.loss, where, vectorize=True) if QUANTITIES[name].costly else None
    match name:
        case "loss" | "test_loss":
            return torch.nn.functional.cross_entropy(outputs, targets.argmax(-1))
        case "accuracy" | "test_accuracy":
            return (outputs.argmax(-1) == targets.argmax(-1)).double().mean()
        case "grad_norm":
            point = where.clone().requires_grad_()
            land.loss(point).backward()
            return point.grad.norm()
        case "sharpness":
            return torch.linalg.eigvalsh(hessian)[-1]
        case "nonconvexity":
            values = torch.linalg.eigvalsh(hessian)
            return (values[0] / values[-1]).abs()


@pytest.mark.parametrize("name", QUANTITIES)
def test_a_quantity_is_what_it_says_at_every_point(name):
    center = NETWORK.start()[0] + 0.05
    plane = slice_2d(NETWORK, center, points=3, span=0.5, quantity=name)
    for i in range(3):
        for j in range(3):
            where = center + plane.alpha[i] * plane.directions[0] + plane.beta[j] * plane.directions[1]
            expected = by_definition(name, NETWORK, where)
            # Eigenvalues are told to a hundredth of themselves and known far better.
            torch.testing.assert_close(
                plane.loss[i, j], expected, rtol=1e-3 if QUANTITIES[name].costly else 1e-10, atol=0
            )
            if QUANTITIES[name].costly:
                assert (plane.loss[i, j] - expected).abs() <= plane.uncertainty[i, j] <= 0.03 * plane.loss[i, j]
            else:
                assert plane.uncertainty is None
    assert plane.loss.std() > 0


def test_the_nonconvexity_near_a_minimum_is_known_to_a_share_of_itself():
    """Where the lowest eigenvalue is about a hundredth of the largest one."""
    land = MLP(hidden=(8,), subset=60, objective="squared")
    center = land.start()[0]
    for _ in range(300):
        center = center - 0.2 * land.grad(center)
    plane = slice_2d(land, center, points=3, span=0.05, quantity="nonconvexity")
    for i, j in ((0, 0), (1, 1), (2, 1)):
        where = center + plane.alpha[i] * plane.directions[0] + plane.beta[j] * plane.directions[1]
        expected = by_definition("nonconvexity", land, where)
        assert expected < 0.05
        assert (plane.loss[i, j] - expected).abs() <= plane.uncertainty[i, j] <= 0.02 * expected
        torch.testing.assert_close(plane.loss[i, j], expected, rtol=1e-4, atol=0)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
def test_where_the_lowest_eigenvalue_may_be_zero_the_most_that_the_ratio_can_be_is_shown(dtype):
    """A perceptron with ReLU has flat directions wherever one of its units is off for all samples."""
    land = MLP(data="chebyshev", hidden=(6,), objective="squared", activation="relu", weight_decay=0.0)
    center = torch.zeros(land.dim, dtype=dtype)
    center[land.dim - 1] = 0.3  # the last bias alone: no unit is on, and the Hessian is 1 along that bias and else zero
    axes = torch.zeros(2, land.dim, dtype=dtype)
    axes[0, -1], axes[1, -2] = 1.0, 0.1
    plane = slice_2d(land, center, axes, "none", points=3, quantity="nonconvexity")
    hessian = torch.autograd.functional.hessian(land.loss, center.double(), vectorize=True)
    assert torch.linalg.eigvalsh(hessian)[0].abs() < 1e-14
    torch.testing.assert_close(plane.uncertainty[:, 1], plane.loss[:, 1])
    assert (plane.loss[:, 1] > 0).all()
    assert (plane.loss[:, 1] < 1e-6 + 100 * torch.finfo(dtype).eps).all()


def test_there_is_no_ratio_where_the_largest_eigenvalue_may_be_zero():
    plane = slice_2d(LANDSCAPES["saddle"](), torch.zeros(2).double(), AXES, "none", points=3, quantity="nonconvexity")
    torch.testing.assert_close(plane.loss, torch.ones(3, 3).double())
    trough = Formula("-x^2")
    plane = slice_2d(trough, torch.ones(2).double(), AXES, "none", points=3, quantity="nonconvexity")
    assert plane.loss.isnan().all()


def test_the_sharpness_of_a_quadratic_is_the_same_everywhere():
    land = LANDSCAPES["quadratic"](kappa=7.0, angle=0.3)
    plane = slice_2d(
        land, torch.ones(2).double(), AXES, normalize="none", points=5, quantity="sharpness", tolerance=1e-3
    )
    torch.testing.assert_close(plane.loss, torch.full((5, 5), 7.0, dtype=torch.float64))


def test_a_piece_of_work_travels_as_what_it_was_made_from():
    """To another process goes the landscape, not what was prepared for it here."""
    center = NETWORK.start()[0]
    work = OnPlaneOf("test_loss", NETWORK, center, torch.ones(2, NETWORK.dim, dtype=torch.float64))
    text = pickle.dumps(work)
    assert len(text) < 60 * NETWORK.dim + 2000
    points = torch.tensor([[0.0, 0.1]], dtype=torch.float64)
    assert torch.equal(pickle.loads(text)(points)[0], work(points)[0])


@pytest.mark.parametrize(
    ("land", "name", "sentence"),
    [
        (NETWORK, "height", "quantity = 'height' is not allowed: it must be one of loss, "),
        (MLP(hidden=(4,)), "test_loss", "mlp has no test_loss here: there are no test samples (choose a share"),
        (LANDSCAPES["rosenbrock"](), "accuracy", "rosenbrock has no accuracy here: Rosenbrock valley does not learn from samples."),
        (MLP(data="chebyshev", objective="squared"), "test_accuracy", "mlp has no test_accuracy here: chebyshev has no classes."),
    ],
)  # fmt: skip
def test_what_a_landscape_does_not_have_is_refused(land, name, sentence):
    with pytest.raises(ValueError, match="no|not allowed") as refusal:
        slice_2d(land, land.start()[0], points=3, quantity=name)
    assert str(refusal.value).startswith(sentence)
