"""Live rooms: a teacher shows, students follow, and vote on what will happen. Knows nothing of Streamlit or of HTTP.

A room holds what is on the teacher's screen as ready-made packets, so that following costs no student any computation.
It knows its students by random texts that their browsers made up, and nothing else: one browser may make up several, so
that a vote is no ballot. A room is gone after `idle` seconds without its teacher, and with it everything said in it.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

ROOMS = 60  # at a time
OF_A_VISITOR, OF_AN_ADDRESS = 2, 5  # rooms that one visitor, and all visitors from one address, may have open
EMPTY = 600.0  # seconds without students and teacher after which a room makes way for another, where all are taken
GONE = (
    60.0  # seconds without a sign of life after which a seat is free again, unless it has voted on the present question
)
SEATS = 300  # in a room
PACKET = 4 << 20  # bytes of one packet
PACKETS = 4  # kept for a room: the newest
IDLE = 3 * 3600.0  # seconds
ROWS = 20_000  # of what is played, at most
_FARTHEST = 1e4  # radians: a camera that somebody turned all day
SPEEDS = (0.5, 1.0, 2.0, 4.0)
PRESENT = 15.0  # seconds for which a student counts as present after the last sign of life
_LETTERS = "ABCDEFGHJKMNPQRSTUVWXYZ23456789"  # none that is read as another
_LENGTH = 6

Listener = Callable[[], None]


class Refused(ValueError):
    """What a room cannot do, in a sentence for whoever asked."""


@dataclass(frozen=True)
class Playback:
    """What the teacher's player does since a moment: enough for a student's to do the same by itself."""

    position: int
    playing: bool
    speed: float
    loop: bool
    camera: tuple[float, ...] = ()  # azimuth, elevation and zoom of a view in three dimensions

    def __post_init__(self) -> None:
        if len(self.camera) not in (0, 3) or not all(abs(one) <= _FARTHEST for one in self.camera):
            raise Refused("A playback is seen from an azimuth, an elevation and a zoom.")
        if not 0 <= self.position <= ROWS or self.speed not in SPEEDS:
            raise Refused(f"A playback is at one of {ROWS} positions, and as fast as one of {SPEEDS}.")


@dataclass
class Room:
    """Read it through `Rooms`; only `Rooms` changes it."""

    code: str
    key: str  # the teacher's, unguessable
    state: Mapping[str, Any] = field(default_factory=dict)  # what to draw, as JSON
    version: int = 0
    asking: str = ""  # what the present question is about; empty: nothing is asked
    words: tuple[str, ...] = ()  # that answer the present question, or the last one
    playback: Playback | None = None
    played: float = 0.0  # when it began
    beat: int = 0  # counts what the player was told
    packets: dict[str, bytes] = field(default_factory=dict)
    votes: dict[str, str] = field(default_factory=dict)  # seat -> word, about the present question
    seen: dict[str, float] = field(default_factory=dict)  # seat -> when last
    touched: float = 0.0
    visitor: str = ""  # who opened it, as far as the server can tell them apart
    address: str = ""
    listeners: set[Listener] = field(default_factory=set)


class Rooms:
    """All rooms of a server. Safe to use from several threads."""

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, rooms: int = ROOMS, seats: int = SEATS, idle: float = IDLE
    ):
        self._clock, self._most, self._seats, self._idle = clock, rooms, seats, idle
        self._rooms: dict[str, Room] = {}
        self._lock = threading.Lock()

    def open(self, visitor: str = "", address: str = "") -> tuple[str, str]:
        """A new room: its code, which everyone may know, and the teacher's key.

        Where all are taken, one that has been empty for ten minutes makes way. Raises Refused where there are too many: of
        the server, of this visitor or of this address (empty ones are not counted).
        """
        with self._lock:
            self._expire()
            for said, own, most in ((visitor, "visitor", OF_A_VISITOR), (address, "address", OF_AN_ADDRESS)):
                if said and sum(getattr(room, own) == said for room in self._rooms.values()) >= most:
                    raise Refused(
                        f"{most} rooms are open from this {own} already, as many as one may have: close one first."
                    )
            if len(self._rooms) >= self._most and not self._evicted():
                raise Refused(f"There are {self._most} rooms open, as many as this server holds. Try again later.")
            code = next(one for one in iter(_code, "") if one not in self._rooms)
            room = Room(code, secrets.token_urlsafe(24), touched=self._clock(), visitor=visitor, address=address)
            self._rooms[code] = room
            return code, room.key

    def _evicted(self) -> bool:
        """Has an empty room, the one left longest, made way?"""
        now = self._clock()
        left = [room for room in self._rooms.values() if now - max([room.touched, *room.seen.values()]) > EMPTY]
        if left:
            del self._rooms[min(left, key=lambda room: room.touched).code]
        return bool(left)

    def close(self, code: str, key: str) -> None:
        """The teacher ends the room."""
        with self._lock:
            room = self._own(code, key)
            del self._rooms[code]
        _tell(room)

    def owns(self, code: str, key: str) -> bool:
        """Is this the key of a room that is still open?"""
        with self._lock:
            try:
                self._own(code, key)
            except Refused:
                return False
            return True

    def publish(
        self,
        code: str,
        key: str,
        state: Mapping[str, Any],
        packets: Mapping[str, bytes],
        asking: str = "",
        words: Iterable[str] = (),
    ) -> None:
        """Show `state` to everyone; it names packets by their ids. A new question, which `words` answer, forgets the votes
        on the one before."""
        if any(len(packet) > PACKET for packet in packets.values()):
            raise Refused("This picture is too large for a room.")
        with self._lock:
            room = self._own(code, key)
            if asking and asking != room.asking:
                room.votes, room.words = {}, tuple(words)
            if dict(state) == room.state and asking == room.asking:
                return
            kept = {name: packet for name, packet in room.packets.items() if name not in packets} | dict(packets)
            room.packets = dict(list(kept.items())[-PACKETS:])
            room.state, room.asking = dict(state), asking
            room.version += 1
        _tell(room)

    def join(self, code: str, seat: str) -> None:
        """A student takes a seat, or comes back to it. Raises Refused if there is no such room or no free seat."""
        if not 16 <= len(seat) <= 64 or not seat.isascii() or not seat.isalnum():
            raise Refused("A seat is a random text of 16 to 64 letters and digits.")
        with self._lock:
            room = self._find(code)
            if seat not in room.seen and len(room.seen) >= self._seats:
                now = self._clock()
                room.seen = {one: when for one, when in room.seen.items() if now - when <= GONE or one in room.votes}
            if seat not in room.seen and len(room.seen) >= self._seats:
                raise Refused(f"The room is full: it has {self._seats} seats.")
            room.seen[seat] = self._clock()

    def vote(self, code: str, seat: str, word: str) -> None:
        """A student's prediction; a later one replaces it."""
        with self._lock:
            room = self._find(code)
            if seat not in room.seen:
                raise Refused("Join the room first.")
            if not room.asking:
                raise Refused("Nothing is asked at the moment.")
            if word not in room.words:
                raise Refused(f"A prediction is one of {', '.join(room.words)}.")
            room.seen[seat] = self._clock()
            room.votes[seat] = word  # nobody is told: students must not follow each other, and the teacher asks

    def play(self, code: str, key: str, playback: Playback) -> None:
        """Everyone's player does as the teacher's."""
        with self._lock:
            room = self._own(code, key)
            room.playback, room.played, room.beat = playback, self._clock(), room.beat + 1
        _tell(room)

    def shown(self, code: str, seat: str = "") -> dict[str, Any]:
        """What a student sees: the state, whether something is asked, the own vote, and since how long what is played. With
        the seat, a sign of life."""
        with self._lock:
            room = self._find(code)
            if seat in room.seen:
                room.seen[seat] = self._clock()
            return {
                "version": room.version,
                "state": dict(room.state),
                "asking": bool(room.asking),
                "vote": room.votes.get(seat, ""),
                "playback": None
                if room.playback is None
                else asdict(room.playback) | {"beat": room.beat, "since": round(self._clock() - room.played, 2)},
            }

    def tally(self, code: str, key: str) -> dict[str, Any]:
        """What the teacher sees: how many are there, and how many said what."""
        with self._lock:
            room = self._own(code, key)
            now = self._clock()
            words = list(room.votes.values())
            return {
                "present": sum(now - when <= PRESENT for when in room.seen.values()),
                "votes": {word: words.count(word) for word in room.words},
                "asking": bool(room.asking),
            }

    def packet(self, code: str, name: str) -> bytes:
        """A packet by its id."""
        with self._lock:
            packet = self._find(code).packets.get(name)
        if packet is None:
            raise Refused("This picture is gone: a newer one is on the screen.")
        return packet

    def listen(self, code: str, listener: Listener) -> Callable[[], None]:
        """Calls `listener`, from any thread, whenever the room changes. Returns how to stop."""
        with self._lock:
            room = self._find(code)
            if len(room.listeners) >= 2 * self._seats:
                raise Refused("Too many are listening to this room.")
            room.listeners.add(listener)

        def stop() -> None:
            with self._lock:
                room.listeners.discard(listener)

        return stop

    def _find(self, code: str) -> Room:
        self._expire()
        room = self._rooms.get(code)
        if room is None:
            raise Refused("There is no such room: it was closed, or the code is mistyped.")
        return room

    def _own(self, code: str, key: str) -> Room:
        room = self._find(code)
        if not secrets.compare_digest(room.key.encode(), key.encode()):
            raise Refused("Only the teacher who opened this room may do that.")
        room.touched = self._clock()
        return room

    def _expire(self) -> None:
        now = self._clock()
        self._rooms = {code: room for code, room in self._rooms.items() if now - room.touched <= self._idle}


def _code() -> str:
    return "".join(secrets.choice(_LETTERS) for _ in range(_LENGTH))


def _tell(room: Room) -> None:
    for listener in list(room.listeners):
        listener()
