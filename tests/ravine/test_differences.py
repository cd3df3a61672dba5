"""In what two links differ is told in the words of the pages."""

import pytest

from ravine import Experiment
from ravine.differences import Difference, differences
from ravine.experiment import VIEWS

ONE = "/edge?land=mlp&land.activation=tanh&opt1=adam&opt1.beta1=0.9&opt1.weight_decay=0&steps=20"
OTHER = "/edge?land=mlp&land.activation=relu&opt1=adam&opt1.beta1=0.8&opt1.weight_decay=0.1&steps=30&flow=true"


def told(one: str, other: str) -> list[Difference]:
    (a, refused), (b, also) = Experiment.from_url(one), Experiment.from_url(other)
    assert not refused + also
    return differences(a, b)


def test_values_and_their_names_are_those_of_the_pages():
    assert told(ONE, OTHER) == [
        Difference("Activation φ", "land.activation", "tanh", "ReLU"),
        Difference("β₁", "opt1.beta1", "0.9", "0.8"),
        Difference("Weight decay λ", "opt1.weight_decay", "0.0", "0.1"),
        Difference("Steps", "steps", "20", "30"),
        Difference("Gradient flow", "flow", "off", "on"),
    ]
    assert told(ONE, ONE) == []


def test_layers_and_what_only_one_side_has():
    wrapped = ONE + "&opt1.wrap=clip_norm&opt1.clip_norm.c=2&opt1.schedule=cosine&opt2=gd"
    found = {one.key: one for one in told(ONE, wrapped)}
    assert (found["opt1.wrap"].a, found["opt1.schedule"].a, found["opt2"].a) == ("–", "–", "–")
    assert (found["opt2"].label, found["opt2"].b) == ("Rule of run 2", "Gradient descent")
    assert found["opt1.clip_norm.c"].b == "2.0"


@pytest.mark.parametrize("view", VIEWS)
def test_every_key_of_a_link_has_a_name(view):
    experiment = Experiment.default(view)
    other = Experiment.default("descend" if view != "descend" else "sweep")
    keys = {"page", *experiment.to_query(), *other.to_query()}
    same = {key for key in keys if experiment.to_query().get(key) == other.to_query().get(key)} - {"page"}
    found = differences(experiment, other)
    assert {one.key for one in found} == keys - same
    assert all(one.label and one.label != one.key for one in found)
