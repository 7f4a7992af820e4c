"""The units in hand: with a worker, or waiting for another attempt."""

from __future__ import annotations

import heapq
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from geoseg.errors import OutputError
from geoseg.files import sweep
from geoseg.scale.crew import Crew, Lost
from geoseg.scale.unit import ATTEMPTS, Attempt, Unit

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["Hand", "Held"]

_BACKOFF_S = (0.5, 4.0)  # before the second and the third attempt
_WAITING = 4  # as many times the room of a crew may wait for another attempt
_LOOK_EVERY_S = 1.0


@dataclass(slots=True)
class Held:
    """A unit in hand, how often it was tried, and whether it is suspected of killing workers."""

    unit: Unit
    attempts: int = 0
    suspect: bool = False


class Hand:
    """Hands units to a crew, and again after errors that may pass.

    A unit whose worker died may have been killed by another one, which filled the memory or went
    before it at a worker. Its last attempt is therefore made with nobody else at work: what is set
    aside has killed a worker by itself.

    Every attempt begins without the output of earlier ones: what is there after it is its own.
    """

    def __init__(self, crew: Crew, units: Iterator[Unit]) -> None:
        self._crew, self._units = crew, units
        self._left = True
        self._working: dict[str, Held] = {}
        self._waiting: list[tuple[float, str, Held]] = []  # a heap by when it is due
        self._alone = False

    def ends(self) -> Iterator[list[tuple[Held, Attempt]]]:
        """Units as they end for good, done or failed after the last attempt, as many as there are.

        While the caller is busy with some, more may end: the slower it is, the more come together.
        """
        while True:
            self._hand_out()
            if not (self._left or self._working or self._waiting):
                return
            if not self._working:
                time.sleep(self._patience_s())
                continue
            yield [
                (held, tried)
                for held, tried in map(self._settle, self._crew.ended(self._patience_s()))
                if not self._is_put_back(held, tried)
            ]

    def sweep(self) -> None:
        """Remove what ended workers left beside the outputs of units in hand."""
        for held in self._working.values():
            sweep(held.unit.output)

    def _hand_out(self) -> None:
        """Those that are due again, then new ones, while there is room."""
        while self._may_take():
            if self._is_due():
                self._take(heapq.heappop(self._waiting)[2])
                continue
            full = len(self._waiting) >= _WAITING * self._crew.room
            unit = None if full or not self._left else next(self._units, None)
            if unit is None:
                self._left = full and self._left
                return
            self._take(Held(unit))

    def _may_take(self) -> bool:
        if self._alone or len(self._working) >= self._crew.room:
            return False
        return not (self._working and self._is_due() and _must_be_alone(self._waiting[0][2]))

    def _is_due(self) -> bool:
        return bool(self._waiting) and self._waiting[0][0] <= time.monotonic()

    def _take(self, held: Held) -> None:
        self._working[held.unit.name] = held
        self._alone = _must_be_alone(held)
        _clear(held.unit.output)
        self._crew.take(held.unit)

    def _settle(self, end: Attempt | Lost) -> tuple[Held, Attempt]:
        held = self._working.pop(end.name)
        self._alone = False
        return held, _count(held, end)

    def _is_put_back(self, held: Held, tried: Attempt) -> bool:
        """Let a unit wait for another attempt, if there is to be one."""
        if not tried.error or tried.final or held.attempts >= ATTEMPTS:
            return False
        due = time.monotonic() + _BACKOFF_S[held.attempts - 1]
        heapq.heappush(self._waiting, (due, held.unit.name, held))
        return True

    def _patience_s(self) -> float:
        """How long to wait for something to happen."""
        if not self._waiting:
            return _LOOK_EVERY_S
        return min(_LOOK_EVERY_S, max(self._waiting[0][0] - time.monotonic(), 0.01))


def _clear(output: Path) -> None:
    try:
        output.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{output} cannot be replaced: {error.strerror}.") from error


def _must_be_alone(held: Held) -> bool:
    return held.suspect and held.attempts == ATTEMPTS - 1


def _count(held: Held, end: Attempt | Lost) -> Attempt:
    """Count an attempt; a death as one that failed."""
    if isinstance(end, Attempt):
        held.attempts += 1
        return end
    most = ATTEMPTS if _must_be_alone(held) else ATTEMPTS - 1
    held.attempts, held.suspect = min(held.attempts + end.times, most), True
    sweep(held.unit.output)
    return Attempt(name=end.name, worker="", started=time.time(), error=end.error)
