"""Rules of matrices and layers beyond their oracles: tensors of any dimension, turned problems, and broken neighbours."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from landscapes import LANDSCAPES, MLP, Layout
from landscapes.landscape import Differentiated
from optimizers import OPTIMIZERS, Oracle, run
from optimizers.matrix import eigenbasis, newton_schulz
from tests.optimizers.comparison import PROBLEMS

MATRIX = ("muon", "shampoo", "soap")
RULES = [
    OPTIMIZERS["muon"](),
    OPTIMIZERS["muon"](exact=True, nesterov=False),
    OPTIMIZERS["shampoo"](eps=1e-2),
    OPTIMIZERS["soap"](eps=1e-3, freq=3),
    OPTIMIZERS["soap"](eps=1e-3, freq=3, precondition_1d=True),
    OPTIMIZERS["lars"](weight_decay=0.1),
    OPTIMIZERS["lamb"](weight_decay=0.1),
]
every_rule = pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def turn(size, seed):
    return torch.linalg.qr(noise(size, size, seed=seed)).Q


LEFT, RIGHT, TARGET, INPUTS = turn(3, 1), turn(4, 2), noise(9, 3, seed=3), noise(9, 4, seed=4)


@dataclass(frozen=True)
class Shaped(Differentiated):
    """|X W' - Y|^2 / 18 of a matrix W that lies in tensors of the given shapes, read with its axes turned or not."""

    name, label, reads, reference, equation = "shaped", "Shaped", "A test.", "none", "none"
    shapes: tuple = ((3, 4),)
    turned: bool = False

    @property
    def layout(self):
        return Layout.of([(f"t{i}", shape) for i, shape in enumerate(self.shapes)])

    def start(self, runs=1, seed=0, *, dtype=torch.float64, device="cpu"):
        return noise(runs, self.dim, seed=seed).to(dtype=dtype, device=device)

    def _loss(self, params, batch):
        weight = params[..., :12].unflatten(-1, (3, 4))
        if self.turned:
            weight = LEFT.T @ weight @ RIGHT
        return (INPUTS.to(weight) @ weight.mT - TARGET.to(weight)).square().sum((-1, -2)) / 18 + params[
            ..., 12:
        ].square().sum(-1)


@every_rule
def test_a_tensor_of_more_dimensions_is_a_matrix_of_its_outputs(rule):
    start = noise(12)
    flat = run(Shaped(((3, 4),)), rule, start, 20)
    deep = run(Shaped(((3, 2, 1, 2),)), rule, start, 20)
    assert torch.equal(flat.params, deep.params)


@every_rule
def test_a_tensor_without_dimensions_is_a_vector_of_one_entry(rule):
    start = noise(13)
    scalar = run(Shaped(((3, 4), ())), rule, start, 20)
    vector = run(Shaped(((3, 4), (1,))), rule, start, 20)
    assert torch.equal(scalar.params, vector.params)
    assert torch.isfinite(scalar.params).all()


@every_rule
def test_tensors_are_treated_one_by_one(rule):
    """Another block beside a matrix changes nothing for the matrix."""
    start = noise(14)
    alone = run(Shaped(((3, 4),)), rule, start[:12], 20)
    beside = run(Shaped(((3, 4), (2,))), rule, start, 20)
    torch.testing.assert_close(beside.params[:, :12], alone.params, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.name in MATRIX], ids=lambda rule: rule.name)
def test_a_turned_problem_turns_the_path(rule):
    """L(U' W V) instead of L(W), started at U W V', visits U W V': no axis of a matrix is special to these rules."""
    start = noise(3, 4)
    plain = run(Shaped(), rule, start.flatten(), 30)
    turned = run(Shaped(turned=True), rule, (LEFT @ start @ RIGHT.T).flatten(), 30)
    expected = LEFT @ plain.params.unflatten(-1, (3, 4)) @ RIGHT.T
    # Turning makes rounding errors of its own, which the first steps of SOAP divide by its eps.
    torch.testing.assert_close(turned.params.unflatten(-1, (3, 4)), expected, rtol=1e-9, atol=1e-9)


@every_rule
@pytest.mark.parametrize("broken", [torch.nan, torch.inf])
def test_a_run_that_is_not_finite_leaves_the_others_alone(rule, broken):
    land = PROBLEMS["least_squares"]
    together = land.start(3)
    together[1] = broken
    params, state = together, rule.init(together)
    for _ in range(5):
        params, state = rule.step(params, state, Oracle(land))
    assert not torch.isfinite(params[1]).any()
    for index in (0, 2):
        alone = run(land, rule, together[index], 5).final
        torch.testing.assert_close(params[index], alone, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("shape", [(6, 6), (3, 8), (8, 3), (1, 5)])
def test_newton_schulz_leaves_singular_values_near_one(shape):
    """Those above 0.02 of the size of the matrix come to lie between 0.68 and 1.20; the singular vectors stay."""
    matrix = noise(20, *shape)
    before, after = torch.linalg.svdvals(matrix), newton_schulz(matrix, 5)
    kept = before > 0.02 * before.norm(dim=-1, keepdim=True)
    values = torch.linalg.svdvals(after)
    assert kept.float().mean() > 0.8
    assert ((values > 0.68) & (values < 1.20))[kept.sort(descending=True).values].all()
    gram = after.mT @ matrix  # of one basis: symmetric
    torch.testing.assert_close(gram, gram.mT, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("exact", "length"), [(True, 1.0), (False, 0.6964364094697522)])
def test_muon_on_a_surface_steps_by_the_same_length(exact, length):
    """One row has one singular value; the length is what p(x) = 3.4445 x - 4.775 x^3 + 2.0315 x^5 makes of 1 in 5 rounds."""
    path = run(LANDSCAPES["rosenbrock"](), OPTIMIZERS["muon"](lr=0.01, exact=exact), steps=50).params
    lengths = path.diff(dim=0).norm(dim=-1)
    torch.testing.assert_close(lengths, torch.full_like(lengths, 0.01 * length), rtol=1e-10, atol=0)


@pytest.mark.parametrize(("size", "rank"), [(4, 1), (8, 3), (32, 31), (32, 8)])
def test_eigenvectors_of_eigenvalue_zero_do_not_depend_on_rounding(size, rank):
    """What eigh puts there changes completely with the last digit of the matrix, and SOAP's path would with it."""
    half = noise(size, rank)
    near = half * (1 + 2e-16 * noise(size, rank, seed=1))
    one, other = eigenbasis(half @ half.T), eigenbasis(near @ near.T)
    torch.testing.assert_close(one * (one * other).sum(0).sign(), other, rtol=0, atol=1e-12)
    torch.testing.assert_close(one.T @ one, torch.eye(size, dtype=torch.float64), rtol=0, atol=1e-12)
    diagonal = one.T @ half @ half.T @ one
    torch.testing.assert_close(diagonal, diagonal.diag().diag(), rtol=0, atol=1e-12 * float(diagonal[0, 0]))
    assert (diagonal.diag().diff() <= 1e-12 * diagonal[0, 0]).all()


def power(matrix, exponent):
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * values**exponent) @ vectors.T


@pytest.mark.parametrize("freq", [1, 4])
def test_shampoo_takes_its_roots_at_the_first_step_and_every_so_often(freq):
    land, lr, eps = Shaped(((3, 4), (3,))), 0.1, 0.01
    start = land.start()[0]
    ours = run(land, OPTIMIZERS["shampoo"](lr=lr, eps=eps, freq=freq), start, 20)
    w = start.numpy().copy()
    left, right, vector = eps * np.eye(3), eps * np.eye(4), eps * np.eye(3)
    for step in range(20):
        grad = land.grad(torch.from_numpy(w)).numpy()
        matrix, rest = grad[:12].reshape(3, 4), grad[12:]
        left, right, vector = left + matrix @ matrix.T, right + matrix.T @ matrix, vector + np.outer(rest, rest)
        if step % freq == 0:
            roots = power(left, -0.25), power(right, -0.25), power(vector, -0.5)
        w = w - lr * np.concatenate([(roots[0] @ matrix @ roots[1]).ravel(), roots[2] @ rest])
        torch.testing.assert_close(ours.params[step + 1], torch.from_numpy(w), rtol=1e-11, atol=1e-11)


def test_shampoo_in_float32_stays_finite_where_a_root_would_not_exist():
    """Sums of products of rank one, 1e10 times larger than eps, have eigenvalues that round to below zero."""
    rule = OPTIMIZERS["shampoo"](lr=0.01, eps=1e-6)
    for land in (Shaped(((12,),)), Shaped(((3, 4),))):
        assert (run(land, rule, 1e3 * land.start(20, dtype=torch.float32), 50).diverged_at == -1).all()


@pytest.mark.parametrize("name", ["lars", "lamb"])
def test_a_layer_of_size_zero_takes_the_plain_step(name):
    """|w| = 0 would leave the layer where it is for ever; the ratio is 1 there."""
    land = LANDSCAPES["booth"]()
    start = torch.zeros(2, dtype=torch.float64)
    grad = land.grad(start)
    expected = -0.01 * (grad if name == "lars" else grad / (grad.abs() + 1e-6))
    torch.testing.assert_close(run(land, OPTIMIZERS[name](lr=0.01), start, 1).final, expected)


@pytest.mark.parametrize(("clip", "length"), [(0.0, 2.0), (1e6, 2.0), (0.5, 0.5)])
def test_lamb_moves_by_a_share_of_the_size_that_counts(clip, length):
    land = LANDSCAPES["quadratic"](kappa=4.0)
    start = torch.tensor([-1.2, 1.6], dtype=torch.float64)
    moved = run(land, OPTIMIZERS["lamb"](lr=0.1, clip=clip), start, 1).final - start
    torch.testing.assert_close(moved.norm(), torch.tensor(0.1 * length, dtype=torch.float64))


class _Given:
    """An oracle that gives one gradient for nothing."""

    def __init__(self, layout, grad):
        self.layout, self.grad = layout, grad

    def __call__(self, params):
        return self


@pytest.mark.parametrize(
    "rule",
    [
        OPTIMIZERS["muon"](),
        OPTIMIZERS["muon"](steps=3),
        OPTIMIZERS["shampoo"](freq=1),
        OPTIMIZERS["shampoo"](freq=3),
        OPTIMIZERS["soap"](freq=1),
        OPTIMIZERS["soap"](freq=3, precondition_1d=True),
    ],
    ids=lambda rule: rule.name,
)
def test_a_rule_says_how_many_multiplications_its_products_take(rule, monkeypatch):
    """As torch counts them, where factorizations cost nothing; over three steps after the first, which only begins."""
    monkeypatch.setattr("optimizers.matrix.EIGH", 0)
    monkeypatch.setattr("optimizers.matrix.QR", 0)
    land = MLP(data="chebyshev", objective="squared", hidden=(7, 5))
    params = land.start(1)[0]
    oracle = _Given(land.layout, land.grad(params))
    params, state = rule.step(params, rule.init(params), oracle)
    with FlopCounterMode(display=False) as counter:
        for _ in range(3):
            params, state = rule.step(params, state, oracle)
    assert counter.get_total_flops() / 2 == pytest.approx(
        3 * rule.multiplications(land.layout), abs=6 * len(land.layout.blocks)
    )
