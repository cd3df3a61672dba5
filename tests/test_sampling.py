"""Samples of large products: drawn by a seed, and with the rest they are the whole."""

import pytest

from tests.sampling import WIDE, sampled, thin


def drawn(params):
    return [one.values for one in params if any(mark.name == "sampled" for mark in one.marks)]


def test_a_sample_and_the_rest_are_the_whole():
    params = sampled([(one, 2 * one) for one in range(40)], 7)
    assert [one.values for one in params] == [(one, 2 * one) for one in range(40)]
    assert len(drawn(params)) == 7
    assert sum(mark.name == "prove" for one in params for mark in one.marks) == 33


def test_the_seed_draws():
    assert drawn(sampled(range(40), 7)) == drawn(sampled(range(40), 7)) != drawn(sampled(range(40), 7, seed=1))


def test_a_param_keeps_its_id_and_its_marks():
    (one,) = sampled([pytest.param(3, id="three", marks=pytest.mark.filterwarnings("error"))], 1)
    assert one.id == "three"
    assert [mark.name for mark in one.marks] == ["filterwarnings", "sampled"]


def test_fewer_cases_than_are_drawn_all_run():
    assert len(drawn(sampled("ab", 5))) == 2


class Case:
    """A test that was collected, with its marks."""

    def __init__(self, nodeid, *marks):
        self.nodeid, self.marks = nodeid, [*marks]

    def get_closest_marker(self, name):
        return name if name in self.marks else None

    def add_marker(self, name):
        self.marks.append(name)


def test_a_numerical_test_of_many_cases_is_thinned_and_nothing_else():
    wide = [Case(f"tests/optimizers/test_a.py::test[{number}]") for number in range(3 * WIDE)]
    phenomena = [Case(f"tests/phenomena/test_{number}.py::test") for number in range(WIDE)]
    others = [Case(f"tests/optimizers/test_a.py::narrow[{number}]") for number in range(WIDE - 1)]
    others += [Case(f"tests/ravine/test_a.py::test[{number}]") for number in range(3 * WIDE)]
    drawn = [Case(f"tests/landscapes/test_a.py::test[{number}]", "sampled") for number in range(3 * WIDE)]
    thin([*wide, *phenomena, *others, *drawn])
    for cases, count in ((wide, WIDE), (phenomena, WIDE // 2)):
        assert sum(one.marks == ["sampled"] for one in cases) == count
        assert sum(one.marks == ["prove", "thinned"] for one in cases) == len(cases) - count
    assert all(one.marks == [] for one in others)
    assert all(one.marks == ["sampled"] for one in drawn)
    again = [Case(one.nodeid) for one in wide]
    thin(again)
    assert [one.marks for one in again] == [one.marks for one in wide]
