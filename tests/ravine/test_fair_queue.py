"""Turns in the queue: everybody has theirs, whatever others compute, and is told when."""

import dataclasses
import threading

import pytest

import ravine.tasks
from ravine import Store, compute, computing
from ravine.crew import GivenUp
from ravine.job import CANCELLED, DONE, FAILED, QUEUED, RUNNING, Job
from ravine.jobs import Jobs
from tests.ravine.queueing import PATIENCE, experiment, until

pytestmark = pytest.mark.usefixtures("closed_queues")


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
    monkeypatch.setattr(ravine.tasks, "computing", steps)
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


def test_the_time_until_a_turn_is_true_within_a_factor_of_two(steps, clock, tmp_path, monkeypatch):
    told, began, mine = {}, {}, []

    def noting(experiment, **options):
        for result in steps(experiment, **options):
            began.setdefault(experiment.seed, clock.now - 1.0)
            for job in mine:
                seed, wait = job.task.seed, jobs.wait(job)
                if seed not in began and wait is not None:
                    told.setdefault((seed, clock.now), wait)
            yield result

    monkeypatch.setattr(ravine.tasks, "computing", noting)
    jobs = Jobs(Store(tmp_path), turn=1.0, forget_after=1000.0, yield_after=1000.0, clock=clock)
    mine += [jobs.submit(experiment(seed), f"visitor {seed}") for seed in range(8)]
    assert all(jobs.wait(job) is None for job in mine)  # nothing is known yet
    steps.gate.set()
    until(jobs, lambda: all(job.state == DONE for job in mine))
    assert len(told) >= 12
    for (seed, now), wait in told.items():
        if began[seed] - now >= 1.0:  # else it is next, and no two turns are as long
            assert (began[seed] - now) / 2 <= wait <= 2 * (began[seed] - now) + 1.0, (seed, now)
    assert jobs.wait(mine[0]) is not None


def test_the_first_turn_is_short_so_that_everybody_sees_something_soon(clock, tmp_path, monkeypatch):
    log, gate = [], threading.Event()

    def quick(asked, **options):
        real = [*computing(asked, **options)][0]
        gate.wait(PATIENCE)
        for done in range(1, 13):
            clock.now += 0.25
            log.append(asked.seed)
            yield dataclasses.replace(real, done=done, total=12)

    monkeypatch.setattr(ravine.tasks, "computing", quick)
    jobs = Jobs(Store(tmp_path), turn=1.0, forget_after=1000.0, yield_after=1000.0, clock=clock)
    mine = [jobs.submit(experiment(seed), f"visitor {seed}") for seed in range(3)]
    gate.set()
    until(jobs, lambda: all(job.state == DONE for job in mine))
    assert log[:6] == [0, 0, 1, 1, 2, 2]
    assert log[6:18] == [0] * 4 + [1] * 4 + [2] * 4


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


def test_a_class_of_sixty_with_a_long_run_each_is_served_whole(tmp_path, clock, monkeypatch):
    """Each asks every twenty seconds, as pages do under load: nobody is cancelled, and nobody waits long for a first turn."""
    seen = {seed: seed / 3 - 20.0 for seed in range(60)}  # not all at the same moment
    real, began, states = compute(experiment()), {}, set()

    def polls():
        for seed in [seed for seed, last in seen.items() if clock.now - last >= 20.0]:
            seen[seed] = clock.now
            job = jobs.poll(experiment(seed), f"visitor {seed}")
            states.add(job.state if job is not None else None)

    def long(asked, **options):
        began[asked.seed] = clock.now
        gate.wait(PATIENCE)
        for done in range(1, 9):
            clock.now += 1.0
            polls()
            yield dataclasses.replace(real, experiment=asked, done=done, total=8)

    gate = threading.Event()
    monkeypatch.setattr(ravine.tasks, "computing", long)
    jobs = Jobs(Store(tmp_path), clock=clock)
    everyone = [jobs.submit(experiment(seed), f"visitor {seed}") for seed in range(60)]
    gate.set()
    until(jobs, lambda: not any(job.active for job in everyone))
    assert [job.state for job in everyone] == [DONE] * 60
    assert states <= {QUEUED, RUNNING, DONE}
    assert all(job.seconds == 8.0 for job in everyone)  # nothing was computed twice
    assert clock.now == 480.0
    assert max(began.values()) <= 2 * 60.0


# ------------------------------------------------------------------ long steps


class LongSteps:
    """A crew, a place and its computations in one: seeds from 100 take steps that end when told, all others none."""

    stays, ready, ended, turn = True, True, False, 1.0

    def __init__(self):
        self.begun, self.through = [], threading.Event()

    def hire(self):
        return self

    def steps(self, task):
        return LongStep(self, task)

    def step_back(self):
        pass

    def close(self):
        self.through.set()


class LongStep:
    resting, seconds = True, 0.0

    def __init__(self, crew, task):
        self.crew, self.task, self.over = crew, task, False
        self.given_up = threading.Event()
        self.silent_for = lambda seconds: None

    def __iter__(self):
        return self

    def __next__(self):
        if self.over:
            raise StopIteration
        self.over = True
        self.crew.begun.append(self.task.seed)
        silent = 0.0
        while self.task.seed >= 100 and not self.crew.through.wait(0.005):
            if self.given_up.is_set():
                raise GivenUp
            silent += 0.5
            self.silent_for(silent)
        return compute(self.task)

    def give_up(self):
        self.given_up.set()

    def close(self):
        pass


def test_those_that_take_long_steps_hold_up_nobody(tmp_path):
    """Two hold both places: the next is served after three seconds of their silence, and neither is stopped for it."""
    crew = LongSteps()
    jobs = Jobs(Store(tmp_path), workers=2, crew=crew)
    long = [jobs.submit(experiment(seed), f"eve {seed}") for seed in (100, 101)]
    until(jobs, lambda: all(job.silent >= 15.0 for job in long))  # alone they may be silent for ever
    honest = [jobs.submit(experiment(seed), f"visitor {seed}") for seed in range(3)]
    until(jobs, lambda: all(job.state == DONE for job in honest))
    assert [job.state for job in long] == [RUNNING, RUNNING]
    crew.through.set()
    until(jobs, lambda: all(job.state == DONE for job in long))
    until(jobs, lambda: len(jobs._slots) == 2)


def test_who_takes_long_steps_is_stopped_only_for_want_of_places(tmp_path):
    """Four hold the two places and the two beside them: one is stopped, after ten seconds, and with a sentence."""
    crew = LongSteps()
    jobs = Jobs(Store(tmp_path), workers=2, crew=crew)
    long = [jobs.submit(experiment(seed), f"eve {seed}") for seed in range(100, 104)]
    until(jobs, lambda: all(job.state == RUNNING for job in long))
    assert min(job.silent for job in long[:2]) >= 3.0
    honest = jobs.submit(experiment(0), "ada")
    until(jobs, lambda: honest.state == DONE)
    stopped = [job for job in long if job.state == FAILED]
    assert len(stopped) == 1
    assert stopped[0].silent >= 10.0
    assert stopped[0].error.startswith("It gave no sign of progress for ")
    crew.through.set()
    until(jobs, lambda: not any(job.active for job in long))
    assert sum(job.state == DONE for job in long) == 3
