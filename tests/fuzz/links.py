"""Links: whole ones with hostile values, golden ones that were damaged, and any text."""

from __future__ import annotations

import ast
from urllib.parse import quote, urlencode, urlsplit

from hypothesis import strategies as st

from landscapes import LANDSCAPES, settings
from landscapes.setting import Declared
from optimizers import OPTIMIZERS, SCHEDULES, WRAPPERS
from ravine import Experiment
from ravine.experiment import VIEWS
from ravine.export import script
from ravine.frame import KEYS, Frame
from ravine.link import pairs_of, together
from tests.fuzz.door import Door, plain
from tests.fuzz.hostile import TEXTS, mangled
from tests.ravine.links import check_round_trip
from tests.ravine.strategies import GOLDEN

_PATHS = st.sampled_from([f"/{name}" for name in VIEWS] + ["/", "", "/nowhere", "https://a.example/edge", "//x/edge"])
_OWN = ["v", "opt2", "opt9", "opt1.schedule", "opt1.wrap", "a", "b", "around", *settings(Experiment), *KEYS]
_VALUES = st.sampled_from(TEXTS) | st.text(max_size=30) | st.integers(0, 300).map(str)
_OFTEN = st.sampled_from(
    [*SCHEDULES, "clip_norm", "seed", "lr:1e-5:1:9log", "seed:0:3:4", "1,2,3", "digits", "cuda", "true"]
)


def _layers() -> dict[str, type[Declared]]:
    return {f"opt1.schedule={name}": kind for name, kind in SCHEDULES.items()} | {
        f"opt1.wrap={name}": kind for name, kind in WRAPPERS.items()
    }


@st.composite
def _hostile(draw):
    """A link to any landscape and any rule with any layer, of whose values some are not what they should be."""
    land, rule = draw(st.sampled_from(list(LANDSCAPES))), draw(st.sampled_from(list(OPTIMIZERS)))
    query = {"land": land, "opt1": rule}
    keys = [f"land.{key}" for key in settings(LANDSCAPES[land])] + [f"opt1.{key}" for key in settings(OPTIMIZERS[rule])]
    if draw(st.booleans()):
        layer = draw(st.sampled_from(list(_layers())))
        key, _, name = layer.partition("=")
        query[key] = name
        prefix = key if key.endswith("schedule") else f"opt1.{name}"
        keys += [f"{prefix}.{one}" for one in settings(_layers()[layer])]
    for key in draw(st.lists(st.sampled_from(keys) | st.sampled_from(_OWN) | st.sampled_from(TEXTS), max_size=8)):
        query[key] = draw(_VALUES | _OFTEN)
    return f"{draw(_PATHS)}?{urlencode(query, errors='replace')}"


@st.composite
def _crossed(draw):
    """Values of several links in one: each is allowed somewhere, and together they may not fit."""
    query: dict[str, str] = {}
    for link in draw(st.lists(st.sampled_from(GOLDEN), min_size=2, max_size=4)):
        pairs = pairs_of(urlsplit(link).query)
        chosen = draw(st.lists(st.sampled_from(pairs), max_size=12))
        query |= dict(chosen if draw(st.booleans()) else pairs)
    return f"{draw(_PATHS)}?{urlencode(query)}"


@st.composite
def _nested(draw):
    """A link in a link, as Compare has them."""
    return f"/compare?a={quote(draw(_hostile() | _crossed()))}&b={draw(st.text(max_size=60))}"


def _read(link: str) -> tuple[list[Experiment], list[list[str]]]:
    """What a page reads of a link: the experiment, the frame, and the links in it."""
    experiment, refusals = Experiment.from_url(link)
    try:
        query = dict(pairs_of(link.partition("?")[2]))
    except ValueError:
        query = {}
    _, unframed = Frame.from_query(query)
    inner = [Experiment.from_url(query[key]) for key in ("a", "b") if key in query]
    return [experiment, *(one for one, _ in inner)], [together(refusals, unframed), *(said for _, said in inner)]


def _sound(read: tuple[list[Experiment], list[list[str]]]) -> None:
    experiments, refusals = read
    for one in refusals:
        plain(one)
    for experiment in experiments:
        check_round_trip(experiment)
        ast.parse(script(experiment))  # whatever stands in it is a text of it, and ends where it should


LINKS = Door(
    "links",
    _hostile()
    | _crossed()
    | _nested()
    | mangled(st.sampled_from(GOLDEN))
    | st.text()
    | st.text().map("/?land=".__add__),
    _read,
    _sound,
    seconds=0.1,
    memory=256 << 20,
    kept=lambda link: link.encode("utf-8", "surrogatepass"),
    again=lambda data: data.decode("utf-8", "surrogatepass"),
)
