"""Each probe against what it claims to be, computed some other way."""

import itertools

import pytest
import torch

from landscapes import LANDSCAPES, MLP, flow_end
from optimizers import OPTIMIZERS, PROBES, SCHEDULES, WRAPPERS, Oracle, Scheduled, iterate, run
from tests.probing import every_probe

GD, ADAM = OPTIMIZERS["gd"], OPTIMIZERS["adam"]
NET = MLP(data="chebyshev", hidden=(6, 6), objective="squared")  # 61 parameters
QUADRATIC = LANDSCAPES["quadratic"](kappa=8.0)


def dense(land, params, batch=None):
    """The whole Hessian (dim, dim) by torch's own double differentiation."""
    return torch.autograd.functional.hessian(lambda w: land.loss(w, batch), params, vectorize=True)


def followed(land, rule, start, steps):
    """The iterates of one rule, step by step."""
    return list(itertools.islice(iterate(land, [rule], start), steps + 1))


# Eigenvalues


@pytest.mark.parametrize("k", [1, 4])
def test_top_eigenvalues_are_those_of_the_dense_hessian(k):
    path = run(NET, GD(lr=0.2), NET.start(2), 24, probes=[PROBES["top_eigenvalues"](k=k)], record_every=2)
    values = path.probes["top_eigenvalues"]
    assert values.shape == (13, 2, k)
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
    plain = run(NET, ADAM(), NET.start()[0], 4, probes=["preconditioned_sharpness"])
    wrapped = Scheduled(inner=ADAM(), schedule=SCHEDULES["constant"]())
    scheduled = run(NET, wrapped, NET.start()[0], 4, probes=["preconditioned_sharpness"])
    torch.testing.assert_close(
        scheduled.probes["preconditioned_sharpness"], plain.probes["preconditioned_sharpness"], equal_nan=True
    )


# Batches


def test_batch_sharpness_without_batches_is_the_curvature_along_the_gradient():
    path = run(NET, GD(lr=0.1), NET.start(2), 3, probes=["batch_sharpness"])
    means, errors = path.probes["batch_sharpness"].unbind(-1)
    assert bool((errors == 0).all())
    for params, found in zip(path.params.flatten(0, 1), means.flatten(), strict=True):
        grad = NET.grad(params)
        torch.testing.assert_close(found, grad @ dense(NET, params) @ grad / (grad @ grad))


def test_batch_sharpness_is_a_mean_over_batches():
    """Batches of one: the mean over all 20 samples is exact, and the draws come within four standard errors of it."""
    start = NET.start(1, seed=3)[0]
    probe = PROBES["batch_sharpness"](error=0.0, most=60)
    path = run(NET, GD(), start, 1, probes=[probe], batch_size=1)
    each = []
    for sample in range(NET.samples):
        batch = torch.tensor([sample])
        grad = NET.grad(start, batch)
        each.append(grad @ dense(NET, start, batch) @ grad / (grad @ grad))
    each = torch.stack(each)
    mean, error = path.probes["batch_sharpness"][0]
    assert (mean - each.mean()).abs() < 4 * each.std() / 60**0.5
    assert float(error) == pytest.approx(float(each.std()) / 60**0.5, rel=0.4)  # of 60 draws with repetition
    whole = run(NET, GD(), start, 1, probes=["batch_sharpness"]).probes["batch_sharpness"]
    assert each.mean() > 1.5 * whole[0, 0]


@pytest.mark.parametrize("error", [0.5, 0.2, 0.05])
def test_batch_sharpness_draws_batches_until_its_error_is_small_enough(error):
    """Two runs at once: both come to the error that is asked for, unless there are as many batches as are allowed."""
    path = run(
        NET, GD(lr=0.1), NET.start(2), 2, probes=[PROBES["batch_sharpness"](error=error, most=10_000)], batch_size=4
    )
    means, errors = path.probes["batch_sharpness"].unbind(-1)
    assert bool((errors <= error * means.abs()).all())
    capped = run(NET, GD(lr=0.1), NET.start(2), 2, probes=[PROBES["batch_sharpness"](error=0.0, most=30)], batch_size=4)
    thirty = run(NET, GD(lr=0.1), NET.start(2), 2, probes=[PROBES["batch_sharpness"](draws=30, most=30)], batch_size=4)
    torch.testing.assert_close(capped.probes["batch_sharpness"], thirty.probes["batch_sharpness"])


# Company


def test_dead_runs_hold_nan_and_disturb_no_other():
    start = NET.start(3, seed=1)
    start[1] = torch.inf
    rule = ADAM()
    kinds = every_probe(NET, rule)
    path = run(NET, rule, start, 2, probes=kinds)
    calm = run(NET, rule, start[[0, 2]], 2, probes=kinds)
    for name, values in path.probes.items():
        assert values[:, 1].isnan().all(), name
        # Iterations of a batch end together, within the tolerance; nodes of a density in its flat part are ill-conditioned.
        scale = float(values[:, [0, 2]].nan_to_num().abs().max())
        torch.testing.assert_close(values[:, [0, 2]], calm.probes[name], rtol=0, atol=2e-2 * scale, equal_nan=True)


def test_a_vector_is_nan_where_it_is_not_measured():
    kind = PROBES["top_eigenvalues"](k=2)
    path = run(NET, GD(), NET.start(2), 5, probes=[kind], probe_every=3)
    assert path.probes["top_eigenvalues"].isnan().all(-1)[:, 0].tolist() == [False, True, True, False, True, False]


# Each against the dense matrices at the same parameters

CLASSES = MLP(hidden=(3,), subset=30, test_share=0.4, activation="relu")  # 235 parameters, 10 classes


def samples_gradients(land, params):
    return torch.stack([land.grad(params, torch.tensor([index])) for index in range(land.samples)])


def top(matrix):
    return torch.linalg.eigvalsh(matrix)[-1]


def jacobian(land, params):
    inputs, _ = land.training_set(params)
    return torch.autograd.functional.jacobian(lambda w: land.outputs(w, inputs), params).flatten(0, 1)


def step_of(land, rule, params):
    return rule.step(params, rule.init(params), Oracle(land))[0] - params


def alignment(land, rule, params):
    grad = land.grad(params)
    product = dense(land, params) @ grad
    return grad @ product / (grad.norm() * product.norm())


def directional(land, rule, params):
    step = step_of(land, rule, params)
    return step @ dense(land, params) @ step / (step @ step)


def share(land, rule, params):
    grad = land.grad(params)
    vectors = torch.linalg.eigh(dense(land, params)).eigenvectors[:, -3:]
    return (vectors.T @ grad).square().sum() / grad.square().sum()


def noise(land, rule, params):
    rows = samples_gradients(land, params)
    covariance = torch.cov(rows.T, correction=0)
    return torch.stack([covariance.trace(), top(covariance)])


def fisher(land, rule, params):
    rows = samples_gradients(land, params)
    return top(rows.T @ rows / len(rows))


def kernel(land, rule, params):
    full = jacobian(land, params)
    return torch.linalg.eigvalsh(full @ full.T / land.samples).flip(0)[:3]


def gauss_newton(land, rule, params):
    """For cross-entropy the Fisher information: the mean outer product over labels drawn from the model itself."""
    inputs, _ = land.training_set(params)
    shares = land.outputs(params, inputs).softmax(-1)
    full = jacobian(land, params).reshape(land.samples, -1, land.dim)
    total = torch.zeros(land.dim, land.dim, dtype=torch.float64)
    for p, own in zip(shares, full, strict=True):
        for label in range(len(p)):
            score = (torch.nn.functional.one_hot(torch.tensor(label), len(p)) - p) @ own
            total += p[label] * torch.outer(score, score)
    return top(total / land.samples)


def correct(land, params, which):
    inputs, targets = which
    return (land.outputs(params, inputs).argmax(-1) == targets.argmax(-1)).double().mean()


def held_out_loss(land, rule, params):
    inputs, targets = land.test_set(params)
    return torch.nn.functional.cross_entropy(land.outputs(params, inputs), targets)


def zeros(land, rule, params):
    inputs, _ = land.training_set(params)
    weight, bias = land.layout.unpack(params)["W1"], land.layout.unpack(params)["b1"]
    return (torch.relu(inputs @ weight.T + bias) == 0).double().mean()


EXPECTED = {
    "batch_eigenvalue": lambda land, rule, w: top(dense(land, w)),
    "directional_sharpness": directional,
    "gradient_alignment": alignment,
    "subspace_share": share,
    "gradient_noise": noise,
    "empirical_fisher": fisher,
    "ntk": kernel,
    "gauss_newton": gauss_newton,
    "update_ratio": lambda land, rule, w: step_of(land, rule, w).norm() / w.norm(),
    "layer_norms": lambda land, rule, w: torch.stack([one.norm() for one in land.layout.unpack(w).values()]),
    "train_accuracy": lambda land, rule, w: correct(land, w, land.training_set(w)),
    "test_accuracy": lambda land, rule, w: correct(land, w, land.test_set(w)),
    "test_loss": held_out_loss,
    "sparsity": zeros,
}


@pytest.mark.parametrize("name", EXPECTED)
def test_a_probe_is_what_it_says(name):
    noise = torch.randn(2, CLASSES.dim, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    start, rule = CLASSES.start(2) + 0.2 * noise, GD(lr=0.1)
    found = run(CLASSES, rule, start, 1, probes=[name]).probes[name][0]
    expected = torch.stack([EXPECTED[name](CLASSES, rule, params) for params in start])
    iterative = name in ("ntk", "gauss_newton", "subspace_share", "batch_eigenvalue")
    # A residual of 1e-3 at a cold start leaves an error of its square in an eigenvalue, and of its size in a vector.
    torch.testing.assert_close(found, expected, rtol=1e-3 if iterative else 1e-9, atol=1e-12)


def test_the_smallest_eigenvalue_is_known_to_a_share_of_its_own_size():
    """Along a run to the edge of stability, where it is a few hundredths of the largest one."""
    land = MLP(hidden=(8,), subset=60, objective="squared")
    path = run(land, GD(lr=0.2), land.start(2), 400, probes=["smallest_eigenvalue"], record_every=100)
    value, error = path.probes["smallest_eigenvalue"].unbind(-1)
    true = torch.stack([torch.linalg.eigvalsh(dense(land, one)) for one in path.params.flatten(0, 1)]).reshape(5, 2, -1)
    assert (true[1:, :, 0].abs() < 0.04 * true[1:, :, -1]).all()
    assert ((value - true[..., 0]).abs() <= error).all()
    assert (error <= 1e-2 * value.abs()).all()
    torch.testing.assert_close(value, true[..., 0], rtol=1e-4, atol=0)


def test_trace_and_frobenius_carry_their_standard_error():
    path = run(NET, GD(), NET.start(2), 1, probes=["trace", "frobenius", "spectral_density"])
    for params, trace, norm, density in zip(NET.start(2), *(values[0] for values in path.probes.values()), strict=True):
        true = torch.linalg.eigvalsh(dense(NET, params))
        assert (trace[0] - true.sum()).abs() < 4 * trace[1]
        assert (norm[0] - true.norm()).abs() < 4 * norm[1]
        nodes, weights = density.chunk(2)
        torch.testing.assert_close(nodes[-1], true[-1], rtol=1e-6, atol=0)
        torch.testing.assert_close(weights.sum(), torch.tensor(1.0, dtype=torch.float64))


def test_the_update_is_the_one_that_is_taken_and_asks_the_same_chance():
    rules = [ADAM(), OPTIMIZERS["gravity"]()]
    path = run(NET, rules, NET.start(2), 3, probes=["update_ratio"], batch_size=5)
    taken = path.params.diff(dim=0).norm(dim=-1) / path.params[:-1].norm(dim=-1)
    torch.testing.assert_close(path.probes["update_ratio"][:-1], taken)


@pytest.mark.parametrize("name", ["gd", "heavy_ball", "nag", "adam", "lookahead"])
def test_the_training_jacobian_is_that_of_finite_differences(name):
    land = MLP(data="chebyshev", hidden=(3,), objective="squared")  # 10 parameters
    rule = WRAPPERS["lookahead"](inner=GD(lr=0.1), k=2) if name == "lookahead" else OPTIMIZERS[name](lr=0.05)
    start = land.start()[0] + 0.3 * torch.randn(land.dim, generator=torch.Generator().manual_seed(3)).double()
    found = run(land, rule, start, 5, probes=["training_jacobian"]).probes["training_jacobian"]
    torch.testing.assert_close(found[0], torch.ones(land.dim, dtype=torch.float64))
    step = 1e-6 * torch.eye(land.dim, dtype=torch.float64)
    ends = [run(land, rule, start + sign * step, 5).final for sign in (1, -1)]
    expected = torch.linalg.svdvals((ends[0] - ends[1]) / 2e-6)
    # Central differences: the step's square, and rounding over the step. Adam divides by sizes that differ by orders.
    torch.testing.assert_close(found[-1], expected, rtol=1e-5, atol=1e-6 * float(expected[0]))
    assert (found[-1] - 1).abs().max() > 0.05


@pytest.mark.parametrize(
    ("name", "land", "rule", "sentence"),
    [
        ("gauss_newton", QUADRATIC, GD(), "Quadratic bowl does not learn from samples: Gauss-Newton sharpness is not defined."),
        ("train_accuracy", NET, GD(), "Chebyshev has no classes: Training accuracy is not defined."),
        ("test_loss", MLP(hidden=(3,), subset=30), GD(), "There are no test samples (choose a share of samples to hold out): Test loss is not defined."),
        ("gradient_noise", MLP(hidden=(3,), norm="batch"), GD(), "A sample has no loss of its own here, as with batch norm: Gradient noise covariance is not defined."),
        ("gfs_sharpness", MLP(), GD(), "To follow gradient flow to its end needs the whole Hessian: GFS sharpness is for at most 500 parameters, and mlp has 26122."),
        ("gfs_sharpness", MLP(hidden=(4,)), GD(), "To follow gradient flow to its end needs the whole Hessian: with its 310 parameters mlp may have at most 208 samples, not 1797."),
        ("gfs_sharpness", LANDSCAPES["logistic"](), GD(), "Gradient flow on Logistic regression, separable goes to infinity: there is no minimum whose sharpness to measure."),
        ("gradient_noise", QUADRATIC, GD(), "Quadratic bowl is not a mean over samples: Gradient noise covariance is not defined."),
        ("sparsity", QUADRATIC, GD(), "Quadratic bowl has no hidden activations: Sparsity of activations is not defined."),
        ("training_jacobian", NET, OPTIMIZERS["sam"](), "SAM asks for more than one gradient where it stands: its training Jacobian is not computed."),
        ("training_jacobian", MLP(), GD(), "The training Jacobian is for at most 600 parameters, and mlp has 26122."),
    ],
    ids=lambda value: value if isinstance(value, str) and " " not in value else None,
)  # fmt: skip
def test_a_probe_that_does_not_apply_says_why(name, land, rule, sentence):
    sentence = sentence.replace("Quadratic bowl", QUADRATIC.label)
    assert PROBES[name]().refusal(land, rule) == sentence
    with pytest.raises(ValueError) as refused:  # noqa: PT011
        run(land, rule, steps=1, probes=[name])
    assert str(refused.value) == sentence


def test_gfs_sharpness_is_the_landscapes_own():
    land = LANDSCAPES["scalar_network"]()
    path = run(land, GD(lr=1e-3), land.start(2), 2, probes=["gfs_sharpness"])
    torch.testing.assert_close(path.probes["gfs_sharpness"], land.gfs_sharpness(path.params))


def test_gfs_sharpness_follows_the_flow_where_there_is_no_closed_form():
    land = LANDSCAPES["phase_retrieval"](features=3, samples=12)
    path = run(land, [GD(lr=0.1), GD(lr=0.2)], land.start(2), 2, probes=["gfs_sharpness"], batch_size=4)
    found = path.probes["gfs_sharpness"]
    torch.testing.assert_close(found, flow_end(land, path.params).sharpness, rtol=1e-4, atol=0)
    # Both minima are equally steep: what the flow of the full loss ends in, whatever the batches.
    torch.testing.assert_close(found, land.known_sharpness()[1][0].expand_as(found), rtol=1e-4, atol=0)


def test_the_eigenvalue_of_a_batch_rises_as_it_shrinks():
    kinds = {size: PROBES["batch_eigenvalue"](size=size, draws=8) for size in (2, 8, 20)}
    found = {
        n: run(NET, GD(), NET.start(), 1, probes=[kind]).probes["batch_eigenvalue"][0, 0] for n, kind in kinds.items()
    }
    assert found[2] > found[8] > found[20]
