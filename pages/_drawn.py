"""Pictures of results, made once for all who see them: a page that looks again at the same numbers builds nothing."""

from __future__ import annotations

import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from typing import Any, TypeVar

from ravine import Experiment, Result
from ravine.pictures import Pictures

_LOOKS = 16  # kept of one result,
_BYTES = 4 << 20  # of no more than so many together, but for the last

T = TypeVar("T")


class _Album:
    """The pictures of one result; whoever wants one that is being made waits for it."""

    def __init__(self) -> None:
        self._pictures: OrderedDict[Hashable, Any] = OrderedDict()
        self._lock = threading.Lock()

    def picture(self, look: Hashable, make: Callable[[], Any]) -> Any:
        with self._lock:
            if look not in self._pictures:
                self._pictures[look] = make()
            self._pictures.move_to_end(look)
            while len(self._pictures) > 1 and (
                len(self._pictures) > _LOOKS or sum(map(_size, self._pictures.values())) > _BYTES
            ):
                self._pictures.popitem(last=False)
            return self._pictures[look]


def _size(picture: Any) -> int:
    """Bytes of a picture, or of all pictures of a look."""
    if isinstance(picture, Mapping):
        return sum(map(_size, picture.values()))
    if isinstance(picture, (tuple, list)):
        return sum(map(_size, picture))
    return len(picture) if isinstance(picture, (str, bytes)) else 0


_albums: dict[int, _Album] = {}  # by the identity of a result, for as long as it lives
_opening = threading.Lock()


def shown(result: Result, asked: Experiment) -> Pictures:
    """The pictures of a result as an experiment of the same numbers asks for them."""
    if asked == result.experiment:  # then they have come with it from where it was computed
        return drawn(result, lambda: result.pictures)
    return drawn(result, lambda: result.asked_as(asked).pictures, asked.to_url())


def drawn(result: Result, make: Callable[[], T], *look: Hashable) -> T:
    """What `make` gives. It must depend on nothing but this very result and `look`."""
    with _opening:
        if id(result) not in _albums:
            _albums[id(result)] = _Album()
            weakref.finalize(result, _albums.pop, id(result))
        album = _albums[id(result)]
    picture: T = album.picture(look, make)
    return picture
