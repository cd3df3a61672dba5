"""The servers that a class works on, on the cores given, and what they take: memory, processors, files."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median

import psutil

from benchmarks.crowd.front_end import Connection
from tests.browser.server import RAVINE, Server

ROOT = Path(__file__).resolve().parents[2]
EVERY = 2.0  # seconds between two looks
_OFTEN = 0.25  # seconds between two looks at the folder of results
_STALL = 1.0  # seconds that this process may be late by: beyond, somebody has stopped it, or the machine is not its own
_TICK = 0.05  # seconds after which this process is to be awake again
_LATE = 20.0  # seconds after which /readyz is given up


def bound(cores: str) -> tuple[str, ...]:
    """What stands before a command that is to keep to some cores, as "0,1" or "0-3"; nothing where there is no taskset."""
    return ("taskset", "-c", cores) if cores and shutil.which("taskset") else ()


def ravine(folder: Path, cores: str = "", *more: str, cache: Path | None = None) -> Server:
    """The app, with its log in a folder and a cache of its own there unless another is given."""
    folder.mkdir(parents=True, exist_ok=True)
    *command, port = RAVINE
    return Server(
        folder, (*bound(cores), *command, *more, port), cwd=ROOT, patience=180.0, cache=cache, ready="/readyz"
    )


def bare(folder: Path, cores: str = "") -> Server:
    """Streamlit with pages that draw pictures of the same size and compute nothing."""
    folder.mkdir(parents=True, exist_ok=True)
    app = str(ROOT / "benchmarks/bare_fragment/app.py")
    streamlit = (sys.executable, "-m", "streamlit", "run", app, "--server.headless", "true", "--server.port")
    return Server(folder, (*bound(cores), *streamlit), cwd=ROOT, patience=180.0, ready="/readyz")


@dataclass(frozen=True)
class Sample:
    at: float  # seconds since the watch began
    web: float  # MB in the processes that serve pages
    workers: float  # MB in their worker processes
    processes: int
    busy: float  # processors in use by the servers, with all their processes
    client: float  # processors in use by this process, which makes the load
    late: float  # seconds that this process was late by: as much may be its own fault in a time that it measured
    ready: float | None  # seconds that /readyz took; None for no answer
    status: int = 0  # of /readyz


@dataclass
class Watch:
    """Looks at some servers, at their processes and at their folder of results, until it is cancelled."""

    addresses: Sequence[str]
    pids: Sequence[int]
    cache: Path | None = None
    samples: list[Sample] = field(default_factory=list)
    written: Counter[str] = field(default_factory=Counter)  # results file -> how often it was written
    stalls: list[tuple[float, float]] = field(
        default_factory=list
    )  # when this process was held up, by time.perf_counter
    _late: float = 0.0  # the most since the last sample

    async def run(self) -> None:
        begun = time.perf_counter()
        beside = [asyncio.create_task(one) for one in (self._folder(), self._punctuality())]
        before, then = self._used(), time.perf_counter()
        own = time.process_time()
        try:
            while True:
                await asyncio.sleep(EVERY)
                late, self._late = self._late, 0.0
                ready, status = await self._ready()
                used, now, mine = self._used(), time.perf_counter(), time.process_time()
                gained = sum(max(0.0, seconds - before.get(pid, 0.0)) for pid, seconds in used.items())
                web, workers, count = self._memory()
                self.samples.append(
                    Sample(
                        now - begun,
                        web,
                        workers,
                        count,
                        gained / (now - then),
                        (mine - own) / (now - then),
                        late,
                        ready,
                        status,
                    )
                )
                before, then, own = used, now, mine
        finally:
            for task in beside:
                task.cancel()

    def rows(self) -> list[dict[str, float | int | None]]:
        return [
            {key: round(value, 3) if value is not None else None for key, value in asdict(one).items()}
            for one in self.samples
        ]

    def memory(self) -> dict[str, float]:
        """MB in all processes: at the start, after a quarter, at the end, the most; medians over a tenth of the time."""
        total = [one.web + one.workers for one in self.samples]
        if not total:
            return {}
        tenth = max(1, len(total) // 10)
        quarter = len(total) // 4
        return {
            "start": median(total[:tenth]), "quarter": median(total[quarter : quarter + tenth]), "end": median(total[-tenth:]),
            "most": max(total), "web start": median([one.web for one in self.samples[:tenth]]),
            "web end": median([one.web for one in self.samples[-tenth:]]),
        }  # fmt: skip

    def _processes(self) -> Iterable[tuple[psutil.Process, bool]]:
        """Those that live, and whether they serve pages."""
        for pid in self.pids:
            with suppress(psutil.Error):
                parent = psutil.Process(pid)
                yield parent, True
                for one in parent.children(recursive=True):
                    yield one, False

    def _used(self) -> dict[int, float]:
        found = {}
        for one, _ in self._processes():
            with suppress(psutil.Error):
                times = one.cpu_times()
                found[one.pid] = times.user + times.system
        return found

    async def _punctuality(self) -> None:
        while True:
            asleep = time.perf_counter()
            await asyncio.sleep(_TICK)
            late = time.perf_counter() - asleep - _TICK
            self._late = max(self._late, late)
            if late > _STALL:
                self.stalls.append((asleep, asleep + _TICK + late))

    def _memory(self) -> tuple[float, float, int]:
        """MB of servers and of workers. What several share, as libraries, counts in parts that add up to one, on Linux."""
        web = workers = 0.0
        count = 0
        for one, serves in self._processes():
            with suppress(psutil.Error):
                full = one.memory_full_info()
                size = getattr(full, "pss", full.rss) / 2**20
                web, workers = (web + size, workers) if serves else (web, workers + size)
                count += 1
        return web, workers, count

    async def _ready(self) -> tuple[float | None, int]:
        """The slowest answer of all servers."""
        begun, status = time.perf_counter(), 0
        for address in self.addresses:
            connection = Connection(address)
            try:
                async with asyncio.timeout(_LATE):
                    status, _, _ = await connection.ask("GET", "/readyz", {})
            except (OSError, EOFError, ValueError, TimeoutError):
                return None, 0
            finally:
                connection.close()
        return time.perf_counter() - begun, status

    async def _folder(self) -> None:
        """Notes each time that a file of results appears or is replaced by another."""
        seen = self._files()
        while True:
            await asyncio.sleep(_OFTEN)
            now = self._files()
            self.written.update(name for name, number in now.items() if seen.get(name) != number)
            seen |= now

    def _files(self) -> dict[str, int]:
        """Each file of results with its number on the disk, which is another for a file that takes its place."""
        found = {}
        with suppress(OSError):
            for one in os.scandir((self.cache or Path()) / "results") if self.cache else ():
                if one.name.endswith(".npz"):
                    found[one.name] = one.inode()
        return found


def tracebacks(log: str) -> Counter[str]:
    """What was raised and not caught, by the first words of its last line, in what a server has written."""
    found: Counter[str] = Counter()
    for one in log.split("Traceback (most recent call last):")[1:]:
        last = next((line for line in one.splitlines()[1:] if line and not line[0].isspace()), "cut off")
        found[last[:80]] += 1
    return found


def scratch() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="classroom-", ignore_cleanup_errors=True)
