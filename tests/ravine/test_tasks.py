"""Questions that workers answer: what they are predicted to take, how far they are, and how they travel."""

import dataclasses
import io
import threading
from functools import partial

import numpy as np
import pytest
import torch

import ravine.result
from landscapes import LANDSCAPES, MLP, Formula
from optimizers import OPTIMIZERS, SCHEDULES, WRAPPERS, composed, run, tune
from ravine import Experiment, Store, compute, computing, inquiries, own, worker
from ravine.experiment import VIEWS
from ravine.parcel import pack, unpack
from ravine.tasks import Found, Inquiry, answers, is_short
from ravine.telling import telling
from tests.ravine.examples import EXAMPLES

HEAVY = Formula("+".join(f"sin({n}*x)*cos({n}*y)" for n in range(1, 14)))
AROUND = [
    partial(WRAPPERS[name]) for name in ("clip_norm", "clip_value", "lookahead", "decoupled_decay", "gradient_noise")
]
TINY = MLP(data="chebyshev", objective="squared", hidden=(4,))


def wrapped(schedule=None, steps=10_000):
    names = ("gam", "gam_accelerated", "adahessian", "sam")
    return Experiment(HEAVY, tuple(composed(OPTIMIZERS[name](), schedule, AROUND) for name in names), steps=steps)


# ------------------------------------------------------------------ what is short


def test_what_a_class_does_all_day_is_short_and_what_holds_a_server_is_not():
    default = Experiment.default()
    assert is_short(default)
    assert is_short(inquiries.basins(dataclasses.replace(default, basins=1)))
    assert is_short(inquiries.field(default.landscape))
    result = compute(Experiment(TINY, (OPTIMIZERS["gd"](lr=0.1),), view="edge", steps=4))
    assert is_short(inquiries.cut(result, 0, 4))
    assert is_short(inquiries.spectrum(result, 0, 4))
    assert is_short(inquiries.at_point(Experiment.default("stepsize"), torch.zeros(2))) is False
    for long in (wrapped(), wrapped(SCHEDULES["refined"]()), *map(Experiment.default, set(VIEWS) - {"descend"})):
        assert not is_short(long)
    assert not is_short(inquiries.tuning(wrapped()))
    assert not is_short(inquiries.basins(dataclasses.replace(wrapped(), basins=1)))
    assert not is_short(inquiries.around(_with(wrapped(steps=10), around=("response",), steps=10_000)))


def _with(experiment, **looks):
    """A result that stands for one of more steps."""
    short = compute(experiment)
    return dataclasses.replace(short, experiment=dataclasses.replace(experiment, **looks))


def test_rules_that_run_as_programs_are_short_and_those_on_tensors_are_not():
    quick = Experiment.default()
    quick = dataclasses.replace(quick, optimizers=(OPTIMIZERS["adam"](), OPTIMIZERS["gd"]()), steps=5000)
    assert is_short(quick)
    for slow in ({"dtype": "float32"}, {"optimizers": (OPTIMIZERS["adam"](), OPTIMIZERS["sam"]())}):
        assert not is_short(dataclasses.replace(quick, **slow))


@pytest.mark.parametrize("view", list(VIEWS))
def test_more_steps_take_longer(view):
    experiment = Experiment.default(view)
    assert 0 < experiment.seconds < dataclasses.replace(experiment, steps=2 * experiment.steps).seconds


# ------------------------------------------------------------------ how far it is


def counting(steps, tell=None):
    done = 0
    for done in range(1, steps + 1):
        tell(done / steps, f"step {done} of {steps}")
    return done


@pytest.fixture
def told_at_once(monkeypatch):
    monkeypatch.setattr("ravine.telling._EVERY", 0.0)


@pytest.mark.usefixtures("told_at_once")
def test_an_inquiry_says_how_far_it_is_and_its_answer_is_kept(tmp_path):
    store, inquiry = Store(tmp_path), Inquiry(counting, (4,), "4")
    found = [*answers(inquiry, store=store)]
    assert [one.complete for one in found] == [False] * 4 + [True]
    assert [one.phase for one in found[:4]] == [f"step {n} of 4" for n in (1, 2, 3, 4)]
    assert found[-1].value == 4
    with pytest.raises(ValueError, match="not complete"):
        _ = found[0].value
    assert store.get(inquiry) is found[-1]
    assert [*answers(inquiry, store=store)] == [found[-1]]


@pytest.mark.usefixtures("told_at_once")
def test_what_nobody_pulls_rests_and_what_is_closed_ends():
    reached = []

    def work(tell):
        for step in range(1000):
            reached.append(step)
            tell(0.0, "")

    before, told = threading.active_count(), telling(work)
    assert reached == []
    next(told)
    next(told)
    assert reached == [0, 1]
    told.close()
    assert reached == [0, 1]
    assert threading.active_count() == before


def test_what_a_function_raises_is_raised_where_it_is_pulled():
    def fails(tell):
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        next(telling(fails))


def test_what_is_kept_is_bounded(tmp_path):
    store = Store(tmp_path, memory_bytes=100_000)
    for number in range(50):
        store.remember(str(number), Found(torch.zeros(1000, dtype=torch.float64)))
    held = [number for number in range(50) if str(number) in store._memory]
    assert held == [*range(50 - len(held), 50)]
    assert 8 <= len(held) <= 12


@pytest.mark.parametrize("looked", ["tuning", "basins", "cut", "spectrum", "around"])
def test_the_answer_of_a_question_is_that_of_its_function(looked):
    """However often it says how far it is: the same bits."""
    paths = Experiment.default()
    edge = compute(Experiment(TINY, (OPTIMIZERS["gd"](lr=0.1),), view="edge", steps=20, every=5))
    asked = {
        "tuning": lambda: inquiries.tuning(dataclasses.replace(paths, steps=30)),
        "basins": lambda: inquiries.basins(dataclasses.replace(paths, steps=30, basins=2)),
        "cut": lambda: inquiries.cut(edge, 0, 20),
        "spectrum": lambda: inquiries.spectrum(edge, 0, 20),
        "around": lambda: inquiries.around(
            compute(dataclasses.replace(paths, steps=30, around=("response", "stability")))
        ),
    }[looked]()
    *_, found = unpack(pack(asked)).answers()
    plain = asked.answer(*asked.given)
    assert bits(found.value) == bits(plain)
    if looked == "tuning":
        start = torch.tensor(paths.start, dtype=torch.float64)
        torch.testing.assert_close(
            plain.final_loss,
            tune(paths.landscape, paths.optimizers, steps=30, start=start).final_loss,
            rtol=0,
            atol=0,
            equal_nan=True,
        )


@pytest.mark.usefixtures("told_at_once")
def test_a_rehearsal_says_how_far_it_is_and_changes_no_bit():
    experiment = wrapped(SCHEDULES["refined"](), steps=20)
    *partial_ones, found = computing(experiment)
    rehearsed = partial_ones[0]
    plain = run(HEAVY, experiment.optimizers, torch.tensor(experiment.start, dtype=torch.float64), 20)
    assert torch.equal(found.trajectory.loss, plain.loss)
    assert rehearsed.phase.startswith("rehearsal, step ")
    assert (rehearsed.done, rehearsed.complete, len(rehearsed.trajectory.step)) == (0, False, 1)
    assert torch.equal(rehearsed.trajectory.params, found.trajectory.params[:1])


# ------------------------------------------------------------------ how it travels


def bits(value):
    packed = pack(value)
    return packed.head, [bytes(one.raw()) for one in packed.buffers]


@pytest.mark.parametrize("view", list(EXAMPLES))
def test_experiments_travel_as_their_links(view):
    experiment = EXAMPLES[view]
    word, again = unpack(pack(("of", experiment)))
    assert (word, again.key, again.to_url()) == ("of", experiment.key, experiment.to_url())
    assert experiment.to_url().encode() in pack(experiment).head
    assert unpack(pack(experiment, experiment), "known") == "known"


def test_a_tensor_takes_no_more_than_its_own_numbers():
    whole = torch.arange(100_000, dtype=torch.float64)
    sent = pack(whole[5:15])
    assert len(sent.head) + sum(len(one.raw()) for one in sent.buffers) < 2000
    assert torch.equal(unpack(sent), whole[5:15])


@pytest.mark.parametrize(
    "tensor", [torch.arange(24.0).reshape(2, 3, 4), torch.arange(24.0).reshape(4, 6).T, torch.ones(())]
)
def test_arrays_are_not_copied_where_they_arrive_and_may_be_written_to(tensor):
    stream = io.BytesIO()
    worker.write(stream, ("result", pack({"far": tensor})))
    stream.seek(0)
    _, sent = worker.read(stream)
    assert len(sent.buffers) == 1
    found = unpack(sent)["far"]
    assert torch.equal(found, tensor)
    found += 1
    again = np.frombuffer(sent.buffers[0], np.float32)
    assert sorted(again.tolist()) == sorted((tensor + 1).flatten().tolist())


def test_the_digest_of_a_whole_result_travels_with_it(monkeypatch):
    experiment = Experiment.default()
    whole = compute(experiment)
    sent = pack(whole, experiment)
    digest = whole.digest
    monkeypatch.setattr(ravine.result, "digest", lambda arrays: "taken here")
    assert unpack(sent, experiment).digest == digest
    assert unpack(pack(dataclasses.replace(whole, done=0), experiment), experiment).digest == "taken here"


def test_a_landscape_that_is_not_here_is_refused(monkeypatch):
    mine = own.adopt("elsewhere", LANDSCAPES["beale"])
    sent = pack(Experiment(mine, (OPTIMIZERS["gd"](),)))
    monkeypatch.setattr(own, "_seen", {})
    del LANDSCAPES["own:elsewhere"]  # for good: no other test has it
    with pytest.raises(ValueError, match="has changed since the app was started|is not what its link says"):
        unpack(sent)
