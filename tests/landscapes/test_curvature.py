"""Sharpness against dense eigenvalue solvers, and the claims that come with it: residuals, bounds, warnings, NaN."""

import warnings

import pytest
import torch
from scipy.sparse.linalg import LinearOperator, eigsh

from landscapes import LANDSCAPES, MLP, Eigenpairs, Formula, Surface, eigenpairs, sharpness, solvers, top_eigenpairs
from landscapes.curvature import DENSE_DIM
from landscapes.landscape import Differentiated, Layout

SMALL = [
    MLP(data="chebyshev", hidden=(8, 8), objective="squared"),  # 97 parameters
    MLP(data="chebyshev", hidden=(12,), objective="squared", activation="softplus"),  # 37
    MLP(hidden=(4,), objective="cross_entropy"),  # 310
    MLP(hidden=(4,), objective="squared", activation="gelu"),
]
every_small = pytest.mark.parametrize("land", SMALL, ids=lambda land: f"{land.data}-{land.hidden}-{land.objective}")
NET = SMALL[0]


def points(land, runs, seed=1):
    noise = torch.randn(runs, land.dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return land.start(runs) + 0.2 * noise


def dense(land, params):
    """The whole Hessian (dim, dim) by torch's own double differentiation."""
    return torch.autograd.functional.hessian(land.loss, params, vectorize=True)


class Diagonal(Differentiated):
    """Half a sum of curvature times square: its Hessian's eigenvalues are chosen."""

    name, label, reads, reference, equation = "diagonal", "Diagonal", "A test.", "none", "none"
    curvatures = torch.empty(0)

    @property
    def layout(self):
        return Layout.of([("point", (len(self.curvatures),))])

    def start(self, runs=1, seed=0, *, dtype=torch.float64, device="cpu"):
        return torch.ones(runs, self.dim, dtype=dtype, device=device)

    def _loss(self, params, batch):
        return (self.curvatures.to(params) * params.square()).sum(-1) / 2


def diagonal(curvatures):
    land = Diagonal()
    object.__setattr__(land, "curvatures", torch.tensor(curvatures, dtype=torch.float64))
    return land


def assert_eigenpairs(land, params, pairs, k, tol=1e-6, hessians=None):
    """Values are the k largest of the dense solver, vectors unit and orthogonal, and the residuals are what they say."""
    assert land.dim > DENSE_DIM  # the iterative path
    if hessians is None:
        hessians = [dense(land, one) for one in params]
    for run, hessian in enumerate(hessians):
        true = torch.linalg.eigvalsh(hessian).flip(0)
        scale = true.abs().max()
        values, vectors, residuals = pairs.values[run], pairs.vectors[run], pairs.residuals[run]
        # What was asked for, with room for the rounding of the residual's recurrence.
        assert (residuals <= tol * scale * (1 + 1e-6)).all()
        # A residual bounds the distance to an eigenvalue; the k-th largest one is meant.
        assert ((values - true[:k]).abs() <= residuals + 1e-12 * scale).all()
        real = (vectors @ hessian - values[:, None] * vectors).norm(dim=-1)
        torch.testing.assert_close(residuals, real, rtol=1e-3, atol=float(1e-12 * scale))
        torch.testing.assert_close(vectors @ vectors.T, torch.eye(k, dtype=torch.float64), rtol=0, atol=1e-10)
        assert (values.diff() <= 0).all()


@every_small
def test_the_eigenpairs_of_a_batch_are_those_of_the_dense_solver(land):
    params = points(land, 2)
    hessians = [dense(land, one) for one in params]
    for k in (1, 3, 5):
        pairs = top_eigenpairs(land, params, k)
        assert pairs.values.shape == pairs.residuals.shape == (2, k)
        assert pairs.vectors.shape == (2, k, land.dim)
        assert_eigenpairs(land, params, pairs, k, hessians=hessians)
        values, vectors = sharpness(land, params, k)
        assert torch.equal(values, pairs.values)
        assert torch.equal(vectors, pairs.vectors)


@pytest.mark.parametrize("tol", [1e-2, 1e-4, 1e-9])
def test_the_tolerance_is_kept(tol):
    params = points(NET, 3)
    pairs = top_eigenpairs(NET, params, 2, tol)
    assert_eigenpairs(NET, params, pairs, 2, tol)
    assert pairs.products <= top_eigenpairs(NET, params, 2, tol / 10).products


def test_any_leading_dimensions():
    params = points(NET, 6)
    flat, shaped = top_eigenpairs(NET, params, 2), top_eigenpairs(NET, params.reshape(2, 3, -1), 2)
    one = top_eigenpairs(NET, params[0], 2)
    assert shaped.values.shape == shaped.residuals.shape == (2, 3, 2)
    assert shaped.vectors.shape == (2, 3, 2, NET.dim)
    assert torch.equal(shaped.values.reshape(6, 2), flat.values)
    assert one.values.shape == (2,)
    assert one.vectors.shape == (2, NET.dim)
    # Runs of a batch stop together, so a run alone may stop earlier: both answers are within their tolerance.
    torch.testing.assert_close(one.values, flat.values[0], rtol=1e-6, atol=1e-6)


def test_a_network_beyond_the_dense_solver_agrees_with_scipy():
    land = MLP(hidden=(24, 24))
    params = points(land, 1)[0]
    product = land.hessian_operator(params)
    matrix = LinearOperator((land.dim, land.dim), lambda v: product(torch.from_numpy(v.ravel())).numpy(), dtype=float)
    expected = eigsh(matrix, k=3, which="LA", tol=1e-9, v0=params.numpy(), return_eigenvectors=False)
    values, _ = sharpness(land, params, k=3)
    torch.testing.assert_close(values, torch.from_numpy(expected).sort(descending=True).values, rtol=1e-6, atol=0)


@pytest.mark.parametrize("k", [1, 2, 3, 10, 12])
def test_a_repeated_eigenvalue_is_found_as_often_as_it_is_there(k):
    """The Hessian of a linear network under the squared loss is that of one output, ten times over."""
    land = MLP(hidden=(), objective="squared")
    params = land.start()
    pairs = top_eigenpairs(land, params, k)
    assert_eigenpairs(land, params, pairs, k)


@pytest.mark.parametrize("k", [1, 4])
@pytest.mark.parametrize(
    "curvatures",
    [
        [3.0] * 30,
        [0.0] * 30,
        [5.0] + [0.0] * 39,
        [-1.0 - i for i in range(30)],
        [-50.0] + [1.0 + i / 100 for i in range(40)],
        [2.0, 2.0, 2.0, 1.0] + [0.5] * 30,
    ],
    ids=["all equal", "flat", "rank one", "all negative", "one very negative", "threefold"],
)
def test_spectra_that_are_hard_for_lanczos(curvatures, k):
    land = diagonal(curvatures)
    pairs = top_eigenpairs(land, land.start(2), k)
    expected = torch.tensor(sorted(curvatures, reverse=True)[:k], dtype=torch.float64).expand(2, k)
    scale = max(map(abs, curvatures))
    torch.testing.assert_close(pairs.values, expected, rtol=0, atol=1e-6 * scale)
    real = (pairs.vectors * land.curvatures - pairs.values[..., None] * pairs.vectors).norm(dim=-1)
    torch.testing.assert_close(pairs.residuals, real, rtol=1e-3, atol=1e-12 * scale)


def test_all_eigenpairs_may_be_asked_for():
    land = diagonal([float(i) for i in range(30)])
    values, vectors = sharpness(land, land.start()[0], k=30)
    torch.testing.assert_close(values, torch.arange(29.0, -1, -1, dtype=torch.float64), rtol=0, atol=1e-5)
    torch.testing.assert_close(vectors @ vectors.T, torch.eye(30, dtype=torch.float64), rtol=0, atol=1e-10)


# Warm starts


def test_a_warm_start_saves_products_and_changes_no_answer():
    params = points(NET, 2)
    cold = top_eigenpairs(NET, params, 2)
    near = params + 1e-4
    warm, again = top_eigenpairs(NET, near, 1, 1e-3, start=cold.vectors[:, :1]), top_eigenpairs(NET, near, 1, 1e-3)
    assert warm.products < again.products
    assert_eigenpairs(NET, near, warm, 1, 1e-3)
    assert_eigenpairs(NET, near, top_eigenpairs(NET, near, 2, start=cold.vectors), 2)


@pytest.mark.parametrize("wrong", [1, 2, 20])
def test_a_warm_start_at_another_eigenvector_still_finds_the_largest(wrong):
    params = points(NET, 2)
    vectors = torch.stack([torch.linalg.eigh(dense(NET, w)).eigenvectors.flip(-1)[:, wrong] for w in params])
    assert_eigenpairs(NET, params, top_eigenpairs(NET, params, 1, start=vectors[:, None]), 1)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf, 0.0])
def test_a_useless_warm_start_is_a_cold_start(bad):
    params = points(NET, 2)
    start = torch.full((2, 1, NET.dim), bad, dtype=torch.float64)
    warm, cold = top_eigenpairs(NET, params, start=start), top_eigenpairs(NET, params)
    assert_eigenpairs(NET, params, warm, 1)
    assert warm.products <= cold.products + 1


def test_the_seed_changes_the_way_and_not_the_answer():
    params = points(NET, 1)
    for seed in range(3):
        assert_eigenpairs(NET, params, top_eigenpairs(NET, params, 3, seed=seed), 3)
    assert torch.equal(sharpness(NET, params, seed=5)[1], sharpness(NET, params, seed=5)[1])


@pytest.mark.parametrize("k", [1, 3])
def test_pairs_from_nearby_show_the_way(k):
    params = points(NET, 2)
    cold = top_eigenpairs(NET, params, k, extra=7)
    near = params + 1e-4
    warm = top_eigenpairs(NET, near, k, 1e-3, start=cold, extra=7)
    assert warm.products < top_eigenpairs(NET, near, k, 1e-3).products
    assert_eigenpairs(NET, near, first(warm, k), k, 1e-3)
    exact = top_eigenpairs(NET, near, k, start=cold, extra=7)
    assert_eigenpairs(NET, near, first(exact, k), k)
    torch.testing.assert_close(
        exact.vectors @ exact.vectors.mT, torch.eye(k + 7, dtype=torch.float64).expand(2, -1, -1)
    )
    far = points(NET, 2, seed=9)  # the same as a cold start in all but its cost
    assert_eigenpairs(NET, far, first(top_eigenpairs(NET, far, k, start=cold, extra=7), k), k)


def first(pairs, k):
    return Eigenpairs(
        pairs.values[..., :k],
        pairs.vectors[..., :k, :],
        pairs.residuals[..., :k],
        pairs.reached[..., :k],
        pairs.products,
    )


def test_a_second_eigenvalue_is_seen_to_overtake_the_first():
    """At both points the old first pair is exact: its residual alone would say that nothing has happened."""
    curvatures = torch.linspace(0, 1, 60, dtype=torch.float64)
    curvatures[[3, 40]] = torch.tensor([10.0, 9.0], dtype=torch.float64)
    before = eigenpairs(lambda v: v * curvatures, torch.zeros(60, dtype=torch.float64), extra=7)
    curvatures[40] = 11.0
    after = eigenpairs(lambda v: v * curvatures, torch.zeros(60, dtype=torch.float64), start=before, extra=7)
    torch.testing.assert_close(after.values[0], torch.tensor(11.0, dtype=torch.float64))
    assert after.products <= 4


@pytest.mark.parametrize(
    ("k", "risen"),
    [(1, [12.0]), (2, [12.0, 12.0]), (3, [12.0, 12.0, 12.0]), (3, [12.0, 11.95, 11.9]), (3, [9.5, 9.5])],
    ids=str,
)
def test_equal_eigenvalues_that_overtake_together_are_all_seen(k, risen):
    """Of equal ones a drawn direction shows one. Each of the others is seen as well, but for its chance of at most 0.1."""
    trials, dim, missed = 20, 200, 0
    for seed in range(trials):
        generator = torch.Generator().manual_seed(seed)
        curvatures = torch.rand(dim, generator=generator, dtype=torch.float64)
        curvatures[:3] = torch.tensor([10.0, 9.0, 8.0], dtype=torch.float64)
        like = torch.zeros(dim, dtype=torch.float64)
        before = eigenpairs(curvatures.mul, like, k, 1e-3, extra=7)
        curvatures[100 : 100 + len(risen)] = torch.tensor(risen, dtype=torch.float64)
        after = eigenpairs(curvatures.mul, like, k, 5e-3, start=before, extra=7, seed=seed + 1)
        low = curvatures.sort(descending=True).values[:k] - after.proved[:k]
        missed += bool((low > 5e-3 * after.values[0]).any())
    assert missed <= 0.1 * len(risen) * trials + 1


def test_an_exact_pair_to_start_from_is_kept():
    curvatures = torch.linspace(0, 1, 60, dtype=torch.float64)
    like = torch.zeros(2, 60, dtype=torch.float64)
    pairs = eigenpairs(lambda v: v * curvatures, like, 2, extra=3)
    for _ in range(3):
        pairs = eigenpairs(lambda v: v * curvatures, like, 2, start=pairs, extra=3)
        torch.testing.assert_close(pairs.values[:, 0], torch.ones(2, dtype=torch.float64))
        assert torch.isfinite(pairs.vectors).all()


def test_a_run_that_died_is_left_out_of_the_search():
    params = points(NET, 3)
    pairs = top_eigenpairs(NET, params, 1, extra=7)
    params = params + 1e-4
    expected = top_eigenpairs(NET, params, 1, 1e-3, start=pairs, extra=7)
    params[1] = torch.nan
    for _ in range(2):  # it dies, and is dead
        pairs = top_eigenpairs(NET, params, 1, 1e-3, start=pairs, extra=7)
        assert pairs.values[1].isnan().all()
        assert pairs.products <= expected.products + 1
        torch.testing.assert_close(pairs.values[[0, 2], 0], expected.values[[0, 2], 0], rtol=1e-5, atol=1e-5)
    params[1] = params[0]
    torch.testing.assert_close(
        top_eigenpairs(NET, params, 1, start=pairs, extra=7).values[1, 0], sharpness(NET, params[0])[0][0]
    )


# Runs that diverged


@pytest.mark.parametrize("k", [1, 3])
@pytest.mark.parametrize("bad", [torch.nan, torch.inf, -torch.inf, 1e200])
@pytest.mark.parametrize("land", [NET, SMALL[2], LANDSCAPES["rosenbrock"]()], ids=["network", "digits", "surface"])
def test_a_diverged_run_gives_nan_and_disturbs_no_other(land, bad, k):
    k = min(k, land.dim)
    params = points(land, 3)
    expected = top_eigenpairs(land, params[[0, 2]], k)
    params[1] = bad  # at 1e200 the parameters are finite, and the squared loss is not
    pairs = top_eigenpairs(land, params, k)
    for name in ("values", "vectors", "residuals"):
        values = getattr(pairs, name)
        assert torch.isfinite(values[[0, 2]]).all()
        if not (bad == 1e200 and land is SMALL[2]):  # there saturated units have a finite Hessian, of zeros
            assert values[1].isnan().all()
    torch.testing.assert_close(pairs.values[[0, 2]], expected.values, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(("dtype", "huge"), [(torch.float32, 1e30), (torch.float64, 1e200)], ids=str)
@pytest.mark.parametrize("path", ["dense", "Lanczos", "nearby"])
def test_a_curvature_near_the_end_of_the_number_range_gives_nan_and_disturbs_no_other(path, dtype, huge):
    dim = 4 if path == "dense" else 40
    spectrum = torch.linspace(1, 3, dim, dtype=dtype)
    like = torch.zeros(3, dim, dtype=dtype)
    scale = torch.tensor([1.0, 2.0, 1.0], dtype=dtype)[:, None]
    start = eigenpairs(lambda v: scale * spectrum * v, like) if path == "nearby" else None
    grown = torch.tensor([1.0, huge, 1.0], dtype=dtype)[:, None]
    found = eigenpairs(lambda v: grown * spectrum * v, like, 2, start=start)
    assert found.values.isnan().all(-1).tolist() == [False, True, False]
    torch.testing.assert_close(found.values[::2], spectrum[-2:].flip(0).expand(2, 2), rtol=1e-5, atol=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_a_start_along_which_the_curvature_vanishes_is_left_for_one_where_it_does_not(dtype):
    """As between opposite eigenvalues: the Rayleigh quotient of the old vector is zero, and its image is not."""
    like = torch.zeros(40, dtype=dtype)
    nothing = torch.zeros(1, dtype=dtype)
    old = Eigenpairs(nothing + 1, torch.eye(40, dtype=dtype)[:1], nothing, nothing == 0, 1)
    swapped = torch.tensor(
        [1, 0, *range(2, 40)]
    )  # of the first two entries: eigenvalues 1 and -1, with (1, 1) and (1, -1)
    keep = torch.tensor([1.0, 1.0] + [0.0] * 38, dtype=dtype)
    found = eigenpairs(lambda v: keep * v[..., swapped], like, start=old)
    torch.testing.assert_close(found.values, torch.ones(1, dtype=dtype), rtol=1e-5, atol=0)


def test_a_hessian_that_is_no_number_gives_nan_on_both_paths():
    for dim in (4, 40):
        land = diagonal([torch.inf] + [1.0] * (dim - 1))
        pairs = top_eigenpairs(land, land.start(2), 2)
        assert pairs.values.isnan().all()
        assert pairs.residuals.isnan().all()


# Surfaces


@pytest.mark.parametrize("name", [name for name, kind in LANDSCAPES.items() if issubclass(kind, Surface)])
def test_on_surfaces_all_eigenvalues_are_those_of_the_hessian(name):
    land = LANDSCAPES[name]()
    params = land.start(4, seed=2)
    pairs = top_eigenpairs(land, params, 2)
    for run in range(4):
        # Columns by central differences of the gradient: no autograd goes through a surface's formula.
        step = 1e-5
        eye = torch.eye(2, dtype=torch.float64)
        columns = [(land.grad(params[run] + step * e) - land.grad(params[run] - step * e)) / (2 * step) for e in eye]
        hessian = torch.stack(columns, dim=-1)
        expected = torch.linalg.eigvalsh((hessian + hessian.T) / 2).flip(0)
        # The differences are good to step^2 times a fourth derivative.
        torch.testing.assert_close(pairs.values[run], expected, rtol=1e-6, atol=1e-5)
    assert (pairs.residuals <= 1e-12 * (1 + pairs.values.abs().amax(-1, keepdim=True))).all()


def test_a_round_quadratic_has_two_equal_eigenvalues():
    land = LANDSCAPES["quadratic"](kappa=1.0, angle=0.6)
    values, vectors = sharpness(land, land.start(3), k=2)
    torch.testing.assert_close(values, torch.ones(3, 2, dtype=torch.float64))
    torch.testing.assert_close(vectors @ vectors.mT, torch.eye(2, dtype=torch.float64).expand(3, 2, 2))


def test_the_sharpness_of_the_edge_of_stability_valley_is_the_square_of_the_radius():
    land = LANDSCAPES["stability_valley"]()
    params = torch.tensor([[1.0, 1.0], [2.0, 0.5], [4.0, 0.25]], dtype=torch.float64)
    torch.testing.assert_close(sharpness(land, params)[0][:, 0], params.square().sum(-1))


def test_a_plane_has_no_curvature():
    assert sharpness(Formula("2*x - y"), torch.ones(2, dtype=torch.float64))[0].item() == 0


# Precision, batches, warnings, errors


@pytest.mark.parametrize("k", [1, 3])
def test_float32_is_kept_and_as_good_as_it_can_be(k):
    params = points(NET, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # 1e-6 is beyond float32: the documented 1e-5 is good enough
        pairs = top_eigenpairs(NET, params.float(), k)
    assert pairs.values.dtype == pairs.vectors.dtype == pairs.residuals.dtype == torch.float32
    expected = torch.stack([torch.linalg.eigvalsh(dense(NET, w)).flip(0)[:k] for w in params.float().double()])
    # 1e-5 of the largest eigenvalue, and as much again for the rounding of the products themselves.
    torch.testing.assert_close(pairs.values.double(), expected, rtol=0, atol=2e-5 * float(expected.max()))


def test_the_sharpness_of_a_batch_of_samples():
    params, batch = points(NET, 1)[0], torch.tensor([0, 3, 7])
    hessian = torch.autograd.functional.hessian(lambda w: NET.loss(w, batch), params)
    expected = torch.linalg.eigvalsh(hessian).flip(0)[:2]
    torch.testing.assert_close(sharpness(NET, params, 2, batch=batch)[0], expected, rtol=1e-6, atol=1e-6)


def test_an_answer_that_did_not_converge_is_given_with_a_warning():
    """Eigenvalues 1 - 1e-9 i: no Krylov space of 200 separates the largest from the next."""
    land = diagonal([0.0] + [1.0 - 1e-9 * i**2 for i in range(2000)] + [-1.0 + i / 1000 for i in range(2000)])
    with pytest.warns(
        RuntimeWarning, match=r"Lanczos stopped after 200 products at a relative residual of .*; 1\.0e-13"
    ):
        pairs = top_eigenpairs(land, land.start()[0], tol=1e-13)
    real = (pairs.vectors * land.curvatures - pairs.values[..., None] * pairs.vectors).norm(dim=-1)
    assert pairs.residuals[0] > 1e-13
    torch.testing.assert_close(pairs.residuals, real, rtol=1e-2, atol=1e-14)
    assert pairs.values.isfinite().all()
    assert pairs.proved.isnan().all()


@pytest.mark.parametrize("warm", [False, True])
def test_of_a_batch_and_of_several_pairs_the_reached_ones_are_known(warm, monkeypatch):
    monkeypatch.setattr(solvers, "_most", lambda k: 9)
    dim = 500
    easy = torch.linspace(0, 2.0, dim, dtype=torch.float64)
    easy[7] = 9.0  # one stands far apart, the next are close together
    hard = torch.linspace(0, 3, dim, dtype=torch.float64)
    curvatures = torch.stack([easy, hard])
    like = torch.zeros(2, dim, dtype=torch.float64)
    start = None
    if warm:
        noise = torch.randn(2, 3, dim, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
        noise[0, 0, 7] = 1e6  # nearly there in the first pair
        vectors = torch.linalg.qr(noise.mT).Q.mT
        start = Eigenpairs(
            torch.tensor([[9.0, 1, 1], [3, 3, 3]]), vectors, torch.zeros(2, 3), torch.ones(2, 3, dtype=torch.bool), 0
        )
    with pytest.warns(RuntimeWarning, match="stopped after 9 products"):
        pairs = eigenpairs(lambda v: v * curvatures, like, 2, 1e-3, start=start, extra=1)
    residuals = (pairs.vectors * curvatures[:, None] - pairs.values[..., None] * pairs.vectors).norm(dim=-1)
    scale = pairs.values.abs().amax(-1, keepdim=True)
    small = (residuals <= 1e-3 * scale)[..., :2].tolist()
    assert small == [[True, False], [False, False]]
    if warm:  # there was no product left to see whether a larger one had been missed
        small = [[False, False], [False, False]]
    assert pairs.reached[..., :2].tolist() == small
    if not warm:
        assert pairs.proved[0, 0] == pytest.approx(9.0, rel=1e-6)  # the square of the residual, over the gap
    assert pairs.proved.isnan().tolist() == (~pairs.reached).tolist()


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"k": 0}, "k = 0 is not allowed: it must be from 1 to the landscape's dimension, 97."),
        ({"k": 98}, "k = 98 is not allowed: it must be from 1 to the landscape's dimension, 97."),
        ({"k": 1.5}, "k = 1.5 is not allowed: it must be from 1 to the landscape's dimension, 97."),
        ({"tol": 0.0}, "tol = 0.0 is not allowed: it must be positive."),
        ({"tol": float("nan")}, "tol = nan is not allowed: it must be positive."),
        ({"params": torch.zeros(2 * 97)}, "params has shape (194,): mlp needs (..., 97)."),
        ({"params": torch.zeros(97, dtype=torch.int64)}, "params must be a floating-point tensor of shape (..., 97)."),
        ({"start": torch.zeros(97)}, "start has shape (97,): earlier eigenvectors are of shape (2, j, 97)."),
        ({"start": torch.zeros(3, 1, 97)}, "start has shape (3, 1, 97): earlier eigenvectors are of shape (2, j, 97)."),
        ({"batch": torch.tensor([20])}, "batch holds an index outside 0 .. 19."),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
def test_what_does_not_fit_is_refused_with_a_sentence(values, sentence):
    with pytest.raises((ValueError, TypeError)) as refusal:
        sharpness(NET, **{"params": points(NET, 2), **values})
    assert str(refusal.value) == sentence
