"""The tangent kernel of perceptrons in the two parametrizations, as their width grows."""

import dataclasses

import torch

from landscapes import MLP, Landscape

NARROW, WIDE = 64, 512
RUNS = 16


def network(width: int, **changes: str) -> MLP:
    return MLP(data="teacher_student", subset=8, hidden=(width,), objective="squared", **changes)  # type: ignore[arg-type]


def kernels(land: MLP, params: torch.Tensor) -> torch.Tensor:
    """J J' (runs, n, n) of a network with one output, at params (runs, dim)."""
    samples, runs = land.samples, len(params)
    basis = torch.eye(samples, dtype=params.dtype)[:, None, :, None].expand(samples, runs, samples, 1)
    rows = land.jacobian(params.expand(samples, runs, land.dim)).pull(basis).movedim(0, 1)  # (runs, n, dim)
    return rows @ rows.mT


def limit(inputs: torch.Tensor) -> torch.Tensor:
    """The kernel (n, n) of one infinite layer of rectified units, by arc-cosine kernels (Cho and Saul 2009, NeurIPS).

    With weights N(0, 1) and biases of zero, E[f f] for the last layer's weights, (x'y / d + 1) E[f' f'] for the first layer's
    weights and biases, and 1 for the last bias.
    """
    gram = inputs @ inputs.T / inputs.shape[1]
    length = gram.diagonal().sqrt()
    angle = torch.arccos((gram / length[:, None] / length).clamp(-1, 1))
    rest = torch.pi - angle
    values = length[:, None] * length * (angle.sin() + rest * angle.cos()) / (2 * torch.pi)
    return values + (gram + 1) * rest / (2 * torch.pi) + 1


def test_the_kernel_has_a_limit_in_one_parametrization_alone():
    """Jacot et al. 2018, theorem 1, with a variance that falls as one over the width."""
    away, size = {}, {}
    for how in ("ntk", "standard"):
        for width in (NARROW, WIDE):
            land = network(width, activation="relu", parametrization=how)
            params = land.start(RUNS)
            expected = limit(land.training_set(params)[0])
            found = kernels(land, params)
            away[how, width] = float((found - expected).square().sum((-2, -1)).mean() / expected.square().sum())
            size[how, width] = float(found.diagonal(dim1=-2, dim2=-1).sum(-1).mean())
    assert away["ntk", WIDE] < 0.004
    # Each a mean over 16 networks of a sum of squares: a factor of 2 around the ratio of widths is five standard errors.
    assert 0.5 < away["ntk", NARROW] / away["ntk", WIDE] * NARROW / WIDE < 2
    assert 0.7 < size["standard", WIDE] / size["standard", NARROW] * NARROW / WIDE < 1.3
    assert away["standard", WIDE] > 1000


def test_training_changes_the_kernel_less_in_wide_networks():
    """At least as fast as one over the root of the width (Lee et al. 2019, arXiv:1902.06720, theorem 2.1)."""
    lr, change = 0.3, {}
    for width in (NARROW, WIDE):
        land = network(width, parametrization="ntk")
        start = land.start(RUNS)
        params = trained(land, start, lr)
        assert (land.loss(params) < 0.2 * land.loss(start)).all()
        before, after = kernels(land, start), kernels(land, params)
        change[width] = float(((after - before).norm(dim=(-2, -1)) / before.norm(dim=(-2, -1))).mean())
    assert change[NARROW] > 0.01  # something to fall from
    assert change[WIDE] < change[NARROW] * (NARROW / WIDE) ** 0.5
    # In the standard parametrization the kernel grows with the width, and the same step size is too large for it.
    assert (trained_loss(network(NARROW), lr) < 0.2).all()
    assert (trained_loss(network(WIDE), lr) > 1e6).all()


def trained(land: Landscape, params: torch.Tensor, lr: float) -> torch.Tensor:
    for _ in range(40):
        params = params - lr * land.grad(params)
    return params


def trained_loss(land: MLP, lr: float) -> torch.Tensor:
    start = land.start(4)
    return land.loss(trained(land, start, lr)) / land.loss(start)


def test_both_start_as_the_same_function_and_weights_of_the_ntk_as_standard_normal_numbers():
    for init in ("lecun", "he", "orthogonal", "mean_field"):
        standard = MLP(data="teacher_student", subset=8, hidden=(30, 20), objective="squared", init=init, gain=1.5)
        scaled = dataclasses.replace(standard, parametrization="ntk")
        inputs, _ = standard.training_set(standard.start())
        ours, theirs = (land.outputs(land.start(2, seed=3), inputs) for land in (scaled, standard))
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    land = network(200, parametrization="ntk")
    for name, tensor in land.layout.unpack(land.start()[0]).items():
        if name.startswith("W"):  # five standard errors of a variance
            assert abs(float(tensor.var()) - 1) < 5 * (2 / tensor.numel()) ** 0.5


def test_products_with_the_jacobian_are_those_of_torch():
    for norm in ("none", "layer", "batch"):
        land = MLP(data="chebyshev", objective="squared", hidden=(4, 3), norm=norm, parametrization="ntk")
        params = land.start(seed=2)[0] + 0.1
        inputs, _ = land.training_set(params)
        matrix = torch.func.jacrev(lambda point, land=land, x=inputs: land.outputs(point, x).squeeze(-1))(params)
        at = land.jacobian(params)
        vector, cotangent = torch.linspace(-1, 1, land.dim).double(), torch.linspace(1, 2, land.samples).double()
        torch.testing.assert_close(at.push(vector).squeeze(-1), matrix @ vector, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(at.pull(cotangent[:, None]), cotangent @ matrix, rtol=1e-10, atol=1e-12)
