"""What a page shows at once: computed while its visitor waits, for one visitor at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import suppress

from ravine.crew import Failed, Lost
from ravine.experiment import Experiment
from ravine.jobs import Place, Steps
from ravine.result import Result
from ravine.store import Store
from ravine.turns import Turns
from ravine.worker import said


class Desk:
    """One place where short computations take turns, in the order in which their visitors came; a long one lets the others
    in at each of its results. What gives no sign of life for `silence` seconds is ended, for all others wait for it.

    One at a time, since torch gives the interpreter away at each of thousands of tiny operations: several at once in this
    process would spend most of their time on getting it back.
    """

    def __init__(self, store: Store, hire: Callable[[], Place], silence: float = 10.0):
        self._store, self._hire, self._silence = store, hire, silence
        self._turns = Turns()
        self._place: Place | None = None

    def open(self) -> None:
        """Start the place before anybody waits for it."""
        with self._turns, suppress(OSError):
            self._here()

    def result(self, experiment: Experiment) -> Result:
        """The complete result. Raises Failed, with a sentence, for what fails or never ends."""
        found = self._store.get(experiment)
        if found is not None:
            return dataclasses.replace(found, experiment=experiment)  # a key leaves out what only changes the looks
        try:
            return self._computed(experiment)
        except Lost:  # once it may be chance
            try:
                return self._computed(experiment)
            except Lost as loss:
                raise Failed(f"The process that computed it has ended twice: {loss}.") from loss

    def _computed(self, experiment: Experiment) -> Result:
        begun: tuple[Place, Steps] | None = None
        while True:
            with self._turns:
                place = self._here()
                if begun is None or begun[0] is not place:
                    begun = place, place.steps(experiment)
                result = self._turn(begun[1])
            if result.complete:
                return result

    def _turn(self, steps: Steps) -> Result:
        """Results until it is complete, or rests and others may come in between."""
        steps.silent_for = self._bored
        try:
            result = next(steps)
            while not (result.complete or steps.resting):
                result = next(steps)
            if result.complete:
                steps.close()
            return result
        except BaseException as failure:
            steps.close()  # as long as it is our turn: nobody is to wait for what we have left behind
            if isinstance(failure, (Failed, Lost)) or not isinstance(failure, Exception):
                raise
            raise Failed(said(failure)) from failure

    def _here(self) -> Place:
        if self._place is not None and self._place.ended:
            self._place.close()
            self._place = None
        if self._place is None:
            self._place = self._hire()
        return self._place

    def _bored(self, seconds: float) -> None:
        if seconds >= self._silence:
            raise Failed(
                f"This gave no sign of progress for {seconds:.0f} s, and was stopped, for others wait for their turn. Fewer "
                "steps or a simpler rule take less."
            )
