"""Rooms on a clock that we turn: bounded, expiring, and closed to those who do not hold the key."""

import threading

import pytest

from ravine.outcome import OUTCOMES
from ravine.rooms import (
    EMPTY,
    GONE,
    OF_A_VISITOR,
    OF_AN_ADDRESS,
    PACKET,
    PACKETS,
    PRESENT,
    Playback,
    Refused,
    Rooms,
)

SEAT, OTHER = "a" * 32, "b" * 32


@pytest.fixture
def rooms(clock):
    return Rooms(clock, rooms=3, seats=2, idle=100)


@pytest.fixture
def room(rooms):
    return rooms.open()


def test_students_see_what_the_teacher_shows(rooms, room):
    code, key = room
    rooms.join(code, SEAT)
    assert rooms.shown(code, SEAT) == {"version": 0, "state": {}, "asking": False, "vote": "", "playback": None}
    rooms.publish(code, key, {"view": "v1"}, {"v1": b"packet"})
    assert rooms.shown(code, SEAT)["state"] == {"view": "v1"}
    assert rooms.packet(code, "v1") == b"packet"
    # The same again is no news.
    rooms.publish(code, key, {"view": "v1"}, {"v1": b"packet"})
    assert rooms.shown(code)["version"] == 1


def test_votes_are_counted_once_a_seat_and_belong_to_their_question(rooms, room):
    code, key = room
    rooms.join(code, SEAT)
    with pytest.raises(Refused, match="Nothing is asked"):
        rooms.vote(code, SEAT, "converges")
    rooms.publish(code, key, {"n": 1}, {}, asking="one", words=OUTCOMES)
    with pytest.raises(Refused, match="Join"):
        rooms.vote(code, OTHER, "converges")
    rooms.join(code, OTHER)
    for seat, word in ((SEAT, "converges"), (OTHER, "diverges"), (SEAT, "diverges")):
        rooms.vote(code, seat, word)
    assert rooms.tally(code, key) == {
        "present": 2, "votes": {"converges": 0, "oscillates": 0, "diverges": 2}, "asking": True,
    }  # fmt: skip
    assert rooms.shown(code, SEAT)["vote"] == "diverges"
    with pytest.raises(Refused, match="converges, oscillates, diverges"):
        rooms.vote(code, SEAT, "explodes")
    # The answer keeps the tally on the screen; the next question starts anew.
    rooms.publish(code, key, {"n": 2}, {})
    assert rooms.tally(code, key)["votes"]["diverges"] == 2
    rooms.publish(code, key, {"n": 3}, {}, asking="two", words=("few", "most"))
    assert rooms.tally(code, key)["votes"] == {"few": 0, "most": 0}
    with pytest.raises(Refused, match="few, most"):
        rooms.vote(code, SEAT, "diverges")


def test_a_reload_comes_back_to_its_seat(rooms, room):
    code, key = room
    rooms.publish(code, key, {}, {}, asking="one", words=OUTCOMES)
    rooms.join(code, SEAT)
    rooms.vote(code, SEAT, OUTCOMES[1])
    rooms.join(code, SEAT)
    assert rooms.shown(code, SEAT)["vote"] == OUTCOMES[1]
    assert rooms.tally(code, key)["present"] == 1


def test_rooms_seats_and_packets_are_bounded(rooms, room):
    code, key = room
    rooms.open()
    rooms.open()
    with pytest.raises(Refused, match="3 rooms"):
        rooms.open()
    rooms.join(code, SEAT)
    rooms.join(code, OTHER)
    with pytest.raises(Refused, match="2 seats"):
        rooms.join(code, "c" * 32)
    for seat in ("", "short", "x" * 65, "a b" * 8, "é" * 20, "<b>" * 8):
        with pytest.raises(Refused, match="seat"):
            rooms.join(code, seat)
    for number in range(9):
        rooms.publish(code, key, {"n": number}, {f"p{number}": b"x"})
    kept = [number for number in range(9) if _has(rooms, code, f"p{number}")]
    assert kept == list(range(9))[-PACKETS:]
    with pytest.raises(Refused, match="too large"):
        rooms.publish(code, key, {"n": 10}, {"big": bytes(PACKET + 1)})
    listening = [rooms.listen(code, lambda number=number: number) for number in range(4)]
    with pytest.raises(Refused, match="Too many"):
        rooms.listen(code, print)
    listening[0]()
    rooms.listen(code, print)


def _has(rooms, code, name):
    try:
        return bool(rooms.packet(code, name))
    except Refused:
        return False


def test_only_the_key_opens(rooms, room):
    code, key = room
    other = rooms.open()[1]
    for wrong in ("", other, key[:-1], "ключ"):
        assert not rooms.owns(code, wrong)
        for act in (
            lambda wrong=wrong: rooms.publish(code, wrong, {}, {}),
            lambda wrong=wrong: rooms.tally(code, wrong),
            lambda wrong=wrong: rooms.play(code, wrong, Playback(0, False, 1.0, False)),
            lambda wrong=wrong: rooms.close(code, wrong),
        ):
            with pytest.raises(Refused, match="Only the teacher"):
                act()
    assert rooms.owns(code, key)
    rooms.close(code, key)
    with pytest.raises(Refused, match="no such room"):
        rooms.shown(code)


def test_players_follow_the_teachers(rooms, room, clock):
    code, key = room
    heard = []
    rooms.listen(code, lambda: heard.append(1))
    rooms.play(code, key, Playback(3, True, 2.0, False, (0.5, 1.0, 2.0)))
    clock.now = 1.5
    told = {
        "position": 3,
        "playing": True,
        "speed": 2.0,
        "loop": False,
        "camera": (0.5, 1.0, 2.0),
        "beat": 1,
        "since": 1.5,
    }
    assert rooms.shown(code)["playback"] == told
    assert rooms.shown(code)["version"] == 0  # no picture has changed
    rooms.play(code, key, Playback(3, True, 2.0, False, (0.5, 1.0, 2.0)))
    assert rooms.shown(code)["playback"] == told | {"beat": 2, "since": 0.0}
    assert len(heard) == 2
    for wrong in ((-1, 1.0), (10**9, 1.0), (0, 3.0), (0, float("nan"))):
        with pytest.raises(Refused, match="A playback"):
            Playback(wrong[0], False, wrong[1], False)
    for camera in ((1.0,), (0.0, 0.0, float("nan")), (1e9, 0.0, 1.0)):
        with pytest.raises(Refused, match="an azimuth"):
            Playback(0, False, 1.0, False, camera)


def test_a_room_without_its_teacher_expires(rooms, room, clock):
    code, key = room
    rooms.join(code, SEAT)
    clock.now = 99
    assert rooms.owns(code, key)
    clock.now = 198
    rooms.shown(code, SEAT)  # students do not keep it open
    clock.now = 200
    with pytest.raises(Refused, match="no such room"):
        rooms.shown(code)
    assert len({rooms.open()[0] for _ in range(3)}) == 3


def test_who_is_silent_is_not_present(rooms, room, clock):
    code, key = room
    rooms.join(code, SEAT)
    rooms.join(code, OTHER)
    clock.now = PRESENT
    rooms.shown(code, SEAT)
    clock.now = PRESENT + 1
    assert rooms.tally(code, key)["present"] == 1


def test_listeners_hear_of_what_is_shown_and_not_of_votes(rooms, room):
    code, key = room
    heard = []
    stop = rooms.listen(code, lambda: heard.append(1))
    rooms.join(code, SEAT)
    rooms.publish(code, key, {"n": 1}, {}, asking="q", words=OUTCOMES)
    rooms.vote(code, SEAT, "diverges")
    assert len(heard) == 1
    rooms.close(code, key)
    assert len(heard) == 2
    stop()


def test_many_threads_vote_at_once():
    rooms = Rooms()
    code, key = rooms.open()
    rooms.publish(code, key, {}, {}, asking="q", words=OUTCOMES)

    def student(number):
        seat = f"{number:032d}"
        rooms.join(code, seat)
        for word in (*OUTCOMES, OUTCOMES[number % 3]):
            rooms.vote(code, seat, word)

    threads = [threading.Thread(target=student, args=(number,)) for number in range(30)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert rooms.tally(code, key)["votes"] == dict.fromkeys(OUTCOMES, 10)


def test_a_silent_seat_is_free_again_for_whoever_comes_to_a_full_room(rooms, room, clock):
    code, _ = room
    rooms.join(code, SEAT)
    rooms.join(code, OTHER)
    clock.now += GONE - 1
    rooms.shown(code, OTHER)
    clock.now += 2
    rooms.join(code, "c" * 32)  # on the seat of the one that is gone
    with pytest.raises(Refused, match="full"):
        rooms.join(code, SEAT)


def test_a_seat_that_has_voted_on_the_present_question_stays_taken(rooms, room, clock):
    code, key = room
    rooms.publish(code, key, {}, {}, "a question", ("yes", "no"))
    for seat in (SEAT, OTHER):
        rooms.join(code, seat)
        rooms.vote(code, seat, "yes")
    clock.now += GONE + 1
    rooms.publish(code, key, {}, {"v": b""}, "a question")  # the teacher is there
    with pytest.raises(Refused, match="full"):
        rooms.join(code, "c" * 32)
    rooms.publish(code, key, {"next": 1}, {}, "another question", ("yes", "no"))
    rooms.join(code, "c" * 32)
    assert rooms.tally(code, key)["votes"] == {"yes": 0, "no": 0}


def test_an_empty_room_makes_way_where_all_are_taken(clock):
    rooms = Rooms(clock, rooms=2, seats=2, idle=1e4)
    (first, _), (second, key) = rooms.open(), rooms.open()
    clock.now += EMPTY - 1
    with pytest.raises(Refused, match="2 rooms open"):
        rooms.open()
    rooms.tally(second, key)
    clock.now += 2
    third, _ = rooms.open()
    assert rooms.owns(second, key)
    with pytest.raises(Refused, match="no such room"):
        rooms.shown(first)
    assert rooms.shown(third)["version"] == 0


def test_one_visitor_or_address_cannot_take_all_rooms(clock):
    rooms = Rooms(clock)
    codes = [rooms.open("a visitor") for _ in range(OF_A_VISITOR)]
    with pytest.raises(Refused, match=f"{OF_A_VISITOR} rooms are open from this visitor already"):
        rooms.open("a visitor")
    rooms.close(*codes[0])
    rooms.open("a visitor")
    for index in range(OF_AN_ADDRESS):
        rooms.open(f"visitor {index}", "192.0.2.1")
    with pytest.raises(Refused, match=f"{OF_AN_ADDRESS} rooms are open from this address already"):
        rooms.open("one more", "192.0.2.1")
    rooms.open("one more", "192.0.2.2")
