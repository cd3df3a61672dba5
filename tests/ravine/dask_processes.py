"""A Dask cluster of processes that can be killed."""

import os
import socket
import subprocess
import sys


def nobody():
    """An address where nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"tcp://127.0.0.1:{probe.getsockname()[1]}"


def dask_process(kind, *arguments):
    command = [sys.executable, "-m", f"distributed.cli.dask_{kind}", *arguments, "--no-dashboard"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, **quiet)


def cluster(address):
    """A scheduler at an address, and a worker of it."""
    port = address.rpartition(":")[2]
    scheduler = dask_process("scheduler", "--host", "127.0.0.1", "--port", port)
    return scheduler, dask_process("worker", address, "--nthreads", "1", "--no-nanny")
