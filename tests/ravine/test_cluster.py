"""Work on a Dask cluster: a real one of two worker processes on this machine, of which one is killed in the middle."""

import os
import signal
import socket

import dask
import pytest
import torch
from distributed import LocalCluster
from distributed.utils import get_mp_context

from landscapes import LANDSCAPES
from optimizers import OPTIMIZERS
from ravine import Experiment, Store, compute, computing
from ravine.axis import Axis
from ravine.cluster import VARIABLE, Unreachable, connect, from_environment

EXPERIMENT = Experiment(
    landscape=LANDSCAPES["himmelblau"](),
    optimizers=(OPTIMIZERS["heavy_ball"](),),
    view="sweep",
    steps=100,
    over_x=Axis("lr", 1e-3, 1.0, 8, log=True),
    over_y=Axis("seed", 0, 11, 12),  # each a piece of its own: more than the workers are given at once
)


@pytest.fixture(scope="module")
def cluster():
    quiet = {"dashboard_address": None, "silence_logs": 50, "processes": True, "host": "127.0.0.1"}
    patient = {f"distributed.comm.timeouts.{name}": "300s" for name in ("connect", "tcp")}
    with dask.config.set({"distributed.worker.multiprocessing-method": "forkserver"} | patient):
        # Both workers come from one process that has imported everything: to import it twice took most of the time.
        get_mp_context().set_forkserver_preload(["distributed", "ravine.engine", "ravine.cluster"])
        with LocalCluster(n_workers=2, threads_per_worker=1, **quiet) as cluster:
            for nanny in cluster.workers.values():
                nanny.auto_restart = False  # nobody waits for another one in place of the one that is killed
            yield cluster


@pytest.mark.filterwarnings("ignore")  # of Dask's own, when a process goes
def test_a_killed_worker_changes_no_bit(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr("ravine.cluster._PATIENCE", 60.0)  # on a busy machine even a healthy scheduler takes its time
    here = compute(EXPERIMENT)
    executor = connect(cluster.scheduler_address)
    try:
        pids = executor._client.run(os.getpid)
        assert len(set(pids.values())) == 2
        assert os.getpid() not in pids.values()
        steps = computing(EXPERIMENT, store=Store(tmp_path), executor=executor)
        results = [next(steps)]
        os.kill(next(iter(pids.values())), signal.SIGKILL)
        results += steps
    finally:
        executor.shutdown()
    assert len(results) > 2
    for name, array in here.arrays().items():
        assert array.tobytes() == results[-1].arrays()[name].tobytes(), name
    assert bool((here.table.diverged_at >= 0).any())
    assert torch.isfinite(here.table.final_loss).any()


def test_an_address_where_nobody_listens_is_said(monkeypatch):
    monkeypatch.setattr("ravine.cluster._PATIENCE", 0.5)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{probe.getsockname()[1]}"
    with pytest.raises(Unreachable, match=f"No Dask scheduler answers at {address}"):
        connect(address)
    with pytest.raises(Unreachable, match="No Dask scheduler answers at somewhere else"):
        connect("somewhere else")
    assert from_environment() == (None, "")
    monkeypatch.setenv(VARIABLE, address)
    none, said = from_environment()
    assert none is None
    assert said.endswith("Computing on this machine instead.")
