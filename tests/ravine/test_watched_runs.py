"""Healthy runs and planted faults: no sentence of a log says what was not so, and the one that helps is there."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

import ravine
from landscapes import from_module
from tests.sampling import sampled

SGD, Adam, AdamW = torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW
SAMPLES = 64


def data(targets="classes"):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(SAMPLES, 6, generator=generator, dtype=torch.float64)
    bent = (inputs[:, :3].tanh() + 0.3 * torch.randn(SAMPLES, 3, generator=generator, dtype=torch.float64)) * 2
    return inputs, bent.argmax(1) if targets == "classes" else bent


def network(activation=nn.Tanh, dtype=torch.float64):
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return nn.Sequential(nn.Linear(6, 16), activation(), nn.Linear(16, 3)).to(dtype)


def watched(make, path, *, steps=100, batch=None, loss_fn=None, model=None, every=10, micro=1, divide=True, clips=None,
            schedule=None, after=None, data_of=data, **options):  # fmt: skip
    """A run of `steps` steps on all samples, or on random batches; what `after(step, model, optimizer)` does comes in between."""
    model = network() if model is None else model
    inputs, targets = data_of()
    inputs = inputs.to(next(model.parameters()).dtype)
    loss_fn = nn.CrossEntropyLoss() if loss_fn is None else loss_fn
    optimizer = make(model.parameters())
    probe = ravine.watch(
        model, loss_fn, (inputs, targets), optimizer, every=every, to=path / "run.ravine", **{"budget": None} | options
    )
    planned = None if schedule is None else torch.optim.lr_scheduler.LambdaLR(optimizer, schedule)
    generator = torch.Generator().manual_seed(1)
    for number in range(steps):
        for _ in range(micro):
            chosen = torch.randint(SAMPLES, (batch,), generator=generator) if batch else torch.arange(SAMPLES)
            loss = loss_fn(model(inputs[chosen]), targets[chosen])
            (loss / micro if divide else loss).backward()
        if clips is not None:
            clips(model)
        optimizer.step()
        if planned is not None:
            planned.step()
        optimizer.zero_grad()
        probe.step(loss)
        if after is not None:
            after(number + 1, model, optimizer)
    return ravine.read_log(probe.to), model, optimizer


def norm(limit):
    return lambda model: nn.utils.clip_grad_norm_(model.parameters(), limit)


def entries(limit):
    return lambda model: nn.utils.clip_grad_value_(model.parameters(), limit)


SMOOTH = "expect steady convergence"
NOISE = "the steps are made from other gradients than the watched data's"
CLIPPED = "no verdict: the gradients are clipped"
SUM = nn.CrossEntropyLoss(reduction="sum")
MULTIPLE = "times the gradient of the watched data"
# name: the run, what its log must say, and what it must not
RUNS = {
    "healthy": ((lambda p: SGD(p, lr=0.1), {}), [SMOOTH, "stayed below the threshold at all 11", "loss on the watched data fell"],
                ["no verdict"]),
    "a hundred times too small": ((lambda p: SGD(p, lr=1e-3), {}), [SMOOTH, "000 times the step size would still have been stable"],
                                  ["no verdict", " 0.00 times"]),
    "too large": ((lambda p: SGD(p, lr=40.0), {"steps": 250, "every": 25, "model": "linear", "loss_fn": nn.MSELoss(),
                                               "data_of": lambda: data("numbers")}),
                  ["expect divergence", "found it at or above the threshold", "the run diverged"], [SMOOTH, "would still have been stable"]),
    "one look": ((lambda p: SGD(p, lr=0.1), {"steps": 5}), ["Measured 1 time, at step 0 of 0", "too few"], ["stayed", "hovers", "larger"]),
    "batches of two": ((lambda p: SGD(p, lr=0.3), {"batch": 2}), ["no verdict: " + NOISE, "That loss rose at"], [SMOOTH, "would still have"]),
    "batches of two, too small": ((lambda p: SGD(p, lr=1e-3), {"batch": 2}), ["no verdict: " + NOISE], [SMOOTH, "would still have"]),
    "clipped to a norm": ((lambda p: SGD(p, lr=20.0), {"clips": norm(0.02)}), [CLIPPED, "their norm is 0.02 at"], ["diverge", SMOOTH]),
    "clipped, as told": ((lambda p: SGD(p, lr=20.0), {"clips": norm(0.02), "clip": 0.02, "batch": 8}), [CLIPPED, "to a norm of 0.02"], ["diverge"]),
    "clipped entries": ((lambda p: SGD(p, lr=20.0), {"clips": entries(1e-3)}), [CLIPPED, "their largest entry is 0.001"], ["diverge"]),
    "clipped where it does nothing": ((lambda p: SGD(p, lr=0.1), {"clips": norm(50.0), "clip": 50.0}), [SMOOTH], ["clipped"]),
    "a sum over small batches": ((lambda p: SGD(p, lr=0.02), {"loss_fn": SUM, "batch": 16}), ["no verdict", MULTIPLE], [SMOOTH, "diverge"]),
    "a sum over all": ((lambda p: SGD(p, lr=1e-3), {"loss_fn": SUM}), [SMOOTH], ["no verdict"]),
    "gradients that add up": ((lambda p: SGD(p, lr=0.1), {"micro": 4, "divide": False}),
                              ["given 4 " + MULTIPLE, "of 100"], [SMOOTH]),
    "accumulated": ((lambda p: SGD(p, lr=0.1), {"micro": 4}), [SMOOTH, "of 100"], ["no verdict"]),
    "Adam that stands": ((lambda p: Adam(p, lr=1e-3, eps=1.0), {}), [SMOOTH, "times the step size would still have been stable"], [" 0.00 times"]),
    "Adam with decay in the gradient": ((lambda p: Adam(p, lr=0.05, weight_decay=0.3), {"steps": 300, "every": 20}),
                                        ["it reached the threshold"], [SMOOTH]),
    "decay alone is unstable": ((lambda p: AdamW(p, lr=0.1, weight_decay=30.0), {"steps": 20, "every": 5}),
                                ["The weight decay alone is unstable"], [SMOOTH]),
    "decay that turns weights over": ((lambda p: AdamW(p, lr=0.02, weight_decay=98.0), {}), ["(1 − ηλ/2)", "it reached the threshold"], [SMOOTH]),
    "a step size of 0 at the end": ((lambda p: SGD(p, lr=0.1), {"schedule": lambda step: max(0.0, 1 - step / 80)}),
                                    ["The step size is 0 at the last step", SMOOTH], ["Nothing has been measured", "inf times"]),
    "no threshold": ((lambda p: torch.optim.Rprop(p, lr=1e-3), {}),
                     ["No stability threshold is known for Rprop.", "the sharpness is", "times as long"], ["Nothing has been", "threshold at"]),
    "too coarse weights": ((lambda p: SGD(p, lr=1e-4), {"model": "bfloat16"}), ["lost where the numbers are rounded", "kept in bfloat16"], []),
    "only some are moved": ((lambda p: SGD(list(p)[:2], lr=0.1), {}), ["moves 2 of the model's 4 trainable tensors"], []),
}  # fmt: skip


@pytest.mark.parametrize("name", sampled(list(RUNS), 12))
def test_a_log_says_what_was_so_and_nothing_else(name, tmp_path):
    (make, settings), said, never = RUNS[name]
    settings = dict(settings)
    if settings.get("model") == "bfloat16":
        settings["model"] = network(dtype=torch.bfloat16)
    if settings.get("model") == "linear":
        settings["model"] = network(nn.Identity)
    log, *_ = watched(make, tmp_path, **settings)
    words = " ".join(log.sentences())
    assert [one for one in said if one not in words] == [], words
    assert [one for one in never if one in words] == [], words


# ------------------------------------------------------------------ what changes along a run


class Gated(nn.Module):
    """A frozen gate, a buffer and a head."""

    def __init__(self):
        super().__init__()
        self.body, self.head = network()[:2], network()[2]
        self.gate = nn.Parameter(torch.ones(16, dtype=torch.float64), requires_grad=False)
        self.register_buffer("shift", torch.zeros(16, dtype=torch.float64))

    def forward(self, inputs):
        return self.head(self.gate * self.body(inputs) + self.shift)


def true_loss(model):
    inputs, targets = data()
    return float(functional.cross_entropy(model(inputs), targets).detach())


def test_parameters_set_free_later_are_followed(tmp_path):
    model = Gated()
    for one in model.body.parameters():
        one.requires_grad_(False)

    def free(step, model, optimizer):
        if step == 25:
            for one in model.body.parameters():
                one.requires_grad_(True)

    def all_of(_):
        return SGD(model.parameters(), lr=0.1)

    log, *_ = watched(all_of, tmp_path, model=model, steps=40, after=free)
    assert log.fields["loss"][-1] == pytest.approx(true_loss(model))
    assert log.remarks == ("Step 30: Other parameters are trained from here on: 163 numbers in 4 tensors.",)
    land = from_module(model, nn.CrossEntropyLoss(), data())
    hessian = land.hessian_operator(land.start()[0])
    dense = torch.stack([hessian(unit) for unit in torch.eye(land.dim, dtype=torch.float64)])
    assert log.fields["sharpness"][-1] == pytest.approx(float(torch.linalg.eigvalsh(dense)[-1]), rel=1e-2)  # as stated


def test_what_is_frozen_is_as_it_is_now(tmp_path):
    model = Gated()

    def change(step, model, optimizer):
        model.shift += 0.01
        model.gate.data *= 1.01

    log, *_ = watched(lambda p: SGD(p, lr=0.1), tmp_path, model=model, steps=20)
    assert log.fields["loss"][-1] == pytest.approx(true_loss(model))
    log, *_ = watched(lambda p: SGD(p, lr=0.1), tmp_path, model=model, steps=20, after=change)
    change(20, model, None)  # what came after the last look
    model.shift -= 0.02
    model.gate.data /= 1.01**2
    assert log.fields["loss"][-1] == pytest.approx(true_loss(model))


def test_when_all_is_frozen_the_run_goes_on_unmeasured(tmp_path):
    model, (inputs, targets) = network(), data()
    optimizer = SGD(model.parameters(), lr=0.1)
    probe = ravine.watch(
        model, nn.CrossEntropyLoss(), (inputs, targets), optimizer, every=1, to=tmp_path / "a.ravine", budget=None
    )
    functional.cross_entropy(model(inputs), targets).backward()
    optimizer.step()
    model.requires_grad_(False)
    with pytest.warns(RuntimeWarning, match="The run goes on"):
        probe.step()
    optimizer.step()
    probe.step()
    log = ravine.read_log(probe.to)
    assert log.step.tolist() == [0, 1, 2]
    assert "nothing is measured" in log.remarks[0]


def test_a_loss_with_parameters_of_its_own_is_followed(tmp_path):
    class Weighted(nn.Module):
        def __init__(self):
            super().__init__()
            self.log_variance = nn.Parameter(torch.zeros((), dtype=torch.float64))

        def forward(self, outputs, targets):
            return (outputs - targets).square().mean() * (-self.log_variance).exp() + self.log_variance

    loss_fn, model = Weighted(), network()
    inputs, targets = data("numbers")

    def both(parameters):
        return SGD([*parameters, *loss_fn.parameters()], lr=0.1)

    log, *_ = watched(both, tmp_path, model=model, loss_fn=loss_fn, steps=20, data_of=lambda: data("numbers"))
    assert log.fields["loss"][-1] == pytest.approx(float(loss_fn(model(inputs), targets).detach()))
    assert log.header["parameters"] == 164
    hidden = torch.ones((), dtype=torch.float64, requires_grad=True)
    scaled = lambda out, y: (out * hidden - y).square().mean()  # noqa: E731  a function keeps what it holds to itself
    log, *_ = watched(
        lambda p: SGD([*p, hidden], lr=0.1), tmp_path, loss_fn=scaled, steps=60, data_of=lambda: data("numbers")
    )
    assert any("also moves 1 tensor that the model does not have" in note for note in log.notes)
    assert "no verdict: the optimizer also moves parameters that the model does not have" in log.findings()[0]


# ------------------------------------------------------------------ the steps of an optimizer


def test_the_settings_are_those_of_the_step(tmp_path):
    log, *_ = watched(lambda p: SGD(p, lr=1.0), tmp_path, steps=30, schedule=lambda step: 0.1 + step / 100)
    np.testing.assert_allclose(log.fields["lr"][1:], [0.1 + step / 100 for step in (9, 19, 29)])
    np.testing.assert_allclose(log.fields["threshold"], 2 / log.fields["lr"])


def test_the_gradient_that_is_given_is_compared_with_the_watched_one(tmp_path):
    log, *_ = watched(lambda p: SGD(p, lr=0.1), tmp_path, clips=norm(0.01), steps=20)
    np.testing.assert_allclose(log.fields["given_norm"][1:], 0.01, rtol=1e-4)
    np.testing.assert_allclose(log.fields["update_norm"][1:], 0.001, rtol=1e-4)
    np.testing.assert_allclose(log.fields["gradient_cosine"][1:], 1, rtol=1e-9)
    np.testing.assert_allclose(log.fields["update_slope"][1:] * log.fields["gradient_share"][1:], -0.01, rtol=1e-4)


class Consuming(torch.optim.SGD):
    """As some do: the gradients are its working space."""

    @torch.no_grad()
    def step(self, closure=None):
        if closure is not None:
            with torch.enable_grad():
                closure()
        super().step()
        for one in self.param_groups[0]["params"]:
            one.grad.zero_()


def test_the_gradient_is_read_before_a_step_that_overwrites_it(tmp_path):
    log, *_ = watched(lambda p: Consuming(p, lr=0.1), tmp_path, steps=20)
    np.testing.assert_allclose(log.fields["gradient_share"][1:], 1)
    assert log.step.tolist() == [0, 10, 20]  # a step within a step is one


def test_the_update_is_that_of_the_watched_optimizer(tmp_path):
    model, (inputs, targets) = network(), data()
    mine, other = (SGD(model[place].parameters(), lr=lr) for place, lr in ((0, 0.01), (2, 1.0)))
    probe = ravine.watch(
        model, nn.CrossEntropyLoss(), (inputs, targets), mine, every=1, to=tmp_path / "a.ravine", budget=None
    )
    functional.cross_entropy(model(inputs), targets).backward()
    length = 0.01 * float(torch.cat([one.grad.flatten() for one in model[0].parameters()]).norm())
    mine.step()
    other.step()
    probe.step()
    assert ravine.read_log(probe.to).fields["update_norm"][1] == pytest.approx(length)


class Averaging(torch.optim.Optimizer):
    """As wrappers of optimizers are often made: without Optimizer.__init__, so that it has no hooks."""

    def __init__(self, inner):
        self.inner = inner

    param_groups = property(lambda self: self.inner.param_groups)
    state = property(lambda self: self.inner.state)

    def step(self, closure=None):
        self.inner.step()

    def zero_grad(self, set_to_none=True):
        self.inner.zero_grad()


def test_an_optimizer_without_hooks_is_followed_by_what_it_moves(tmp_path):
    log, *_ = watched(lambda p: Averaging(SGD(p, lr=0.1)), tmp_path, steps=20, micro=2)
    assert log.step.tolist() == [10, 20]
    assert log.header["reason"].startswith("No stability threshold is known for Averaging")
    assert (log.fields["update_norm"] > 0).all()
    assert np.isfinite(log.fields["sharpness"]).all()


def test_a_closure_is_no_step_of_its_own(tmp_path):
    model, (inputs, targets) = network(), data()
    optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=3)
    probe = ravine.watch(model, nn.CrossEntropyLoss(), (inputs, targets), optimizer, every=2, to=tmp_path / "a.ravine")

    def closure():
        optimizer.zero_grad()
        loss = functional.cross_entropy(model(inputs), targets)
        loss.backward()
        return loss

    for _ in range(4):
        probe.step(optimizer.step(closure))
    assert ravine.read_log(probe.to).step.tolist() == [0, 2, 4]


def test_the_optimizer_is_left_as_it_was(tmp_path):
    _, _, optimizer = watched(lambda p: Adam(p, lr=0.01), tmp_path, steps=1)  # the probe is gone with the call
    kept = optimizer._optimizer_step_pre_hooks
    assert all(hook(optimizer, (), {}) is None for hook in kept.values())  # and what is left of it does nothing
    pickle.dumps(optimizer)
    assert len(copy.deepcopy(optimizer).param_groups) == 1
    model = network()
    optimizer = SGD(model.parameters(), lr=0.1)
    with ravine.watch(model, nn.CrossEntropyLoss(), data(), optimizer, to=tmp_path / "b.ravine") as probe:
        assert len(optimizer._optimizer_step_pre_hooks) == 1
    assert not optimizer._optimizer_step_pre_hooks
    probe.close()  # again, to no effect


def test_an_optimizer_that_never_steps_is_named(tmp_path):
    model = network()
    probe = ravine.watch(
        model, nn.CrossEntropyLoss(), data(), SGD(model.parameters(), lr=0.1), to=tmp_path / "a.ravine"
    )
    with pytest.warns(RuntimeWarning, match="has seen no step of SGD in 100 calls"):
        [probe.step() for _ in range(100)]


def test_an_optimizer_of_another_model_is_refused(tmp_path):
    model, other = network(), network()
    with pytest.raises(ValueError, match="moves none of the model's trainable parameters"):
        ravine.watch(model, nn.CrossEntropyLoss(), data(), SGD(other.parameters(), lr=0.1), to=tmp_path / "a.ravine")
    assert not (tmp_path / "a.ravine").exists()


def test_a_module_that_fails_ends_the_measurements_and_not_the_run(tmp_path):
    class Moody(nn.Sequential):
        broken = False

        def forward(self, inputs):
            if self.broken and len(inputs) == SAMPLES:
                raise RuntimeError("out of memory, say")
            return super().forward(inputs)

    Moody.broken = False
    model = Moody(*network())
    with pytest.warns(RuntimeWarning, match="RuntimeError: out of memory, say"):
        log, *_ = watched(
            lambda p: SGD(p, lr=0.1), tmp_path, model=model, batch=8, steps=30,
            after=lambda step, *_: setattr(Moody, "broken", step >= 15),
        )  # fmt: skip
    assert log.step.tolist() == [0, 10, 20, 30]
    assert np.isfinite(log.fields["sharpness"]).tolist() == [True, True, False, False]
    assert "From here on nothing is measured" in log.sentences()[-1]
