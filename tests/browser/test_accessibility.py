"""axe-core finds no serious or critical violation on any page, in the light and in the dark theme.

Here the pages that show a run, what opens over them, and the page of watched runs; the gallery, the reference, the comparison
and the students' page are looked at where they are used.
"""

from __future__ import annotations

from importlib.resources import files

import pytest

from tests.browser.screen import _QUIET
from tests.sampling import sampled

AXE = files("axe_playwright_python").joinpath("axe.min.js").read_text("utf-8")
TINY = "land=mlp&land.data=chebyshev&land.hidden=20x20&land.objective=squared&opt1=gd&opt1.lr=0.3&steps=300&every=10"
PAGES = {
    "descend": "/",
    "edge": f"/edge?{TINY}",
    "slice": f"/slice?{TINY}&points=15",
    "sweep": "/sweep?over_x=lr:0.01:0.05:16&steps=20",
    "stepsize": "/stepsize?land=quadratic&opt1=gd&opt1.lr=0.1&steps=40&at=10",
}
# Streamlit's own: rule -> selectors of what is excused. Nothing of ours may be listed.
STREAMLITS: dict[str, tuple[str, ...]] = {}


def violations(screen, *rules):
    """Serious and critical findings that are not excused, one line each; of some rules alone, or of all."""
    screen.page.evaluate(AXE)
    options = {"resultTypes": ["violations"]} | ({"runOnly": list(rules)} if rules else {})
    found = screen.page.evaluate("options => axe.run(document, options)", options)
    assert rules or len(found["passes"]) > 10
    return [
        f"{one['id']} ({one['impact']}): {node['target']} {node['html'][:200]}"
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
        if not any(part in str(node["target"]) for part in STREAMLITS.get(one["id"], ()))
    ]


@pytest.mark.parametrize("view", sampled(PAGES, 2))
def test_no_serious_violation(visit, view):
    screen = visit(PAGES[view], color_scheme="light")
    if view != "descend":
        screen.page.locator("[data-testid=stMain]").get_by_role("button", name="Done").first.wait_for()
        screen.ready()
    assert violations(screen) == []
    background = "getComputedStyle(document.querySelector('[data-testid=stApp]')).backgroundColor"
    assert screen.page.evaluate(background) == "rgb(255, 255, 255)"
    screen.page.emulate_media(color_scheme="dark")
    screen.wait(f"() => {background} !== 'rgb(255, 255, 255)'")
    screen.ready()
    assert violations(screen) == []
    # And the search finds what is there to be found.
    screen.page.evaluate("document.querySelector('[data-testid=stMain]').append(document.createElement('button'))")
    (found,) = violations(screen, "button-name")
    assert found.startswith("button-name")


def test_no_serious_violation_in_what_opens_over_a_page(visit):
    """The panels in both themes by turns."""
    screen = visit("/?opt1=gd&opt1.lr=0.001&steps=20", color_scheme="light")
    page = screen.page
    screen.reveal(page.get_by_role("button", name="Export"), page.get_by_role("button", name="PNG", exact=True))
    screen.wait(_QUIET)
    assert violations(screen) == []
    page.keyboard.press("Escape")
    page.emulate_media(color_scheme="dark")
    code = page.get_by_role("button", name="QR code")
    screen.reveal(page.get_by_role("button", name="Share"), code)
    screen.wait(_QUIET)
    assert violations(screen) == []
    code.click()
    page.locator(".rv-qr").wait_for()
    screen.wait(_QUIET)
    # Nothing lies over the code, not even the panel that it was opened from.
    corners = """() => { const box = document.querySelector('.rv-qr').getBoundingClientRect();
      return [0.1, 0.9].flatMap((x) => [0.1, 0.9].map((y) =>
        document.elementFromPoint(box.left + x * box.width, box.top + y * box.height)?.className)); }"""
    assert page.evaluate(corners) == ["rv-qr"] * 4
    assert violations(screen) == []
    page.keyboard.press("Escape")
    page.emulate_media(color_scheme="light")
    page.goto(f"{screen.address}/watch")
    page.get_by_text("Two lines in your training loop").wait_for()
    screen.wait(_QUIET)
    assert violations(screen) == []
