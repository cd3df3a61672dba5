"""Reading a link: any text gives an experiment, and what cannot be used is told in a sentence, never an exception."""

import dataclasses
from urllib.parse import parse_qsl, quote, urlencode

import pytest
import torch
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from landscapes import LANDSCAPES, MLP
from optimizers import OPTIMIZERS
from ravine.experiment import VIEWS, Experiment, offered
from ravine.limits import LIMITS
from tests.ravine.links import check_sound
from tests.ravine.strategies import GOLDEN

DEFAULTS = {view: Experiment.default(view) for view in VIEWS}
LINKS = [one.to_url() for one in DEFAULTS.values()]

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


def test_reading_a_link_that_does_not_fit_takes_few_tries(monkeypatch):
    """What stands at its default already is no repair: subsets of repairs double with each."""
    tries = []
    made = Experiment.__post_init__
    monkeypatch.setattr(Experiment, "__post_init__", lambda self: (tries.append(1), made(self))[1])
    experiment, refusals = Experiment.from_url("/sweep?land=himmelblau&opt1=sgdw&opt1.schedule=refined")
    assert len(tries) < 40
    assert len(refusals) == 1
    assert "rehearsal" in refusals[0]
    assert experiment.landscape.name == "himmelblau"
    assert experiment.optimizers[0] == OPTIMIZERS["sgdw"]()


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


@pytest.mark.parametrize(
    ("link", "expression"),
    [
        ("/?land=formula&land.expression=x^2+y^2&opt1=gd", "x^2+y^2"),  # typed by hand
        ("/?land=formula&land.expression=(x-1)^2+sin(x)+2*y", "(x-1)^2+sin(x)+2*y"),
        ("/?land=formula&land.expression=x%5E2+%2B+y%5E2", "x^2 + y^2"),  # as this app writes it
        ("/?land=formula&land.expression=max(x,+y)", "max(x, y)"),
    ],
)
def test_a_plus_between_operands_of_a_formula_is_a_plus(link, expression):
    experiment, refusals = Experiment.from_url(link)
    assert not refusals
    assert experiment.landscape.expression == expression


def test_where_the_plus_is_lost_already_its_spelling_is_named():
    _, refusals = Experiment.from_query({"land": "formula", "land.expression": "x^2 y^2"})
    assert "A plus is written %2B in a link." in refusals[0]


@pytest.mark.parametrize("mark", ["utm_source=mail", "fbclid=IwAR0", "gclid=1", "ref=home"])
def test_marks_of_who_passed_a_link_on_are_nothing_of_ours(mark):
    plain = "/?land=beale&opt1=adam"
    assert Experiment.from_url(f"{plain}&{mark}") == Experiment.from_url(plain) == (Experiment.from_url(plain)[0], [])


def test_a_link_copied_from_a_page_is_read():
    assert Experiment.from_url("/?land=beale&amp;opt1=adam") == Experiment.from_url("/?land=beale&opt1=adam")
