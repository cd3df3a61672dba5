"""Hypothesis strategies for experiments: values of settings from their declarations, what is made of them, and the golden links."""

import dataclasses
import math
from contextlib import suppress
from pathlib import Path

from hypothesis import assume
from hypothesis import strategies as st

from landscapes import LANDSCAPES, Landscape, Surface, settings
from landscapes.data import DATA
from landscapes.expression import ARITY
from landscapes.quantities import QUANTITIES
from landscapes.setting import Choice, Flag, Integer, Integers, Names, Number, Numbers, Text
from optimizers import OPTIMIZERS, swept
from ravine.axis import Axis, AxisSetting
from ravine.experiment import VIEWS, Experiment, offered
from ravine.limits import LIMITS
from ravine.overlay import variable

OWN = settings(Experiment)
GOLDEN = (Path(__file__).parents[1] / "golden_links.txt").read_text().split()


def formulas():
    """Formulas in x and y, of every function and operator, with the characters that links must escape."""
    leaf = st.sampled_from(["x", "y", "pi", "e", "2", "0.5", "1e-3"])

    def larger(inner):
        calls = [
            st.tuples(*[inner] * count).map(lambda parts, name=name: f"{name}({', '.join(parts)})")
            for name, count in ARITY.items()
        ]
        pairs = st.tuples(inner, st.sampled_from(["+", "-", " * ", "/", "^"]), inner).map(
            lambda parts: f"({''.join(parts)})"
        )
        return st.one_of(pairs, *calls)

    return st.recursive(leaf, larger, max_leaves=6)


def numbers_between(low, high, low_open=False, high_open=False):
    floats = {"allow_nan": False, "allow_infinity": False}
    bounded = {"min_value": None if low == float("-inf") else low, "max_value": None if high == float("inf") else high}
    return st.floats(**bounded, exclude_min=low_open, exclude_max=high_open, **floats)


OWN_FILES = {name for name, source in DATA.items() if source.large}  # data that are not there


def values_of(one, *, sizes=False):
    """A strategy for the values that a setting's declaration allows."""
    match one:
        case Number():
            inside = numbers_between(one.low, one.high, one.low_open, one.high_open)
            if not one.log:
                return inside
            low, high = math.log10(max(one.low, 1e-300)), math.log10(min(one.high, 1e300))
            decades = st.floats(low, high).map(lambda exponent: min(max(10**exponent, one.low), one.high))
            open_ends = (one.low,) * one.low_open + (one.high,) * one.high_open
            return inside | decades.filter(lambda value: value not in open_ends)
        case Integer():
            # Sizes of networks are small, as those below; seeds and counts of samples reach further.
            return st.integers(one.low, min(one.high, 4) if sizes and one.high <= 1024 else one.high)
        case Flag():
            return st.booleans()
        case Choice():
            return st.sampled_from([choice for choice in one.choices if choice not in OWN_FILES])
        case Names():
            return st.lists(st.sampled_from(one.choices), unique=True, max_size=4).map(tuple)
        case Text():
            return formulas().filter(lambda text: len(text) <= one.high)
        case Integers():  # small, so that work stays within its limit; the limit has tests of its own
            return st.lists(st.integers(one.low, min(one.high, 12)), max_size=one.count).map(tuple)
        case Numbers():
            row = st.lists(
                numbers_between(-one.high, one.high), min_size=one.columns, max_size=one.columns, unique=one.ordered
            ).map(sorted if one.ordered else list)
            count = one.rows or 3
            return st.lists(row.map(tuple), min_size=count, max_size=count).map(tuple)
        case AxisSetting():
            return st.just(one.default)
    raise AssertionError(f"no strategy for {one}")


@st.composite
def instances(draw, kind):
    """An instance of a declared class with any values it allows."""
    sizes = issubclass(kind, Landscape)
    values = {name: draw(values_of(one, sizes=sizes)) for name, one in settings(kind).items()}
    try:
        return kind(**values)
    except ValueError:  # values that are allowed one by one but not together, such as a rank above the width
        one = kind()
    for name, value in values.items():
        with suppress(ValueError):
            one = dataclasses.replace(one, **{name: value})
    return one


@st.composite
def sweeps(draw, landscape, rule):
    """Axes that fit a landscape and a rule, few enough runs, and an outcome that is measured."""
    known = swept(landscape, rule)
    axes = []
    for name in draw(st.lists(st.sampled_from(list(known)), min_size=1, max_size=2, unique=True)):
        ends = values_of(known[name]).filter(lambda end: end == 0 or abs(end) > 1e-300)
        low, high = sorted(map(float, draw(st.lists(ends, min_size=2, max_size=2, unique_by=float))))
        axes.append(Axis(name, low, high, draw(st.integers(2, 5)), log=low > 0 and draw(st.booleans())))
    measure = draw(st.booleans())
    outcome = draw(st.sampled_from([one for one in OWN["outcome"].choices if measure or one != "sharpness"]))
    return {"over_x": axes[0], "over_y": axes[1] if axes[1:] else None, "measure": measure, "outcome": outcome}


@st.composite
def experiments(draw, view, landscape=None, rule=None):
    keys = {*VIEWS[view].keys, *VIEWS[view].shown} - {"device", "batch_size", "vary", "across"}
    own = {key: draw(values_of(OWN[key])) for key in sorted(keys)}
    kinds = draw(st.lists(st.sampled_from(list(OPTIMIZERS.values())), min_size=1, max_size=VIEWS[view].optimizers))
    if rule is not None:
        kinds[0] = rule
    place = draw(instances(LANDSCAPES[landscape or draw(st.sampled_from(offered(view)))]))
    on_surface = isinstance(place, Surface)
    if not on_surface:  # as much as is allowed: the limit has tests of its own
        if place.multiplications * 500_000 > LIMITS.work and "subset" in settings(place):
            place = dataclasses.replace(place, subset=20)
        evaluations = LIMITS.work // place.multiplications  # of the loss: forty a step, a hundred a point
        own["steps"] = 1 + (own["steps"] - 1) % max(1, evaluations // (500 * len(kinds)))
        own |= {"points": min(own["points"], max(5, math.isqrt(evaluations // 1000)))} if "points" in own else {}
        assume(evaluations > 500_000)
    start = draw(st.none() | st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))) if on_surface else None
    rules = tuple(draw(instances(kind)) for kind in kinds)
    if view == "sweep":
        own |= draw(sweeps(place, rules[0]))
        own["steps"] = 1 + (own["steps"] - 1) % max(1, LIMITS.work // (25 * 200 * place.multiplications))
    if "quantity" in VIEWS[view].keys:
        own["quantity"] = draw(st.sampled_from([name for name, one in QUANTITIES.items() if one.offers(place) is None]))
    if "batch_size" in VIEWS[view].keys:
        own["batch_size"] = draw(st.integers(0, place.samples or 0))
    try:
        experiment = Experiment(landscape=place, optimizers=rules, start=start, view=view, **own)
    except ValueError as refusal:  # the limit of memory has tests of its own, too
        assume("of memory, and at most" not in str(refusal))
        raise
    return draw(overlaid(experiment)) if "vary" in VIEWS[view].keys else experiment


@st.composite
def overlaid(draw, experiment):
    """The experiment as it is, or with one of its settings at several values."""
    known = variable(experiment)
    # Data sets and sizes of networks take their time; what they may be is tested by the landscapes alone.
    own = [name for name in ("seed", "batch_size", "land.seed", "land.hidden") if name in known]
    name = draw(st.sampled_from(["nothing", *own, *(name for name in known if name.startswith("opt"))]))
    if name == "nothing":
        return experiment
    most = LIMITS.runs // len(experiment.optimizers)
    kind = known[name] if name != "batch_size" else Integer(0, 0, experiment.landscape.samples or 0)
    values = draw(st.lists(values_of(kind), min_size=1, max_size=most, unique_by=kind.write))
    if len(set(values)) < len(values):  # 0.0 and -0.0
        return experiment
    try:
        return dataclasses.replace(experiment, vary=name, across=",".join(map(kind.write, values)))
    except ValueError:  # values that do not go with the others, such as a cross-entropy without classes
        return experiment
