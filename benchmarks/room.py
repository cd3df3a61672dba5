"""Sixty students in one room on this machine: how long until they all see a change, and what it costs the teacher.

The students are plain clients that do what a student's browser does: hold the event stream, fetch the picture that an
event names, and vote. The teacher is a browser that drags nothing and presses a key on a step size, once with nobody in
the room and once with sixty; everything runs on the same cores.
"""

from __future__ import annotations

import http.client
import json
import tempfile
import threading
import time
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

from playwright.sync_api import sync_playwright

from benchmarks.latency import CLOCK
from ravine.browser import find
from tests.browser.screen import ARGUMENTS, Screen
from tests.browser.server import Server

STUDENTS = 60
CHANGES = 12
SLIDER = ".st-key-descend-opt1-gd-lr [type=range]"


class Student(threading.Thread):
    """Notes when it had each version's picture in hand."""

    def __init__(self, address: str, code: str, number: int):
        super().__init__(daemon=True)
        self.host, self.code, self.seat = urlsplit(address).netloc, code, f"{number:032d}"
        self.had: dict[int, float] = {}
        self.failed = ""

    def run(self) -> None:
        stream = http.client.HTTPConnection(self.host, timeout=120)
        stream.request("GET", f"/room/{self.code}/events?seat={self.seat}")
        answer = stream.getresponse()
        try:
            while line := answer.readline():
                if line.startswith(b"data: "):
                    self.see(json.loads(line[6:]))
        except (OSError, http.client.HTTPException) as failure:
            self.failed = str(failure)

    def see(self, event: dict[str, object]) -> None:
        state = event.get("state")
        if isinstance(state, dict) and state.get("parts") and int(str(event["version"])) not in self.had:
            fetch = http.client.HTTPConnection(self.host, timeout=60)
            fetch.request("GET", f"/room/{self.code}/packet/{state['parts'][-1]['name']}")
            answer = fetch.getresponse()
            if len(answer.read()) > 100 and answer.status == 200:
                self.had[int(str(event["version"]))] = time.monotonic()
            fetch.close()


def presses(screen: Screen, students: list[Student]) -> tuple[list[float], list[float]]:
    """For each change: milliseconds until the teacher sees it, and, for each student, until the picture is there."""
    teacher, others = [], []
    for _ in range(CHANGES):
        seen = {one.seat: max(one.had, default=0) for one in students}
        pressed = time.monotonic()
        screen.page.locator(SLIDER).first.press("ArrowRight")
        screen.wait("() => window.watch.drawn !== undefined")
        found = screen.page.evaluate("window.watch")
        teacher.append(found["drawn"] - found["press"])
        screen.ready()
        end = time.monotonic() + 20
        while time.monotonic() < end and any(max(one.had, default=0) == seen[one.seat] for one in students):
            time.sleep(0.01)
        others += [1000 * (one.had[max(one.had)] - pressed) for one in students if one.had]
        time.sleep(0.3)
    return teacher, others


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        server = Server(Path(folder), ready="/readyz")
        browser = playwright.chromium.launch(executable_path=find(), args=ARGUMENTS)
        try:
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            page.add_init_script(CLOCK)
            screen = Screen(page, server.address).open("/?opt1=gd&opt1.lr=1e-05&steps=250")
            page.get_by_role("button", name="Open a live room").click()
            page.locator(".rv-room b").wait_for()
            screen.ready()
            presses(screen, [])  # to warm up
            alone, _ = presses(screen, [])
            students = [
                Student(server.address, page.locator(".rv-room b").inner_text(), one) for one in range(STUDENTS)
            ]
            for student in students:
                student.start()
            time.sleep(3)
            full, seen = presses(screen, students)
        finally:
            browser.close()
            server.stop()
    print(
        f"{STUDENTS} students in one room, {CHANGES} changes of a step size; milliseconds from the teacher's key press"
    )
    print(f"teacher's picture, nobody in the room   median {median(alone):.0f}, most {max(alone):.0f}")
    print(f"teacher's picture, {STUDENTS} in the room         median {median(full):.0f}, most {max(full):.0f}")
    late = sorted(seen)[int(0.95 * len(seen))]
    print(
        f"students' pictures ({len(seen)})               median {median(seen):.0f}, p95 {late:.0f}, most {max(seen):.0f}"
    )


if __name__ == "__main__":
    main()
