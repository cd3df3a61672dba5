"""Several app processes behind a proxy that keeps each visitor on one of them, over one folder of results and one Dask cluster.

The proxy is haproxy where the machine has it, with the configuration of docs/deployment.md; otherwise a small stand-in that
does the same with asyncio: a cookie names the server, and after the head of a request bytes go to and fro.
"""

from __future__ import annotations

import asyncio
import os
import queue
import re
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit

from benchmarks.crowd.servers import ROOT, bound, ravine
from tests.browser.server import Server

COOKIE = "served_by"
_CONFIGURATION = ROOT / "docs" / "deployment.md"


@dataclass
class Several:
    """App processes and where they are reached."""

    address: str
    servers: list[Server]
    pids: list[int]  # of the servers, the cluster's processes, the proxy
    cache: Path
    proxy: str  # what it is


@contextmanager
def scaled_out(folder: Path, cores: str, number: int) -> Iterator[Several]:
    """So many app processes with one cache, a cluster of two workers, a proxy; ended on leaving."""
    with ExitStack() as stack:
        scheduler, cluster = stack.enter_context(_cluster(folder / "cluster", cores))
        cache = folder / "cache"
        servers = []
        for one in range(number):
            server = ravine(folder / f"app{one}", cores, "--scheduler", scheduler, cache=cache)
            stack.callback(server.stop)
            servers.append(server)
        addresses = [one.address for one in servers]
        if shutil.which("haproxy"):
            address, pid = stack.enter_context(_haproxy(folder, addresses, cores))
            proxy = "haproxy"
        else:
            address, pid = stack.enter_context(stand_in(addresses)), 0
            proxy = "the stand-in"
        yield Several(
            address, servers, [*(one.pid for one in servers), *cluster, *([pid] if pid else [])], cache, proxy
        )


@contextmanager
def _cluster(folder: Path, cores: str) -> Iterator[tuple[str, list[int]]]:
    """A Dask scheduler and two workers on this machine: its address, and their processes."""
    folder.mkdir(parents=True, exist_ok=True)
    port = _free()
    address = f"tcp://127.0.0.1:{port}"
    script = [*bound(cores), sys.executable, "-m", "distributed.cli.dask_scheduler"]
    commands = [[*script, "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]]
    worker = [
        *bound(cores),
        sys.executable,
        "-m",
        "distributed.cli.dask_worker",
        address,
        "--nthreads",
        "1",
        "--no-dashboard",
    ]
    commands += [[*worker, "--name", name, "--local-directory", str(folder)] for name in ("one", "two")]
    with _ended(commands, folder / "cluster.log") as pids:
        _reached(port)
        yield address, pids


@contextmanager
def _haproxy(folder: Path, addresses: Sequence[str], cores: str) -> Iterator[tuple[str, int]]:
    """haproxy as docs/deployment.md configures it, with these servers."""
    port = _free()
    path = folder / "haproxy.cfg"
    path.write_text(configuration(port, addresses))
    with _ended([[*bound(cores), "haproxy", "-f", str(path)]], folder / "haproxy.log") as pids:
        _reached(port)
        yield f"http://127.0.0.1:{port}", pids[0]


def configuration(port: int, addresses: Sequence[str]) -> str:
    """The example of docs/deployment.md with other servers in place of its own."""
    (example,) = re.findall(r"```haproxy\n(.*?)```", _CONFIGURATION.read_text("utf-8"), re.DOTALL)
    lines = [line for line in example.splitlines() if not re.match(r"\s+server ", line)]
    servers = [
        f"    server ravine{number} {urlsplit(address).netloc} cookie ravine{number} check"
        for number, address in enumerate(addresses, 1)
    ]
    return re.sub(r"bind \S+.*", f"bind 127.0.0.1:{port}", "\n".join(lines)) + "\n" + "\n".join(servers) + "\n"


@contextmanager
def _ended(commands: Sequence[Sequence[str]], log: Path) -> Iterator[list[int]]:
    """Runs programs until the block is left: their process ids."""
    with log.open("wb") as file:
        running = [
            subprocess.Popen(
                one, stdout=file, stderr=subprocess.STDOUT, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"}
            )
            for one in commands
        ]
    try:
        yield [one.pid for one in running]
    finally:
        for one in reversed(running):
            one.terminate()
        for one in running:
            try:
                one.wait(10)
            except subprocess.TimeoutExpired:
                one.kill()
                one.wait()


@contextmanager
def stand_in(addresses: Sequence[str]) -> Iterator[str]:
    """A proxy in a thread of this process, in turn for new visitors and by cookie for those who come back: its address."""
    port, turns, ending, loops = _free(), count(), asyncio.Event(), queue.SimpleQueue[asyncio.AbstractEventLoop]()

    serving: set[asyncio.Task[None] | None] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        serving.add(asyncio.current_task())
        with suppress(OSError, EOFError, ValueError), closing(writer), ExitStack() as stack:
            head = await reader.readuntil(b"\r\n\r\n")
            known = re.search(rb"(?i)^cookie:.*\b" + COOKIE.encode() + rb"=(\d+)", head, re.MULTILINE)
            chosen = (int(known[1]) if known else next(turns)) % len(addresses)
            host = urlsplit(addresses[chosen])
            there, back = await asyncio.open_connection(host.hostname, host.port)
            stack.enter_context(closing(back))
            # One request for each connection, but for a websocket: so the head is all that must be understood.
            if b"upgrade: websocket" not in head.lower():
                head = re.sub(rb"(?im)^connection:.*\r\n", b"", head).replace(
                    b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1
                )
            back.write(head)
            answering = asyncio.create_task(_pass(reader, back))
            serving.add(answering)
            answer = await there.readuntil(b"\r\n")
            writer.write(answer + (b"" if known else f"Set-Cookie: {COOKIE}={chosen}; Path=/\r\n".encode()))
            await _pass(there, writer)
            answering.cancel()

    async def run() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", port, limit=1 << 20)
        loops.put(asyncio.get_running_loop())
        await ending.wait()
        server.close()
        running = [task for task in serving if task is not None]
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        await asyncio.sleep(0.1)  # sockets close in the loop's next turns

    thread = threading.Thread(target=asyncio.run, args=(run(),), daemon=True)
    thread.start()
    loop = loops.get()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        loop.call_soon_threadsafe(ending.set)
        thread.join(5)


async def _pass(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Bytes from here to there until they end."""
    with suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()


def _free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _reached(port: int, patience: float = 60.0) -> None:
    """Waits until somebody listens. Raises TimeoutError."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.1)
    raise TimeoutError(f"Nobody listens on port {port} after {patience:.0f} s.")
