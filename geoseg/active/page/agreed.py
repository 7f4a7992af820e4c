"""How far a person agrees with others, as a page tells it."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from geoseg.active.answers import agreements

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from geoseg.active.project import Answer

__all__ = ["Agreed"]

_FRESH_S = 5.0  # that is told again without a count: a page asks after every few answers
_MOST = 100  # people who are kept


class Agreed:
    """Agreement of people of a project, counted every few seconds at most."""

    def __init__(self, classes: Sequence[str]) -> None:
        """Args: classes: of the project."""
        self._classes = classes
        self._kept: dict[str, tuple[float, list[dict[str, Any]]]] = {}

    def of(self, annotator: str, answers: Callable[[], Sequence[Answer]]) -> list[dict[str, Any]]:
        """How far a person says what each other one says, most places in common first.

        Args:
            annotator: the person.
            answers: gives the first of each person on each place, when it is counted.
        """
        now = time.monotonic()
        before = self._kept.get(annotator)
        if before is not None and now - before[0] < _FRESH_S:
            return before[1]
        found = self._counted(annotator, answers())
        if len(self._kept) >= _MOST:
            self._kept.clear()
        self._kept[annotator] = now, found
        return found

    def _counted(self, annotator: str, answers: Sequence[Answer]) -> list[dict[str, Any]]:
        own = {one.item for one in answers if one.annotator == annotator}
        people: dict[str, list[Answer]] = {}
        for one in answers:
            if one.item in own:
                people.setdefault(one.annotator, []).append(one)
        mine = people.pop(annotator, [])
        pairs = [
            (name, pair)
            for name, theirs in sorted(people.items())
            for pair in agreements([*mine, *theirs], self._classes)
            if pair.items
        ]
        found = [
            {
                "with": name,
                "places": pair.items,
                "share": pair.share.value,
                "kappa": pair.kappa.value,
            }
            for name, pair in pairs
        ]
        return sorted(found, key=lambda one: -one["places"])
