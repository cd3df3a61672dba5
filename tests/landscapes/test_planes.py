"""Planes: each lies where it says, against NumPy, scikit-learn and a dense Hessian."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from landscapes import LANDSCAPES, MLP, slice_2d
from landscapes.directions import normalize, random_directions
from landscapes.planes import PLANES, Place

NETWORK = MLP(data="chebyshev", hidden=(5, 4), objective="squared")
CENTER = NETWORK.start()[0] + 0.1
NONE = torch.empty(0, NETWORK.dim, dtype=torch.float64)


def walk(steps=12, seed=0):
    noise = torch.randn(steps, NETWORK.dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    drift = torch.linspace(1, 0, steps, dtype=torch.float64)[:, None] * torch.ones(NETWORK.dim, dtype=torch.float64)
    path = CENTER + drift + 0.05 * noise.cumsum(0)
    return torch.cat([path[:-1], CENTER[None]])


def place(**changes):
    values = {"landscape": NETWORK, "center": CENTER, "path": walk(), "solutions": NONE}
    return Place(**(values | changes))


@pytest.mark.parametrize("name", PLANES)
def test_every_plane_can_be_cut(name):
    cut = PLANES[name](place(solutions=walk(3, 1)[:2]))
    plane = slice_2d(NETWORK, CENTER, cut.directions, normalize="none", window=cut.window, points=7)
    assert plane.loss.isfinite().all()
    for i, j in ((0, 0), (6, 3)):
        where = CENTER + plane.alpha[i] * cut.directions[0] + plane.beta[j] * cut.directions[1]
        torch.testing.assert_close(plane.loss[i, j], NETWORK.loss(where), rtol=1e-10, atol=1e-14)


def test_principal_components_are_those_of_scikit_learn():
    path = walk()
    cut = PLANES["pca"](place(path=path))
    theirs = PCA(2).fit(path.numpy())
    signs = np.sign((cut.directions.numpy() * theirs.components_).sum(-1))
    np.testing.assert_allclose(cut.directions.numpy(), signs[:, None] * theirs.components_, atol=1e-9)
    for name, share in zip(cut.names, theirs.explained_variance_ratio_, strict=True):
        assert f"({share:.1%})" in name
    plane = slice_2d(NETWORK, CENTER, cut.directions, normalize="none", window=cut.window, points=5)
    coordinates, _ = plane.project(path)
    (a, b), (c, d) = cut.window
    assert ((coordinates[:, 0] > a) & (coordinates[:, 0] < b) & (coordinates[:, 1] > c) & (coordinates[:, 1] < d)).all()


def test_eigenvectors_are_those_of_the_dense_hessian():
    cut = PLANES["hessian"](place())
    values, vectors = torch.linalg.eigh(torch.autograd.functional.hessian(NETWORK.loss, CENTER, vectorize=True))
    for index in (0, 1):
        overlap = (cut.directions[index] @ vectors[:, -1 - index]).abs()
        assert overlap == pytest.approx(1, abs=1e-5)
        assert f"λ = {float(values[-1 - index]):.4g}"[:8] in cut.names[index]


def test_the_loss_falls_down_the_gradient():
    cut = PLANES["gradient"](place())
    window = ((-1e-4, 1e-4), (-1e-4, 1e-4))
    plane = slice_2d(NETWORK, CENTER, cut.directions, normalize="none", window=window, points=3)
    slope = (plane.loss[2, 1] - plane.loss[0, 1]) / 2e-4
    assert slope == pytest.approx(-float(NETWORK.grad(CENTER).norm()), rel=1e-4)
    across = (plane.loss[1, 2] - plane.loss[1, 0]) / 2e-4
    assert abs(across) < 1e-4 * abs(slope)  # at right angles to the gradient
    update = place().path[-1] - place().path[-2]
    _, distance = plane.project(CENTER + update)
    assert distance < 1e-12


@pytest.mark.parametrize("count", [1, 2])
def test_solutions_lie_at_their_marks(count):
    others = walk(3, 1)[:count]
    cut = PLANES["solutions"](place(solutions=others))
    assert [mark[0] for mark in cut.marks] == ["A", "B", "C"][: count + 1]
    for (_, a, b), solution in zip(cut.marks, [CENTER, *others], strict=True):
        torch.testing.assert_close(CENTER + torch.tensor([a, b]).double() @ cut.directions, solution)
        assert cut.window[0][0] < a < cut.window[0][1]
        assert cut.window[1][0] < b < cut.window[1][1]
    gram = cut.directions @ cut.directions.T
    torch.testing.assert_close(gram, (others[0] - CENTER).square().sum() * torch.eye(2).double())  # equal units


@pytest.mark.parametrize("how", ["filter", "layer"])
def test_biases_move_along_themselves_where_they_are_not_ignored(how):
    """As `--xignore ''` in the program of Li et al.: a block of one dimension gets the parameters' own values."""
    pair = random_directions(NETWORK.layout, CENTER, 2, 3)
    ignored, moved = (normalize(pair, CENTER, NETWORK.layout, how, ignore_biases=flag) for flag in (True, False))
    own = NETWORK.layout.unpack(CENTER)
    for name, block in NETWORK.layout.unpack(moved).items():
        other = NETWORK.layout.unpack(ignored)[name]
        if name.startswith("b"):
            assert torch.equal(block, own[name].expand(2, -1))
            assert (other == 0).all()
        else:
            assert torch.equal(block, other)


@pytest.mark.parametrize(
    ("name", "changes", "sentence"),
    [
        ("pca", {"path": walk()[:2]}, "at least three of its points"),
        ("pca", {"path": CENTER + torch.arange(4.0).double()[:, None]}, "The path is a straight line"),
        ("gradient", {"path": walk()[:1]}, "There is no update"),
        ("solutions", {}, "needs at least one other solution"),
        ("solutions", {"solutions": CENTER + torch.tensor([[1.0], [2.0]]).double()}, "The solutions lie on one line"),
        ("solutions", {"solutions": CENTER[None]}, "The solutions lie on one line"),
    ],
)
def test_points_that_span_no_plane_are_refused(name, changes, sentence):
    with pytest.raises(ValueError, match=sentence):
        PLANES[name](place(**changes))


def test_planes_of_a_surface_are_the_surface():
    """In two dimensions every plane is the whole: the eigenvectors of a quadratic are its axes."""
    land = LANDSCAPES["quadratic"](kappa=7.0)
    center = torch.tensor([1.0, 2.0], dtype=torch.float64)
    cut = PLANES["hessian"](Place(land, center, center[None], center[None][:0]))
    torch.testing.assert_close(cut.directions.abs(), torch.tensor([[0.0, 1.0], [1.0, 0.0]]).double())
