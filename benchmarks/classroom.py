"""A class of sixty on one server, in real sessions over Streamlit's own protocol, cold and warm, with the goals that it is to meet.

    python -m benchmarks.classroom --minutes 1                    a quick look
    python -m benchmarks.classroom --cores 0,1 --json class.json  ten minutes each on two cores
    python -m benchmarks.classroom --minutes 60 --phases cold --hostile 5
    python -m benchmarks.classroom --servers 2                    two processes behind a proxy, see benchmarks.crowd.proxy

Who does what is said in benchmarks/crowd/students.py. "cold" begins with an empty cache, "warm" follows on the same server:
what the teacher shares is there by then, what students change is new again. "bare" is the same class on pages of Streamlit
that draw pictures of the same size and compute nothing: what the stack itself costs. The clients run on this machine too; how
much of it they take is told.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from benchmarks.crowd import report, students
from benchmarks.crowd.hostile import Crowd
from benchmarks.crowd.proxy import scaled_out
from benchmarks.crowd.servers import Watch, bare, ravine, scratch, tracebacks
from benchmarks.crowd.students import Lesson
from tests.browser.server import Server

PHASES = ("cold", "warm", "bare")
_NOTES = 300.0  # seconds between two notes of a lesson that goes on
_BARE = 120.0  # seconds of a class on bare pages, which wait for nothing, that say enough


async def phase(
    name: str, chosen: argparse.Namespace, address: str, watch: Watch, servers: Sequence[Server], number: int
) -> dict[str, Any]:
    """One lesson; prints its table."""
    before = [len(one.log) for one in servers]
    seconds = 60.0 * chosen.minutes
    pages = students.RAVINE
    if name == "bare":
        pages, seconds = students.BARE, min(seconds, _BARE)
    lesson = Lesson(address, pages, seconds, chosen.descend, chosen.long, number)
    lesson.stalls = watch.stalls
    crowd = Crowd(address, chosen.hostile if name != "bare" else 0)
    beside = [asyncio.create_task(one) for one in (watch.run(), crowd.run(), _noted(chosen.json, lesson, watch, crowd))]
    try:
        await lesson.run()
    finally:
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)
    raised = sum((tracebacks(one.log[start:]) for one, start in zip(servers, before, strict=True)), Counter[str]())
    found = report.summary(name, lesson, watch) | {"hostile": crowd.told(), "tracebacks": raised}
    print(report.table(found), flush=True)
    for what, count in raised.most_common(5):
        print(f"in the server's log {count} times: {what}")
    for line in crowd.told():
        print(f"hostile: {line}", flush=True)
    print(flush=True)
    return found


async def measure(chosen: argparse.Namespace) -> dict[str, Any]:
    """All phases, one after the other."""
    found: dict[str, Any] = {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}",
        "cores": chosen.cores or "all",
        "load before": os.getloadavg()[0],
        "servers": chosen.servers,
        "phases": [],
    }
    print(
        f"{found['machine']}; servers on cores {found['cores']}; load before {found['load before']:.1f}"
        + (f"; {chosen.servers} app processes behind a proxy" if chosen.servers > 1 else ""),
        flush=True,
    )
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(scratch()))
        mine = [one for one in chosen.phases.split(",") if one != "bare"]
        if mine and chosen.servers > 1:
            several = stack.enter_context(scaled_out(folder, chosen.cores, chosen.servers))
            servers, address, pids, cache = several.servers, several.address, several.pids, several.cache
        elif mine:
            server = ravine(folder / "app", chosen.cores)
            stack.callback(server.stop)
            servers, address, pids, cache = [server], server.address, [server.pid], folder / "app" / "cache"
        for number, name in enumerate(mine):
            watch = Watch([one.address for one in servers], pids, cache)
            found["phases"].append(await phase(name, chosen, address, watch, servers, number))
            _write(chosen.json, found)
    if "bare" in chosen.phases.split(","):
        async with AsyncExitStack() as stack:
            server = bare(Path(stack.enter_context(scratch())), chosen.cores)
            stack.callback(server.stop)
            watch = Watch([server.address], [server.pid])
            found["phases"].append(await phase("bare", chosen, server.address, watch, [server], 0))
            _write(chosen.json, found)
    return found


async def _noted(path: str, lesson: Lesson, watch: Watch, crowd: Crowd) -> None:
    """Writes, now and then, how far a long lesson is: what would be lost with it."""
    while True:
        await asyncio.sleep(_NOTES)
        ends = Counter(one.end or "waiting" for one in lesson.asked)
        _write(path, {"so far": lesson.now, "ends": ends, "hostile": crowd.told(), "samples": watch.rows()})


def _write(path: str, found: dict[str, Any]) -> None:
    if path:
        Path(path).write_text(json.dumps(found, indent=1))


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.classroom", description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10, help="of each phase (10)")
    parser.add_argument("--cores", default="", help="that the servers keep to, as 0,1 (all; needs taskset)")
    parser.add_argument("--phases", default=",".join(PHASES), help=f"of {', '.join(PHASES)} (all)")
    parser.add_argument("--descend", type=int, default=40, help="students on Descend (40)")
    parser.add_argument("--long", type=int, default=20, help="students on the pages that take long (20)")
    parser.add_argument("--hostile", type=int, default=0, help="hostile visitors among them (0)")
    parser.add_argument(
        "--servers", type=int, default=1, help="app processes, behind a proxy where there are several (1)"
    )
    parser.add_argument("--json", default="", help="a file for every number")
    chosen = parser.parse_args(arguments)
    unknown = set(chosen.phases.split(",")) - set(PHASES)
    if unknown:
        parser.error(f"--phases knows {', '.join(PHASES)}, not {', '.join(sorted(unknown))}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # as after Ctrl-C, the servers end too
    asyncio.run(measure(chosen))


if __name__ == "__main__":
    main()
