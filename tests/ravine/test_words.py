"""Names of settings as a screen reader says them: no markup is left in any."""

import pytest

from landscapes import LANDSCAPES, settings
from landscapes.setting import Choice, Number
from optimizers import OPTIMIZERS, SCHEDULES, WRAPPERS
from ravine import Experiment
from ravine.words import chosen, plain, spoken, within

KINDS = [kind for registry in (LANDSCAPES, OPTIMIZERS, SCHEDULES, WRAPPERS) for kind in registry.values()]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_setting_is_spoken_without_markup(kind):
    for name, one in settings(kind).items():
        assert not set(spoken(name, one)) & set("\\{}_^$"), name


def test_a_symbol_is_not_said_twice():
    assert spoken("beta1", Number(0.9, symbol=r"\beta_1")) == "β₁"
    assert spoken("rho", Number(0.9, symbol=r"\rho")) == "ρ"
    assert spoken("momentum", Number(0.9, symbol=r"\mu")) == "Momentum μ"
    assert spoken("weight_decay", Number(0.0)) == "Weight decay"


def test_symbols_in_unicode():
    assert [plain(one) for one in (r"\beta_1", r"\eta_\infty", r"\varphi", "b_{12}")] == ["β₁", "η∞", "φ", "b₁₂"]


@pytest.mark.parametrize("kind", [*KINDS, Experiment], ids=lambda kind: kind.name)
def test_every_choice_has_a_name_of_its_own_without_markup(kind):
    for name, one in settings(kind).items():
        if isinstance(one, Choice):
            called = [chosen(one, choice) for choice in one.choices]
            assert len(set(called)) == len(called) == len(one.labels or called), name
            assert not set("".join(called)) & set("\\{}_^$"), name


def test_choices_are_called_as_people_write_them():
    own = settings(Experiment)
    assert chosen(own["quantity"], "grad_norm") == "Gradient norm"
    assert chosen(own["outcome"], "final_loss") == "final loss"
    assert chosen(settings(LANDSCAPES["mlp"])["activation"], "relu") == "ReLU"
    assert chosen(settings(LANDSCAPES["mlp"])["data"], "fashion_mnist") == "Fashion-MNIST"
    assert chosen(settings(LANDSCAPES["mlp"])["data"], "teacher_student") == "teacher and student"


def test_a_label_inside_a_sentence_keeps_its_acronyms_and_names():
    assert [within(one) for one in ("GFS sharpness", "Trace of the Hessian", "Gauss-Newton sharpness", "A b")] == [
        "GFS sharpness", "trace of the Hessian", "Gauss-Newton sharpness", "a b",
    ]  # fmt: skip
