"""Which units are done: a record beside the outputs, which are the truth."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from geoseg.errors import ConfigError, DataError, OutputError
from geoseg.files import (
    checksums_beside,
    read_checksums,
    sha256_of,
    sweep_below,
    why_not_written,
)
from geoseg.scale.lock import holding, wait_for_all
from geoseg.scale.unit import ATTEMPTS, Attempt, Failure, Unit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

__all__ = ["LOCK", "RECORD", "Manifest"]

RECORD = "manifest.sqlite"
LOCK = "manifest.lock"
_FENCE = "manifest.workers"
_TABLE = """
CREATE TABLE IF NOT EXISTS unit (
    name TEXT PRIMARY KEY,
    state TEXT NOT NULL CHECK (state IN ('done', 'failed')),
    inputs TEXT NOT NULL,
    output TEXT NOT NULL,         -- relative to the folder
    output_sha256 TEXT NOT NULL,
    result TEXT NOT NULL,         -- JSON
    attempts INTEGER NOT NULL,
    started REAL NOT NULL,        -- seconds since 1970
    seconds REAL NOT NULL,
    worker TEXT NOT NULL,
    error TEXT NOT NULL,
    aside INTEGER NOT NULL,       -- 1 where it failed by itself as often as it may
    run INTEGER NOT NULL          -- the last one that came to it
) WITHOUT ROWID
"""
# Units that the process of a run does itself and has not ended, and how often it was killed so.
_BEGUN = """
CREATE TABLE IF NOT EXISTS begun (name TEXT PRIMARY KEY, times INTEGER NOT NULL) WITHOUT ROWID
"""
_RUNS = """
CREATE TABLE IF NOT EXISTS run (
    number INTEGER PRIMARY KEY,
    started REAL NOT NULL,        -- seconds since 1970
    worker TEXT NOT NULL,         -- who handed the units out
    units INTEGER                 -- NULL where their number was not known
)
"""
# The units of a run, to find two alike; its pages are on the disk, so that memory does not grow.
_MET = """
CREATE TEMP TABLE met (name TEXT PRIMARY KEY, output TEXT NOT NULL UNIQUE) WITHOUT ROWID
"""
_WRITE = f"INSERT OR REPLACE INTO unit VALUES ({', '.join('?' * 13)})"
_WAIT_S = 60.0  # for one who reads the record
_LEAVE_S = 120.0  # for workers that have lost their run
_PASSED_OVER = 1000  # units, before they are written down


class Manifest:
    """The record of units in an output folder; close it, or use it in `with`.

    A unit is done when the record says so for the same inputs and its output is there. The record
    may be lost: outputs that their owner can recognise are then taken over (see `run_units`), the
    others made again.

    Raises:
        OutputError: the folder cannot be written, or the record cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = Path(os.path.abspath(folder))  # noqa: PTH100  without resolving links
        self._path = self.folder / RECORD
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{self.folder} cannot be made: {error.strerror}.") from error
        with self._telling():
            self._database = sqlite3.connect(self._path, timeout=_WAIT_S, isolation_level=None)
        with self._telling(close=True):
            # No write-ahead log: it needs memory shared with readers, which network disks lack.
            self._database.execute("PRAGMA journal_mode = DELETE")
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._database.execute(_TABLE)
            self._database.execute(_RUNS)
            self._database.execute(_BEGUN)
            self._database.execute(_MET)
        self._run, self._passed_over = 0, 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Keep what was recorded, and close."""
        try:
            self.keep()
        finally:
            self._database.close()

    @property
    def fence(self) -> Path:
        """A lock file that workers share while they do a unit."""
        return self.folder / _FENCE

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other runs out of the folder; what killed writers left in it is removed.

        Raises:
            OutputError: "held by pid N on host H", or workers of a killed run do not end.
        """
        with holding(self.folder / LOCK) as killed:
            wait_for_all(self.fence, most_s=_LEAVE_S)
            if killed:
                sweep_below(self.folder, but=RECORD)
            with self._telling():
                self._database.execute("DELETE FROM met")
            try:
                yield
            finally:
                self.keep()

    def meet(self, unit: Unit) -> None:
        """Take note of a unit that the run which holds the folder has come to.

        Raises:
            ConfigError: the run has met another one of its name, or with its output.
            OutputError: its output is not in the folder.
        """
        output = self.relative(unit)
        query = "SELECT name FROM met WHERE name = ? OR output = ?"
        with self._telling():
            alike = [name for (name,) in self._database.execute(query, (unit.name, output))]
            if not alike:
                self._database.execute("INSERT INTO met VALUES (?, ?)", (unit.name, output))
                return
        if unit.name in alike:
            raise ConfigError(f"Two units are named {unit.name}; give each a name of its own.")
        raise ConfigError(
            f"The units {alike[0]} and {unit.name} both write {unit.output}; give each an output "
            "of its own."
        )

    def is_done(self, name: str, inputs: str) -> bool:
        """Whether a unit is recorded as done with these inputs, and its output is there.

        An output that is SHA256SUMS stands for the files that it names.
        """
        row = self._row("SELECT state, inputs, output FROM unit WHERE name = ?", name)
        return row is not None and row[:2] == ("done", inputs) and _is_there(self.folder / row[2])

    def set_aside(self, name: str, inputs: str) -> Failure | None:
        """How a unit failed that was tried as often as it may be with these inputs; else None."""
        query = "SELECT inputs, error, attempts FROM unit WHERE name = ? AND aside"
        row = self._row(query, name)
        return None if row is None or row[0] != inputs else Failure(name, *row[1:])

    def pass_over(self, name: str) -> None:
        """Take note that the run leaves a unit as it is recorded, done or set aside."""
        with self._telling():
            self._open()
            self._database.execute("UPDATE unit SET run = ? WHERE name = ?", (self._run, name))
        self._passed_over += 1
        if self._passed_over % _PASSED_OVER == 0:
            self.keep()  # or who reads would have to wait

    def begin(self, worker: str, units: int | None) -> None:
        """Write down that a run has begun.

        Args:
            worker: who hands the units out.
            units: how many there are; None where nobody knows.

        Raises:
            OutputError: the record cannot be written.
        """
        query = "INSERT INTO run (started, worker, units) VALUES (?, ?, ?)"
        with self._telling():
            begun = self._database.execute(query, (time.time(), worker, units))
        self._run = begun.lastrowid or 0

    def end(self) -> None:
        """Write down that the run has come to all units, and so how many there are.

        Raises:
            OutputError: the record cannot be written.
        """
        query = "UPDATE run SET units = (SELECT count(*) FROM met) WHERE number = ?"
        with self._telling():
            self._database.execute(query, (self._run,))

    def take_up(self, name: str) -> None:
        """Take note that this process does a unit itself, in case that it dies over it.

        Raises:
            OutputError: the record cannot be written.
        """
        query = "INSERT INTO begun VALUES (?, 1) ON CONFLICT (name) DO UPDATE SET times = times + 1"
        with self._telling():
            self._database.execute(query, (name,))
        self.keep()

    def lay_down(self, name: str) -> None:
        """Take back that this process does a unit: it leaves it, alive.

        Raises:
            OutputError: the record cannot be written.
        """
        with self._telling():
            self._open()
            self._database.execute("UPDATE begun SET times = times - 1 WHERE name = ?", (name,))
            self._database.execute("DELETE FROM begun WHERE times = 0")

    def deaths(self, name: str) -> int:
        """How often the process of a run died while it did a unit itself."""
        row = self._row("SELECT times FROM begun WHERE name = ?", name)
        return 0 if row is None else int(row[0])

    def forget(self, names: Iterable[str]) -> None:
        """Take units out of the record and their files away, so that the next run does them again.

        What lies there may be damaged and look whole to who only sees that it is there.

        Raises:
            OutputError: the record or the folder cannot be written.
        """
        for name in names:
            row = self._row("SELECT output FROM unit WHERE name = ?", name)
            if row is not None:
                _remove(self.folder / row[0])
            with self._telling():
                self._database.execute("DELETE FROM unit WHERE name = ?", (name,))
                self._database.execute("DELETE FROM begun WHERE name = ?", (name,))

    def forgive_deaths(self) -> None:
        """Take back that runs died over units.

        Raises:
            OutputError: the record cannot be written.
        """
        with self._telling():
            self._database.execute("DELETE FROM begun")

    def gone(self) -> list[str]:
        """Names of units recorded as done of which a file is not there any more."""
        return [name for name, output, _ in self._done() if not _is_there(output)]

    def knows(self, name: str) -> bool:
        """Whether a unit is recorded, done or failed."""
        return self._row("SELECT 1 FROM unit WHERE name = ?", name) is not None

    def result(self, name: str) -> Any:  # noqa: ANN401  any JSON value
        """What the work of a unit returned; None where it is not recorded."""
        row = self._row("SELECT result FROM unit WHERE name = ?", name)
        return None if row is None else json.loads(row[0])

    def results(self) -> Iterator[tuple[str, Any]]:
        """Name and result of every unit that is recorded as done, by name."""
        rows = self._database.execute("SELECT name, result FROM unit WHERE state = 'done'")
        return ((name, json.loads(result)) for name, result in rows)

    def record(self, unit: Unit, tried: Attempt, *, attempts: int) -> None:
        """Write down how a unit ended; it is on the disk after `keep`.

        Raises:
            OutputError: the record cannot be written.
        """
        row = (
            unit.name,
            "failed" if tried.error else "done",
            unit.inputs,
            self.relative(unit),
            tried.sha256,
            tried.result,
            attempts,
            time.time() - tried.seconds,  # by the clock of this machine: those of workers differ
            tried.seconds,
            tried.worker,
            tried.error,
            bool(tried.error) and not tried.final and not tried.passing and attempts >= ATTEMPTS,
            self._run,
        )
        with self._telling():
            self._open()
            self._database.execute(_WRITE, row)
            if not tried.error:
                self._database.execute("DELETE FROM begun WHERE name = ?", (unit.name,))

    def keep(self) -> None:
        """Bring what was recorded to the disk: of one unit or of many at the price of one.

        Raises:
            OutputError: the record cannot be written.
        """
        with self._telling():
            if self._database.in_transaction:
                self._database.execute("COMMIT")

    def relative(self, unit: Unit) -> str:
        """The path of a unit's output in the folder.

        Raises:
            OutputError: it lies elsewhere.
        """
        output = Path(os.path.abspath(unit.output))  # noqa: PTH100  without resolving links
        if not output.is_relative_to(self.folder):
            raise OutputError(f"{unit.output} of unit {unit.name} is not in {self.folder}.")
        return output.relative_to(self.folder).as_posix()

    def counts(self) -> dict[str, int]:
        """How many units are recorded as done, and how many as failed."""
        rows = self._database.execute("SELECT state, count(*) FROM unit GROUP BY state")
        return {"done": 0, "failed": 0} | dict(rows)

    def failures(self) -> tuple[Failure, ...]:
        """The units that are recorded as failed, by name."""
        rows = self._database.execute(
            "SELECT name, error, attempts FROM unit WHERE state = 'failed' ORDER BY name"
        )
        return tuple(Failure(*row) for row in rows)

    def verify(self, on_unit: Callable[[int, int], None] | None = None) -> list[str]:
        """Names of units recorded as done whose output is missing or changed; reads all outputs.

        An output that is SHA256SUMS stands for the files that it names.

        Args:
            on_unit: is told how many are read, of how many.
        """
        done = self._done()
        damaged = []
        for number, (name, output, sha256) in enumerate(done, start=1):
            if not _is(output, sha256):
                damaged.append(name)
            if on_unit is not None:
                on_unit(number, len(done))
        return damaged

    def _done(self) -> list[tuple[str, Path, str]]:
        """Name, output and its checksum of every unit that is recorded as done, by name."""
        query = "SELECT name, output, output_sha256 FROM unit WHERE state = 'done' ORDER BY name"
        with self._telling():
            rows = self._database.execute(query).fetchall()
        return [(name, self.folder / output, sha256) for name, output, sha256 in rows]

    def _open(self) -> None:
        """Begin a transaction, which `keep` ends."""
        if not self._database.in_transaction:
            self._database.execute("BEGIN")

    def _row(self, query: str, name: str) -> tuple[Any, ...] | None:
        with self._telling():
            row: tuple[Any, ...] | None = self._database.execute(query, (name,)).fetchone()
        return row

    @contextmanager
    def _telling(self, *, close: bool = False) -> Iterator[None]:
        """Errors of the disk, and of a file that is no record, in a sentence."""
        try:
            yield
        except (sqlite3.Error, UnicodeDecodeError) as error:
            if close:
                self._database.close()
            reason = why_not_written(error, self.folder)
            raise OutputError(
                f"{self._path} could not be read or written: {reason}; if it is damaged, delete it "
                "and run again, the outputs stay."
            ) from error


def _named_by(output: Path) -> list[Path]:
    """The files that an output names if it is SHA256SUMS."""
    if output != checksums_beside(output):
        return []
    return [output.with_name(name) for name in read_checksums(output)]


def _is_there(output: Path) -> bool:
    try:
        return output.is_file() and all(path.is_file() for path in _named_by(output))
    except DataError:  # damaged, so that nobody knows what else there should be
        return False


def _remove(output: Path) -> None:
    named: list[Path] = []
    with suppress(DataError):
        named = _named_by(output)
    for path in [*named, output]:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(f"{path} cannot be removed: {error.strerror}.") from error


def _is(path: Path, sha256: str) -> bool:
    if not path.is_file() or sha256_of(path) != sha256:
        return False
    if path != checksums_beside(path):
        return True
    named = read_checksums(path)
    return all(_is(path.with_name(name), own) for name, own in named.items())
