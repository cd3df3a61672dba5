"""The pages that train a network: progress, cancel, and a state that stays."""

from __future__ import annotations

from urllib.parse import parse_qsl

from tests.browser.screen import TRACES

TINY = "land=mlp&land.data=chebyshev&land.hidden=20x20&land.objective=squared&opt1=gd&opt1.lr=0.3&steps=300&every=10"
LONG = "land=mlp&land.data=digits&land.hidden=32x32&land.objective=squared&opt1=gd&opt1.lr=0.1&steps=10000&every=50"


def alert(screen):
    return screen.page.locator("[data-testid=stMain] [data-testid=stAlert]").last


def button(screen, name):
    return screen.page.locator("[data-testid=stMain]").get_by_role("button", name=name).locator("visible=true").first


def finished(screen):
    """Wait until the computation is over: nothing polls, and the button says so."""
    button(screen, "Done").wait_for()
    return screen.ready()


def test_training_to_the_end(visit):
    screen = visit("/edge?" + TINY.replace("steps=300", "steps=600").replace("opt1.lr=0.3", "opt1.lr=0.31"))
    finished(screen)
    said = alert(screen).inner_text()
    assert "sharpness" in said
    traces = screen.traces()
    loss, sharpness, threshold = (
        next(one for name, one in traces.items() if name.startswith(start)) for start in ("loss", "sharpness", "2/")
    )
    assert loss["x"][0] == 0
    assert loss["x"][-1] == 600
    assert len(sharpness["x"]) == 61
    assert sharpness["x"] == list(range(0, 601, 10))
    assert threshold["y"] == [2 / 0.31, 2 / 0.31]
    assert loss["y"][-1] < loss["y"][0]
    assert dict(parse_qsl(TINY)).keys() <= screen.query().keys()
    assert screen.query()["land.hidden"] == "20x20"


def test_a_long_run_shows_progress_and_can_be_cancelled(visit):
    screen = visit("/edge?" + LONG)
    progress = screen.page.locator("[data-testid=stProgress]")
    progress.wait_for()
    screen.wait("() => document.querySelector('[data-testid=stProgress]').innerText.includes('of 10000')")
    screen.wait(f"() => ({TRACES})(document.querySelector('.rv-figure')).loss?.x.length > 5")
    button(screen, "Cancel").click()
    button(screen, "Run").wait_for()
    screen.ready()
    assert "ancelled" in alert(screen).inner_text()
    kept = screen.traces()["loss"]["x"]
    assert 5 < len(kept) < 10_001
    assert progress.count() == 0
    # Run starts again.
    button(screen, "Run").click()
    button(screen, "Cancel").click()
    button(screen, "Run").wait_for()


def test_a_changed_setting_offers_to_run_and_the_zoom_stays(visit):
    screen = visit("/edge?" + TINY)
    finished(screen)
    before = screen.traces()
    box = screen.figure.locator(".nsewdrag").last.bounding_box()
    screen.page.mouse.move(box["x"] + 0.3 * box["width"], box["y"] + 20)
    screen.page.mouse.down()
    screen.page.mouse.move(box["x"] + 0.6 * box["width"], box["y"] + box["height"] - 20, steps=5)
    screen.page.mouse.up()
    screen.wait("() => document.querySelector('.rv-figure').layout.xaxis.range[0] > 30")
    span = "plot => plot.layout.xaxis.range"
    zoomed = screen.figure.evaluate(span)
    screen.keyed("edge-opt1-gd-lr", "[type=range]").press("ArrowRight")
    button(screen, "Run").wait_for()
    screen.wait_query(opt1__lr="0.32")
    assert screen.traces() == before
    button(screen, "Run").click()
    finished(screen)
    screen.wait(
        f"old => JSON.stringify(({TRACES})(document.querySelector('.rv-figure')).loss) !== JSON.stringify(old)",
        before["loss"],
    )
    assert screen.figure.evaluate(span) == zoomed


def test_a_slice_with_its_path(visit):
    screen = visit("/slice?" + TINY + "&points=15")
    finished(screen)
    screen.map.wait_for()
    screen.ready()
    assert "plane" in alert(screen).inner_text()
    hook = screen.hook
    assert hook["mode"] == "contour"
    assert int(hook["position"]) > 10
    whole = screen.pixels()
    screen.seek.press("Home")
    screen.wait_hook("hook.position === '0'")
    assert screen.pixels() != whole


def test_pages_keep_their_state(visit):
    screen = visit("/edge?" + TINY)
    finished(screen)
    edge, traces = screen.query(), screen.traces()
    links = screen.page.locator("[data-testid=stTopNavLink]:not([inert] *)")
    links.filter(has_text="Descend").click()
    screen.wait("() => location.pathname === '/' && location.search.includes('rosenbrock')")
    screen.map.wait_for()
    screen.ready()
    with screen.redrawn():
        screen.keyed("descend-opt1-gd-lr", "[type=range]").press("ArrowRight")
    screen.wait_query(opt1__lr="0.0013")
    descend, table = screen.query(), screen.table.inner_text()
    links.filter(has_text="Edge").click()
    screen.wait("() => location.pathname === '/edge' && location.search.includes('chebyshev')")
    finished(screen)
    screen.figure.wait_for()
    assert (screen.query(), screen.traces()) == (edge, traces)
    links.filter(has_text="Descend").click()
    screen.wait("() => location.pathname === '/' && location.search.includes('rosenbrock')")
    screen.map.wait_for()
    screen.ready()
    assert (screen.query(), screen.table.inner_text()) == (descend, table)
