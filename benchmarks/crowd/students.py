"""Who sits in the class: what each does, when, and what came of it.

Forty are on Descend and move a step size every five seconds. Twenty are on the four pages that take long. Half of these open
what the teacher shares, all at once: the four pages as they are in the first minute, and a new link every minute after it.
The other half open a page as it is and then, once a minute and each at a time of its own, change something that nobody else has.
Who still waits when the next change is due waits on: nobody asks twice.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass

import websockets

from benchmarks.crowd.asked import Asked, Follower
from benchmarks.crowd.front_end import Tab, Traffic, Visitor, Widget
from pages._assets import VERSION

ARRIVE = 10.0  # seconds in which all come in
MOVE, CHANGE = 5.0, 60.0  # seconds between two moves of a step size, and two changes on another page
_LAST = {"move": 5.0, "own": 15.0, "shared": 20.0}  # seconds before the end after which nothing more is asked for
_SURFACES = ("rosenbrock", "himmelblau", "beale", "quadratic", "rastrigin", "ackley")
_CANVAS = (f"/scripts/{VERSION}/surface.js",)
_FIGURES = (f"/scripts/{VERSION}/figure.js", f"/scripts/{VERSION}/plotly.min.js")


@dataclass(frozen=True)
class Page:
    """A page as a student uses it."""

    path: str
    widget: tuple[str, str]  # what is moved: its kind, and how its key ends
    scripts: tuple[str, ...]  # of the app's own that its pictures load
    live: bool  # does it show a computation as it grows, and say when it is whole?
    shared: str = ""  # the query of what the teacher shares in a later minute
    plain: str = ""  # the query of the page as it is


_TRAINING = "v=1&land=mlp&land.data=digits&land.objective=squared&land.hidden=128x128&land.seed={minute}&opt1=gd&opt1.lr=0.2&steps=500"
RAVINE = {
    "descend": Page("", ("slider", ".lr"), _CANVAS, live=False),
    "edge": Page("edge", ("number_input", "land.mlp.seed"), _FIGURES, True, f"{_TRAINING}&every=5"),
    "slice": Page("slice", ("number_input", "plane_seed"), _FIGURES, True, f"{_TRAINING}&every=5&points=51"),
    "sweep": Page("sweep", ("number_input", "sweep.steps"), _FIGURES, True, "v=1&land=beale&opt1=heavy_ball&steps={minute}00"),
    "stepsize": Page("stepsize", ("number_input", "land.mlp.seed"), _FIGURES, True, f"{_TRAINING}&at=100"),
}  # fmt: skip
_BARE = Page("figure", ("slider", "lr0"), _FIGURES, live=False)
_RUNS = "v=1&land=rosenbrock&opt1=gd&opt1.lr=0.001&opt2=adam&opt2.lr=0.1&opt3=heavy_ball&opt3.lr=0.001&steps=250"
BARE = {"descend": Page("", ("slider", "lr0"), _CANVAS, live=False, plain=_RUNS)} | dict.fromkeys(
    ("edge", "slice", "sweep", "stepsize"), _BARE
)  # benchmarks/bare_fragment: a page that only draws
LONG = ("edge", "slice", "sweep", "stepsize")


@dataclass
class Lesson:
    """A class at work on one server, from `begun` (by time.perf_counter) for so many seconds."""

    address: str
    pages: Mapping[str, Page]
    seconds: float
    descend: int = 40
    long: int = 20
    round: int = 0  # another round makes changes that none before has made
    arrive: float = ARRIVE

    def __post_init__(self) -> None:
        self.begun = time.perf_counter()
        self.asked: list[Asked] = []
        self.files: list[float] = []  # seconds that the files of the page took a browser that had none
        self.faults: list[str] = []
        self.traffic = Traffic()
        self.stalls: list[tuple[float, float]] = []  # when the clients themselves stood still, by time.perf_counter
        self.skipped = 0  # moves that were due while the last one had no answer

    async def run(self) -> None:
        """Returns when the lesson is over and all have left."""
        self.begun = time.perf_counter()
        students = [self._mover(number) for number in range(self.descend)]
        students += [self._follower(number) for number in range(self.long - self.long // 2)]
        students += [self._changer(number) for number in range(self.long // 2)]
        for one in await asyncio.gather(*students, return_exceptions=True):
            if isinstance(one, BaseException):
                self.faults.append(f"{type(one).__name__}: {one}"[:200])

    @property
    def now(self) -> float:
        return time.perf_counter() - self.begun

    @property
    def left(self) -> float:
        return self.seconds - self.now

    @property
    def fair(self) -> list[Asked]:
        """The requests that the clients were there for: their times are the server's."""
        stalls = [(start - self.begun, end - self.begun) for start, end in self.stalls]
        return [
            one for one in self.asked if not any(one.at < end and start < one.at + one.waited for start, end in stalls)
        ]

    async def open(
        self, who: str, kind: str, what: str, query: str = "", visitor: Visitor | None = None, patience: float = 3600.0
    ) -> Tab | None:
        """A tab that has been opened and answered, or has kept its visitor waiting until patience or the lesson ended."""
        page = self.pages[kind]
        visitor = visitor or Visitor(self.address, self.traffic)
        new = visitor.new
        seconds = await visitor.load(page.scripts)
        if new:
            self.files.append(seconds)
        asked = self._ask(who, kind, what)
        tab = visitor.tab(page.path, query, lambda heard: None)
        Follower(tab, asked, time.perf_counter(), "", live=page.live)
        try:
            await tab.open()
        except (OSError, TimeoutError, websockets.WebSocketException) as failure:
            asked.end, asked.done = "closed", self.now - asked.at
            self.faults.append(f"{who}: {type(failure).__name__} {failure}"[:200])
            return None
        await self._answered(tab, asked, patience)
        return tab

    async def move(self, who: str, tab: Tab, page: Page, chance: random.Random) -> Asked | None:
        """Moves one of the step sizes elsewhere, and waits for the picture."""
        sliders = tab.find(*page.widget)
        if not sliders or self.left < _LAST["move"]:
            if not sliders:
                self.faults.append(f"{who}: no step size on the page")
            return None
        slider = chance.choice(sliders)
        options = [one for one in slider.proto.options if one != tab.value(slider)]
        asked = self._ask(who, "descend", "move")
        Follower(tab, asked, time.perf_counter(), slider.fragment, live=False)
        await tab.change(slider, options[chance.randrange(len(options) // 6, len(options))])
        await self._answered(tab, asked)
        return asked

    async def change(self, who: str, kind: str, tab: Tab, value: float) -> Asked | None:
        """Puts a setting at a value that nobody else has, presses Run where the page asks for it, and waits for the answer."""
        page = self.pages[kind]
        found = tab.find(*page.widget)
        if not found:
            self.faults.append(f"{who}: no {page.widget[1]} on the page")
            return None
        changed = found[0]
        options = list(getattr(changed.proto, "options", ()))
        asked = self._ask(who, kind, "own")
        follower = Follower(tab, asked, time.perf_counter(), changed.fragment, live=page.live)
        await tab.change(changed, options[int(value) % len(options)] if options else float(value))
        if page.live:
            run = await self._run_button(tab, asked, follower)
            if run is not None:  # the clock starts with what starts the computation
                asked.at, asked.begun, asked.word, asked.picture, asked.said = self.now, None, None, None, []
                Follower(tab, asked, time.perf_counter(), run.fragment, live=True)
                await tab.press(run)
        await self._answered(tab, asked, CHANGE)
        return asked

    async def _mover(self, number: int) -> None:
        chance = random.Random(f"{self.round} descend {number}")
        await self._until(chance.uniform(0, self.arrive))
        page = self.pages["descend"]
        query = _surface(number, chance) if number % 3 else page.plain  # for a third the page as it is
        tab = await self.open(f"descend {number}", "descend", "open", query)
        due = self.now + chance.uniform(0, MOVE)
        while tab is not None and self.left > _LAST["move"]:
            await self._until(due)
            if tab.closed:
                tab = await self.open(f"descend {number}", "descend", "open", query)
                continue
            asked = await self.move(f"descend {number}", tab, page, chance)
            due += MOVE
            while due < self.now and asked is not None:
                due += MOVE
                self.skipped += 1
        await self._leave(tab)

    async def _follower(self, number: int) -> None:
        """Opens what the teacher shares, when all do."""
        visitor = Visitor(self.address, self.traffic)
        minute, tab = 0, None
        while True:
            await self._until(2.0 * (minute == 0) + CHANGE * minute)
            if minute and self.left < _LAST["shared"]:
                break
            await self._leave(tab)
            kind = LONG[(number if minute == 0 else minute - 1) % len(LONG)]
            query = self.pages[kind].shared.format(minute=minute) if minute else self.pages[kind].plain
            tab = await self.open(f"shared {number}", kind, "shared", query, visitor, patience=CHANGE - 5)
            minute += 1
        await self._until(self.seconds)
        await self._leave(tab)

    async def _changer(self, number: int) -> None:
        """Opens a page, and changes something on it once a minute."""
        chance = random.Random(f"{self.round} own {number}")
        kind = LONG[number % len(LONG)]
        page = self.pages[kind]
        await self._until(chance.uniform(0, self.arrive))
        count, due = 0, self.arrive + 5 + (CHANGE - 30) * number / max(1, self.long // 2)
        tab = await self.open(f"own {number}", kind, "shared", page.plain, patience=due - self.now)
        while tab is not None and self.seconds - due > _LAST["own"]:
            await self._until(due)
            if self.left < _LAST["own"]:
                break
            if tab.closed:
                tab = await self.open(f"own {number}", kind, "shared", page.plain, patience=CHANGE)
                continue
            await self.change(f"own {number}", kind, tab, 100 + 1000 * self.round + 40 * number + count)
            count += 1
            due += CHANGE * max(1, -int((due - self.now) // CHANGE))
        if tab is not None:
            await self._until(self.seconds)
        await self._leave(tab)

    async def _run_button(self, tab: Tab, asked: Asked, follower: Follower) -> Widget | None:
        """The button that starts what was changed, where the page waits for it."""
        finished = asyncio.Event()

        def hear(heard: object) -> None:
            follower(heard)  # type: ignore[arg-type]
            if asked.begun is not None and getattr(heard, "what", "") == "finished":
                finished.set()

        tab.hear = hear
        await tab.until(finished.is_set, min(30.0, self.left))
        buttons = tab.find("button", label="Run")
        return buttons[0] if buttons and not asked.end else None

    def _ask(self, who: str, kind: str, what: str) -> Asked:
        asked = Asked(who, kind, what, self.now)
        self.asked.append(asked)
        return asked

    async def _answered(self, tab: Tab, asked: Asked, patience: float = 3600.0) -> None:
        """Waits for the whole answer; what has not come by the end of the lesson is noted as waited for so long."""
        since = self.now
        await tab.until(lambda: asked.end, max(0.0, min(patience, self.left)))
        asked.waited = asked.done if asked.done is not None else self.now - since

    async def _leave(self, tab: Tab | None) -> None:
        if tab is not None:
            tab.hear = lambda heard: None
            await tab.close()

    async def _until(self, when: float) -> None:
        await asyncio.sleep(max(0.0, min(when, self.seconds) - self.now))


def _surface(number: int, chance: random.Random) -> str:
    """The query of a surface and of rules of one's own."""
    return (
        f"v=1&land={_SURFACES[number % len(_SURFACES)]}&opt1=gd&opt1.lr={10 ** chance.uniform(-4, -2):.5f}&opt2=adam&opt2.lr=0.1"
        f"&opt3=heavy_ball&opt3.lr=0.001&start={chance.uniform(-1, 1):.3f}:{chance.uniform(-1, 1):.3f}&steps={200 + number}"
    )
