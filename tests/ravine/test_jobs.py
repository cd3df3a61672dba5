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
from landscapes import LANDSCAPES
from ravine import Store, compute, computing, memory
from ravine.experiment import training
from ravine.job import CANCELLED, DONE, FAILED, QUEUED, RUNNING
from ravine.jobs import Busy, Jobs
from ravine.place import Here
from tests.ravine.queueing import PATIENCE, Clock, experiment, until

pytestmark = pytest.mark.usefixtures("closed_queues")


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


@pytest.fixture
def work(monkeypatch):
    work = Work()
    monkeypatch.setattr(ravine.tasks, "computing", work)
    yield work
    work.go(10_000)  # let every worker run out


@pytest.fixture
def jobs(work, clock, tmp_path):
    return Jobs(Store(tmp_path), clock=clock, forget_after=20.0, queue=3, yield_after=20.0)


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
