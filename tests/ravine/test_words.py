"""Names of settings as a screen reader says them: no markup is left in any."""

import pytest

from landscapes import LANDSCAPES, settings
from optimizers import OPTIMIZERS, SCHEDULES, WRAPPERS
from ravine.words import plain, spoken

KINDS = [kind for registry in (LANDSCAPES, OPTIMIZERS, SCHEDULES, WRAPPERS) for kind in registry.values()]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_every_setting_is_spoken_without_markup(kind):
    for name, one in settings(kind).items():
        assert not set(spoken(name, one)) & set("\\{}_^$"), name


def test_symbols_in_unicode():
    assert [plain(one) for one in (r"\beta_1", r"\eta_\infty", r"\varphi", "b_{12}")] == ["β₁", "η∞", "φ", "b₁₂"]
