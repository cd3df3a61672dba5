"""Whoever has the key opens rooms, and nobody else."""

import pytest

from ravine import teacher


def test_without_a_key_nobody_is_asked(monkeypatch):
    monkeypatch.delenv(teacher.ENVIRONMENT, raising=False)
    assert not teacher.asked()
    assert not teacher.fits("")


def test_the_key_and_nothing_else_fits(monkeypatch):
    key = teacher.made("")
    assert len(key) >= 24
    assert key != teacher.made("")
    monkeypatch.setenv(teacher.ENVIRONMENT, key)
    assert teacher.asked()
    assert teacher.fits(key)
    for wrong in ("", key[:-1], key + "a", key.swapcase(), "\ud800", "ключ", "\x00"):
        assert not teacher.fits(wrong)


@pytest.mark.parametrize("key", ["short", "a" * 11, "a b c d e f g h", "a" * 201, "<script>alert()"])
def test_a_key_that_is_easily_guessed_or_is_no_part_of_a_link_is_refused(key):
    with pytest.raises(ValueError, match="12 to 200 letters"):
        teacher.made(key)


def test_a_chosen_key_is_taken():
    assert teacher.made("correct-horse-battery") == "correct-horse-battery"
