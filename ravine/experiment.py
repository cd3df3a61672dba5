"""An Experiment is the plain description of a run: it is the share link, the cache key and what a notebook passes.

Every value is written into the link and read back exactly, so that a later change of a default changes no old link.
Reading never fails: what cannot be used is replaced by a default and told in a sentence.
"""

from __future__ import annotations

import dataclasses
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar
from urllib.parse import urlencode

import torch

from landscapes import LANDSCAPES, MLP, QUANTITIES, Landscape, Surface, setting, settings
from landscapes.directions import NORMALIZATIONS
from landscapes.planes import PLANES
from landscapes.quantities import quantity as find_quantity
from landscapes.setting import Declared, excerpt
from optimizers import OPTIMIZERS, PROBES, SAMPLINGS, Stepper
from ravine import allowed, frame, overlay, work
from ravine.around import AROUND
from ravine.axis import Axis, AxisSetting
from ravine.limits import LIMITS
from ravine.link import START, VERSION, cut, pairs_of, too_long, written, written_stepper
from ravine.reader import Reader

DTYPES = {"float32": torch.float32, "float64": torch.float64}
DEVICES = ("cpu", "cuda")
_LAST_SEED = 2**31 - 1
MODES = ("contour", "surface")
AXES = ("steps", "evaluations")
ASPECTS = {"line": "Top eigenvector", "spectrum": "Spectrum"}  # of the Hessian at a step
OUTCOMES = ("final_loss", "best_loss", "diverged_at", "sharpness")

_STEP_SIZES = Axis("lr", 1e-5, 1.0, min(64, LIMITS.axis), log=True)  # every rule has one


@dataclass(frozen=True)
class View:
    """One picture: which settings it reads, which landscapes it can show, and what it shows by default."""

    path: str  # of its page in the app
    keys: tuple[str, ...]  # settings that its numbers depend on
    shown: tuple[str, ...]  # settings that only its looks depend on
    optimizers: int  # at most
    offers: Callable[[type[Landscape]], bool]
    default: Callable[[], Experiment]


@dataclass(frozen=True)
class Experiment(Declared):
    """What to run and what to show. Raises ValueError or TypeError, with a sentence, for what does not fit together."""

    name: ClassVar[str] = "experiment"
    label: ClassVar[str] = "Experiment"
    landscape: Landscape
    optimizers: tuple[Stepper, ...]
    start: tuple[float, float] | None = None  # None: the landscape's own start
    view: str = setting(
        "descend", choices=("descend", "edge", "slice", "sweep", "stepsize"), label="Picture", help="Which picture."
    )
    steps: int = setting(250, 1, 10_000, label="Steps", help="How many steps each run takes.")
    seed: int = setting(0, 0, _LAST_SEED, label="Seed of the run", help="Seed of everything random in the run.")
    dtype: str = setting("float64", choices=tuple(DTYPES), label="Precision", help="Floating-point precision.")
    device: str = setting("cpu", choices=DEVICES, label="Device", help="Where to compute.")
    every: int = setting(
        5, 1, 1000, label="Steps between measurements", help="Steps from one measurement of the sharpness to the next."
    )
    batch_size: int = setting(
        0,
        0,
        1_000_000,
        label="Batch size",
        help="Samples per step of stochastic gradient descent; 0 takes all at each step.",
    )
    sampling: str = setting(
        "epochs",
        choices=tuple(SAMPLINGS),
        label="Batches drawn",
        help="By epochs, each sample once before any comes again; or with replacement, each independently.",
    )
    vary: str = setting(
        overlay.NOTHING, high=60, label="Vary", help="A setting that takes several values, each in a run of its own."
    )
    across: str = setting("none", high=300, label="Values", help="The values, separated by commas.")
    probes: tuple[str, ...] = setting(
        (), choices=tuple(PROBES), label="Measure as well", help="What else to measure along the runs."
    )
    eigenvalues: int = setting(
        3,
        1,
        5,
        label="Eigenvalues",
        help="How many of the top eigenvalues are measured; there are no more than parameters.",
    )
    flow: bool = setting(
        False,
        label="Gradient flow",
        help="Follow the gradient flow from the same start over the same time η t as well, each substep to 1e-8 of the parameters.",
    )
    relative: bool = setting(
        False, label="In units of the threshold", help="Divide each sharpness by its run's stability threshold."
    )
    run: int = setting(1, 1, 8, label="Run", help="Which of the runs is looked at.")
    at: int = setting(
        -1, -1, 10_000, label="Step", help="The step to look at, of those whose parameters were kept; -1 is the last."
    )
    aspect: str = setting(
        "line",
        choices=tuple(ASPECTS),
        labels=tuple(ASPECTS.values()),
        label="Look at",
        help="What is seen at a step: the loss along a line, or the spectrum.",
    )
    span: float = setting(
        1.0,
        0.0,
        100.0,
        low_open=True,
        log=True,
        scale=(0.01, 10.0),
        label="Half-width of the plane",
        help="Half-width of the slice.",
    )
    points: int = setting(51, 5, 201, label="Grid points per axis", help="Grid points of the slice along each axis.")
    normalize: str = setting(
        "filter",
        choices=tuple(NORMALIZATIONS),
        label="Normalization",
        help="How the directions of the slice are scaled.",
    )
    plane_seed: int = setting(
        0, 0, 2**31 - 1, label="Seed of the plane", help="Seed of the slice's two random directions."
    )
    plane: str = setting(
        "random", choices=tuple(PLANES), labels=tuple(one.label for one in PLANES.values()), label="Plane",
        help="Which plane through the solution to cut.",
    )  # fmt: skip
    ignore_biases: bool = setting(
        True, label="Ignore biases", help="Keep biases, and scales and shifts of normalization layers, where they are."
    )
    others: int = setting(
        2, 1, 2, label="Other solutions", help="How many other solutions, from the next seeds, the plane goes through."
    )
    curve: int = setting(
        0, 0, 2000, label="Steps of the curve",
        help="Bends the way from A to B around the wall: so many steps of the run's own rule on a curve of low loss; 0 draws none.",
    )  # fmt: skip
    quantity: str = setting(
        "loss", choices=tuple(QUANTITIES), labels=tuple(one.label for one in QUANTITIES.values()), label="Quantity",
        help="What is seen on the plane.",
    )  # fmt: skip
    look_alpha: float = setting(
        0.0, -100.0, 100.0, label="Look at α", help="The middle of the picture, in half-widths of the whole plane."
    )
    look_beta: float = setting(
        0.0, -100.0, 100.0, label="Look at β", help="The middle of the picture, in half-widths of the whole plane."
    )
    exact: bool = setting(False, label="Exact", help="Compute every grid point, and interpolate none.")
    tolerance: float = setting(
        1e-3, 1e-6, 0.1, log=True, label="Tolerance",
        help="How exact an interpolated picture must be, as a share of the range of its values.",
    )  # fmt: skip
    scale: str = setting(
        "auto", choices=("auto", "linear", "log"), label="Color scale",
        help="Logarithmic colors show what is near a minimum; auto takes them where the values span a factor of 30.",
    )  # fmt: skip
    beside: str = setting(
        "nothing", choices=("nothing", "seeds", "normalizations", "rescaled"), label="Side by side",
        help="Other seeds, other normalizations, or the same network with a layer rescaled.",
    )  # fmt: skip
    drawing: str = setting(
        "map", choices=("map", "heat map", "cuts", "basins"), label="Drawing",
        help="A map with the path, one color for each point, profiles along the two axes, or minima with their basins.",
    )  # fmt: skip
    clip: float = setting(
        0.0, 0.0, 50.0, label="Clip the highest, %", help="Share of the highest values that are drawn as one color."
    )
    axis: str = setting(
        "steps",
        choices=AXES,
        label="Compare by",
        help="What counts as equal cost: steps, or evaluations of the loss, its gradient or a Hessian-vector product.",
    )
    mode: str = setting("contour", choices=MODES, label="View", help="Seen from above, or in three dimensions.")
    around: tuple[str, ...] = setting(
        (), choices=tuple(AROUND), label="Around the present step", help="What is drawn around the step that is shown."
    )
    basins: int = setting(
        0,
        0,
        9,
        label="Basins of attraction",
        help="The run whose rule starts from a grid of a hundred points; 0 is none.",
    )
    over_x: Axis = field(
        default=_STEP_SIZES, metadata={"setting": AxisSetting(_STEP_SIZES, help="What a sweep goes over.")}
    )
    over_y: Axis | None = field(
        default=None,
        metadata={"setting": AxisSetting(optional=True, help="The second axis of a sweep, if it has one.")},
    )
    measure: bool = setting(
        False, label="Sharpness at the end", help="Measure the largest curvature of the loss where each run ends."
    )
    outcome: str = setting("final_loss", choices=OUTCOMES, label="Outcome", help="What of each run the picture shows.")

    def __post_init__(self) -> None:
        super().__post_init__()
        view = VIEWS[self.view]
        for name, value in (
            ("optimizers", allowed.registered(self.landscape, self.optimizers)),
            ("across", "none" if self.vary == overlay.NOTHING else self.across),
            ("curve", self.curve if self.plane == "solutions" else 0),
        ):
            object.__setattr__(self, name, value)
        for what, most, asked in (("steps", LIMITS.steps, self.steps), ("points", LIMITS.points, self.points)):
            if what in view.keys and asked > most:
                raise ValueError(f"{what} = {asked} is not allowed here: it must be at most {most}.")
        if not view.offers(type(self.landscape)):
            names = ", ".join(offered(self.view))
            raise ValueError(f"The {self.view} view cannot show {self.landscape.name}; it can show {names}.")
        if not 1 <= len(self.optimizers) <= view.optimizers:
            count = f"1 to {view.optimizers} optimizers" if view.optimizers > 1 else "exactly one optimizer"
            raise ValueError(f"The {self.view} view takes {count}, not {len(self.optimizers)}.")
        if self.view == "sweep":
            allowed.check_sweep(self)
        else:
            if "vary" in view.keys:
                allowed.check_count(self)
            allowed.check_runs(self)
        if isinstance(self.landscape, Surface):
            start = self.landscape.origin if self.start is None else self.start
            object.__setattr__(self, "start", START.check("start", [start])[0])
        elif self.start is not None:
            raise ValueError("start is a point of a surface; a network starts from its own seeded weights.")
        if self.view == "slice":
            find_quantity(self.quantity, self.landscape)  # refuses what this landscape does not have
            allowed.check_rivals(self, _LAST_SEED)
        if self.device == "cuda" and not torch.cuda.is_available():
            raise ValueError("device = cuda is not available on this machine: it must be cpu.")

    @property
    def axes(self) -> tuple[Axis, ...]:
        """What a sweep goes over: one axis or two."""
        return (self.over_x,) if self.over_y is None else (self.over_x, self.over_y)

    @property
    def coarser(self) -> Experiment | None:
        """A sweep of the same ranges at fewer points, which is there sooner; None if this one has few enough."""
        if self.over_y is None:
            return None
        less = dataclasses.replace(self, over_x=self.over_x.coarser(), over_y=self.over_y.coarser())
        return None if less == self else less

    @cached_property
    def runs(self) -> tuple[overlay.Run, ...]:
        """What runs side by side."""
        return overlay.runs(self)

    @property
    def looked_at(self) -> int:
        """The step of the run that is looked at."""
        return self.steps if self.at < 0 else min(self.at, self.steps)

    @cached_property
    def key(self) -> str:
        """The canonical text of everything that the numbers depend on: equal keys, equal numbers."""
        shown = VIEWS[self.view].shown
        text = urlencode([(name, text) for name, text in self.to_query().items() if name not in shown])
        return f"{self.view}?{text}" + (f"#{self.landscape.identity}" if self.landscape.identity else "")

    @property
    def seconds(self) -> float:
        """What it is predicted to take (see ravine.work)."""
        return work.seconds(self)

    def to_query(self) -> dict[str, str]:
        """Every value as text, by the keys of the link."""
        query = {"v": str(VERSION)} | written("land", self.landscape)
        for index, optimizer in enumerate(self.optimizers, start=1):
            query |= written_stepper(f"opt{index}", optimizer)
        if self.start is not None:
            query["start"] = START.write((self.start,))
        own = settings(self)
        view = VIEWS[self.view]
        return query | {key: own[key].write(getattr(self, key)) for key in (*view.keys, *view.shown)}

    def to_url(self, base: str = "", framed: frame.Frame = frame.PLAIN) -> str:
        """The share link: the page's path and the query, after the address of an app, if given; with the frame to show it in."""
        query = urlencode(self.to_query() | framed.to_query(), safe=":,~")
        return f"{base.rstrip('/')}/{VIEWS[self.view].path}?{query}"

    @classmethod
    def from_url(cls, url: str) -> tuple[Experiment, list[str]]:
        """The experiment of a link, or of its query alone, and a sentence for each thing that was not used. Never raises.

        The last part of the path names the view: `/edge?...`, `/slice?...`, and `/?...` for paths on a surface.
        """
        if len(url) > LIMITS.link:
            return cls.default(), [too_long(len(url))]
        address, mark, query = url.partition("?")
        if not mark and "=" in address:
            address, query = "", address
        page = address.rstrip("/").rpartition("/")[2]
        view = next((name for name, one in VIEWS.items() if one.path == page), "descend")
        try:
            pairs = pairs_of(query.partition("#")[0])
        except ValueError:
            return cls.default(view), ["The link could not be read, so the default is shown."]
        experiment, refusals = cls.from_query(dict(pairs), view)
        repeated = [key for key, count in Counter(key for key, _ in pairs).items() if count > 1]
        said = [f"“{excerpt(key)}” is in the link more than once: the last value was used." for key in repeated]
        return experiment, cut([*said, *refusals])

    @classmethod
    def from_query(cls, query: Mapping[str, str], view: str = "descend") -> tuple[Experiment, list[str]]:
        """As `from_url`, from decoded keys and values; the page that the link opens says which `view`."""
        size = sum(len(key) + len(value) + 2 for key, value in query.items())
        if size > LIMITS.link:
            return cls.default(view), [too_long(size)]
        return Reader(query).experiment(cls.default(view), VIEWS[view], offered(view))

    @classmethod
    def default(cls, view: str = "descend") -> Experiment:
        """What a view shows before anything was chosen."""
        return VIEWS[view].default()


def offered(view: str) -> list[str]:
    """The names of the landscapes that a view can show."""
    return [name for name, kind in LANDSCAPES.items() if VIEWS[view].offers(kind)]


def _is_surface(kind: type[Landscape]) -> bool:
    return issubclass(kind, Surface)


def _descend() -> Experiment:
    return Experiment(
        landscape=LANDSCAPES["rosenbrock"](),
        optimizers=(
            OPTIMIZERS["gd"](lr=1e-3),
            OPTIMIZERS["heavy_ball"](lr=1e-3),
            OPTIMIZERS["adam"](lr=0.5),
        )[: LIMITS.optimizers],
        steps=min(250, LIMITS.steps),
    )


def _edge(**changes: Any) -> Experiment:
    """Small initial weights and squared loss: sharpness starts at half of 2/eta, climbs to it within 150 steps and stays."""
    network = MLP(objective="squared", gain=0.5)
    values: dict[str, Any] = {
        "landscape": network,
        "optimizers": (OPTIMIZERS["gd"](lr=0.2),),
        "view": "edge",
        "steps": min(500, LIMITS.steps),
        "dtype": "float32",
    }
    return Experiment(**(values | changes))


def _slice() -> Experiment:
    return dataclasses.replace(_edge(), view="slice", points=min(51, LIMITS.points))


def _sweep() -> Experiment:
    steps = min(200, LIMITS.steps)
    points = min(256, LIMITS.axis, math.isqrt(LIMITS.updates // steps))
    return Experiment(
        landscape=LANDSCAPES["himmelblau"](),
        optimizers=(OPTIMIZERS["heavy_ball"](lr=0.01),),
        view="sweep",
        steps=steps,
        over_x=Axis("lr", 5e-3, 0.06, points, log=True),
        over_y=Axis("momentum", 0.0, 0.99, points),
    )


def _stepsize() -> Experiment:
    """A network whose sharpness climbs to the threshold of its step size, looked at where it has just passed it."""
    edge = _edge()
    steps = min(200, edge.steps)
    network = MLP(hidden=(32, 32), objective="squared", gain=0.5)
    return dataclasses.replace(edge, landscape=network, view="stepsize", steps=steps, at=min(100, steps))


_RUN = ("steps", "seed", "dtype", "device")
_TRAINING = (*_RUN, "every", "batch_size", "sampling")
_OVERLAID = ("vary", "across", "probes", "eigenvalues", "flow")
VIEWS: dict[str, View] = {
    "descend": View("", _RUN, ("mode", "axis", "around", "basins"), LIMITS.optimizers, _is_surface, _descend),
    "edge": View(
        "edge",
        (*_TRAINING, *_OVERLAID),
        ("relative", "run", "at", "aspect"),
        min(LIMITS.optimizers, LIMITS.runs),
        lambda kind: not _is_surface(kind),
        _edge,
    ),
    "slice": View(
        "slice",
        (
            *_TRAINING,
            "at",
            "span",
            "points",
            "normalize",
            "plane_seed",
            "plane",
            "ignore_biases",
            "others",
            "curve",
            "quantity",
            "look_alpha",
            "look_beta",
            "exact",
            "tolerance",
            "scale",
            "beside",
        ),
        ("mode", "drawing", "clip"),
        1,
        lambda kind: not _is_surface(kind),
        _slice,
    ),
    "sweep": View(
        "sweep",
        (*_RUN, "batch_size", "sampling", "over_x", "over_y", "measure"),
        ("outcome",),
        1,
        lambda kind: True,
        _sweep,
    ),
    "stepsize": View("stepsize", (*_RUN, "batch_size", "sampling", "at"), (), 1, lambda kind: True, _stepsize),
}


def training(experiment: Experiment) -> Experiment:
    """The run that a slice is taken of, as an experiment of its own, so that its result is shared."""
    one = settings(Experiment)
    return dataclasses.replace(experiment, view="edge", **{name: one[name].default for name in _OVERLAID})
