"""Modules with memory, with wrappers, with tensors of the graph, and losses that know the module: right, or refused with the remedy."""

import copy
import tempfile
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product

import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import prune

from landscapes import sharpness
from landscapes.selfcheck import Way
from tests.landscapes.test_execution import (
    DTYPES,
    MSE,
    Function,
    X,
    Y,
    assert_same_landscape,
    by_differences,
    elsewhere,
    first_part,
    parts,
    quiet,
    randn,
    seeded,
    whole,
)
from tests.sampling import sampled


def plain():
    return Function(whole, **parts())


def assert_true_gradient(land):
    """Truncation of the differences, squared reach, and rounding over the reach."""
    params = elsewhere(land)
    torch.testing.assert_close(land.grad(params), by_differences(land, params), rtol=1e-7, atol=1e-8)


# ---------------------------------------------------------------- memory


class Remembering(nn.Module):
    """Adds to its hidden units what `update(module, hidden)` makes of earlier calls."""

    def __init__(self, update, **state):
        super().__init__()
        for name, part in parts().items():
            setattr(self, name, part)
        self.update = update
        for name, one in state.items():
            setattr(self, name, one)

    def forward(self, x):
        return self.c(self.update(self, first_part(self, x)))


def membrane(m, hidden):
    m.mem = 0.9 * (m.mem.detach() if isinstance(m.mem, torch.Tensor) else m.mem) + hidden
    return m.mem


def membrane_in_place(m, hidden):
    m.mem.mul_(0.9).add_(hidden.detach().mean())
    return hidden + m.mem


def counting(m, hidden):
    m.calls += 1
    return hidden * (1.0 if m.calls == 1 else 2.0)


def listing(m, hidden):
    m.seen.append(len(m.seen))
    return hidden * (1.0 if len(m.seen) == 1 else 2.0)


def cached(m, hidden):
    if m.cache is None:
        m.cache = m.b.weight.tanh()
    return hidden @ m.cache[:, :3]


def generating(m, hidden):
    return hidden + torch.randn(hidden.shape, generator=m.generator).to(hidden)


class Steps:
    def __init__(self):
        self.count = 0


def counting_elsewhere(m, hidden):
    m.steps.count += 1
    return hidden * (1.0 if m.steps.count < 100 else 2.0)


MEMORIES = {
    "counter in an object": lambda: Remembering(counting_elsewhere, steps=Steps()),
    "membrane": lambda: Remembering(membrane, mem=0.0),
    "membrane, in place": lambda: Remembering(membrane_in_place, mem=torch.zeros(3)),
    "counter": lambda: Remembering(counting, calls=0),
    "list": lambda: Remembering(listing, seen=[]),
    "deque": lambda: Remembering(listing, seen=deque(maxlen=5)),
    "cache of weights": lambda: Remembering(cached, cache=None),
    "generator": lambda: Remembering(generating, generator=torch.Generator().manual_seed(3)),
}


@pytest.mark.parametrize(("name", "dtype"), sampled(product(MEMORIES, DTYPES), 6))
def test_a_module_with_memory_starts_anew_at_each_evaluation(name, dtype):
    module = seeded(MEMORIES[name])
    fresh = copy.deepcopy(module).to(dtype)
    land = quiet(module)
    assert any("earlier calls" in note or "works on a copy" in note for note in land.notes)
    params = land.start()[0].to(dtype)
    looks = [land.loss(params) for _ in range(6)]
    expected = MSE(fresh(X.to(dtype)), Y.to(dtype)).detach()
    assert all(torch.equal(look, looks[0]) for look in looks)
    torch.testing.assert_close(looks[0], expected)
    tops = [float(sharpness(land, params)[0]) for _ in range(3)]
    assert tops[0] == tops[1] == tops[2]
    if name == "membrane":  # from nothing, its first call has no memory
        assert_same_landscape(land, quiet(plain()), dtype)


@pytest.mark.parametrize("name", ["membrane", "counter", "list", "deque", "cache of weights", "generator"])
def test_gradients_of_a_module_with_memory_are_those_of_its_loss(name):
    assert_true_gradient(quiet(seeded(MEMORIES[name])))


def test_the_module_that_was_given_remembers_nothing_of_a_landscape():
    module = MEMORIES["counter"]()
    quiet(module)
    assert module.calls == 0


def test_what_remembers_outside_the_module_is_refused():
    calls = []

    def annealed(outputs, targets):
        calls.append(0)
        return MSE(outputs, targets) * len(calls)

    with pytest.raises(ValueError, match="earlier calls, or it draws from a generator of its own. Let each call"):
        quiet(plain(), annealed)
    generator = torch.Generator().manual_seed(3)
    noisy = Function(lambda m, x: whole(m, x) + torch.randn(len(x), 2, generator=generator).to(x), **parts())
    with pytest.raises(ValueError, match="is .* at one call and .* at the next"):
        quiet(noisy)


# ---------------------------------------------------------------- parameters that a call does not exchange


def listed():
    module = Function(lambda m, x: whole(m, x) + sum(one.square().sum() for one in m.all), **parts())
    module.all = list(module.parameters())
    return module


def knowing_itself():
    module = Function(lambda m, x: m.c(m.inner(x)), **parts())
    module.inner = lambda x: first_part(module, x)
    return module


class Recomputing(torch.autograd.Function):
    """A checkpoint written by hand, as in diffusion models: the backward pass calls the function again."""

    @staticmethod
    def forward(ctx, function, x, *parameters):
        ctx.function = function
        ctx.save_for_backward(x, *parameters)
        with torch.no_grad():
            return function(x)

    @staticmethod
    def backward(ctx, grad):
        x, *parameters = ctx.saved_tensors
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            outputs = ctx.function(x)
        return (None, *torch.autograd.grad(outputs, (x, *parameters), grad))


def recomputing():
    return Function(
        lambda m, x: m.c(Recomputing.apply(partial(first_part, m), x, *m.a.parameters(), *m.b.parameters())), **parts()
    )


@pytest.mark.parametrize("make", [listed, knowing_itself, recomputing])
def test_parameters_that_a_module_keeps_or_asks_for_again_are_those_of_the_call(make):
    land = quiet(make())
    assert_true_gradient(land)
    if make is not listed:
        truth, params = quiet(plain()), elsewhere(land)
        torch.testing.assert_close(land.loss(params), truth.loss(params))
        vector = randn(land.dim, seed=8).double()  # by differences where a hand-written backward pass has no second one
        torch.testing.assert_close(land.hvp(params, vector), truth.hvp(params, vector), rtol=1e-6, atol=1e-8)


class Reversible(torch.autograd.Function):
    """A residual block that is computed again in the backward pass, which adds to .grad as reversible networks do."""

    @staticmethod
    def forward(ctx, x, function):
        ctx.function = function
        ctx.save_for_backward(x)
        with torch.no_grad():
            return x + function(x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        with torch.enable_grad():
            x = x.detach().requires_grad_(True)
            torch.autograd.backward(x + ctx.function(x), grad)
        return x.grad, None


def test_a_backward_pass_that_adds_to_gradients_by_itself_is_refused():
    block = Function(
        lambda m, x: m.c(Reversible.apply(torch.tanh(m.b(torch.tanh(m.a(x)))), m.d)), **parts(), d=nn.Linear(3, 3)
    )
    with pytest.raises(
        ValueError, match="adds to the gradients of its parameters by itself.*Let the module run without it"
    ):
        quiet(block)


# ---------------------------------------------------------------- derivatives in inputs


def slope(outputs, inputs):
    (derivative,) = torch.autograd.grad(outputs.sum(), inputs, create_graph=True)
    return (derivative - torch.cos(inputs)).square().mean()


def test_a_loss_that_differentiates_in_its_inputs_gets_them_or_says_how():
    inputs = torch.linspace(0, 1, 12)[:, None]
    module = seeded(lambda: nn.Sequential(nn.Linear(1, 4), nn.Tanh(), nn.Linear(4, 1)))
    with pytest.raises(ValueError, match=r"data = \(x, x\) with x.requires_grad_\(\)"):
        quiet(module, slope, (inputs, inputs))
    free = inputs.clone().requires_grad_()
    with pytest.raises(ValueError, match="has to find them in its targets"):
        quiet(module, lambda outputs, _: slope(outputs, free), (free, free))
    land = quiet(module, slope, (free, free))
    assert not any("require a gradient" in note for note in land.notes)
    assert_true_gradient(land)


# ---------------------------------------------------------------- tensors of the graph


def normed():
    module = plain()
    with pytest.warns(FutureWarning, match="weight_norm"):
        nn.utils.weight_norm(module.a)
    return module


def pruned():
    module = plain()
    prune.l1_unstructured(module.a, "weight", 0.5)
    return module


def keeping_its_output():
    def forward(m, x):
        m.last = whole(m, x)
        return m.last

    return Function(forward, **parts())


def truly(m, params, x):
    """The outputs of the first two by their formulas, from the module's own vector of parameters in its own order."""
    named = dict(zip([name for name, _ in m.named_parameters()], params, strict=True))
    if "a.weight_g" in named:
        v = named["a.weight_v"]
        weight = named["a.weight_g"] * v / v.norm(dim=1, keepdim=True)
    else:
        weight = named["a.weight_orig"] * m.a.weight_mask.double()
    hidden = torch.tanh(
        functional.linear(torch.tanh(functional.linear(x, weight, named["a.bias"])), named["b.weight"], named["b.bias"])
    )
    return functional.linear(hidden, named["c.weight"], named["c.bias"])


@pytest.mark.parametrize("make", [normed, pruned])
def test_weights_that_are_made_of_others_follow_them(make):
    module = make()
    MSE(module(X), Y).backward()  # after training, the module holds a tensor of the graph
    with pytest.raises(RuntimeError):
        copy.deepcopy(module)
    land = quiet(module)
    params = elsewhere(land)
    sizes = [one.numel() for one in module.parameters()]

    def loss(point):
        shaped = [part.view_as(one) for part, one in zip(point.split(sizes), module.parameters(), strict=True)]
        return MSE(truly(module, shaped, X.double()), Y.double())

    torch.testing.assert_close(land.loss(params), loss(params))
    torch.testing.assert_close(land.grad(params), torch.autograd.functional.jacobian(loss, params))
    vector = randn(land.dim, seed=8).double()
    expected = torch.autograd.functional.hessian(loss, params) @ vector
    torch.testing.assert_close(
        land.hvp(params, vector), expected, rtol=1e-6, atol=1e-8
    )  # central differences for the first


def test_a_module_that_keeps_its_output_is_copied():
    module = keeping_its_output()
    module(X)
    assert_same_landscape(quiet(module), quiet(plain()))


def test_a_tensor_that_no_call_makes_again_is_refused():
    module = Function(lambda m, x: m.c(torch.tanh(m.b(torch.tanh(functional.linear(x, m.doubled))))), **parts())
    module.doubled = 2 * module.a.weight
    with pytest.raises(
        ValueError, match="does not make again in a call: it does not follow the parameters. Compute it in"
    ):
        quiet(module)


# ---------------------------------------------------------------- wrappers


def distributed(module):
    with tempfile.NamedTemporaryFile() as meeting:
        torch.distributed.init_process_group("gloo", init_method=f"file://{meeting.name}", rank=0, world_size=1)
        wrapped = nn.parallel.DistributedDataParallel(module)
        MSE(wrapped(X), Y).backward()
    return wrapped


def inner(wrap):
    def wrapped(module):
        module.a = wrap(module.a)
        return module

    return wrapped


compiled = partial(torch.compile, backend="eager")
WRAPPERS = {
    "DataParallel": nn.DataParallel,
    "DistributedDataParallel": distributed,
    "compiled": compiled,
    "a part, compiled": inner(compiled),
    "a part, DataParallel": inner(nn.DataParallel),
    "both": lambda module: nn.DataParallel(compiled(module)),
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_wrappers_are_opened(name):
    wrapped = WRAPPERS[name](plain())
    try:
        land = quiet(wrapped)
        assert_same_landscape(land, quiet(plain()))
        assert list(land.trainable(wrapped)) == [key for key, _ in wrapped.named_parameters()]
        assert land.follow(wrapped)
    finally:
        if name == "DistributedDataParallel":
            torch.distributed.destroy_process_group()


def test_compiled_in_place():
    module = plain()
    module.compile(backend="eager")
    assert_same_landscape(quiet(module), quiet(plain()))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_torchscript_is_refused_with_the_remedy():
    script = torch.jit.trace(nn.Linear(3, 2), X)
    for module in (script, nn.Sequential(script)):
        with pytest.raises(ValueError, match="pass the module from before torch.jit.script or torch.jit.trace"):
            quiet(module)


def test_what_has_no_parameters_or_no_gradients_yet_is_refused():
    with pytest.raises(ValueError, match="without a shape yet: call it once on a batch"):
        quiet(nn.Sequential(nn.LazyLinear(2)))
    with torch.inference_mode(), pytest.raises(ValueError, match="call it outside torch.inference_mode"):
        quiet(plain())


class Trainer:
    def __init__(self, module):
        self.module, self.lock = module, threading.Lock()


UNCOPYABLE = {
    "generator": lambda module: (one for one in ()),
    "lock": lambda module: threading.Lock(),
    "trainer": Trainer,
}


@pytest.mark.parametrize("name", UNCOPYABLE)
def test_what_nobody_can_copy_is_left_where_it_is(name):
    module = plain()
    module.beside = module.a.beside = UNCOPYABLE[name](module)
    with pytest.raises(TypeError):
        copy.deepcopy(module)
    assert_same_landscape(quiet(module), quiet(plain()))


# ---------------------------------------------------------------- losses that know the module


def square(model):
    return sum(one.square().sum() for one in model.parameters())


class Penalty:
    def __init__(self, model):
        self.model = model

    def __call__(self, outputs, targets):
        return MSE(outputs, targets) + square(self.model)

    def method(self, outputs, targets):
        return self(outputs, targets)


class PenaltyModule(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, outputs, targets):
        return MSE(outputs, targets) + square(self.model)


GLOBAL = []


def by_global(outputs, targets):
    return MSE(outputs, targets) + square(GLOBAL[0])


def global_penalty(model):
    GLOBAL[:] = [model]
    return by_global


def with_default(model):
    def loss(outputs, targets, model=model):
        return MSE(outputs, targets) + square(model)

    return loss


def of_parameters(model):
    own = list(model.parameters())
    return lambda outputs, targets: MSE(outputs, targets) + sum(one.square().sum() for one in own)


PENALTIES = {
    "closure": lambda model: lambda outputs, targets: MSE(outputs, targets) + square(model),
    "list of parameters": of_parameters,
    "default": with_default,
    "global": global_penalty,
    "object": Penalty,
    "method": lambda model: Penalty(model).method,
    "partial": lambda model: partial(lambda held, outputs, targets: MSE(outputs, targets) + square(held), model),
    "module": PenaltyModule,
    "nested": lambda model: lambda outputs, targets, held={"models": [(model,)]}: MSE(outputs, targets) + square(held["models"][0][0]),  # noqa: B006
}  # fmt: skip


@pytest.mark.parametrize("name", PENALTIES)
def test_a_penalty_on_the_modules_parameters_moves_with_them(name):
    module = plain()
    before = copy.deepcopy(module.state_dict())
    land, truth = quiet(module, PENALTIES[name](module)), quiet(plain())
    for dtype in DTYPES:
        params = elsewhere(land, dtype)
        slack = {"rtol": 1e3 * torch.finfo(dtype).eps, "atol": 1e3 * torch.finfo(dtype).eps}
        torch.testing.assert_close(land.loss(params), truth.loss(params) + params.square().sum(), **slack)
        torch.testing.assert_close(land.grad(params), truth.grad(params) + 2 * params, **slack)
        vector = randn(land.dim, seed=8).to(dtype)
        torch.testing.assert_close(land.hvp(params, vector), truth.hvp(params, vector) + 2 * vector, **slack)
    both = torch.stack([elsewhere(land, seed=1), elsewhere(land, seed=2)])
    torch.testing.assert_close(land.loss(both), torch.stack([land.loss(one) for one in both]))
    assert all(torch.equal(one, before[key]) for key, one in module.state_dict().items())


def test_a_loss_that_calls_the_module_again_calls_it_at_the_same_parameters():
    module = plain()
    other = X.double() + 1
    land = quiet(
        module.double(),
        lambda outputs, targets: MSE(outputs, targets) + MSE(module(other), targets),
        (X.double(), Y.double()),
    )
    twin = quiet(module, data=(other, Y.double()))
    params = elsewhere(land)
    torch.testing.assert_close(land.loss(params), quiet(module).loss(params) + twin.loss(params))
    assert_true_gradient(land)


def test_a_loss_that_holds_the_module_out_of_reach_is_refused():
    class Slotted:
        __slots__ = ("model",)

    held = Slotted()
    held.model = plain()
    with pytest.raises(ValueError, match="by another way than the call.*Let the module return what is needed"):
        quiet(held.model, lambda outputs, targets: MSE(outputs, targets) + square(held.model))


class Uncertainty(nn.Module):
    """A squared error with a learned variance (Kendall and Gal 2017)."""

    def __init__(self, trainable=True):
        super().__init__()
        self.log_var = nn.Parameter(torch.tensor(0.3), requires_grad=trainable)

    def forward(self, outputs, targets):
        return MSE(outputs, targets) * torch.exp(-self.log_var) + self.log_var


def test_trainable_parameters_of_the_loss_are_parameters_of_the_landscape():
    module, loss = plain(), Uncertainty()
    land, truth = quiet(module, loss), quiet(plain())
    assert [block.name for block in land.layout.blocks][-1] == "loss_fn.log_var"
    assert land.dim == truth.dim + 1
    assert any("1 trainable parameters of its own (loss_fn.log_var)" in note for note in land.notes)
    params = elsewhere(land)
    own, log_var = params[:-1], params[-1]
    torch.testing.assert_close(land.loss(params), truth.loss(own) * torch.exp(-log_var) + log_var)
    torch.testing.assert_close(land.grad(params)[-1], 1 - truth.loss(own) * torch.exp(-log_var))
    torch.testing.assert_close(
        land.hvp(params, torch.eye(land.dim, dtype=torch.float64)[-1])[-1], truth.loss(own) * torch.exp(-log_var)
    )
    assert_true_gradient(land)
    assert land.trainable(module)["loss_fn.log_var"] is loss.log_var
    assert quiet(plain(), Uncertainty(trainable=False)).dim == truth.dim


def test_a_landscape_follows_what_its_loss_holds():
    module, loss = plain(), Uncertainty(trainable=False)
    land = quiet(module, loss)
    params = elsewhere(land)
    before = quiet(plain()).loss(params)
    with torch.no_grad():
        loss.log_var.fill_(1.0)
    assert land.follow(module)
    torch.testing.assert_close(land.loss(params), before * torch.exp(torch.tensor(-1.0).double()) + 1)


def test_other_trainable_numbers_in_the_loss_are_said():
    log_var = torch.tensor(0.3, requires_grad=True)
    land = quiet(plain(), lambda outputs, targets: MSE(outputs, targets) * torch.exp(-log_var) + log_var)
    assert any(
        "depends on 1 numbers that require a gradient and are no parameters of the module" in note
        for note in land.notes
    )
    assert land.dim == quiet(plain()).dim
    own = Function(lambda m, x: whole(m, x) + torch.zeros((), dtype=x.dtype, requires_grad=True), **parts())
    assert not any("require a gradient" in note for note in quiet(own).notes)  # of which each call has another


# ---------------------------------------------------------------- hooks


def test_hooks_that_look_on_are_left_alone_and_those_that_act_are_called():
    calls = []
    looking, acting = plain(), plain()
    looking.a.register_forward_hook(lambda *_: calls.append(0))
    acting.a.register_forward_hook(lambda module, inputs, outputs: 2 * outputs)
    land = quiet(looking)
    calls.clear()
    assert_same_landscape(land, quiet(plain()))
    assert calls == []
    land = quiet(acting)
    assert any("Hooks of the module take part" in note for note in land.notes)
    doubled = Function(lambda m, x: m.c(torch.tanh(m.b(torch.tanh(2 * m.a(x))))), **parts())
    assert_same_landscape(land, quiet(doubled))
    looking(X)
    assert calls == [0]


def test_a_hook_of_something_that_cannot_be_copied_stays_on_the_module():
    class Recorder:
        def __init__(self):
            self.lock, self.calls = threading.Lock(), 0

        def note(self, *_):
            self.calls += 1

    module, recorder = plain(), Recorder()
    module.a.register_forward_hook(recorder.note)
    land = quiet(module)
    recorder.calls = 0
    assert_same_landscape(land, quiet(plain()))
    assert recorder.calls == 0
    module(X)
    assert recorder.calls == 1


def test_a_hook_that_feeds_the_loss_is_called():
    seen, module = [], plain()
    module.a.register_forward_hook(lambda module, inputs, outputs: seen.append(outputs))
    land = quiet(module, lambda outputs, targets: MSE(outputs, targets) + seen[-1].square().mean())
    assert_true_gradient(land)


@pytest.mark.parametrize("name", sampled(MEMORIES, 2))
def test_modules_with_memory_are_the_same_in_every_thread(name):
    land = quiet(seeded(MEMORIES[name]))
    points = torch.stack([elsewhere(land, seed=seed) for seed in range(4)])
    expected = [land.grad(one) for one in points]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(land.grad, points.repeat(3, 1)))
    torch.testing.assert_close(torch.stack(found), torch.stack(expected).repeat(3, 1), rtol=1e-12, atol=1e-14)


# ---------------------------------------------------------------- precision


class Casting(nn.Module):
    """Layers in half precision with a norm in single precision between them, and the casts that this needs."""

    def __init__(self):
        super().__init__()
        self.a, self.norm, self.b = nn.Linear(3, 4).bfloat16(), nn.LayerNorm(4), nn.Linear(4, 2).bfloat16()

    def forward(self, x):
        return self.b(torch.tanh(self.norm(self.a(x.bfloat16()).float())).bfloat16()).float()


def test_a_module_that_casts_computes_as_it_stands():
    module = seeded(Casting)
    land = quiet(module)
    assert any("down to torch.bfloat16" in note for note in land.notes)
    assert land.model.curvature.way is Way.DOUBLE_BACKWARD
    loss = MSE(module(X), Y)
    loss.backward()
    grads = torch.cat([one.grad.flatten().float() for one in module.parameters()])
    for dtype in DTYPES:
        params = land.start(dtype=dtype)[0]
        torch.testing.assert_close(land.loss(params), loss.detach().to(dtype))
        torch.testing.assert_close(land.grad(params), grads.to(dtype))
    exact = quiet(Plainly(copy.deepcopy(module).float()))
    top, rough = (float(sharpness(one, one.start()[0], tol=0.1)[0]) for one in (exact, land))
    assert abs(top - rough) < 0.05 * abs(top)  # bfloat16 has eight bits: a few percent after two layers


class Plainly(nn.Module):
    """The same without casts."""

    def __init__(self, module):
        super().__init__()
        self.a, self.norm, self.b = module.a, module.norm, module.b

    def forward(self, x):
        return self.b(torch.tanh(self.norm(self.a(x))))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_a_module_in_half_precision_is_evaluated_in_the_one_asked_for(dtype):
    module = plain().to(dtype)
    land = quiet(module, data=(X.to(dtype), Y.to(dtype)))
    assert not land.notes
    twin = copy.deepcopy(module).double()
    assert_same_landscape(land, quiet(twin, data=(X.to(dtype).double(), Y.to(dtype).double())))


def test_single_precision_inside_is_no_fault_of_the_gradient():
    """As language models do, whose logits are cast before their loss."""
    land = quiet(plain(), lambda outputs, targets: MSE(outputs.float(), targets.float()))
    assert land.model.precision == torch.float32
    assert not land.notes
    params, vector = elsewhere(land), randn(land.dim, seed=8).double()
    torch.testing.assert_close(
        land.hvp(params, vector), quiet(plain()).hvp(params, vector), rtol=1e-4, atol=1e-5
    )  # float32


def test_half_precision_inside_is_said():
    notes = quiet(plain(), lambda outputs, targets: MSE(outputs.bfloat16(), targets.bfloat16()).float()).notes
    assert any("torch.bfloat16 in places" in note for note in notes)
    assert not any("surrogate" in note for note in notes)


def test_a_loss_that_calls_the_module_on_numbers_of_one_precision_is_narrow():
    module = plain()
    land = quiet(module, lambda outputs, targets: MSE(outputs, targets) + MSE(module(X + 1), targets))
    assert any("torch.float32 only" in note for note in land.notes)
    expected = quiet(plain()).loss(land.start()[0]) + quiet(plain(), data=(X + 1, Y)).loss(land.start()[0])
    torch.testing.assert_close(land.loss(land.start()[0]), expected, rtol=1e-6, atol=0)  # float32


def test_hooks_of_parameters_are_left_out_and_that_is_said():
    scaled = plain()
    scaled.a.weight.register_hook(lambda gradient: 0.5 * gradient)
    land = quiet(scaled)
    assert any("A hook of the parameter a.weight may change its gradient" in note for note in land.notes)
    assert_same_landscape(land, quiet(plain()))
