"""What torch's optimizers are stable against: against our own rules, and where torch itself begins to diverge."""

import pytest
import torch
from torch import nn

import ravine
from landscapes import Layout, from_module
from optimizers import OPTIMIZERS, Evaluation, Oracle
from ravine import torch_rules
from tests.ravine.training import X, Y, network, trained

SGD = torch.optim.SGD

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
