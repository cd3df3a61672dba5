"""Data sets against their definitions, scikit-learn, and what is declared about them; what a recipe does to any of them."""

import importlib
import itertools
import math
import sys

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.interpolate import interp1d
from scipy.ndimage import gaussian_filter1d
from sklearn.datasets import load_digits, make_circles, make_moons
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.preprocessing import StandardScaler

from landscapes import MLP
from landscapes.data import DATA, FORMS, Recipe, tensors
from landscapes.data.mnist1d import draws, shapes, signals
from landscapes.data.points import zipf_counts

LOCAL = {"mnist", "fashion_mnist", "cifar10"}  # of the user's own files: tests/landscapes/test_files.py
NOT_DRAWN = {"digits", "chebyshev", "modular_addition"}
SOURCES = [source for name, source in DATA.items() if name not in LOCAL]
every_source = pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)


def split(name, **changes):
    return Recipe(name, **changes).make()


def test_sources_are_keyed_by_their_names():
    assert all(source.name == name for name, source in DATA.items())
    assert set(DATA) > LOCAL | NOT_DRAWN


@every_source
def test_samples_are_as_declared(source):
    made = source.make(0)
    assert made.inputs.shape == (source.count(), *source.shape)
    for inputs, targets in ((made.inputs, made.targets), *([made.test] if made.test else [])):
        assert inputs.dtype == torch.float64
        assert torch.isfinite(inputs).all()
        if source.classes:
            assert targets.dtype == torch.int64
            assert set(targets.tolist()) == set(range(source.outputs))  # every class occurs
        else:
            assert targets.dtype == torch.float64
            assert targets.shape == (len(inputs), source.outputs)


@every_source
def test_a_seed_gives_the_same_samples_and_another_seed_others(source):
    first, again, other = source.make(0), source.make(0), source.make(1)
    assert torch.equal(first.inputs, again.inputs)
    assert torch.equal(first.targets, again.targets)
    assert torch.equal(first.inputs, other.inputs) == (source.name in NOT_DRAWN)


@every_source
@pytest.mark.parametrize("form", FORMS)
def test_every_form_that_fits_holds_the_same_numbers(source, form):
    if not source.fits(form):
        assert form != "vector"
        return
    inputs = split(source.name, form=form).inputs
    assert inputs.shape[1:] == source.form(form)
    assert torch.equal(
        inputs[7].sort().values.flatten().sort().values, source.make(0).inputs[7].flatten().sort().values
    )


def test_images_become_sequences_of_rows_and_signals_of_points():
    images, rows = split("digits", form="image").inputs, split("digits", form="sequence").inputs
    assert torch.equal(rows[5, 2], images[5, 0, 2])
    signals, points = split("mnist1d", form="image").inputs, split("mnist1d", form="sequence").inputs
    assert points.shape[1:] == (40, 1)
    assert torch.equal(points[5, :, 0], signals[5, 0, 0])


# Facts


def test_digits_are_those_of_sklearn_in_their_order():
    made, bunch = split("digits"), load_digits()
    assert torch.equal(made.inputs, torch.tensor(bunch.data) / 16)
    assert made.targets.argmax(-1).tolist() == bunch.target.tolist()
    assert len(made.test_inputs) == 0


def test_digits_are_read_without_importing_sklearn(monkeypatch):
    """A link that names them is read within milliseconds, also by a process that has just begun."""
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError):
        importlib.import_module("sklearn.datasets")
    assert DATA["digits"].make(0).inputs.shape == (1797, 1, 8, 8)


@pytest.mark.parametrize(
    ("name", "expected"),
    [("two_moons", make_moons(500, noise=0.1, random_state=5)),
     ("circles", make_circles(500, noise=0.05, factor=0.5, random_state=5))],
)  # fmt: skip
def test_the_planes_classics_are_those_of_sklearn(name, expected):
    made = split(name, seed=5)
    assert np.array_equal(made.inputs, expected[0])
    assert np.array_equal(made.targets.argmax(-1), expected[1])


def test_spirals_need_curved_boundaries():
    made = split("spirals", test_share=0.3)
    labels, test_labels = made.targets.argmax(-1), made.test_targets.argmax(-1)
    near = KNeighborsClassifier(3).fit(made.inputs, labels).score(made.test_inputs, test_labels)
    straight = LogisticRegression().fit(made.inputs, labels).score(made.test_inputs, test_labels)
    assert near > 0.97
    assert straight < 0.7


@given(st.integers(2, 200), st.integers(0, 2000))
def test_classes_of_unequal_size_follow_zipf(classes, extra):
    samples = classes + extra
    counts = zipf_counts(classes, samples)
    assert int(counts.sum()) == samples
    assert int(counts.min()) >= 1
    harmonic = sum(1 / rank for rank in range(1, classes + 1))
    for rank, count in enumerate(counts.tolist(), start=1):
        # One sample for each class, then shares of the rest, rounded up or down.
        assert abs(count - 1 - extra / rank / harmonic) <= 1


def test_blobs_are_clusters_of_those_sizes():
    made = split("blobs")
    labels = made.targets.argmax(-1)
    assert torch.bincount(labels).tolist() == zipf_counts(30, 1000).tolist()
    first = made.inputs[labels == 0]
    spread = first.std(0)
    assert len(first) > 200
    # Five standard errors of a standard deviation of that many normal numbers.
    assert (spread - 0.3).abs().max() < 5 * 0.3 / math.sqrt(2 * len(first))


def test_a_polynomial_is_of_degree_five_and_unit_variance():
    made = split("polynomial", seed=3)
    x, y = made.inputs[:, 0].numpy(), made.targets[:, 0].numpy()
    coefficients, (residual, *_) = np.polynomial.legendre.legfit(x, y, 5, full=True)
    assert residual < 1e-24
    assert np.polynomial.legendre.legfit(x, y, 4, full=True)[1][0] > 1e-4
    # The mean over [-1, 1] of the square of the k-th Legendre polynomial is 1 / (2k + 1).
    assert abs(coefficients[0]) < 1e-12
    assert sum(c**2 / (2 * k + 1) for k, c in enumerate(coefficients)) == pytest.approx(1, abs=1e-12)


def test_a_teacher_is_a_network_of_torch():
    source, generator = DATA["teacher_student"], torch.Generator().manual_seed(4)
    made = source.make(4)
    x = torch.randn(500, 20, generator=generator, dtype=torch.float64)
    assert torch.equal(made.inputs, x)
    teacher = torch.nn.Sequential(
        torch.nn.Linear(20, 5, bias=False), torch.nn.Tanh(), torch.nn.Linear(5, 1, bias=False)
    ).double()
    for layer in (teacher[0], teacher[2]):
        weight = torch.randn(layer.weight.shape, generator=generator, dtype=torch.float64)
        layer.weight.data = weight / math.sqrt(weight.shape[1])
    torch.testing.assert_close(made.targets, teacher(x).detach())


def test_parity_is_of_the_first_three_bits():
    made = DATA["sparse_parity"].make(0)
    assert set(made.inputs.flatten().tolist()) == {-1.0, 1.0}
    assert torch.equal(made.inputs[:, :3].prod(-1), 1.0 - 2.0 * made.targets)
    assert abs(float(made.targets.double().mean()) - 0.5) < 5 * 0.5 / math.sqrt(1000)


def test_modular_addition_holds_every_pair_once():
    made = split("modular_addition", form="sequence")
    pairs = [tuple(pair) for pair in made.inputs.argmax(-1).tolist()]
    assert sorted(pairs) == list(itertools.product(range(31), range(31)))
    assert made.targets.argmax(-1).tolist() == [(a + b) % 31 for a, b in pairs]
    assert torch.equal(split("modular_addition").inputs, made.inputs.reshape(-1, 62))


def test_the_adding_problem_marks_one_number_in_each_half():
    made = split("adding", form="sequence")
    numbers, marks = made.inputs[..., 0], made.inputs[..., 1]
    assert (marks[:, :10].sum(-1) == 1).all()
    assert (marks[:, 10:].sum(-1) == 1).all()
    assert set(marks.flatten().tolist()) == {0.0, 1.0}
    for row in range(20):
        first, second = marks[row].nonzero()[:, 0].tolist()
        assert float(made.targets[row, 0]) == pytest.approx(float(numbers[row, first] + numbers[row, second]))


# MNIST-1D


def test_signals_are_those_of_the_paper_step_by_step():
    """One sample at a time, by scipy, from the same random numbers."""
    drawn = draws(40, torch.Generator().manual_seed(2))
    made = signals(shapes().repeat(4, 1), drawn)
    for row in range(40):
        shape = shapes()[row % 10].numpy()
        padding, scale, move, shear = (float(one[row]) for one in (drawn.padding, drawn.scale, drawn.move, drawn.shear))
        x = np.concatenate([shape + 1e-12, np.zeros(int(padding))])
        x = interp1d(np.linspace(0, 1, len(x)), x)(np.linspace(0, 1, 72)) * scale
        x = np.roll(x, int(move))
        x = np.where(x != 0, x, gaussian_filter1d(0.25 * drawn.correlated[row].numpy(), 2))
        x = x + 0.02 * drawn.independent[row].numpy() - shear * np.linspace(-0.5, 0.5, 72)
        x = interp1d(np.linspace(0, 1, 72), x)(np.linspace(0, 1, 40))
        np.testing.assert_allclose(made[row], x, atol=1e-10)  # the reference tells signal from padding by 1e-12


def test_random_numbers_of_signals_lie_in_their_ranges():
    drawn = draws(4000, torch.Generator().manual_seed(0))
    assert drawn.padding.unique().tolist() == list(range(36, 61))
    assert drawn.move.unique().tolist() == list(range(48))
    for one, low, high in ((drawn.scale, 0.8, 1.2), (drawn.shear, -0.375, 0.375)):
        assert low <= float(one.min()) < low + 0.01
        assert high - 0.01 < float(one.max()) <= high


def test_mnist1d_is_balanced_standardized_and_split():
    made = DATA["mnist1d"].make(0)
    assert torch.bincount(torch.cat([made.targets, made.test[1]])).tolist() == [500] * 10
    everything = torch.cat([made.inputs, made.test[0]])
    assert len(made.test[0]) == 1000
    torch.testing.assert_close((float(everything.mean()), float(everything.std(correction=0))), (0.0, 1.0))
    # The paper's linear classifier is right on 32 % of the test samples.
    score = LogisticRegression(max_iter=300).fit(made.inputs.flatten(1)[::2], made.targets[::2])
    assert 0.2 < score.score(made.test[0].flatten(1), made.test[1]) < 0.4


# What a recipe does


@given(st.integers(0, 30), st.floats(0, 0.9), st.integers(0, 9))
def test_parts_are_disjoint_and_of_the_size_that_is_said(subset, share, seed):
    recipe = Recipe("chebyshev", subset=subset, test_share=share, seed=seed)
    made = recipe.make()
    held = math.floor(20 * share)
    assert len(made.test_inputs) == held
    assert len(made.inputs) == len(made.targets) == recipe.samples == min(20 - held, subset or 20)
    seen = made.inputs.flatten().tolist() + made.test_inputs.flatten().tolist()
    assert len(set(seen)) == len(seen)
    assert set(seen) <= set(split("chebyshev").inputs.flatten().tolist())


def test_a_part_leaves_the_sources_own_test_set_alone():
    whole, part, own = split("mnist1d"), split("mnist1d", subset=100), split("mnist1d", test_share=0.1)
    assert torch.equal(part.test_inputs, whole.test_inputs)
    assert len(part.inputs) == 100
    assert len(own.test_inputs) == 400
    assert len(own.inputs) == 3600


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
@pytest.mark.parametrize("name", ["two_moons", "digits"])
def test_label_noise_is_a_share_of_wrong_training_labels(name, share):
    clean, noisy = (split(name, test_share=0.2, label_noise=noise, seed=1) for noise in (0.0, share))
    wrong = (clean.targets != noisy.targets).any(-1)
    assert int(wrong.sum()) == math.floor(share * len(clean.targets))
    assert (noisy.targets.sum(-1) == 1).all()
    assert torch.equal(noisy.inputs, clean.inputs)
    assert torch.equal(noisy.test_targets, clean.test_targets)


def test_noise_of_values_is_a_share_of_their_spread():
    clean, noisy = (split("teacher_student", label_noise=noise) for noise in (0.0, 0.5))
    noise = noisy.targets - clean.targets
    ratio = float(noise.std() / clean.targets.std())
    assert abs(ratio / 0.5 - 1) < 5 / math.sqrt(2 * 500)  # five standard errors
    double = split("teacher_student", label_noise=1.0).targets - clean.targets
    torch.testing.assert_close(double, 2 * noise, rtol=1e-9, atol=1e-12)


def test_standardized_vectors_are_those_of_sklearn():
    raw, made = (split("two_moons", test_share=0.3, standardize=on) for on in (False, True))
    scaler = StandardScaler().fit(raw.inputs)
    np.testing.assert_allclose(made.inputs, scaler.transform(raw.inputs), atol=1e-12)
    np.testing.assert_allclose(made.test_inputs, scaler.transform(raw.test_inputs), atol=1e-12)


def test_images_are_standardized_by_channel_and_a_constant_becomes_zero():
    made = split("digits", standardize=True, form="image")
    torch.testing.assert_close((float(made.inputs.mean()), float(made.inputs.std(correction=0))), (0.0, 1.0))
    sequence = split("modular_addition", standardize=True, form="sequence")
    torch.testing.assert_close(sequence.inputs.mean((0, 1)), torch.zeros(31).double())
    assert torch.isfinite(split("sparse_parity", subset=1, standardize=True).inputs).all()
    assert (split("sparse_parity", subset=1, standardize=True).inputs == 0).all()


def test_tensors_are_kept_and_of_the_dtype_asked_for():
    recipe, cpu = Recipe("digits", subset=10), torch.device("cpu")
    assert tensors(recipe, torch.float32, cpu) is tensors(Recipe("digits", subset=10), torch.float32, cpu)
    assert {one.dtype for one in tensors(recipe, torch.float32, cpu)} == {torch.float32}


def test_settings_of_the_data_reach_the_landscape():
    like = torch.zeros(1).double()
    values = {"subset": 50, "test_share": 0.2, "label_noise": 0.1, "standardize": True, "data_seed": 3}
    land = MLP(data="two_moons", hidden=(3,), **values)
    made = split("two_moons", subset=50, test_share=0.2, label_noise=0.1, standardize=True, seed=3)
    assert land.samples == 50
    for one, other in zip((*land.training_set(like), *land.test_set(like)), made, strict=True):
        assert torch.equal(one, other)
