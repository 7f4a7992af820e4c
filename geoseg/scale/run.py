"""Do units: those that are missing, each once, whatever happens to the workers."""

from __future__ import annotations

import heapq
import json
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from geoseg.errors import ConfigError
from geoseg.files import sha256_of, sweep
from geoseg.scale.cluster import Cluster
from geoseg.scale.crew import Crew, Lost, Serial
from geoseg.scale.processes import Processes
from geoseg.scale.unit import Attempt, Ended, Failure, Summary, Unit, this_worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from geoseg.scale.engine import Engine
    from geoseg.scale.manifest import Manifest

__all__ = ["run_units"]

_ATTEMPTS = 3
_BACKOFF_S = (0.5, 4.0)  # before the second and the third attempt
_WAITING = 4  # times those that are worked on may wait for another attempt
_LOOK_EVERY_S = 1.0


def run_units(
    work: Callable[[Any], Any],
    units: Iterable[Unit],
    *,
    engine: Engine,
    manifest: Manifest,
    on_done: Callable[[Ended], None] | None = None,
    recognise: Callable[[Unit], Any] | None = None,
) -> Summary:
    """Do the units that are not done yet, each once.

    A `GeosegError` is final for its unit; after any other error, and after the death of a worker,
    a unit is tried again, three times in all, then set aside; the others go on. Units are read as
    they are needed, so memory does not grow with their number.

    Args:
        work: a function at the top level of a module, `work(argument) -> result`; it writes the
            output of the unit whole or not at all (`geoseg.files.writing`); the result is small
            and JSON.
        units: with names and outputs of their own.
        engine: who does the work.
        manifest: the record in the output folder; held while this runs.
        on_done: called here, in this process, once for every unit as it ends in any way.
        recognise: for an output that is there but not in the record, which was lost: what the work
            returned if it is the output of this unit and its inputs, else None (it is made again).

    Raises:
        OutputError: another run holds the folder, or the record cannot be written.
        ConfigError: two units have one name, or the engine cannot be had.
    """
    with manifest.held():
        run = _Run(manifest, on_done or _ignore)
        crew = _crew(work, engine)
        try:
            run.go(crew, run.missing(units, recognise))
        finally:
            crew.stop()
            run.sweep()
        return Summary(run.done, run.skipped, tuple(run.failed))


def _crew(work: Callable[[Any], Any], engine: Engine) -> Crew:
    if engine.kind == "serial":
        return Serial(work)
    if engine.kind == "processes":
        return Processes(work, workers=engine.workers, threads=engine.threads)
    return Cluster(work, engine)


def _ignore(ended: Ended) -> None:
    """Nobody asked."""


@dataclass
class _Held:
    """A unit that is in hand, and how often it was tried."""

    unit: Unit
    attempts: int = 0


class _Run:
    """The units in hand: with a worker, or waiting for another attempt."""

    def __init__(self, manifest: Manifest, on_done: Callable[[Ended], None]) -> None:
        self.done, self.skipped = 0, 0
        self.failed: list[Failure] = []
        self._manifest, self._on_done = manifest, on_done
        self._working: dict[str, _Held] = {}
        self._waiting: list[tuple[float, str, _Held]] = []  # a heap by when it is due

    def missing(
        self, units: Iterable[Unit], recognise: Callable[[Unit], Any] | None
    ) -> Iterator[Unit]:
        """The units that are to be done; the others are counted."""
        for unit in units:
            done = self._manifest.is_done(unit.name, unit.inputs)
            if done or (recognise is not None and self._adopt(unit, recognise)):
                self._skip(unit)
            else:
                yield unit

    def go(self, crew: Crew, units: Iterator[Unit]) -> None:
        """Do them."""
        left = True
        while left or self._working or self._waiting:
            self._retry(crew)
            left = self._fill(crew, units) if left else False
            for end in crew.ended(self._patience()) if self._working else self._pause():
                self._settle(end)

    def sweep(self) -> None:
        """Remove what ended workers left beside the outputs of units in hand."""
        for held in self._working.values():
            sweep(held.unit.output)

    def _fill(self, crew: Crew, units: Iterator[Unit]) -> bool:
        """Hand out new units while there is room; whether there may be more."""
        while len(self._working) < crew.room and len(self._waiting) < _WAITING * crew.room:
            unit = next(units, None)
            if unit is None:
                return False
            self._take(crew, _Held(unit))
        return True

    def _retry(self, crew: Crew) -> None:
        while self._due() and len(self._working) < crew.room:
            self._take(crew, heapq.heappop(self._waiting)[2])

    def _due(self) -> bool:
        return bool(self._waiting) and self._waiting[0][0] <= time.monotonic()

    def _take(self, crew: Crew, held: _Held) -> None:
        name = held.unit.name
        if name in self._working or any(name == other for _, other, _ in self._waiting):
            raise ConfigError(f"Two units are named {name}; a name is that of one unit.")
        self._manifest.relative(held.unit)
        self._working[name] = held
        crew.take(held.unit)

    def _patience(self) -> float:
        """How long to wait for the next end, s."""
        if not self._waiting:
            return _LOOK_EVERY_S
        return min(_LOOK_EVERY_S, max(self._waiting[0][0] - time.monotonic(), 0.0))

    def _pause(self) -> list[Attempt | Lost]:
        time.sleep(self._patience() if self._waiting else 0.0)
        return []

    def _settle(self, end: Attempt | Lost) -> None:
        held = self._working.pop(end.name)
        if isinstance(end, Lost):
            sweep(held.unit.output)
            held.attempts += end.times
            tried = Attempt(name=end.name, worker="", started=time.time(), error=end.error)
        else:
            held.attempts += 1
            tried = end
        if tried.error and not tried.final and held.attempts < _ATTEMPTS:
            due = time.monotonic() + _BACKOFF_S[held.attempts - 1]
            heapq.heappush(self._waiting, (due, end.name, held))
            return
        self._close(held, tried)

    def _close(self, held: _Held, tried: Attempt) -> None:
        self._manifest.record(held.unit, tried, attempts=held.attempts)
        if tried.error:
            self.failed.append(Failure(tried.name, tried.error, held.attempts))
        else:
            self.done += 1
        self._on_done(
            Ended(
                name=tried.name,
                state="failed" if tried.error else "done",
                result=json.loads(tried.result),
                error=tried.error,
                seconds=tried.seconds,
                worker=tried.worker,
            )
        )

    def _skip(self, unit: Unit) -> None:
        self.skipped += 1
        result = self._manifest.result(unit.name)
        self._on_done(Ended(name=unit.name, state="skipped", result=result))

    def _adopt(self, unit: Unit, recognise: Callable[[Unit], Any]) -> bool:
        """Record an output that is there and in no record, if it is recognised."""
        if self._manifest.knows(unit.name) or not unit.output.is_file():
            return False
        result = recognise(unit)
        if result is None:
            return False
        found = Attempt(name=unit.name, worker=this_worker(), started=time.time())
        found = replace(found, result=json.dumps(result), sha256=sha256_of(unit.output))
        self._manifest.record(unit, found, attempts=0)
        return True
