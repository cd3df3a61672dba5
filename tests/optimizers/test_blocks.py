"""Rules that look at the tensors inside params, where these are matrices."""

import pytest
import torch

from landscapes import Layout
from optimizers import OPTIMIZERS, run
from optimizers.blocks import finite_or_zero, flattened, matrices, orthogonal
from optimizers.norms import power_gradient
from optimizers.radial import project_out_radial
from tests.optimizers.comparison import PROBLEMS, STEPS

MATRICES = PROBLEMS["least_squares"]
RULES = {
    "steepest": ("steepest", {"norm": "spectral", "momentum": 0.5, "lr": 1e-3}),
    "steepest dual": ("steepest", {"norm": "rms_to_rms", "dual": True, "momentum": 0.5, "lr": 1e-3}),
    "lion_k": ("lion_k", {"K": "spectral", "beta1": 0.8, "lr": 1e-3, "weight_decay": 0.1}),
    "sgdp": ("sgdp", {"delta": 1.7, "momentum": 0.8, "lr": 1e-3, "wd_ratio": 0.3, "weight_decay": 0.1}),
    "adamp": ("adamp", {"delta": 1.7, "beta1": 0.8, "lr": 1e-2, "wd_ratio": 0.3, "weight_decay": 0.1, "eps": 1e-3}),
}


def noise(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize(("name", "values"), RULES.values(), ids=RULES)
def test_matrices_with_a_value_per_run_step_as_they_do_alone(name, values):
    start, factors = MATRICES.start(4), [0.6, 0.8, 1.0, 1.1]
    numbers = {key: value for key, value in values.items() if isinstance(value, float)}
    tensors = {key: torch.tensor([[value * f] for f in factors]).double() for key, value in numbers.items()}
    together = run(MATRICES, OPTIMIZERS[name](**values | tensors), start, 30).params
    for row in range(4):
        own = {key: tensors[key][row].item() for key in numbers}
        alone = run(MATRICES, OPTIMIZERS[name](**values | own), start[row], 30).params
        torch.testing.assert_close(together[:, row], alone, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize(("name", "values"), RULES.values(), ids=RULES)
def test_a_run_that_is_not_finite_leaves_the_others_alone(name, values):
    start = MATRICES.start(3)
    broken = start.clone()
    broken[1, 2] = torch.inf
    well, ill = (run(MATRICES, OPTIMIZERS[name](**values), one, 10) for one in (start, broken))
    assert ill.diverged_at.tolist() == [-1, 0, -1]
    torch.testing.assert_close(ill.params[:, [0, 2]], well.params[:, [0, 2]], rtol=0, atol=0)


@pytest.mark.parametrize("shape", [(3, 4), (4, 3), (1, 5), (5, 1)])
def test_orthogonal_sets_every_singular_value_to_one(shape):
    matrix = noise(2, *shape)
    nearest = orthogonal(matrix)
    torch.testing.assert_close(torch.linalg.svdvals(nearest), torch.ones(2, min(shape)).double())
    # The nearest orthogonal matrix is the one whose product with the matrix is symmetric and positive.
    product = nearest.mT @ matrix
    torch.testing.assert_close(product, product.mT)
    assert torch.linalg.eigvalsh(product).min() > -1e-12


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_orthogonal_leaves_out_what_is_zero_up_to_rounding(dtype):
    rank_two = (noise(6, 2) @ noise(2, 5, seed=1)).to(dtype)
    sizes = torch.linalg.svdvals(orthogonal(rank_two))
    torch.testing.assert_close(sizes, torch.tensor([1.0, 1, 0, 0, 0], dtype=dtype))
    assert (orthogonal(torch.zeros(2, 3, 4, dtype=dtype)) == 0).all()


def test_a_matrix_that_is_not_finite_is_nan_and_the_others_are_not():
    batch = noise(3, 2, 4)
    batch[1, 0, 0], batch[2, 1, 1] = torch.nan, torch.inf
    assert finite_or_zero(batch)[0].flatten().tolist() == [True, False, False]
    nearest = orthogonal(batch)
    assert nearest[1:].isnan().all()
    torch.testing.assert_close(nearest[0], orthogonal(batch[0]))


def test_tensors_as_matrices_and_back():
    layout = Layout.of([("kernel", (2, 3, 2, 2)), ("bias", (4,)), ("W", (3, 2)), ("scale", ())])
    vector = noise(2, 5, layout.dim)
    blocks = matrices(layout, vector)
    assert [tuple(block.shape) for block in blocks] == [(2, 5, 2, 12), (2, 5, 1, 4), (2, 5, 3, 2), (2, 5, 1, 1)]
    assert torch.equal(flattened(blocks), vector)


def test_meta_tensors_pass_through():
    """No step needs the numbers: only their shapes."""
    assert orthogonal(torch.empty(5, 3, 4, device="meta")).shape == (5, 3, 4)


@pytest.mark.parametrize(("rule", "values"), [("sgdp", {"lr": 1e-1}), ("adamp", {"lr": 1e-2})])
def test_a_projected_step_is_orthogonal_to_the_rows_and_so_lengthens_them(rule, values):
    start = MATRICES.start(5)
    end = run(MATRICES, OPTIMIZERS[rule](**values, delta=100.0, eps=0.0), start, 1).final
    rows, steps = (MATRICES.layout.unpack(x)["W"] for x in (start, end - start))
    assert steps.norm() > 1e-2
    torch.testing.assert_close((rows * steps).sum(-1), torch.zeros(5, 3).double(), rtol=0, atol=1e-12)
    plain = run(MATRICES, OPTIMIZERS[rule](**values, delta=1e-9, eps=0.0), start, 1).final
    bias, plain_bias = (MATRICES.layout.unpack(x)["b"] for x in (end, plain))
    torch.testing.assert_close(bias, plain_bias, rtol=0, atol=0)  # a vector is never projected
    assert ((rows * (MATRICES.layout.unpack(plain)["W"] - rows)).sum(-1).abs() > 1e-4).any()


def test_the_whole_matrix_is_projected_where_its_rows_are_not():
    """Rows along their gradients, which cancel over the matrix; then rows orthogonal to theirs; then neither."""
    layout = Layout.of([("W", (2, 2))])
    w = torch.tensor([[1.0, 0, 1, 0], [1, 0, 1, 0], [1, 0, 1, 0]], dtype=torch.float64)
    g = torch.tensor([[1.0, 0, -1, 0], [0, 1, 0, -1], [1, 1, 1, 1]], dtype=torch.float64)
    step = torch.tensor([[3.0, 1, 1, 1]], dtype=torch.float64).expand(3, 4)
    left, projected = project_out_radial(layout, w, g, step, 0.5, 0.0)
    assert left.tolist() == [
        [pytest.approx(x, abs=1e-12) for x in row] for row in ([1, 1, -1, 1], [0, 1, 0, 1], [3, 1, 1, 1])
    ]
    assert projected.all(-1).tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("ours", "same"),
    [
        (("steepest", {"norm": "l2", "dual": True, "lr": 1e-2}), ("gd", {"lr": 1e-2})),
        (("steepest", {"norm": "linf", "momentum": 0.6, "lr": 1e-2}), ("signsgd", {"momentum": 0.6, "lr": 1e-2})),
        (
            ("steepest", {"norm": "spectral", "momentum": 0.6, "lr": 1e-2}),
            ("muon", {"exact": True, "k": "none", "nesterov": False, "momentum": 0.6, "lr": 1e-2}),
        ),
        (("lion_k", {"K": "l1", "lr": 1e-2}), ("lion", {"lr": 1e-2})),
        (("lion_k", {"K": "lp", "p": 2.0, "lr": 1e-2}), ("lion_k", {"K": "l2", "lr": 1e-2})),
    ],
    ids=lambda one: one[1].get("norm", one[0]),
)
def test_what_one_rule_has_in_common_with_another(ours, same):
    first, second = (run(MATRICES, OPTIMIZERS[name](**values), steps=STEPS).params for name, values in (ours, same))
    torch.testing.assert_close(first, second, rtol=1e-12, atol=1e-12)


BALLS = {
    "l2": lambda d: d.norm(dim=-1),
    "linf": lambda d: d.abs().amax(-1),
    "l1": lambda d: d.abs().sum(-1),
    "spectral": lambda d: torch.linalg.matrix_norm(d.unflatten(-1, (3, 4)), ord=2),
    "rms_to_rms": lambda d: (4 / 3) ** 0.5 * torch.linalg.matrix_norm(d.unflatten(-1, (3, 4)), ord=2),
}


@pytest.mark.parametrize("norm", BALLS)
def test_no_other_step_of_its_length_goes_down_more(norm):
    rule, layout = OPTIMIZERS["steepest"](norm=norm), Layout.of([("W", (3, 4))])
    mean, others = noise(12), noise(4000, 12, seed=1)
    best = rule._steepest(mean, layout)
    torch.testing.assert_close(BALLS[norm](best), torch.tensor(1.0).double())
    others = torch.cat([others, best + 0.1 * others])
    others = others / BALLS[norm](others)[:, None]
    assert (others @ mean).max() <= mean @ best + 1e-12
    dual = OPTIMIZERS["steepest"](norm=norm, dual=True)._steepest(mean, layout)
    torch.testing.assert_close(dual, (mean @ best) * best)


def test_the_largest_entry_is_the_first_of_several():
    layout = Layout.of([("w", (4,))])
    step = OPTIMIZERS["steepest"](norm="l1")._steepest(torch.tensor([[1.0, -2, 2, -2], [0, 0, 0, 0]]), layout)
    assert step.tolist() == [[0, -1, 0, 0], [0, 0, 0, 0]]


@pytest.mark.parametrize("p", [1.01, 1.5, 3.0, 100.0])
def test_the_gradient_of_a_power_norm_is_the_one_autograd_takes(p):
    x = noise(5, 7).requires_grad_()
    (expected,) = torch.autograd.grad(torch.linalg.vector_norm(x, p, dim=-1).sum(), x)
    torch.testing.assert_close(power_gradient(x.detach(), p), expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(power_gradient(1e60 * x.detach(), p), expected, rtol=1e-10, atol=1e-12)
    assert (power_gradient(torch.zeros(2, 3), p) == 0).all()
