"""Which second derivatives of a module are believed: kinks do not discredit double backward, and what is wrong is found."""

import copy
import warnings

import pytest
import torch
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import nn
from torch.nn import functional

from landscapes import derivatives, from_module, selfcheck, sharpness
from landscapes.selfcheck import Way
from optimizers import OPTIMIZERS, run
from tests.landscapes.zoo import OnceSquare, Residual, head, randn
from tests.sampling import sampled


def quiet(*given, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return from_module(*given, **options)


def seeded(make, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return make()


def plain_product(module, loss, inputs, targets):
    """Hessian-vector products (dim,) -> (dim,) of a module as it stands, by double backward, in its own precision."""
    module = copy.deepcopy(module)
    for layer in module.modules():
        if isinstance(layer, nn.modules.batchnorm._NormBase) and layer.training:
            layer.track_running_stats, layer.running_mean, layer.running_var = False, None, None
    params = list(module.parameters())
    grads = torch.autograd.grad(loss(module(inputs), targets), params, create_graph=True)

    def product(vector):
        parts = vector.split([one.numel() for one in params])
        along = [part.view_as(one) for part, one in zip(parts, params, strict=True)]
        found = torch.autograd.grad(grads, params, along, retain_graph=True)
        return torch.cat([one.flatten() for one in found])

    return product


def top_by_scipy(product, like):
    operator = LinearOperator(
        (len(like), len(like)), matvec=lambda v: product(torch.from_numpy(v.ravel()).to(like)).double().numpy()
    )
    (value,) = eigsh(operator, 1, which="LA", tol=1e-4, v0=randn(len(like)).double().numpy(), return_eigenvectors=False)
    return float(value)


def convolutions(depth, training):
    layers = []
    for place in range(depth):
        layers += [nn.Conv2d(8 if place else 3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU()]
    return seeded(lambda: copy.deepcopy(nn.Sequential(*layers, *head(8)))).train(training)


@pytest.mark.parametrize(
    ("depth", "training"), sampled([(depth, mode) for depth in (2, 4, 10) for mode in (True, False)], 1)
)
def test_rectified_convolutions_with_batch_norm(depth, training):
    module = convolutions(depth, training).double()
    inputs, labels = randn(32, 3, 12, 12).double(), torch.arange(32) % 3
    land = quiet(module, functional.cross_entropy, (inputs, labels))
    assert land.model.curvature.way is Way.DOUBLE_BACKWARD
    assert not land.model.curvature.note
    params = land.start()[0]
    expected = top_by_scipy(plain_product(module, functional.cross_entropy, inputs, labels), params)
    assert float(sharpness(land, params, tol=1e-3)[0]) == pytest.approx(expected, rel=1e-4)


@pytest.mark.prove
def test_a_residual_network_for_color_images():
    """19,402 parameters in training mode; its sharpness was found with SciPy on double backward written by hand."""

    def made():
        torch.manual_seed(0)
        inputs, labels = torch.randn(16, 3, 32, 32), torch.randint(0, 10, (16,))
        layers = [nn.Conv2d(3, 16, 3, 1, 1), Residual(16, 16, 1, True), Residual(16, 32, 2, True)]
        return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10)), inputs, labels

    module, inputs, labels = seeded(made)
    land = quiet(module, functional.cross_entropy, (inputs, labels))
    params = land.start()[0]
    assert land.dim == 19402
    (value,), (vector,) = sharpness(land, params, tol=1e-3)
    assert float(value) == pytest.approx(1.85567, rel=1e-3)
    image = plain_product(module.double(), functional.cross_entropy, inputs.double(), labels)(vector)
    assert float((image - value * vector).norm()) < 2e-3 * float(value)


@pytest.mark.prove
@pytest.mark.parametrize("training", [True, False])
def test_resnet_of_twenty_layers_in_single_precision(training):
    """Against SciPy's on products in double precision."""

    def made():
        sizes = [(16, 16, 1)] * 3 + [(16, 32, 2)] + [(32, 32, 1)] * 2 + [(32, 64, 2)] + [(64, 64, 1)] * 2
        first = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
        return nn.Sequential(*first, *(Residual(*size, True) for size in sizes), *head(64)).train(training)

    module, inputs, labels = seeded(made), randn(4, 3, 32, 32), torch.arange(4) % 3
    land = quiet(module, functional.cross_entropy, (inputs, labels))
    assert land.model.curvature.way is Way.DOUBLE_BACKWARD
    assert not land.model.curvature.note
    product = plain_product(module.double(), functional.cross_entropy, inputs.double(), labels)
    expected = top_by_scipy(product, land.start()[0])
    assert float(sharpness(land, land.start(dtype=torch.float32)[0], tol=1e-3)[0]) == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize("bits", [8, 4, 2])
def test_weights_quantised_with_a_straight_through_gradient(bits):
    """Their sharpness is that of the network without rounding at the rounded weights, whatever the solver starts from."""

    def rounded(weight):
        step = weight.detach().abs().max() / (2 ** (bits - 1) - 1)
        return weight + ((weight / step).round() * step - weight).detach()

    class Quantised(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Linear(4, 8), nn.Linear(8, 3)

        def forward(self, x):
            hidden = torch.tanh(functional.linear(x, rounded(self.first.weight), self.first.bias))
            return functional.linear(hidden, rounded(self.second.weight), self.second.bias)

    module, inputs, targets = seeded(Quantised).double(), randn(32, 4).double(), randn(32, 3, seed=1).double()
    land = quiet(module, nn.MSELoss(), (inputs, targets))
    assert "of the surrogate that is trained, not of the loss" in " ".join(land.notes)
    smooth = nn.Sequential(copy.deepcopy(module.first), nn.Tanh(), copy.deepcopy(module.second))
    with torch.no_grad():
        for layer in (smooth[0], smooth[2]):
            layer.weight.copy_(rounded(layer.weight))
    product = plain_product(smooth, nn.MSELoss(), inputs, targets)
    dense = torch.stack([product(unit) for unit in torch.eye(land.dim, dtype=torch.float64)])
    for seed in range(3):
        found = sharpness(land, land.start()[0], seed=seed)[0]
        assert float(found) == pytest.approx(float(torch.linalg.eigvalsh(dense)[-1]), rel=1e-6)


class Nowhere(nn.Module):
    """A kernel that differentiates once, before so many kinks that in single precision no step avoids them."""

    def __init__(self, single):
        super().__init__()
        self.first, self.last, self.single = nn.Linear(3, 1000), nn.Linear(1000, 2), single

    def forward(self, x):
        return self.last(torch.relu(OnceSquare.apply(self.first(x.float() if self.single else x)) - 0.3))


def test_where_nothing_holds_there_is_a_sentence_and_training_goes_on():
    inputs, targets = randn(64, 3), randn(64, 2, seed=1)
    land = quiet(seeded(lambda: Nowhere(True)), nn.MSELoss(), (inputs, targets))
    assert any(
        note.startswith("There are no Hessian-vector products of this module: double backward") for note in land.notes
    )
    params = land.start()[0]
    for ask in (lambda: sharpness(land, params), lambda: land.hvp(params, params)):
        with pytest.raises(ValueError, match=r"cross kinks or jumps however short their steps are\.$"):
            ask()
    path = run(land, OPTIMIZERS["gd"](lr=1e-3), steps=3)
    assert float(path.loss[-1]) < float(path.loss[0])


def test_differences_stay_clear_of_kinks_in_double_precision():
    module, inputs, targets = (
        seeded(lambda: Nowhere(False)).double(),
        randn(64, 3).double(),
        randn(64, 2, seed=1).double(),
    )
    land = quiet(module, nn.MSELoss(), (inputs, targets))
    assert land.model.curvature.way is Way.DIFFERENCES
    params, vector = land.start()[0], randn(land.dim).double()

    def loss(at):
        weight, bias, more, last = at.split([3000, 1000, 2000, 2])
        hidden = torch.relu(functional.linear(inputs, weight.view(1000, 3), bias).square() - 0.3)
        return functional.mse_loss(functional.linear(hidden, more.view(2, 1000), last), targets)

    expected = derivatives.hessian_operator(loss, params)(vector)
    for dtype, tolerance in ((torch.float64, 1e-7), (torch.float32, 1e-5)):
        found = land.hvp(params.to(dtype), vector.to(dtype)).double()
        assert float((found - expected).norm()) < tolerance * float(expected.norm())


def bent(at):
    """x^2 / 2 with a kink at 0, and its gradient."""
    return at + torch.sign(at)


def test_a_difference_next_to_a_kink_is_shortened_and_one_on_it_refused():
    one = torch.ones(1, dtype=torch.float64)
    for distance in (1.0, 1e-6, 1e-8):
        found = derivatives.hessian_by_differences(bent, distance * one)(one)
        assert float(found) == pytest.approx(1.0, abs=1e-5)
    with pytest.raises(ValueError, match="cross kinks"):
        derivatives.hessian_by_differences(bent, 0 * one)(one)


@pytest.mark.parametrize("depth", [0, 4])
def test_the_check_costs_a_few_gradients(depth):
    """Of few samples: a smooth network is found good by one difference, and a rectified one by a few."""
    module = (
        convolutions(depth, True)
        if depth
        else nn.Sequential(nn.Flatten(), nn.Linear(432, 4), nn.Tanh(), nn.Linear(4, 3))
    )
    land = quiet(module, functional.cross_entropy, (randn(64, 3, 12, 12), torch.arange(64) % 3))
    calls = []

    def counted(at):
        calls.append(at)
        return land.model.loss(
            at, land.model.tried.mapped(lambda leaf: leaf.to(at) if leaf.is_floating_point() else leaf)
        )

    found = selfcheck.examine(counted, land.model.initial.double(), land.layout)
    assert found.way is Way.DOUBLE_BACKWARD
    assert land.model.tried.samples == 8
    assert len(calls) <= (8 if depth else 4)


def test_a_graph_that_takes_too_much_memory_is_built_block_by_block(monkeypatch):
    inputs, targets = randn(64, 3).double(), randn(64, 2, seed=1).double()
    module = seeded(lambda: nn.Sequential(nn.Linear(3, 50), nn.Tanh(), nn.Linear(50, 2))).double()
    land = quiet(module, nn.MSELoss(), (inputs, targets))
    params = land.start()[0]
    outputs = 64 * (50 + 50 + 2) * 8  # bytes that the layers put out
    assert outputs < land.model.graph_bytes(params) < 10 * outputs
    whole = land.hvp(params, params)
    for where in ("landscapes.model.KEPT_BYTES", "landscapes.module.KEPT_BYTES"):
        monkeypatch.setattr(where, land.model.graph_bytes(params) / 5)
    assert len(land.model.blocks(params)) == 5
    torch.testing.assert_close(land.hvp(params, params), whole)


@pytest.mark.parametrize("made", [nn.utils.parametrizations.spectral_norm, nn.utils.spectral_norm])
@pytest.mark.parametrize("seed", range(3))
def test_spectral_norm_in_training_mode_is_told_as_what_it_is(made, seed):
    """Its power iteration depends on the weights, which the gradient leaves out: little enough to be taken for the loss's."""

    def discriminator():
        layers = [
            nn.Conv2d(3, 8, 3, 2, 1),
            nn.Tanh(),
            nn.Conv2d(8, 16, 3, 2, 1),
            nn.Tanh(),
            nn.Flatten(),
            nn.Linear(64, 1),
        ]
        return nn.Sequential(*(made(one) if hasattr(one, "weight") else one for one in layers))

    module, inputs = seeded(discriminator, seed).double(), randn(16, 3, 8, 8).double()
    labels = (torch.arange(16) % 2)[:, None].double()
    (note,) = (
        one
        for one in quiet(module, functional.binary_cross_entropy_with_logits, (inputs, labels)).notes
        if one.startswith("Hessian-vector products")
    )
    assert note.startswith("Hessian-vector products are of the surrogate that is trained, not of the loss")
    assert "where spectral norm in training mode takes the step of its power iteration" in note
    in_use = quiet(module, functional.binary_cross_entropy_with_logits, (inputs, labels), training=False)
    assert in_use.model.curvature == (Way.DOUBLE_BACKWARD, "", in_use.model.curvature.graph)
