"""What the comparisons with pytorch_optimizer cannot see of Adam's relatives: limits, guards, switches and randomness."""

import itertools
import math

import pytest
import torch

from landscapes import LANDSCAPES, Layout
from optimizers import OPTIMIZERS, Evaluation, Oracle, iterate, run
from tests.optimizers.comparison import PROBLEMS

ROSENBROCK, MATRIX = PROBLEMS["rosenbrock"], PROBLEMS["least_squares"]


class Given:
    """An oracle whose gradient is given."""

    def __init__(self, grad, *shapes):
        self.grad, self.layout = grad, Layout.of([(f"p{i}", shape) for i, shape in enumerate(shapes)])

    def __call__(self, params):
        return Evaluation(self.grad.sum(-1), self.grad)


def test_ademamix_warms_up_from_the_fast_memory_to_the_slow_one():
    rule = OPTIMIZERS["ademamix"](beta1=0.5, beta3=0.99, T=100)
    decays = [rule._beta3(step / 100) for step in range(101)]
    assert decays[0] == pytest.approx(0.5)
    assert decays[100] == 0.99
    assert decays == sorted(decays)
    half_lives = [math.log(0.5) / math.log(decay) for decay in (0.5, decays[50], 0.99)]
    assert half_lives[1] == pytest.approx((half_lives[0] + half_lives[2]) / 2)


def test_ademamix_warms_up_a_batch_of_memories_as_one_by_one():
    start = ROSENBROCK.start()[0]
    pairs = [(0.0, 0.9), (0.9, 0.5), (0.0, 0.0), (0.5, 0.0), (0.8, 0.999)]
    beta1, beta3 = (torch.tensor(column, dtype=torch.float64).unsqueeze(-1) for column in zip(*pairs, strict=True))
    together = run(ROSENBROCK, OPTIMIZERS["ademamix"](beta1=beta1, beta3=beta3, T=15), start, 20).final
    for row, (one, three) in enumerate(pairs):
        alone = run(ROSENBROCK, OPTIMIZERS["ademamix"](beta1=one, beta3=three, T=15), start, 20).final
        torch.testing.assert_close(together[row], alone, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("name", ["adabound", "amsbound"])
def test_the_bounds_close_in_on_plain_descent_with_momentum(name):
    """With gamma t large both bounds are final_lr: w moves by final_lr times the average gradient."""
    rule = OPTIMIZERS[name](lr=1.0, final_lr=0.01, gamma=1 - 1e-9)
    params, grad = torch.zeros(2, dtype=torch.float64), torch.tensor([3.0, -1e-3], dtype=torch.float64)
    mean, zero = torch.tensor([2.0, 0.5], dtype=torch.float64), torch.zeros(2, dtype=torch.float64)
    new, _ = rule.step(params, (10**9, mean, zero, zero), Given(grad, (2,)))
    torch.testing.assert_close(new, -0.01 * (0.9 * mean + 0.1 * grad), rtol=1e-6, atol=0)


def test_a_schedule_scales_the_bounds_too():
    half = OPTIMIZERS["adabound"](lr=1e-3, final_lr=0.2).scaled(0.5)
    assert (half.lr, half.final_lr) == (5e-4, 0.1)


def test_adopt_does_not_move_at_its_first_call():
    rule, start = OPTIMIZERS["adopt"](lr=0.1, weight_decay=0.5), ROSENBROCK.start()[0]
    first, second = run(ROSENBROCK, rule, start, 2).params[1:]
    torch.testing.assert_close(first, start, rtol=0, atol=0)
    # Then g / |g| is clipped at 1, averaged and applied, after the decay.
    sign = ROSENBROCK.grad(start).sign()
    torch.testing.assert_close(second, start * 0.95 - 0.1 * 0.1 * sign)


def test_the_clip_of_adopt_grows_with_the_fourth_root_of_the_step():
    rule = OPTIMIZERS["adopt"](lr=1.0, beta1=0.0, beta2=0.2)
    params = torch.zeros(2, dtype=torch.float64)
    state, lengths = rule.init(params), []
    for size in (1.0, 1e3, 1e6, 1e9):
        grad = torch.tensor([size, -size], dtype=torch.float64)
        new, state = rule.step(params, state, Given(grad, (2,)))
        lengths.append(new.tolist())
    assert lengths == [[0, 0], [-1, 1], [-(2**0.25), 2**0.25], [-(3**0.25), 3**0.25]]


def test_the_extrapolated_gradient_is_the_limit_of_a_linear_sequence():
    """g_i = L + a 0.9^i + b 0.5^i: three differences determine the limit (minimal polynomial of degree two)."""
    limit, a, b = torch.randn(3, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    grads = torch.stack([limit + a * 0.9**i + b * 0.5**i for i in range(4)])
    guess = OPTIMIZERS["opt_amsgrad"](guess="rmpe", r=3, ridge=1e-13)._extrapolated(grads)
    torch.testing.assert_close(guess, limit, rtol=1e-6, atol=1e-6)


def test_an_extrapolation_that_cannot_be_solved_falls_back_to_the_last_gradient():
    steep = torch.arange(4.0).unsqueeze(-1) * torch.tensor([1e12, 0.0])  # three equal differences: singular in float32
    tame = torch.randn(4, 2, generator=torch.Generator().manual_seed(0))
    rule = OPTIMIZERS["opt_amsgrad"](guess="rmpe", r=3)
    guesses = rule._extrapolated(torch.stack([steep, tame]))
    torch.testing.assert_close(guesses[0], steep[-1], rtol=0, atol=0)
    torch.testing.assert_close(guesses[1], rule._extrapolated(tame))


def test_the_first_push_of_gravity_is_random_and_seeded():
    start = ROSENBROCK.start()[0]
    rule = OPTIMIZERS["gravity"](lr=0.1, alpha=0.5)
    once, again, other = (run(ROSENBROCK, rule, start, 1, seed=seed).final for seed in (3, 3, 4))
    assert torch.equal(once, again)
    assert (once - other).abs().max() > 1e-3
    calm = OPTIMIZERS["gravity"](lr=0.1, alpha=0.0)
    assert torch.equal(run(ROSENBROCK, calm, start, 1, seed=3).final, run(ROSENBROCK, calm, start, 1, seed=4).final)


def test_the_first_push_of_gravity_is_as_long_at_every_step_size_but_zero():
    land = LANDSCAPES["quadratic"]()
    start, lrs = torch.zeros(2, dtype=torch.float64), torch.tensor([[0.0], [1e-3], [1.0]], dtype=torch.float64)
    pushed = run(land, OPTIMIZERS["gravity"](lr=lrs, alpha=0.5), start, 1).final
    assert pushed[0].tolist() == [0, 0]
    torch.testing.assert_close(pushed[1], pushed[2])
    assert torch.equal(run(land, OPTIMIZERS["gravity"](lr=0.0), start, 3).final, start)


def test_adafactor_remembers_rows_and_columns():
    rule = OPTIMIZERS["adafactor"]()
    _, state = rule.step(MATRIX.start(5), rule.init(MATRIX.start(5)), Oracle(MATRIX))
    assert [[tuple(mean.shape) for mean in means] for means in state[1]] == [[(5, 3), (5, 4)], [(5, 1), (5, 3)]]


def test_adafactor_is_exact_where_the_squares_have_rank_one():
    """Rank-one squares are reconstructed: each entry of the first update has size 1, the sign is the gradient's."""
    rows, columns = torch.tensor([1e-12, 1e-3, 2.0]), torch.tensor([1.0, -1e-6])
    grad, params = torch.outer(rows, columns).flatten(), torch.ones(6)
    rule = OPTIMIZERS["adafactor"](lr=0.1, eps1=0.0, d=10.0, relative_step=False)
    new, _ = rule.step(params, rule.init(params), Given(grad, (3, 2)))
    torch.testing.assert_close(new, 1 - 0.1 * grad.sign())


def test_adafactor_reads_a_block_of_more_dimensions_as_a_matrix():
    grad = torch.randn(12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    params = torch.ones_like(grad)
    rule = OPTIMIZERS["adafactor"]()
    deep, _ = rule.step(params, rule.init(params), Given(grad, (2, 3, 2)))
    flat, _ = rule.step(params, rule.init(params), Given(grad, (2, 6)))
    assert torch.equal(deep, flat)


def test_every_run_of_swats_changes_over_at_its_own_step():
    values = {"lr": 5e-3, "beta1": 0.5, "beta2": 0.8, "eps": 5e-3, "atol": 1e-8, "rtol": 5e-3}
    starts = ROSENBROCK.start(6, seed=1)
    changed = torch.full((6,), 200)
    for now in itertools.islice(iterate(ROSENBROCK, [OPTIMIZERS["swats"](**values)], starts), 200):
        sgd = now.states[0][-1].reshape(-1) > 0 if now.step else torch.zeros(6, dtype=torch.bool)
        changed = torch.where(sgd, changed.clamp(max=now.step), changed)
    assert len(changed.unique()) > 2
    for row in range(6):
        alone = run(ROSENBROCK, OPTIMIZERS["swats"](**values), starts[row], 199).final
        torch.testing.assert_close(now.params[0, row], alone, rtol=1e-12, atol=1e-13)


def test_swats_without_a_change_of_rule_is_adam_with_eps_outside_the_correction():
    """With eps = 0 the two are the same; no estimate is ever exactly settled."""
    start = ROSENBROCK.start()[0]
    ours = run(ROSENBROCK, OPTIMIZERS["swats"](eps=0.0, atol=0.0), start, 50)
    torch.testing.assert_close(ours.params, run(ROSENBROCK, OPTIMIZERS["adam"](eps=0.0), start, 50).params)


def test_innaprop_has_no_pole():
    """The paper's form divides by beta - lr, the authors' by 1 - alpha * lr; neither step size is special here."""
    start = ROSENBROCK.start()[0]
    ends = [
        run(ROSENBROCK, OPTIMIZERS["innaprop"](lr=lr, alpha=2.0, beta=0.5), start, 3).final
        for lr in (0.5 - 1e-9, 0.5, 0.5 + 1e-9)
    ]
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(ends[1], ends[2], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["gravity", "fadam", "adafactor"])
def test_a_block_rule_treats_blocks_apart(name):
    """One entry of a gradient that grows changes what happens to its own block only."""
    noise = torch.Generator().manual_seed(0)
    params, grad = torch.randn(2, 9, generator=noise, dtype=torch.float64)
    louder = torch.cat([grad[:1] * 100, grad[1:]])
    rule = OPTIMIZERS[name](**({"alpha": 0.0} if name == "gravity" else {"d": 0.1} if name == "adafactor" else {}))

    def second(first_grad, second_grad):
        oracles = [Given(g, (3, 2), (3,)) for g in (first_grad, second_grad)]
        for oracle in oracles:
            oracle.normal = torch.zeros_like
        new, state = rule.step(params, rule.init(params), oracles[0])
        return rule.step(new, state, oracles[1])[0]

    quiet, loud = second(grad, grad), second(grad, louder)
    assert torch.equal(quiet[6:], loud[6:])
    assert not torch.allclose(quiet[:6], loud[:6])
