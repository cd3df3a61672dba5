"""What is known of Hessian spectra, of minibatches and of the map that training is, found again with the project's own probes.

Each is also looked for where it must not be found. Sizes are small, so that all takes seconds: each section says where they
are smaller than those at which the numbers were first measured.
"""

import math
from functools import cache, partial

import pytest
import torch

from landscapes import MLP
from optimizers import OPTIMIZERS, PROBES, run

GD = OPTIMIZERS["gd"]


def learning(inputs, labels, **settings):
    """A network on samples of one's own."""

    class Own(MLP):
        @property
        def samples(self):
            return len(inputs)

        @property
        def input_shape(self):
            return tuple(inputs.shape[1:])

        @property
        def targets(self):
            return labels.shape[1]

        @property
        def classes(self):
            return self.objective == "cross_entropy"

        def training_set(self, like):
            return inputs.to(like), labels.to(like)

    return Own(**settings)


def clusters(classes, count, centers, spread):
    """Points around the centers (classes, features) of their classes, and one-hot targets; sample i is of class i mod `classes`."""
    label = torch.arange(count) % classes
    noise = torch.randn(count, centers.shape[1], generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    return centers[label] + spread * noise, torch.nn.functional.one_hot(label, classes).double()


def scattered(classes, features, size):
    return size * torch.randn(classes, features, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def orthogonal(classes, features, size):
    return size * torch.eye(features, dtype=torch.float64)[:classes]


# The gradient in a tiny subspace (Gur-Ari, Roberts and Dyer 2018, arXiv:1812.04754; caveat: Song, Ahn and Yun 2024)


def test_under_noise_the_gradient_lies_in_the_top_subspace_and_with_small_full_steps_it_does_not():
    """Measured every 25 or 50 steps instead of every 15."""
    inputs, targets = clusters(3, 150, scattered(3, 5, 0.7 * 1.5 / 5**0.5), 0.7)
    land = learning(inputs, targets, hidden=(20,))  # 183 parameters
    kinds = [PROBES["subspace_share"](k=3)]
    noisy = run(land, GD(lr=0.2), steps=300, probes=kinds, record_every=25, batch_size=16)
    calm = run(land, GD(lr=0.2), steps=300, probes=kinds, record_every=50)
    assert noisy.probes["subspace_share"][5:].mean() > 0.6  # 3 of 183 directions: 0.016 by chance
    assert calm.probes["subspace_share"][3:].median() < 0.1


# Bulk and outliers (Sagun et al. 2016, arXiv:1611.07476, and 2017, arXiv:1706.04454)


@cache
def trained(classes, hidden, objective="cross_entropy", each=120):
    """A network after 200 steps, and the probe's 2 * classes + 1 largest eigenvalues there."""
    inputs, targets = clusters(classes, each * classes, orthogonal(classes, 8, 3.0), 0.7)
    land = learning(inputs, targets, hidden=(hidden,), activation="relu", objective=objective)
    kinds = [PROBES["top_eigenvalues"](k=2 * classes + 1)]
    path = run(land, GD(lr=0.1), steps=200, probes=kinds, record_every=200)
    return land, path.final, path.probes["top_eigenvalues"][-1]


def gaps(*case):
    """The largest 2 * classes eigenvalues, each over the next."""
    _, _, values = trained(*case)
    return (values[:-1] / values[1:]).tolist()


def flat(*case):
    """How many of all eigenvalues are below a hundredth of the largest."""
    land, params, _ = trained(*case)
    values = torch.linalg.eigvalsh(land.hvp(params, torch.eye(land.dim, dtype=torch.float64)))
    return int((values.abs() < 0.01 * values[-1]).sum())


def test_there_is_an_outlier_for_each_class_but_one():
    """With four of the six pairs of classes and widths: the wider network has three classes only."""
    cases = [(2, 10), (3, 10), (4, 10), (3, 20)]
    found = {case: gaps(*case) for case in cases}
    assert all(ratios[classes - 2] > 1.6 for (classes, _), ratios in found.items())
    assert sum(max(ratios) == ratios[classes - 2] for (classes, _), ratios in found.items()) >= len(cases) / 2


def test_under_the_squared_loss_the_outliers_are_not_classes_minus_one():
    found = gaps(3, 10, "squared")
    assert max(found) != found[1]


def test_a_wider_network_has_more_flat_directions_and_no_more_steep_ones():
    """With three classes only."""
    assert flat(3, 20) > 1.5 * flat(3, 10)
    narrow, wide = (trained(3, hidden)[2] for hidden in (10, 20))
    assert float(wide[0] / narrow[0]) == pytest.approx(1, abs=0.2)
    # More samples instead of neurons leave the number of flat directions as it is.
    assert flat(3, 10, "cross_entropy", 240) < 1.2 * flat(3, 10)


# What a minibatch sees (Granziol, Zohren and Roberts 2020, arXiv:2006.09092)


def batch_eigenvalue(land, params, size, draws):
    kind = PROBES["batch_eigenvalue"](size=size, draws=draws)
    return float(run(land, GD(), params, 1, probes=[kind]).probes["batch_eigenvalue"][0])


@pytest.mark.parametrize("independent", [True, False])
def test_the_batch_hessian_of_least_squares_has_the_edge_of_marchenko_and_pastur(independent):
    """With batches of at most 500 instead of 2,000. If all features are the same one, the edge is at their number for any batch."""
    inputs = torch.randn(4000, 200, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    if not independent:
        inputs = inputs[:, :1].expand(-1, 200)
    land = learning(inputs, torch.zeros(len(inputs), 1, dtype=torch.float64), hidden=(), objective="squared")
    for size in (5, 50, 500):
        found = batch_eigenvalue(land, land.start()[0], size, 5)
        assert (found == pytest.approx((1 + (200 / size) ** 0.5) ** 2, rel=0.12)) == independent


@pytest.mark.parametrize("varied", [True, False])
def test_a_batch_of_a_trained_network_is_steeper_the_smaller_it_is_unless_all_samples_are_the_same(varied):
    """With three sizes of eight batches each instead of four sizes of ten."""
    inputs, targets = clusters(4, 512, scattered(4, 10, 1.5 / 10**0.5), 0.7)
    if not varied:
        inputs, targets = inputs[:1].expand(512, -1), targets[:1].expand(512, -1)
    land = learning(inputs, targets, hidden=(16,))
    params = run(land, GD(lr=0.5), steps=150, record_every=150).final
    full = batch_eigenvalue(land, params, 512, 1)
    ratios = [batch_eigenvalue(land, params, size, 8) / full for size in (4, 32, 256)]
    if varied:
        assert sorted(ratios, reverse=True) == ratios
        assert ratios[0] > 2
        assert ratios[-1] > 0.98
    else:
        assert max(ratios) < 1.01


SIZES = (1, 4, 16)


def largest_steps(inputs):
    """For each batch size the largest step size at which the parameters have not grown after 150 steps, in mean log."""
    land = learning(inputs, torch.zeros(len(inputs), 1, dtype=torch.float64), hidden=(), objective="squared")
    start = torch.randn(land.dim, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    start[-1] = 0  # the bias
    lrs = torch.logspace(-2, 0.48, 41, dtype=torch.float64)[:, None]
    found = []
    for size in SIZES:
        path = run(
            land, [GD(lr=lrs)] * 4, start, 150, seed=list(range(4)), batch_size=size, sampling="replacement",
            record_every=150,
        )  # fmt: skip
        growth = (path.final.norm(dim=-1) / start.norm()).log().masked_fill(path.diverged_at >= 0, torch.inf).mean(0)
        found.append(float(lrs[:, 0][growth <= 0].max()))
    return found


@pytest.mark.parametrize("varied", [True, False])
def test_the_largest_step_of_sgd_grows_with_the_batch_unless_all_samples_are_the_same(varied):
    """With 60 features instead of 100, up to batches of 16, and 41 step sizes."""
    inputs = torch.randn(5000, 60, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    steps = largest_steps(inputs if varied else inputs[:1].expand(100, -1))
    slope = math.log(steps[-1] / steps[0]) / math.log(SIZES[-1] / SIZES[0])
    if varied:
        assert steps == pytest.approx([2 * size / (size + 61) for size in SIZES], rel=0.2)
        assert abs(slope - 1) <= 0.12
    else:
        assert abs(slope) < 0.05


TARGETS = 20  # parameters that a noisy gradient pulls to zero
NOISY = {"gd": (GD, 1.0), "adam": (partial(OPTIMIZERS["adam"], beta2=0.99), 0.5)}  # and the power of the batch size


@pytest.mark.parametrize(("name", "noise"), [("gd", 1.0), ("adam", 1.0), ("gd", 0.0)])
def test_the_largest_step_that_still_reaches_a_loss_grows_with_the_batch_or_for_adam_with_its_root(name, noise):
    """Gradients w + N(0, 1/B). With 300 steps from w = 0 instead of 3000 from afar, batches of 1 and 16 only, and a mean
    loss of 0.1 instead of 0.02. Without noise in the gradient the batch does not matter."""
    rule, power = NOISY[name]
    values = noise * torch.randn(5000, TARGETS, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    # On inputs of zero, the gradient in the bias is the bias less the mean target of the batch.
    land = learning(torch.zeros(5000, 1), values - values.mean(0), hidden=(), objective="squared")
    lrs = torch.logspace(-3, 0.2, 41, dtype=torch.float64)[:, None]
    found = []
    for size in (1, 16):
        path = run(
            land, rule(lr=lrs), torch.zeros(land.dim, dtype=torch.float64), 300, batch_size=size, sampling="replacement",
            record_every=4,
        )  # fmt: skip
        losses = path.params[25:].square().sum(-1).mean(0) / 2
        found.append(float(lrs[:, 0][losses < 0.1].max()))
    slope = math.log(found[1] / found[0]) / math.log(16)
    assert slope == pytest.approx(power if noise else 0.0, abs=0.15)


# The training Jacobian (Belrose and Scherlis 2024, arXiv:2412.07003)


@pytest.mark.parametrize("isotropic", [False, True])
def test_training_leaves_most_directions_alone_if_the_inputs_span_few(isotropic):
    spread = torch.full((12,), 0.7) if isotropic else 0.7 / torch.arange(1, 13)
    inputs, targets = clusters(3, 30, orthogonal(3, 12, 2.0), spread)
    land = learning(inputs, targets, hidden=(12,))  # 195 parameters
    path = run(land, GD(lr=0.2), steps=150, probes=["training_jacobian"], record_every=150)
    values = path.probes["training_jacobian"][-1]
    bulk = ((values - 1).abs() < 0.05).double().mean()
    if isotropic:
        assert bulk < 0.4
    else:
        assert bulk > 0.4
        assert values[0] > 1.2
        assert values[-1] < 0.5


def bulk(*, permuted=False, elsewhere=False):
    """Left and right singular vectors (dim, k) of the singular values within 5 % of 1 of the training Jacobian, as the
    product of I - lr H along a run, from dense Hessians: the probe has its singular values only."""
    inputs, targets = clusters(3, 30, orthogonal(3, 12, 2.0), 0.7 / torch.arange(1, 13))
    if permuted:
        targets = targets[torch.randperm(30, generator=torch.Generator().manual_seed(2))]
    land = learning(inputs.flip(1) if elsewhere else inputs, targets, hidden=(12,))
    path = run(land, GD(lr=0.2), steps=150)
    product = eye = torch.eye(land.dim, dtype=torch.float64)
    for params in path.params[:-1]:
        product = product - 0.2 * land.hvp(params, eye) @ product
    left, values, right = torch.linalg.svd(product)
    kept = (values - 1).abs() < 0.05
    return left[:, kept], right.mT[:, kept]


def test_the_bulk_of_directions_stays_what_it_was_and_is_decided_by_the_inputs_not_the_labels():
    left, right = bulk()
    assert float((left * right).sum(0).abs().median()) > 0.9
    _, permuted = bulk(permuted=True)
    _, elsewhere = bulk(elsewhere=True)

    def inside(vectors):
        """The share of a subspace that lies in the bulk."""
        return float((right.mT @ vectors).square().sum() / vectors.shape[1])

    assert permuted.shape[1] < right.shape[1]
    assert inside(permuted) > 0.9
    # With the same labels, but inputs along other coordinates, it is about that of a random subspace.
    assert inside(elsewhere) == pytest.approx(right.shape[1] / len(right), abs=0.1)
