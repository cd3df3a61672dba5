"""What any reading of a link must give."""

from ravine import Experiment


def check_round_trip(experiment):
    again, refusals = Experiment.from_url(experiment.to_url())
    assert refusals == []
    assert again == experiment
    assert repr(again) == repr(experiment)  # also tells -0.0 from 0.0
    assert again.key == experiment.key
    assert again.to_url() == experiment.to_url()


def check_sound(experiment, refusals):
    """What any reading must give: a valid experiment, and sentences that fit on a screen."""
    assert type(experiment) is Experiment
    check_round_trip(experiment)
    assert len(refusals) <= 7
    for sentence in refusals:
        assert sentence.endswith(".")
        assert sentence.isprintable()
        assert sentence[0] != " "
        assert len(sentence) < 500
