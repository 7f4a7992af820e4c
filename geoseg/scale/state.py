"""What records in folders say of work, for people: read, while runs go on or after they ended."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from geoseg.errors import OutputError
from geoseg.scale.lock import holder
from geoseg.scale.manifest import LOCK, RECORD
from geoseg.scale.unit import Failure

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["WorkState", "find_records", "read_state"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkState:
    """How far the work in a folder is."""

    folder: Path
    done: int  # of the units that the last run has come to
    failed: tuple[Failure, ...]  # of these
    earlier: int  # recorded by earlier runs, of other settings or not come to yet
    killed: tuple[str, ...]  # units over which the process of a run died; none while one goes on
    units: int | None  # of the last run; None where it did not know
    held_by: str  # "pid N on host H" of the run that goes on; '' where none does
    per_hour: float | None  # units that the last run ended; None where it did none

    @property
    def left_s(self) -> float | None:
        """Seconds until all are done, as the last run goes on; None where nobody knows."""
        if self.units is None or not self.per_hour:
            return None
        return max(self.units - self.done - len(self.failed), 0) / self.per_hour * 3600


def find_records(folder: Path) -> Iterator[Path]:
    """Folders with a record of work, from this one down, each before those below it.

    Raises:
        OutputError: there is none.
    """
    found = False
    for below, folders, files in os.walk(folder):
        folders.sort()
        if RECORD in files:
            found = True
            yield Path(below)
    if not found:
        raise OutputError(
            f"{folder} holds no record of work; name the folder that a run of geoseg writes into."
        )


def read_state(folder: Path) -> WorkState:
    """How far the work in a folder is; it may go on.

    Raises:
        OutputError: its record cannot be read.
    """
    path = folder / RECORD
    try:
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as record:
            run, started, units = _last_run(record)
            rows = record.execute(
                "SELECT name, error, attempts FROM unit WHERE state = 'failed' AND run = ? "
                "ORDER BY name",
                (run,),
            )
            failed = tuple(Failure(*row) for row in rows)
            done, earlier = record.execute(
                "SELECT count(*) FILTER (WHERE state = 'done' AND run = :run), "
                "count(*) FILTER (WHERE run != :run) FROM unit",
                {"run": run},
            ).fetchone()
            killed = record.execute("SELECT name FROM begun ORDER BY name").fetchall()
            per_hour = _per_hour(record, run, started) if run else None
    except (sqlite3.Error, UnicodeDecodeError) as error:
        raise OutputError(f"{path} cannot be read as a record of work ({error}).") from error
    held_by = holder(folder / LOCK)
    return WorkState(
        folder=folder,
        done=done,
        failed=failed,
        earlier=earlier,
        killed=() if held_by else tuple(name for (name,) in killed),
        units=units,
        held_by=held_by,
        per_hour=per_hour,
    )


def _last_run(record: sqlite3.Connection) -> tuple[int, float, int | None]:
    """Its number, when it began, and how many units it was given."""
    query = "SELECT number, started, units FROM run ORDER BY number DESC LIMIT 1"
    return record.execute(query).fetchone() or (0, 0.0, None)


def _per_hour(record: sqlite3.Connection, run: int, started: float) -> float | None:
    """How many units a run has ended in an hour, without those that it took over."""
    count, last = record.execute(
        "SELECT count(*), max(started + seconds) FROM unit "
        "WHERE run = ? AND started >= ? AND attempts > 0",
        (run, started),
    ).fetchone()
    seconds = min(last or started, time.time()) - started
    return count / seconds * 3600 if count and seconds > 0 else None
