"""The kernel for slices of networks, against the network itself."""

import pytest
import torch

from landscapes import MLP
from landscapes.directions import random_directions
from landscapes.networks import ACTIVATIONS
from landscapes.networks.plane_kernel import PlaneKernel

POINTS = torch.tensor([[0.0, 0.0], [0.0, 0.7], [-1.3, 0.7], [1.0, -1.0], [1.0, 1.0]], dtype=torch.float64)


def plane(land, dtype=torch.float64, scale=0.3):
    center = land.start(dtype=dtype)[0] + 0.1
    return center, scale * random_directions(land.layout, center, 2, 5)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("hidden", [(40,), (40, 24, 33)], ids=str)
def test_losses_are_those_of_the_network(activation, hidden):
    land = MLP(hidden=hidden, activation=activation)
    center, directions = plane(land)
    assert isinstance(land.outputs_on_plane(center, directions, land.training_set(center)[0]), PlaneKernel)
    where = center + POINTS @ directions
    expected = torch.stack([land.loss(one) for one in where])
    torch.testing.assert_close(land.on_plane(center, directions)(POINTS), expected, rtol=1e-12, atol=0)
    assert expected.std() > 1e-3  # the points differ


@pytest.mark.parametrize("objective", ["cross_entropy", "squared"])
def test_float32_rounds_no_more_than_the_network_does(objective):
    land = MLP(hidden=(128, 128), objective=objective)
    center, directions = plane(land, torch.float32, 0.05)
    exact = torch.stack([land.loss(one) for one in center.double() + POINTS @ directions.double()])
    ours = land.on_plane(center, directions)(POINTS)
    assert ours.dtype == torch.float32
    torch.testing.assert_close(ours.double(), exact, rtol=5e-6, atol=0)  # some 40 units in the last place


def test_a_network_without_hidden_layers_is_affine():
    land = MLP(hidden=())
    center, directions = plane(land)
    inputs, _ = land.training_set(center)
    outputs = land.outputs_on_plane(center, directions, inputs)(POINTS)
    torch.testing.assert_close(outputs, land.outputs(center + POINTS @ directions, inputs), rtol=1e-12, atol=1e-12)


def test_blocks_of_samples_meet_without_a_seam():
    """1,797 samples make several blocks of unequal length at this width, and every sample has its own outputs."""
    land = MLP(hidden=(200, 50))
    center, directions = plane(land)
    inputs, _ = land.training_set(center)
    kernel = land.outputs_on_plane(center, directions, inputs)
    assert len({len(block) for block in kernel._blocks}) == 2
    assert [sample for block in kernel._blocks for sample in block] == list(range(1797))
    where = center + POINTS[2] @ directions
    torch.testing.assert_close(kernel(POINTS[2:3])[0], land.outputs(where, inputs), rtol=1e-11, atol=1e-11)


def test_other_data_than_the_training_set():
    land = MLP(hidden=(40,), test_share=0.3)
    center, directions = plane(land)
    inputs, targets = land.test_set(center)
    ours = land.scored_on_plane(land.accuracy, center, directions, (inputs, targets))(POINTS)
    expected = [land.accuracy(land.outputs(one, inputs), targets) for one in center + POINTS @ directions]
    torch.testing.assert_close(ours, torch.stack(expected))


def test_parameters_that_overflow_give_what_the_network_gives():
    """Not finite where the network's loss is not finite, and no sooner."""
    land = MLP(hidden=(40,), activation="relu", objective="squared")
    center, directions = plane(land, torch.float32, 1e15)
    points = torch.tensor([[1.0, 0.0], [0.0, 0.0], [1e5, 1e5]])
    ours = land.on_plane(center, directions)(points)
    expected = torch.stack([land.loss(center + one @ directions) for one in points])
    assert ours.isfinite().tolist() == expected.isfinite().tolist() == [False, True, False]


def test_the_other_parametrization_scales_the_weights_of_the_plane():
    land = MLP(hidden=(40, 24), parametrization="ntk")
    center, directions = plane(land)
    assert isinstance(land.outputs_on_plane(center, directions, land.training_set(center)[0]), PlaneKernel)
    expected = torch.stack([land.loss(one) for one in center + POINTS @ directions])
    torch.testing.assert_close(land.on_plane(center, directions)(POINTS), expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("norm", ["layer", "batch"])
def test_normalized_networks_are_evaluated_as_they_are(norm):
    land = MLP(hidden=(40,), norm=norm, subset=50)
    center, directions = plane(land)
    expected = torch.stack([land.loss(one) for one in center + POINTS @ directions])
    torch.testing.assert_close(land.on_plane(center, directions)(POINTS), expected, rtol=1e-12, atol=0)


def test_weight_decay_counts_at_every_point():
    land, plain = (MLP(hidden=(40,), weight_decay=weight) for weight in (0.3, 0.0))
    center, directions = plane(land)
    where = center + POINTS @ directions
    ours = land.on_plane(center, directions)(POINTS)
    expected = torch.stack([plain.loss(one) + 0.15 * (one**2).sum() for one in where])
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=0)
