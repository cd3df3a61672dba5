"""How a user's module is executed: in threads, with randomness, checkpoints, memory, wrappers; right, or refused with the remedy."""

import copy
import random
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product

import numpy as np
import pytest
import torch
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import CheckpointWrapper
from torch.nn import functional
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from landscapes import from_module, sharpness
from landscapes.selfcheck import Way
from optimizers import OPTIMIZERS, run
from tests.sampling import sampled


def randn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def seeded(make):
    with torch.random.fork_rng():
        torch.manual_seed(5)
        return make()


class Function(nn.Module):
    """A module made of parts and a function of them and the input."""

    def __init__(self, function, **parts):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.function(self, x)


def in_a_new_thread(work):
    """What `work` returns in a thread of its own; fails where that hangs."""
    found = []
    thread = threading.Thread(target=lambda: found.append(work()), daemon=True)
    thread.start()
    thread.join(60)
    assert not thread.is_alive(), "the thread hangs"
    return found[0]


DROPPING = {
    "F.dropout": lambda: Function(
        lambda m, x: m.b(functional.dropout(m.a(x), 0.5)), a=nn.Linear(3, 8), b=nn.Linear(8, 2)
    ),
    "LSTM": lambda: Function(
        lambda m, x: m.lstm(x[:, None])[0][:, 0], lstm=nn.LSTM(3, 2, 2, dropout=0.5, batch_first=True)
    ),
    "transformer layer": lambda: Function(
        lambda m, x: m.layer(x.unsqueeze(-1).expand(-1, -1, 4)).mean(1),
        layer=nn.TransformerEncoderLayer(4, 2, 8, batch_first=True),
    ),
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("name", DROPPING)
def test_modules_that_draw_random_numbers_run_in_any_thread(name):
    land = from_module(
        seeded(DROPPING[name]),
        lambda out, y: (out[:, :2] - y).square().mean(),
        (randn(8, 3), randn(8, 2, seed=1)),
        dropout=1,
    )
    params = land.start()[0]
    torch.testing.assert_close(in_a_new_thread(lambda: land.loss(params)), land.loss(params), rtol=0, atol=0)
    path = in_a_new_thread(lambda: run(land, OPTIMIZERS["gd"](lr=0.01), steps=2, probes=["sharpness"]))
    assert torch.isfinite(path.probes["sharpness"]).all()


MSE = nn.MSELoss()
X, Y = randn(8, 3, seed=1), randn(8, 2, seed=2)
DTYPES = (torch.float32, torch.float64)


def quiet(module, loss=MSE, data=(X, Y), **options):
    """The landscape without the warnings, whose sentences are its notes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return from_module(module, loss, data, **options)


def elsewhere(land, dtype=torch.float64, seed=3):
    """A point that is not where the module stands."""
    return (land.start()[0] + 0.3 * randn(land.dim, seed=seed)).to(dtype)


def by_differences(land, params, reach=1e-5):
    """The gradient by central differences of the loss, one parameter at a time."""
    steps = reach * torch.eye(land.dim, dtype=params.dtype)
    return torch.stack([(land.loss(params + step) - land.loss(params - step)) / (2 * reach) for step in steps])


def assert_same_landscape(land, truth, dtype=torch.float64, loosen=1):
    """The same loss, gradient and Hessian at a point where neither module stands; rounding passes through a few sums."""
    slack = {"rtol": 1e3 * loosen * torch.finfo(dtype).eps, "atol": 1e3 * loosen * torch.finfo(dtype).eps}
    params = elsewhere(truth, dtype)
    torch.testing.assert_close(land.loss(params), truth.loss(params), **slack)
    torch.testing.assert_close(land.grad(params), truth.grad(params), **slack)
    vectors = torch.eye(land.dim, dtype=dtype)
    at = params.expand(land.dim, -1)
    torch.testing.assert_close(land.hvp(at, vectors), truth.hvp(at, vectors), **slack)


# ---------------------------------------------------------------- activation checkpoints


def parts():
    return seeded(lambda: {"a": nn.Linear(3, 4), "b": nn.Linear(4, 3), "c": nn.Linear(3, 2)})


def whole(m, x):
    return m.c(torch.tanh(m.b(torch.tanh(m.a(x)))))


def first_part(m, x):
    return torch.tanh(m.b(torch.tanh(m.a(x))))


CHECKPOINTED = {
    "not reentrant": lambda m, x: m.c(checkpoint(lambda x: first_part(m, x), x, use_reentrant=False)),
    "reentrant": lambda m, x: m.c(checkpoint(lambda h: torch.tanh(m.b(torch.tanh(h))), m.a(x), use_reentrant=True)),
    "sequential": lambda m, x: m.c(
        checkpoint_sequential([m.a, torch.tanh, m.b, torch.tanh], 2, x, use_reentrant=False)
    ),
    "kept as an attribute": lambda m, x: m.c(m.kept(partial(first_part, m), x)),
    "wrapped": lambda m, x: m.c(torch.tanh(m.b(torch.tanh(m.wrapped(x))))),
}


def checkpointed(name):
    module = Function(CHECKPOINTED[name], **parts())
    if name == "kept as an attribute":
        module.kept = partial(checkpoint, use_reentrant=True)
    if name == "wrapped":
        module.a = CheckpointWrapper(module.a)
        module.wrapped = module.a
    return module


@pytest.mark.parametrize(("name", "dtype"), sampled(product(CHECKPOINTED, DTYPES), 5))
def test_checkpoints_change_nothing(name, dtype):
    land, truth = quiet(checkpointed(name)), quiet(Function(whole, **parts()))
    assert_same_landscape(land, truth, dtype)
    assert land.model.curvature.way is Way.DOUBLE_BACKWARD
    assert land.notes == ()
    if dtype == torch.float64:  # truncation of the differences, squared reach, and rounding over the reach
        torch.testing.assert_close(
            land.grad(elsewhere(land)), by_differences(land, elsewhere(land)), rtol=1e-7, atol=1e-8
        )


def test_checkpoints_of_training_stay_what_they_are():
    runs = []

    def recording(m, x):
        runs.append(threading.get_ident())
        return first_part(m, x)

    def training(pause=lambda: None):
        twin = Function(lambda m, x: m.c(checkpoint(partial(recording, m), x, use_reentrant=False)), **parts())
        loss = MSE(twin(X), Y)
        pause()
        loss.backward()
        return torch.cat([one.grad.flatten() for one in twin.parameters()])

    expected = training()
    assert len(runs) == 2  # forward, and once more during the backward pass
    inside, go_on = threading.Event(), threading.Event()

    def waiting(m, x):
        if threading.current_thread() is not threading.main_thread():
            inside.set()
            go_on.wait(60)
        return first_part(m, x)

    land = quiet(Function(lambda m, x: m.c(checkpoint(partial(waiting, m), x, use_reentrant=False)), **parts()))
    thread = threading.Thread(target=lambda: land.loss(land.start()[0]), daemon=True)
    thread.start()
    assert inside.wait(60)
    runs.clear()
    torch.testing.assert_close(training(), expected, rtol=0, atol=0)
    assert len(runs) == 2
    go_on.set()
    thread.join(60)
    assert torch.utils.checkpoint.CheckpointFunction.__module__ == "torch.utils.checkpoint"


# ---------------------------------------------------------------- attention


def attending(dropout=0.0):
    def forward(m, x):
        q, k, v = m.qkv(x[..., None]).view(len(x), 3, 3, 2, 2).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(
            q, k, v, is_causal=True, dropout_p=dropout if m.training else 0.0
        )
        return m.out(mixed.transpose(1, 2).reshape(len(x), -1))

    return seeded(lambda: Function(forward, qkv=nn.Linear(1, 12), out=nn.Linear(12, 2)))


def by_hand(m, x):
    q, k, v = m.qkv(x[..., None]).view(len(x), 3, 3, 2, 2).permute(2, 0, 3, 1, 4)
    scores = (q @ k.transpose(-1, -2) / 2**0.5).masked_fill(torch.ones(3, 3, dtype=torch.bool).triu(1), -torch.inf)
    return m.out((scores.softmax(-1) @ v).transpose(1, 2).reshape(len(x), -1))


def multi_head(training):
    def forward(m, x):
        tokens = x[..., None] * torch.arange(1, 5, dtype=x.dtype)
        return m.out(m.heads(tokens, tokens, tokens, need_weights=False)[0].mean(1))

    heads = seeded(lambda: nn.MultiheadAttention(4, 2, dropout=0.3, batch_first=True))
    return Function(forward, heads=heads, out=seeded(lambda: nn.Linear(4, 2))).train(training)


@pytest.mark.parametrize("dtype", DTYPES)
def test_attention_is_that_of_its_formula(dtype):
    truth = attending()
    truth.function = by_hand
    land = quiet(attending(0.4))
    assert_same_landscape(land, quiet(truth), dtype)
    assert land.model.curvature.way is Way.DOUBLE_BACKWARD


def test_multi_head_attention_without_its_weights_has_a_hessian():
    land, other = quiet(multi_head(True)), quiet(multi_head(False))
    assert_same_landscape(land, other)
    assert land.model.curvature.way is Way.DOUBLE_BACKWARD
    grads = [land.grad(elsewhere(land) + sign * 1e-5 * torch.ones(land.dim)) for sign in (1, -1)]
    expected = (grads[0] - grads[1]) / 2e-5
    found = land.hvp(elsewhere(land), torch.ones(land.dim, dtype=torch.float64))
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-8)


def test_threads_share_no_switch_of_attention():
    flags, module = set(), attending()
    forward = module.function

    def looking(m, x):
        flags.add(torch.backends.cuda.flash_sdp_enabled())
        return forward(m, x)

    module.function = looking
    land = quiet(module)
    points = torch.stack([elsewhere(land, seed=seed) for seed in range(6)])
    expected = sharpness(land, points, tol=1e-8)[0].squeeze()
    assert flags == {True}  # while attention is computed by its formula, for the Hessian
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda point: sharpness(land, point, tol=1e-8)[0].squeeze(), points.repeat(3, 1)))
    torch.testing.assert_close(torch.stack(found), expected.repeat(3), rtol=1e-6, atol=0)


# ---------------------------------------------------------------- dropout

OFF = {
    "nn.Dropout": lambda: nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Tanh(), nn.Linear(8, 2)),
    "in place": lambda: nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5, inplace=True), nn.Tanh(), nn.Linear(8, 2)),
    "alpha": lambda: nn.Sequential(nn.Linear(3, 8), nn.AlphaDropout(0.5), nn.Tanh(), nn.Linear(8, 2)),
    "channels": lambda: nn.Sequential(nn.Unflatten(1, (3, 1, 1)), nn.Dropout2d(0.5), nn.Flatten(), nn.Linear(3, 2)),
    "F.dropout": lambda: Function(lambda m, x: m.b(functional.dropout(m.a(x), 0.5, m.training)), a=nn.Linear(3, 8), b=nn.Linear(8, 2)),
    "torch.dropout": lambda: Function(lambda m, x: m.b(torch.dropout(m.a(x), 0.5, m.training)), a=nn.Linear(3, 8), b=nn.Linear(8, 2)),
    "attention": lambda: attending(0.4),
    "nn.MultiheadAttention": lambda: multi_head(True),
    "encoder layer": lambda: Function(
        lambda m, x: m.layer(x.unsqueeze(-1) * torch.arange(1, 5, dtype=x.dtype)).mean(1)[:, :2],
        layer=nn.TransformerEncoderLayer(4, 2, 8, batch_first=True),
    ),
    "LSTM": lambda: Function(lambda m, x: m.rnn(x[..., None])[0][:, -1], rnn=nn.LSTM(1, 2, 2, dropout=0.5, batch_first=True)),
    "GRU": lambda: Function(lambda m, x: m.rnn(x[..., None])[0][:, -1], rnn=nn.GRU(1, 2, 3, dropout=0.5, batch_first=True)),
    "RNN, packed": lambda: Function(
        lambda m, x: m.rnn(nn.utils.rnn.pack_padded_sequence(x[..., None], torch.full((len(x),), 3), batch_first=True))[1][-1],
        rnn=nn.RNN(1, 2, 2, dropout=0.5, batch_first=True),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", sampled(OFF, 6))
def test_without_dropout_a_module_in_training_is_the_one_in_use(name):
    module = seeded(OFF[name]).double().train()
    land = quiet(module)
    assert not land.model.objective.stochastic
    assert not any("random" in note for note in land.notes)
    expected = MSE(copy.deepcopy(module).eval()(X.double()), Y.double())
    torch.testing.assert_close(land.loss(land.start()[0]), expected.detach())
    params = elsewhere(land)
    torch.testing.assert_close(land.grad(params), by_differences(land, params), rtol=1e-6, atol=1e-8)


def test_dropout_is_off_while_batch_norm_is_training():
    module = (
        seeded(lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Tanh(), nn.Linear(4, 2)))
        .double()
        .train()
    )
    twin = copy.deepcopy(module)
    twin[2].eval()
    land = quiet(module)
    torch.testing.assert_close(land.loss(land.start()[0]), MSE(twin(X.double()), Y.double()).detach())


@pytest.mark.parametrize("name", sampled(OFF, 3))
def test_with_a_seed_masks_are_there_and_the_same_at_every_evaluation(name):
    module = seeded(OFF[name]).double().train()
    land, other, off = quiet(module, dropout=1), quiet(module, dropout=2), quiet(module)
    params = elsewhere(land)
    before = torch.get_rng_state()
    assert torch.equal(land.loss(params), land.loss(params))
    assert torch.equal(before, torch.get_rng_state())
    assert len({float(one.loss(params)) for one in (land, other, off)}) == 3
    torch.testing.assert_close(land.grad(params), by_differences(land, params), rtol=1e-6, atol=1e-8)


def test_a_seed_for_nothing_is_said():
    module = seeded(OFF["F.dropout"])
    assert "nothing is drawn" in quiet(module.eval(), dropout=1).notes[0]
    assert not any("nothing" in note for note in quiet(module.eval(), dropout=1, training=True).notes)


NOISE = {
    "torch": lambda x: x + torch.randn_like(x),
    "python": lambda x: x * random.random(),
    "numpy": lambda x: x + float(np.random.standard_normal()),
}


@pytest.mark.parametrize("name", NOISE)
def test_noise_is_frozen_and_said_and_no_draw_of_the_users(name):
    module = Function(lambda m, x: m.c(NOISE[name](first_part(m, x))), **parts())
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    land = quiet(module)
    assert [note for note in land.notes if "draws random numbers" in note]
    params = elsewhere(land)
    assert torch.equal(land.loss(params), land.loss(params))
    torch.testing.assert_close(land.grad(params), by_differences(land, params), rtol=1e-7, atol=1e-8)
    assert torch.equal(states[0], torch.get_rng_state())
    assert states[1] == random.getstate()
    assert np.array_equal(states[2], np.random.get_state()[1])


# ---------------------------------------------------------------- embeddings

EMBEDDED = ({"max_norm": 1.0}, {"max_norm": 0.8, "norm_type": 1.0}, {"sparse": True}, {"scale_grad_by_freq": True})
TOKENS = torch.tensor([[0, 1, 2], [3, 4, 5], [1, 1, 3], [5, 0, 2]])


def embedded(m, x):
    return m.out(m.table(x).mean(1) if m.table(x).ndim == 3 else m.table(x))


EMBEDDINGS = {
    "embedding": lambda **options: nn.Embedding(6, 4, **options),
    "bag": lambda **options: nn.EmbeddingBag(6, 4, mode="mean", **options),
}


@pytest.mark.parametrize(("name", "options", "dtype"), sampled(product(EMBEDDINGS, EMBEDDED, DTYPES), 6))
def test_embeddings_leave_the_parameters_as_they_are(name, options, dtype):
    module = seeded(lambda: Function(embedded, table=EMBEDDINGS[name](**options), out=nn.Linear(4, 2)))
    before = copy.deepcopy(module.state_dict())
    land = quiet(module, data=(TOKENS, Y[:4]))
    params = elsewhere(land, dtype)
    kept = params.clone()
    expected = copy.deepcopy(module).to(dtype)
    nn.utils.vector_to_parameters(params.clone(), expected.parameters())
    torch.testing.assert_close(land.loss(params), MSE(expected(TOKENS), Y[:4].to(dtype)).detach())
    top = sharpness(land, params)[0].squeeze()
    assert torch.equal(params, kept)
    assert all(torch.equal(one, before[key]) for key, one in module.state_dict().items())
    if dtype == torch.float64:
        torch.testing.assert_close(land.grad(params), by_differences(land, params), rtol=1e-6, atol=1e-8)
        hessian = torch.stack([land.hvp(params, row) for row in torch.eye(land.dim, dtype=dtype)])
        torch.testing.assert_close(
            top, torch.linalg.eigvalsh(hessian)[-1], rtol=1e-3, atol=0
        )  # residual 1e-2 squared, at least
    assert any("max_norm" in note for note in land.notes) == ("max_norm" in options)
    assert any("scale_grad_by_freq" in note for note in land.notes) == ("scale_grad_by_freq" in options)
