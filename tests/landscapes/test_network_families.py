"""Every kind of network against the same network made of torch.nn modules, and what holds of all of them."""

import dataclasses
import itertools
import math

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from landscapes import (
    CNN,
    LANDSCAPES,
    LSTM,
    MLP,
    RNN,
    Network,
    ResidualCNN,
    ResidualMLP,
    Transformer,
    settings,
    slice_2d,
)
from landscapes.data import DATA
from landscapes.networks import ACTIVATIONS, INITIALIZATIONS
from landscapes.networks.layers import convolution
from landscapes.setting import Choice, Flag

KINDS = [kind for kind in LANDSCAPES.values() if issubclass(kind, Network)]
SIZES = {"hidden": (4, 3), "width": 4, "channels": (2, 3), "blocks": 1, "heads": 2, "head": 2, "subset": 6}
MODULES = {
    "tanh": nn.Tanh, "relu": nn.ReLU, "gelu": nn.GELU, "elu": nn.ELU,
    "softplus": nn.Softplus, "sigmoid": nn.Sigmoid, "linear": nn.Identity,
}  # fmt: skip
SMOOTH = "tanh"


def small(kind, **changes):
    """A network of the kind with few weights and samples and a smooth nonlinearity, on its own data."""
    known = settings(kind)
    sizes = {name: size for name, size in SIZES.items() if name in known}
    if kind is Transformer:
        sizes["hidden"] = 5
    if "activation" in known:
        sizes["activation"] = SMOOTH
    return kind(**sizes | changes)


def variants():
    """Each kind with every value of each of its own choices and flags, and on one data set of every shape that it can read."""
    for kind in KINDS:
        yield small(kind)
        for name, one in settings(kind).items():
            if name in ("data", "objective", "init", "activation", "standardize"):
                continue
            values = one.choices if isinstance(one, Choice) else (False, True) if isinstance(one, Flag) else ()
            for value in values:
                if value != getattr(small(kind), name):
                    yield small(kind, **{name: value})
        for data in {len(DATA[name].shape): name for name in ("chebyshev", "adding", "digits")}.values():
            if data in settings(kind)["data"].choices and data != small(kind).data:
                yield small(kind, data=data, objective="squared")
    for kind in (CNN, ResidualCNN, RNN):
        yield small(kind, data="mnist1d", objective="cross_entropy")
    yield small(CNN, reach=0, channels=(2, 2, 2, 2))
    yield small(CNN, channels=())
    yield small(ResidualCNN, channels=(2, 3, 2), blocks=2, norm="batch")
    yield small(ResidualMLP, blocks=2, norm="layer", skip=False)
    yield from (small(MLP, norm=norm, parametrization="ntk") for norm in ("layer", "batch"))


def described(land):
    own = {name: value for name, value in land.values().items() if value != settings(land)[name].default}
    own = {name: value for name, value in own.items() if name not in SIZES and name != "activation"}
    return "-".join([land.name, *(f"{name}={value}" for name, value in own.items())])


every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
every_variant = pytest.mark.parametrize("land", list(variants()), ids=described)


def points(land, runs, seed=1):
    """Parameters with biases, scales and shifts that are not zero or one."""
    noise = torch.randn(runs, land.dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return land.start(runs) + 0.3 * noise


# The same networks of torch.nn


def filled(layer, weight, bias=None):
    layer = layer.double()
    assert layer.weight.shape == weight.shape
    layer.weight.data = weight
    if bias is not None:
        layer.bias.data = bias
    return layer


def layer_of(land, named, index, stride=1):
    """Affine layer or convolution number `index`, and the normalization after it."""
    weight, bias = named[f"W{index}"], named[f"b{index}"]
    out, channels, *kernel = weight.shape
    if kernel:
        padding = tuple(size // 2 for size in kernel)
        steps = tuple(min(stride, size) if size == 1 else stride for size in kernel) if kernel[0] == 1 else stride
        layers = [filled(nn.Conv2d(channels, out, kernel, stride=steps, padding=padding), weight, bias)]
    else:
        scaled = land.values().get("parametrization") == "ntk"
        layers = [filled(nn.Linear(channels, out), weight / math.sqrt(channels) if scaled else weight, bias)]
    if f"scale{index}" in named:
        by_sample, by_batch = (nn.GroupNorm(1, out), nn.BatchNorm2d) if kernel else (nn.LayerNorm(out), nn.BatchNorm1d)
        norm = by_sample if land.norm == "layer" else by_batch(out)
        layers.append(filled(norm, named[f"scale{index}"], named[f"shift{index}"]))
    return nn.Sequential(*layers)


def of_mlp(land, named, inputs):
    layers = []
    for index in range(1, len(land.hidden) + 1):
        layers += [layer_of(land, named, index), MODULES[land.activation]()]
    return nn.Sequential(*layers, layer_of(land, named, len(land.hidden) + 1))(inputs)


def of_residual_mlp(land, named, inputs):
    act = MODULES[land.activation]()
    signal = act(layer_of(land, named, 1)(inputs))
    for block in range(land.blocks):
        inner = nn.Sequential(layer_of(land, named, 2 * block + 2), act, layer_of(land, named, 2 * block + 3))(signal)
        signal = act(signal + inner) if land.skip else act(inner)
    return layer_of(land, named, 2 * land.blocks + 2)(signal)


def of_cnn(land, named, inputs):
    signal, pool = inputs, nn.AvgPool2d if land.pool == "average" else nn.MaxPool2d
    for index in range(1, len(land.channels) + 1):
        signal = MODULES[land.activation]()(layer_of(land, named, index)(signal))
        signal = pool([min(2, size) for size in signal.shape[-2:]])(signal)
    return layer_of(land, named, len(land.channels) + 1)(signal.flatten(1))


def of_residual_cnn(land, named, inputs):
    act = MODULES[land.activation]()
    signal, index = act(layer_of(land, named, 1)(inputs)), 2
    for stage in range(len(land.channels)):
        for block in range(land.blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            inner = layer_of(land, named, index + 1)(act(layer_of(land, named, index, stride)(signal)))
            if land.skip:
                # Option A of He et al.: identity at every second place, zeros in the new channels.
                place = torch.zeros_like(inner)
                kept = min(signal.shape[1], inner.shape[1])
                place[:, :kept] = signal[:, :kept, ::stride, ::stride]
                inner = inner + place
            signal, index = act(inner), index + 2
    pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())(signal)
    return layer_of(land, named, index)(pooled)


def recurrent(kind):
    def outputs(land, named, inputs):
        rows = named["b"].numel()
        options = {} if kind is nn.LSTM else {"nonlinearity": land.activation}
        cell = kind(inputs.shape[-1], land.width, batch_first=True, **options).double()
        cell.weight_ih_l0.data, cell.weight_hh_l0.data = named["Wx"], named["Wh"]
        cell.bias_ih_l0.data, cell.bias_hh_l0.data = named["b"], torch.zeros(rows).double()
        if kind is nn.LSTM:  # torch has no forget gate that starts open
            cell.bias_hh_l0.data[land.width : 2 * land.width] = 1
        states, _ = cell(inputs)
        return filled(nn.Linear(land.width, land.targets), named["V"], named["c"])(states[:, -1])

    return outputs


def of_transformer(land, named, inputs):
    def norm(index, signal):
        if land.norm == "none":
            return signal
        return filled(nn.LayerNorm(land.width), named[f"scale{index}"], named[f"shift{index}"])(signal)

    embedded = inputs @ named["E"].T
    tokens = torch.cat([embedded, torch.zeros(len(inputs), 1, land.width).double()], dim=1) + named["P"]
    attention = nn.MultiheadAttention(land.width, land.heads, bias=False, batch_first=True).double()
    attention.in_proj_weight.data = torch.cat([named["Q"], named["K"], named["V"]])
    attention.out_proj.weight.data = named["O"]
    read = norm(1, tokens)
    signal = (tokens + attention(read, read, read, need_weights=False)[0])[:, -1]
    hidden = MODULES[land.activation]()(functional.linear(norm(2, signal), named["W1"], named["b1"]))
    signal = signal + functional.linear(hidden, named["W2"], named["b2"])
    return functional.linear(norm(3, signal), named["U"], named["c"])


ORACLES = {
    MLP: of_mlp, ResidualMLP: of_residual_mlp, CNN: of_cnn, ResidualCNN: of_residual_cnn, Transformer: of_transformer,
    RNN: recurrent(nn.RNN), LSTM: recurrent(nn.LSTM),
}  # fmt: skip


def test_every_kind_has_an_oracle():
    assert set(ORACLES) == set(KINDS)
    assert set(MODULES) == set(ACTIVATIONS)


def reference(land, params, batch=None):
    """Outputs and loss of the network of torch.nn; params (dim,)."""
    inputs, targets = land.training_set(params)
    if batch is not None:
        inputs, targets = inputs[batch], targets[batch]
    outputs = ORACLES[type(land)](land, land.layout.unpack(params), inputs)
    if land.objective == "cross_entropy":
        loss = functional.cross_entropy(outputs, targets.argmax(-1))
    else:
        loss = functional.mse_loss(outputs, targets) * targets.shape[1] / 2
    return outputs, loss + land.weight_decay / 2 * params.norm() ** 2


@every_variant
def test_outputs_and_loss_are_those_of_torch(land):
    land = dataclasses.replace(land, weight_decay=0.01)
    for params in points(land, 2):
        outputs, loss = reference(land, params)
        inputs, _ = land.training_set(params)
        torch.testing.assert_close(land.outputs(params, inputs), outputs.detach(), rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(land.loss(params), loss.detach(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("activation", [name for name in ACTIVATIONS if name != SMOOTH])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if "activation" in settings(kind)], ids=lambda kind: kind.name)
def test_every_nonlinearity_is_that_of_torch(kind, activation):
    land = small(kind, activation=activation)
    if kind is RNN and activation != "relu":  # torch's knows no others: its cell, step by step, with this one
        params = points(land, 1)[0]
        named, (inputs, _) = land.layout.unpack(params), land.training_set(params)
        state = torch.zeros(len(inputs), land.width).double()
        for step in inputs.unbind(1):
            drive = functional.linear(step, named["Wx"], named["b"]) + functional.linear(state, named["Wh"])
            state = MODULES[activation]()(drive)
        expected = functional.linear(state, named["V"], named["c"])
        torch.testing.assert_close(land.outputs(params, inputs), expected, rtol=1e-12, atol=1e-12)
        return
    params = points(land, 1)[0]
    torch.testing.assert_close(land.loss(params), reference(land, params)[1].detach(), rtol=1e-12, atol=1e-12)


# Batched, of both dtypes


@every_variant
def test_runs_together_are_the_runs_one_by_one(land):
    params, vectors = points(land, 6).reshape(2, 3, land.dim), points(land, 6, seed=2).reshape(2, 3, land.dim)
    loss, grad = land.value_and_grad(params)
    products = land.hvp(params, vectors)
    assert loss.shape == (2, 3)
    assert grad.shape == products.shape == params.shape
    for i, j in ((0, 0), (1, 2)):
        alone = *land.value_and_grad(params[i, j]), land.hvp(params[i, j], vectors[i, j])
        torch.testing.assert_close((loss[i, j], grad[i, j], products[i, j]), alone, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(land.loss(params[0]), loss[0], rtol=1e-12, atol=1e-14)


@every_kind
def test_float32_is_kept_and_close(kind):
    land = small(kind)
    params = points(land, 2)
    loss, grad = land.value_and_grad(params.float())
    product = land.hvp(params.float(), grad)
    assert loss.dtype == grad.dtype == product.dtype == torch.float32
    exact_loss, exact_grad = land.value_and_grad(params)
    torch.testing.assert_close(loss, exact_loss.float(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(grad, exact_grad.float(), rtol=1e-3, atol=1e-4)  # float32 through many layers


@pytest.mark.parametrize("land", [*map(small, KINDS), small(MLP, norm="batch", parametrization="ntk")], ids=described)
def test_batches_of_samples_are_shared_or_of_each_run(land):
    params, batches = points(land, 3), torch.tensor([[0, 1, 2], [4, 4, 5], [1, 3, 2]])
    shared, own = land.loss(params, batches[0]), land.loss(params, batches)
    one_run, every_pair = land.loss(params[0], batches), land.loss(params[:, None], batches)
    assert every_pair.shape == (3, 3)
    for i, j in itertools.product(range(3), range(3)):
        expected = reference(land, params[i], batches[j])[1].detach()
        torch.testing.assert_close(every_pair[i, j], expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close((shared, own, one_run), (every_pair[:, 0], every_pair.diagonal(), every_pair[0]))


# Derivatives


@every_variant
def test_gradients_are_the_slopes_of_the_network_of_torch(land):
    params = points(land, 1)[0]
    direction = torch.randn(land.dim, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    step = 1e-5
    ahead, behind = (reference(land, params + sign * step * direction)[1].detach() for sign in (1, -1))
    # A central difference is wrong by step^2 times a third derivative, and by rounding over the step: about 1e-10 each.
    torch.testing.assert_close(land.grad(params) @ direction, (ahead - behind) / (2 * step), rtol=1e-6, atol=1e-8)


every_derivative = pytest.mark.parametrize(
    "land",
    [
        *map(small, KINDS),
        *(small(MLP, norm=norm) for norm in ("layer", "batch")),
        *(small(MLP, norm=norm, parametrization="ntk") for norm in ("none", "batch")),
    ],
    ids=described,
)


@every_derivative
def test_products_are_those_of_the_whole_hessian(land):
    land = dataclasses.replace(land, weight_decay=0.1)
    assert land.dim <= 2000
    params, vectors = points(land, 1)[0], points(land, 3, seed=2)
    hessian = torch.autograd.functional.hessian(land.loss, params, vectorize=True)
    torch.testing.assert_close(hessian, hessian.T, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(land.hvp(params, vectors), vectors @ hessian, rtol=1e-9, atol=1e-10)
    step = 1e-4  # and the gradient's own change, which knows nothing of second derivatives
    change = (land.grad(params + step * vectors[0]) - land.grad(params - step * vectors[0])) / (2 * step)
    torch.testing.assert_close(change, hessian @ vectors[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("lead", [((2, 1), (1, 3)), ((2, 3), ()), ((), (2, 3))], ids=str)
def test_convolutions_of_runs_broadcast(stride, lead):
    generator = torch.Generator().manual_seed(0)
    weight, bias, signal = (
        torch.randn(*shape, generator=generator, dtype=torch.float64)
        for shape in ((*lead[0], 4, 2, 3, 3), (*lead[0], 4), (*lead[1], 5, 2, 6, 7))
    )
    made = convolution(signal, weight, bias, stride)
    assert made.shape[:2] == (2, 3)
    for i, j in itertools.product(range(2), range(3)):
        w, b, x = (
            one.expand(2, 3, *one.shape[one.ndim - kept :])[i, j] for one, kept in ((weight, 4), (bias, 1), (signal, 4))
        )
        expected = functional.conv2d(x, w, b, padding=1, stride=stride)
        torch.testing.assert_close(made[i, j], expected, rtol=1e-12, atol=1e-12)


# Layers


@every_kind
def test_activations_lead_to_the_outputs(kind):
    land = small(kind)
    params = points(land, 2)
    inputs, _ = land.training_set(params)
    hidden = land.activations(params, inputs)
    assert hidden
    assert all(one.shape[:2] == (2, land.samples) for one in hidden)
    assert all(torch.isfinite(one).all() for one in hidden)
    last = [block.name for block in land.layout.blocks][-2:]
    named = land.layout.unpack(params)
    if hidden[-1].ndim == 3 and land.values().get("norm", "none") == "none":  # what is read out is the last of them
        expected = hidden[-1] @ named[last[0]].mT + named[last[1]].unsqueeze(-2)
        torch.testing.assert_close(land.outputs(params, inputs), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "norm" in settings(kind)], ids=lambda kind: kind.name)
def test_normalization_makes_the_scale_of_the_weights_before_it_irrelevant(kind):
    for norm in settings(kind)["norm"].choices:
        land = small(kind, norm=norm)
        params = points(land, 1)[0]
        named = land.layout.unpack(params.clone())
        first = ["W1", "b1"] if kind is not Transformer else ["E", "P"]
        if kind is Transformer:  # scales the whole stream that the second and third norms read
            first += ["O", "W2", "b2"]
        scaled = land.layout.pack({name: 3 * one if name in first else one for name, one in named.items()})
        same = torch.allclose(land.loss(scaled), land.loss(params), rtol=1e-3)  # up to what is added to a variance
        assert same == (norm != "none")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "norm" in settings(kind)], ids=lambda kind: kind.name)
def test_scales_and_shifts_are_blocks_of_one_dimension_and_start_at_one_and_zero(kind):
    land = small(kind, norm="layer")
    named = land.layout.unpack(land.start()[0])
    scales = [one for name, one in named.items() if name.startswith("scale")]
    shifts = [one for name, one in named.items() if name.startswith("shift")]
    assert len(scales) == len(shifts) > 0
    assert all(one.ndim == 1 and (one == 1).all() for one in scales)
    assert all(one.ndim == 1 and (one == 0).all() for one in shifts)


@pytest.mark.parametrize("norm", ["layer", "batch"])
def test_filter_normalized_slices_of_a_normalized_network_do_not_feel_the_scale_of_its_filters(norm):
    """Li et al. 2018, sect. 4: what filter normalization is for. Here exact but for what is added to a variance."""
    land = small(MLP, norm=norm)
    params = points(land, 1)[0]
    named = land.layout.unpack(params)
    twin = land.layout.pack(named | {name: 3 * named[name] for name in ("W1", "b1")})
    planes = [slice_2d(land, center, span=0.5, points=5, seed=2).loss for center in (params, twin)]
    # 1e-5 beside variances of about 0.1, and biases that count for less in the twin's plane
    torch.testing.assert_close(planes[0], planes[1], rtol=1e-3, atol=0)
    plain = [slice_2d(land, center, normalize="none", span=0.5, points=5, seed=2).loss for center in (params, twin)]
    assert (plain[0] - plain[1]).abs().max() > 0.01


def test_batch_norm_couples_samples_and_layer_norm_does_not():
    for norm in ("none", "layer", "batch"):
        land = small(MLP, norm=norm)
        params = points(land, 1)[0]
        alone = torch.stack([land.loss(params, torch.tensor([index])) for index in range(land.samples)]).mean()
        assert torch.isclose(alone, land.loss(params), rtol=1e-12) != land.coupled == (norm == "batch")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "skip" in settings(kind)], ids=lambda kind: kind.name)
def test_skip_connections_have_no_weights_and_make_the_difference(kind):
    on, off = small(kind, skip=True), small(kind, skip=False)
    assert on.layout == off.layout
    params = on.layout.unpack(on.start()[0])
    # With the first layer of every block at zero, a block passes its input on, or nothing that depends on the sample.
    inner = {name: torch.zeros_like(one) for name, one in params.items() if name[0] == "W" and int(name[1:]) > 1}
    inner.pop(max(inner, key=lambda name: int(name[1:])))
    flat = on.layout.pack(params | inner)
    inputs, _ = on.training_set(flat)
    assert float(on.outputs(flat, inputs).std(0).max()) > 1e-3
    assert float(off.outputs(flat, inputs).std(0).max()) < 1e-12


def test_without_skip_connections_a_deep_network_stops_learning():
    """The claim of its description, on 12 blocks; a single block learns without them."""
    losses = {}
    for blocks, skip in ((12, True), (12, False), (1, False)):
        land = ResidualMLP(blocks=blocks, skip=skip, subset=50)
        params = land.start(dtype=torch.float32)[0]
        for _ in range(60):
            params = params - 0.05 * land.grad(params)
        losses[blocks, skip] = float(land.loss(params))
    assert losses[12, True] < 0.5 * math.log(10)
    assert losses[12, False] > 0.95 * math.log(10)  # as good as ten equal outputs
    assert losses[1, False] < 0.9 * math.log(10)


# Starts


@every_kind
@pytest.mark.parametrize("init", INITIALIZATIONS)
def test_initial_weights_have_the_scale_of_the_scheme(kind, init):
    changes = (
        {"hidden": (60, 50)}
        if kind is MLP
        else {"channels": (30, 40)}
        if "channels" in settings(kind)
        else {"head": 10}
        if kind is Transformer
        else {"width": 40}
    )
    land = kind(init=init, gain=1.5, **changes)
    named = land.layout.unpack(land.start(seed=2)[0])
    last = [name for name, one in named.items() if one.ndim > 1][-1]
    for name, one in named.items():
        if one.ndim < 2:
            continue
        fan_out, fan_in = len(one) * one[0, 0].numel(), one[0].numel()
        if init == "orthogonal":
            flat = one.flatten(1) / 1.5
            gram = flat @ flat.T if len(flat) <= flat.shape[1] else flat.T @ flat
            torch.testing.assert_close(gram, torch.eye(len(gram)).double(), rtol=1e-10, atol=1e-12)
            continue
        expected = {
            "lecun": fan_in**-0.5, "he": (2 / fan_in) ** 0.5, "xavier": (2 / (fan_in + fan_out)) ** 0.5,
            "mean_field": 1 / fan_in if name == last else fan_in**-0.5,
        }[init]  # fmt: skip
        n = one.numel()
        assert float(one.std(correction=0)) == pytest.approx(
            1.5 * expected, rel=5 / math.sqrt(2 * n)
        )  # 5 standard errors


@every_kind
def test_starts_are_reproducible_and_rows_do_not_depend_on_their_number(kind):
    land = small(kind)
    many = land.start(3, seed=4)
    assert torch.equal(land.start(2, seed=4), many[:2])
    assert not torch.equal(many[0], many[1])
    assert not torch.equal(dataclasses.replace(land, seed=1).start(3, seed=4), many)
    assert torch.equal(land.start(3, seed=4, dtype=torch.float32), many.float())


# Declarations


@every_kind
def test_defaults_run_and_descend(kind):
    land = kind()
    params = land.start(dtype=torch.float32)[0]
    loss, grad = land.value_and_grad(params)
    assert torch.isfinite(loss)
    assert land.loss(params - 1e-3 * grad / grad.norm()) < loss
    assert land.chunk(params) >= 1


@every_kind
def test_data_that_do_not_fit_are_not_offered_and_refused(kind):
    offered = settings(kind)["data"].choices
    assert offered == tuple(name for name, source in DATA.items() if source.fits(kind.form))
    for name in set(DATA) - set(offered):
        with pytest.raises(ValueError, match=rf"^data = {name} is not allowed: it must be one of .*\.$"):
            kind(data=name)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: ResidualCNN(channels=()), "channels is empty: a residual network needs at least one stage."),
        (lambda: RNN(objective="cross_entropy"), "objective = cross_entropy needs classes, and adding has none: use squared."),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_one_sentence(make, sentence):
    with pytest.raises(ValueError, match="^.*$") as refusal:
        make()
    assert str(refusal.value) == sentence


def test_a_chunk_is_smaller_for_larger_networks():
    for kind in KINDS:
        size = "channels" if "channels" in settings(kind) else "hidden" if kind is MLP else "width"
        larger = kind(**{size: (64, 64) if size != "width" else 128}) if kind is not Transformer else kind(head=64)
        assert 1 <= larger.chunk(larger.start()) <= small(kind).chunk(small(kind).start())


@pytest.mark.parametrize(
    "land",
    [
        LANDSCAPES["mlp"](hidden=(30, 20), norm="layer"),
        LANDSCAPES["residual_mlp"](),
        LANDSCAPES["cnn"](data="mnist1d", channels=(4, 8, 8)),
        LANDSCAPES["cnn"](channels=(8, 16), reach=2),
        LANDSCAPES["residual_cnn"](channels=(4, 6, 8), blocks=2, norm="layer"),
        LANDSCAPES["rnn"](),
        LANDSCAPES["lstm"](data="digits", width=9),
        LANDSCAPES["transformer"](heads=2, hidden=40),
    ],
    ids=lambda land: f"{land.name} {land.data}",
)
def test_multiplications_are_those_that_torch_counts(land):
    """Of one sample, on tensors without numbers. Torch leaves out biases, we the normalization and what attention compares."""
    with FlopCounterMode(display=False) as counted:
        land.outputs(torch.empty(land.dim, device="meta"), torch.empty(1, *land.input_shape, device="meta"))
    ours = land.multiplications / land.samples
    assert ours == pytest.approx(counted.get_total_flops() / 2, rel=0.15)
