"""Lines between solutions, and weight matching: against every permutation, a planted one, and the paper's claim."""

from itertools import permutations

import numpy as np
import pytest
import torch

from landscapes import LANDSCAPES, MLP
from landscapes.alignment import Line, aligned, line
from optimizers import OPTIMIZERS, SCHEDULES, Scheduled, run

SMALL = MLP(data="chebyshev", hidden=(5,), objective="squared")
DEEP = MLP(hidden=(9, 7), activation="relu")


def shuffled(land, params, seed=0):
    """The same function with the units of every hidden layer in another order, written out layer by layer."""
    named = {name: tensor.clone() for name, tensor in land.layout.unpack(params).items()}
    generator = torch.Generator().manual_seed(seed)
    for index, width in enumerate(land.hidden, start=1):
        order = torch.randperm(width, generator=generator)
        named[f"W{index}"], named[f"b{index}"] = named[f"W{index}"][order], named[f"b{index}"][order]
        named[f"W{index + 1}"] = named[f"W{index + 1}"][:, order]
    return land.layout.pack(named)


def weights(land, seed, noise=0.3):
    extra = torch.randn(land.dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return land.start(seed=seed)[0] + noise * extra


def test_a_line_holds_the_loss_between_its_ends():
    first, second = weights(DEEP, 0), weights(DEEP, 1)
    found = line(DEEP, first, second, points=5)
    inputs, targets = DEEP.training_set(first)
    for share, loss, accuracy in zip(found.share, found.loss, found.accuracy, strict=True):
        where = first + share * (second - first)
        torch.testing.assert_close(loss, DEEP.loss(where))
        assert accuracy == (DEEP.outputs(where, inputs).argmax(-1) == targets.argmax(-1)).double().mean()
    assert line(SMALL, weights(SMALL, 0), weights(SMALL, 1)).accuracy is None


def test_the_barrier_is_the_excess_over_the_chord():
    share = torch.linspace(0, 1, 5)
    assert Line(share, torch.tensor([1.0, 2.0, 4.0, 2.5, 3.0]), None).barrier == 2.0  # 4 over 2 in the middle
    assert Line(share, torch.tensor([1.0, 1.1, 1.2, 2.0, 3.0]), None).barrier == 0.0  # below the chord throughout


def test_a_planted_renumbering_is_undone():
    params = weights(DEEP, 0)
    other = shuffled(DEEP, params)
    assert (other - params).abs().max() > 0.1
    torch.testing.assert_close(DEEP.loss(other), DEEP.loss(params), rtol=1e-12, atol=0)
    assert torch.equal(aligned(DEEP, other, params), params)


def test_channels_of_a_convolutional_network_are_renumbered():
    land = LANDSCAPES["cnn"](subset=60, channels=(4, 5))
    params = weights(land, 0, 0.1)
    named = {name: tensor.clone() for name, tensor in land.layout.unpack(params).items()}
    first, second = torch.tensor([2, 0, 3, 1]), torch.tensor([4, 2, 0, 1, 3])
    named["W1"], named["b1"], named["W2"] = named["W1"][first], named["b1"][first], named["W2"][:, first]
    named["W2"], named["b2"] = named["W2"][second], named["b2"][second]
    named["W3"] = named["W3"].view(10, 5, -1)[:, second].flatten(1)  # each channel of the last stage has several places
    other = land.layout.pack(named)
    torch.testing.assert_close(land.loss(other), land.loss(params), rtol=1e-12, atol=0)
    assert torch.equal(aligned(land, other, params), params)


def test_one_hidden_layer_is_matched_as_well_as_any_permutation_can():
    mine, reference = weights(SMALL, 0), weights(SMALL, 1)
    named = SMALL.layout.unpack(mine)
    distances = []
    for order in permutations(range(5)):
        one = {"W1": named["W1"][list(order)], "b1": named["b1"][list(order)]}
        one |= {"W2": named["W2"][:, list(order)], "b2": named["b2"]}
        distances.append(float((SMALL.layout.pack(one) - reference).norm()))
    found = aligned(SMALL, mine, reference)
    assert float((found - reference).norm()) == pytest.approx(min(distances), rel=1e-12)
    assert np.median(distances) > 1.05 * min(distances)


@pytest.mark.parametrize("seed", range(3))
def test_renumbering_keeps_the_function_and_comes_closer(seed):
    mine, reference = weights(DEEP, 2 * seed), weights(DEEP, 2 * seed + 1)
    found = aligned(DEEP, mine, reference, seed)
    torch.testing.assert_close(DEEP.loss(found), DEEP.loss(mine), rtol=1e-12, atol=0)
    assert torch.equal(found.sort().values, mine.sort().values)
    assert (found - reference).norm() < (mine - reference).norm()
    torch.testing.assert_close(aligned(DEEP, found, reference, seed), found)  # nothing is left to do


@pytest.fixture(scope="module")
def solutions():
    """Two networks that learned the digits from two seeds (Ainsworth et al. 2023, at a size that a test can train)."""
    land = MLP(hidden=(64, 64), activation="relu", gain=2**0.5)
    rule = Scheduled(inner=OPTIMIZERS["adamw"](lr=5e-3, weight_decay=0.1), schedule=SCHEDULES["linear"]())
    ends = [
        run(land, rule, land.start(seed=seed, dtype=torch.float32)[0], 250, seed, batch_size=128).final
        for seed in (0, 1)
    ]
    return land, ends


def test_the_barrier_falls_when_hidden_units_are_renumbered(solutions):
    land, (first, second) = solutions
    before = line(land, first, second, 11)
    after = line(land, first, aligned(land, second, first), 11)
    assert before.loss[[0, -1]].max() < 0.1  # both have learned
    assert before.barrier > 0.15
    assert after.barrier < 0.4 * before.barrier
    # Not by any renumbering: a random one leaves the wall where it is.
    assert line(land, first, shuffled(land, second), 11).barrier > 0.7 * before.barrier


def test_the_line_between_convolutional_networks_is_flat_once_their_channels_are_matched():
    land = LANDSCAPES["cnn"](subset=200, channels=(6, 8), gain=2**0.5)
    first = run(land, OPTIMIZERS["adam"](lr=0.02), land.start(dtype=torch.float32)[0], 60).final
    named = {name: tensor.clone() for name, tensor in land.layout.unpack(first).items()}
    inner, outer = (torch.randperm(width, generator=torch.Generator().manual_seed(width)) for width in land.channels)
    named["W1"], named["b1"] = named["W1"][inner], named["b1"][inner]
    named["W2"], named["b2"] = named["W2"][outer][:, inner], named["b2"][outer]
    named["W3"] = named["W3"].view(10, 8, -1)[:, outer].flatten(1)
    other = land.layout.pack(named)  # the same function, and so as good a solution
    before, after = line(land, first, other, 9), line(land, first, aligned(land, other, first), 9)
    assert before.loss[[0, -1]].max() < 0.3  # it has learned
    assert before.barrier > 0.3
    assert before.accuracy.min() < 0.8
    assert after.barrier == pytest.approx(0, abs=1e-6)
    torch.testing.assert_close(after.accuracy, before.accuracy[:1].expand(9))


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda: line(SMALL, torch.zeros(3), torch.zeros(3)),
            r"first must be a floating-point tensor of shape \(16,\)",
        ),
        (lambda: line(SMALL, weights(SMALL, 0), weights(SMALL, 1), 1), "points = 1 is not allowed"),
        (lambda: aligned(LANDSCAPES["rosenbrock"](), torch.zeros(2), torch.zeros(2)), "has no hidden layer"),
        (lambda: aligned(MLP(hidden=()), *MLP(hidden=()).start(2)), "has no hidden layer"),
    ],
)
def test_what_cannot_be_compared_is_refused(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()
