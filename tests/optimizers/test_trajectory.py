"""Running rules: what is recorded, when, and what company, chance and divergence may change (nothing that they should not)."""

import dataclasses
import itertools
import re
from functools import cache, partial

import pytest
import torch

from landscapes import LANDSCAPES, MLP, Formula, Landscape
from optimizers import OPTIMIZERS, PROBES, Optimizer, iterate, run, running
from tests.optimizers.comparison import assert_same_path
from tests.probing import every_probe
from tests.rounding import amplified

QUADRATIC = LANDSCAPES["quadratic"](kappa=8.0)
ROSENBROCK = LANDSCAPES["rosenbrock"]()
NETWORK = MLP(data="chebyshev", hidden=(5,), objective="squared")
GD, ADAM = OPTIMIZERS["gd"], OPTIMIZERS["adam"]


def bits(values):
    return values.contiguous().reshape(-1).view(torch.uint8)


def assert_same(ours, theirs):
    """Equal to the last bit, NaN included."""
    assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape
    assert torch.equal(bits(ours), bits(theirs))


def tensors(trajectory):
    for field in dataclasses.fields(trajectory):
        value = getattr(trajectory, field.name)
        yield from value.values() if isinstance(value, dict) else value if isinstance(value, tuple) else (value,)


def assert_same_run(ours, theirs):
    for one, other in zip(tensors(ours), tensors(theirs), strict=True):
        assert_same(one, other)


def points(land, rule, start=None, steps=20, **values):
    return run(land, rule, start, steps, **values).params


# Numbers


@pytest.mark.parametrize("lr", [0.01, 0.2, 1.5 / 8, 2 / 8])
def test_gradient_descent_on_a_quadratic_has_its_closed_form(lr):
    trajectory = run(QUADRATIC, GD(lr=lr), steps=50)
    curvature = torch.tensor([1.0, 8.0], dtype=torch.float64)
    expected = QUADRATIC.start()[0] * (1 - lr * curvature) ** torch.arange(51)[:, None]
    torch.testing.assert_close(trajectory.params, expected, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(trajectory.loss, (curvature * expected**2).sum(-1) / 2, rtol=1e-11, atol=1e-14)
    torch.testing.assert_close(trajectory.grad_norm, (curvature * expected).norm(dim=-1), rtol=1e-11, atol=1e-14)


@pytest.mark.parametrize("rule", OPTIMIZERS)
def test_recorded_numbers_are_those_at_the_recorded_parameters(rule):
    trajectory = run(NETWORK, OPTIMIZERS[rule](lr=1e-3), NETWORK.start(2), 5)
    loss, grad = NETWORK.value_and_grad(trajectory.params)
    torch.testing.assert_close(trajectory.loss, loss)
    torch.testing.assert_close(trajectory.grad_norm, grad.norm(dim=-1))


def test_the_start_is_the_landscapes_own_unless_given():
    assert_same(run(NETWORK, GD(), steps=1).params[0], NETWORK.start()[0])
    start = NETWORK.start(4, seed=5)[3]
    assert_same(run(NETWORK, GD(), start, 1).params[0], start)


# Shapes


@pytest.mark.parametrize("lead", [(), (3,), (2, 3)])
@pytest.mark.parametrize("land", [QUADRATIC, NETWORK], ids=["surface", "network"])
def test_shapes_are_as_documented(lead, land):
    start = land.start()[0].expand(*lead, land.dim)
    kinds = every_probe(land, GD(), ADAM())
    one = run(land, GD(), start, 3, probes=kinds)
    several = run(land, [GD(), ADAM(), GD(lr=0.1)], start, 3, probes=kinds)
    for trajectory, shape in ((one, lead), (several, (3, *lead))):
        assert trajectory.step.tolist() == trajectory.params_step.tolist() == list(range(4))
        assert trajectory.params.shape == (4, *shape, land.dim)
        assert trajectory.final.shape == (*shape, land.dim)
        assert trajectory.loss.shape == trajectory.grad_norm.shape == (4, *shape)
        assert list(trajectory.probes) == [kind.name for kind in kinds]
        for kind in kinds:
            entries = kind.entries(land)
            assert trajectory.probes[kind.name].shape == (4, *shape, *([len(entries)] if entries else []))
        assert trajectory.diverged_at.shape == shape
        assert not trajectory.diverged_at.is_floating_point()
    assert all(counts.shape == (4,) for counts in one.evaluations)
    assert all(counts.shape == (4, 3) for counts in several.evaluations)
    one_in_a_list = run(land, [GD()], start, 3)
    assert one_in_a_list.loss.shape == (4, 1, *lead)
    assert one_in_a_list.evaluations.grad.shape == (4, 1)


def test_hyper_parameters_with_one_value_per_run_broadcast_against_the_start():
    lrs = torch.tensor([0.01, 0.05, 0.1], dtype=torch.float64)
    together = run(QUADRATIC, GD(lr=lrs[:, None]), steps=10)
    assert together.params.shape == (11, 3, 2)
    for index, lr in enumerate(lrs.tolist()):
        torch.testing.assert_close(together.params[:, index], points(QUADRATIC, GD(lr=lr), steps=10))
    grid = run(QUADRATIC, GD(lr=lrs[:, None]), QUADRATIC.start(4)[:, None], 10)
    assert grid.loss.shape == (11, 4, 3)


# Company


@pytest.mark.parametrize("land", [ROSENBROCK, NETWORK, MLP(hidden=(3,))], ids=["surface", "small network", "digits"])
def test_rules_side_by_side_do_what_they_do_alone(land):
    rules = [kind(lr=1e-3) for kind in OPTIMIZERS.values()]
    steps = 4
    # Off the symmetry of odd networks and data: there a bias has a gradient of pure rounding, and signs make steps of it.
    starts = land.start(2) + 0.1 * torch.randn(land.dim, generator=torch.Generator().manual_seed(0))
    for start in (starts, starts[0]):
        together = run(land, rules, start, steps)
        for index, rule in enumerate(rules):
            alone = run(land, rule, start, steps)
            if land is not ROSENBROCK:  # batched matrix products and eigenvectors round otherwise than single ones
                assert_same_path(
                    alone.params, together.params[:, index], 1e-11, partial(points, land, rule, start, steps)
                )
            else:
                assert_same(together.params[:, index], alone.params)
                assert_same(together.loss[:, index], alone.loss)
            assert_same(together.evaluations.grad[:, index], alone.evaluations.grad)


def test_a_rule_evaluated_at_its_own_point_only():
    """Rules that differ in cost do not pay for each other."""
    counts = run(QUADRATIC, [OPTIMIZERS["gd"](), OPTIMIZERS["sam"]()], steps=5).evaluations
    assert counts.grad.tolist() == [[k, 2 * k] for k in range(6)]


# What is recorded


def test_record_every_keeps_a_subset_of_the_steps_and_the_last():
    full = run(ROSENBROCK, ADAM(), steps=23, probes=["distance"])
    some = run(ROSENBROCK, ADAM(), steps=23, probes=["distance"], record_every=5)
    kept = [0, 5, 10, 15, 20, 23]
    assert some.step.tolist() == some.params_step.tolist() == kept
    for name in ("loss", "grad_norm", "params"):
        assert_same(getattr(some, name), getattr(full, name)[kept])
    assert_same(some.probes["distance"], full.probes["distance"][kept])
    assert_same(some.evaluations.grad, full.evaluations.grad[kept])
    assert_same(some.final, full.final)


def test_probe_every_and_params_every_thin_out_further():
    full = run(ROSENBROCK, ADAM(), steps=13, probes=["distance"])
    some = run(ROSENBROCK, ADAM(), steps=13, probes=["distance"], record_every=2, probe_every=6, params_every=4)
    assert some.step.tolist() == [0, 2, 4, 6, 8, 10, 12, 13]
    assert some.params_step.tolist() == [0, 4, 8, 12, 13]
    assert_same(some.params, full.params[some.params_step])
    measured = [0, 3, 6, 7]
    assert torch.isfinite(some.probes["distance"]).nonzero().flatten().tolist() == measured
    assert_same(some.probes["distance"][measured], full.probes["distance"][[0, 6, 12, 13]])


@pytest.mark.parametrize("steps", [1, 2, 9, 10, 11])
def test_the_last_step_is_recorded_once(steps):
    trajectory = run(ROSENBROCK, GD(), steps=steps, record_every=5)
    assert trajectory.step.tolist() == sorted({*range(0, steps + 1, 5), steps})
    assert_same(trajectory.final, points(ROSENBROCK, GD(), steps=steps)[-1])


def test_evaluations_are_counted_by_recorded_step():
    for rule in (GD(), OPTIMIZERS["sam"]()):
        per_step = {"gd": 1, "sam": 2}[rule.name]
        counts = run(ROSENBROCK, rule, steps=12, record_every=5).evaluations
        assert counts.grad.tolist() == [per_step * step for step in (0, 5, 10, 12)]
        assert counts.loss.tolist() == counts.grad.tolist()
        assert counts.hvp.tolist() == [0, 0, 0, 0]


def test_running_yields_growing_prefixes_of_the_run():
    whole = run(ROSENBROCK, ADAM(), steps=17, probes=["distance"], record_every=2)
    parts = list(running(ROSENBROCK, ADAM(), steps=17, probes=["distance"], record_every=2, report_every=5))
    assert [int(part.step[-1]) for part in parts] == [4, 10, 14, 17]
    for part in parts:
        n = len(part.step)
        for name in ("step", "loss", "grad_norm", "params", "params_step"):
            assert_same(getattr(part, name), getattr(whole, name)[:n])
        assert_same(part.probes["distance"], whole.probes["distance"][:n])
    assert_same_run(parts[-1], whole)


def test_a_run_can_be_abandoned():
    stream = running(ROSENBROCK, GD(), steps=10**9, report_every=3)
    assert [int(part.step[-1]) for part in itertools.islice(stream, 2)] == [3, 6]
    stream.close()


# Divergence


def test_a_diverged_run_is_frozen_and_marked_with_the_exact_step():
    """At curvature 1 and lr = 1e4 a coordinate grows by the factor -9999 a step, and the loss as its square."""
    land, start = LANDSCAPES["quadratic"](kappa=1.0), torch.tensor([1.0, 0.0], dtype=torch.float64)
    trajectory = run(land, GD(lr=1e4), start, 100)
    at = next(step for step in itertools.count() if 9999 ** (2 * step) >= 2**1024)  # the squares leave float64
    assert int(trajectory.diverged_at) == at
    assert torch.isfinite(trajectory.loss[:at]).all()
    assert trajectory.loss[at:].isnan().all()
    assert trajectory.grad_norm[at:].isnan().all()
    assert torch.isfinite(trajectory.params).all()  # the loss is infinite at a point that is not
    assert (trajectory.params[at:] == trajectory.params[at]).all()
    assert (trajectory.params[: at + 1, 0].diff() != 0).all()


def test_a_step_to_no_number_freezes_the_run_before_it():
    land, start = Formula("x^(1/3) + y^2"), torch.zeros(2, dtype=torch.float64)
    assert land.loss(start) == 0
    assert land.grad(start)[0] == torch.inf
    trajectory = run(land, GD(lr=0.1), start, 5)
    assert trajectory.diverged_at == 1
    assert trajectory.loss[0] == 0
    assert trajectory.loss[1:].isnan().all()
    assert (trajectory.params == 0).all()


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_start_that_is_no_number_diverged_at_once(bad):
    start = torch.stack([ROSENBROCK.start()[0], torch.tensor([bad, 0.0], dtype=torch.float64)])
    trajectory = run(ROSENBROCK, GD(), start, 4)
    assert trajectory.diverged_at.tolist() == [-1, 0]
    assert trajectory.loss[:, 1].isnan().all()
    assert_same(trajectory.params[:, 1], start[1].expand(5, 2))


def test_the_step_of_divergence_does_not_depend_on_what_is_recorded():
    full = run(ROSENBROCK, GD(lr=0.02), steps=40)
    assert int(full.diverged_at) == int(torch.isfinite(full.loss).sum()) < 40
    for every in (7, 40):
        assert run(ROSENBROCK, GD(lr=0.02), steps=40, record_every=every).diverged_at == full.diverged_at


@pytest.mark.parametrize("rule", OPTIMIZERS)
@pytest.mark.parametrize("land", [ROSENBROCK, NETWORK], ids=["surface", "network"])
def test_a_diverging_run_changes_no_other(land, rule):
    """Against the same batch with a companion that stays; for a surface also against the batch without it."""
    rule = OPTIMIZERS[rule](lr=1e-3)
    calm, others = land.start(4, seed=1), [0, 3]
    wild = calm.clone()
    wild[1] = torch.inf
    wild[2] = 1e200  # finite, but its loss is not
    kinds = every_probe(land, rule)
    place = list(OPTIMIZERS).index(rule.name)
    kinds = [kinds[(place + index) % len(kinds)] for index in (0, 1)]  # all of them, over the rules
    together = run(land, rule, calm, 4, probes=kinds)
    disturbed = run(land, rule, wild, 4, probes=kinds)
    assert disturbed.diverged_at[others].tolist() == together.diverged_at[others].tolist()
    for name in ("params", "loss", "grad_norm"):
        assert_same(getattr(disturbed, name)[:, others], getattr(together, name)[:, others])
    for name, values in disturbed.probes.items():
        # The sharpness iteration ends for all runs at once, so a companion may change how far it goes.
        # A rule that diverges at its defaults does so with every companion.
        torch.testing.assert_close(
            values[:, others], together.probes[name][:, others], rtol=1e-3, atol=0, equal_nan=True
        )
        for gone in (1, 2):
            at = int(disturbed.diverged_at[gone])
            assert at != -1
            assert values[at:, gone].isnan().all()
    if land is ROSENBROCK:
        assert_same(disturbed.params[:, others], run(land, rule, calm[others], 4).params)


def test_a_diverging_rule_changes_no_other_rule():
    together = run(ROSENBROCK, [GD(lr=1e-4), GD(lr=1e4), ADAM()], steps=30)
    assert together.diverged_at[1] > 0
    assert_same(together.params[:, 0], points(ROSENBROCK, GD(lr=1e-4), steps=30))
    assert_same(together.params[:, 2], points(ROSENBROCK, ADAM(), steps=30))


# Chance


def test_the_seed_decides_the_batches():
    rule = GD(lr=0.05)
    first = points(NETWORK, rule, batch_size=4, seed=3)
    assert_same(first, points(NETWORK, rule, batch_size=4, seed=3))
    assert (first[-1] != points(NETWORK, rule, batch_size=4, seed=4)[-1]).any()
    assert (first[-1] != points(NETWORK, rule)[-1]).any()


def test_all_runs_and_rules_see_the_same_batches():
    """To rounding: equal rows of one batched product may be summed in different orders."""
    start = NETWORK.start()[0]
    seeds = {
        seed: run(NETWORK, [GD(lr=0.05), GD(lr=0.05)], start.expand(3, -1), 10, batch_size=4, seed=seed).params
        for seed in (3, 4)
    }
    first = seeds[3][:, :1, :1]
    off = 30 * float(amplified(lambda: run(NETWORK, GD(lr=0.05), start, 10, batch_size=4, seed=3).params).max())
    torch.testing.assert_close(seeds[3], first.expand_as(seeds[3]), rtol=0, atol=off)
    assert off < 1e-12 < 1e-4 < float((seeds[4] - first)[1:].abs().amax(-1).min())  # other batches are other paths


@dataclasses.dataclass(frozen=True)
class Watched(Landscape):
    """A network that notes the batches it is evaluated on."""

    name, label, reads, reference, equation = "watched", "Watched", "A test.", "none", "none"
    seen: list = dataclasses.field(default_factory=list)

    @property
    def layout(self):
        return NETWORK.layout

    @property
    def samples(self):
        return NETWORK.samples

    def start(self, runs=1, seed=0, *, dtype=torch.float64, device="cpu"):
        return NETWORK.start(runs, seed, dtype=dtype, device=device)

    def _loss(self, params, batch):
        return NETWORK.loss(params, batch)

    def _value_and_grad(self, params, batch):
        self.seen.append(batch)
        return NETWORK.value_and_grad(params, batch)

    def _hessian_operator(self, params, batch):
        return NETWORK.hessian_operator(params, batch)


@pytest.mark.parametrize(("size", "per_epoch"), [(4, 5), (20, 1), (1, 20), (6, 3), (11, 1)])
def test_an_epoch_visits_each_sample_at_most_once_and_in_a_new_order(size, per_epoch):
    land = Watched()
    trajectory = run(land, GD(lr=0.01), steps=2 * per_epoch - 1, batch_size=size)
    assert all(batch.shape == (size,) for batch in land.seen)
    epochs = torch.cat(land.seen).reshape(2, per_epoch * size)
    for epoch in epochs.tolist():
        assert len(set(epoch)) == per_epoch * size == 20 - 20 % size
        assert set(epoch) <= set(range(20))
    assert epochs[0].tolist() != epochs[1].tolist()
    # The loss on record is the loss on the step's batch.
    expected = torch.stack([NETWORK.loss(w, b) for w, b in zip(trajectory.params, land.seen, strict=True)])
    torch.testing.assert_close(trajectory.loss, expected)


@pytest.mark.parametrize("rule", OPTIMIZERS)
def test_a_rule_sees_one_batch_in_a_step(rule):
    land = Watched()
    kind = OPTIMIZERS[rule]
    counts = run(land, kind(), steps=5, batch_size=4).evaluations
    returned = kind.point is not Optimizer.point  # the runner looks at the point that the rule returns as well
    calls = (counts.grad.diff() + returned).tolist()
    start = 0
    for number in calls:
        assert len({tuple(batch.tolist()) for batch in land.seen[start : start + number]}) == 1
        start += number
    assert len({tuple(sorted(batch.tolist())) for batch in land.seen[:start]}) == 5


# Probes


@pytest.mark.parametrize("kappa", [1.0, 30.0])
def test_the_sharpness_probe_on_a_quadratic_is_its_largest_eigenvalue(kappa):
    land = LANDSCAPES["quadratic"](kappa=kappa, angle=0.7)
    sharpness = run(land, GD(lr=1.0 / kappa), land.start(2), 6, probes=["sharpness"]).probes["sharpness"]
    torch.testing.assert_close(sharpness, torch.full((7, 2), kappa, dtype=torch.float64))


def test_the_sharpness_probe_follows_a_network():
    """Against the eigenvalues of the whole Hessian. The probe's residual of 1e-2 leaves an error of its square."""
    land = MLP(data="chebyshev", hidden=(8,), objective="squared")  # 25 parameters: the iterative path
    trajectory = run(land, GD(lr=0.3), steps=60, probes=["sharpness"], record_every=6)
    for params, value in zip(trajectory.params, trajectory.probes["sharpness"], strict=True):
        hessian = torch.autograd.functional.hessian(land.loss, params)
        torch.testing.assert_close(value, torch.linalg.eigvalsh(hessian)[-1], rtol=1e-3, atol=0)


def test_the_distance_probe_is_the_distance_from_the_start():
    trajectory = run(ROSENBROCK, ADAM(lr=0.1), ROSENBROCK.start(3), 10, probes=["distance"])
    expected = (trajectory.params - trajectory.params[0]).square().sum(-1).sqrt()
    torch.testing.assert_close(trajectory.probes["distance"], expected)


CLASSIFIER = MLP(data="two_moons", hidden=(3,), subset=40, test_share=0.3)


def measurable(name):
    """A landscape and a rule on which the probe has something to measure."""
    pairs = itertools.product((NETWORK, CLASSIFIER, LANDSCAPES["stability_valley"]()), (ADAM(), GD()))
    return next((land, rule) for land, rule in pairs if not PROBES[name]().refusal(land, rule))


@cache
def all_measured(land, rule):
    return run(land, rule, land.start(2), 6, probes=every_probe(land, rule))


@pytest.mark.parametrize("name", PROBES)
def test_probes_change_no_run_and_none_another(name):
    land, rule = measurable(name)
    plain = run(land, rule, land.start(2), 6)
    (kind,) = (one for one in every_probe(land, rule) if one.name == name)
    alone = run(land, rule, land.start(2), 6, probes=[kind])
    together = all_measured(land, rule)
    assert_same(alone.params, plain.params)
    assert_same(alone.probes[name], together.probes[name])
    assert_same(alone.evaluations.hvp, plain.evaluations.hvp)


@pytest.mark.parametrize(("name", "kind"), PROBES.items(), ids=PROBES)
def test_a_probe_says_what_it_is(name, kind):
    assert kind.name == name
    assert all(text.strip() for text in (kind.label, kind.symbol, kind.reference))
    assert kind.help.endswith(".")


# Errors


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"steps": 0}, "steps = 0 is not allowed: it must be a whole number of at least 1."),
        ({"steps": 2.0}, "steps = 2.0 is not allowed: it must be a whole number of at least 1."),
        ({"steps": True}, "steps = True is not allowed: it must be a whole number of at least 1."),
        ({"steps": "9"}, "steps = '9' is not allowed: it must be a whole number of at least 1."),
        ({"record_every": 0}, "record_every = 0 is not allowed: it must be a whole number of at least 1."),
        ({"probe_every": 0}, "probe_every = 0 is not allowed: it must be a whole number of at least 1."),
        ({"params_every": -1}, "params_every = -1 is not allowed: it must be a whole number of at least 1."),
        ({"record_every": 2, "probe_every": 3}, "probe_every = 3 is not allowed: it must be a multiple of record_every = 2."),
        ({"record_every": 2, "params_every": 1}, "params_every = 1 is not allowed: it must be a multiple of record_every = 2."),
        ({"probes": ["distance", PROBES["distance"]()]}, "The probe distance is given twice: a run measures each once."),
        ({"probes": [3]}, "3 is not a probe: give a name, or build one, as in PROBES['sharpness']()."),
        ({"probes": [PROBES["top_eigenvalues"](k=3)]}, "top_eigenvalues asks for 3 eigenvalues, and rosenbrock has 2 parameters."),
        ({"probes": ["preconditioned_sharpness"]}, "Gradient descent does not divide by a diagonal: its preconditioned sharpness is not defined."),
        ({"probes": ["sharpnes"]}, "'sharpnes' is not a probe: it must be one of " + ", ".join(PROBES) + "."),
        ({"batch_size": 2}, "Rosenbrock valley is not a mean over samples: batch_size must be None."),
        ({"optimizer": []}, "There is no optimizer to run: give at least one."),
        ({"optimizer": ["gd"]}, "'gd' is not an optimizer: build one, as in OPTIMIZERS['gd'](lr=0.1)."),
        ({"start": torch.zeros(3)}, "start has shape (3,): rosenbrock needs (..., 2)."),
        ({"start": torch.zeros(4, 1)}, "start has shape (4, 1): rosenbrock needs (..., 2)."),
        ({"start": torch.zeros(())}, "start has shape (): rosenbrock needs (..., 2)."),
        ({"start": torch.zeros(2, dtype=torch.int64)}, "start must be a floating-point tensor of shape (..., 2)."),
        ({"start": [0.0, 0.0]}, "start must be a floating-point tensor of shape (..., 2)."),
        (
            {"start": torch.zeros(3, 2), "optimizer": GD(lr=torch.ones(4, 1))},
            "lr of gd has shape (4, 1): it must broadcast against (3, 1), one value per run.",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_a_sentence(values, sentence):
    with pytest.raises((ValueError, TypeError)) as refusal:
        run(ROSENBROCK, **{"optimizer": GD(), **values})
    assert str(refusal.value) == sentence


@pytest.mark.parametrize("size", [0, 21, 2.5, True])
def test_a_batch_size_outside_the_samples_is_refused(size):
    with pytest.raises(ValueError, match=r"batch_size = .* is not allowed: it must be a whole number from 1 to 20\."):
        run(NETWORK, GD(), batch_size=size)


def test_iterate_leaves_the_start_alone():
    start = ROSENBROCK.start(2)
    before = start.clone()
    *_, now = itertools.islice(iterate(ROSENBROCK, [GD(), ADAM()], start), 5)
    assert_same(start, before)
    assert now.step == 4
    assert now.alive.all()


# Runs of their own


def test_rules_with_starts_and_seeds_of_their_own_do_what_they_do_alone():
    rules = [GD(lr=0.05), OPTIMIZERS["heavy_ball"](lr=0.01), GD(lr=0.02)]
    starts = [NETWORK.start(seed=seed)[0] for seed in (1, 2, 1)]
    for options in ({}, {"batch_size": 6}, {"batch_size": 6, "sampling": "replacement"}):
        together = run(NETWORK, rules, starts, 12, seed=[3, 4, 3], probes=["distance"], **options)
        for index, (rule, start, seed) in enumerate(zip(rules, starts, (3, 4, 3), strict=True)):
            alone = run(NETWORK, rule, start, 12, seed=seed, probes=["distance"], **options)
            own = together.of(index)
            for name in ("params", "loss", "grad_norm"):  # products of a batch may round otherwise
                torch.testing.assert_close(getattr(own, name), getattr(alone, name), rtol=1e-10, atol=1e-12)
            torch.testing.assert_close(own.probes["distance"], alone.probes["distance"], rtol=1e-10, atol=1e-12)
            assert torch.equal(own.evaluations.grad, alone.evaluations.grad)


def test_seeds_of_their_own_draw_batches_of_their_own():
    path = run(NETWORK, [GD(lr=0.05)] * 3, steps=5, seed=[3, 4, 3], batch_size=4)
    # A product of matrices may round otherwise at another place in a batch; another batch of samples is far away.
    torch.testing.assert_close(path.params[:, 0], path.params[:, 2], rtol=1e-12, atol=1e-14)
    assert (path.params[-1, 0] - path.params[-1, 1]).abs().max() > 1e-4


def test_sampling_with_replacement_draws_each_sample_independently():
    land = Watched()
    run(land, GD(lr=0.01), steps=399, batch_size=5, sampling="replacement", seed=1)
    assert all(batch.shape == (5,) for batch in land.seen)
    drawn = torch.stack(land.seen)
    assert 0 <= int(drawn.min()) <= int(drawn.max()) < 20
    counts = torch.bincount(drawn.flatten(), minlength=20)
    assert float(((counts - 100) ** 2).sum() / 100) < 43.8  # chi-squared with 19 degrees of freedom, at 0.1 %
    repeated = sum(len(set(batch.tolist())) < 5 for batch in drawn)
    assert 150 < repeated < 200  # expected: 400 * (1 - 20 * 19 * 18 * 17 * 16 / 20**5) = 167
    again = Watched()
    run(again, GD(lr=0.01), steps=399, batch_size=5, sampling="replacement", seed=1)
    assert torch.equal(torch.stack(again.seen), drawn)


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"seed": [1, 2, 3]}, "There are 3 values of seed for 2 rules: give one for all, or one each."),
        ({"start": [NETWORK.start()[0]]}, "There are 1 values of start for 2 rules: give one for all, or one each."),
        (
            {"start": [NETWORK.start()[0], NETWORK.start()]},
            "The starts of the rules are of different shapes: they must be of one.",
        ),
        (
            {"batch_size": 4, "sampling": "bootstrap"},
            "sampling = 'bootstrap' is not allowed: it must be one of epochs, replacement.",
        ),
    ],
)
def test_starts_seeds_and_sampling_are_checked(values, sentence):
    with pytest.raises(ValueError, match=f"^{re.escape(sentence)}$"):
        run(NETWORK, [GD(), ADAM()], steps=2, **values)
