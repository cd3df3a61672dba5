"""The Descend page in a browser: what a visitor sees, and what the link keeps of it."""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, quote, urlsplit

import pytest

from landscapes import LANDSCAPES
from optimizers import OPTIMIZERS

GD = "descend-opt1-gd-lr"


def losses(screen):
    """Label -> loss, as the table says."""
    rows = screen.table.locator("tbody tr")
    return {row.locator(".rv-name").inner_text(): row.locator(".rv-num div").first.inner_text() for row in rows.all()}


def place(screen, across, down):
    """Screen coordinates of a place on the map, in shares of the canvas."""
    screen.map.scroll_into_view_if_needed()
    box = screen.map.bounding_box()
    return box["x"] + across * box["width"], box["y"] + down * box["height"]


def test_opens_on_a_finished_run(visit):
    screen = visit("/")
    hook = screen.hook
    assert (hook["position"], hook["mode"], hook["playing"]) == ("250", "contour", "false")
    assert re.fullmatch(r"step 250 / 250", screen.page.locator(".rv-step").inner_text())
    found = losses(screen)
    assert list(found) == ["Gradient descent", "Heavy ball", "Adam"]
    assert all(float(loss) < 200 for loss in found.values())
    assert float(found["Heavy ball"]) < float(found["Gradient descent"])
    # The paths are in the picture: at the first step there are none, and the rest is the same.
    whole = screen.pixels()
    screen.seek.press("Home")
    screen.wait_hook("hook.position === '0'")
    assert screen.pixels() != whole
    colours = "canvas => new Set(new Uint32Array(canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data.buffer)).size"
    assert screen.map.evaluate(colours) > 100


def test_a_click_moves_the_start(visit):
    screen = visit("/")
    before, old = losses(screen), screen.pixels()
    x, y = place(screen, 0.6, 0.3)
    screen.page.mouse.move(x, y)
    said = dict(re.findall(r"(\w+) = (-?[\d.e-]+)", screen.page.locator(".rv-readout").inner_text()))
    with screen.redrawn():
        screen.page.mouse.click(x, y)
    for axis in "xy":
        field = float(screen.keyed(f"descend-{axis}", "input").input_value())
        assert field == pytest.approx(float(said[axis]), abs=0.01)
    screen.wait("old => !location.search.includes(old)", "start=-1.5")
    start = [float(one) for one in screen.query()["start"].split(":")]
    assert start == pytest.approx([float(said["x"]), float(said["y"])], abs=0.01)
    assert losses(screen) != before
    assert screen.pixels() != old
    # The arrow keys move it on from there.
    with screen.redrawn():
        screen.map.press("ArrowRight")
    assert float(screen.keyed("descend-x", "input").input_value()) > start[0] + 0.01
    assert float(screen.keyed("descend-y", "input").input_value()) == pytest.approx(start[1], abs=1e-3)


def test_a_step_size_by_keyboard_and_back(visit):
    screen = visit("/")
    link, before, old = screen.page.url, losses(screen), screen.pixels()
    with screen.redrawn():
        screen.keyed(GD, "[type=range]").press("ArrowRight")
    screen.wait_query(opt1__lr="0.0013")
    after = losses(screen)
    assert after["Gradient descent"] != before["Gradient descent"]
    assert after["Adam"] == before["Adam"]
    assert screen.pixels() != old
    assert "0.0013" in screen.table.inner_text()
    # Back returns to the former state. For three seconds an address that was just replaced counts as the browser's late
    # echo of it (pages/_link.py).
    screen.page.wait_for_timeout(1_100)
    with screen.redrawn():
        screen.page.go_back()
    screen.wait_query(opt1__lr="0.001")
    assert screen.page.url == link
    assert losses(screen) == before
    assert screen.pixels() == old


def test_playback_asks_the_server_for_nothing(visit):
    screen = visit(reduced_motion="no-preference")
    frames = []

    def count(socket):
        socket.on("framesent", lambda frame: frames.append(frame))
        socket.on("framereceived", lambda frame: frames.append(frame))

    screen.page.on("websocket", count)
    screen.open("/")
    assert frames, "the counter counts"
    screen.page.locator(".rv-speed").select_option("4")
    frames.clear()
    screen.play.click()
    screen.wait_hook("hook.playing === 'true' && Number(hook.position) > 0 && Number(hook.position) < 250")
    screen.wait_hook("hook.playing === 'false'")
    assert screen.hook["position"] == "250"
    assert frames == []
    # The space bar starts again and stops; a scrub goes where it is told.
    screen.map.focus()
    screen.page.keyboard.press("Space")
    screen.wait_hook("hook.playing === 'true'")
    screen.page.keyboard.press("Space")
    screen.wait_hook("hook.playing === 'false'")
    screen.seek.fill("37")
    assert screen.hook["position"] == "37"
    assert screen.page.locator(".rv-step").inner_text() == "step 37 / 250"
    assert "step 37" in screen.table.inner_text()
    assert frames == []


def test_three_dimensions(visit):
    screen = visit("/")
    flat = screen.pixels()
    with screen.redrawn():
        screen.choose("descend-mode", "surface")
    assert screen.hook["mode"] == "surface"
    screen.wait_query(mode="surface")
    high = screen.pixels()
    assert high != flat
    screen.map.focus()
    screen.page.keyboard.press("ArrowLeft")
    screen.wait("([canvas, old]) => canvas.toDataURL() !== old", [screen.map.element_handle(), high])


def test_runs_come_and_go(visit):
    screen = visit("/")
    with screen.redrawn():
        screen.page.get_by_role("button", name="Add a run").click()
    assert len(losses_of_rows(screen)) == 4
    assert screen.query()["opt4"] == "adam"
    with screen.redrawn():
        screen.keyed("descend-opt2-remove", "button:visible").click()
    screen.wait("() => !location.search.includes('opt4')")
    assert losses_of_rows(screen) == ["Gradient descent", "Adam", "Adam"]
    assert [screen.query()[f"opt{k}"] for k in (1, 2, 3)] == ["gd", "adam", "adam"]
    with screen.redrawn():
        screen.choose("descend-opt3", OPTIMIZERS["sam"].label)
    screen.wait_query(opt2="sam")


def losses_of_rows(screen):
    return screen.table.locator("tbody .rv-name").all_inner_texts()


def test_another_surface_and_a_formula(visit):
    screen = visit("/")
    field = screen.hook["field"]
    with screen.redrawn():
        screen.choose("descend-land", LANDSCAPES["beale"].label)
    screen.wait_query(land="beale")
    screen.wait_hook("hook.field !== argument", field)
    assert "rosenbrock" not in screen.page.url
    with screen.redrawn():
        screen.choose("descend-land", LANDSCAPES["formula"].label)
    with screen.redrawn():
        screen.fill("descend-land-formula-expression", "x^2 + 3*y^2")
    screen.wait_query(land="formula", land__expression="x^2 + 3*y^2")
    picture, link = screen.pixels(), screen.page.url
    # What is no formula is answered with a sentence; the picture stays.
    screen.fill("descend-land-formula-expression", "__import__('os').system('id')")
    alert = screen.page.locator("[data-testid=stAlert]")
    alert.wait_for()
    assert alert.inner_text().startswith("The formula contains")
    screen.ready()
    assert (screen.pixels(), screen.page.url) == (picture, link)


def test_a_shared_link_shows_the_same(visit):
    screen = visit("/")
    x, y = place(screen, 0.4, 0.4)
    with screen.redrawn():
        screen.page.mouse.click(x, y)
    with screen.redrawn():
        screen.keyed(GD, "[type=range]").press("ArrowRight")
    screen.wait_query(opt1__lr="0.0013")
    field = screen.page.locator(".rv-copy textarea")
    screen.reveal(screen.page.get_by_role("button", name="Share"), field)
    link = field.input_value()
    screen.page.keyboard.press("Escape")
    assert link.startswith(screen.address)
    other = visit(link.removeprefix(screen.address))
    assert dict(parse_qsl(urlsplit(link).query)) == other.query() == screen.query()
    assert other.table.inner_text() == screen.table.inner_text()
    screen.page.mouse.move(5, 5)
    assert other.pixels() == screen.pixels()


def test_mangled_links_are_told_in_sentences(visit):
    links = {
        "land=nowhere&opt1=magic&steps=many&z=<b>bold</b>": ("nowhere", "magic", "many", "“z”"),
        "opt1=gd&opt1.lr=-5&steps=99999999&start=1:2:3&mode=5": ("opt1.lr", "steps", "start", "mode"),
        "land=formula&land.expression=" + quote("().__class__.__base__"): ("formula",),
        "steps=" + "9" * 9_990: ("link",),
    }
    screen = visit()
    for query, said in links.items():
        screen.open("/?" + query)
        alert = screen.page.locator("[data-testid=stAlert]").first
        text = alert.inner_text()
        assert [word for word in said if word not in text] == [], text
        assert "Traceback" not in screen.page.locator("body").inner_text()
        assert alert.locator("b").count() == 0
        assert len(losses(screen)) >= 1
        assert screen.query()["v"] == "1"


def test_a_phone_shows_the_picture(visit):
    screen = visit("/", viewport={"width": 390, "height": 844})
    box = screen.map.bounding_box()
    assert box["x"] >= 0
    assert box["width"] >= 300
    assert box["x"] + box["width"] <= 390
    assert box["y"] + box["height"] <= 844
    assert screen.page.evaluate("document.documentElement.scrollWidth") <= 390
    assert screen.page.evaluate("document.querySelector('[data-testid=stMain]').scrollWidth") <= 390
