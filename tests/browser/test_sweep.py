"""The page of sweeps: a box drawn on the map is computed afresh, and a click opens the run of a point."""

from __future__ import annotations

MAP = (
    "land=quadratic&land.kappa=10.0&opt1=heavy_ball&opt1.lr=0.05&steps=60"
    "&over_x=lr:0.01:0.5:16&over_y=momentum:0.0:0.9:16"
)


def spot(screen, x, y):
    """A place on the picture, as shares of its width and height from the top left."""
    box = screen.figure.locator(".nsewdrag").first.bounding_box()
    return box["x"] + x * box["width"], box["y"] + y * box["height"]


def test_a_box_zooms_and_a_click_opens_the_run(visit):
    screen = visit("/sweep?" + MAP)
    screen.page.locator("[data-testid=stMain]").get_by_role("button", name="Done").wait_for()
    screen.ready()
    back = screen.keyed("sweep-back", "button")
    assert screen.query()["over_x"].startswith("lr:0.01:0.5:16")
    # A box over the middle of the map becomes the range of both axes ...
    screen.page.mouse.move(*spot(screen, 0.25, 0.25))
    screen.page.mouse.down()
    screen.page.mouse.move(*spot(screen, 0.75, 0.75), steps=8)
    screen.page.mouse.up()
    screen.wait("() => !new URLSearchParams(location.search).get('over_x').startsWith('lr:0.01:')")
    back.wait_for()
    screen.ready()
    _, low, high, _ = screen.query()["over_x"].split(":")
    assert 0.1 < float(low) < 0.16
    assert 0.35 < float(high) < 0.41
    _, low, high, _ = screen.query()["over_y"].split(":")
    assert 0.15 < float(low) < 0.3
    assert 0.6 < float(high) < 0.75
    # ... and back.
    back.click()
    screen.wait("() => new URLSearchParams(location.search).get('over_x').startsWith('lr:0.01:0.5:')")
    screen.ready()
    # A click opens the run of that point, with its values.
    screen.page.mouse.click(*spot(screen, 0.5, 0.5))
    link = screen.page.get_by_role("link", name="Open the run at")
    link.wait_for()
    link.click()
    screen.wait("() => location.pathname === '/' && location.search.includes('heavy_ball')")
    screen.map.wait_for()
    screen.ready()
    assert 0.2 < float(screen.query()["opt1.lr"]) < 0.31
    assert 0.35 < float(screen.query()["opt1.momentum"]) < 0.55


def test_on_a_phone_the_map_comes_first_with_its_scales_below(visit):
    screen = visit(
        "/sweep?over_x=lr:0.01:0.05:16&over_y=momentum:0.0:0.9:16&steps=40", viewport={"width": 390, "height": 844}
    )
    assert screen.figure.is_visible()
    below = screen.keyed("sweep-over_x").bounding_box()["y"]
    assert screen.figure.bounding_box()["y"] < below
    bars = screen.figure.evaluate(
        "plot => plot._fullData.filter((one) => one.showscale).map((one) => one.colorbar.orientation)"
    )
    assert bars
    assert set(bars) == {"h"}
    assert screen.page.evaluate("document.scrollingElement.scrollWidth") == 390
