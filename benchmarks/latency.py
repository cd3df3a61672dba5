"""How long a visitor waits: from a key on a step size, or a click on the map, to the new picture.

Beside the Descend page runs a bare Streamlit fragment (benchmarks/bare_fragment) that sends a packet of the same size to
the same canvas and computes nothing: what Streamlit and the drawing cost. Samples of the two alternate in one browser.
"""

from __future__ import annotations

import random
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from statistics import median, quantiles

from playwright.sync_api import sync_playwright

from optimizers import OPTIMIZERS
from ravine import Experiment
from ravine.browser import find
from tests.browser.screen import ARGUMENTS, Screen
from tests.browser.server import Server

ROOT = Path(__file__).resolve().parents[1]
WARM, SAMPLES = 3, 20
# The newest press, and when after it the page first sent something and first drew something.
CLOCK = """
window.watch = {};
const press = () => { window.watch = {press: performance.now()}; };
for (const kind of ['keydown', 'pointerup']) window.addEventListener(kind, press, true);
window.addEventListener('ravine:drawn', (e) => { window.watch.drawn ??= e.detail.at; });
const send = WebSocket.prototype.send;
WebSocket.prototype.send = function (...all) { window.watch.sent ??= performance.now(); return send.apply(this, all); };
"""


def case(runs: int, steps: int) -> str:
    """The query of the default experiment with so many runs and steps; the first run's step size starts low."""
    experiment = Experiment.default()
    first, *others = (*experiment.optimizers, OPTIMIZERS["nag"](lr=1e-3))
    low = type(first)(lr=1e-5)
    chosen = Experiment(experiment.landscape, (low, *others)[:runs], start=experiment.start, steps=steps)
    return chosen.to_url().partition("?")[2]


def act(screen: Screen, slider: str, how: str, place: tuple[float, float]) -> tuple[float, float]:
    """One sample in milliseconds: until the message leaves, and until the picture is drawn."""
    screen.page.bring_to_front()
    if how == "key":
        screen.page.locator(slider).first.press("ArrowRight")
    else:
        box = screen.map.bounding_box()
        screen.page.mouse.click(box["x"] + place[0] * box["width"], box["y"] + place[1] * box["height"])
    screen.wait("() => window.watch.drawn !== undefined")
    screen.ready()
    screen.page.wait_for_timeout(300)  # let the address bar and the widgets settle
    found = screen.page.evaluate("window.watch")
    return found["sent"] - found["press"], found["drawn"] - found["press"]


def measure() -> list[tuple[str, ...]]:
    chance = random.Random(0)
    rows = []
    streamlit = (
        sys.executable, "-m", "streamlit", "run", str(ROOT / "benchmarks/bare_fragment/app.py"),
        "--server.headless", "true", "--server.port",
    )  # fmt: skip
    with ExitStack() as stack:
        folders = [Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in range(2)]
        ravine = Server(folders[0], ready="/readyz")
        stack.callback(ravine.stop)
        bare = Server(folders[1], streamlit, cwd=ROOT, ready="/readyz")  # finds the same .streamlit/config.toml
        stack.callback(bare.stop)
        playwright = stack.enter_context(sync_playwright())
        browser = playwright.chromium.launch(executable_path=find(), args=ARGUMENTS)
        stack.callback(browser.close)
        for runs, steps in ((3, 250), (4, 1000)):
            sides = {}
            for name, server, slider in (
                ("Descend", ravine, ".st-key-descend-opt1-gd-lr [type=range]"),
                ("bare", bare, ".st-key-lr0 [type=range]"),
            ):
                page = browser.new_page(viewport={"width": 1280, "height": 800})
                page.add_init_script(CLOCK)
                sides[name] = (Screen(page, server.address).open("/?" + case(runs, steps)), slider)
            for how in ("key", "click"):
                samples: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
                for _ in range(WARM + SAMPLES):
                    place = chance.uniform(0.15, 0.75), chance.uniform(0.15, 0.75)
                    for name, (screen, slider) in sides.items():
                        samples[name].append(act(screen, slider, how, place))
                drawn = {name: [total for _, total in found[WARM:]] for name, found in samples.items()}
                sent = {name: median(first for first, _ in found[WARM:]) for name, found in samples.items()}
                ratio = median(drawn["Descend"]) / median(drawn["bare"])
                for name, found in drawn.items():
                    rows.append(
                        (f"{how}, {runs} x {steps}", name, f"{median(found):.0f}", f"{min(found):.0f}",
                         f"{quantiles(found, n=20)[-1]:.0f}", f"{sent[name]:.0f}", f"{ratio:.2f}" if name == "Descend" else "")
                    )  # fmt: skip
            for screen, _ in sides.values():
                screen.page.close()
    return rows


def main() -> None:
    print(
        f"Milliseconds from the press to the new picture, {SAMPLES} samples each after {WARM} to warm up, interleaved"
    )
    line = "{:<16} {:<8} {:>7} {:>6} {:>6} {:>13} {:>6}"
    print(line.format("case", "page", "median", "min", "p95", "message sent", "ratio"))
    for row in measure():
        print(line.format(*row), flush=True)


if __name__ == "__main__":
    main()
