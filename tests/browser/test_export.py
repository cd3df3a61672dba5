"""What the Export panel saves is opened again: pictures, the page that plays from a disk, and a results file."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import torch
from PIL import Image

from ravine import export
from tests.browser.screen import _QUIET
from tests.browser.test_training import TINY, finished

SMALL = "/?land=quadratic&land.kappa=5.0&opt1=gd&opt1.lr=0.05&opt2=adam&opt2.lr=0.1&steps=40&start=-1.5:1.0"


def saved(screen, tmp_path, name):
    """Presses the button of that name in the open panel; where the file is."""
    with screen.page.expect_download() as download:
        screen.page.get_by_role("button", name=name, exact=True).click()
    path = tmp_path / download.value.suggested_filename
    download.value.save_as(path)
    return path


def export_panel(screen):
    main = screen.page.locator("[data-testid=stMain]")
    screen.reveal(main.get_by_role("button", name="Export"), screen.page.get_by_role("button", name="PNG", exact=True))


def test_pictures_and_a_page_that_plays_from_a_disk(visit, tmp_path):
    screen = visit(SMALL)
    export_panel(screen)
    width, height, _ = next(iter(export.PRESETS.values()))
    with Image.open(saved(screen, tmp_path, "PNG")) as picture:
        assert picture.format == "PNG"
        assert picture.size == (4 * width, 4 * height)
        assert len(picture.convert("RGB").getcolors(1 << 24)) > 50  # a map, not an empty sheet
        specification = json.loads(picture.text["Specification"])
    assert specification["provenance"]["torch"] == torch.__version__
    assert specification["link"].startswith("/?v=1&land=quadratic")
    drawing = ElementTree.parse(saved(screen, tmp_path, "SVG")).getroot()
    assert drawing.tag == "{http://www.w3.org/2000/svg}svg"
    assert (drawing.get("width"), drawing.get("height")) == (str(width), str(height))
    assert "Gradient descent" in "".join(drawing.itertext())
    assert json.loads(drawing[0].text) == specification
    assert drawing[0].tag == "{http://www.w3.org/2000/svg}metadata"
    path = saved(screen, tmp_path, "Web page")
    page = screen.page.context.new_page()
    page.context.set_offline(True)
    page.goto(path.as_uri())
    page.wait_for_function("() => document.querySelector('.rv-root')?.dataset.v > 0")
    root = page.locator(".rv-root")
    assert page.locator(".rv-step").inner_text() == "step 40 / 40"
    page.get_by_role("button", name="Play", exact=True).click()
    page.wait_for_function("() => document.querySelector('.rv-root').dataset.playing === 'true'")
    page.wait_for_function("() => document.querySelector('.rv-root').dataset.playing === 'false'")
    assert root.get_attribute("data-position") == "40"
    assert page.locator(".rv-runs tbody tr").count() == 2


def test_a_results_file_opens_wherever_it_is_dropped(visit, tmp_path):
    screen = visit("/edge?" + TINY.replace("steps=300", "steps=40").replace("20x20", "6"))
    finished(screen)
    export_panel(screen)
    path = saved(screen, tmp_path, "Arrays (.zip)")
    other = visit("/?opt1=gd&opt1.lr=0.001&steps=20")
    held = other.page.evaluate_handle(
        """bytes => { const data = new DataTransfer();
        data.items.add(new File([Uint8Array.from(bytes)], 'run.zip', {type: 'application/zip'})); return data; }""",
        list(path.read_bytes()),
    )
    for event in ("dragover", "drop"):
        other.page.dispatch_event("[data-testid=stMain]", event, {"dataTransfer": held})
    other.page.get_by_text("These numbers are from run.zip").wait_for()
    other.wait("() => location.pathname === '/edge'")
    other.wait("() => document.querySelector('.rv-figure')?.dataset.v > 0")
    assert len(other.traces()["loss"]["x"]) == 41
    assert other.query()["opt1.lr"] == "0.3"
    other.page.get_by_role("button", name="Compute", exact=True).click()
    finished(other)
    assert other.page.get_by_text("These numbers are from").count() == 0
    # What is no results file is refused in a sentence, on any page.
    (tmp_path / "bad.zip").write_bytes(b"PK no")
    other.page.locator("[data-testid=stSidebar] input[type=file]").set_input_files(tmp_path / "bad.zip")
    other.page.get_by_text("This is not a results file of this app").wait_for()
    other.wait(_QUIET)
