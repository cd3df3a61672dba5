"""What all visitors share."""

import dataclasses
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import ravine.tasks
from pages import _services as services
from ravine import Experiment, compute, computing
from tests.pages.visitor import PATIENCE, paths, visit_link

VISITORS = 12


class Counted:
    """Stands in for `computing`, and knows how many were at it at once."""

    def __init__(self):
        self.lock, self.inside, self.most, self.pulled = threading.Lock(), 0, 0, []

    def __call__(self, experiment, **options):
        results = computing(experiment, **options)
        while True:
            with self.lock:
                self.inside += 1
                self.most = max(self.most, self.inside)
                self.pulled.append(experiment.seed)
            result = next(results)
            with self.lock:
                self.inside -= 1
            yield result


def asked(experiments):
    """What visitors are given who all ask at once."""
    together = threading.Barrier(len(experiments))

    def ask(experiment):
        together.wait(PATIENCE)
        return services.desk().answer(experiment)

    with ThreadPoolExecutor(len(experiments)) as visitors:
        return list(visitors.map(ask, experiments, timeout=PATIENCE))


def test_one_visitor_computes_at_a_time(monkeypatch):
    """Side by side they would fight for the interpreter, and each run would take seven times as long as alone."""
    counted = Counted()
    monkeypatch.setattr(ravine.tasks, "computing", counted)
    experiments = [paths(seed=seed) for seed in range(VISITORS)]
    found = asked(experiments)
    assert counted.most == 1
    assert set(counted.pulled) == set(range(VISITORS))
    for experiment, result in zip(experiments, found, strict=True):
        assert result.complete
        assert result.trajectory.loss.tolist() == compute(experiment).trajectory.loss.tolist()


def test_a_long_computation_lets_the_others_in(monkeypatch):
    counted = Counted()
    monkeypatch.setattr(ravine.tasks, "computing", counted)
    asked([paths(seed=seed, steps=300) for seed in (0, 1)])
    turns = [seed for seed, before in zip(counted.pulled, [None, *counted.pulled], strict=False) if seed != before]
    assert len(turns) > 10  # they took turns


def test_the_same_thing_is_computed_once(monkeypatch):
    counted = Counted()
    monkeypatch.setattr(ravine.tasks, "computing", counted)
    found = asked([paths(steps=5)] * VISITORS)
    assert all(result.trajectory is found[0].trajectory for result in found)


def test_what_is_there_waits_for_nobody():
    experiment = paths(mode="surface")
    services.desk().answer(experiment)
    with services.desk()._turns:
        again = services.desk().answer(dataclasses.replace(experiment, mode="contour"))
    assert again.experiment.mode == "contour"
    assert isinstance(again.experiment, Experiment)


def test_what_fails_is_a_sentence_and_the_next_is_served(monkeypatch):
    def failing(experiment, **options):
        raise RuntimeError("the disk is on fire")
        yield

    with monkeypatch.context() as patch:
        patch.setattr(ravine.tasks, "computing", failing)
        app = visit_link(paths(seed=77))
    (error,) = app.error
    assert error.value.replace("\\", "").startswith(
        "These runs could not be computed. RuntimeError: the disk is on fire"
    )
    assert services.desk().answer(paths(seed=77)).complete


def test_visitors_go_to_the_desk_with_the_fewest_people_that_has_started(monkeypatch):
    opened = []
    first, second, third = (
        SimpleNamespace(people=0, ready=True, open=lambda name=name: opened.append(name)) for name in (1, 2, 3)
    )
    monkeypatch.setattr(services, "desks", lambda: (first, second, third))
    second.ready = third.ready = False
    assert services.desk() is first
    assert opened == []
    first.people = 2
    assert services.desk() is first  # rather than wait for a process that starts
    assert opened == [2, 3]
    second.people, second.ready = 1, True
    assert services.desk() is second
    third.ready = True
    assert services.desk() is third
    for one in (first, second, third):
        one.ready = False
    assert services.desk() is first


def test_a_server_has_imported_what_pages_need_before_the_first_visitor(monkeypatch):
    """Imports of tens of megabytes count from the start, and no visitor waits for one."""
    imported = []
    monkeypatch.setattr(services, "importlib", SimpleNamespace(import_module=imported.append))
    services.warm_up()
    assert {"sklearn.datasets", "pandas", "pyarrow"} <= set(imported)
