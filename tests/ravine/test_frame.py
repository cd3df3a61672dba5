"""Frames of links: written and read back, bounded, and without any influence on the numbers."""

from urllib.parse import parse_qsl, urlsplit

import pytest
from hypothesis import given
from hypothesis import settings as profile
from hypothesis import strategies as st

from ravine import Experiment, compute
from ravine.experiment import VIEWS
from ravine.fingerprint import Sampled
from ravine.frame import KEYS, TITLE, Frame
from ravine.link import together

PRINTABLE = st.text("abXY 09&=#%+;<>*_é∂字", max_size=TITLE)
CONTROLS = st.lists(st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True), unique=True, max_size=6)
DIGESTS = st.from_regex(r"[0-9a-f]{16}", fullmatch=True)
SAMPLES = st.lists(st.floats(allow_nan=False, allow_infinity=False), max_size=6)
FINGERPRINTS = st.just("") | st.builds(lambda digest, some: Sampled(digest, tuple(some)).write(), DIGESTS, SAMPLES)
FRAMES = st.builds(
    Frame,
    title=PRINTABLE,
    present=st.booleans(),
    predict=st.booleans(),
    show=CONTROLS.map(tuple),
    fp=FINGERPRINTS,
)


@profile(max_examples=25)
@given(FRAMES)
def test_a_frame_survives_a_link_exactly(frame):
    assert Frame.from_query(frame.to_query()) == (frame, [])
    assert set(frame.to_query()) <= set(KEYS)


@profile(max_examples=15)
@given(FRAMES, st.sampled_from(list(VIEWS)))
def test_a_frame_changes_no_experiment(frame, view):
    experiment = Experiment.default(view)
    url = experiment.to_url("https://example.org", frame)
    assert Experiment.from_url(url) == (experiment, [])
    assert Frame.from_query(dict(parse_qsl(urlsplit(url).query))) == (frame, [])
    query = experiment.to_query() | frame.to_query()
    assert Experiment.from_query(query, view) == (experiment, [])
    assert Frame.from_query(query) == (frame, [])


@given(st.dictionaries(st.sampled_from(KEYS), st.text(max_size=120)))
def test_any_text_gives_a_frame_and_sentences(query):
    frame, refusals = Frame.from_query(query)
    assert Frame.from_query(frame.to_query()) == (frame, [])
    assert all(sentence.endswith(".") and sentence.isprintable() and len(sentence) < 200 for sentence in refusals)


@pytest.mark.parametrize(
    "query",
    [
        {"title": "x" * 81},
        {"title": "a\nb"},
        {"present": "yes"},
        {"show": "lr;drop"},
        {"fp": "1234"},
        {"fp": "a" * 300},
    ],
)
def test_what_no_link_can_say_is_told(query):
    (sentence,) = Frame.from_query(query)[1]
    assert sentence.startswith(next(iter(query)))


def test_a_plain_frame_leaves_no_trace_and_shows_everything():
    assert Frame().to_query() == {}
    assert Frame().shows("steps")
    assert not Frame(present=True).shows("steps")
    assert Frame(present=True).shows("lr")
    two = Frame(show=("steps", "start"))
    assert [name for name in ("steps", "start", "lr", "rule") if two.shows(name)] == ["steps", "start"]


def test_a_link_with_a_frame_computes_on_the_command_line():
    experiment = Experiment.default()
    fp = compute(experiment).fingerprint.write()
    again, refusals = Experiment.from_url(experiment.to_url() + f"&title=A+valley&present=true&show=lr,start&fp={fp}")
    assert (again, refusals) == (experiment, [])


def test_a_link_is_told_eight_things_at_most():
    """About its experiment and its frame together; what is left out is counted."""
    few, many = [f"{one}." for one in range(3)], [f"{one}." for one in range(7)]
    assert together(few, few) == [*few, *few]
    assert together(many, ["a."]) == [*many, "a."]
    assert together(many, few) == [*many, "3 more values of the link were not used as they stand."]
    assert len(together(many, many)) == len(together(few, many)) == 8
