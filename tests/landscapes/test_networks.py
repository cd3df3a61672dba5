"""Networks against the same networks built from torch.nn, with gradients and Hessians from torch's own autograd."""

import itertools
import math

import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score
from torch import nn
from torch.nn import functional

from landscapes import LANDSCAPES, MLP
from landscapes.networks import ACTIVATIONS
from landscapes.supervised import OBJECTIVES

MODULES = {
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
    "gelu": nn.GELU,
    "elu": nn.ELU,
    "softplus": nn.Softplus,
    "sigmoid": nn.Sigmoid,
    "linear": nn.Identity,
}
SMALL = MLP(data="chebyshev", hidden=(5, 4), objective="squared")
DIGITS = MLP(hidden=(3,))


def points(land, runs, seed=1):
    """Parameters with biases that are not zero."""
    noise = torch.randn(runs, land.dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return land.start(runs) + 0.3 * noise


def dataset(name):
    """Inputs and targets, or class numbers, made here and not by landscapes.data."""
    if name == "digits":
        bunch = load_digits()
        return torch.tensor(bunch.data) / 16, torch.tensor(bunch.target)
    x = torch.arange(20, dtype=torch.float64)[:, None] / 19 * 2 - 1
    return x, torch.cos(3 * torch.arccos(x))  # T_3 by its trigonometric definition


def module(land, params):
    """The network as torch.nn.Sequential holding `params` (dim,)."""
    inputs, targets = dataset(land.data)
    outputs = 10 if land.data == "digits" else 1
    layers, flat = [], params
    for fan_in, fan_out in itertools.pairwise((inputs.shape[1], *land.hidden, outputs)):
        linear = nn.Linear(fan_in, fan_out, dtype=torch.float64)
        for tensor in (linear.weight, linear.bias):
            tensor.data, flat = flat[: tensor.numel()].reshape(tensor.shape).clone(), flat[tensor.numel() :]
        layers += [linear, MODULES[land.activation]()]
    assert flat.numel() == 0
    return nn.Sequential(*layers[:-1])


def reference(land, params, batch=slice(None)):
    """Loss and flat gradient by torch.nn alone."""
    network = module(land, params)
    inputs, targets = (x[batch] for x in dataset(land.data))
    outputs = network(inputs)
    if land.objective == "cross_entropy":
        loss = functional.cross_entropy(outputs, targets)
    else:
        if land.data == "digits":
            targets = functional.one_hot(targets, 10).double()
        # mse_loss averages over outputs as well; ours sums over them and takes the half.
        loss = functional.mse_loss(outputs, targets) * outputs.shape[1] / 2
    loss.backward()
    return loss.detach(), torch.cat([tensor.grad.flatten() for tensor in network.parameters()])


def combinations():
    for activation, (data, objective) in itertools.product(
        ACTIVATIONS, (("chebyshev", "squared"), ("digits", "squared"), ("digits", "cross_entropy"))
    ):
        yield MLP(data=data, hidden=(4, 3), activation=activation, objective=objective)


every_kind = pytest.mark.parametrize(
    "land", list(combinations()), ids=lambda land: f"{land.data}-{land.objective}-{land.activation}"
)


def test_every_activation_and_objective_has_an_oracle():
    kinds = list(combinations())
    assert {land.activation for land in kinds} == set(ACTIVATIONS) == set(MODULES)
    assert {land.objective for land in kinds} == set(OBJECTIVES)


@every_kind
def test_loss_and_gradient_are_those_of_torch(land):
    for params in points(land, 2):
        loss, grad = land.value_and_grad(params)
        expected_loss, expected_grad = reference(land, params)
        torch.testing.assert_close(loss, expected_loss, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(grad, expected_grad, rtol=1e-10, atol=1e-13)  # sums over 1,797 samples
        torch.testing.assert_close(land.loss(params), expected_loss, rtol=1e-12, atol=1e-14)


@every_kind
def test_float32_is_kept_and_close(land):
    params = points(land, 2)
    loss, grad = land.value_and_grad(params.float())
    assert loss.dtype == grad.dtype == torch.float32
    exact_loss, exact_grad = land.value_and_grad(params)
    torch.testing.assert_close(loss, exact_loss.float(), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(grad, exact_grad.float(), rtol=1e-4, atol=1e-5)  # float32 sums over 1,797 samples


@pytest.mark.parametrize("hidden", [(), (1,), (2, 3, 2)])
def test_any_number_of_hidden_layers(hidden):
    land = MLP(data="chebyshev", hidden=hidden, objective="squared")
    params = points(land, 1)[0]
    loss, grad = land.value_and_grad(params)
    torch.testing.assert_close((loss, grad), reference(land, params), rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("land", [SMALL, DIGITS], ids=["chebyshev", "digits"])
def test_a_batch_of_runs_equals_the_runs_one_by_one(land):
    params = points(land, 6).reshape(2, 3, land.dim)
    vectors = points(land, 6, seed=2).reshape(2, 3, land.dim)
    loss, grad = land.value_and_grad(params)
    products = land.hvp(params, vectors)
    assert loss.shape == (2, 3)
    for i, j in itertools.product(range(2), range(3)):
        alone = *land.value_and_grad(params[i, j]), land.hvp(params[i, j], vectors[i, j])
        torch.testing.assert_close((loss[i, j], grad[i, j], products[i, j]), alone, rtol=1e-10, atol=1e-13)
        for shape in ((1,), (1, 1)):  # one run, whatever dimensions of one it stands under
            wrapped = land.loss(params[i, j].reshape(*shape, land.dim))
            assert wrapped.shape == shape
            torch.testing.assert_close(wrapped.reshape(()), loss[i, j], rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("activation", ["tanh", "gelu", "softplus", "sigmoid", "linear"])
def test_hessian_vector_products_are_those_of_the_whole_hessian(activation):
    land = MLP(data="chebyshev", hidden=(5, 4), activation=activation, objective="squared")
    params, vectors = points(land, 3), points(land, 3, seed=2)
    products = land.hvp(params, vectors)
    for w, v, product in zip(params, vectors, products, strict=True):
        # The oracle: torch's Hessian of the torch.nn network, parameter by parameter, not of our loss.
        network = module(land, w)
        names = [name for name, _ in network.named_parameters()]
        sizes = [tensor.numel() for tensor in network.parameters()]
        shapes = [tensor.shape for tensor in network.parameters()]
        x, y = dataset(land.data)

        def loss(flat, network=network, names=names, sizes=sizes, shapes=shapes, x=x, y=y):
            parts = [part.reshape(shape) for part, shape in zip(flat.split(sizes), shapes, strict=True)]
            outputs = torch.func.functional_call(network, dict(zip(names, parts, strict=True)), (x,))
            return functional.mse_loss(outputs, y) / 2

        hessian = torch.autograd.functional.hessian(loss, w)
        torch.testing.assert_close(product, hessian @ v, rtol=1e-10, atol=1e-13)


def test_hessian_vector_products_on_the_digits():
    params, vector = points(DIGITS, 1)[0], points(DIGITS, 1, seed=2)[0]
    hessian = torch.autograd.functional.hessian(lambda w: reference_loss(w), params)
    torch.testing.assert_close(DIGITS.hvp(params, vector), hessian @ vector, rtol=1e-10, atol=1e-13)


def reference_loss(flat):
    """The cross-entropy of a 64-3-10 tanh network, written out."""
    inputs, targets = dataset("digits")
    w1, b1, w2, b2 = flat.split([3 * 64, 3, 10 * 3, 10])
    hidden = torch.tanh(inputs @ w1.reshape(3, 64).T + b1)
    return functional.cross_entropy(hidden @ w2.reshape(10, 3).T + b2, targets)


def test_one_point_takes_many_vectors():
    params, vectors = points(SMALL, 1)[0], points(SMALL, 4, seed=2)
    expected = torch.stack([SMALL.hvp(params, v) for v in vectors])
    torch.testing.assert_close(SMALL.hvp(params, vectors), expected, rtol=1e-12, atol=1e-14)


# Batches of samples


@pytest.mark.parametrize("land", [SMALL, DIGITS], ids=["chebyshev", "digits"])
def test_a_batch_is_the_mean_over_its_samples(land):
    batch = torch.tensor([7, 0, 19, 7, 3])  # a sample twice counts twice
    params = points(land, 3)
    loss, grad = land.value_and_grad(params, batch)
    assert loss.shape == (3,)
    for run in range(3):
        expected = reference(land, params[run], batch)
        torch.testing.assert_close((loss[run], grad[run]), expected, rtol=1e-11, atol=1e-13)
        torch.testing.assert_close(land.loss(params[run], batch), expected[0], rtol=1e-12, atol=1e-14)


def test_every_run_may_have_its_own_batch():
    params, batches = points(SMALL, 3), torch.tensor([[0, 1, 2, 3], [4, 4, 5, 6], [19, 8, 2, 0]])
    together = SMALL.loss(params, batches)
    one_run = SMALL.loss(params[0], batches)
    for run, batch in enumerate(batches):
        torch.testing.assert_close(together[run], reference(SMALL, params[run], batch)[0])
        torch.testing.assert_close(one_run[run], reference(SMALL, params[0], batch)[0])
    assert SMALL.loss(params[:, None], batches).shape == (3, 3)


def test_samples_are_those_of_the_data():
    assert SMALL.samples == 20
    assert DIGITS.samples == len(load_digits().target) == 1797
    for land in (SMALL, DIGITS):
        params = points(land, 1)[0]
        torch.testing.assert_close(land.loss(params, torch.arange(land.samples)), land.loss(params))


@pytest.mark.parametrize("batch", [torch.tensor([20]), torch.tensor([-1]), torch.tensor([0.0]), [0], torch.tensor(0)])
def test_a_batch_of_no_samples_is_refused(batch):
    with pytest.raises((ValueError, TypeError), match=r"^batch (must be|holds) .*\.$"):
        SMALL.loss(points(SMALL, 1), batch)


# Starts


def test_a_start_is_reproducible_and_a_row_does_not_depend_on_the_number_of_rows():
    for seed in (0, 1, 12345, -3, 2**63 - 1):
        many = SMALL.start(5, seed)
        assert many.shape == (5, SMALL.dim)
        assert torch.equal(SMALL.start(5, seed), many)
        assert torch.equal(SMALL.start(2, seed), many[:2])
        assert len({tuple(row.tolist()) for row in many}) == 5
    assert SMALL.start(0).shape == (0, SMALL.dim)


def test_both_seeds_and_the_gain_change_the_start():
    base = SMALL.start()
    own = MLP(data="chebyshev", hidden=(5, 4), objective="squared", seed=1).start()
    assert len({tuple(start[0].tolist()) for start in (base, own, SMALL.start(seed=1))}) == 3
    wide = MLP(data="chebyshev", hidden=(5, 4), objective="squared", gain=3.0).start()
    torch.testing.assert_close(wide, 3 * base)


def test_a_start_has_the_variance_of_lecun_and_no_biases():
    land = MLP(hidden=(200, 100))
    for name, tensor in land.layout.unpack(land.start()[0]).items():
        if name.startswith("b"):
            assert (tensor == 0).all()
        else:
            n = tensor.numel()
            scaled = tensor * math.sqrt(tensor.shape[1])
            # Five standard errors of a mean and of a variance of n standard normal numbers; the seed is fixed.
            assert abs(float(scaled.mean())) < 5 / math.sqrt(n)
            assert abs(float(scaled.var()) - 1) < 5 * math.sqrt(2 / n)


def test_float32_starts_are_the_same_numbers_rounded():
    assert torch.equal(SMALL.start(3, dtype=torch.float32), SMALL.start(3).float())


@pytest.mark.parametrize(
    "values", [{"runs": -1}, {"runs": 1.5}, {"seed": "a"}, {"seed": 2**63}, {"dtype": torch.int64}]
)
def test_a_start_that_cannot_be_is_refused(values):
    with pytest.raises((ValueError, TypeError), match=r"must be .*\.$"):
        SMALL.start(**values)


# What others measure: hidden activations, accuracy, held-out samples


def test_activations_are_those_of_torch():
    params = points(DIGITS, 4).reshape(2, 2, DIGITS.dim)
    inputs, _ = DIGITS.training_set(params)
    (hidden,) = DIGITS.activations(params, inputs)
    assert hidden.shape == (2, 2, 1797, 3)
    torch.testing.assert_close(hidden[1, 0], module(DIGITS, params[1, 0])[:2](inputs), rtol=1e-12, atol=1e-14)
    assert (
        MLP(data="chebyshev", hidden=(), objective="squared").activations(torch.zeros(2).double(), inputs[:, :1]) == []
    )


def test_accuracy_is_that_of_sklearn():
    params = points(DIGITS, 6).reshape(2, 3, DIGITS.dim)
    inputs, targets = DIGITS.training_set(params)
    outputs = DIGITS.outputs(params, inputs)
    shares = DIGITS.accuracy(outputs, targets)
    for i, j in itertools.product(range(2), range(3)):
        expected = accuracy_score(load_digits().target, outputs[i, j].argmax(-1).numpy())
        torch.testing.assert_close(float(shares[i, j]), expected)


def test_held_out_samples_are_the_others():
    land = MLP(hidden=(3,), test_share=0.25, data_seed=3)
    like = torch.zeros(1).double()
    (inputs, targets), (test_inputs, test_targets) = land.training_set(like), land.test_set(like)
    assert land.samples == len(inputs) == len(targets) == 1797 - 449
    assert len(test_inputs) == len(test_targets) == 449
    everything = torch.cat([torch.cat([inputs, test_inputs]), torch.cat([targets, test_targets])], dim=1)
    original = torch.cat(DIGITS.training_set(like), dim=1)
    assert sorted(everything.tolist()) == sorted(original.tolist())
    again, other = MLP(hidden=(4,), test_share=0.25, data_seed=3), MLP(hidden=(3,), test_share=0.25, data_seed=4)
    assert torch.equal(again.test_set(like)[0], test_inputs)
    assert not torch.equal(other.test_set(like)[0], test_inputs)
    assert DIGITS.test_set(like) is None


# Declarations


def test_loss_is_another_name_for_the_objective():
    land = LANDSCAPES["mlp"](data="digits", hidden=(4,), loss="squared")
    assert land == MLP(data="digits", hidden=(4,), objective="squared")
    assert land.objective == "squared"
    assert callable(land.loss)


def test_cross_entropy_needs_classes():
    with pytest.raises(
        ValueError, match="^objective = cross_entropy needs classes, and chebyshev has none: use squared.$"
    ):
        MLP(data="chebyshev")


def test_the_layout_names_weights_and_biases_in_order():
    blocks = MLP(hidden=(7, 5)).layout.blocks
    expected = [("W1", (7, 64)), ("b1", (7,)), ("W2", (5, 7)), ("b2", (5,)), ("W3", (10, 5)), ("b3", (10,))]
    assert [(block.name, block.shape) for block in blocks] == expected


def test_a_chunk_is_of_at_least_one_run_and_smaller_for_larger_networks():
    sizes = [land.chunk(land.start()) for land in (SMALL, MLP(data="chebyshev", hidden=(400,), loss="squared"), DIGITS)]
    assert sizes == sorted(sizes, reverse=True)
    assert min(sizes) >= 1
    assert SMALL.chunk(SMALL.start(dtype=torch.float32)) > SMALL.chunk(SMALL.start())
