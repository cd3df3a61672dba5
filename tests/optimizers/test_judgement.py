"""The judge of step sizes: what it says is what iterating the rule on a curve does, and no history is said to be more than it was."""

import itertools
import math

import pytest
import torch

from optimizers import OPTIMIZERS, Course, Outlook, Response, judge, response, stable_step

SEVERITY = [Outlook.SMOOTH, Outlook.DAMPED, Outlook.EDGE, Outlook.RISKY, Outlook.DIVERGES]
RATIOS = [1e-6, 0.28, 0.49, 0.5, 0.97, 1.0, 1.02, 1.1, 1.11, 1.3, 1.6, 2.0, 2.01, 82.0, 203.0]


@pytest.mark.parametrize(("responds", "bends"), list(itertools.product(Response, [True, False])))
def test_a_larger_ratio_is_never_judged_milder(responds, bends):
    found = [SEVERITY.index(judge([ratio], responds=responds, bends=bends).outlook) for ratio in RATIOS]
    assert found == sorted(found)
    for ratio, rank in zip(RATIOS, found, strict=True):
        assert (rank >= SEVERITY.index(Outlook.EDGE)) == (ratio >= 1)


@pytest.mark.parametrize("responds", list(Response))
def test_one_look_says_nothing_of_the_course(responds):
    for ratio in RATIOS:
        judged = judge([ratio], responds=responds)
        assert judged.course is Course.FEW
        assert ("at or above" in judged.seen) == (ratio >= 1)
        assert judged.seen.startswith("1 measurement found")


def test_no_measurement_is_no_verdict():
    for ratios in ([], [math.nan], [math.nan] * 40):
        judged = judge(ratios)
        assert (judged.outlook, judged.looks, judged.reached) == (Outlook.UNKNOWN, 0, None)
        assert judged.seen == "it was not measured"
        assert judged.expected == "no verdict: the sharpness was not measured"


COURSES = {
    "below": ([0.3, 0.5, 0.8, 0.9, 0.99, 0.95], Course.BELOW, Outlook.DAMPED),
    "at 1.02 it is not below": ([0.3, 0.5, 0.8, 0.9, 1.02], Course.REACHED, Outlook.EDGE),
    "hovers": ([0.3, 0.7, 1.02, 1.1, 0.97, 1.15, 1.05, 0.99, 1.1, 0.98], Course.HOVERS, Outlook.EDGE),
    "a fall to 0.28 is not hovering": ([0.9, 1.2, 1.1, 0.9, 0.6, 0.4, 0.3, 0.28], Course.FELL, Outlook.SMOOTH),
    "a fall on the way": ([0.9, 1.1, 1.2, 1.1, 1.1, 1.0, 1.0, 1.0, 0.7, 0.6], Course.REACHED, Outlook.DAMPED),
    "far above for long": ([0.5] + [1.6] * 40, Course.ABOVE, Outlook.UNKNOWN),
    "far above for a moment": ([0.5] * 5 + [1.6] * 6, Course.REACHED, Outlook.EDGE),
    "203 times": ([0.5, *[203.0] * 20], Course.ABOVE, Outlook.UNKNOWN),
    "too few looks": ([0.9, 1.1, 1.05], Course.FEW, Outlook.EDGE),
}


@pytest.mark.parametrize("case", COURSES)
def test_courses(case):
    ratios, course, outlook = COURSES[case]
    judged = judge(ratios)
    assert (judged.course, judged.outlook) == (course, outlook)
    first = next((step for step, ratio in enumerate(ratios) if ratio >= 1), None)
    assert judged.reached == first
    assert (first is None) == ("reached" not in judged.seen and "at or above" not in judged.seen)


def test_what_was_measured_long_ago_says_nothing_of_the_run():
    steps = [20 * step for step in range(8)]
    assert judge([0.3] * 8, steps).course is Course.BELOW
    assert judge([0.3] * 8, steps, upto=160).course is Course.BELOW
    assert judge([0.3] * 8, steps, upto=4000).course is Course.FEW


def test_the_late_mean_is_of_the_last_thirty_percent_but_of_nothing_before_the_threshold_was_reached():
    assert judge([1.0] * 7 + [1.1, 1.2, 1.3]).late == pytest.approx(1.2)
    assert judge([0.1] * 9 + [1.2]).late == pytest.approx(1.2)


def test_a_doubt_takes_the_place_of_a_verdict_but_not_of_what_was_measured():
    for ratios, course, _ in COURSES.values():
        judged = judge(ratios, doubt="gradients are clipped")
        assert (judged.outlook, judged.course) == (Outlook.UNKNOWN, course)
        assert judged.expected == "no verdict: gradients are clipped"


@pytest.mark.parametrize("ratio", [0.0, -0.0, -10.0, -math.inf])
def test_where_nothing_curves_upward_the_curvature_sets_no_limit(ratio):
    judged = judge([0.4, ratio])
    assert judged.outlook is Outlook.UNKNOWN
    assert "no direction curves upward" in judged.expected


def test_how_long_is_long_follows_from_the_growth():
    """Iterating gradient descent on a line from the rounding of float32 shows when the instability must have been seen."""
    for ratio in (1.4, 1.6, 3.0):
        x, steps = torch.finfo(torch.float32).eps, 0
        while x < 1:
            x, steps = abs(1 - 2 * ratio) * x, steps + 1
        lookups = [0.9] * 5 + [ratio] * (steps + 1)
        assert judge(lookups).course is (Course.ABOVE if steps >= 5 else Course.REACHED)
        assert judge(lookups[:-2]).course is Course.REACHED


@pytest.mark.parametrize(
    "kind", [k for k in OPTIMIZERS.values() if k().stability_threshold() or k().preconditioned_threshold()]
)
def test_at_its_stable_step_a_rules_threshold_is_the_sharpness(kind):
    for decay in [0.0, 0.1] if "weight_decay" in kind().values() else [0.0]:
        rule = kind(**({"weight_decay": decay} if "weight_decay" in kind().values() else {}))
        for sharpness in (0.5, 30.0):
            there = rule.at(stable_step(rule, sharpness))
            threshold = there.preconditioned_threshold() if rule.preconditions else there.stability_threshold()
            assert threshold is None or float(threshold) == pytest.approx(sharpness)


def test_the_stable_step_of_gradient_descent():
    rule = OPTIMIZERS["gd"](lr=0.0, weight_decay=0.5)
    assert stable_step(rule, 7.5) == pytest.approx(0.25)
    assert stable_step(rule, -0.5) == stable_step(rule, -3.0) == math.inf
    assert math.isnan(stable_step(OPTIMIZERS["lion"](), 1.0))


def test_the_response_of_a_rule():
    plain, ball, growing = (
        OPTIMIZERS["gd"](),
        OPTIMIZERS["heavy_ball"](),
        OPTIMIZERS["nag"](momentum=0.0, convex=True),
    )
    assert [response(one) for one in (plain, ball, growing)] == [
        Response.PLAIN,
        Response.MOMENTUM,
        Response.MOMENTUM,
    ]
    assert response(OPTIMIZERS["heavy_ball"](momentum=0.0)) is Response.PLAIN
    assert response(OPTIMIZERS["adam"]()) is Response.SCALED
