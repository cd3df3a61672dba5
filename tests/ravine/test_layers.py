"""Schedules and wrappers in links: every one of them round-trips, around rules chosen generally."""

import itertools

import pytest

from landscapes.setting import settings
from optimizers import OPTIMIZERS, SCHEDULES, WRAPPERS, Scheduled, composed, layers, run
from ravine import Experiment, compute

BASE = Experiment.default()


def around(name, rule, **values):
    return WRAPPERS[name](inner=rule, **values)


def fitting(wrapper):
    """The first rule that the wrapper goes around."""
    for kind in OPTIMIZERS.values():
        try:
            return WRAPPERS[wrapper](inner=kind())
        except ValueError:
            continue
    raise AssertionError(f"{wrapper} goes around no rule")


def shown(*steppers):
    return Experiment(landscape=BASE.landscape, optimizers=steppers, steps=30)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_every_layer_round_trips(schedule, wrapper):
    experiment = shown(Scheduled(inner=fitting(wrapper), schedule=SCHEDULES[schedule](warmup=3)))
    back, refused = Experiment.from_url(experiment.to_url())
    assert back == experiment
    assert not refused
    assert back.key == experiment.key != shown(fitting(wrapper)).key


def test_layers_keep_their_order_and_values():
    rule = OPTIMIZERS["adam"](lr=0.1)
    one = around("lookahead", around("clip_norm", rule, c=2.5), k=7, alpha=0.25)
    other = around("clip_norm", around("lookahead", rule, k=7, alpha=0.25), c=2.5)
    assert one != other
    for stepper in (one, other):
        experiment = shown(stepper)
        assert Experiment.from_url(experiment.to_url())[0].optimizers == (stepper,)
        assert composed(*[part if index < 2 else () for index, part in enumerate(layers(rule))]) == rule


def test_a_result_is_that_of_the_wrapped_rule():
    stepper = Scheduled(inner=around("clip_norm", OPTIMIZERS["gd"](lr=0.01), c=1.0), schedule=SCHEDULES["cosine"]())
    result = compute(shown(stepper))
    alone = run(BASE.landscape, stepper, steps=30)
    assert (result.trajectory.params[:, 0] == alone.params).all()
    assert "clip the norm, cosine" in result.sentences()[0]


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("opt1=gd&opt1.wrap=zzz", "Allowed: clip_norm"),
        ("opt1=gd&opt1.wrap=xgrad", "goes directly around"),
        ("opt1=gd&opt1.wrap=clip_norm&opt1.clip_norm.c=-1", "opt1.clip_norm.c = -1"),
        ("opt1=gd&opt1.clip_norm.c=1", "does not name clip_norm"),
        ("opt1=gd&opt1.schedule=zzz", "Allowed: constant"),
        ("opt1=gd&opt1.schedule.floor=1", "no opt1.schedule"),
        ("opt1=gd&opt1.schedule=cosine&opt1.schedule.floor=2", "opt1.schedule.floor = 2"),
    ],
)
def test_a_layer_that_does_not_fit_is_told_in_a_sentence(query, said):
    experiment, refused = Experiment.from_url(f"/?{query}")
    assert len(refused) == 1
    assert said in refused[0]
    assert experiment.optimizers[0].rule == OPTIMIZERS["gd"]()


def test_what_a_link_cannot_say_is_refused():
    rule = OPTIMIZERS["gd"]()
    scheduled = Scheduled(inner=rule, schedule=SCHEDULES["linear"]())
    with pytest.raises(ValueError, match="outermost"):
        shown(around("clip_norm", scheduled))
    with pytest.raises(ValueError, match="twice"):
        shown(around("clip_norm", around("clip_norm", rule)))


def test_no_setting_of_a_rule_has_the_name_of_a_layer():
    taken = {"schedule", "wrap", *WRAPPERS}
    for kind, other in itertools.chain(OPTIMIZERS.items(), SCHEDULES.items()):
        assert not taken & set(settings(other)), kind


def test_a_schedule_moves_the_threshold_of_the_rule_inside():
    limits = Scheduled(inner=OPTIMIZERS["gd"](lr=0.5), schedule=SCHEDULES["linear"]()).thresholds(4)
    assert limits == pytest.approx([4.0, 4.0 / 0.75, 8.0, 16.0])  # 2 / (lr * (1 - k / 4))
    assert around("clip_norm", OPTIMIZERS["gd"]()).thresholds(4) is None
    assert Scheduled(inner=OPTIMIZERS["adam"](), schedule=SCHEDULES["linear"]()).thresholds(4) is None
