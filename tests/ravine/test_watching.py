"""Watching a torch training loop: the numbers against dense Hessians, the time it takes, and a run that is killed."""

import os
import signal
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

import ravine
from landscapes import ModuleLandscape, eigenpairs, from_module
from ravine import torch_rules, watching
from ravine.pace import Pace
from tests.ravine.training import X, Y, network, trained

SGD = torch.optim.SGD


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
    assert [record["step"] for record in records] == [0, 4, 8]
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


def normalized(dtype=torch.float64):
    with torch.random.fork_rng():
        torch.manual_seed(2)
        layers = [nn.Linear(1, 6), nn.BatchNorm1d(6, track_running_stats=False), nn.Tanh(), nn.Linear(6, 1)]
        return nn.Sequential(*layers).to(dtype)


@pytest.mark.parametrize("make", [network, normalized])
def test_the_first_look_is_at_few_samples_and_says_so(make, tmp_path):
    """With batch norm in training mode, too, where they are a batch of their own."""
    module = make()
    optimizer = SGD(module.parameters(), lr=1e-9)  # stays where it is
    inputs = torch.linspace(-1, 2, 300, dtype=torch.float64)[:, None]
    targets = torch.sin(3 * inputs)
    probe = ravine.watch(
        module, nn.MSELoss(), (inputs, targets), optimizer, every=1, to=tmp_path / "a.ravine", budget=1e9
    )
    trained(module, optimizer, 2, probe)
    log = ravine.read_log(tmp_path / "a.ravine")
    assert log.fields["curvature_samples"].tolist() == [128, 300, 300]
    assert "Measured 3 times, from step 0 to step 2 of 2 (the first time on 128 of 300 samples)" in log.sentences()[1]
    params = {name: one.detach() for name, one in module.named_parameters()}
    spread = torch.arange(128) * 300 // 128
    # A residual of a tenth bounds the first eigenvalue to a tenth; it is of the second order, as the later ones are.
    for picked, seen, error in zip(
        (spread, slice(None), slice(None)), log.fields["sharpness"], (0.03, 1e-3, 1e-3), strict=True
    ):

        def loss(*values, picked=picked):
            outputs = torch.func.functional_call(module, dict(zip(params, values, strict=True)), inputs[picked])
            return nn.functional.mse_loss(outputs, targets[picked])

        blocks = torch.autograd.functional.hessian(loss, tuple(params.values()))
        sizes = [one.numel() for one in params.values()]
        whole = torch.cat([
            torch.cat([block.reshape(rows, columns) for block, columns in zip(row, sizes, strict=True)], 1)
            for row, rows in zip(blocks, sizes, strict=True)
        ])  # fmt: skip
        assert seen == pytest.approx(float(torch.linalg.eigvalsh(whole)[-1]), rel=error)
    whole_loss = float(nn.functional.mse_loss(module(inputs), targets).detach())
    np.testing.assert_allclose(log.fields["loss"], whole_loss, rtol=1e-6)


def test_a_loss_that_is_no_mean_is_never_looked_at_in_part(tmp_path):
    """Of the five largest errors among 128 samples the curvature says nothing about that of five among 300."""
    module = network()
    optimizer = SGD(module.parameters(), lr=1e-9)
    inputs = torch.linspace(-1, 2, 300, dtype=torch.float64)[:, None]

    def worst(outputs, targets):
        return (outputs - targets).square().flatten().topk(5).values.mean()

    probe = ravine.watch(
        module, worst, (inputs, torch.sin(3 * inputs)), optimizer, every=1, to=tmp_path / "a.ravine", budget=1e9
    )
    trained(module, optimizer, 1, probe)
    assert ravine.read_log(probe.to).fields["curvature_samples"].tolist() == [300, 300]


def test_an_eigenvalue_that_is_not_proved_to_be_the_largest_is_not_logged(tmp_path, monkeypatch):
    def unsure(*args, **options):
        pairs = eigenpairs(*args, **options)
        return pairs._replace(reached=torch.zeros_like(pairs.reached))

    monkeypatch.setattr(watching, "eigenpairs", unsure)
    module = network()
    optimizer = torch.optim.Adam(module.parameters(), lr=0.02)
    probe = ravine.watch(module, nn.MSELoss(), (X, Y), optimizer, every=2, to=tmp_path / "a.ravine", budget=None)
    trained(module, optimizer, 4, probe)
    log = ravine.read_log(tmp_path / "a.ravine")
    assert np.isfinite(log.fields["loss"]).all()
    assert np.isnan(log.felt).all()
    assert np.isnan(log.fields["sharpness"]).all()
    assert not any("times the threshold" in sentence for sentence in log.sentences())


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
    assert measured.tolist() == [0, 106, 152]
    assert log.fields["cost"][-1] == pytest.approx(15 / 214, abs=1e-4)


def test_the_budget_holds_for_the_first_look_too(tmp_path, monkeypatch):
    """By a clock of ours: a training step takes 1 s, a gradient of the watched data 0.01 s a sample, a look 5 s."""
    now = [0.0]
    monkeypatch.setattr(watching, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    module = network()
    optimizer = SGD(module.parameters(), lr=0.05)
    probe = ravine.watch(
        module, nn.MSELoss(), (X.double(), Y.double()), optimizer, every=5, to=tmp_path / "a.ravine", budget=0.1
    )
    look, gradient = probe._curvature, ModuleLandscape.value_and_grad

    def slow(self, params, batch=None):
        now[0] += 0.01 * (12 if batch is None else len(batch))
        return gradient(self, params, batch)

    def slower(*arguments):
        began = now[0]
        record = look(*arguments)
        now[0] = began + 5.0
        arguments[-1][:] = [0.25] * 18  # seconds of each product
        return record

    monkeypatch.setattr(ModuleLandscape, "value_and_grad", slow)
    monkeypatch.setattr(probe, "_curvature", slower)
    for step in range(200):
        now[0] += 1.0
        trained(module, optimizer, 1, probe)
        if step == 60:
            early = ravine.read_log(probe.to)
        assert probe._spent <= 0.1 * step + 1.0 + 0.01
    # 65 gradients of 12 samples, by one of eight, are 7.8 s, of which one is given: the others are a tenth of 70 s.
    assert early.remarks == (
        "Step 0: The first look at the curvature is put off: it takes about 7.8 s, which 10 % of the time (budget) have paid for "
        "after about 70 s of training.",
    )
    assert early.findings()[0] == "13 steps logged, up to step 60; the sharpness was not measured so far."
    log = ravine.read_log(probe.to)
    measured = log.step[np.isfinite(log.fields["sharpness"])]
    assert measured.tolist() == [75, 130, 155]  # the second is expected to take longer


@pytest.mark.parametrize(
    ("fixed", "each", "count", "expected"), [(0.0, 1e-3, 128, 8.32), (4e-3, 1e-6, 128, 0.27), (0.0, 1.0, 1, 65.0)]
)
def test_what_the_first_look_takes_is_guessed_from_gradients_of_few_samples(fixed, each, count, expected):
    pace, tried = Pace(0.1, 1), []

    def gradient(samples):
        tried.append(fixed + each * samples)
        return tried[-1] + (0.05 if len(tried) == 1 and fixed else 0.0)  # what is prepared at the first time

    pace.guess(gradient, count)
    assert pace.expected == pytest.approx(expected, rel=0.05)
    assert sum(tried) <= max(0.2, each * count)
    assert pace.wait(0.0) == pytest.approx(max(0.0, (pace.expected - 1) / 0.1))
    assert pace.affords(0, 0.0, 0.0) == (expected <= 1)


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


def started(path, **options):
    module = network()
    optimizer = SGD(module.parameters(), lr=0.1)
    return (
        module,
        optimizer,
        ravine.watch(module, nn.MSELoss(), (X.double(), Y.double()), optimizer, to=path, **options),
    )


def test_a_file_that_is_no_log_is_never_overwritten(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("precious")
    with pytest.raises(ValueError, match="is there already and is no log"):
        started(path)
    assert path.read_text() == "precious"


def test_a_log_that_is_there_is_kept_and_who_writes_to_it_goes_on(tmp_path):
    path = tmp_path / "run.ravine"
    runs = [started(path, every=1) for _ in range(3)]
    for number, (module, optimizer, probe) in enumerate(runs):
        trained(module, optimizer, number + 1, probe)
    kept = {one.name: len(ravine.read_log(one).step) for one in tmp_path.iterdir()}
    assert kept == {"run-1.ravine": 2, "run-2.ravine": 3, "run.ravine": 4}
    assert "The log that was here before is run-2.ravine." in ravine.read_log(path).notes
    path.write_bytes(b"")  # nothing is lost with an empty one
    started(path)
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize(("place", "why"), [(".", "a folder itself"), ("none/run.ravine", "is not there")])
def test_where_no_log_can_be_gets_a_sentence(place, why, tmp_path):
    with pytest.raises(ValueError, match=why):
        started(tmp_path / place)


def test_names_in_the_callback_have_a_prefix(tmp_path):
    records = []
    module, optimizer, probe = started(tmp_path / "a.ravine", every=1, callback=records.append, prefix="val/")
    trained(module, optimizer, 1, probe)
    assert {"val/step", "val/loss", "val/sharpness", "val/threshold"} <= set(records[0])
    assert all(name.startswith("val/") for record in records for name in record)


def looks(pace, steps, every, step_seconds, price):
    """The steps of a run at which it is looked, by a clock of ours."""
    taken, spent = [], 0.0
    for step in range(0, steps + 1, every):
        if pace.affords(step, step * step_seconds, spent):
            if pace.first:
                pace.began(step, 10 * price, [price / 10] * 8, 1.0)  # nine tenths are what torch does once
                spent += 10 * price
            else:
                pace.took(step, price)
                spent += price
            taken.append(step)
    return taken, spent


@pytest.mark.parametrize("price", [0.02, 0.05, 0.2])
def test_a_long_run_is_looked_at_over_its_whole_length(price):
    taken, spent = looks(Pace(0.08, 20), 4000, 20, 1e-3, price)
    assert len(taken) >= 5
    assert taken[:2] == [0, 20]
    assert taken[-1] >= 0.5 * 4000
    assert spent <= 0.08 * 4.0 + 1.0 + 10 * price + 1e-9


def test_a_look_that_was_interrupted_does_not_bar_all_later_ones():
    pace = Pace(0.1, 1)
    pace.began(0, 0.1, [0.01] * 8, 1.0)
    for step in (1, 2, 3):
        pace.took(step, 0.1)
    pace.took(4, 1000.0)
    assert pace.affords(10, trained=20.0, spent=1.0)


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
        ({"clip": 0.0}, ValueError, "clip = 0.0"),
        ({"prefix": 3}, TypeError, "prefix is a int"),
        ({"model": {"backbone": nn.Linear(1, 1)}}, TypeError, "model is a dictionary: one module is watched"),
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
