"""The gallery opens pages; two links, or a saved file and a link, stand side by side."""

from __future__ import annotations

from urllib.parse import quote

from ravine import Experiment, compute
from ravine.gallery import PIECES
from tests.browser.screen import _QUIET
from tests.browser.test_accessibility import violations

A = "/?land=quadratic&opt1=gd&opt1.lr=0.05&steps=30"
B = "/?land=quadratic&opt1=gd&opt1.lr=0.1&steps=30"


def test_the_gallery_opens_a_page_on_its_picture(visit):
    screen = visit()
    page = screen.page
    page.goto(f"{screen.address}/gallery")
    page.get_by_role("img").nth(len(PIECES) - 1).wait_for()
    screen.wait(_QUIET)
    assert violations(screen) == []
    link = page.get_by_role("link", name=PIECES[0].title, exact=True).get_attribute("href")
    page.goto(screen.address + link)
    screen.ready()
    page.get_by_role("heading", name=PIECES[0].title).wait_for()
    assert screen.query()["opt1.lr"] == "0.2"


def test_two_links_side_by_side_and_a_file_against_its_link(visit, tmp_path):
    screen = visit()
    page = screen.page
    page.goto(f"{screen.address}/compare?a={quote(A, safe='')}&b={quote(B, safe='')}")
    screen.wait("() => document.querySelectorAll('.rv-figure[data-v]').length === 2")
    screen.wait(_QUIET)
    assert page.locator("[data-testid=stDataFrame]").is_visible()
    assert violations(screen) == []
    # The numbers of a file, against the same experiment computed here.
    experiment, refusals = Experiment.from_url(B)
    assert refusals == []
    compute(experiment).save(tmp_path / "run.zip")
    page.locator("[data-testid=stFileUploaderDropzoneInput]").first.set_input_files(tmp_path / "run.zip")
    page.get_by_text("They are the same to the bit").wait_for()
    assert page.get_by_text("Both sides say the same.").is_visible()
    (tmp_path / "bad.zip").write_bytes(b"PK no")
    page.locator("[data-testid=stFileUploaderDropzoneInput]").last.set_input_files(tmp_path / "bad.zip")
    page.get_by_text("This is not a results file of this app").wait_for()
