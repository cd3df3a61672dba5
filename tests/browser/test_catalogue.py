"""Layers around a rule, tuning, and the reference, in a browser."""

from __future__ import annotations

from optimizers import OPTIMIZERS
from tests.browser.screen import _QUIET
from tests.browser.test_accessibility import violations
from tests.browser.test_descend import losses

ONE = "/?opt1=gd&opt1.lr=0.0001&steps=100"


def test_a_schedule_and_a_wrapper_go_around_a_rule(visit):
    screen = visit(ONE)
    before = losses(screen)
    more = screen.page.get_by_role("button", name="Settings of run 1")
    screen.reveal(more, screen.keyed("descend-opt1-wrap"))
    with screen.redrawn():
        screen.choose("descend-opt1-wrap", "Lookahead")
    screen.wait_query(opt1__wrap="lookahead", opt1__lookahead__k="5")
    screen.page.keyboard.press("Escape")  # closes the list, and with it the popover
    screen.reveal(more, screen.keyed("descend-opt1-schedule"))
    with screen.redrawn():
        screen.choose("descend-opt1-schedule", "Cosine")
    screen.wait_query(opt1__schedule="cosine", opt1__schedule__floor="0.0")
    after = losses(screen)
    assert list(after) == ["Gradient descent, lookahead, cosine"]
    assert list(after.values()) != list(before.values())
    link = "/?" + screen.page.url.partition("?")[2]
    assert visit(link).table.inner_text() == screen.table.inner_text()


def test_tuning_finds_a_better_step_size_and_evaluations_are_an_axis(visit):
    screen = visit(ONE)
    (before,) = losses(screen).values()
    with screen.redrawn():
        screen.page.get_by_role("button", name="Tune all").click()
    (after,) = losses(screen).values()
    assert float(after) < float(before) / 10
    assert screen.page.get_by_text("decades").is_visible()
    with screen.redrawn():
        screen.choose("descend-axis", "evaluations")
    assert screen.page.locator(".rv-step").inner_text() == "evaluation 100 / 100"


def test_the_reference_lists_every_rule_and_opens_a_run(visit):
    screen = visit()
    page = screen.page
    page.goto(screen.address + "/reference")
    page.get_by_text(f"{len(OPTIMIZERS)} of {len(OPTIMIZERS)} rules").wait_for()
    for kind in (OPTIMIZERS["gd"], list(OPTIMIZERS.values())[-1]):
        page.get_by_role("heading", name=kind.label).first.wait_for()
    box = page.get_by_role("textbox", name="Search")
    box.fill("amsgrad")
    box.press("Enter")
    page.get_by_role("heading", name="Gradient descent").wait_for(state="detached")
    link = page.get_by_role("link", name="Path of AMSGrad on a quadratic bowl")
    link.wait_for()
    assert "opt1=amsgrad" in link.get_attribute("href")
    screen.wait(_QUIET)  # while a script runs, Streamlit fades what it has not drawn yet
    assert (
        violations(screen) == []
    )  # of a few rules: one card is made as another, and to look at them all takes a minute
