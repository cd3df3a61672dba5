"""Samples of large products: drawn by a seed, and with the rest they are the whole."""

import pytest

from tests.sampling import sampled


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
