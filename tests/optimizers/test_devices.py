"""Every rule stays on the device of the parameters. See tests/devices.py for what the meta device cannot show.

Not covered on meta, since they look at numbers: hyper-parameters that are tensors (`Number.check` reads their extremes), the
probe `sharpness` above 24 parameters (Lanczos: see tests/landscapes/test_devices.py), and `sweep` and `tune`, which check
their values and compare results.
"""

import pytest
import torch
from torch.utils._pytree import tree_leaves

from landscapes import LANDSCAPES, settings
from optimizers import OPTIMIZERS, Oracle, run, sweep
from tests.devices import OnlyOn, every_device, placed

NETWORK = LANDSCAPES["mlp"](data="chebyshev", hidden=(4,), objective="squared")
CASES = {"quadratic": (LANDSCAPES["quadratic"](), torch.float32), "network": (NETWORK, torch.float64)}
every_rule = pytest.mark.parametrize("kind", OPTIMIZERS.values(), ids=OPTIMIZERS)


def variants(kind):
    """The rule at its defaults, with each of its flags turned over, and at each of its choices."""
    yield kind()
    for name, one in settings(kind).items():
        others = [not one.default] if isinstance(one.default, bool) else getattr(one, "choices", ())
        yield from (kind(**{name: value}) for value in others if value != one.default)


@every_device
@every_rule
@pytest.mark.parametrize(("land", "dtype"), CASES.values(), ids=CASES)
def test_a_rule_stays_on_the_device(kind, land, dtype, device):
    start = land.start(3, dtype=dtype, device=device)
    land.loss(start)  # the network's data are kept from here on
    for rule in variants(kind):
        params, state, noise = start, rule.init(start), torch.Generator().manual_seed(0)
        with OnlyOn(device):
            for _ in range(2):
                params, state = rule.step(params, state, Oracle(land, generator=noise))
        assert placed(params, start, start.shape), rule
        tensors = [one for one in tree_leaves(state) if isinstance(one, torch.Tensor)]
        assert all(placed(one, start, one.shape) for one in tensors), rule


@every_device
@every_rule
def test_a_run_stays_on_the_device(kind, device):
    start = NETWORK.start(2, device=device)
    path = run(NETWORK, kind(), start, 3, probes=["distance"], batch_size=4)
    assert placed(path.params, start, (4, *start.shape))
    assert all(placed(one, start, (4, 2)) for one in (path.loss, path.grad_norm, *path.probes.values()))
    assert path.diverged_at.device == start.device


@every_device
def test_the_sharpness_of_a_small_network_stays_on_the_device(device):
    start = NETWORK.start(2, device=device)
    path = run(NETWORK, OPTIMIZERS["gd"](), start, 1, probes=["sharpness"])
    assert placed(path.probes["sharpness"], start, (2, 2))


LARGE = LANDSCAPES["mlp"](data="chebyshev", hidden=(5, 4), objective="squared")
UNCOVERED = {
    "tensor": lambda: OPTIMIZERS["gd"](lr=torch.ones(1, device="meta")),
    "sharpness": lambda: run(LARGE, OPTIMIZERS["gd"](), LARGE.start(device="meta"), 1, probes=["sharpness"]),
    "sweep": lambda: sweep(LARGE, OPTIMIZERS["gd"](), {"lr": [0.1]}, start=LARGE.start(device="meta")[0]),
}


@pytest.mark.parametrize("call", UNCOVERED.values(), ids=UNCOVERED)
def test_what_is_not_covered_really_looks_at_numbers(call):
    """A function that no longer does belongs among the tests above."""
    with pytest.raises((RuntimeError, NotImplementedError), match=r"[Mm]eta"):
        call()
