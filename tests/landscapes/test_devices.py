"""Every landscape answers on the device of the parameters. See tests/devices.py for what the meta device cannot show.

Not covered on meta, since they look at numbers: batches of sample indices on the device itself (`Landscape._check_batch`
reads their ends; indices on the CPU, as the runner draws them, are covered), `sharpness` and `top_eigenpairs` by Lanczos
(`_lanczos` stops by its residuals; the dense path up to 24 parameters is covered), `slice_2d` and `slicing` (they refuse
centres and directions that are not finite, or parallel; what they are made of is covered), `flow_end` (it leaves runs
behind that are at rest; one step of it is covered).
"""

import pytest
import torch

from landscapes import LANDSCAPES, Plane, flow, sharpness, slice_2d, slicing, top_eigenpairs
from landscapes.curvature import hessian
from landscapes.directions import NORMALIZATIONS, normalize, random_directions
from tests.devices import OnlyOn, every_device, placed

every_landscape = pytest.mark.parametrize("kind", LANDSCAPES.values(), ids=LANDSCAPES)
every_dtype = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


@every_device
@every_dtype
@every_landscape
def test_a_start_lies_where_it_is_asked_for(kind, dtype, device):
    land = kind()
    start = land.start(3, seed=1, dtype=dtype, device=device)
    assert placed(start, torch.empty(0, dtype=dtype, device=device), (3, land.dim))


@every_device
@every_landscape
@pytest.mark.parametrize(("dtype", "lead"), [(torch.float32, ()), (torch.float64, (2, 3))], ids=str)
def test_loss_and_derivatives_stay_on_the_device(kind, dtype, device, lead):
    land = kind()
    runs = land.start(6, dtype=dtype, device=device)
    params = runs.reshape(2, 3, land.dim) if lead else runs[0]
    land.loss(params)  # data and compiled formulas are kept from here on
    with OnlyOn(device):
        loss, (value, grad) = land.loss(params), land.value_and_grad(params)
        products = [land.hvp(params, params), land.hessian_operator(params)(params)]
    assert all(placed(one, params, lead) for one in (loss, value))
    assert all(placed(one, params, params.shape) for one in (grad, *products))


@every_device
@pytest.mark.parametrize("kind", [kind for kind in LANDSCAPES.values() if kind().samples], ids=lambda kind: kind.name)
def test_a_batch_of_samples_stays_on_the_device(kind, device):
    land, batch = kind(), torch.arange(5)
    params = land.start(2, device=device)
    loss, grad = land.value_and_grad(params, batch)
    assert placed(loss, params, (2,))
    assert placed(grad, params, params.shape)
    assert placed(land.hvp(params, params, batch), params, params.shape)


QUADRATIC, MLP = LANDSCAPES["quadratic"](), LANDSCAPES["mlp"](data="chebyshev", hidden=(5, 4), objective="squared")


@every_device
@every_dtype
def test_dense_sharpness_stays_on_the_device(dtype, device):
    params = QUADRATIC.start(3, dtype=dtype, device=device)
    with OnlyOn(device):
        pairs = top_eigenpairs(QUADRATIC, params, k=2)
    assert placed(pairs.values, params, (3, 2))
    assert placed(pairs.vectors, params, (3, 2, 2))
    assert placed(pairs.residuals, params, (3, 2))


@every_device
@pytest.mark.parametrize("land", [QUADRATIC, MLP], ids=lambda one: one.name)
def test_the_whole_hessian_and_a_step_of_gradient_flow_stay_on_the_device(land, device):
    params = land.start(3, device=device)
    land.loss(params)  # the data are kept from here on
    with OnlyOn(device):
        matrix, local = hessian(land, params), flow._local(land, params)
        move, error = flow._move(land, params, local, params[:, 0].abs())
    assert placed(matrix, params, (3, land.dim, land.dim))
    assert placed(move, params, params.shape)
    assert placed(error, params, params.shape)


@every_device
@every_dtype
@pytest.mark.parametrize("how", NORMALIZATIONS)
def test_directions_and_projections_stay_on_the_device(how, dtype, device):
    center = MLP.start(dtype=dtype, device=device)[0]
    directions = normalize(random_directions(MLP.layout, center, 2, seed=0), center, MLP.layout, how)
    assert placed(directions, center, (2, MLP.dim))
    axis = torch.ones(3, dtype=dtype, device=device)
    plane = Plane(torch.ones(3, 3, dtype=dtype, device=device), axis, axis, center, directions)
    for lead in [(), (4,)]:
        coordinates, distance = plane.project(center.expand(*lead, MLP.dim))
        assert placed(coordinates, center, (*lead, 2))
        assert placed(distance, center, lead)


def test_a_tensor_on_another_device_is_noticed():
    there, here = torch.ones(2, device="meta"), torch.ones(2)
    with pytest.raises(RuntimeError, match="device"):
        there + here
    with pytest.raises(AssertionError, match="made a tensor"), OnlyOn("meta"):
        there + torch.tensor(1.0)
    with OnlyOn("meta"):
        there + torch.randn(2).to("meta")


UNCOVERED = {
    "batch": lambda: MLP.loss(MLP.start(device="meta"), torch.arange(5, device="meta")),
    "sharpness": lambda: sharpness(MLP, MLP.start(device="meta")),
    "top_eigenpairs": lambda: top_eigenpairs(MLP, MLP.start(device="meta")),
    "slice_2d": lambda: slice_2d(MLP, MLP.start(device="meta")[0], points=3),
    "slicing": lambda: next(slicing(QUADRATIC, QUADRATIC.start(device="meta")[0], points=3)),
}


@pytest.mark.parametrize("call", UNCOVERED.values(), ids=UNCOVERED)
def test_what_is_not_covered_really_looks_at_numbers(call):
    """A function that no longer does belongs among the tests above."""
    with pytest.raises((RuntimeError, NotImplementedError), match=r"[Mm]eta"):
        call()
