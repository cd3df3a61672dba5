"""Findings of the literature on the theory models, reproduced at the sizes at which they were prototyped; each check is also
run on a setting where it must not hold.
"""

import math

import numpy as np
import pytest
import torch

from landscapes import LANDSCAPES, MLP, flow_end
from optimizers import OPTIMIZERS, run

F64 = torch.float64
GD = OPTIMIZERS["gd"]


def column(values):
    """One value per run."""
    return torch.as_tensor(values, dtype=F64)[:, None]


def eigen(land, params):
    """All Hessian eigenvalues (..., dim) and eigenvectors (..., dim, dim) at params (..., dim)."""
    hessian = land.hvp(params[..., None, :], torch.eye(land.dim, dtype=F64))
    return torch.linalg.eigh(hessian)


# ------------------------------------------------------------------ the sharpness of gradient flow's end


def scalar_runs(multiples):
    """Gradient descent on 16 scalar networks, each with a step size of `multiples` over its own gfs_sharpness."""
    land = LANDSCAPES["scalar_network"](depth=4, spread=0.5, jitter=0.05)
    start = land.start(16)
    lr = multiples / land.gfs_sharpness(start)
    path = run(land, GD(lr=lr[:, None]), start, 1000)
    return path, lr, lr * land.gfs_sharpness(path.params), lr * eigen(land, path.params[::10])[0][..., -1]


def test_gfs_sharpness_never_rises_and_stops_below_the_edge():
    multiples = 2.05 + 0.45 * torch.rand(16, generator=torch.Generator().manual_seed(0), dtype=F64)
    path, _, along, sharpness = scalar_runs(multiples)
    assert float(along.diff(dim=0).max()) < 1e-9
    assert 1.9 <= float(along[-1].median()) <= 2.05
    assert float((path.loss.diff(dim=0) > 0).double().mean()) > 0.1  # while the loss goes up and down
    assert float(sharpness.diff(dim=0).max()) > 1e-2  # and so does the sharpness itself: the check can fail


def test_small_steps_leave_gfs_sharpness_where_it_was():
    path, _, along, _ = scalar_runs(torch.full((16,), 0.5, dtype=F64))
    assert float(along[-1].median()) == pytest.approx(0.5, rel=0.01)
    assert float((path.loss.diff(dim=0) > 1e-12).double().mean()) == 0.0


# The same where no closed form says where the flow ends: it is followed, with an error of 1e-5.

FOLLOWED = {
    "factors": LANDSCAPES["matrix_factorization"](rows=4, columns=4, rank=2, scale=0.8),
    "network": MLP(data="teacher_student", objective="squared", hidden=(4,), subset=6),
}


def followed_runs(land, start):
    """Gradient descent at 2.2 over the sharpness of each run's own flow end: that multiple, and the sharpness', along it."""
    lr = 2.2 / flow_end(land, start).sharpness
    kinds = ["gfs_sharpness", "sharpness"]
    path = run(land, GD(lr=lr[:, None]), start, 60, probes=kinds, record_every=6)
    assert land.gfs_sharpness(start) is None
    assert path.diverged_at.tolist() == [-1] * len(start)
    return (lr * path.probes[name] for name in kinds)


@pytest.mark.parametrize("name", FOLLOWED)
def test_gfs_sharpness_that_is_followed_never_rises_either(name):
    land = FOLLOWED[name]
    minima = flow_end(land, land.start(3, seed=1)).params
    noise = torch.rand(minima.shape, generator=torch.Generator().manual_seed(0), dtype=F64)
    along, sharpness = followed_runs(land, minima * (1 + 0.05 * (2 * noise - 1)))
    assert along[0].tolist() == pytest.approx([2.2] * 3, rel=1e-4)
    assert float(along.diff(dim=0).max()) < 1e-4
    assert bool((along[-1] < 2).all())
    assert float(sharpness.diff(dim=0).max()) > 1e-3  # of the points themselves it does


def test_gfs_sharpness_rises_in_second_order_regression():
    """Whose curvature is not bound to its fit: nothing keeps the flow's end from growing sharper."""
    land = LANDSCAPES["quadratic_regression"](outputs=5, parameters=10)
    along, _ = followed_runs(land, land.start(3, seed=1))
    assert bool((along.diff(dim=0).amax(0) > 1e-2).any())


# ------------------------------------------------------------------ progressive sharpening


def ends_of_second_order_regression(curvature, models, steps):
    """Step size times the largest eigenvalue of J J^T along runs on some models, (models, recorded)."""
    along = []
    for seed in range(models):
        land = LANDSCAPES["quadratic_regression"](curvature=curvature, seed=seed)
        first = torch.linalg.matrix_norm(land.expansion(land.start()[0])[1], 2).square()
        lr = 0.9 / float(first)
        path = run(land, GD(lr=lr), steps=steps, params_every=25, record_every=25)
        norms = torch.linalg.matrix_norm(land.expansion(path.params)[1], 2)
        along.append((lr * norms.square()).where(path.diverged_at < 0, torch.nan))
    return torch.stack(along)


def test_second_order_regression_sharpens_to_the_edge():
    along = ends_of_second_order_regression(3.0, 16, 1500)
    assert along[:, 0].tolist() == pytest.approx([0.9] * 16)
    reached = along.amax(-1) > 1.9
    assert int(reached.sum()) >= 8
    assert 1.95 <= float(along[reached, -1].median()) <= 2.05


def test_without_curvature_of_the_features_nothing_sharpens():
    along = ends_of_second_order_regression(0.0, 2, 400)
    assert along.flatten().tolist() == pytest.approx([0.9] * along.numel())


# ------------------------------------------------------------------ opposing signals


def opposing_run(**changes):
    land = LANDSCAPES["opposing_signals"](**changes)
    targets = torch.tensor([1.0, 1.5, 2.0, 3.0], dtype=F64)
    lr = 2 / (0.1 * 64 * (0.85 * targets.norm().sqrt()) ** 2)
    path = run(land, GD(lr=float(lr)), steps=1200)
    values, vectors = eigen(land, path.params)
    losses = {name: land.loss(path.params, members) for name, members in land.groups().items()}
    return land, path, float(lr) * values[:, -1], vectors[..., -1], losses


@pytest.mark.parametrize("seed", range(3))
def test_opposing_signals_make_the_loss_spike(seed):
    land, path, sharpness, top, losses = opposing_run(seed=seed)
    crossed = int((sharpness > 2).nonzero()[0])
    peak = int(path.loss.argmax())
    assert crossed < peak
    assert float(path.loss[peak]) > 1.5 * float(path.loss[crossed])
    swing = (land.strength * path.params[:, 5] * path.params[:, 4]).abs()
    rising = ((swing > 0.01 * land.offset) & (swing < 0.5 * land.offset))[crossed:peak]
    changes = [losses[name][crossed : peak + 1].diff()[rising] for name in ("up", "down")]
    assert float(torch.corrcoef(torch.stack(changes))[0, 1]) < -0.95
    assert float(losses["rest"][peak]) < 0.1 * max(float(losses[name][peak]) for name in ("up", "down"))
    assert abs(float(top[peak - 10, 4])) > 0.9  # the steep direction is the outliers' input
    assert 1.9 <= float(sharpness[-360:].mean()) <= 2.1


def test_without_the_outliers_input_nothing_reaches_the_edge():
    _, path, sharpness, _, _ = opposing_run(strength=0.0)
    assert float(sharpness.max()) < 1.0
    assert float(path.loss.diff().max()) <= 1e-12  # no spike


# ------------------------------------------------------------------ incremental learning


def sensing_run(scale, steps):
    """Eigenvalues of U U^T, and its distances to the best matrices of rank 1, 2, 3, along gradient descent."""
    land = LANDSCAPES["matrix_sensing"](scale=scale)
    path = run(land, GD(lr=0.04), steps=steps, record_every=10)
    products = land.predictor(path.params).unflatten(-1, (20, 20))
    spectrum = land.truth.diagonal()
    best = torch.stack([torch.diag(spectrum * (torch.arange(20) < rank)) for rank in (1, 2, 3)])
    distances = torch.linalg.matrix_norm(products[:, None] - best).amin(0)
    return path.step, torch.linalg.eigvalsh(products).flip(-1)[:, :3], distances, spectrum[:3]


def half_way(steps, values, goals):
    """The first step at which each value has come half the way to its goal."""
    return [int(steps[int((values[:, k] > goal / 2).nonzero()[0])]) for k, goal in enumerate(goals.tolist())]


def test_matrix_sensing_learns_one_rank_at_a_time():
    steps, values, distances, goals = sensing_run(1e-4, 1200)
    times = half_way(steps, values, goals)
    assert times[0] < times[1] < times[2]
    assert times[1] / times[0] == pytest.approx(2, rel=0.25)  # the theory: in proportion to one over the eigenvalue
    assert times[2] / times[0] == pytest.approx(4, rel=0.25)
    assert float(distances[0]) < 0.2
    assert float(distances[1]) < 0.12
    assert float(distances[2]) < 0.02


def test_a_large_start_does_not_pass_by_the_low_ranks():
    _, _, distances, _ = sensing_run(0.5, 300)
    assert float(distances[0]) > 0.3


@pytest.fixture(scope="module")
def deep_linear():
    land = LANDSCAPES["deep_linear"](depth=3, width=5, rank=3, top=4.0, ratio=0.5, scale=0.042)
    path = run(land, GD(lr=0.02), steps=2500, record_every=10)
    products = land.predictor(path.params).unflatten(-1, (5, 5))
    return path.step, torch.linalg.svdvals(products)


def test_a_deep_linear_network_learns_the_strongest_first(deep_linear):
    steps, values = deep_linear
    goals = torch.tensor([4.0, 2.0, 1.0], dtype=F64)
    times = half_way(steps, values, goals)
    assert 1.3 * times[0] < times[1]
    assert 1.3 * times[1] < times[2]
    torch.testing.assert_close(values[-1, :3], goals, rtol=0, atol=0.05)
    assert float(values[int(times[1] / 10) - 10, 2]) < 0.1  # the third waits while the second rises


def test_a_large_start_learns_all_strengths_at_once():
    land = LANDSCAPES["deep_linear"](depth=3, width=5, rank=3, top=4.0, ratio=0.5, scale=0.5)
    path = run(land, GD(lr=0.02), steps=300, record_every=2)
    values = torch.linalg.svdvals(land.predictor(path.params).unflatten(-1, (5, 5)))
    times = half_way(path.step, values, torch.tensor([4.0, 2.0, 1.0], dtype=F64))
    assert not 1.3 * times[0] < times[1] or not 1.3 * times[1] < times[2]


# ------------------------------------------------------------------ associative memory


def test_large_steps_spike_and_learn_the_rare_fact_first():
    land = LANDSCAPES["associative_memory"](share=0.9, overlap=0.99)
    etas = [0.5, 2.0, 5.0, 10.0, 20.0, 40.0, 80.0]
    path = run(land, GD(lr=column(etas)), steps=400)
    keys = torch.tensor([[1.0, 0.0], [0.99, math.sqrt(1 - 0.99**2)]], dtype=F64)
    scores = path.params @ keys.T
    both = (scores[..., 0] > 0) & (scores[..., 1] < 0)
    first = [int(one.nonzero()[0]) if bool(one.any()) else None for one in both.T]
    for index in (0, 1, 2):  # small steps: monotone, and never both
        assert first[index] is None
        assert float(path.loss[:, index].diff().max()) <= 0.0
    assert all(one is not None for one in first[3:])
    assert first[3] > first[4] > first[5] > first[6]
    assert float(path.loss[:, 6].max()) > 3 * float(path.loss[0, 6])
    assert float(path.loss[-1, 6]) < 0.02 < float(path.loss[-1, 2])


def stored(steps=400, **sizes):
    """The loss after a small and a large step size, for three draws of the embeddings: (3, 2)."""
    lands = [LANDSCAPES["token_memory"](labels=5, seed=seed, **sizes) for seed in range(3)]
    return torch.stack(
        [run(land, GD(lr=column([1.0, 300.0])), steps=steps, record_every=steps).loss[-1] for land in lands]
    )


def test_large_steps_store_more_facts_unless_there_are_too_many():
    """Sixteen tokens in ten dimensions, with frequencies by Zipf's law; and as many as two dimensions cannot keep apart."""
    small, large = stored(tokens=16, embedding=10).unbind(-1)
    assert bool((large < 1e-2).all())
    assert bool((small > 5e-2).all())
    small, large = stored(tokens=64, embedding=2).unbind(-1)
    assert bool((large > small).all())


# ------------------------------------------------------------------ scale invariance


@pytest.mark.parametrize("name", ["gd", "heavy_ball"])
def test_the_norm_of_scale_invariant_weights_grows_by_the_square_of_each_step(name):
    """Heo et al. 2021: every gradient is orthogonal to the weights, so that only squares add up."""
    beta, lr = (0.9, 0.1) if name == "heavy_ball" else (0.0, 0.1)
    rule = OPTIMIZERS[name](lr=lr, momentum=beta) if beta else OPTIMIZERS[name](lr=lr)

    def defect(land):
        path = run(land, rule, steps=300, batch_size=1)
        squares = (path.params.diff(dim=0) / lr).square().sum(-1)  # |p_t|^2
        norms = path.params.square().sum(-1)
        memory = np.zeros(len(squares) + 1)  # sum over k < t of beta^(t-k) |p_k|^2
        for t, square in enumerate(squares.tolist()):
            memory[t + 1] = beta * (memory[t] + square)
        predicted = lr**2 * (squares + 2 * torch.from_numpy(memory[:-1]))
        return float((norms.diff() - predicted).abs().max() / norms.max())

    assert defect(LANDSCAPES["scale_invariant"](noise=0.3, length=1.0)) < 1e-12
    assert defect(LANDSCAPES["logistic"]()) > 1e-3


def test_projecting_momentum_keeps_the_norm_from_growing():
    land = LANDSCAPES["scale_invariant"](noise=0.3, length=1.0)
    plain, projected = (
        run(
            land, OPTIMIZERS[name](lr=0.1, momentum=column([0.9, 0.0])), steps=600, batch_size=1, record_every=600
        ).final
        for name in ("heavy_ball", "sgdp")
    )
    ratio = plain.norm(dim=-1) / projected.norm(dim=-1)
    assert float(ratio[0]) > 1.5
    assert float(ratio[1]) == pytest.approx(1.0, abs=1e-6)  # without momentum there is nothing to project out


def test_weight_decay_brings_scale_invariant_weights_to_equilibrium():
    """Wan et al. 2021 (arXiv:2006.08419): |w|^4 -> eta E|g~|^2 / (2 lambda), and sqrt(2 eta lambda) radians a step."""
    land = LANDSCAPES["scale_invariant"](noise=0.5, length=1.0, samples=2000)
    eta, decay, steps = 0.1, 0.005, 4000
    path = run(land, GD(lr=eta, weight_decay=column([decay, 0.0])), steps=steps, batch_size=1)
    norms = path.params.norm(dim=-1)
    half = steps // 2
    unit = path.params / norms[..., None]
    angles = torch.arccos((unit[1:] * unit[:-1]).sum(-1).clamp(-1, 1))[half:]
    grads = (path.grad_norm * norms)[half:]  # at unit norm
    turned = angles.square().mean(0).sqrt() / math.sqrt(2 * eta * decay)
    quartic = norms[half:].pow(4).mean(0) / (eta * grads.square().mean(0) / (2 * decay))
    assert float(turned[0]) == pytest.approx(1, abs=0.05)
    assert float(quartic[0]) == pytest.approx(1, abs=0.1)
    assert not 0.95 < float(turned[1]) < 1.05  # without decay there is no equilibrium:
    growth = math.log(float(norms[-1, 1] / norms[steps // 8, 1])) / math.log(8)
    assert growth == pytest.approx(0.25, abs=0.02)  # the norm grows like the fourth root of time


# ------------------------------------------------------------------ catapult


def catapulted(land, start, multiples, steps):
    """By multiple and start: is it alive, final over initial curvature, step size times final curvature, peak over initial
    loss, final loss."""
    width = land.dim // 2
    first = start.square().sum(-1) / width
    lr = multiples[:, None] / first
    path = run(land, GD(lr=lr[..., None]), start, steps, params_every=steps)
    last = path.final.square().sum(-1) / width
    alive = path.diverged_at < 0
    return alive, last / first, lr * last, path.loss.nan_to_num(0).amax(0) / path.loss[0], path.loss[-1]


CATAPULTS = {
    "plane": (LANDSCAPES["catapult"](), 2.0, 2.1, 2.0),
    "wide": (LANDSCAPES["catapult_network"](units=256, gain=1.0), 1.8, 2.2, 5.0),
}


@pytest.mark.parametrize("case", CATAPULTS)
def test_catapult(case):
    land, lazy, jumping, peak = CATAPULTS[case]
    start = land.start(1 if case == "plane" else 3)
    multiples = torch.cat([torch.linspace(0.2, 3.9, 40, dtype=F64), torch.tensor([4.3, 5.0], dtype=F64)])
    alive, kept, end, peaks, losses = catapulted(land, start, multiples, 2000)
    small, large, lost = multiples < lazy, (multiples > jumping) & (multiples < 3.8), multiples > 4.2
    assert bool((kept[small] > 0.95).all())
    assert bool((losses[small] < 1e-6).all())
    assert bool((peaks[small] <= 1.0).all())  # no catapult where the step is small
    assert bool((losses[large] < 1e-6).all())
    assert bool((end[large] < 2).all())
    assert bool((kept[large] < 0.9).all())
    assert bool((peaks[large] > peak).all())
    assert bool(alive[~lost].all())
    assert not bool(alive[lost].any())


# ------------------------------------------------------------------ sparse features


def sparse_runs(land, etas, steps=8000, warm=800, calm=6000):
    """Single-sample descent with a linear warm-up and a drop to a twentieth; the network's coefficients (runs, features)."""
    generator = torch.Generator().manual_seed(0)
    picks = torch.randint(land.samples, (steps, 1), generator=generator)
    params = land.start()[0].expand(len(etas), -1)
    for t in range(steps):
        factor = 0.05 if t >= calm else min(1.0, (t + 1) / warm)
        params = params - factor * column(etas) * land.grad(params, picks[t])
    return land.predictor(params)


def test_large_steps_find_sparse_features():
    land = LANDSCAPES["diagonal_network"](features=100, samples=40, nonzero=4, scale=0.3)
    found = sparse_runs(land, [0.02, 0.12, 0.14, 0.16, 0.18])
    errors = (found - land.truth).square().sum(-1)
    counts = (found.abs() > 0.05).sum(-1)
    assert float(errors[0]) > 0.3  # small steps end at a dense fit,
    assert int(counts[0]) > 15
    best = int(torch.isfinite(found).all(-1).nonzero()[-1])
    assert best > 0
    assert float(errors[best]) < 0.05 * float(errors[0])
    assert int(counts[best]) <= 6
    # and close to where gradient flow goes.
    assert float((found[0] - land.bias_target()).norm()) < 0.5 * float(errors[0].sqrt())


# ------------------------------------------------------------------ heavy-tailed classes


def softmax_losses(land, rule):
    """Loss of each frequency group (groups,), and the mean, for the step size of the rule that ends lowest."""
    path = run(land, rule, land.start()[0], steps=150, record_every=150)
    best = int(path.loss[-1].nan_to_num(torch.inf).argmin())
    groups = [float(land.loss(path.final[best], members)) for members in land.groups().values()]
    return groups, float(path.loss[-1, best])


def test_gradient_descent_crawls_on_rare_classes_and_adam_and_sign_descent_do_not():
    land = LANDSCAPES["linear_softmax"]()
    slow, slow_mean = softmax_losses(land, GD(lr=column([0.5, 1.0, 2.0, 3.0])))
    fast, fast_mean = softmax_losses(land, OPTIMIZERS["adam"](lr=column([0.03, 0.1]), beta2=0.99))
    sign, sign_mean = softmax_losses(land, OPTIMIZERS["signsgd"](lr=column([0.03])))
    assert slow[-1] > 20 * slow[0]
    assert slow_mean > 50 * fast_mean
    assert slow_mean > 50 * sign_mean
    assert max(*fast, *sign) < 0.05


def test_without_the_constant_feature_gradient_descent_learns_rare_classes_too():
    groups, _ = softmax_losses(LANDSCAPES["linear_softmax"](constant=0.0), GD(lr=column([100.0, 300.0])))
    assert max(groups) < 0.05
