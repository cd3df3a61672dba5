"""The queue: states, progress, cancelling, sharing and forgetting. Every wait is on an event and bounded."""

import dataclasses
import threading
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

import ravine.engine
import ravine.tasks
from landscapes import LANDSCAPES, MLP
from optimizers import OPTIMIZERS
from ravine import Experiment, Store, compute, computing, memory
from ravine.crew import GivenUp
from ravine.experiment import training
from ravine.jobs import CANCELLED, DONE, FAILED, QUEUED, RUNNING, Busy, Here, Job, Jobs

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
    monkeypatch.setattr(ravine.tasks, "computing", work)
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


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 1, 0)])
def test_what_several_start_from_is_trained_once(workers, order, tmp_path, monkeypatch):
    trained, original = [], ravine.engine._training

    def counted(one, *rest):
        yield from original(one, *rest)
        trained.append(one.key)

    monkeypatch.setattr(ravine.engine, "_training", counted)
    jobs = Jobs(Store(tmp_path), workers=workers, turn=0.0)
    cut = experiment(view="slice", points=9)
    asked = [cut, dataclasses.replace(cut, plane_seed=cut.plane_seed + 1), training(cut)]
    for place in order:
        jobs.submit(asked[place], f"visitor {place}")
    found = [jobs.poll(one, f"visitor {place}") for place, one in enumerate(asked)]
    until(jobs, lambda: all(job.state == DONE for job in found))
    assert trained == [training(cut).key]
    for one, job in zip(asked, found, strict=True):
        assert job.result.numbers.digest == compute(one).numbers.digest


def test_a_slice_goes_on_when_the_training_that_it_waits_for_is_given_up(jobs, work):
    cut = experiment(view="slice", points=9)
    jobs.submit(training(cut), "ada")
    work.go()
    until(jobs, lambda: jobs.poll(training(cut), "ada").result is not None)
    waiting = jobs.submit(cut, "bob")
    assert jobs.doubles(waiting)
    assert waiting.result.trajectory is jobs.poll(training(cut), "ada").result.trajectory
    jobs.cancel(training(cut), "ada")
    assert not jobs.doubles(waiting)
    work.go(1000)
    until(jobs, lambda: waiting.state == DONE)
    assert waiting.result.numbers.digest == compute(cut).numbers.digest


@pytest.mark.parametrize("first", [training(experiment(view="slice", points=9)), experiment(view="slice", points=11)])
def test_a_slice_that_waits_for_another_sees_what_that_one_trains(jobs, work, monkeypatch, first):
    monkeypatch.setattr(ravine.engine, "_REPORT_SECONDS", 0.0)
    cut = experiment(view="slice", points=9)
    begun, waiting = jobs.submit(first, "ada"), jobs.submit(cut, "bob")
    for _ in range(2):
        given = waiting.given
        work.go()
        until(jobs, lambda given=given: waiting.given > given)
        assert jobs.doubles(waiting)
        assert waiting.result.experiment == cut
        assert waiting.result.trajectory is begun.result.trajectory
        assert not waiting.result.complete
    work.go(1000)
    until(jobs, lambda: waiting.state == DONE)
    assert waiting.result.numbers.digest == compute(cut).numbers.digest


def test_what_others_have_done_for_a_slice_is_not_its_own_pace(jobs, work, clock, monkeypatch):
    monkeypatch.setattr(ravine.engine, "_REPORT_SECONDS", 0.0)
    cut = experiment(view="slice", points=9)
    slice_ = jobs.submit(cut, "bob")
    work.go()
    until(jobs, lambda: slice_.begun is not None)
    assert slice_.begun[1] < 0.5
    jobs.submit(training(cut), "ada")
    clock.now = 2.0  # its turn is over, and it waits for what ada's job trains
    work.go(10)
    until(jobs, lambda: slice_.begun is None)
    work.go(1000)
    until(jobs, lambda: slice_.state == DONE)
    assert slice_.begun[1] >= 0.5


def test_a_queue_has_started_once_a_place_is_ready_and_stays_so(work, tmp_path):
    class Slow(Here):
        ready = False

    place = Slow(Store(tmp_path))
    jobs = Jobs(Store(tmp_path), crew=SimpleNamespace(hire=lambda: place, close=lambda: None))
    until(jobs, lambda: jobs._slots[0].place is place)
    assert not jobs.started
    place.ready = True
    assert jobs.started
    place.ready = False  # a worker that is killed is followed by another: no reason to send visitors elsewhere
    assert jobs.started


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


def test_what_would_not_fit_beside_what_has_begun_waits(work, tmp_path):
    """Two places, and memory for one and a half trainings."""
    small = dataclasses.replace(experiment(), landscape=LANDSCAPES["booth"](), view="descend", seed=7)
    most = 1.5 * memory.of(experiment()).lasting
    jobs = Jobs(Store(tmp_path), workers=2, memory=most)
    first, second = jobs.submit(experiment(0), "ada"), jobs.submit(experiment(1), "bob")
    work.wait(lambda: work.started == [0])
    third = jobs.submit(small, "cleo")
    work.wait(lambda: work.started == [0, 7])  # what takes next to nothing passes by
    assert (first.state, second.state, third.state) == (RUNNING, QUEUED, RUNNING)
    jobs.cancel(experiment(0), "ada")
    work.go(1000)
    until(jobs, lambda: second.state == third.state == DONE)
    alone = Jobs(Store(tmp_path / "other"), workers=2, memory=1.0)  # nothing fits, and one has to begin
    jobs = [alone.submit(experiment(seed), f"visitor {seed}") for seed in (2, 3)]
    until(alone, lambda: all(one.state == DONE for one in jobs))


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


def test_a_page_that_asks_for_news_and_gets_none_is_not_late(tmp_path, clock):
    jobs = Jobs(Store(tmp_path), workers=0, yield_after=5.0, clock=clock)
    ada, bob = jobs.submit(experiment(0), "ada"), jobs.submit(experiment(1), "bob")
    clock.now = 30.0
    jobs.seen("bob")
    assert (jobs.ahead(bob), jobs.ahead(ada)) == (0, 1)


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
            elif (
                job is not None and job.state == QUEUED
            ):  # nobody has looked after it meanwhile: it is waited for again
                seen[visitor, seed] = clock.now
            else:
                assert job is None or job.state == CANCELLED
        else:
            jobs.cancel(experiment(seed), visitor)
            seen.pop((visitor, seed), None) if seed in wanted else None
            seen = {pair: when for pair, when in seen.items() if pair[1] != seed or clock.now - when <= 20.0}
        waiting = {job.task.seed for job in jobs._waiting}
        assert waiting >= {number for (_, number), when in seen.items() if clock.now - when <= 20.0}
        assert len(jobs._waiting) == len(waiting) <= 2


def test_closing_ends_the_workers_and_what_they_compute(tmp_path, monkeypatch):
    """A thread that is in torch when Python ends would take the process down with it."""
    work = Work()
    monkeypatch.setattr(ravine.tasks, "computing", work)
    jobs = Jobs(Store(tmp_path), workers=2)
    running, waiting = [jobs.submit(experiment(seed), f"visitor {seed}") for seed in range(3)][::2]
    work.wait(lambda: len(work.started) == 2)
    work.go(2)
    jobs.close(PATIENCE)
    assert running.state == waiting.state == CANCELLED
    assert sorted(work.started) == sorted(work.ended) == [0, 1]
    assert not any(worker.is_alive() for worker in jobs._workers)
