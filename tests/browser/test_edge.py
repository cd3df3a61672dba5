"""The edge of stability as a visitor works with it: several runs, a step looked at, minibatches, another probe."""

from __future__ import annotations

import base64
import json
from urllib.parse import parse_qs, urlsplit

import torch

from tests.browser.screen import TRACES
from tests.browser.test_training import TINY, alert, button, finished
from tests.browser.video import held

SHORT = TINY.replace("steps=300", "steps=60").replace("20x20", "6")
AXIS = "(row) => document.querySelector('.rv-figure').layout[row]?.title?.text"

# How many pixels are not white, early and late in a video.
INK = """async text => {
  const video = document.createElement('video'), canvas = document.createElement('canvas');
  const ready = new Promise(resolve => (video.onloadeddata = resolve));
  const bytes = Uint8Array.from(atob(text), one => one.charCodeAt(0));
  video.src = URL.createObjectURL(new Blob([bytes]));
  await ready;
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  const context = canvas.getContext('2d', { willReadFrequently: true }), counts = [];
  for (const at of [0.5, 4.9]) {
    const found = new Promise(resolve => (video.onseeked = resolve));
    video.currentTime = at;
    await found;
    context.clearRect(0, 0, canvas.width, canvas.height);
    do {  // a picture may come later than the word that it was sought
      await new Promise(requestAnimationFrame);
      context.drawImage(video, 0, 0);
    } while (!context.getImageData(0, 0, 1, 1).data[3]);
    counts.push(context.getImageData(0, 0, canvas.width, canvas.height).data.filter((one, k) => k % 4 === 2 && one < 200).length);
  }
  return counts;
}"""


def run(screen):
    button(screen, "Run").click()
    return finished(screen)


def unfold(screen, title):
    screen.page.locator("[data-testid=stSidebar] summary").filter(has_text=title).click()


def click_at_step(screen, step):
    """On the upper panel of the first figure, at half its height: the nearest line is hit."""
    pixel = screen.figure.first.evaluate("(plot, step) => plot._fullLayout.xaxis.l2p(step)", step)
    box = screen.figure.first.locator(".nsewdrag").first.bounding_box()
    screen.page.mouse.click(box["x"] + pixel, box["y"] + box["height"] / 2)


def test_several_step_sizes_and_a_step_of_one_of_them(visit):
    screen = visit("/edge?" + SHORT + "&vary=opt1.lr&across=0.1,0.2")
    finished(screen)
    assert screen.keyed("edge-opt1-gd-lr").count() == 0  # a step size that is compared has no slider
    screen.fill("edge-across", "0.1,none")
    refused = screen.page.locator("[data-testid=stSidebar] [data-testid=stAlert]")
    refused.filter(has_text="none is not allowed").wait_for()
    screen.fill("edge-across", "0.1,0.3")
    screen.wait_query(across="0.1,0.3")
    run(screen)
    screen.wait(f"() => 'η = 0.3' in ({TRACES})(document.querySelector('.rv-figure'))")
    traces = screen.traces()
    assert traces["η = 0.1, 2/η = 20"]["y"] == [20, 20]
    assert len(traces["η = 0.3"]["x"]) == 61
    assert "η = 0.1: The sharpness has reached" in alert(screen).inner_text()
    click_at_step(screen, 40)
    screen.wait_query(at="40")
    cut = screen.keyed("edge-cut")
    cut.locator(".rv-figure .legendtext").filter(has_text="step 40").wait_for()
    chosen = screen.query()["run"]
    screen.fill("edge-at", "50")
    screen.wait_query(at="50", run=chosen)
    cut.locator(".rv-figure .legendtext").filter(has_text="step 50").wait_for()
    link = screen.page.get_by_role("link", name="Slice at this step").get_attribute("href")
    slice_of = {key: one for key, (one,) in parse_qs(urlsplit(link).query).items()}
    assert (urlsplit(link).path, slice_of["at"], slice_of["opt1.lr"]) == (
        "/slice",
        "50",
        ["0.1", "0.3"][int(chosen) - 1],
    )
    # Back to a single run: the step stays, and so does the page.
    screen.fill("edge-across", "0.3")
    screen.wait_query(across="0.3", at="50")
    run(screen)
    screen.wait(f"() => 'sharpness λ' in ({TRACES})(document.querySelector('.rv-figure'))")
    screen.fill("edge-at", "10")
    screen.wait_query(at="10")
    cut.locator(".rv-figure .legendtext").filter(has_text="step 10").wait_for()


def test_a_setting_to_compare_is_chosen_and_the_spectrum_at_a_step(visit):
    screen = visit("/edge?" + SHORT + "&at=30")
    finished(screen)
    unfold(screen, "Compare values")
    screen.choose("edge-vary", "Step size η")
    screen.wait_query(vary="opt1.lr", across="0.15,0.3,0.6")
    values = screen.page.locator("[data-testid=stSidebar]").get_by_label("Values", exact=True)
    screen.wait("box => box.value === '0.15,0.3,0.6'", values.element_handle())
    settings = screen.page.get_by_role("button", name="Settings of run 1")
    screen.reveal(settings, screen.keyed("edge-opt1-schedule"))
    assert screen.keyed("edge-opt1-gd-lr-exact").count() == 0  # there is no one step size to be exact about
    screen.page.keyboard.press("Escape")
    run(screen)
    screen.wait(f"() => 'η = 0.6' in ({TRACES})(document.querySelector('.rv-figure'))")
    traces = screen.figure.first.evaluate(TRACES)
    for value in (0.15, 0.3, 0.6):
        assert len(traces[f"η = {value}"]["x"]) == 61
        (limit,) = (one["y"] for name, one in traces.items() if name.startswith(f"η = {value}, 2/η"))
        assert limit == [2 / value] * 2
    screen.keyed("edge-aspect").get_by_text("Spectrum").click()
    screen.wait_query(aspect="spectrum", at="30")
    screen.keyed("edge-cut").locator(".rv-figure .legendtext").filter(has_text="density").wait_for()
    screen.keyed("edge-beside").get_by_text("At step 30,").wait_for()
    # The button that removes a rule takes no room from its name, and none from the page.
    role = screen.page.get_by_role
    screen.reveal(role("button", name="Add a run"), role("button", name="Remove run 2"))
    name = screen.keyed("edge-opt1", "input")
    assert name.input_value() == "Gradient descent"
    assert name.evaluate("e => e.scrollWidth <= e.clientWidth")
    sidebar = screen.page.locator("[data-testid=stSidebarContent]")
    assert sidebar.evaluate("e => e.scrollWidth <= e.clientWidth")


def test_on_a_phone_and_on_a_projector(visit):
    """A finger scrolls the page, a tap chooses a step and brings what is seen there into view; large type draws as well."""
    screen = visit("/edge?" + SHORT, viewport={"width": 390, "height": 700}, has_touch=True, is_mobile=True)
    screen.page.get_by_test_id("stAlert").filter(has_text="The sharpness").wait_for()  # a phone has no room for "Done"
    figure = screen.figure.first
    assert figure.evaluate("plot => plot.layout.dragmode") is False
    assert figure.locator("[data-title^=Share]").count() == 0  # Plotly would upload the figure
    box = figure.locator(".nsewdrag").first.bounding_box()
    screen.page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    screen.wait("() => new URLSearchParams(location.search).get('at') > 0")
    screen.keyed("edge-cut").locator(".rv-figure .legendtext").filter(has_text="iterates").wait_for()
    screen.wait("() => document.querySelector('.st-key-edge-beside').getBoundingClientRect().top < 350")
    assert figure.evaluate("plot => [...plot.layout.xaxis.range]") == [0, 60]  # a tap is no double click
    screen.open("/edge?" + SHORT + "&present=true&vary=opt1.lr&across=0.1,0.2")
    screen.figure.first.locator(".legendtext").filter(has_text="its threshold").wait_for()


def test_minibatches_and_another_probe(visit):
    screen = visit("/edge?" + SHORT)
    finished(screen)
    assert screen.page.evaluate(AXIS, "yaxis") == "loss"
    unfold(screen, "Minibatches")
    screen.fill("edge-batch_size", "5")
    screen.wait_query(batch_size="5")
    unfold(screen, "Measure")
    screen.choose("edge-probes", "Distance from the start")
    screen.keyed("edge-probes", "input").press("Escape")  # an open menu hides the page from screen readers
    screen.wait_query(probes="distance")
    run(screen)
    screen.wait(f"() => 'distance from the start' in ({TRACES})(document.querySelector('.rv-figure'))")
    traces = screen.traces()
    assert traces["distance from the start"]["y"][0] == 0
    assert traces["distance from the start"]["y"][-1] > 0
    assert "batch sharpness" in traces
    assert screen.page.evaluate(AXIS, "yaxis") == "loss of<br>the batch"
    # The curves as a video: later pictures hold more ink.
    screen.reveal(button(screen, "Export"), screen.page.get_by_role("button", name="Video"))
    with screen.page.expect_download() as download:
        screen.page.get_by_role("button", name="Video").click()
    assert download.value.suggested_filename in ("ravine-edge.webm", "ravine-edge.mp4")
    with open(download.value.path(), "rb") as file:
        data = file.read()
    begun, ended = screen.page.evaluate(INK, base64.b64encode(data).decode())
    assert 0 < begun < ended
    assert json.loads(held(data))["provenance"]["torch"] == torch.__version__
