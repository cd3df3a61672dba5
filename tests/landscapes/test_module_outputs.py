"""What a module is asked beyond its loss: against the same network of the registry, and against dense matrices by torch."""

import warnings

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional

from landscapes import MLP, from_module, slice_2d
from landscapes.alignment import line
from landscapes.quantities import QUANTITIES
from optimizers import OPTIMIZERS, run
from tests.probing import every_probe

GD = OPTIMIZERS["gd"]
NET = MLP(hidden=(3,), subset=30, test_share=0.4, activation="relu")


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def seeded(make):
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return make().double()


def made(module, loss, data, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return from_module(module, loss, data, **options)


def twin(land, targets=lambda rows: rows.argmax(-1)):
    """The network of the registry as a module with its data, with indices of classes for targets."""
    module = nn.Sequential(nn.Linear(64, 3), nn.ReLU(), nn.Linear(3, 10)).double()
    like = torch.zeros(0, dtype=torch.float64)
    (inputs, rows), (held, labels) = land.training_set(like), land.test_set(like)
    return made(module, nn.CrossEntropyLoss(), (inputs, targets(rows)), test=(held, targets(labels)))


TWIN = twin(NET)
START = NET.start(2) + 0.2 * randn(2, NET.dim, seed=2)


PROBES = {kind.name: kind for kind in every_probe(NET, GD()) if kind.name != "gfs_sharpness"}  # whose flow takes long


@pytest.mark.parametrize("name", PROBES)
def test_every_probe_of_a_network_of_ours_is_the_same_of_the_same_module(name):
    ours, theirs = (run(land, GD(lr=0.1), START, 2, probes=[PROBES[name]]).probes[name] for land in (NET, TWIN))
    if name == "spectral_density":  # rounding moves the nodes, and not the moments
        nodes, weights = torch.stack([ours, theirs]).chunk(2, dim=-1)
        ours, theirs = torch.stack([(weights * nodes**power).sum(-1) for power in (1, 2, 3)], dim=-1)
    # An eigenvalue whose search stops at a residual of 5e-3 of the largest is as good as the square of that, and less so
    # one that is smaller or has others close to it.
    torch.testing.assert_close(theirs, ours, rtol=1e-3 if name == "ntk" else 1e-5, atol=1e-9)


@pytest.mark.parametrize("name", QUANTITIES)
def test_every_quantity_on_a_plane_is_the_same(name):
    options = {"normalize": "none", "directions": randn(2, NET.dim, seed=1), "points": 3, "span": 0.1, "quantity": name}
    ours, theirs = (slice_2d(land, START[0], **options).loss for land in (NET, TWIN))
    torch.testing.assert_close(theirs, ours, rtol=1e-4 if QUANTITIES[name].costly else 1e-9, atol=1e-12)
    assert len(theirs.unique()) > 1


def test_accuracies_between_two_points_and_the_classes_of_the_softmax():
    ours, theirs = (line(land, *START, points=5) for land in (NET, TWIN))
    torch.testing.assert_close(theirs.accuracy, ours.accuracy)
    assert TWIN.softmax == NET.softmax == 10


def test_targets_with_a_one_for_the_class():
    rows = twin(NET, targets=lambda rows: rows)
    for name in ("test_loss", "accuracy", "test_accuracy"):
        torch.testing.assert_close(rows.score(name, START), NET.score(name, START))


# ------------------------------------------------------------------ against dense matrices

X, Y = randn(30, 3, seed=1), randn(30, 2, seed=2)
LABELS = torch.arange(30) % 3
WEIGHTS = torch.tensor([1.0, 5.0, 0.2], dtype=torch.float64)


def net(outputs=2):
    return seeded(lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, outputs)))


def normed():
    return seeded(lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2)))


def weighted(outputs, targets):
    return functional.cross_entropy(outputs, targets, weight=WEIGHTS)


def dense(module, data, weights, loss):
    """J'HJ and J'J / n of a module on some batches, each with its weight."""
    named = dict(module.named_parameters())
    sizes = [one.numel() for one in named.values()]
    flat = torch.cat([one.detach().flatten() for one in named.values()])

    def outputs(point, inputs):
        parts = {name: part.view_as(one) for (name, one), part in zip(named.items(), point.split(sizes), strict=True)}
        return functional_call(module, parts, inputs)

    newton = tangent = 0
    for weight, (inputs, targets) in zip(weights, data, strict=True):
        jacobian = torch.autograd.functional.jacobian(lambda point, inputs=inputs: outputs(point, inputs), flat)
        jacobian = jacobian.flatten(0, -2)
        at = outputs(flat, inputs).detach()
        hessian = torch.autograd.functional.hessian(lambda z, targets=targets: loss(z, targets), at)
        newton = newton + weight * jacobian.T @ hessian.reshape(at.numel(), at.numel()) @ jacobian
        tangent = tangent + jacobian.T @ jacobian / 30
    return newton, tangent


def huber(outputs, targets):
    return functional.huber_loss(outputs, targets, delta=0.5)


def quartic(outputs, targets):
    return (outputs - targets).square().sum(1).square().sum()


LONG = [(X[:12, None], Y[:12, None]), (X[12:], Y[12:])]


@pytest.mark.parametrize(
    ("module", "loss", "data", "weights"),
    [
        (net(), huber, [(X, Y)], [1.0]),
        (net(), quartic, [(X, Y)], [1.0]),  # a sum
        (net(), huber, LONG, [0.4, 0.6]),  # batches kept apart
        (net(), nn.MSELoss(reduction="sum"), LONG, [1.0, 1.0]),
        (net(3), weighted, [(X, LABELS)], [1.0]),  # no mean of losses of samples
        (normed().train(), nn.MSELoss(), [(X, Y)], [1.0]),
        (normed().eval(), nn.MSELoss(), [(X, Y)], [1.0]),
    ],
)
def test_gauss_newton_and_tangent_kernel(module, loss, data, weights):
    land = made(module, loss, data if len(data) > 1 else data[0])
    params = land.start()
    eye = torch.eye(land.dim, dtype=torch.float64)
    newton, tangent = dense(module, data, weights, loss)
    several = params.expand(land.dim, -1)
    torch.testing.assert_close(land.gauss_newton_operator(several)(eye), newton)
    torch.testing.assert_close(land.tangent_operator(several)(eye), tangent)


def test_blocks_of_many_samples_are_added():
    inputs, labels = randn(1200, 3), torch.arange(1200) % 3
    module = net(3)
    land = made(module, nn.CrossEntropyLoss(), (inputs, labels), test=(inputs[:900], labels[:900]))
    params = land.start()[0]
    with torch.no_grad():
        outputs = module(inputs)
    torch.testing.assert_close(land.score("test_loss", params), functional.cross_entropy(outputs[:900], labels[:900]))
    hits = (outputs.argmax(1) == labels).double()
    torch.testing.assert_close(land.score("accuracy", params), hits.mean())
    torch.testing.assert_close(land.score("test_accuracy", params.expand(2, 3, -1)), hits[:900].mean().expand(2, 3))


@pytest.mark.parametrize("channels_last", [False, True])
def test_a_class_for_each_token_and_targets_left_out(channels_last):
    module = seeded(lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 5)))
    inputs, labels = randn(8, 7, 3), torch.randint(5, (8, 7), generator=torch.Generator().manual_seed(0))
    labels[5:, 2:] = -100

    def tokens(outputs, targets):
        return functional.cross_entropy(outputs.flatten(0, 1), targets.flatten())

    class Turned(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = module

        def forward(self, x):
            return self.inner(x).mT

    land = made(module, tokens, (inputs, labels)) if channels_last else made(Turned(), nn.CrossEntropyLoss(), (inputs, labels))  # fmt: skip
    found, kept = module(inputs).argmax(-1), labels != -100
    expected = (found == labels)[kept].double().mean()
    torch.testing.assert_close(land.score("accuracy", land.start()[0]), expected)
    apart = made(module, tokens, [(inputs[:5], labels[:5]), (inputs[5:, :2], labels[5:, :2])])  # of different lengths
    torch.testing.assert_close(apart.score("accuracy", apart.start()[0]), expected)


def test_sparsity_counts_layers_inside_and_not_the_outputs():
    module = seeded(lambda: nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2), nn.ReLU()))  # fmt: skip
    land = made(module, nn.MSELoss(), (X, Y))
    first = module[:2](X)
    second = module[2:4](first)
    expected = torch.cat([first, second], 1).eq(0).double().mean()
    torch.testing.assert_close(land.sparsity(land.start()[0], 0.0), expected)


class Functional(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner[4](functional.relu_(self.inner[2](torch.relu(self.inner[0](x))).clone())).relu()


def test_sparsity_sees_functions_too():
    module = seeded(lambda: nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 2), nn.ReLU()))  # fmt: skip
    by_layers, by_functions = (made(one, nn.MSELoss(), (X, Y)) for one in (module, Functional(module)))
    params = by_layers.start(2)[1]
    torch.testing.assert_close(by_functions.sparsity(params, 0.0), by_layers.sparsity(params, 0.0))
    layer = seeded(lambda: nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True)).eval()
    land = made(layer, nn.MSELoss(), (randn(5, 3, 4), randn(5, 3, 4, seed=1)))
    hidden = functional.relu(layer.linear1(layer.norm1(randn(5, 3, 4) + layer.self_attn(*[randn(5, 3, 4)] * 3)[0])))
    torch.testing.assert_close(land.sparsity(land.start()[0], 0.0), hidden.eq(0).double().mean())


# ------------------------------------------------------------------ what there is not, and why


class Loss(nn.Module):
    """Computes its own loss, as models of some libraries do."""

    def __init__(self):
        super().__init__()
        self.inner = net()

    def forward(self, x, y):
        return {"loss": functional.mse_loss(self.inner(x), y)}


class Scalar(Loss):
    def forward(self, x, y):
        return super().forward(x, y)["loss"]


NEEDS = {
    "jacobian": "ntk",
    "gauss_newton": "gauss_newton",
    "classes": "train_accuracy",
    "test samples": "test_loss",
    "activations": "sparsity",
}


def by_name(outputs, batch):
    return outputs["loss"]


@pytest.mark.parametrize(
    ("land", "trait", "sentence"),
    [
        (made(Loss(), by_name, {"x": X, "y": Y}), "jacobian", "no single tensor"),
        (made(Loss(), by_name, {"x": X, "y": Y}), "classes", "no single tensor"),
        (made(Scalar(), lambda out, _: out, {"x": X, "y": Y}), "gauss_newton", "linear in the module's outputs"),
        (made(net(), nn.L1Loss(), (X, Y)), "gauss_newton", "linear in the module's outputs"),
        (made(net(), nn.MSELoss(), (X, Y)), "classes", "the targets are no classes"),
        (made(net(1), nn.MSELoss(), (X, Y[:, :1])), "classes", "do not say which numbers belong"),
        (
            made(nn.Sequential(net(1), nn.Flatten(0)), nn.BCEWithLogitsLoss(), (X, (Y[:, 0] > 0).double())),
            "classes",
            "the targets are no classes",
        ),
        (made(net(), nn.MSELoss(), (X, Y)), "test samples", "give test=... to from_module"),
        (made(seeded(lambda: nn.Linear(3, 2)), nn.MSELoss(), (X, Y)), "activations", "no activation function of torch"),
        (
            made(net(), lambda z, y: (z[:, 0] - torch.tensor(y)).square().mean(), (X, [0.5] * 30)),
            "samples",
            "mini-batches",
        ),
    ],
)
def test_what_a_module_does_not_have_is_told(land, trait, sentence):
    assert sentence in land.lacks(trait)
    if trait != "samples":
        assert land.loss(land.start()[0]).isfinite()
    asked = {"batch_size": 2} if trait == "samples" else {"probes": [NEEDS[trait]]}
    with pytest.raises(ValueError, match="not defined|batch_size must be None"):
        run(land, GD(), steps=1, **asked)


def test_held_out_data_are_tried_at_once():
    with pytest.raises(ValueError, match=r"cannot be evaluated on the test data: RuntimeError: mat1"):
        from_module(net(), nn.MSELoss(), (X, Y), test=(X[:, :2], Y))
    with pytest.raises(TypeError, match="data is a int"):
        from_module(net(), nn.MSELoss(), (X, Y), test=3)


def test_held_out_data_in_several_batches():
    module = net()
    land = made(module, nn.MSELoss(), (X, Y), test=[(X[:3], Y[:3]), (X[3:10], Y[3:10])])
    torch.testing.assert_close(
        land.score("test_loss", land.start()), functional.mse_loss(module(X[:10]), Y[:10]).detach()[None]
    )
    land = made(module, nn.MSELoss(), (X, Y), test=[(X[:3, None], Y[:3, None]), (X[3:10], Y[3:10])])
    torch.testing.assert_close(
        land.score("test_loss", land.start()), functional.mse_loss(module(X[:10]), Y[:10]).detach()[None]
    )
