"""Links: what is written is read back exactly; what cannot be used is told in a sentence, never an exception."""

import dataclasses
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import pytest
import torch
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
from tests.ravine.strategies import GOLDEN, OWN, experiments

SHOWN = [(view, name) for view in VIEWS for name in offered(view)]
DEFAULTS = {view: Experiment.default(view) for view in VIEWS}
LINKS = [one.to_url() for one in DEFAULTS.values()]


def check_round_trip(experiment):
    again, refusals = Experiment.from_url(experiment.to_url())
    assert refusals == []
    assert again == experiment
    assert repr(again) == repr(experiment)  # also tells -0.0 from 0.0
    assert again.key == experiment.key
    assert again.to_url() == experiment.to_url()


def check_sound(experiment, refusals):
    """What any reading must give: a valid experiment, and sentences that fit on a screen."""
    assert type(experiment) is Experiment
    check_round_trip(experiment)
    assert len(refusals) <= 7
    for sentence in refusals:
        assert sentence.endswith(".")
        assert sentence.isprintable()
        assert sentence[0] != " "
        assert len(sentence) < 500


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


# ------------------------------------------------------------------ reading never raises

words = st.sampled_from(
    ["v", "land", "land.a", "land.b", "land.expression", "land.window", "land.hidden", "opt1", "opt2", "opt9", "opt10"]
    + ["opt1.lr", "start", "steps", "seed", "dtype", "device", "mode", "span", "points", "normalize", "every"]
    + [
        "1",
        "2",
        "0.5",
        "-1e3",
        "nan",
        "inf",
        "1:2",
        "-1:1,-2:2",
        "8x8",
        "none",
        "cuda",
        "true",
        "",
        "=",
        "&",
        "%",
        "%zz",
    ]
    + [*LANDSCAPES, *OPTIMIZERS]
)
anything = words | st.text(max_size=30)
paths = st.sampled_from(["/", "/edge", "/slice", "/nowhere", "https://a.example/edge", ""])


@profile(max_examples=60)
@given(st.text(max_size=200))
def test_any_text_is_read(text):
    check_sound(*Experiment.from_url(text))
    check_sound(*Experiment.from_url("/?" + text))


@profile(max_examples=80)
@given(paths, st.lists(st.tuples(anything, anything), max_size=12))
def test_any_query_is_read(path, pairs):
    check_sound(*Experiment.from_url(f"{path}?{urlencode(pairs, errors='replace')}"))
    check_sound(*Experiment.from_url(f"{path}?" + "&".join(f"{key}={value}" for key, value in pairs)))


@profile(max_examples=50)
@given(st.sampled_from(list(VIEWS)), st.dictionaries(anything, anything, max_size=12))
def test_any_decoded_query_is_read(view, query):
    experiment, refusals = Experiment.from_query(query, view)
    check_sound(experiment, refusals)
    assert experiment.view == view


@profile(max_examples=100)
@given(st.data())
def test_mangled_links_are_read(data):
    url = list(data.draw(st.sampled_from([*LINKS, *GOLDEN])))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(url) - 2))
        match data.draw(st.sampled_from(["delete", "double", "swap", "replace"])):
            case "delete":
                del url[at]
            case "double":
                url.insert(at, url[at])
            case "swap":
                url[at], url[at + 1] = url[at + 1], url[at]
            case "replace":
                url[at] = data.draw(st.characters(exclude_categories=["Cs"]))
    check_sound(*Experiment.from_url("".join(url)))


@profile(max_examples=60)
@given(st.data())
def test_a_value_is_used_or_refused(data):
    """Nothing that a link says is dropped in silence: the written link says it too, or a sentence is there."""
    known = list(DEFAULTS["descend"].to_query().items())
    odd = st.tuples(anything, anything)
    pairs = data.draw(st.lists(st.sampled_from(known) | odd, max_size=8))
    url = "/?" + urlencode([(key, value) for key, value in pairs], errors="replace")
    experiment, refusals = Experiment.from_url(url)
    if not refusals:
        read = parse_qsl(url[2:], keep_blank_values=True)
        written = experiment.to_query()
        assert len(dict(read)) == len(read)
        names = [key for key, _ in read]
        for key in names:
            assert key in written or key.startswith("opt"), url
        assert len([key for key in names if "." not in key and key.startswith("opt")]) in (
            0,
            len(experiment.optimizers),
        )


# ------------------------------------------------------------------ refusals

REFUSED = {
    "unknown surface": ("/?land=atlantis", ["land = atlantis", *offered("descend")]),
    "a network among surfaces": ("/?land=mlp", ["land = mlp", "rosenbrock"]),
    "a surface among networks": ("/edge?land=beale", ["land = beale", "mlp"]),
    "unknown rule": ("/?opt1=sgdd", ["opt1 = sgdd", "left out", *OPTIMIZERS]),
    "unknown setting of a surface": ("/?land=rosenbrock&land.c=1", ["land.c", "rosenbrock", "a, b"]),
    "unknown setting of a rule": ("/?opt1=gd&opt1.beta1=0.5", ["opt1.beta1", "gd", "lr, weight_decay"]),
    "settings without their surface": ("/?land.a=2", ["land.a", "no land"]),
    "settings without their rule": ("/?opt2.lr=2", ["opt2.lr", "ignored"]),
    "out of range": ("/?opt1=gd&opt1.lr=-1", ["opt1.lr = -1", "at least 0 and at most 10000", "0.001"]),
    "not finite": ("/?opt1=gd&opt1.lr=nan", ["opt1.lr = nan", "at least 0 and at most 10000"]),
    "too many steps": ("/?steps=10001", ["steps = 10001", "from 1 to 10000"]),
    "steps of a wrong type": ("/?steps=ten", ["steps = ten", "a whole number from 1 to 10000"]),
    "a fraction of a step": ("/?steps=1.5", ["steps = 1.5", "a whole number"]),
    "an unknown choice": ("/?dtype=float16", ["dtype = float16", "float32, float64"]),
    "a start of a wrong form": ("/?start=1", ["start = 1", "2 numbers", "The default is used"]),
    "a start far away": ("/?start=1:1e9", ["start = 1:1e9", "at most 1e+06"]),
    "a start for a network": ("/edge?start=1:2", ["start", "a network starts from its own seeded weights"]),
    "a falling window": ("/?land=formula&land.window=2:-2,-2:2", ["land.window = 2:-2,-2:2", "low:high"]),
    "widths of a wrong form": ("/edge?land=mlp&land.hidden=8,8", ["land.hidden = 8,8", "as in 128x128"]),
    "what does not fit together": ("/edge?land=mlp&land.data=chebyshev", ["cross_entropy", "use squared"]),
    "an unknown key": ("/?colour=red", ["“colour”", "descend link"]),
    "a key of another view": ("/?span=2", ["“span”", "descend link"]),
    "an axis of a wrong form": ("/sweep?over_x=lr:0.1", ["“lr:0.1”", "lr:0.001:1:64log"]),
    "an axis that falls": ("/sweep?over_x=lr:1:0.1:8", ["from 1 to 0.1", "lower end"]),
    "an axis that a rule has not": ("/sweep?over_x=beta1:0:0.5:8", ["“beta1”", "lr, momentum"]),
    "an axis out of range": ("/sweep?over_x=momentum:0:1:8&over_y=none", ["momentum = 1.0", "below 1"]),
    "a logarithm of zero": ("/sweep?over_x=lr:0:1:8log", ["begins at 0", "above zero"]),
    "an axis twice": ("/sweep?over_x=lr:0.1:1:8&over_y=lr:0.1:1:8", ["Both axes sweep lr"]),
    "an axis too long": ("/sweep?over_x=lr:0.1:1:513", ["513 values", "at most 512"]),
    "too many runs": ("/sweep?steps=10000&over_x=lr:0.1:1:512&over_y=start_x:0:1:512", ["runs of 10,000 steps", "2,000,000,000"]),
    "a sharpness that is not measured": ("/sweep?outcome=sharpness", ["outcome = sharpness", "measure"]),
    "another version": ("/?v=2", ["version is “2”", "reads version 1"]),
    "no version": ("/?v=", ["version is “”", "reads version 1"]),
    "a rule beyond nine": ("/?opt10=gd", ["“opt10”"]),
    "a rule too many": ("/slice?opt1=gd&opt2=gd", ["opt2 was ignored", "one optimizer"]),
    "a setting that is not there": ("/edge?vary=opt1.beta1&across=0.5", ["vary = opt1.beta1", "nothing or one of opt1.lr"]),
    "values that are none": ("/edge?vary=opt1.lr&across=0.1,fast", ["opt1.lr = fast", "a number at least 0"]),
    "a value twice": ("/edge?vary=opt1.lr&across=0.1,0.10", ["0.1,0.10 holds a value twice"]),
    "too many runs laid over each other": ("/edge?vary=seed&across=1,2,3,4,5,6,7,8,9", ["asks for 9 runs", "at most 8"]),
    "a batch larger than the data": ("/edge?batch_size=1798", ["batch_size = 1798", "at most 1797"]),
    "an unknown probe": ("/edge?probes=distance,speed", ["probes = distance,speed", "sharpness, "]),
    "a key twice": ("/?steps=10&steps=20", ["“steps”", "more than once", "last"]),
    "a setting by both its names": ("/edge?land=mlp&land.objective=squared&land.loss=squared", ["land.loss", "already"]),
    "a formula that is code": ("/?land=formula&land.expression=" + quote("__import__('os')"), ["__import__", "sin"]),
    "a formula with a dot": ("/?land=formula&land.expression=x.real", ["a dot", "Allowed are"]),
    "a formula too long": ("/?land=formula&land.expression=" + "x" * 501, ["501 characters", "500"]),
    "an empty formula": ("/?land=formula&land.expression=", ["1 to 500 characters"]),
    "a formula in two lines": ("/?land=formula&land.expression=x%0Ay", ["not a formula", "2*x"]),
    "an escape sequence": ("/?land=%1B[2Jx", [r"\x1b[2Jx", "rosenbrock"]),
    "turned writing": ("/?%E2%80%AEsteps=1", [r"\u202esteps"]),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refusals_say_what_is_allowed(case):
    url, said = REFUSED[case]
    experiment, refusals = Experiment.from_url(url)
    check_sound(experiment, refusals)
    assert len(refusals) == 1
    for part in said:
        assert part in refusals[0]


def test_cuda_is_refused_where_there_is_none(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for view, path in (("descend", "/"), ("edge", "/edge")):
        experiment, refusals = Experiment.from_url(f"{path}?device=cuda&steps=7")
        assert experiment == dataclasses.replace(DEFAULTS[view], steps=7)
        assert len(refusals) == 1
        assert "cuda is not available on this machine: it must be cpu" in refusals[0]


def test_refused_values_leave_the_others_as_they_are():
    experiment, refusals = Experiment.from_url(
        "/?land=rosenbrock&land.a=99&land.b=7.0&opt1=adam&opt1.lr=oops&opt1.beta1=0.5&opt3=nope&opt4=sam&steps=33&dtype=f"
    )
    assert len(refusals) == 4
    adam, sam = experiment.optimizers
    assert experiment.landscape == LANDSCAPES["rosenbrock"](b=7.0)
    assert adam == OPTIMIZERS["adam"](beta1=0.5)
    assert sam == OPTIMIZERS["sam"]()
    assert experiment.steps == 33


def test_only_what_does_not_fit_is_put_back(monkeypatch):
    """A start that a network cannot have costs neither its network nor its steps."""
    network = "land=mlp&land.data=chebyshev&land.objective=squared&land.hidden=4"
    experiment, refusals = Experiment.from_url(f"/edge?{network}&steps=12&start=1:2")
    assert len(refusals) == 1
    assert experiment.landscape == MLP(data="chebyshev", objective="squared", hidden=(4,))
    assert experiment.steps == 12
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)  # nothing is computed here
    wide = "land=mlp&land.hidden=1024x1024x1024"
    experiment, refusals = Experiment.from_url(f"/edge?{wide}&device=cuda&steps=10000")
    assert len(refusals) == 1
    assert "multiplications, and at most" in refusals[0]
    assert experiment.device == "cuda"
    assert experiment.landscape.hidden == (1024, 1024, 1024) or experiment.steps == 10_000


def test_ten_thousand_characters_are_refused_unread():
    for url in ("/?" + "x" * 10_000, "x" * 10_000, "/?opt1=gd&opt1.lr=" + "9" * 10_000):
        experiment, refusals = Experiment.from_url(url)
        assert experiment == DEFAULTS["descend"]
        assert len(refusals) == 1
        assert "8,000" in refusals[0]
        assert "10,0" in refusals[0]
    for view, experiment in DEFAULTS.items():
        read, refusals = Experiment.from_query({"seed": "9" * 10_000}, view)
        assert read == experiment
        assert "at most 8,000 are read" in refusals[0]
    view = "edge"
    at_most = f"/{view}?seed=" + "1" * (LIMITS.link - len(f"/{view}?seed="))
    assert "seed = 111" in Experiment.from_url(at_most)[1][0]
    assert "characters" in Experiment.from_url(at_most + "1")[1][0]


def test_too_many_fields_are_a_sentence():
    experiment, refusals = Experiment.from_url("/edge?" + "&".join(f"a{index}=" for index in range(500)))
    assert experiment == DEFAULTS["edge"]
    assert len(refusals) == 1
    check_sound(experiment, refusals)


@pytest.mark.parametrize("count", range(4, 12))
def test_many_refusals_are_cut_to_seven(count):
    url = "/?" + "&".join(f"unknown{index}=1" for index in range(count))
    _, refusals = Experiment.from_url(url)
    assert len(refusals) == min(count, 7)
    if count > 7:
        assert refusals[-1].startswith(f"{count - 6} more values")


def test_as_many_optimizers_as_the_view_shows_are_read():
    url = "/?" + "&".join(f"opt{number}=gd&opt{number}.lr=0.{number}" for number in range(1, 10))
    experiment, refusals = Experiment.from_url(url)
    assert [rule.lr for rule in experiment.optimizers] == [0.1, 0.2, 0.3, 0.4]
    assert len(refusals) == 5
    for number, sentence in enumerate(refusals, start=5):
        assert sentence == f"opt{number} was ignored: this view shows at most 4 optimizers."
    experiment, refusals = Experiment.from_url("/?opt9=adam&opt2=gd")
    assert refusals == []
    assert [rule.name for rule in experiment.optimizers] == ["gd", "adam"]


# ------------------------------------------------------------------ what fits together, for notebooks


def small(**changes):
    network = MLP(data="chebyshev", objective="squared", hidden=(4,))
    values = {"landscape": network, "optimizers": (OPTIMIZERS["gd"](lr=0.1),), "view": "edge", "steps": 20}
    return Experiment(**(values | changes))


@dataclasses.dataclass(frozen=True)
class Unregistered(MLP):
    """What a link would take for the network of that name."""


GD = OPTIMIZERS["gd"]()
TOGETHER = {
    "a surface for the edge": ({"landscape": LANDSCAPES["beale"]()}, ValueError, "cannot show beale; it can show mlp"),
    "a network for the paths": ({"view": "descend"}, ValueError, "cannot show mlp; it can show rosenbrock, "),
    "no rule": ({"optimizers": (), "view": "slice"}, ValueError, "takes exactly one optimizer, not 0"),
    "two rules": ({"optimizers": (GD, GD), "view": "slice"}, ValueError, "takes exactly one optimizer, not 2"),
    "five rules": (
        {"optimizers": (GD,) * 5, "view": "descend", "landscape": LANDSCAPES["beale"]()},
        ValueError, "takes 1 to 4 optimizers, not 5",
    ),
    "a network's start": ({"start": (0.0, 0.0)}, ValueError, "start is a point of a surface; a network starts"),
    "much work": ({"landscape": MLP(hidden=(1024, 1024)), "steps": 10_000}, ValueError, "at most 120,000 billion are allowed here"),
    "a fine slice": (
        {"landscape": MLP(hidden=(1024,) * 3), "view": "slice", "points": 201, "steps": 1}, ValueError,
        "Choose fewer grid points, fewer samples than 1,797, or fewer parameters than 2,176,010.",
    ),
    "steps": ({"steps": 0}, ValueError, "steps = 0 is not allowed: it must be a whole number from 1 to 10000"),
    "steps as text": ({"steps": "20"}, TypeError, "steps = 20 is not allowed"),
    "an unknown view": ({"view": "swoop"}, ValueError, "it must be one of descend, edge, slice, sweep"),
    "a name for a landscape": ({"landscape": "mlp"}, TypeError, "must be one of LANDSCAPES"),
    "a class for a landscape": ({"landscape": MLP}, TypeError, "must be one of LANDSCAPES"),
    "a landscape no link can name": ({"landscape": Unregistered()}, TypeError, "must be one of LANDSCAPES"),
    "a name for a rule": ({"optimizers": ("gd",)}, TypeError, "must be a tuple of members of OPTIMIZERS"),
    "names for rules": ({"optimizers": "gd"}, TypeError, "must be a tuple of members of OPTIMIZERS"),
    "nothing for rules": ({"optimizers": None}, TypeError, "must be a tuple of members of OPTIMIZERS"),
    "one value a run": (
        {"optimizers": (OPTIMIZERS["gd"](lr=torch.tensor([[0.1], [0.2]])),)}, TypeError, "lr of gd is a tensor",
    ),
    "an unknown setting": ({"speed": 1}, TypeError, "experiment has no setting 'speed'"),
}  # fmt: skip


@pytest.mark.parametrize("case", TOGETHER)
def test_what_does_not_fit_together_is_refused(case):
    changes, kind, sentence = TOGETHER[case]
    with pytest.raises(kind) as refusal:
        small(**changes)
    assert sentence in str(refusal.value)
    assert str(refusal.value).endswith(".")


@pytest.mark.parametrize("start", [(0.0,), (0.0, 1.0, 2.0), (float("nan"), 0.0), (1e7, 0.0), "ab", 3])
def test_a_start_is_two_finite_numbers(start):
    with pytest.raises((ValueError, TypeError), match="it must be 2 numbers of size at most"):
        dataclasses.replace(DEFAULTS["descend"], start=start)


def test_an_experiment_takes_what_notebooks_pass():
    surface = LANDSCAPES["booth"]()
    one = Experiment(landscape=surface, optimizers=GD)
    assert one == Experiment(landscape=surface, optimizers=[GD]) == Experiment(surface, (GD,))
    assert one.start == surface.origin
    assert dataclasses.replace(one, start=[1, 2]).start == (1.0, 2.0)
    assert small().start is None


def test_the_limit_of_work_is_sharp():
    network = small().landscape
    assert network.dim == 13
    wide = MLP(hidden=(1024, 1024))
    # In evaluations of the loss, a gradient is three and a measurement 36, of which there is one more than there are steps.
    most = (LIMITS.work // (wide.dim * wide.samples) - 36) // 39
    assert small(landscape=wide, steps=most, every=1).steps == most
    with pytest.raises(ValueError, match="multiplications, and at most") as refusal:
        small(landscape=wide, steps=most + 1, every=1)
    assert "Choose fewer measurements of the sharpness, fewer samples than 1,797, or fewer par" in str(refusal.value)


def test_work_counts_the_samples():
    """A few of the samples allow many steps; minibatches make the steps cheap, but not what is measured on all samples."""
    wide = MLP(hidden=(1024, 1024))
    with pytest.raises(ValueError, match="fewer samples than 1,797"):
        small(landscape=wide, steps=10_000)
    assert small(landscape=dataclasses.replace(wide, subset=500), steps=10_000).steps == 10_000
    assert small(landscape=wide, steps=10_000, batch_size=32, every=50).steps == 10_000
    with pytest.raises(ValueError, match="Choose fewer measurements"):
        small(landscape=wide, steps=10_000, batch_size=32)


def test_registries_hold_rules():
    """The strategies draw from declarations: each has some, or the round trips would prove nothing."""
    assert all(issubclass(kind, Optimizer) and settings(kind) for kind in OPTIMIZERS.values())
    assert sum(len(settings(kind)) for kind in LANDSCAPES.values()) > 10
