"""A server under load whose worker, Dask scheduler and own process are killed, one after the other: it loses nothing."""

import json
import os
import signal
import subprocess
import sys

import psutil
import pytest

from ravine import Experiment, Store, compute
from ravine.cluster import VARIABLE
from tests.ravine.dask_processes import cluster, nobody

NETWORK = "land=mlp&land.data=chebyshev&land.hidden=8&land.objective=squared"
LINKS = [
    *(f"/edge?{NETWORK}&opt1=adam&opt1.lr=0.01&steps=2000&every=10&seed={seed}" for seed in range(2)),
    f"/stepsize?{NETWORK}&opt1=gd&opt1.lr=0.1&steps=1500",
    f"/slice?{NETWORK}&opt1=gd&opt1.lr=0.1&steps=200&points=41&exact=true",
    *(f"/sweep?land=himmelblau&opt1=heavy_ball&steps=2000&over_x=lr:0.001:1.0:16log&over_y=seed:0:{last}:{last + 1}" for last in (23, 31)),
]  # fmt: skip
# All of these are asked for at once, each by a visitor of its own, as the app's server is asked.
SERVER = """
import json, sys, time
from pathlib import Path
from ravine import Experiment, Store
from ravine.crew import Crew
from ravine.jobs import Jobs

store = Store(Path(sys.argv[1]))
jobs = Jobs(store, workers=2, crew=Crew(store))
asked = [Experiment.from_url(link)[0] for link in json.loads(sys.argv[2])]
found = [jobs.submit(one, link) for one, link in zip(asked, json.loads(sys.argv[2]))]
while any(job.active for job in found):
    for one, link in zip(asked, json.loads(sys.argv[2])):
        jobs.poll(one, link)
    shares = [round(job.share, 3) for job in found]
    print(json.dumps(shares), flush=True)
    time.sleep(0.2)
print(json.dumps([job.error for job in found]), flush=True)
jobs.close()
"""


def serving(folder):
    command = [sys.executable, "-c", SERVER, str(folder), json.dumps(LINKS)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def heard(server, condition):
    """Follows what the server says until the condition holds of how far its jobs are."""
    for line in server.stdout:
        said = json.loads(line)
        if all(isinstance(one, float) for one in said) and condition(said):
            return said
    raise AssertionError("It has ended before that.")


@pytest.mark.prove  # minutes, and a dozen processes
@pytest.mark.filterwarnings("ignore")
def test_a_server_under_load_loses_nothing_to_kills(tmp_path, monkeypatch):
    address = nobody()
    started = list(cluster(address))
    monkeypatch.setenv(VARIABLE, address)
    try:
        server = serving(tmp_path)
        started.append(server)
        heard(server, lambda shares: sum(share > 0 for share in shares) >= 2)
        workers = psutil.Process(server.pid).children()
        max(workers, key=lambda one: sum(one.cpu_times()[:2])).kill()  # the one that has worked most
        before = heard(server, lambda shares: sum(shares) > 1)
        started[0].kill()
        heard(server, lambda shares: sum(shares) > max(1.5, sum(before) + 0.2))
        workers = psutil.Process(server.pid).children()
        os.kill(server.pid, signal.SIGKILL)
        _, alive = psutil.wait_procs(workers, timeout=60)
        assert not alive  # who computes for nobody ends
        unfinished = [link for link in LINKS if Store(tmp_path).get(Experiment.from_url(link)[0]) is None]
        assert unfinished
        server = serving(tmp_path)
        started.append(server)
        *_, errors = map(json.loads, server.stdout)
        assert errors == [""] * len(LINKS)
    finally:
        for process in started:
            process.kill()
            process.wait()
    monkeypatch.delenv(VARIABLE)
    for link in LINKS:
        experiment, refused = Experiment.from_url(link)
        assert refused == []
        kept, whole = Store(tmp_path).get(experiment).arrays(), compute(experiment).arrays()
        assert list(kept) == list(whole)
        for name, array in whole.items():
            assert array.tobytes() == kept[name].tobytes(), f"{name} of {link}"
