"""The player by mouse and keyboard, the dragged start, what is drawn around a step, and the video."""

from __future__ import annotations

import json
import re

from tests.browser.test_descend import losses, place
from tests.browser.video import held

SMALL = "/?land=quadratic&land.kappa=5.0&opt1=gd&opt1.lr=0.05&opt2=adam&opt2.lr=0.1&steps=40&start=-1.5:1.0"


def test_single_steps_by_button_and_by_arrow(visit):
    screen = visit(SMALL)
    back, on = (screen.page.get_by_role("button", name=name) for name in ("One step back", "One step on"))
    assert on.is_disabled()
    back.click()
    screen.wait_hook("hook.position === '39'")
    screen.play.focus()
    for key, position in (("ArrowLeft", "38"), ("ArrowLeft", "37"), ("ArrowRight", "38")):
        screen.page.keyboard.press(key)
        screen.wait_hook("hook.position === argument", position)
    on.click()
    screen.wait_hook("hook.position === '39'")
    assert screen.page.locator(".rv-step").inner_text() == "step 39 / 40"
    slope = screen.table.locator("tbody tr").first.locator(".rv-num").inner_text()
    assert re.search(r"‖∇‖ \d", slope)
    screen.seek.press("Home")
    screen.wait_hook("hook.position === '0'")
    assert back.is_disabled()


def test_the_paths_follow_the_dragged_start(visit):
    screen = visit(SMALL)
    before = losses(screen)
    # The start (-1.5, 1) in a window from -2 to 2: find its ring by what the picture says under the pointer.
    x, y = place(screen, 0.5, 0.5)
    for _ in range(4):
        screen.page.mouse.move(x, y)
        said = dict(re.findall(r"(\w+) = (-?[\d.e-]+)", screen.page.locator(".rv-readout").inner_text()))
        box = screen.map.bounding_box()
        x += (-1.5 - float(said["x"])) / 4.0 * box["width"] * 0.86
        y -= (1.0 - float(said["y"])) / 4.0 * box["height"] * 0.86
    version = int(screen.hook["v"])
    screen.page.mouse.move(x, y)
    screen.page.mouse.down()
    screen.page.mouse.move(x + 60, y + 30, steps=4)
    screen.wait_hook("Number(hook.v) > argument", version)  # while the button is still down
    assert losses(screen) != before
    screen.page.mouse.move(x + 120, y + 30, steps=4)
    screen.page.mouse.up()
    screen.wait("() => !location.search.includes('start=-1.5%3A') && !location.search.includes('start=-1.5:')")
    # The start is passed on during the drag, too: the last one has come when address and field say the same.
    screen.wait(
        """() => Math.abs(new URLSearchParams(location.search).get('start').split(':')[0]
          - document.querySelector('.st-key-descend-x input').value) < 6e-5"""
    )
    screen.ready()
    at = [float(one) for one in screen.query()["start"].split(":")]
    assert at[0] > -1.4
    assert at[1] < 1.0
    assert float(screen.keyed("descend-x", "input").input_value()) == round(at[0], 4)


def test_what_surrounds_a_step_is_drawn_on_demand(visit):
    screen = visit(SMALL.replace("quadratic&land.kappa=5.0", "rosenbrock").replace("0.05", "0.0005"))
    screen.seek.press("Home")
    screen.wait_hook("hook.position === '0'")
    for _ in range(3):
        screen.page.get_by_role("button", name="One step on").click()
    screen.wait_hook("hook.position === '3'")
    seen = {screen.pixels()}
    for place_, name in enumerate(("Gradient", "Step", "Response", "Curvature", "Stability"), start=2):
        with screen.redrawn():
            screen.page.get_by_role("button", name=name, exact=True).click()
        assert screen.hook["position"] == "3"  # the same paths: the step stays
        screen.page.mouse.move(5, 5)
        seen.add(screen.pixels())
        assert len(seen) == place_, name
    with screen.redrawn():
        screen.choose("descend-basins", "1. Gradient descent")
    assert screen.page.get_by_text(re.compile(r"\d+ end (near|at)")).first.is_visible()


def test_a_video_of_the_playback(visit):
    screen = visit(SMALL, reduced_motion="no-preference")
    screen.page.locator(".rv-speed").select_option("4")
    with screen.page.expect_download() as download:
        screen.page.get_by_role("button", name="Record the playback").click()
    assert download.value.suggested_filename in ("ravine.webm", "ravine.mp4")
    with open(download.value.path(), "rb") as file:
        head = file.read()
    assert head[:4] == b"\x1aE\xdf\xa3" or head[4:8] == b"ftyp"
    assert len(head) > 5_000
    assert json.loads(held(head))["link"].startswith("/?v=1&land=quadratic")
