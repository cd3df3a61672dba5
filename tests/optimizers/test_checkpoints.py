"""A run that is cut off and taken up again has the bits of one that was not."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from landscapes import LANDSCAPES, MLP, Formula
from optimizers import OPTIMIZERS, PROBES, SCHEDULES, WRAPPERS, Scheduled, checkpoints, running, studying
from optimizers.checkpoints import packed, unpacked
from tests.probing import every_probe

NETWORK = MLP(data="chebyshev", objective="squared", hidden=(4,))
CLASSES = MLP(data="two_moons", subset=20, test_share=0.2, hidden=(2,))
STEPS = 6


class Memory:
    """A shelf in memory; what is on it went through its packing."""

    def __init__(self):
        self.held = {}

    def get(self, number):
        return self.held.get(number)

    def put(self, number, piece):
        assert all(isinstance(one, torch.Tensor) and one.is_contiguous() for one in piece)
        self.held[number] = tuple(one.clone() for one in piece)


@pytest.fixture(autouse=True)
def every_step(monkeypatch):
    """A checkpoint after each step, however long the one before took."""
    monkeypatch.setattr(checkpoints, "EVERY", 0.0)
    monkeypatch.setattr(checkpoints, "_SHARE", 0)


def tree(path):
    """Every number of a trajectory or a study."""
    if hasattr(path, "tensors"):
        return path.tensors()
    return vars(path) | {"evaluations": path.evaluations._asdict()} | path.probes


def same(one, other):
    first, second = packed(tree(one)), packed(tree(other))
    assert bytes(first[0].tolist()) == bytes(second[0].tolist())
    for mine, yours in zip(first, second, strict=True):
        assert mine.numpy().tobytes() == yours.numpy().tobytes()


def resumed(begin, cut):
    """The result of `begin(shelf)`, cut off after `cut` reports and begun anew; and that without any shelf."""
    whole = list(begin(None))
    shelf = Memory()
    stream = begin(shelf)
    for _ in range(cut):
        next(stream)
    stream.close()
    assert shelf.held
    again = list(begin(shelf))
    assert len(again) < len(whole)  # it does not begin from the start
    return whole[-1], again[-1]


def runs(rules, land=NETWORK, **options):
    options = {"steps": STEPS, "seed": 1, "batch_size": 8, "report_every": 1} | options
    return lambda shelf: running(land, rules, shelf=shelf, **options)


def every(registry):
    return [pytest.param(registry[name], id=name) for name in registry]


@pytest.mark.parametrize("kind", every(OPTIMIZERS))
def test_every_rule_goes_on_where_it_was(kind):
    same(*resumed(runs(kind(lr=1e-2)), 3))


@pytest.mark.parametrize("kind", every(WRAPPERS))
def test_every_wrapper_goes_on_where_it_was(kind):
    same(*resumed(runs(kind(inner=OPTIMIZERS["adam"](lr=1e-2))), 4))


@pytest.mark.parametrize("kind", every(SCHEDULES))
def test_every_schedule_goes_on_where_it_was(kind):
    same(*resumed(runs(Scheduled(inner=OPTIMIZERS["heavy_ball"](lr=1e-2), schedule=kind())), 4))


def test_every_probe_remembers_what_it_had_seen():
    rule, left = OPTIMIZERS["adam"](lr=1e-2), list(PROBES)
    for land, batch_size in ((CLASSES, 8), (LANDSCAPES["scalar_network"](), None)):
        fitting = [kind for kind in every_probe(land, rule) if kind.name in left]
        same(*resumed(runs(rule, land=land, probes=fitting, probe_every=2, batch_size=batch_size, steps=3), 2))
        left = [name for name in left if name not in {kind.name for kind in fitting}]
    assert not left


@pytest.mark.parametrize("sampling", ["epochs", "replacement"])
def test_rules_side_by_side_with_seeds_of_their_own(sampling):
    rules = [OPTIMIZERS["gd"](lr=0.1), OPTIMIZERS["adam"](lr=1e-2)]
    same(*resumed(runs(rules, seed=[3, 4], sampling=sampling, record_every=2, params_every=4, steps=9), 5))


def test_a_run_that_had_diverged_stays_where_it_was():
    whole, again = resumed(runs([OPTIMIZERS["gd"](lr=1e4), OPTIMIZERS["gd"](lr=0.1)], steps=62), 60)
    same(whole, again)
    assert 0 < int(again.diverged_at[0]) < 60
    assert int(again.diverged_at[1]) == -1


@pytest.mark.parametrize(("cut", "batch_size"), [(2, 8), (5, None)])  # before and after the step that is looked at
def test_a_study_goes_on_where_it_was(cut, batch_size):
    rule = OPTIMIZERS["adam"](lr=1e-2)
    same(*resumed(lambda shelf: studying(NETWORK, rule, steps=STEPS, at=3, batch_size=batch_size, shelf=shelf), cut))


def test_a_surface_keeps_its_layout():
    land = Formula("(x*y)^2/2", window=((-3.0, 3.0), (-3.0, 3.0)))
    rule = OPTIMIZERS["adam"](lr=torch.tensor([[0.01], [0.02]], dtype=torch.float64))
    same(*resumed(lambda shelf: running(land, rule, steps=STEPS, report_every=1, shelf=shelf), 3))


@settings(max_examples=40)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=3).map(tuple) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
        max_leaves=6,
    )
)
def test_what_was_packed_comes_back(one):
    assert repr(unpacked(packed(one))) == repr(one)


def test_tensors_come_back_with_their_strides():
    base = torch.arange(24.0).reshape(2, 3, 4)
    for one in (base, base.mT, base[:, :2], base[:, :1].expand(2, 5, 4), base[0, 0, 0], base[:0], base.half() > 3):
        again = unpacked(packed(one))
        assert torch.equal(one, again)
        assert (one.dtype, one.stride()) == (again.dtype, again.stride())
    generator = torch.Generator().manual_seed(5)
    torch.rand(7, generator=generator)
    again = unpacked(packed(generator))
    assert torch.equal(torch.rand(9, generator=again), torch.rand(9, generator=generator))
    with pytest.raises(TypeError, match="set cannot be part of a checkpoint"):
        packed({"one": set()})
