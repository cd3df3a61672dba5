"""Work on a Dask cluster: a real one of processes on this machine, which are killed in the middle."""

import dataclasses
import gc
import os
import signal
import socket
import threading

import dask
import pytest
import torch
from distributed import Client, LocalCluster
from distributed.utils import get_mp_context

from landscapes import LANDSCAPES
from optimizers import OPTIMIZERS
from ravine import Experiment, Store, compute, computing
from ravine.axis import Axis
from ravine.cluster import VARIABLE, Unreachable, connect, from_environment
from tests import awaiting
from tests.ravine.dask_processes import cluster as processes
from tests.ravine.dask_processes import nobody

EXPERIMENT = Experiment(
    landscape=LANDSCAPES["himmelblau"](),
    optimizers=(OPTIMIZERS["heavy_ball"](),),
    view="sweep",
    steps=100,
    over_x=Axis("lr", 1e-3, 1.0, 8, log=True),
    over_y=Axis("seed", 0, 11, 12),  # each a piece of its own: more than the workers are given at once
)


QUIET = {"dashboard_address": None, "silence_logs": 50, "host": "127.0.0.1"}


@pytest.fixture(scope="module")
def cluster():
    patient = {f"distributed.comm.timeouts.{name}": "300s" for name in ("connect", "tcp")}
    with dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"} | patient):
        # Both workers come from one process that has imported everything: to import it twice took most of the time.
        get_mp_context().set_forkserver_preload(["distributed", "ravine.engine", "ravine.cluster"])
        with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, **QUIET) as cluster:
            for nanny in cluster.workers.values():
                nanny.auto_restart = False  # nobody waits for another one in place of the one that is killed
            yield cluster


@pytest.fixture
def hasty(monkeypatch):
    """Looks at the cluster often, and gives up soon."""
    for name, seconds in {"_PATIENCE": 1.0, "_AGAIN": 0.2, "_BEAT": 0.1}.items():
        monkeypatch.setattr(f"ravine.cluster.{name}", seconds)
    monkeypatch.setattr("ravine.cluster._ANSWERS", 20.0)  # on a busy machine even a healthy scheduler takes its time


def same(result, other=None):
    other = compute(result.experiment) if other is None else other
    for name, array in other.arrays().items():
        assert array.tobytes() == result.arrays()[name].tobytes(), name


def until(condition):
    awaiting.until(condition, 240.0)


@pytest.mark.filterwarnings("ignore")  # of Dask's own, when a process goes
def test_a_killed_worker_changes_no_bit(cluster, tmp_path, hasty):
    here = compute(EXPERIMENT)
    with connect(cluster.scheduler_address) as executor:
        pids = executor._client.run(os.getpid)
        assert len(set(pids.values())) == 2
        assert os.getpid() not in pids.values()
        steps = computing(EXPERIMENT, store=Store(tmp_path), executor=executor)
        results = [next(steps)]
        os.kill(next(iter(pids.values())), signal.SIGKILL)
        results += steps
    assert len(results) > 2
    same(results[-1], here)
    assert bool((here.table.diverged_at >= 0).any())
    assert torch.isfinite(here.table.final_loss).any()


def thread():
    return threading.current_thread().name


@pytest.mark.filterwarnings("ignore")
def test_without_workers_this_machine_computes_until_there_are_some(hasty):
    with (
        LocalCluster(n_workers=0, processes=False, protocol="tcp", **QUIET) as alone,
        connect(alone.scheduler_address) as executor,
    ):
        same(compute(EXPERIMENT, executor=executor))  # what was sent to nobody comes back
        assert executor.absent == "The Dask cluster has no workers. This machine computes until it has some."
        assert executor.submit(thread).result().startswith("ravine-here")
        alone.scale(1)
        until(lambda: "Dask" in executor.submit(thread).result(120))
        same(compute(dataclasses.replace(EXPERIMENT, seed=1), executor=executor))


@pytest.mark.prove  # six processes that import everything
@pytest.mark.filterwarnings("ignore")
def test_killed_processes_of_the_cluster_change_no_bit(monkeypatch, hasty):
    """Where there is no scheduler at first, this machine computes until it comes; when it is killed, or the last worker is,
    until there is another."""
    address, started = nobody(), []

    def start():
        started.extend(processes(address))
        until(lambda: executor.submit(os.getpid).result(120) == started[-1].pid)

    monkeypatch.setenv(VARIABLE, address)
    executor = from_environment()
    try:
        assert executor.absent.startswith(f"No Dask scheduler answers at {address}")
        assert executor.absent.endswith("This machine computes until one does.")
        same(compute(EXPERIMENT, executor=executor))
        start()
        scheduler, worker = started
        worker.send_signal(signal.SIGSTOP)
        death = threading.Timer(0.3, scheduler.kill)
        death.start()
        same(compute(EXPERIMENT, executor=executor))
        death.join()
        assert executor.absent == "The Dask cluster does not answer. This machine computes until it answers."
        worker.kill()
        same(compute(dataclasses.replace(EXPERIMENT, seed=1), executor=executor))
        start()
        same(compute(dataclasses.replace(EXPERIMENT, seed=2), executor=executor))
        worker = started[-1]  # the only one
        worker.send_signal(signal.SIGSTOP)
        death = threading.Timer(0.3, worker.kill)
        death.start()
        same(compute(dataclasses.replace(EXPERIMENT, seed=3), executor=executor))
        death.join()
        assert executor.absent.startswith("The Dask cluster has no workers.")
    finally:
        executor.shutdown()
        for process in started:
            process.kill()
            process.wait()


def test_an_address_where_nobody_listens_is_said(monkeypatch):
    monkeypatch.setattr("ravine.cluster._ANSWERS", 0.5)
    address = nobody()
    with pytest.raises(Unreachable, match=f"No Dask scheduler answers at {address}"):
        connect(address)
    with pytest.raises(Unreachable, match="No Dask scheduler answers at somewhere else"):
        connect("somewhere else")
    assert from_environment() is None
    monkeypatch.setenv(VARIABLE, address)
    with from_environment() as executor:
        assert executor.absent.endswith("This machine computes until one does.")
        assert executor.submit(os.getpid).result() == os.getpid()
        failing = executor.submit(int, "no number")
        with pytest.raises(ValueError, match="no number"):
            failing.result()


def test_who_listens_and_says_nothing_is_no_scheduler(monkeypatch):
    """Dask's own client waits for ever."""
    monkeypatch.setattr("ravine.cluster._ANSWERS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"tcp://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(Unreachable, match=f"No Dask scheduler answers at {address} .TimeoutError."):
            connect(address)


def test_attempts_that_fail_leave_neither_threads_nor_clients(monkeypatch):
    """A client that is collected while the next one starts would block it for ever."""
    monkeypatch.setattr("ravine.cluster._ANSWERS", 0.2)
    with pytest.raises(Unreachable):
        connect(nobody())  # starts the event loop, if it is the first
    gc.collect()
    threads, clients = threading.active_count(), sum(type(one) is Client for one in gc.get_objects())
    gc.disable()
    try:
        for address in (nobody(), "somewhere else", "tcp://127.0.0.1:no-port"):
            with pytest.raises(Unreachable):
                connect(address)
        assert threading.active_count() <= threads
        assert sum(type(one) is Client for one in gc.get_objects()) == clients
    finally:
        gc.enable()


def test_what_fails_there_fails_here_too(cluster, hasty):
    """Whatever goes wrong on a worker is tried here: a work's own fault shows, and one of the worker's does not."""
    with connect(cluster.scheduler_address) as executor:
        with pytest.raises(ValueError, match="no number"):
            executor.submit(int, "no number").result(60)
        assert executor.submit(only_here, os.getpid()).result(60) == "here"


def only_here(pid):
    if os.getpid() != pid:
        raise OSError("The disk of this worker is broken.")
    return "here"
