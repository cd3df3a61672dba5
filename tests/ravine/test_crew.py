"""Jobs in worker processes: the same bits, and whatever hangs, crashes or is given up gives everything back."""

import contextlib
import dataclasses
import json
import os
import signal
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import ravine.crew
from landscapes import LANDSCAPES, MLP
from optimizers import OPTIMIZERS
from pages import _asking as asking
from pages import _services as services
from ravine import Experiment, Store, compute, computing, own
from ravine.crew import Crew
from ravine.desk import Desk, Late
from ravine.job import CANCELLED, DONE, FAILED, RUNNING
from ravine.jobs import Jobs
from ravine.parcel import pack, unpack
from ravine.pictures import pictures
from tests import awaiting
from tests.pages.visitor import settled, sound, visit_link
from tests.ravine.examples import EXAMPLES, same
from tests.ravine.own_file import registered

PATIENCE = 120.0
SOURCE = """
import os, re, threading, time, torch
from dataclasses import dataclass
from pathlib import Path
from landscapes import Surface, setting

def in_python():
    while True:
        pass

def in_c():  # without ever giving the interpreter away
    re.match("(a+)+$", "a" * 60 + "b")

def for_a_lock():
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()

def ends():
    os._exit(3)

def asks_for_too_much():
    raise MemoryError

def leaves():
    raise SystemExit(1)

def fails():
    raise RuntimeError("the cat sat on it")

def hoards():  # of memory that nobody writes to, so that it costs the machine nothing
    held = [torch.zeros(10**8) for _ in range(100)]

def takes_long():
    while not Path(__file__).with_name("go on").exists():
        time.sleep(0.05)

DOES = {one.__name__: one for one in (
    in_python, in_c, for_a_lock, ends, asks_for_too_much, hoards, leaves, fails, takes_long
)}

@dataclass(frozen=True)
class Trap(Surface):
    name, label = "trap", "Trap"
    reads, reference = "A bowl with a trap in it.", "folklore"
    expression = "x^2 + y^2"
    window = ((-2.0, 2.0), (-2.0, 2.0))
    origin = (1.5, 1.0)
    number: int = setting(0, 0, 1000, help="Tells one from another.")
    does: str = setting("in_python", choices=tuple(DOES), help="What happens near the minimum.")

    def value_and_grad(self, params, batch=None):
        if float(params.abs().max()) < 0.5:
            DOES[self.does]()
        return super().value_and_grad(params, batch)

def make():
    print("what a user's file prints disturbs nobody")
    return {"trap": Trap}
"""


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    """One slot with a worker process of its own, and short of patience."""
    folder = tmp_path_factory.mktemp("crew")
    with registered(folder / "traps.py", SOURCE), pytest.MonkeyPatch.context() as patch:
        # A second suite beside this one is no reason to wait longer for what hangs.
        patch.setattr(ravine.crew, "_PATIENT", 1.0)
        store = Store(folder / "cache")
        crew = Crew(store, turn=0.2, obeys_within=0.5, warm=False)
        one = Jobs(store, queue=20, per_visitor=9, turn=0.2, silence=1.5, crew=crew)
        yield one
        one.close(PATIENCE)


def trap(does, number=0):
    return Experiment(
        landscape=LANDSCAPES["own:trap"](does=does, number=number), optimizers=(OPTIMIZERS["gd"](lr=0.1),),
        view="stepsize", steps=50, start=(1.5, 1.0),
    )  # fmt: skip


def training(seed=0, steps=60):
    tiny = MLP(data="chebyshev", objective="squared", hidden=(4,), seed=seed)
    return Experiment(landscape=tiny, optimizers=(OPTIMIZERS["gd"](lr=0.1),), view="edge", steps=steps)


def until(condition):
    awaiting.until(condition, PATIENCE)


def over(job):
    until(lambda: not job.active)
    return job


def hung(jobs, job):
    """Waits until a job has shown something and then gives no sign of life; its process."""
    until(lambda: job.result is not None)
    (slot,) = [one for one in jobs._slots if one.job is job]
    until(lambda: job.silent > 0)
    return slot.place._process


def living():
    """Worker processes of this one, in as far as the system tells."""
    found = 0
    for one in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = int((one / "stat").read_text().rpartition(")")[2].split()[1])
            found += parent == os.getpid() and b"serve()" in (one / "cmdline").read_bytes()
    return found


def test_a_worker_has_the_same_bits_and_this_process_remembers_them(jobs):
    job = over(jobs.submit(training(), "ada"))
    assert (job.state, job.error) == (DONE, "")
    same(job.result, compute(training()))
    there, here = (json.loads(one["figure"]) for one in (vars(job.result)["pictures"], compute(training()).pictures))
    del (
        there["layout"]["template"],
        here["layout"]["template"],
    )  # Streamlit sets one, where it runs; pages have their own
    assert there == here
    assert jobs.store.get(training()) is job.result
    again = over(jobs.submit(training(steps=61), "ada"))
    assert again.result.done == again.result.total == 61


@pytest.mark.parametrize("view", list(EXAMPLES))
def test_each_partial_result_travels_bit_by_bit(view):
    sent = received = None
    for result in computing(EXAMPLES[view]):
        again = unpack(pack(result, result.experiment, sent), result.experiment, received)
        sent, received = result, again
        same(again, result)
        assert again.provenance == result.provenance
        assert (again.done, again.total, again.phase) == (result.done, result.total, result.phase)
        assert again.recalled == result.recalled
        if result.complete:
            assert vars(again)["digest"] == result.digest
            assert vars(again)["fingerprint"].write() == result.fingerprint.write()
        if result.visible:
            with_pictures = pack(result.shown_by(pictures(result)), result.experiment)
            assert vars(unpack(with_pictures, result.experiment))["pictures"] == result.pictures


def test_a_path_that_both_have_is_not_sent_again():
    *_, one, two = computing(EXAMPLES["slice"])
    assert one.trajectory is two.trajectory
    again = unpack(pack(one, one.experiment), one.experiment)
    sent = pack(two, two.experiment, one)
    assert sent.nbytes < pack(two, two.experiment).nbytes - two.trajectory.params.nbytes
    same(unpack(sent, two.experiment, again), two)
    assert unpack(sent, two.experiment, again).trajectory is again.trajectory


@pytest.mark.parametrize(("share", "own"), [(0.0, 1.0), (0.5, 0.5), (1.0, 1 / 3)])
def test_a_worker_is_not_blamed_for_what_the_processors_do_for_others(share, own, monkeypatch):
    now, seen = 0.0, []
    place = SimpleNamespace(
        ready=True, turn=1.0, obeys_within=0.0, store=SimpleNamespace(get=lambda task: None), tell=lambda *message: None,
        forget=lambda number: None, close=lambda: None, waits=lambda: {"7": 5.0 + share * now},
    )  # fmt: skip
    monkeypatch.setattr(ravine.crew, "time", SimpleNamespace(monotonic=lambda: now))
    monkeypatch.setattr(ravine.crew, "_LISTENS", 0.001)
    monkeypatch.setattr(ravine.crew, "_PATIENT", 3.0)
    steps = ravine.crew.Steps(place, 1, training())

    def silent_for(seconds):
        nonlocal now
        seen.append(seconds)
        now += 1.0
        if now > 4:
            steps.give_up()

    steps.silent_for = silent_for
    with pytest.raises(ravine.crew.GivenUp):
        next(steps)
    assert seen == pytest.approx([own * second for second in range(5)])


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="this system does not tell")
def test_how_long_its_threads_have_waited_for_a_processor_is_known(jobs):
    over(jobs.submit(training(7), "ada"))
    place = jobs._slots[0].place
    waits = place.waits()
    assert str(place._process.pid) in waits
    assert all(0 <= seconds < 1e4 for seconds in waits.values())
    assert all(place.waits()[name] >= seconds for name, seconds in waits.items() if name in place.waits())


KINDS = ("for_a_lock", "in_python", "in_c")


@pytest.mark.parametrize("count", [1, pytest.param(10, marks=pytest.mark.prove)])
def test_hung_jobs_give_everything_back(jobs, count):
    """One after the other, each given up by its visitor: the next is served, and nothing is left of any."""
    over(jobs.submit(training(), "ada"))
    threads, slots = threading.active_count(), len(jobs._slots)
    for number in range(count):
        job = jobs.submit(trap(KINDS[number % 3], number), "eve")
        process = hung(jobs, job)
        assert process.poll() is None
        jobs.cancel(job.task, "eve")
        assert job.state == CANCELLED
        until(lambda process=process: process.poll() == -signal.SIGKILL)
        assert job.result.done < job.result.total  # what was there stays
    other = over(jobs.submit(training(seed=count), "bob"))
    assert other.state == DONE
    assert (threading.active_count(), len(jobs._slots)) == (threads, slots)
    assert living() <= slots + 1  # one at hand


@pytest.mark.parametrize(
    ("does", "says"),
    [
        ("asks_for_too_much", "There was not enough memory for it"),
        ("hoards", "There was not enough memory for it"),
        ("leaves", "SystemExit: 1"),
        ("fails", "RuntimeError: the cat sat on it (traps.py, line 29, in fails)"),
    ],
)
def test_a_failure_is_a_sentence_and_its_worker_lives_on(jobs, does, says):
    over(jobs.submit(training(), "ada"))
    (slot,) = jobs._slots
    before = slot.place
    job = over(jobs.submit(trap(does), "ada"))
    assert job.state == FAILED
    assert job.error.startswith(says)
    over(jobs.submit(training(seed=1), "ada"))
    assert slot.place is before


def test_a_process_that_ends_is_said_once_it_has_ended_twice(jobs):
    job = over(jobs.submit(trap("ends"), "ada"))
    assert job.state == FAILED
    assert job.error == "The process that computed it has ended twice: it ended with status 3."


def test_a_killed_worker_loses_nothing(jobs):
    """Whoever kills it, even while it computes: another goes on from the shelf, with the same bits."""
    long = training(seed=2, steps=1000)  # it must not end before it is killed
    job = jobs.submit(long, "ada")
    until(lambda: job.result is not None)
    (slot,) = jobs._slots
    os.kill(slot.place._process.pid, signal.SIGKILL)
    over(job)
    assert (job.state, job.error, job.losses) == (DONE, "", 1)
    assert torch.equal(job.result.trajectory.loss, compute(long).trajectory.loss)


def test_what_gives_no_sign_of_life_is_set_aside_and_the_second_such_stops_the_first(jobs):
    first = jobs.submit(trap("in_python", 100), "eve")
    hung(jobs, first)
    over(jobs.submit(training(seed=3), "ada"))  # eve still waits, and ada is served
    assert first.state == RUNNING
    second = jobs.submit(trap("in_c", 101), "eve")
    hung(jobs, second)
    other = over(jobs.submit(training(seed=4), "bob"))
    assert other.state == DONE
    assert (first.state, second.state) == (FAILED, RUNNING)
    assert first.error.startswith("It gave no sign of progress for ")
    jobs.cancel(second.task, "eve")
    until(lambda: len(jobs._slots) == 1)


def test_a_long_step_goes_on_beside_the_others(jobs):
    """It is not stopped for being long: once it is through, its result is there."""
    job = jobs.submit(trap("takes_long"), "eve")
    hung(jobs, job)
    other = over(jobs.submit(training(seed=5), "ada"))
    assert other.state == DONE
    assert job.state == RUNNING
    Path(os.environ[own.ENVIRONMENT]).with_name("go on").touch()
    assert over(job).state == DONE
    until(lambda: len(jobs._slots) == 1)


def test_a_changed_file_is_not_taken_for_the_one_that_the_app_has(jobs, monkeypatch):
    seen = own._seen["own:trap"]
    monkeypatch.setitem(own._seen, "own:trap", dataclasses.replace(seen, files=dict.fromkeys(seen.files, "other")))
    with pytest.raises(ValueError, match="has changed since the app was started: start the app again"):
        own.agree({"own:trap": seen})
    monkeypatch.setitem(own._seen, "own:trap", dataclasses.replace(seen, numbers="other"))
    with pytest.raises(ValueError, match="has other numbers each time its file is loaded"):
        own.agree({"own:trap": seen})


def test_cancel_on_a_page_frees_the_place_that_a_users_own_model_holds(jobs, monkeypatch):
    monkeypatch.setattr(services, "jobs", lambda: jobs)
    monkeypatch.setattr(services, "store", lambda: jobs.store)
    own_model, rosenbrock = trap("in_c", 200), trap("fails")
    rosenbrock = dataclasses.replace(rosenbrock, landscape=LANDSCAPES["rosenbrock"](), start=(-1.2, 1.0))
    app = visit_link(own_model)
    process = hung(jobs, app.session_state["stepsize job"])
    monkeypatch.setattr(asking, "_SILENT", 0.0)
    app.run()
    (progress,) = app.get("progress")
    assert " · no sign of progress for " in progress.proto.text
    (button,) = [one for one in app.main.button if one.label == "Cancel"]
    button.click().run()
    sound(app)
    assert [one.value for one in app.info if one.value.startswith("Cancelled.")]
    other = visit_link(rosenbrock)
    assert settled(other, "stepsize").state == DONE
    assert process.poll() == -signal.SIGKILL


def test_what_hangs_while_a_page_waits_is_ended_and_the_next_is_served(jobs):
    """A user's own surface on the page of paths: all other visitors wait for the same place."""
    desk = Desk(jobs.store, jobs._crew.hire, patience=1.0)
    hanging = dataclasses.replace(trap("in_python", 300), view="descend")
    assert desk.takes(hanging)
    with pytest.raises(Late):
        desk.answer(hanging)
    assert not desk.takes(hanging)  # once is enough
    fine = dataclasses.replace(hanging, landscape=LANDSCAPES["rosenbrock"]())
    assert desk.takes(fine)
    same(desk.answer(fine), compute(fine))
    assert desk.answer(fine).trajectory is jobs.store.get(fine).trajectory
    desk._place.close()


@pytest.mark.prove
def test_two_that_take_long_steps_hold_up_nobody(jobs):
    """Where each slot is in the midst of a long step, a third serves who waits; and neither is stopped for being long."""
    crew = Crew(jobs.store, turn=0.2, obeys_within=0.5, warm=False)
    two = Jobs(jobs.store, workers=2, turn=0.2, overdue=0.5, silence=10 * PATIENCE, crew=crew)
    goes_on = Path(os.environ[own.ENVIRONMENT]).with_name("go on")
    goes_on.unlink(missing_ok=True)
    long = [two.submit(trap("takes_long", number), f"eve {number}") for number in (400, 401)]
    until(lambda: all(job.silent > 0 for job in long))
    honest = over(two.submit(training(seed=6), "ada"))
    assert honest.state == DONE
    assert [job.state for job in long] == [RUNNING, RUNNING]
    goes_on.touch()
    assert [over(job).state for job in long] == [DONE, DONE]
    until(lambda: len(two._slots) == 2)
    two.close(PATIENCE)
