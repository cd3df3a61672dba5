"""Numbers on every device that torch computes on here, against a dense Hessian and plain loops on the CPU."""

import pytest
import torch
from torch import nn

from landscapes import MLP, extreme_eigenvalues, from_module, top_eigenpairs
from optimizers import OPTIMIZERS, run
from tests.devices import every_computing_device

NETWORK = MLP(data="chebyshev", hidden=(6, 6), objective="squared")
INPUTS = torch.randn(24, 3, 8, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
LABELS = torch.arange(24) % 4


class Own(nn.Module):
    """A convolution with its norm, a skip and a head."""

    def __init__(self):
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.second, self.head = nn.Conv2d(4, 4, 3, padding=1), nn.Linear(4, 4)

    def forward(self, x):
        x = torch.tanh(self.norm(self.first(x)))
        return self.head((x + torch.tanh(self.second(x))).mean((-1, -2)))


def own(device):
    torch.manual_seed(0)
    model = Own().double().to(device)
    return from_module(model, nn.CrossEntropyLoss(), (INPUTS.to(device), LABELS.to(device)), training=False)


def dense(landscape, params):
    return torch.autograd.functional.hessian(landscape.loss, params.cpu(), vectorize=False)


def networks(device):
    """A built-in network and one of a user's: as a pair of landscape on the device, and the same on the CPU."""
    yield NETWORK, NETWORK, NETWORK.start(device=device)[0]
    mine = own(device)
    yield mine, own("cpu"), mine.start(device=device)[0]


@every_computing_device
def test_loss_gradient_and_products(device):
    for land, plain, params in networks(device):
        vector = torch.randn(land.dim, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        at = params.cpu().requires_grad_(True)
        loss = plain.loss(at)
        (grad,) = torch.autograd.grad(loss, at)
        found, slope = land.value_and_grad(params)
        product = land.hvp(params, vector.to(device))
        assert {one.device.type for one in (found, slope, product)} == {device}
        torch.testing.assert_close(found.cpu(), loss.detach(), rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(slope.cpu(), grad, rtol=1e-9, atol=1e-11)
        torch.testing.assert_close(product.cpu(), dense(plain, params) @ vector, rtol=1e-8, atol=1e-9)


@every_computing_device
def test_eigenvalues_are_those_of_the_dense_hessian(device):
    for land, plain, params in networks(device):
        values = torch.linalg.eigvalsh(dense(plain, params)).flip(0)
        pairs = top_eigenpairs(land, params, 3, tol=1e-6)
        torch.testing.assert_close(pairs.values.cpu(), values[:3], rtol=1e-5, atol=1e-7)
        ends = extreme_eigenvalues(land.hessian_operator(params), params)
        assert (ends.lowest.cpu() - values[-1]).abs() <= ends.lowest_error.cpu() <= 1e-2 * values[-1].abs()
        assert (ends.highest.cpu() - values[0]).abs() <= ends.highest_error.cpu() <= 1e-2 * values[0]


@every_computing_device
@pytest.mark.parametrize("rule", ["gd", "heavy_ball", "adam", "shampoo", "soap", "sam"])
def test_runs_are_those_of_the_cpu(rule, device):
    start = NETWORK.start()[0] + 0.1
    there = run(NETWORK, OPTIMIZERS[rule](lr=0.01), start.to(device), 8, probes=["sharpness"])
    here = run(NETWORK, OPTIMIZERS[rule](lr=0.01), start, 8, probes=["sharpness"])
    assert there.params.device.type == device
    torch.testing.assert_close(there.params.cpu(), here.params, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(there.probes["sharpness"].cpu(), here.probes["sharpness"], rtol=1e-4, atol=1e-6)
