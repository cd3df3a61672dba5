"""How evenly paths play: the time from one frame to the next while four optimizers with 2,000 steps play back.

Chromium draws without a graphics card here, on the processor that also runs everything else; each mode is played once from
the first step to the last, at the speed 1. "late" counts frames that came more than a half frame too late at 60 a second.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from statistics import median, quantiles

from playwright.sync_api import sync_playwright

from optimizers import OPTIMIZERS
from ravine import Experiment
from ravine.browser import find
from tests.browser.screen import ARGUMENTS, Screen
from tests.browser.server import Server

FRAME = 1000 / 60
# Frame times while `playing`, and beside them those of a page that draws nothing at all: what this machine can do.
RECORD = """(play) => new Promise((resolve) => {
  const root = play ? play.closest('.rv-root') : null, times = [];
  play?.click();
  const tick = (now) => {
    times.push(now);
    if (root ? root.dataset.playing === 'true' : times.length < 300) requestAnimationFrame(tick);
    else resolve(times);
  };
  requestAnimationFrame(tick);
})"""


def case(mode: str) -> str:
    """Four rules that keep moving for 2,000 steps."""
    rules = (
        OPTIMIZERS["gd"](lr=1e-3),
        OPTIMIZERS["heavy_ball"](lr=5e-4),
        OPTIMIZERS["nag"](lr=5e-4),
        OPTIMIZERS["adam"](lr=0.02),
    )
    base = Experiment.default()
    return Experiment(base.landscape, rules, start=base.start, steps=2000, mode=mode).to_url()


def summed(times: list[float]) -> tuple[str, ...]:
    """What a row of the table says of frame times."""
    gaps = [after - before for before, after in zip(times, times[1:], strict=False)][2:]
    late = sum(gap > 1.5 * FRAME for gap in gaps) / len(gaps)
    rate = 1000 * len(gaps) / sum(gaps)
    return (
        f"{len(gaps)}",
        f"{rate:.1f}",
        f"{median(gaps):.1f}",
        f"{quantiles(gaps, n=20)[-1]:.1f}",
        f"{max(gaps):.0f}",
        f"{late:.1%}",
    )


def measure() -> list[tuple[str, ...]]:
    rows = []
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        server = Server(Path(folder), ready="/readyz")
        browser = playwright.chromium.launch(executable_path=find(), args=ARGUMENTS)
        try:
            page = browser.new_page(viewport={"width": 1280, "height": 800})
            for mode in ("contour", "surface"):
                page.goto("about:blank")
                rows.append(("empty page", *summed(page.evaluate(RECORD, None))))
                screen = Screen(page, server.address).open(case(mode))
                rows.append((mode, *summed(page.evaluate(RECORD, screen.play.element_handle()))))
        finally:
            browser.close()
            server.stop()
    return rows


def main() -> None:
    print("Frame times in milliseconds while 4 optimizers x 2,000 steps play back")
    line = "{:<12} {:>7} {:>8} {:>7} {:>6} {:>6} {:>7}"
    print(line.format("mode", "frames", "a second", "median", "p95", "most", "late"))
    for row in measure():
        print(line.format(*row), flush=True)


if __name__ == "__main__":
    main()
