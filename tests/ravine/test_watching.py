"""Watching a torch training loop: against our own rules, dense Hessians, and a run that is killed."""

import json
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import ravine
from landscapes import Layout, from_module
from optimizers import OPTIMIZERS, Evaluation, Oracle
from ravine import torch_rules, watching
from ravine.log import FIELDS, parsed, written

SGD = torch.optim.SGD
X = torch.linspace(-1, 1, 12)[:, None]
Y = torch.sin(3 * X)


def network(dtype=torch.float64):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return nn.Sequential(nn.Linear(1, 6), nn.Tanh(), nn.Linear(6, 1)).to(dtype)


def trained(module, optimizer, steps, probe=None):
    inputs, targets = X.to(module[0].weight), Y.to(module[0].weight)
    for _ in range(steps):
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(module(inputs), targets)
        loss.backward()
        optimizer.step()
        if probe is not None:
            probe.step(loss)


# ------------------------------------------------------------------ what an optimizer is stable against

RULES = [
    (lambda p: SGD(p, lr=0.1), "gd", {"lr": 0.1}),
    (lambda p: SGD(p, lr=0.1, momentum=0.8, dampening=0.3, weight_decay=0.01), "heavy_ball",
     {"lr": 0.1, "momentum": 0.8, "dampening": 0.3, "weight_decay": 0.01}),
    (lambda p: SGD(p, lr=0.1, momentum=0.8, nesterov=True), "nag", {"lr": 0.1, "momentum": 0.8}),
    (lambda p: torch.optim.Adam(p, lr=0.01, betas=(0.8, 0.99)), "adam", {"lr": 0.01, "beta1": 0.8, "beta2": 0.99}),
    (lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.0), "adamw", {"lr": 0.01, "weight_decay": 0.0}),
    (lambda p: torch.optim.Adam(p, lr=0.01, amsgrad=True), "amsgrad", {"lr": 0.01}),
    (lambda p: torch.optim.Adamax(p, lr=0.01), "adamax", {"lr": 0.01}),
    (lambda p: torch.optim.RMSprop(p, lr=0.01, momentum=0.5), "rmsprop", {"lr": 0.01, "momentum": 0.5}),
    (lambda p: torch.optim.RMSprop(p, lr=0.01, centered=True), "rmsprop", {"lr": 0.01, "centered": True}),
    (lambda p: torch.optim.Adagrad(p, lr=0.1, lr_decay=0.02), "adagrad", {"lr": 0.1, "decay": 0.02}),
    (lambda p: torch.optim.Adadelta(p, lr=1.0), "adadelta", {"lr": 1.0}),
    (lambda p: torch.optim.NAdam(p, lr=0.01), "nadam", {"lr": 0.01}),
    (lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=80.0), "adamw", {"lr": 0.01, "weight_decay": 80.0}),
]  # fmt: skip


@pytest.mark.parametrize(("make", "name", "settings"), RULES, ids=[f"{one[1]}-{i}" for i, one in enumerate(RULES)])
def test_threshold_and_preconditioner_are_those_of_our_rule_after_the_same_steps(make, name, settings):
    module = network()
    optimizer = make(module.parameters())
    land = from_module(module, nn.MSELoss(), (X.double(), Y.double()))
    rule = OPTIMIZERS[name](**settings)
    params, state = land.start()[0], rule.init(land.start()[0])
    for _ in range(5):
        oracle = Oracle(land, known=(params, Evaluation(*land.value_and_grad(params))))
        params, state = rule.step(params, state, oracle)
    named = dict(module.named_parameters())
    before = torch_rules.read(optimizer, named, land.layout)
    assert before.scale is None  # an adaptive rule has no preconditioner before its first step
    trained(module, optimizer, 5)
    reading = torch_rules.read(optimizer, named, land.layout)
    assert reading.lr == settings["lr"]
    if rule.preconditions:
        assert reading.threshold == pytest.approx(float(rule.preconditioned_threshold()))
        torch.testing.assert_close(reading.scale.double(), rule.preconditioner(state).rsqrt(), rtol=1e-5, atol=0)
        assert torch_rules.divides(optimizer)
    else:
        assert reading.threshold == pytest.approx(float(rule.stability_threshold()))
        assert reading.scale is None
    assert reading.text


def test_groups_and_parameters_that_nobody_moves():
    module = network()
    first, rest = list(module.parameters())[:2], list(module.parameters())[2:3]
    optimizer = SGD([{"params": first, "lr": 0.1}, {"params": rest, "lr": 0.4}], lr=0.1)
    land = from_module(module, nn.MSELoss(), (X.double(), Y.double()))
    reading = torch_rules.read(optimizer, dict(module.named_parameters()), land.layout)
    assert reading.threshold == pytest.approx(20)
    named = land.layout.unpack(reading.scale)
    assert float(named["0.weight"].min()) == 1
    assert float(named["2.weight"].min()) == 2  # the square root of four times the step size
    assert float(named["2.bias"].max()) == 0


class Bowl(nn.Module):
    """v'Av / 2 for its two parameters together, with A of dense curvature."""

    def __init__(self):
        super().__init__()
        self.one = nn.Parameter(torch.tensor([1.0, -0.5], dtype=torch.float64))
        self.two = nn.Parameter(torch.tensor([0.3, 0.7, 0.2], dtype=torch.float64))
        root = torch.randn(5, 5, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
        self.register_buffer("curvature", root @ root.T)

    def forward(self, inputs):
        point = torch.cat([self.one, self.two])
        return (0.5 * point @ self.curvature @ point).expand(len(inputs))


@pytest.mark.parametrize("shared", [{}, {"momentum": 0.8}, {"momentum": 0.8, "nesterov": True}], ids=str)
@pytest.mark.parametrize("decays", [(0.0, 0.0), (0.5, 2.0)])
def test_where_groups_differ_the_threshold_is_where_torch_begins_to_diverge(shared, decays, tmp_path):
    def at(lr):
        bowl = Bowl()
        groups = [{"params": [bowl.one], "lr": lr, "weight_decay": decays[0]},
                  {"params": [bowl.two], "lr": 4 * lr, "weight_decay": decays[1]}]  # fmt: skip
        return bowl, SGD(groups, **shared)

    def ratio(bowl, optimizer):
        probe = ravine.watch(bowl, lambda out, y: out.mean(), (torch.zeros(2), torch.zeros(2)), optimizer, every=1,
                             to=tmp_path / "run.ravine", budget=None)  # fmt: skip
        step(bowl, optimizer)
        probe.step()
        log = ravine.read_log(tmp_path / "run.ravine")
        assert not any("threshold" in note for note in log.notes)
        return float(log.fields["preconditioned_sharpness"][0] / log.fields["threshold"][0])

    largest = 0.01 / ratio(*at(0.01))  # the ratio is proportional to the step size, whatever the momentum
    for share, grows in ((0.98, False), (1.02, True)):
        bowl, optimizer = at(share * largest)
        for _ in range(300):
            optimizer.zero_grad()
            bowl(torch.zeros(1)).sum().backward()
            optimizer.step()
        assert (float(bowl.one.detach().norm() + bowl.two.detach().norm()) > 1.0) == grows


LONG = 1e15  # steps: the corrections for the start at zero are gone
FOREVER = 1 - 1e-12  # a memory that changes nothing within a test
DECAYED = [
    (torch.optim.Adam, {"amsgrad": True, "weight_decay": 0.7}, {"max_exp_avg_sq": 2.0}),
    (torch.optim.AdamW, {"amsgrad": True, "weight_decay": 3.0}, {"max_exp_avg_sq": 2.0}),
    (torch.optim.AdamW, {"amsgrad": True, "betas": (0.5, 0.999), "weight_decay": 0.7}, {"max_exp_avg_sq": 2.0}),
    (torch.optim.NAdam, {"betas": (0.9, FOREVER), "weight_decay": 0.7}, {"exp_avg_sq": 2.0}),
    (torch.optim.Adamax, {"betas": (0.8, FOREVER), "weight_decay": 0.7}, {"exp_inf": 1.0}),
    (torch.optim.RMSprop, {"alpha": 1.0, "momentum": 0.5, "weight_decay": 0.7}, {"square_avg": 2.0}),
    (torch.optim.Adagrad, {"weight_decay": 0.7}, {"sum": 2.0}),
    (torch.optim.Adadelta, {"rho": 1.0, "weight_decay": 0.7}, {"square_avg": 2.0}),
]  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "settings", "powers"), DECAYED, ids=[f"{one[0].__name__}-{i}" for i, one in enumerate(DECAYED)]
)
def test_with_weight_decay_the_threshold_is_where_torch_begins_to_diverge_once_the_divisor_stands(
    kind, settings, powers
):
    """The divisor is large and differs from weight to weight, and the settings hold it where it is."""
    divisors = {"one": torch.tensor([1.0, 3.0]), "two": torch.tensor([2.0, 0.5, 8.0])}

    def begun(lr):
        bowl = Bowl()
        optimizer = kind(bowl.parameters(), lr=lr, **settings)
        step(bowl, optimizer)  # makes the state
        for name, one in bowl.named_parameters():
            one.data.fill_(1e-6)
            for key, value in optimizer.state[one].items():
                optimizer.state[one][key] = torch.full_like(value, LONG) if key == "step" else 0.0 * value
            for key, power in powers.items():
                optimizer.state[one][key] = divisors[name].double() ** power
        return bowl, optimizer

    def ratio(lr):
        bowl, optimizer = begun(lr)
        named = dict(bowl.named_parameters())
        reading = torch_rules.read(optimizer, named, Layout.of((name, tuple(one.shape)) for name, one in named.items()))
        scale = reading.scale.double()
        decay = torch.zeros(5) if reading.decay is None else reading.decay.double()
        felt = scale[:, None] * (bowl.curvature + torch.diag(decay)) * scale
        return float(torch.linalg.eigvalsh(felt)[-1]) / reading.threshold

    low, high = 1e-3, 1e3
    for _ in range(40):
        middle = (low * high) ** 0.5
        low, high = (middle, high) if 0 < ratio(middle) < 1 else (low, middle)
    for share, grows in ((0.98, False), (1.02, True)):
        bowl, optimizer = begun(share * low)
        sizes = []
        for _ in range(250):
            step(bowl, optimizer)
            sizes.append(max(float(one.detach().abs().max()) for one in bowl.parameters()))
        assert (max(sizes) > 1e-4) == grows


def step(bowl, optimizer):
    optimizer.zero_grad()
    bowl(torch.zeros(1)).sum().backward()
    optimizer.step()


def test_another_step_is_another_rule():
    class Signed(torch.optim.Adam):
        def step(self, closure=None):
            for group in self.param_groups:
                for one in group["params"]:
                    one.data -= group["lr"] * one.grad.sign()

    class Renamed(torch.optim.Adam):
        """The same rule under another name."""

    module = network()
    named, land = dict(module.named_parameters()), from_module(module, nn.MSELoss(), (X.double(), Y.double()))
    signed, renamed, patched = Signed(named.values()), Renamed(named.values()), Renamed(named.values())
    torch.optim.lr_scheduler.LambdaLR(renamed, lambda epoch: 1.0)  # wraps the step, which stays the rule that it was
    patched.step = lambda: None
    for optimizer in (signed, patched):
        reading = torch_rules.read(optimizer, named, land.layout)
        assert (reading.threshold, torch_rules.follows(optimizer)) == (None, None)
        assert "its step is not that of Adam" in reading.note
    trained(module, renamed, 1)
    assert torch_rules.read(renamed, named, land.layout).threshold == pytest.approx(2 * 1.9 / (1e-3 * 0.1))


class Odd(torch.optim.Optimizer):
    """It has no step size of its own."""

    def __init__(self, params, **defaults):
        super().__init__(params, defaults)

    @torch.no_grad()
    def step(self, closure=None):
        for one in self.param_groups[0]["params"]:
            one -= 0.01 * one.grad


@pytest.mark.parametrize("defaults", [{}, {"lr": None}, {"learning_rate": 0.1}])
def test_an_optimizer_without_a_step_size_is_read(defaults):
    module = network()
    named, land = dict(module.named_parameters()), from_module(module, nn.MSELoss(), (X.double(), Y.double()))
    reading = torch_rules.read(Odd(named.values(), **defaults), named, land.layout)
    assert (reading.lr, reading.threshold) == (None, None)
    assert reading.note == "No stability threshold is known for Odd."


def test_groups_of_different_momentum_have_no_one_threshold():
    module = network()
    land = from_module(module, nn.MSELoss(), (X.double(), Y.double()))
    first, rest = list(module.parameters())[:2], list(module.parameters())[2:]
    named = dict(module.named_parameters())

    def reading(kind, one, two):
        return torch_rules.read(kind([{"params": first, **one}, {"params": rest, **two}], lr=0.1), named, land.layout)

    mixed = reading(SGD, {"momentum": 0.9}, {"momentum": 0.0})
    assert mixed.threshold is None
    assert mixed.note == "The groups of SGD differ in momentum or damping: no one stability threshold holds for them."
    assert reading(torch.optim.Adam, {"betas": (0.9, 0.99)}, {"betas": (0.8, 0.99)}).threshold is None
    assert reading(torch.optim.Adam, {"betas": (0.9, 0.99)}, {"betas": (0.9, 0.9)}).threshold == pytest.approx(380)
    assert reading(SGD, {"lr": 0.0}, {"lr": 0.5}).threshold == pytest.approx(4)  # the first that moves
    assert reading(SGD, {"maximize": True}, {"lr": 0.5}).threshold is None


def test_an_optimizer_of_ones_own_can_be_declared(monkeypatch):
    class Half(torch.optim.Optimizer):
        def __init__(self, params):
            super().__init__(params, {"lr": 0.1})

        @torch.no_grad()
        def step(self):
            for one in self.param_groups[0]["params"]:
                self.state[one]["divisor"] = torch.full_like(one, 2.0)
                one -= 0.05 * one.grad

    module = network()
    optimizer = Half(module.parameters())
    land = from_module(module, nn.MSELoss(), (X.double(), Y.double()))
    trained(module, optimizer, 1)
    unknown = torch_rules.read(optimizer, dict(module.named_parameters()), land.layout)
    assert (unknown.threshold, unknown.scale, torch_rules.follows(optimizer)) == (None, None, None)
    declared = torch_rules.Known(
        lambda group: OPTIMIZERS["adagrad"](lr=group["lr"]), lambda group, state: state["divisor"]
    )
    monkeypatch.setitem(torch_rules.KNOWN, Half, declared)
    known = torch_rules.read(optimizer, dict(module.named_parameters()), land.layout)
    assert known.threshold == pytest.approx(20)
    torch.testing.assert_close(known.scale, torch.full((land.dim,), 0.5**0.5, dtype=torch.float64))


# ------------------------------------------------------------------ watching


def test_what_is_logged_is_what_the_run_did(tmp_path):
    module, records = network(), []
    optimizer = torch.optim.Adam(module.parameters(), lr=0.02)
    loss_fn, data = nn.MSELoss(), (X.double(), Y.double())
    probe = ravine.watch(
        module, loss_fn, data, optimizer, every=4, to=tmp_path / "run.ravine", budget=None, callback=records.append
    )
    trained(module, optimizer, 7, probe)
    before = torch.cat([one.detach().flatten() for one in module.parameters()])
    trained(module, optimizer, 1, probe)
    log = ravine.read_log(tmp_path / "run.ravine")
    assert log.step.tolist() == [0, 4, 8]
    assert [record["ravine/step"] for record in records] == [0, 4, 8]
    land = from_module(module, loss_fn, data)
    params = torch.cat([one.detach().flatten() for one in module.parameters()])
    update = params - before
    hessian = torch.stack([land.hvp(params, unit) for unit in torch.eye(land.dim, dtype=torch.float64)])
    last = {name: values[-1] for name, values in log.fields.items()}
    assert last["loss"] == pytest.approx(float(land.loss(params)))
    assert last["grad_norm"] == pytest.approx(float(land.grad(params).norm()))
    assert last["update_norm"] == pytest.approx(float(update.norm()))
    assert last["directional_sharpness"] == pytest.approx(float(update @ hessian @ update / (update @ update)))
    assert last["sharpness"] == pytest.approx(float(torch.linalg.eigvalsh(hessian)[-1]), rel=1e-3)
    scale = torch_rules.read(optimizer, dict(module.named_parameters()), land.layout).scale.double()
    expected = torch.linalg.eigvalsh(scale[:, None] * hessian * scale)[-1]
    assert last["preconditioned_sharpness"] == pytest.approx(float(expected), rel=1e-3)
    assert last["threshold"] == pytest.approx(2 * 1.9 / (0.02 * 0.1))
    assert last["lr"] == 0.02
    assert log.header["optimizer"] == "Adam"
    assert log.scaled
    np.testing.assert_array_equal(log.felt, log.fields["preconditioned_sharpness"])


def test_the_first_look_is_at_few_samples_and_says_so(tmp_path):
    module = network()
    optimizer = SGD(module.parameters(), lr=1e-9)  # stays where it is
    inputs = torch.linspace(-1, 2, 300, dtype=torch.float64)[:, None]
    data = (inputs, torch.sin(3 * inputs))
    probe = ravine.watch(module, nn.MSELoss(), data, optimizer, every=1, to=tmp_path / "a.ravine", budget=1e9)
    trained(module, optimizer, 2, probe)
    log = ravine.read_log(tmp_path / "a.ravine")
    assert log.fields["curvature_samples"].tolist() == [128, 300, 300]
    params = {name: one.detach() for name, one in module.named_parameters()}
    # A residual of a tenth bounds the first eigenvalue to a tenth; it is of the second order, as the later ones are.
    for count, seen, error in zip((128, 300, 300), log.fields["sharpness"], (0.03, 1e-3, 1e-3), strict=True):

        def loss(*values, count=count):
            outputs = torch.func.functional_call(module, dict(zip(params, values, strict=True)), inputs[:count])
            return nn.functional.mse_loss(outputs, data[1][:count])

        blocks = torch.autograd.functional.hessian(loss, tuple(params.values()))
        sizes = [one.numel() for one in params.values()]
        whole = torch.cat([
            torch.cat([block.reshape(rows, columns) for block, columns in zip(row, sizes, strict=True)], 1)
            for row, rows in zip(blocks, sizes, strict=True)
        ])  # fmt: skip
        assert seen == pytest.approx(float(torch.linalg.eigvalsh(whole)[-1]), rel=error)
    whole_loss = float(nn.functional.mse_loss(module(inputs), data[1]).detach())
    np.testing.assert_allclose(log.fields["loss"], whole_loss, rtol=1e-6)


def test_the_run_is_the_same_with_and_without_watching(tmp_path):
    alone, watched = network(torch.float32), network(torch.float32)
    trained(alone, SGD(alone.parameters(), lr=0.05, momentum=0.9), 9)
    optimizer = SGD(watched.parameters(), lr=0.05, momentum=0.9)
    state = torch.random.get_rng_state()
    probe = ravine.watch(watched, nn.MSELoss(), (X, Y), optimizer, every=2, to=tmp_path / "a.ravine", budget=None)
    trained(watched, optimizer, 9, probe)
    assert torch.equal(torch.random.get_rng_state(), state)
    for one, other in zip(alone.parameters(), watched.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_budget_bounds_what_watching_takes(tmp_path, monkeypatch):
    """By a clock of ours: a training step takes 1 s, a look at the curvature 5 s."""
    now = [0.0]
    monkeypatch.setattr(watching, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    module = network()
    optimizer = SGD(module.parameters(), lr=0.05)
    probe = ravine.watch(
        module, nn.MSELoss(), (X.double(), Y.double()), optimizer, every=2, to=tmp_path / "a.ravine", budget=0.1
    )
    look = probe._curvature

    def slow(*arguments):
        now[0] += 5.0
        record = look(*arguments)
        arguments[-1][:] = [1.0] * 3  # seconds of each product; the rest is counted as two more
        return record

    monkeypatch.setattr(probe, "_curvature", slow)
    for _ in range(200):
        now[0] += 1.0
        trained(module, optimizer, 1, probe)
    log = ravine.read_log(tmp_path / "a.ravine")
    measured = log.step[np.isfinite(log.fields["sharpness"])]
    assert len(log.step) == 101  # the cheap numbers at each
    # One at once; then 5 s for each 50 s of training, of which the first 50 pay for that one; a second of each is on top.
    assert measured.tolist() == [0, 92, 152]
    assert log.fields["cost"][-1] == pytest.approx(15 / 214, abs=1e-4)


def test_a_killed_run_leaves_a_readable_log(tmp_path):
    path = tmp_path / "run.ravine"
    source = f"""
import torch, ravine
from torch import nn
net = nn.Sequential(nn.Linear(1, 6), nn.Tanh(), nn.Linear(6, 1))
x = torch.linspace(-1, 1, 12)[:, None]
optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
probe = ravine.watch(net, nn.MSELoss(), (x, x), optimizer, every=1, to={str(path)!r}, budget=None)
step = 0
while True:
    optimizer.zero_grad(); nn.functional.mse_loss(net(x), x).backward(); optimizer.step(); probe.step()
    step += 1
    print(step, flush=True)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", source], stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}
    )
    for line in process.stdout:
        if int(line) >= 5:
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    log = ravine.read_log(path)
    assert log.damaged == 0
    assert log.step[:5].tolist() == [0, 1, 2, 3, 4]
    assert np.isfinite(log.fields["sharpness"]).all()


def test_batch_norm_and_dropout_are_measured_as_the_documentation_says(tmp_path):
    module = nn.Sequential(nn.Linear(1, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 1)).train()
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.01)
    running = module[1].running_mean.clone()
    probe = ravine.watch(module, nn.MSELoss(), (X, Y), optimizer, every=1, to=tmp_path / "a.ravine", budget=None)
    assert torch.equal(module[1].running_mean, running)
    assert all(layer.training for layer in module.modules())
    trained(module, optimizer, 2, probe)
    log = ravine.read_log(tmp_path / "a.ravine")
    assert np.isfinite(log.fields["preconditioned_sharpness"][1:]).all()  # at the start there is no divisor yet
    assert any("not the mean of its samples" in note for note in log.header["notes"])


def test_a_diverging_run_is_logged_to_its_end(tmp_path):
    module = network()
    optimizer = SGD(module.parameters(), lr=50.0)
    probe = ravine.watch(module, lambda out, y: (out - y).pow(4).mean(), (X.double(), Y.double()), optimizer, every=1,
                         to=tmp_path / "a.ravine", budget=None)  # fmt: skip
    for _ in range(8):
        optimizer.zero_grad()
        loss = (module(X.double()) - Y.double()).pow(4).mean()
        loss.backward()
        optimizer.step()
        probe.step(loss)
    log = ravine.read_log(tmp_path / "a.ravine")
    assert len(log.step) == 9
    assert np.isfinite(log.fields["sharpness"][0])  # the start is measured, whatever comes
    assert np.isinf(log.fields["train_loss"][-1])
    assert any("diverged" in sentence for sentence in log.sentences())


def test_a_file_that_is_no_log_is_never_overwritten(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("precious")
    module = network()
    optimizer = SGD(module.parameters(), lr=0.1)
    with pytest.raises(ValueError, match="is there already and is no log"):
        ravine.watch(module, nn.MSELoss(), (X.double(), Y.double()), optimizer, to=path)
    assert path.read_text() == "precious"
    for _ in range(2):  # a log is replaced: the run began again
        ravine.watch(module, nn.MSELoss(), (X.double(), Y.double()), optimizer, to=tmp_path / "a.ravine")


def test_a_full_disk_ends_the_log_and_not_the_run(tmp_path, monkeypatch):
    module = network()
    optimizer = SGD(module.parameters(), lr=0.1)
    probe = ravine.watch(module, nn.MSELoss(), (X.double(), Y.double()), optimizer, every=1, to=tmp_path / "a.ravine")

    class Full:
        def write(self, *_):
            raise OSError("no space left on device")

    monkeypatch.setattr(probe._writer, "_file", Full())
    with pytest.warns(RuntimeWarning, match="no space left"):
        trained(module, optimizer, 1, probe)
    trained(module, optimizer, 1, probe)


@pytest.mark.parametrize(
    ("change", "error", "sentence"),
    [
        ({"every": 0}, ValueError, "every = 0"),
        ({"samples": True}, ValueError, "samples = True"),
        ({"budget": -1.0}, ValueError, "budget = -1.0"),
        ({"callback": 3}, TypeError, "callback must be callable"),
        ({"optimizer": "adam"}, TypeError, "must be a torch.optim.Optimizer"),
        ({"data": 3}, TypeError, "data is a int"),
    ],
)
def test_what_does_not_fit_gets_a_sentence(change, error, sentence, tmp_path):
    module = network()
    values = {
        "model": module,
        "loss_fn": nn.MSELoss(),
        "data": (X.double(), Y.double()),
        "optimizer": SGD(module.parameters(), lr=0.1),
    }
    with pytest.raises(error, match=sentence):
        ravine.watch(**(values | {"to": tmp_path / "a.ravine"} | change))


# ------------------------------------------------------------------ reading what may be anything

HEADER = written(
    {"ravine": 1, "optimizer": "SGD", "threshold": "2/η", "scaled": False, "samples": 12, "notes": ["one"]}
)


def test_a_cut_line_and_a_damaged_one_do_not_hide_the_rest():
    lines = (
        HEADER
        + written({"step": 1, "loss": 2.0})
        + "{nonsense}\n"
        + written({"step": 2, "loss": float("nan")})
        + '{"step": 3, "lo'
    )
    log = parsed(lines.encode())
    assert log.step.tolist() == [1, 2]
    assert log.damaged == 1
    assert log.fields["loss"].tolist() == [2.0, float("inf")]
    assert np.isnan(log.fields["sharpness"]).all()
    assert set(log.fields) == set(FIELDS)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"PK\x03\x04",
        b"\x80\x04\x95",
        b"[]\n",
        b"{}\n",
        b'{"ravine": 2}\n',
        b"\xff\xfe\n",
        b"[" * 5000,
        b'{"ravine": true}',
    ],
)
def test_what_is_no_log_gets_a_sentence(data):
    with pytest.raises(ValueError, match="not a log of ravine.watch"):
        parsed(data)


@pytest.mark.parametrize(
    "line",
    [
        '{"step": -1}', '{"step": 1e5}', '{"step": true}', '{"step": "1"}', "[1]", '{"step": 99999999999999999999}', '"x"',
        '{"step": 1, "x": "' + "y" * 20_000 + '"}', '{"step": 1' + "0" * 9_000 + "}",
    ],
)  # fmt: skip
def test_hostile_records_are_counted_and_left_out(line):
    log = parsed((HEADER + line + "\n").encode())
    assert (len(log.step), log.damaged) == (0, 1)
    assert log.findings() == ["Nothing has been measured yet."]


def test_hostile_values_become_gaps():
    record = {
        "step": 1,
        "loss": [1],
        "sharpness": {"a": 1},
        "lr": True,
        "time": "soon",
        "unknown": 1,
        "threshold": 10**400,
    }
    log = parsed((HEADER + json.dumps(record) + "\n").encode())
    assert log.step.tolist() == [1]
    assert np.isinf(log.fields["threshold"][0])
    assert all(np.isnan(log.fields[name][0]) for name in ("loss", "sharpness", "lr", "time"))
    noisy = parsed(b'{"ravine": 1, "notes": 3, "model": 4, "every": -1, "samples": "x"}\n')
    assert noisy.header == {"notes": []}


def log_of(sharpness, threshold=10.0):
    return parsed((HEADER + "".join(
        written({"step": step, "sharpness": float(value), "threshold": threshold, "loss": 1.0, "update_norm": 0.1, "cost": 0.05})
        for step, value in enumerate(sharpness, start=1)
    )).encode())  # fmt: skip


@pytest.mark.parametrize(
    ("sharpness", "said"),
    [
        ([1, 2, 3, 4, 4], "it stayed below the threshold at all 5 measurements"),
        ([5, 9, 10.8, 10.4, 10.2, 10.1, 9.9], "it reached the threshold at step 3 and hovers there"),
        ([5, 20, 40, 60], "expect divergence"),
    ],
)
def test_sentences_and_figure(sharpness, said):
    log = log_of(sharpness)
    assert said in " ".join(log.sentences())
    names = [trace.name for trace in log.figure().data]
    assert "sharpness λ" in names
    assert any("2/η" in name for name in names)
    drawn = next(trace for trace in log.figure().data if trace.name == "sharpness λ")
    np.testing.assert_allclose(drawn.y, sharpness)


def test_an_empty_log_can_be_drawn():
    assert len(parsed(HEADER.encode()).figure().data) == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        log_of([]).figure()


def test_missing_files(tmp_path):
    with pytest.raises(OSError, match="nothing.ravine"):
        ravine.read_log(Path(tmp_path / "nothing.ravine"))
