"""The reference: measured costs against what is known of some rules, and an entry for each."""

import re
import xml.etree.ElementTree as ElementTree

import pytest

from optimizers import OPTIMIZERS, Spent
from ravine import Experiment
from ravine.reference import entries, hyper_parameters, interval, measured

ENTRIES = entries()


def test_every_rule_has_its_entry_in_order():
    assert [entry.kind for entry in ENTRIES] == list(OPTIMIZERS.values())


@pytest.mark.parametrize(
    ("name", "spent", "memory"),
    [
        ("gd", Spent(1, 1, 0), 0),
        ("heavy_ball", Spent(1, 1, 0), 1),
        ("adam", Spent(1, 1, 0), 2),
        ("amsgrad", Spent(1, 1, 0), 3),
        ("sam", Spent(2, 2, 0), 0),
        ("adahessian", Spent(1, 1, 1), 2),
    ],
)
def test_costs_are_those_of_the_papers(name, spent, memory):
    assert measured(OPTIMIZERS[name]()) == (spent, memory)


def test_a_factored_rule_keeps_less_than_one_number_a_parameter():
    assert 0 < measured(OPTIMIZERS["adafactor"]())[1] < 1


@pytest.mark.parametrize("entry", ENTRIES, ids=[entry.kind.name for entry in ENTRIES])
def test_an_entry_is_whole(entry):
    svg = ElementTree.fromstring(entry.thumbnail)
    line = next(node for node in svg if node.tag.endswith("polyline")).get("points")
    points = {tuple(map(float, pair.split(","))) for pair in line.split()}
    assert len(points) > 3  # the path moved
    experiment, refused = Experiment.from_url(entry.experiment.to_url())
    assert experiment == entry.experiment
    assert not refused
    assert entry.kind.verified
    assert entry.kind.tolerance <= 1e-10 or entry.kind.__doc__  # a looser one has its reason beside it
    assert {name for name, *_ in hyper_parameters(entry.kind)} == set(entry.kind().values())


def test_search_finds_all_words_and_nothing_else():
    found = [entry.kind.name for entry in ENTRIES if entry.matches("ADAM 2014")]
    assert "adam" in found
    assert "gd" not in found
    assert not [entry for entry in ENTRIES if entry.matches("nonsense-word")]
    assert len([entry for entry in ENTRIES if entry.matches("")]) == len(ENTRIES)


def test_ranges_are_written_as_in_mathematics():
    from landscapes.setting import Choice, Number

    assert interval(Number(0.9, low=0.0, high=1.0, high_open=True)) == "[0, 1)"
    assert interval(Number(0.0)) == "(−∞, ∞)"
    assert re.match("one of a, b", interval(Choice("a", choices=("a", "b"))))
