"""What a visitor sees and does: one page of the app in a browser, with waits that end when the app is done."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from urllib.parse import parse_qs, urlsplit

from playwright.sync_api import Error, Locator, Page, TimeoutError

PATIENCE = 60_000  # milliseconds until a wait gives up: an upper bound for a busy machine, never a pause
# Plotly keeps arrays that came packed beside their packing.
TRACES = """plot => Object.fromEntries(plot.data.map(one => [one.name, {
  x: Array.from(one.x._inputArray ?? one.x), y: Array.from(one.y._inputArray ?? one.y)}]))"""
# Of two lists of features Chromium heeds the last: what Playwright turns off, as far as it matters here, and the pages
# that draw the address bar's menu, which a window without one loads all the same.
_WITHOUT = (
    "AimEnabled",
    "AvoidUnnecessaryBeforeUnloadCheckSync",
    "DestroyProfileOnBrowserClose",
    "HttpsFirstBalancedModeAutoEnable",
    "HttpsUpgrades",
    "LensOverlay",
    "MediaRouter",
    "NetworkTimeServiceQuerying",
    "OptimizationHints",
    "PaintHolding",
    "PreconnectToSearch",
    "WebUIOmniboxAimPopup",
    "WebUIOmniboxFullPopup",
    "WebUIOmniboxPopup",
)
ARGUMENTS = (
    f"--disable-features={','.join(_WITHOUT)}",
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
)
# A visitor's browser. What turns and fades costs about as much to draw as all else, so visitors prefer still pages.
VISITOR = {"viewport": {"width": 1280, "height": 800}, "reduced_motion": "reduce"}
_QUIET = """() => {
  const app = document.querySelector('[data-testid=stApp]');
  return app?.dataset.testConnectionState === 'CONNECTED' && app.dataset.testScriptState === 'notRunning'
    && !document.querySelector('[data-testid=stSkeleton]');
}"""
_PICTURE = """() => {
  for (const host of document.querySelectorAll('[class*=st-key-] *')) {
    const root = host.shadowRoot?.querySelector('.rv-root');
    if (root) return Number(root.dataset.v) > 0 && document.fonts.status === 'loaded';
  }
  return Number(document.querySelector('.rv-figure')?.dataset.v) > 0;
}"""


class Screen:
    """One page in a context of its own."""

    def __init__(self, page: Page, address: str):
        self.page, self.address = page, address
        page.set_default_timeout(PATIENCE)
        self.map = page.locator(".rv-map")
        self.table = page.locator(".rv-runs")
        self.play = page.locator(".rv-play")
        self.seek = page.locator(".rv-seek")
        self.figure = page.locator(".rv-figure")

    def open(self, path: str = "/") -> Screen:
        """Go to a path of the app, with its query, and wait for the first picture."""
        self.page.goto(self.address + path)
        return self.ready()

    def ready(self) -> Screen:
        """Wait until the script has ended and a picture is drawn."""
        self.wait(_PICTURE)
        self.wait(_QUIET)
        return self

    def wait(self, condition: str, argument: object = None) -> None:
        """Wait for a JavaScript condition. Asked from here: what Playwright would leave in the page to ask, the app's policy for
        its pages forbids, and a busy page starves animation frames."""
        until = time.monotonic() + PATIENCE / 1000
        while not self._holds(condition, argument):
            if time.monotonic() > until:
                raise TimeoutError(f"In {PATIENCE / 1000:.0f} s this never held: {condition}")
            self.page.wait_for_timeout(100)

    def _holds(self, condition: str, argument: object) -> bool:
        try:
            return bool(self.page.evaluate(condition, argument))
        except Error as failure:
            if "Execution context was destroyed" in str(failure) or "navigat" in str(failure):
                return False  # another page comes
            raise

    def keyed(self, key: str, inside: str = "") -> Locator:
        """The widget with a key of Streamlit's, or a part of it."""
        return self.page.locator(f".st-key-{key} {inside}".strip())

    @property
    def hook(self) -> dict[str, str]:
        """The canvas component's account of itself: v, position, mode, playing."""
        return self.page.locator(".rv-root").evaluate("root => ({...root.dataset})")

    @contextmanager
    def redrawn(self) -> Iterator[None]:
        """What is done inside leads to a new picture: wait for it, and for the script behind it to end."""
        before = int(self.hook["v"])
        yield
        self.wait_hook("Number(hook.v) > argument", before)
        self.wait(_QUIET)

    def wait_hook(self, condition: str, argument: object = None) -> None:
        """Wait for a condition on the component's `hook`."""
        root = self.page.locator(".rv-root").element_handle()
        self.wait(f"([root, argument]) => {{ const hook = root.dataset; return {condition}; }}", [root, argument])

    def pixels(self) -> str:
        """The picture, bit by bit."""
        return self.map.evaluate("canvas => canvas.toDataURL()")

    def query(self) -> dict[str, str]:
        """What the address bar says."""
        return {key: one for key, (one,) in parse_qs(urlsplit(self.page.url).query).items()}

    def wait_query(self, **expected: str) -> None:
        """Wait until the address bar says so; dots of a key are spelled as two underscores."""
        wanted = {key.replace("__", "."): value for key, value in expected.items()}
        self.wait(
            "wanted => Object.entries(wanted).every(([k, v]) => new URLSearchParams(location.search).get(k) === v)",
            wanted,
        )

    def choose(self, key: str, text: str) -> None:
        """Pick an option of a select box by typing its label, since long lists are drawn only in part.

        A redraw closes the list, and may leave what was typed in the field, where typing the same opens nothing. So whoever
        was too early empties the field and types again, as people do.
        """
        option = self.page.get_by_role("option", name=text, exact=True)

        def type_anew() -> None:
            self.keyed(key, "input").fill("")
            self.keyed(key, "input").fill(text)

        def take(timeout: float) -> None:
            option.click(timeout=timeout)
            option.wait_for(state="hidden", timeout=timeout)  # a click beside a list that moves leaves it open

        self._until(type_anew, take, f"The list of {key} never showed “{text}”, or kept open.")

    def reveal(self, button: Locator, inside: Locator) -> None:
        """Press a button until what it opens is there: a redraw may swallow an early click, or close what is open."""

        def press() -> None:
            if not inside.is_visible():
                button.click()

        self._until(press, inside.wait_for, f"{button} never opened {inside}.")

    def _until(self, act: Callable[[], None], follows: Callable[..., None], otherwise: str) -> None:
        """Act on a page at rest, again and again until what follows from it has happened: each time with twice the patience."""
        for again in range(5, -1, -1):
            self.wait(_QUIET)
            act()
            try:
                return follows(timeout=PATIENCE / 2**again)
            except TimeoutError:
                continue
        raise AssertionError(otherwise)

    def fill(self, key: str, text: str) -> None:
        """Type into a text or number field and press Enter."""
        box = self.keyed(key, "input")
        box.fill(text)
        box.press("Enter")

    def traces(self) -> dict[str, dict[str, list[float]]]:
        """Name -> x and y of what Plotly has drawn."""
        return self.figure.evaluate(TRACES)
