"""The kernel for slices of convolutional networks, against the network itself and torch's own modules."""

import pytest
import torch
from torch import nn

from landscapes import LANDSCAPES
from landscapes.directions import random_directions
from landscapes.networks import ACTIVATIONS
from landscapes.networks import convolution_kernel as kernels
from landscapes.networks.convolution_kernel import ConvolutionKernel

CNN = LANDSCAPES["cnn"]
POINTS = torch.tensor([[0.0, 0.0], [0.0, 0.7], [-1.3, 0.7], [1.0, -1.0]], dtype=torch.float64)


def plane(land, dtype=torch.float64, scale=0.3):
    center = land.start(dtype=dtype)[0] + 0.1
    return center, scale * random_directions(land.layout, center, 2, 5)


def outputs(land, center, directions):
    inputs, _ = land.training_set(center)
    kernel = land.outputs_on_plane(center, directions, inputs)
    assert isinstance(kernel, ConvolutionKernel)
    return kernel(POINTS), torch.stack([land.outputs(one, inputs) for one in center + POINTS.to(center) @ directions])


@pytest.mark.parametrize("pool", ["average", "max"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_outputs_are_those_of_the_network(activation, pool):
    land = CNN(subset=300, channels=(5, 7), activation=activation, pool=pool)
    ours, expected = outputs(land, *plane(land))
    torch.testing.assert_close(ours, expected, rtol=1e-11, atol=1e-11)
    assert (expected[0] - expected[2]).abs().max() > 1e-3  # the points differ


@pytest.mark.parametrize("pool", ["average", "max"])
@pytest.mark.parametrize(
    "changes",
    [
        {"channels": (6,)},
        {"channels": (6, 5, 4, 3)},  # 8 x 8, 4 x 4, 2 x 2, and one place that is pooled no more
        {"data": "mnist1d", "channels": (4, 5, 6, 7)},  # one row of 40, 20, 10, 5 and, without the odd one, 2 places
        {"channels": (6, 5), "reach": 2},
    ],
    ids=str,
)
def test_every_shape_is_pooled_as_the_network_does(changes, pool):
    land = CNN(subset=300, pool=pool, **changes)
    ours, expected = outputs(land, *plane(land))
    torch.testing.assert_close(ours, expected, rtol=1e-11, atol=1e-11)


def test_losses_are_those_of_torchs_own_modules():
    land = CNN(subset=400, pool="max")
    center, directions = plane(land, torch.float32, 0.05)
    inputs, targets = land.training_set(center)
    layers = [nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 16, 3, padding=1), nn.ReLU()]
    module = nn.Sequential(*layers, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(64, 10))
    expected = []
    for one in center + POINTS.float() @ directions:
        module.load_state_dict(dict(zip(module.state_dict(), land.layout.unpack(one).values(), strict=True)))
        with torch.no_grad():
            expected.append(nn.functional.cross_entropy(module(inputs), targets.argmax(-1)))
    ours = land.on_plane(center, directions)(POINTS)
    torch.testing.assert_close(ours, torch.stack(expected), rtol=1e-5, atol=0)  # float32: sums in another order


def test_blocks_of_samples_meet_without_a_seam(monkeypatch):
    land = CNN(subset=300)
    whole, expected = outputs(land, *plane(land))
    monkeypatch.setattr(kernels, "_BLOCK_BYTES", 1)  # the least block, which does not divide the samples
    parts, _ = outputs(land, *plane(land))
    torch.testing.assert_close(parts, expected, rtol=1e-11, atol=1e-11)
    torch.testing.assert_close(parts, whole, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("changes", [{"norm": "batch"}, {"norm": "layer"}, {"subset": 20}, {"channels": ()}], ids=str)
def test_what_the_kernel_does_not_know_is_left_to_the_network(changes):
    land = CNN(**({"subset": 300} | changes))
    center, directions = plane(land)
    inputs, _ = land.training_set(center)
    found = land.outputs_on_plane(center, directions, inputs)
    assert not isinstance(found, ConvolutionKernel)
    where = center + POINTS @ directions
    torch.testing.assert_close(found(POINTS)[1], land.outputs(where[1], inputs))
