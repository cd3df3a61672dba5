"""The queue: states, progress, cancelling, sharing and forgetting. Every wait is on an event and bounded."""

import dataclasses
import threading

import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

import ravine.jobs
from landscapes import MLP
from optimizers import OPTIMIZERS
from ravine import Experiment, Store, compute, computing
from ravine.jobs import CANCELLED, DONE, FAILED, QUEUED, RUNNING, Busy, Job, Jobs

PATIENCE = 60.0
TINY = MLP(data="chebyshev", objective="squared", hidden=(4,))


def experiment(seed=0, **changes):
    values = {"landscape": TINY, "optimizers": (OPTIMIZERS["gd"](lr=0.1),), "view": "edge", "steps": 40}
    return Experiment(**(values | {"seed": seed} | changes))


class Work:
    """Stands in for `computing`: yields the real results, one for each `go`, and says where it stands."""

    def __init__(self):
        self.condition = threading.Condition()
        self.allowed, self.started, self.ended, self.given = 0, [], [], 0

    def __call__(self, experiment, **options):
        self.tell(lambda: self.started.append(experiment.seed))
        try:
            for result in computing(experiment, **options):
                self.wait(lambda: self.allowed > 0)
                self.allowed -= 1
                if experiment.seed >= 100:
                    raise ValueError("this seed is cursed")
                self.tell(self.count)
                yield result
        finally:
            self.tell(lambda: self.ended.append(experiment.seed))

    def count(self):
        self.given += 1

    def tell(self, change):
        with self.condition:
            change()
            self.condition.notify_all()

    def wait(self, until):
        with self.condition:
            assert self.condition.wait_for(until, PATIENCE)

    def go(self, count=1):
        with self.condition:
            self.allowed += count
            self.condition.notify_all()


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture(autouse=True)
def _closed():
    """Every queue ends with its test: what still waits in one would be computed by the next test's `Work`."""
    made, begin = [], Jobs.__init__

    def noted(self, *args, **options):
        begin(self, *args, **options)
        made.append(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Jobs, "__init__", noted)
        yield
    for jobs in made:
        jobs.close(PATIENCE)


@pytest.fixture
def work(monkeypatch):
    work = Work()
    monkeypatch.setattr(ravine.jobs, "computing", work)
    yield work
    work.go(10_000)  # let every worker run out


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def jobs(work, clock, tmp_path):
    return Jobs(Store(tmp_path), clock=clock, forget_after=20.0, queue=3, yield_after=20.0)


def until(jobs, condition):
    """Waits for a change that a worker makes under the manager's lock."""
    for _ in range(int(PATIENCE / 0.01)):
        with jobs._changed:
            if condition():
                return
        threading.Event().wait(0.01)
    raise AssertionError("waited too long")


# ------------------------------------------------------------------ one visitor


def test_a_job_goes_from_queued_to_running_to_done(jobs, work, clock):
    first = jobs.submit(experiment(0), "ada")
    work.wait(lambda: work.started == [0])
    second = jobs.submit(experiment(1), "bob")
    assert (first.state, second.state) == (RUNNING, QUEUED)
    assert first.active
    assert second.active
    assert jobs.ahead(second) == 0
    assert first.result is None
    clock.now = 2.0
    work.go()
    until(jobs, lambda: first.result is not None)
    partial = first.result
    assert 0 < partial.done < partial.total
    assert first.seconds == 2.0
    assert first.state == RUNNING
    work.go(100)
    until(jobs, lambda: first.state == second.state == DONE)
    assert not first.active
    assert first.result.complete
    assert first.result.done > partial.done
    expected = compute(experiment(0))
    assert first.result.trajectory.loss.tolist() == expected.trajectory.loss.tolist()
    assert first.error == ""


def test_a_queue_is_served_in_order(jobs, work):
    jobs.submit(experiment(0), "ada")
    work.wait(lambda: work.started == [0])
    waiting = [jobs.submit(experiment(seed), f"visitor {seed}") for seed in (1, 2, 3)]
    assert [jobs.ahead(job) for job in waiting] == [0, 1, 2]
    work.go(1000)
    until(jobs, lambda: all(job.state == DONE for job in waiting))
    assert work.started == [0, 1, 2, 3]


def test_cancel_keeps_what_was_computed(jobs, work, clock):
    job = jobs.submit(experiment(), "ada")
    work.go()
    until(jobs, lambda: job.result is not None)
    partial = job.result
    jobs.cancel(experiment(), "ada")
    assert job.state == CANCELLED
    work.go(100)
    work.wait(lambda: work.ended == [0])
    assert job.result is partial
    assert work.given <= 2
    for clock.now in (1.0, 19.0):
        assert jobs.poll(experiment(), "ada") is job
        assert job.state == CANCELLED
    again = jobs.submit(experiment(), "ada")
    assert again is not job
    until(jobs, lambda: again.state == DONE)
    assert again.result.complete


def test_a_cancelled_job_is_forgotten_in_the_end(jobs, work, clock):
    job = jobs.submit(experiment(), "ada")
    jobs.cancel(experiment(), "ada")
    clock.now = 1000.0
    assert jobs.poll(experiment(), "ada") is None
    assert job.state == CANCELLED


def test_a_waiting_job_that_is_cancelled_never_starts(jobs, work):
    jobs.submit(experiment(0), "ada")
    work.wait(lambda: work.started == [0])
    waiting = jobs.submit(experiment(1), "bob")
    last = jobs.submit(experiment(2), "eve")
    jobs.cancel(experiment(1), "bob")
    assert waiting.state == CANCELLED
    assert jobs.ahead(last) == 0
    work.go(1000)
    until(jobs, lambda: last.state == DONE)
    assert work.started == [0, 2]


def test_a_new_job_gives_up_the_visitors_old_one(jobs, work):
    old = jobs.submit(experiment(0), "ada")
    work.wait(lambda: work.started == [0])
    new = jobs.submit(experiment(1), "ada")
    assert old.state == CANCELLED
    work.go(1000)
    until(jobs, lambda: new.state == DONE)
    work.wait(lambda: work.ended == [0, 1])
    assert old.result is None or not old.result.complete


def test_asking_again_for_the_same_thing_is_the_same_job(jobs, work):
    job = jobs.submit(experiment(), "ada")
    assert jobs.submit(experiment(), "ada") is job
    work.go(1000)
    until(jobs, lambda: job.state == DONE)
    assert jobs.submit(experiment(), "ada") is job
    assert work.started == [0]


def test_who_never_asked_has_no_job(jobs):
    assert jobs.poll(experiment(), "ada") is None
    jobs.cancel(experiment(), "ada")
    assert jobs.poll(experiment(), "ada") is None


# ------------------------------------------------------------------ several visitors


def test_visitors_share_one_computation(jobs, work):
    job = jobs.submit(experiment(), "ada")
    assert jobs.submit(experiment(), "bob") is job
    assert jobs.poll(experiment(), "bob") is job
    work.go(1000)
    until(jobs, lambda: job.state == DONE)
    assert work.started == [0]


@pytest.mark.parametrize("running", [True, False])
def test_who_cancels_does_not_stop_the_others(jobs, work, running):
    if not running:
        jobs.submit(experiment(7), "zoe")
        work.wait(lambda: work.started == [7])
    job = jobs.submit(experiment(), "ada")
    jobs.submit(experiment(), "bob")
    if running:
        work.wait(lambda: work.started == [0])
    jobs.cancel(experiment(), "ada")
    jobs.cancel(experiment(), "ada")
    jobs.cancel(experiment(), "nobody")
    assert job.active
    work.go(1000)
    until(jobs, lambda: job.state == DONE)
    assert job.result.complete


def test_the_last_to_cancel_stops_it(jobs, work):
    job = jobs.submit(experiment(), "ada")
    jobs.submit(experiment(), "bob")
    jobs.cancel(experiment(), "bob")
    assert job.active
    jobs.cancel(experiment(), "ada")
    assert job.state == CANCELLED


def test_who_moves_on_does_not_stop_the_others(jobs, work):
    shared = jobs.submit(experiment(0), "ada")
    jobs.submit(experiment(0), "bob")
    other = jobs.submit(experiment(1), "ada")
    assert shared.active
    work.go(1000)
    until(jobs, lambda: other.state == DONE)
    assert shared.state == DONE


def test_several_workers_work_at_once(work, clock, tmp_path):
    jobs = Jobs(Store(tmp_path), workers=2, forget_after=20.0, yield_after=20.0, clock=clock)
    both = [jobs.submit(experiment(seed), f"visitor {seed}") for seed in (0, 1)]
    work.wait(lambda: sorted(work.started) == [0, 1])
    assert [job.state for job in both] == [RUNNING, RUNNING]


# ------------------------------------------------------------------ fairness


class Steps:
    """Computations of five pieces each, every one of which takes a second of a clock that nobody else moves."""

    def __init__(self, clock):
        self.clock, self.log, self.gate = clock, [], threading.Event()

    def __call__(self, experiment, **options):
        real = [*computing(experiment, **options)][0]
        self.gate.wait(PATIENCE)
        for done in range(1, 6):
            self.clock.now += 1.0
            self.log.append(experiment.seed)
            yield dataclasses.replace(real, done=done, total=5)


@pytest.fixture
def steps(monkeypatch, clock):
    steps = Steps(clock)
    monkeypatch.setattr(ravine.jobs, "computing", steps)
    yield steps
    steps.gate.set()


def test_visitors_take_turns(steps, clock, tmp_path):
    """Ada's three long jobs do not make Bob wait: he gets every second turn."""
    jobs = Jobs(Store(tmp_path), per_visitor=3, turn=1.0, forget_after=1000.0, yield_after=1000.0, clock=clock)
    ada = [jobs.submit(experiment(seed), "ada") for seed in (0, 1, 2)]
    until(jobs, lambda: ada[0].state == RUNNING)
    bob = jobs.submit(experiment(9), "bob")
    assert jobs.ahead(bob) == 0
    steps.gate.set()
    until(jobs, lambda: all(job.state == DONE for job in (*ada, bob)))
    assert steps.log[:9] == [0, 9, *steps.log[2:3], 9, *steps.log[4:5], 9, *steps.log[6:7], 9, *steps.log[8:9]]
    assert set(steps.log[2:9:2]) <= {0, 1, 2}
    assert sorted(steps.log) == sorted([0, 1, 2, 9] * 5)
    assert bob.seconds == 5.0


def test_a_job_alone_is_not_interrupted(steps, clock, tmp_path):
    jobs = Jobs(Store(tmp_path), turn=1.0, clock=clock)
    job = jobs.submit(experiment(3), "ada")
    steps.gate.set()
    until(jobs, lambda: job.state == DONE)
    assert steps.log == [3] * 5


def test_the_time_left_is_told_from_the_pace(clock, tmp_path):
    job = Job(experiment())
    assert (job.share, job.seconds_left) == (0.0, None)
    whole = compute(experiment())
    job.result, job.seconds, job.begun = dataclasses.replace(whole, done=50, total=100), 4.0, (4.0, 0.5)
    assert job.seconds_left is None  # half of it was kept from before, and says nothing about the pace
    job.result, job.seconds = dataclasses.replace(whole, done=75, total=100), 14.0
    assert (job.share, job.seconds_left) == (0.75, 10.0)


def test_a_waiting_job_that_had_a_turn_lets_go_when_cancelled(steps, clock, tmp_path):
    jobs = Jobs(Store(tmp_path), workers=0, clock=clock)
    job = jobs.submit(experiment(), "ada")
    steps.gate.set()
    job.steps = steps(experiment())
    next(job.steps)
    generator = job.steps
    jobs.cancel(experiment(), "ada")
    assert (job.state, job.steps) == (CANCELLED, None)
    assert list(generator) == []


# ------------------------------------------------------------------ bounds


def test_a_visitor_has_so_many_jobs(clock, tmp_path):
    jobs = Jobs(Store(tmp_path), workers=0, per_visitor=2, queue=3, clock=clock)
    first, second = (jobs.submit(experiment(seed), "ada") for seed in (0, 1))
    other = jobs.submit(experiment(5), "bob")
    assert jobs.submit(experiment(1), "ada") is second  # asking again is no new job
    third = jobs.submit(experiment(2), "ada")  # at the bound of the queue, but it gives up its oldest
    assert [one.state for one in (first, second, third, other)] == [CANCELLED, QUEUED, QUEUED, QUEUED]
    with pytest.raises(Busy):
        jobs.submit(experiment(6), "eve")


def test_a_full_queue_is_busy(jobs, work):
    jobs.submit(experiment(0), "ada")
    work.wait(lambda: work.started == [0])
    waiting = [jobs.submit(experiment(seed), f"visitor {seed}") for seed in (1, 2, 3)]
    with pytest.raises(Busy, match="3 computations are waiting already") as busy:
        jobs.submit(experiment(4), "late")
    assert str(busy.value).endswith(".")
    assert jobs.poll(experiment(4), "late") is None
    assert jobs.submit(experiment(2), "late") is waiting[1]  # to wait with others takes no place
    jobs.cancel(experiment(1), "visitor 1")
    assert jobs.submit(experiment(4), "later").state == QUEUED
    work.go(1000)
    until(jobs, lambda: waiting[1].state == waiting[2].state == DONE)


def test_jobs_that_nobody_asks_for_are_cancelled(jobs, work, clock):
    running = jobs.submit(experiment(0), "ada")
    work.wait(lambda: work.started == [0])
    waiting = jobs.submit(experiment(1), "bob")
    polled = jobs.submit(experiment(2), "eve")
    for clock.now in (15.0, 20.0):
        assert jobs.poll(experiment(2), "eve") is polled
    assert [job.state for job in (running, waiting)] == [RUNNING, QUEUED]
    clock.now = 20.1
    jobs.poll(experiment(2), "eve")
    assert [job.state for job in (running, waiting)] == [CANCELLED, CANCELLED]
    work.go(1000)
    until(jobs, lambda: polled.state == DONE)
    assert work.started == [0, 2]


def test_who_asks_late_waits_behind_the_others_and_loses_nothing(steps, tmp_path, clock):
    """Under load any page asks late: its computation is not cancelled, and has its turn as soon as it asks again."""
    jobs = Jobs(Store(tmp_path), turn=1.0, forget_after=90.0, yield_after=20.0, clock=clock)
    hidden = jobs.submit(experiment(0), "hidden tab")
    until(jobs, lambda: hidden.state == RUNNING)
    ada, bob = jobs.submit(experiment(1), "ada"), jobs.submit(experiment(2), "bob")
    clock.now = 30.0
    for seed, visitor in ((1, "ada"), (2, "bob")):
        jobs.poll(experiment(seed), visitor)
    steps.gate.set()
    until(jobs, lambda: hidden.state == ada.state == bob.state == DONE)
    assert steps.log[0] == 0  # its turn had begun
    assert set(steps.log[1:9]) == {1, 2}
    assert hidden.result.complete


def test_who_is_late_is_not_cancelled_but_for_want_of_room(tmp_path, clock):
    jobs = Jobs(Store(tmp_path), workers=0, queue=2, forget_after=60.0, yield_after=5.0, clock=clock)
    late = jobs.submit(experiment(0), "ada")
    clock.now = 30.0
    waiting = jobs.submit(experiment(1), "bob")
    assert (jobs.ahead(waiting), jobs.ahead(late)) == (0, 1)
    assert jobs.poll(experiment(0), "ada") is late
    assert (jobs.ahead(late), jobs.ahead(waiting)) == (0, 1)  # it has its place again
    clock.now = 60.0
    jobs.poll(experiment(1), "bob")
    newest = jobs.submit(experiment(2), "eve")
    assert [job.state for job in (late, waiting, newest)] == [CANCELLED, QUEUED, QUEUED]


def test_a_job_without_visitors_stops_itself(jobs, work, clock):
    job = jobs.submit(experiment(), "ada")
    work.go()
    until(jobs, lambda: job.result is not None)
    clock.now = 1000.0
    work.go(1000)
    work.wait(lambda: work.ended == [0])
    assert job.state == CANCELLED
    assert not job.result.complete


def test_one_visitor_who_stays_is_enough(jobs, work, clock):
    job = jobs.submit(experiment(), "ada")
    jobs.submit(experiment(), "bob")
    for clock.now in range(10, 100, 10):
        jobs.poll(experiment(), "bob")
    assert job.active
    assert list(job.owners) == ["bob"]


# ------------------------------------------------------------------ failures


def test_a_failure_is_told_and_the_worker_lives_on(jobs, work):
    bad = jobs.submit(experiment(100), "ada")
    good = jobs.submit(experiment(1), "bob")
    work.go(1000)
    until(jobs, lambda: good.state == DONE)
    assert bad.state == FAILED
    assert not bad.active
    assert bad.error.startswith("ValueError: this seed is cursed")
    again = jobs.submit(experiment(100), "ada")
    assert again is not bad


def test_a_failure_after_cancelling_stays_a_cancel(jobs, work):
    job = jobs.submit(experiment(100), "ada")
    work.wait(lambda: work.started == [100])
    jobs.cancel(experiment(100), "ada")
    last = jobs.submit(experiment(1), "bob")
    work.go(1000)
    until(jobs, lambda: last.state == DONE)
    assert job.state == CANCELLED
    assert job.error == ""


# ------------------------------------------------------------------ any sequence of what visitors do

visitors = st.sampled_from(["ada", "bob", "eve"])
acts = st.tuples(st.sampled_from(["submit", "poll", "cancel", "wait"]), visitors, st.integers(0, 3))


@profile(max_examples=60)
@given(st.lists(acts, max_size=25))
def test_the_queue_holds_what_is_waited_for(sequence):
    """Without workers, so that only visitors change anything: compared with a model of who waits for what."""
    clock = Clock()
    jobs = Jobs(Store(), workers=0, queue=2, forget_after=20.0, yield_after=20.0, clock=clock)
    seen = {}  # (visitor, seed) -> when last seen, of those who wait
    for act, visitor, seed in sequence:
        if act == "wait":
            clock.now += 7.0 * (seed + 1)
            continue
        seen = {pair: when for pair, when in seen.items() if clock.now - when <= 20.0}
        wanted = {number for _, number in seen}
        if act == "submit":
            kept = {pair: when for pair, when in seen.items() if pair[0] != visitor or pair[1] == seed}
            wanted = {number for _, number in kept}
            try:
                job = jobs.submit(experiment(seed), visitor)
            except Busy:
                assert seed not in wanted
                assert len(wanted) == 2
                continue  # and nothing was given up
            seen = kept
            assert seed in wanted or len(wanted) < 2
            assert job.state == QUEUED
            seen[visitor, seed] = clock.now
        elif act == "poll":
            job = jobs.poll(experiment(seed), visitor)
            if seed in wanted:
                assert job.state == QUEUED
                seen[visitor, seed] = clock.now
            else:
                assert job is None or job.state == CANCELLED
        else:
            jobs.cancel(experiment(seed), visitor)
            seen.pop((visitor, seed), None) if seed in wanted else None
            seen = {pair: when for pair, when in seen.items() if pair[1] != seed or clock.now - when <= 20.0}
        waiting = {job.experiment.seed for job in jobs._waiting}
        assert waiting >= {number for (_, number), when in seen.items() if clock.now - when <= 20.0}
        assert len(jobs._waiting) == len(waiting) <= 2


def test_closing_ends_the_workers_and_what_they_compute(tmp_path, monkeypatch):
    """A thread that is in torch when Python ends would take the process down with it."""
    work = Work()
    monkeypatch.setattr(ravine.jobs, "computing", work)
    jobs = Jobs(Store(tmp_path), workers=2)
    running, waiting = [jobs.submit(experiment(seed), f"visitor {seed}") for seed in range(3)][::2]
    work.wait(lambda: len(work.started) == 2)
    work.go(2)
    jobs.close(PATIENCE)
    assert running.state == waiting.state == CANCELLED
    assert sorted(work.started) == sorted(work.ended) == [0, 1]
    assert not any(worker.is_alive() for worker in jobs._workers)
