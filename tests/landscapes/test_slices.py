"""Slices: the plane that is promised, point by point, and filter normalisation as Li et al. 2018 define it."""

from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from landscapes import LANDSCAPES, MLP, Layout, slice_2d, slicing
from landscapes.directions import NORMALIZATIONS, normalize, random_directions
from landscapes.networks import network
from optimizers import OPTIMIZERS, run

NETWORK = MLP(data="chebyshev", hidden=(5, 4), objective="squared")
DIGITS = MLP(hidden=(3,))
RELU = MLP(data="chebyshev", hidden=(6, 5), activation="relu", objective="squared")
QUADRATIC = LANDSCAPES["quadratic"](kappa=7.0, angle=0.3)
AXES = torch.eye(2, dtype=torch.float64)


def point(land, seed=1):
    noise = torch.randn(land.dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return land.start()[0] + 0.3 * noise


def filter_normalized(direction, weights, shapes):
    """Li et al. 2018, section 4: d_ij <- d_ij / |d_ij| |theta_ij| for filter j of layer i, and zero for biases.

    In NumPy, over one flat vector, filter by filter: written from the paper and not from our code.
    """
    out, start = [], 0
    for shape in shapes:
        stop = start + int(np.prod(shape))
        d, theta = direction[start:stop].reshape(shape), weights[start:stop].reshape(shape)
        if len(shape) <= 1:
            out.append(np.zeros(shape))
        else:
            rows = [np.zeros(shape[1:]) for _ in range(shape[0])]
            for j in range(shape[0]):
                length = np.sqrt(np.sum(d[j] ** 2))
                if length > 0:
                    rows[j] = d[j] / length * np.sqrt(np.sum(theta[j] ** 2))
            out.append(np.stack(rows))
        start = stop
    return np.concatenate([part.ravel() for part in out])


# Normalisation

# Scalars, biases, matrices, and the weights of convolutions.
shapes = st.lists(st.integers(1, 4), min_size=0, max_size=4).map(tuple)
layouts = (
    st.lists(shapes, min_size=2, max_size=5)
    .filter(lambda several: max(map(len, several)) > 1)  # others are plain coordinates
    .map(lambda several: Layout.of((f"t{i}", shape) for i, shape in enumerate(several)))
)


@given(layouts, st.integers(0, 2**31))
def test_filter_normalisation_is_that_of_the_paper(layout, seed):
    params = random_directions(layout, torch.zeros((), dtype=torch.float64), 1, seed)[0]
    directions = random_directions(layout, params, 2, seed + 1)
    ours = normalize(directions, params, layout, "filter")
    for row in range(2):
        theirs = filter_normalized(directions[row].numpy(), params.numpy(), [block.shape for block in layout.blocks])
        np.testing.assert_allclose(ours[row].numpy(), theirs, rtol=1e-12, atol=0)


@given(layouts, st.integers(0, 2**31), st.floats(1e-3, 1e3))
def test_normalised_directions_have_the_promised_norms(layout, seed, factor):
    params = random_directions(layout, torch.zeros((), dtype=torch.float64), 1, seed)[0]
    directions = random_directions(layout, params, 2, seed + 1)
    for how in NORMALIZATIONS:
        once = normalize(directions, params, layout, how)
        if how == "none":
            assert torch.equal(once, directions)
            continue
        # Only the shape of a direction counts, not its length; and what is normalised stays as it is.
        torch.testing.assert_close(normalize(factor * directions, params, layout, how), once, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(normalize(once, params, layout, how), once, rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(
            normalize(directions, factor * params, layout, how), factor * once, rtol=1e-12, atol=0
        )
        # Normalising rescales: it turns no filter, no layer, no vector.
        assert (once * directions >= 0).all()
        own, others = layout.unpack(params), layout.unpack(once)
        if how == "vector":
            torch.testing.assert_close(once.norm(dim=-1), params.norm().expand(2))
        for block in layout.blocks:
            biases = len(block.shape) <= 1
            if biases and how != "vector":
                assert (others[block.name] == 0).all()
            elif how == "layer":
                norms = others[block.name].flatten(1).norm(dim=-1)
                torch.testing.assert_close(norms, own[block.name].norm().expand(2))
            elif how == "filter":
                norms = others[block.name].flatten(2).norm(dim=-1)
                torch.testing.assert_close(norms, own[block.name].flatten(1).norm(dim=-1).expand_as(norms))


@pytest.mark.parametrize("how", ["filter", "layer", "vector"])
def test_plain_coordinates_are_one_layer(how):
    """Two coordinates of a surface are neither filters nor biases: a slice of it must not collapse."""
    params = torch.tensor([3.0, 4.0], dtype=torch.float64)
    expected = torch.tensor([[5.0, 0.0], [0.0, 5.0]], dtype=torch.float64)
    torch.testing.assert_close(normalize(2 * AXES, params, QUADRATIC.layout, how), expected)


@pytest.mark.parametrize("how", ["filter", "layer"])
def test_each_vector_is_a_layer_where_there_is_no_matrix(how):
    """As in the factors u and v of a diagonal network: none of them is the bias of anything."""
    layout = Layout.of([("u", (2,)), ("v", (2,)), ("c", ())])
    params = torch.tensor([3.0, 4.0, 0.0, 0.5, -7.0], dtype=torch.float64)
    direction = torch.tensor([[2.0, 0.0, 3.0, 4.0, 9.0]], dtype=torch.float64)
    expected = torch.tensor([[5.0, 0.0, 0.3, 0.4, 7.0]], dtype=torch.float64)
    torch.testing.assert_close(normalize(direction, params, layout, how), expected)


def test_a_filter_of_zeros_gives_and_gets_a_direction_of_zeros():
    params, directions = point(NETWORK), random_directions(NETWORK.layout, AXES, 2, 0)
    params[2], directions[:, 1] = 0.0, 0.0  # W1 has one input: each filter is one number
    out = normalize(directions, params, NETWORK.layout, "filter")
    assert torch.isfinite(out).all()
    assert (out[:, 1:3] == 0).all()
    assert (out[:, 0] != 0).all()


def test_random_directions_are_standard_normal_and_seeded():
    layout = MLP(hidden=(100,)).layout
    directions = random_directions(layout, AXES, 2, 3)
    assert directions.shape == (2, layout.dim)
    assert torch.equal(directions, random_directions(layout, AXES, 2, 3))
    assert not torch.equal(directions, random_directions(layout, AXES, 2, 4))
    assert torch.equal(random_directions(layout, AXES.float(), 2, 3), directions.float())
    # Five standard errors of mean, variance and correlation of n standard normal numbers; the seed is fixed.
    n = layout.dim
    assert (directions.mean(-1).abs() < 5 / n**0.5).all()
    assert ((directions.var(-1) - 1).abs() < 5 * (2 / n) ** 0.5).all()
    assert abs(float(directions[0] @ directions[1])) < 5 * n**0.5


# The plane


@pytest.mark.parametrize("land", [NETWORK, DIGITS, QUADRATIC], ids=["network", "digits", "surface"])
@pytest.mark.parametrize("how", NORMALIZATIONS)
def test_every_point_of_the_plane_is_the_loss_where_it_says(land, how):
    center = point(land)
    plane = slice_2d(land, center, normalize=how, span=0.7, points=5, seed=2)
    assert plane.loss.shape == (5, 5)
    assert plane.alpha.tolist() == plane.beta.tolist() == pytest.approx([-0.7, -0.35, 0.0, 0.35, 0.7])
    assert plane.directions.shape == (2, land.dim)
    torch.testing.assert_close(
        plane.directions, normalize(random_directions(land.layout, center, 2, 2), center, land.layout, how)
    )
    for i in range(5):
        for j in range(5):
            where = center + plane.alpha[i] * plane.directions[0] + plane.beta[j] * plane.directions[1]
            torch.testing.assert_close(plane.loss[i, j], land.loss(where), rtol=1e-12, atol=1e-14)
    assert plane.loss.std() > 0


@pytest.mark.parametrize("land", [NETWORK, DIGITS, RELU, QUADRATIC], ids=["network", "digits", "relu", "surface"])
@pytest.mark.parametrize("tolerance", [None, 1e-3])
def test_the_middle_is_the_loss_at_the_centre(land, tolerance):
    for seed in range(3):
        center = point(land, seed)
        plane = slice_2d(land, center, points=11, seed=seed, tolerance=tolerance)
        assert plane.alpha[5] == plane.beta[5] == 0
        # Batched products, and a tanh written as a sigmoid, round otherwise.
        torch.testing.assert_close(plane.loss[5, 5], land.loss(center), rtol=1e-13, atol=0)
    assert slice_2d(QUADRATIC, point(QUADRATIC), points=3).loss[1, 1] == QUADRATIC.loss(point(QUADRATIC))


def test_a_slice_of_a_quadratic_is_that_quadratic():
    """f(c + a u + b v), by hand: with unit axes at (1, 2) the coordinates are x = 1 + a, y = 2 + b."""
    land, center = LANDSCAPES["quadratic"](kappa=7.0), torch.tensor([1.0, 2.0], dtype=torch.float64)
    plane = slice_2d(land, center, AXES, normalize="none", span=3.0, points=7)
    a, b = plane.alpha[:, None], plane.beta[None, :]
    torch.testing.assert_close(plane.loss, ((1 + a) ** 2 + 7 * (2 + b) ** 2) / 2)
    corners = [[float(plane.loss[i, j]) for j in (0, -1)] for i in (0, -1)]
    assert corners == [[5.5, 89.5], [11.5, 95.5]]


def test_the_first_index_is_alpha():
    plane = slice_2d(LANDSCAPES["quadratic"](), torch.zeros(2).double(), AXES, normalize="none", span=2.0, points=3)
    assert plane.loss[2, 1] == 2.0  # x = 2, y = 0
    assert plane.loss[1, 2] == 20.0  # x = 0, y = 2


def test_the_grid_is_symmetric_and_reaches_the_span():
    for points in (2, 3, 10, 51):
        plane = slice_2d(QUADRATIC, point(QUADRATIC), span=0.3, points=points)
        torch.testing.assert_close(plane.alpha, torch.linspace(-0.3, 0.3, points, dtype=torch.float64))
        assert torch.equal(plane.alpha, -plane.alpha.flip(0))
        assert plane.alpha[-1] == 0.3


def test_float32_is_kept():
    plane = slice_2d(NETWORK, point(NETWORK).float(), points=3)
    assert {x.dtype for x in (plane.loss, plane.alpha, plane.beta, plane.center, plane.directions)} == {torch.float32}
    exact = slice_2d(NETWORK, point(NETWORK).float().double(), points=3)
    torch.testing.assert_close(plane.loss.double(), exact.loss, rtol=1e-4, atol=1e-5)  # float32 sums


def rescaled(params, factor):
    """The same ReLU network: the first layer times `factor`, the second layer's weights divided by it."""
    named = {name: tensor.clone() for name, tensor in RELU.layout.unpack(params).items()}
    named["W1"] *= factor
    named["b1"] *= factor
    named["W2"] /= factor
    return RELU.layout.pack(named)


@pytest.mark.parametrize("factor", [0.25, 16.0])
def test_rescaling_a_relu_network_changes_no_filter_normalised_slice(factor):
    """Powers of two round nothing, so the slices of the two networks are equal to the last bit."""
    center = point(RELU)
    other = rescaled(center, factor)
    assert RELU.loss(other) == RELU.loss(center)
    assert torch.equal(slice_2d(RELU, other, points=7).loss, slice_2d(RELU, center, points=7).loss)
    for how in ("none", "vector"):
        plain, changed = (slice_2d(RELU, w, normalize=how, points=7).loss for w in (center, other))
        assert (plain - changed).abs().max() > 0.1 * plain.abs().max()


# Projection


@pytest.mark.parametrize("how", NORMALIZATIONS)
def test_a_point_of_the_plane_is_projected_to_its_coordinates(how):
    plane = slice_2d(NETWORK, point(NETWORK), normalize=how, points=3)
    wanted = torch.tensor([[0.3, -0.7], [0.0, 0.0], [2.0, 5.0], [-1.0, 1.0]], dtype=torch.float64)
    params = plane.center + wanted @ plane.directions
    for lead in ((4,), (2, 2)):
        coordinates, distance = plane.project(params.reshape(*lead, -1))
        torch.testing.assert_close(coordinates, wanted.reshape(*lead, 2), rtol=1e-10, atol=1e-12)
        assert distance.shape == lead
        assert (distance < 1e-12 * params.norm(dim=-1).max()).all()
    coordinates, distance = plane.project(params[0])
    torch.testing.assert_close(coordinates, wanted[0], rtol=1e-10, atol=1e-12)
    assert distance.shape == ()


def test_a_projection_is_the_nearest_point_and_its_distance():
    """Against the least-squares solver of NumPy."""
    plane = slice_2d(NETWORK, point(NETWORK), points=3)
    params = torch.stack([point(NETWORK, seed) for seed in (5, 6)])
    coordinates, distance = plane.project(params)
    basis = plane.directions.numpy().T
    for row in range(2):
        offset = (params[row] - plane.center).numpy()
        expected, square, *_ = np.linalg.lstsq(basis, offset)
        np.testing.assert_allclose(coordinates[row].numpy(), expected, rtol=1e-10)
        np.testing.assert_allclose(float(distance[row]) ** 2, square[0], rtol=1e-10)


# From few evaluations


def trained(activation, dtype=torch.float32, steps=40):
    """A network on the digits after some steps of gradient descent, and its parameters."""
    land = MLP(hidden=(32, 32), activation=activation)
    return land, run(land, OPTIMIZERS["gd"](lr=0.5), land.start(dtype=dtype)[0], steps).final


@pytest.fixture(scope="module")
def networks():
    return {activation: trained(activation) for activation in ("tanh", "relu")}


@pytest.mark.parametrize(
    ("activation", "tolerance", "most"),
    [("tanh", 1e-2, 105), ("tanh", 1e-3, 313), ("relu", 2e-2, 313)],
)
@pytest.mark.parametrize("log", [False, True])
def test_the_true_error_is_at_most_the_stated_one(networks, activation, tolerance, most, log):
    land, center = networks[activation]
    exact = slice_2d(land, center, points=31)
    quick = slice_2d(land, center, points=31, tolerance=tolerance, log=log)
    assert exact.error == 0
    assert exact.evaluations == 31**2
    assert quick.evaluations <= most
    a, b = (exact.loss.log(), quick.loss.log()) if log else (exact.loss, quick.loss)
    assert (
        (a - b).abs().max() <= quick.error <= tolerance * (a.max() - a.min()) * 1.01
    )  # its own range is a little wider
    for i, j in ((0, 0), (0, -1), (-1, 0), (-1, -1), (15, 15)):  # points of every level
        torch.testing.assert_close(quick.loss[i, j], exact.loss[i, j], rtol=1e-6, atol=0)  # float32
    assert (quick.loss - exact.loss).abs().max() > 0  # it did interpolate


def test_what_is_no_smooth_function_is_computed_point_by_point():
    """|x - 1/3| has a kink that no polynomial of these degrees follows: the estimate must not settle."""
    land = LANDSCAPES["formula"](expression="abs(x - 1/3) + y^2")
    center = torch.zeros(2, dtype=torch.float64)
    plane = slice_2d(land, center, AXES, normalize="none", points=41, tolerance=1e-3)
    exact = slice_2d(land, center, AXES, normalize="none", points=41)
    assert plane.error == 0
    assert plane.evaluations > 41**2  # the levels were tried first
    assert torch.equal(plane.loss, exact.loss)


def test_losses_that_are_not_finite_are_kept_as_they_are():
    land = LANDSCAPES["formula"](expression="log(x + y)")
    center = torch.full((2,), 0.5, dtype=torch.float64)
    for tolerance in (None, 1e-3):
        plane = slice_2d(land, center, AXES, normalize="none", points=21, tolerance=tolerance)
        x, y = 0.5 + plane.alpha[:, None], 0.5 + plane.beta[None]
        expected = torch.log(x + y)
        torch.testing.assert_close(plane.loss, expected, equal_nan=True)
        assert 0 < int(plane.loss.isfinite().sum()) < plane.loss.numel()


def test_a_polynomial_is_found_at_the_first_level():
    """The quadratic on a window of its own, from 81 + 24 values."""
    center = torch.tensor([1.0, 2.0], dtype=torch.float64)
    land = LANDSCAPES["quadratic"](kappa=7.0)
    window = ((-1.0, 3.0), (0.5, 1.0))
    plane = slice_2d(land, center, AXES, normalize="none", window=window, points=31, tolerance=1e-8)
    assert plane.evaluations == 105
    assert plane.window == window
    a, b = plane.alpha[:, None], plane.beta[None, :]
    torch.testing.assert_close(plane.loss, ((1 + a) ** 2 + 7 * (2 + b) ** 2) / 2, rtol=1e-12, atol=0)


def test_each_level_draws_the_whole_picture(networks):
    land, center = networks["tanh"]
    planes = list(slicing(land, center, points=41, tolerance=1e-5))
    drawn = [plane for plane in planes if plane.error]
    assert drawn[0].loss.isfinite().all()
    errors = list(dict.fromkeys(plane.error for plane in drawn))
    assert len(errors) >= 2
    assert errors[-1] < errors[0]
    assert all(later.evaluations > plane.evaluations or later.error != plane.error for plane, later in pairwise(planes))


def test_pan_and_zoom_compute_only_what_is_new(networks):
    land, center = networks["tanh"]
    first = slice_2d(land, center, points=41, tolerance=1e-3)
    assert first.model is not None
    inside, beside = ((-0.6, 0.4), (-0.5, 0.5)), ((-0.5, 1.5), (-1.0, 1.0))
    for window, most in ((inside, 24), (beside, 24 + 0.6 * first.evaluations)):
        *_, plane = slicing(land, center, points=41, tolerance=1e-2, window=window, known=[first.model])
        fresh = slice_2d(land, center, points=41, window=window)
        assert plane.evaluations <= most
        assert 0 < (plane.loss - fresh.loss).abs().max() <= plane.error  # verified anew, by exact values
    # What the model does not know well enough is computed from the start.
    *_, plane = slicing(land, center, points=41, tolerance=1e-5, window=inside, known=[first.model])
    fresh = slice_2d(land, center, points=41, tolerance=1e-5, window=inside)
    assert torch.equal(plane.loss, fresh.loss)
    assert plane.evaluations > fresh.evaluations


@pytest.mark.parametrize("tolerance", [None, 1e-3])
def test_workers_change_no_bit_of_a_large_network(networks, tolerance):
    land, center = networks["tanh"]
    alone = slice_2d(land, center, points=17, tolerance=tolerance)
    with ThreadPoolExecutor(2) as pool:
        threaded = slice_2d(land, center, points=17, tolerance=tolerance, executor=pool)
    assert torch.equal(alone.loss, threaded.loss)
    assert alone.error == threaded.error


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_the_size_of_a_chunk_changes_rounding_alone(networks, activation):
    land, center = networks[activation]
    center = center.double()
    directions = normalize(random_directions(land.layout, center, 2, 1), center, land.layout, "filter")
    points = torch.rand(11, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    evaluate = land.on_plane(center, directions)
    whole = evaluate(points)
    for size in (1, 3, 8):
        torch.testing.assert_close(
            torch.cat([evaluate(part) for part in points.split(size)]), whole, rtol=1e-14, atol=0
        )


CHUNKED = {
    "a kernel": MLP(hidden=(64, 64), subset=400),
    "batches": MLP(hidden=(16,), subset=120),
    "convolutions": LANDSCAPES["cnn"](subset=200, channels=(4, 6)),
    "batches of convolutions": LANDSCAPES["cnn"](subset=30, channels=(4, 6), norm="layer"),
    "batch norm": LANDSCAPES["residual_mlp"](width=16, subset=60, norm="batch"),
}


@pytest.mark.parametrize("name", CHUNKED)
def test_every_chunk_size_gives_the_same_values(name, monkeypatch):
    land = CHUNKED[name]
    whole = slice_2d(land, point(land), points=5).loss
    for share in (4, 64):
        monkeypatch.setattr(network, "_CACHE_BYTES", (2 << 20) // share)
        # Sums of a matrix product may be taken in another order.
        torch.testing.assert_close(slice_2d(land, point(land), points=5).loss, whole, rtol=1e-12, atol=0)


class Buffers(TorchDispatchMode):
    """The bytes of the largest tensor that any operation makes."""

    largest = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for one in out if isinstance(out, (tuple, list)) else (out,):
            if isinstance(one, torch.Tensor):
                self.largest = max(self.largest, one.untyped_storage().nbytes())
        return out


@pytest.mark.parametrize("name", CHUNKED)
def test_a_larger_grid_takes_no_larger_buffers(name):
    land = CHUNKED[name]
    largest = []
    for points in (33, 49):  # a row is more than a chunk
        center = point(land)
        land.training_set(center)
        with Buffers() as buffers:
            stream = slicing(land, center, points=points)
            for _ in range(3):
                next(stream)
        largest.append(buffers.largest)
    assert largest[1] <= largest[0]
    assert largest[0] <= 2 * network._CACHE_BYTES


def test_batch_norm_takes_the_statistics_of_the_samples_at_every_point():
    """As torch's layer does while it trains; scales and shifts stay where they are unless biases are to move."""
    land = LANDSCAPES["cnn"](subset=50, channels=(4,), norm="batch")
    center = point(land).float()
    inputs, targets = land.training_set(center)
    layers = [
        nn.Conv2d(1, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Flatten(),
        nn.Linear(64, 10),
    ]
    module = nn.Sequential(*layers).train()
    for ignore_biases in (True, False):
        plane = slice_2d(land, center, points=3, ignore_biases=ignore_biases)
        moved = land.layout.unpack(plane.directions)
        assert all((moved[name] == 0).all() == ignore_biases for name in ("b1", "scale1", "shift1", "b2"))
        for i, j in ((0, 0), (2, 1)):
            where = center + torch.stack([plane.alpha[i], plane.beta[j]]) @ plane.directions
            for parameter, value in zip(module.parameters(), land.layout.unpack(where).values(), strict=True):
                parameter.data.copy_(value)
            expected = nn.functional.cross_entropy(module(inputs), targets.argmax(-1)).detach()
            torch.testing.assert_close(plane.loss[i, j], expected, rtol=1e-5, atol=0)  # float32


# As it grows


def test_slicing_grows_row_by_row_from_the_centre():
    whole = slice_2d(QUADRATIC, point(QUADRATIC), points=5)
    planes = list(slicing(QUADRATIC, point(QUADRATIC), points=5))
    done = [plane.loss.isfinite().all(-1).nonzero().flatten().tolist() for plane in planes]
    assert [len(rows) for rows in done] == [1, 2, 3, 4, 5]
    assert done[0] == [2]
    assert set(done[2]) == {1, 2, 3}
    for plane, rows in zip(planes, done, strict=True):
        assert torch.equal(plane.loss[rows], whole.loss[rows])
        assert int(plane.loss.isnan().sum()) == 5 * (5 - len(rows))
        assert torch.equal(plane.directions, whole.directions)


@pytest.mark.parametrize("land", [NETWORK, DIGITS, QUADRATIC], ids=["network", "digits", "surface"])
def test_an_executor_changes_no_bit(land):
    center = point(land)
    with ThreadPoolExecutor(3) as pool:
        threaded = slice_2d(land, center, points=9, executor=pool)
        planes = list(slicing(land, center, points=9, executor=pool))
    alone = slice_2d(land, center, points=9)
    assert torch.equal(threaded.loss, alone.loss)
    assert [int(plane.loss.isnan().all(-1).sum()) for plane in planes] == list(range(8, -1, -1))


def test_an_abandoned_slice_cancels_its_rows():
    with ThreadPoolExecutor(1) as pool:
        stream = slicing(DIGITS, point(DIGITS), points=301, executor=pool)
        next(stream)
        stream.close()
        pool.submit(int).result()  # the rows still waiting are gone: this does not wait for 300 of them
        assert pool._work_queue.empty()


# Errors


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"center": torch.zeros(3)}, "center must be a floating-point tensor of shape (2,), one point of this landscape."),
        ({"center": torch.zeros(1, 2)}, "center must be a floating-point tensor of shape (2,), one point of this landscape."),
        ({"center": torch.ones(2).int()}, "center must be a floating-point tensor of shape (2,), one point of this landscape."),
        ({"center": [1.0, 1.0]}, "center must be a floating-point tensor of shape (2,), one point of this landscape."),
        ({"center": torch.tensor([1.0, torch.nan])}, "center has an entry that is not finite: there is no loss around it."),
        ({"points": 1}, "points = 1 is not allowed: it must be a whole number of at least 2."),
        ({"points": 5.0}, "points = 5.0 is not allowed: it must be a whole number of at least 2."),
        ({"span": 0.0}, "span = 0.0 is not allowed: it must be positive."),
        ({"tolerance": 0.0}, "tolerance = 0.0 is not allowed: it must be positive, or None to compute every point."),
        ({"window": ((0.0, 1.0), (1.0, 1.0))},
         "window = ((0.0, 1.0), (1.0, 1.0)) is not allowed: each axis needs finite ends, the lower one first."),
        ({"span": float("nan")}, "span = nan is not allowed: it must be positive."),
        ({"span": float("inf")}, "span = inf is not allowed: it must be positive."),
        ({"directions": "pca"}, "directions = 'pca' is not allowed: it must be 'random' or a tensor (2, dim)."),
        ({"directions": torch.ones(2, 3)}, "directions must have shape (2, 2), not (2, 3)."),
        ({"directions": [[1.0, 0.0], [0.0, 1.0]]},
         "directions = [[1.0, 0.0], [0.0, 1.0]] is not allowed: it must be 'random' or a tensor (2, dim)."),
        ({"directions": torch.full((2, 2), torch.inf)}, "directions has an entry that is not finite."),
        ({"directions": torch.ones(2, 2)}, "The two directions are parallel or zero: they span no plane."),
        ({"center": torch.zeros(2)}, "The two directions are parallel or zero: they span no plane."),
        ({"normalize": "filters"}, "normalize = 'filters' is not allowed: it must be one of filter, layer, vector, none."),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_a_sentence(values, sentence):
    with pytest.raises((ValueError, TypeError)) as refusal:
        slice_2d(QUADRATIC, **{"center": torch.ones(2).double(), **values})
    assert str(refusal.value) == sentence
