"""How a user's module is executed: in threads, with randomness, checkpoints, memory, wrappers; right, or refused with the remedy."""

import threading

import pytest
import torch
from torch import nn
from torch.nn import functional

from landscapes import from_module
from optimizers import OPTIMIZERS, run


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
