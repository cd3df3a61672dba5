"""Each probe against what it claims to be, computed some other way."""

import itertools

import pytest
import torch

from landscapes import LANDSCAPES, MLP
from optimizers import OPTIMIZERS, PROBES, iterate, run

GD, ADAM = OPTIMIZERS["gd"], OPTIMIZERS["adam"]
NET = MLP(data="chebyshev", hidden=(6, 6), objective="squared")  # 61 parameters
QUADRATIC = LANDSCAPES["quadratic"](kappa=8.0)


def dense(land, params, batch=None):
    """The whole Hessian (dim, dim) by torch's own double differentiation."""
    return torch.autograd.functional.hessian(lambda w: land.loss(w, batch), params)


def followed(land, rule, start, steps):
    """The iterates of one rule, step by step."""
    return list(itertools.islice(iterate(land, [rule], start), steps + 1))


# Eigenvalues


@pytest.mark.parametrize("k", [1, 4])
def test_top_eigenvalues_are_those_of_the_dense_hessian(k):
    path = run(NET, GD(lr=0.2), NET.start(2), 40, probes=[PROBES["top_eigenvalues"](k=k)], record_every=2)
    values = path.probes["top_eigenvalues"]
    assert values.shape == (21, 2, k)
    for params, found in zip(path.params.flatten(0, 1), values.flatten(0, 1), strict=True):
        true = torch.linalg.eigvalsh(dense(NET, params)).flip(0)
        # A residual of 1 % bounds the distance to some eigenvalue; the largest one's error is of the order of its square.
        assert ((found[:, None] - true).abs().amin(-1) <= 1e-2 * true[0]).all()
        torch.testing.assert_close(found[0], true[0], rtol=2e-3, atol=0)
        torch.testing.assert_close(found, true[:k], rtol=0, atol=2e-2 * float(true[0]))


ADAPTIVE = [kind for kind in OPTIMIZERS.values() if kind.preconditions]
every_adaptive = pytest.mark.parametrize("kind", ADAPTIVE, ids=lambda kind: kind.name)


@every_adaptive
def test_preconditioned_sharpness_is_that_of_the_scaled_dense_hessian(kind):
    rule = kind(lr=1e-3)
    path = run(NET, rule, NET.start(2), 4, probes=["preconditioned_sharpness"])
    found = path.probes["preconditioned_sharpness"]
    assert found[0].isnan().all()  # no gradient has been felt yet
    for now in followed(NET, rule, NET.start(2), 4)[1:]:
        scale = rule.preconditioner(now.states[0]).expand(2, NET.dim).rsqrt()
        for index, params in enumerate(now.params[0]):
            scaled = scale[index][:, None] * dense(NET, params) * scale[index]
            true = torch.linalg.eigvalsh((scaled + scaled.T) / 2)
            # As above: the residual is relative to the largest size, which may belong to a negative one.
            atol = 1e-2 * float(true.abs().max())
            torch.testing.assert_close(found[now.step, index], true[-1], rtol=0, atol=atol)


def test_preconditioned_sharpness_sees_through_wrappers():
    from optimizers import SCHEDULES, Scheduled

    plain = run(NET, ADAM(), NET.start()[0], 4, probes=["preconditioned_sharpness"])
    wrapped = Scheduled(inner=ADAM(), schedule=SCHEDULES["constant"]())
    scheduled = run(NET, wrapped, NET.start()[0], 4, probes=["preconditioned_sharpness"])
    torch.testing.assert_close(
        scheduled.probes["preconditioned_sharpness"], plain.probes["preconditioned_sharpness"], equal_nan=True
    )


# Batches


def test_batch_sharpness_without_batches_is_the_curvature_along_the_gradient():
    path = run(NET, GD(lr=0.1), NET.start(2), 3, probes=["batch_sharpness"])
    for params, found in zip(path.params.flatten(0, 1), path.probes["batch_sharpness"].flatten(), strict=True):
        grad = NET.grad(params)
        torch.testing.assert_close(found, grad @ dense(NET, params) @ grad / (grad @ grad))


def test_batch_sharpness_is_a_mean_over_batches():
    """Batches of one: the mean over all 20 samples is exact, and 200 draws come within four standard errors of it."""
    start = NET.start(1, seed=3)[0]
    path = run(NET, GD(), start, 1, probes=[PROBES["batch_sharpness"](draws=200)], batch_size=1)
    each = []
    for sample in range(NET.samples):
        batch = torch.tensor([sample])
        grad = NET.grad(start, batch)
        each.append(grad @ dense(NET, start, batch) @ grad / (grad @ grad))
    each = torch.stack(each)
    error = (path.probes["batch_sharpness"][0] - each.mean()).abs()
    assert error < 4 * each.std() / 200**0.5
    assert each.mean() > 1.5 * run(NET, GD(), start, 1, probes=["batch_sharpness"]).probes["batch_sharpness"][0]


# Company


def test_dead_runs_hold_nan_and_disturb_no_other():
    start = NET.start(3, seed=1)
    start[1] = torch.inf
    rule = ADAM()
    kinds = [kind() for kind in PROBES.values() if not kind().refusal(NET, rule)]
    path = run(NET, rule, start, 3, probes=kinds)
    calm = run(NET, rule, start[[0, 2]], 3, probes=kinds)
    for name, values in path.probes.items():
        assert values[:, 1].isnan().all(), name
        # Iterations of a batch end together, within the tolerance; nodes of a density in its flat part are ill-conditioned.
        scale = float(values[:, [0, 2]].nan_to_num().abs().max())
        torch.testing.assert_close(values[:, [0, 2]], calm.probes[name], rtol=0, atol=2e-2 * scale, equal_nan=True)


def test_a_vector_is_nan_where_it_is_not_measured():
    kind = PROBES["top_eigenvalues"](k=2)
    path = run(NET, GD(), NET.start(2), 5, probes=[kind], probe_every=3)
    assert path.probes["top_eigenvalues"].isnan().all(-1)[:, 0].tolist() == [False, True, True, False, True, False]
