"""Links: what is written is read back exactly; what cannot be used is told in a sentence, never an exception."""

import dataclasses
from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from landscapes import LANDSCAPES, MLP, Formula, settings
from landscapes.setting import Choice, Flag, Integer, Names, Number, Text
from optimizers import OPTIMIZERS, Optimizer
from ravine.axis import Axis, AxisSetting
from ravine.experiment import VIEWS, Experiment, offered, training
from ravine.frame import Frame
from ravine.limits import LIMITS
from tests.ravine.links import check_round_trip
from tests.ravine.strategies import GOLDEN, OWN, experiments

SHOWN = [(view, name) for view in VIEWS for name in offered(view)]
DEFAULTS = {view: Experiment.default(view) for view in VIEWS}
LINKS = [one.to_url() for one in DEFAULTS.values()]


# ------------------------------------------------------------------ round trips


@pytest.mark.parametrize(("view", "name"), SHOWN, ids=str)
@profile(max_examples=6)  # in each of the views that show it
@given(st.data())
def test_every_landscape_survives_a_link_exactly(view, name, data):
    check_round_trip(data.draw(experiments(view, landscape=name)))


@pytest.mark.parametrize("name", OPTIMIZERS)
@profile(max_examples=8)
@given(st.data())
def test_every_optimizer_survives_a_link_exactly(name, data):
    view = data.draw(st.sampled_from(list(VIEWS)))
    check_round_trip(data.draw(experiments(view, rule=OPTIMIZERS[name])))


@pytest.mark.parametrize("view", VIEWS)
def test_defaults_can_be_shown_and_survive_a_link(view):
    experiment = DEFAULTS[view]
    assert experiment.view == view
    assert experiment.landscape.name in offered(view)
    check_round_trip(experiment)
    assert Experiment.from_url(f"https://example.org/{VIEWS[view].path}") == (experiment, [])
    assert Experiment.from_query({}, view) == (experiment, [])


def test_every_landscape_is_offered_by_some_view():
    assert {name for _, name in SHOWN} == set(LANDSCAPES)


@profile(max_examples=20)
@given(st.data())
def test_a_link_holds_every_value_once(data):
    """Read by the standard library alone: the keys are those that `to_query` names, each once, with its text."""
    experiment = data.draw(experiments(data.draw(st.sampled_from(list(VIEWS)))))
    pairs = parse_qsl(urlsplit(experiment.to_url("https://example.org/lab")).query, keep_blank_values=True)
    assert pairs == list(experiment.to_query().items())
    declared = [(f"opt{number}", rule) for number, rule in enumerate(experiment.optimizers, start=1)]
    for prefix, one in [("land", experiment.landscape), *declared]:
        assert dict(pairs)[prefix] == one.name
        for name in settings(one):
            assert f"{prefix}.{name}" in dict(pairs)


@pytest.mark.parametrize(
    "base", ["", "/", "http://localhost:8501", "https://a.example/lab", "https://a.example/lab/", "http://[::1]:80/x/y"]
)
@pytest.mark.parametrize("view", VIEWS)
def test_links_work_below_any_address(base, view):
    url = DEFAULTS[view].to_url(base)
    assert url.startswith(base.rstrip("/") + "/")
    assert Experiment.from_url(url) == (DEFAULTS[view], [])
    assert Experiment.from_url(url + "#top") == (DEFAULTS[view], [])
    assert Experiment.from_url(url.replace("?", "/?")) == (DEFAULTS[view], [])


def test_the_query_alone_is_read_as_a_link_to_paths():
    query = LINKS[0].partition("?")[2]
    assert Experiment.from_url(query) == Experiment.from_url("?" + query) == (DEFAULTS["descend"], [])


def test_links_of_decoded_queries_are_the_same():
    for view, experiment in DEFAULTS.items():
        assert Experiment.from_query(experiment.to_query(), view) == (experiment, [])


def test_percent_encoding_is_undone():
    hidden = "".join(f"%{ord(character):02X}" for character in "rosenbrock")
    experiment, refusals = Experiment.from_url(f"/?v=1&la%6Ed={hidden}&land.a=%30.5&start=0.5%3A-1e0")
    assert refusals == []
    assert experiment.landscape == LANDSCAPES["rosenbrock"](a=0.5)
    assert experiment.start == (0.5, -1.0)
    experiment, refusals = Experiment.from_url("/?land=formula&land.expression=x%5e2+%2B+y^2")
    assert refusals == []
    assert experiment.landscape == Formula("x^2 + y^2")


def test_aliases_are_read():
    values = settings(MLP)["objective"]
    assert values.aliases
    for alias in values.aliases:
        experiment, refusals = Experiment.from_url(f"/edge?land=mlp&land.{alias}=squared")
        assert refusals == []
        assert experiment.landscape == MLP(objective="squared")


# ------------------------------------------------------------------ golden links: old links keep their meaning


@pytest.mark.parametrize("link", GOLDEN)
def test_golden_links_keep_their_meaning(link):
    """The link that is written is the same, apart from settings that came since: those stand at their defaults."""
    experiment, refusals = Experiment.from_url(link)
    assert refusals == []
    framed, unframed = Frame.from_query(dict(parse_qsl(urlsplit(link).query)))
    assert unframed == []
    added = experiment.to_query() | framed.to_query()
    for key, value in parse_qsl(urlsplit(link).query):
        assert added.pop(key) == value
    declared = {"": experiment, "land.": experiment.landscape}
    declared |= {f"opt{number}.": rule for number, rule in enumerate(experiment.optimizers, start=1)}
    defaults = {
        prefix + name: kind.write(kind.default)
        for prefix, one in declared.items()
        for name, kind in settings(one).items()
    }
    assert added.items() <= defaults.items()
    assert urlsplit(experiment.to_url()).path == urlsplit(link).path


def test_golden_links_show_every_view_and_the_widest_link():
    read = [Experiment.from_url(link)[0] for link in GOLDEN]
    assert {one.view for one in read} == set(VIEWS)
    assert max(len(one.optimizers) for one in read) == LIMITS.optimizers
    assert any(isinstance(one.landscape, Formula) for one in read)


def test_a_golden_link_means_what_it_says():
    """One of them in Python, written out: what the file says cannot drift together with the reader."""
    written = Experiment(
        landscape=Formula("sin(3*x)*cos(3*y) + x^2 + y^2", window=((-2.0, 2.0), (-1.5, 2.5))),
        optimizers=(OPTIMIZERS["adam"](lr=0.05, beta1=0.8, beta2=0.99, eps=1e-10, weight_decay=0.001),),
        start=(-1.25, 0.1),
        steps=400,
        seed=7,
        dtype="float32",
        mode="surface",
    )
    assert sum(Experiment.from_url(link) == (written, []) for link in GOLDEN) == 1


def test_a_link_to_a_sweep_of_another_rule_needs_no_second_axis():
    experiment, refusals = Experiment.from_url("/sweep?opt1=adam&over_x=beta1:0:0.99:8")
    assert refusals == []
    assert experiment.axes == (Axis("beta1", 0.0, 0.99, 8),)


# ------------------------------------------------------------------ keys


def another(one, value):
    """A value that a setting allows, other than this one."""
    match one:
        case AxisSetting():
            return dataclasses.replace(value, points=7)
        case Choice():
            return next(choice for choice in one.choices if choice != value)
        case Names():
            return one.choices[:1]
        case Flag():
            return not value
        case Text():
            return "0.3,0.4"
    return min(value + 1, one.high) if value < one.high else one.low


@pytest.mark.parametrize("view", VIEWS)
def test_a_key_leaves_out_only_what_changes_the_looks(view):
    base = DEFAULTS[view]
    for name in (*VIEWS[view].keys, *VIEWS[view].shown):
        one = OWN[name]
        if name == "device":
            continue
        if name in ("vary", "across"):  # one means nothing without the other
            base = dataclasses.replace(base, vary="opt1.lr", across="0.1,0.2")
        if name == "batch_size" and base.landscape.samples is None:
            axes = {"over_x": Axis("lr", 0.1, 1.0, 4), "over_y": Axis("momentum", 0.0, 0.9, 4)}
            base = Experiment(landscape=MLP(hidden=(2,)), optimizers=base.optimizers, view=view, **axes)
        if name == "curve":  # runs between solutions
            base = dataclasses.replace(base, plane="solutions")
        fitting = {"vary": "opt1.weight_decay", "quantity": "grad_norm"}  # among those that the default has
        other = fitting[name] if name in fitting else another(one, getattr(base, name))
        changed = dataclasses.replace(base, **{name: other})
        assert changed != base
        assert changed.to_url() != base.to_url()
        assert (changed.key == base.key) == (name in VIEWS[view].shown)


@pytest.mark.parametrize("view", VIEWS)
def test_a_key_holds_landscape_optimizers_start_and_view(view):
    base = DEFAULTS[view]
    rule = base.optimizers[0]
    others = [dataclasses.replace(base, optimizers=(dataclasses.replace(rule, lr=rule.lr * 2), *base.optimizers[1:]))]
    for name, one in settings(base.landscape).items():
        if isinstance(one, (Number, Integer)):
            other = min(getattr(base.landscape, name) + 1, one.high)
            changed = dataclasses.replace(base.landscape, **{name: other})
            others.append(dataclasses.replace(base, landscape=changed))
    if base.start is not None:
        others.append(dataclasses.replace(base, start=(0.25, 0.5)))
    assert len({base.key, *(one.key for one in others)}) == 1 + len(others)


def test_views_of_one_run_have_keys_of_their_own():
    keys = {view: one.key for view, one in DEFAULTS.items()}
    assert len(set(keys.values())) == len(VIEWS)


def test_slices_of_one_training_share_it():
    first = DEFAULTS["slice"]
    second = dataclasses.replace(first, span=2.0, points=11, normalize="none", plane_seed=5, mode="surface")
    assert training(first).view == "edge"
    assert training(first).key == training(second).key
    assert training(first).key != training(dataclasses.replace(first, steps=first.steps + 1)).key
    assert dataclasses.replace(training(first), view="slice") == first


def test_registries_hold_rules():
    """The strategies draw from declarations: each has some, or the round trips would prove nothing."""
    assert all(issubclass(kind, Optimizer) and settings(kind) for kind in OPTIMIZERS.values())
    assert sum(len(settings(kind)) for kind in LANDSCAPES.values()) > 10
