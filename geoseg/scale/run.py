"""Do units: those that are missing, each once, whatever happens to the workers."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, Any

from geoseg.files import sha256_of
from geoseg.scale.cluster import Cluster
from geoseg.scale.crew import Crew, Serial
from geoseg.scale.hand import Hand
from geoseg.scale.processes import Processes
from geoseg.scale.unit import Attempt, Ended, Failure, Summary, Unit, this_worker

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from geoseg.scale.engine import Engine
    from geoseg.scale.hand import Held
    from geoseg.scale.manifest import Manifest

__all__ = ["run_units"]


def run_units(
    work: Callable[[Any], Any],
    units: Iterable[Unit],
    *,
    engine: Engine,
    manifest: Manifest,
    on_done: Callable[[Ended], None] | None = None,
    recognise: Callable[[Unit], Any] | None = None,
    total: int | None = None,
) -> Summary:
    """Do the units that are not done yet, each once.

    A `GeosegError` is final for its unit, until the next run. After any other error, and after the
    death of a worker, a unit is tried again, three times in all, then set aside, in later runs too:
    until its inputs change or `geoseg retry` forgives it. What is the fault of a machine, such as a
    full disk, is tried as often, and again by the next run. A unit over which the process of a run
    died itself (a serial one) is done after all others by the next. The others go on.

    Units are read as they are needed, so that memory does not grow with their number. What lies at
    the output of a unit that is to be done is removed before it is begun. Workers of a killed run
    that are still at work are waited for.

    Args:
        work: a function at the top level of a module, `work(argument) -> result`; it writes the
            output of the unit whole or not at all (`geoseg.files.writing`); its result is small
            and JSON.
        units: with names and outputs of their own.
        engine: who does the work.
        manifest: the record in the output folder; held while this runs.
        on_done: called in this process, once for every unit as it ends in any way.
        recognise: of an output that is there and in no record, because that was lost: what the work
            returned, if it is the output of this unit and its inputs, else None: made again.
        total: how many units there are at most, for `geoseg status`, until they are counted; None
            where nobody knows.

    Raises:
        OutputError: another run holds the folder, or workers of a killed one do not end; an output
            lies elsewhere or cannot be replaced; or the record cannot be written.
        ConfigError: two units have one name or one output, or an argument cannot be pickled for a
            worker, whenever that is come to; or the engine cannot be had.
        GeosegError: worker processes cannot begin, or the Dask scheduler has gone.
    """
    with manifest.held():
        manifest.begin(this_worker(), total)
        run = _Run(manifest, on_done or _ignore)
        missing = run.missing(units, recognise)
        first = next(missing, None)
        if first is None:  # then nobody needs to be called together
            manifest.end()
            return Summary(0, run.skipped, tuple(run.failed))
        crew = _crew(work, engine, manifest)
        hand = Hand(crew, chain([first], missing))
        try:
            for ends in hand.ends():
                run.close(ends)
        finally:
            crew.stop()
            hand.sweep()
        manifest.end()
        return Summary(run.done, run.skipped, tuple(run.failed))


def _crew(work: Callable[[Any], Any], engine: Engine, manifest: Manifest) -> Crew:
    if engine.kind == "serial":
        return Serial(work, manifest)
    if engine.kind == "processes":
        return Processes(work, manifest.fence, workers=engine.workers, threads=engine.threads)
    return Cluster(work, manifest.fence, engine)


def _ignore(_: Ended) -> None:
    """Nobody asked."""


class _Run:
    """What is counted, recorded and told."""

    def __init__(self, manifest: Manifest, on_done: Callable[[Ended], None]) -> None:
        self.done, self.skipped = 0, 0
        self.failed: list[Failure] = []
        self._manifest, self._on_done = manifest, on_done

    def missing(
        self, units: Iterable[Unit], recognise: Callable[[Unit], Any] | None
    ) -> Iterator[Unit]:
        """The units that are to be done; the others are counted.

        Those over which a run has died come last, or no run might get beyond them.
        """
        late: list[Unit] = []
        for unit in units:
            self._manifest.meet(unit)
            done = self._manifest.is_done(unit.name, unit.inputs)
            if not done and recognise is not None:
                done = self._adopt(unit, recognise)
            if not done:
                aside = self._manifest.set_aside(unit.name, unit.inputs)
                if aside is not None:
                    self._leave(unit, aside)
                elif self._manifest.deaths(unit.name):
                    late.append(unit)
                else:
                    yield unit
                continue
            self.skipped += 1
            self._manifest.pass_over(unit.name)
            result = self._manifest.result(unit.name)
            self._on_done(Ended(unit=unit, state="skipped", result=result))
        yield from sorted(late, key=lambda unit: self._manifest.deaths(unit.name))

    def close(self, ends: list[tuple[Held, Attempt]]) -> None:
        """Record the ends of units, then tell of them."""
        ends = [(held, _seen(held.unit, tried)) for held, tried in ends]
        for held, tried in ends:
            self._manifest.record(held.unit, tried, attempts=held.attempts)
        self._manifest.keep()
        for held, tried in ends:
            if tried.error:
                self.failed.append(Failure(tried.name, tried.error, held.attempts))
            else:
                self.done += 1
            self._on_done(_ended(held.unit, tried))

    def _leave(self, unit: Unit, aside: Failure) -> None:
        """Tell of a unit that is not tried again."""
        told = (
            f"{aside.error} It was tried {aside.attempts} times and is set aside; `geoseg retry "
            f"{self._manifest.folder}` forgives it."
        )
        self.failed.append(aside)
        self._manifest.pass_over(aside.name)
        self._on_done(Ended(unit=unit, state="failed", error=told))

    def _adopt(self, unit: Unit, recognise: Callable[[Unit], Any]) -> bool:
        """Record an output that is there and in no record, if it is recognised."""
        if self._manifest.knows(unit.name) or not unit.output.is_file():
            return False
        result = recognise(unit)
        if result is None:
            return False
        found = Attempt(
            name=unit.name,
            worker=this_worker(),
            started=time.time(),
            result=json.dumps(result),
            sha256=sha256_of(unit.output),
        )
        self._manifest.record(unit, found, attempts=0)
        return True


def _seen(unit: Unit, tried: Attempt) -> Attempt:
    """The attempt, as failed where its output is not seen from here."""
    if tried.error or unit.output.is_file():
        return tried
    with suppress(OSError):
        list(unit.output.parent.iterdir())  # a network disk may keep what it knew of a file
    if unit.output.is_file():
        return tried
    told = (
        f"{unit.output} was written by {tried.worker} and is not seen here; give a folder on a "
        "disk that all workers share."
    )
    return replace(tried, error=told)


def _ended(unit: Unit, tried: Attempt) -> Ended:
    return Ended(
        unit=unit,
        state="failed" if tried.error else "done",
        result=json.loads(tried.result),
        error=tried.error,
        seconds=tried.seconds,
        worker=tried.worker,
    )
