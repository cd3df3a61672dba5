"""The slice page: a link opens on its plane, a box drawn on the picture is looked at, and what is asked for exactly is exact."""

from __future__ import annotations

import re

from landscapes import MLP
from optimizers import OPTIMIZERS
from ravine import Experiment, compute

LAND = MLP(hidden=(8,), subset=60)
PLANE = Experiment(landscape=LAND, optimizers=(OPTIMIZERS["gd"](lr=0.2),), view="slice", steps=15, points=25)
# What is drawn, as the browser was sent it: its window, and its numbers row by row.
CURRENT = """() => {
  for (const host of document.querySelectorAll('[class*=st-key-] *')) {
    const root = host.shadowRoot?.querySelector('.rv-root');
    if (root) return globalThis[Symbol.for('ravine.surface')].fields.get(root.dataset.field);
  }
}"""
# Are these numbers drawn, to within a difference? Does the picture cover this window?
SHOWS = f"""([numbers, most]) => {{
  const field = ({CURRENT})();
  return field?.z.length === numbers.length && numbers.every((one, k) => Math.abs(one - field.z[k]) < most);
}}"""
COVERS = f"""window => {{
  const field = ({CURRENT})();
  return field && [...field.x, ...field.y].every((one, k) => Math.abs(one - window[k]) < 1e-5);
}}"""


def settled(screen):
    """Wait until the plane is computed and drawn."""
    screen.page.locator("[data-testid=stMain]").get_by_role("button", name="Done").wait_for()
    screen.page.get_by_text("points computed").or_(screen.page.get_by_text("Interpolated from")).first.wait_for()
    screen.ready()


def drag(screen, start, end):
    """From one place on the map to another, as shares of the canvas."""
    box = screen.map.bounding_box()
    for place, act in ((start, screen.page.mouse.down), (end, screen.page.mouse.up)):
        screen.page.mouse.move(box["x"] + place[0] * box["width"], box["y"] + place[1] * box["height"], steps=6)
        act()


def test_a_link_opens_on_its_plane_and_a_box_is_looked_at(visit):
    url = PLANE.to_url().replace("quantity=loss", "quantity=lose")
    screen = visit(url)
    settled(screen)
    screen.page.get_by_text(re.compile("quantity = .*lose.* is not allowed")).wait_for()  # the rest of the link is used
    screen.wait(COVERS, [-1, 1, -1, 1])
    whole = screen.page.evaluate(f"() => Array.from(({CURRENT})().z)")
    # A box over part of the map is the next picture, with one side for both axes.
    drag(screen, (0.4, 0.3), (0.6, 0.5))
    screen.wait("() => Number(new URLSearchParams(location.search).get('span')) < 0.5")
    query = screen.query()
    span, x, y = (float(query[name]) for name in ("span", "look_alpha", "look_beta"))
    assert 0.1 < span < 0.5
    assert y > 0  # the upper half
    screen.wait(COVERS, [x - span, x + span, y - span, y + span])
    settled(screen)
    # The buttons find the way back.
    screen.keyed("slice-whole", "button").click()
    screen.wait_query(span="1.0", look_alpha="0.0", look_beta="0.0")
    screen.wait(SHOWS, [whole, 1e-3 * max(whole)])
    settled(screen)
    # With Shift, what was under the pointer comes along.
    screen.page.keyboard.down("Shift")
    drag(screen, (0.5, 0.5), (0.7, 0.5))
    screen.page.keyboard.up("Shift")
    screen.wait("() => Number(new URLSearchParams(location.search).get('look_alpha')) < -0.3")
    look = float(screen.query()["look_alpha"])
    assert look > -0.7
    assert abs(float(screen.query()["look_beta"])) < 0.02
    assert float(screen.query()["span"]) == 1
    screen.wait(COVERS, [look - 1, look + 1, -1, 1])


def test_exact_is_every_point_computed(visit):
    screen = visit(PLANE.to_url())
    settled(screen)
    screen.page.get_by_text("Interpolated from").first.wait_for()
    screen.page.get_by_text("More about the plane").click()
    screen.keyed("slice-exact").get_by_text("Exact").click()
    screen.wait_query(exact="true")
    exact, _ = Experiment.from_url(screen.page.url)
    truth = compute(exact).plane.loss.T.flatten().tolist()
    screen.wait(SHOWS, [truth, 1e-6 * max(truth)])
    screen.page.get_by_text("Every one of 625 points computed").first.wait_for()
