"""The file of a project: its tables, and one writer at a time."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

from geoseg.errors import ConfigError, DataError, OutputError
from geoseg.files import why_not_written, writing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = ["Database", "create_database"]

_WAIT_S = 30.0  # for one who writes
_BUSY = ("SQLITE_BUSY", "SQLITE_LOCKED")  # how the names of errors begin that pass
_TABLES = """
CREATE TABLE about (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE round (
    number INTEGER PRIMARY KEY, made TEXT NOT NULL, strategy TEXT NOT NULL,
    settings TEXT NOT NULL,       -- JSON: what it was proposed with
    model TEXT NOT NULL,          -- SHA-256 of the heads that proposed, or ''
    metrics TEXT NOT NULL         -- JSON: of the heads that were trained on its answers, or {}
);
CREATE TABLE proposed (
    round INTEGER NOT NULL REFERENCES round (number), rank INTEGER NOT NULL, item TEXT NOT NULL,
    why TEXT NOT NULL, inclusion REAL NOT NULL CHECK (inclusion > 0 AND inclusion <= 1),
    probability REAL,             -- that the heads gave it, hidden from who answers
    PRIMARY KEY (round, item)
) WITHOUT ROWID;
CREATE INDEX proposed_item ON proposed (item);
CREATE TABLE answer (
    number INTEGER PRIMARY KEY AUTOINCREMENT, item TEXT NOT NULL, annotator TEXT NOT NULL,
    said TEXT NOT NULL, time TEXT NOT NULL, via TEXT NOT NULL, note TEXT NOT NULL,
    undone INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX answer_item ON answer (item, annotator);
CREATE TABLE outline (
    number INTEGER PRIMARY KEY AUTOINCREMENT, item TEXT NOT NULL, annotator TEXT NOT NULL,
    class TEXT NOT NULL, geometry TEXT NOT NULL,  -- GeoJSON
    image INTEGER NOT NULL,       -- number of the image that it was drawn on
    time TEXT NOT NULL, undone INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX outline_item ON outline (item);
CREATE TABLE sent (               -- by a page that may send it again: the row that it became
    key TEXT PRIMARY KEY, number INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE gold (item TEXT PRIMARY KEY, said TEXT NOT NULL) WITHOUT ROWID;
"""


def create_database(path: Path, about: Mapping[str, str]) -> None:
    """Write empty tables, and what a project is about; whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    with (
        writing(path) as aside,
        closing(sqlite3.connect(aside, isolation_level=None)) as database,
    ):
        database.execute("BEGIN")
        for statement in _TABLES.split(";"):
            database.execute(statement)
        database.executemany("INSERT INTO about VALUES (?, ?)", about.items())
        database.execute("COMMIT")


class Database:
    """An open file, for several threads and beside other processes.

    Raises:
        DataError: it is no such file, or is damaged.
        OutputError: another process writes for long.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        # Threads share the connection, and with it the transaction of whoever writes.
        self._turn = threading.RLock()
        # No write-ahead log: it needs memory shared with readers, which network disks lack.
        self._connection = sqlite3.connect(
            path, timeout=_WAIT_S, isolation_level=None, check_same_thread=False
        )
        try:
            # EXTRA: the folder is synced too once the journal is gone, or a power cut could bring
            # it back, and with it the state before the last answer.
            self.read("PRAGMA synchronous = EXTRA")
            self.about: dict[str, str] = dict(self.read("SELECT key, value FROM about"))
        except (DataError, sqlite3.Error) as error:
            self.close()
            cause = error.__cause__ or error
            raise DataError(f"{path} is damaged ({cause}); restore it from a copy.") from error
        except OutputError:  # it is sound, but another process writes
            self.close()
            raise

    def close(self) -> None:
        """Let go of the file."""
        with self._turn:
            self._connection.close()

    def read(self, query: str, values: tuple[Any, ...] = ()) -> list[Any]:
        """The rows that a query finds.

        Raises:
            DataError: the file cannot be read.
            OutputError: another process writes for long.
        """
        try:
            with self._turn:
                return self._connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            self._require_not_busy(error)
            raise DataError(
                f"{self.path} cannot be read ({error}); restore it from a copy."
            ) from error
        except UnicodeEncodeError:
            return []  # a name that is no text is in no row
        except UnicodeDecodeError as error:
            raise DataError(
                f"{self.path} holds what is no text ({error}); restore it from a copy."
            ) from error

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: on disk when the block ends, undone where it raises.

        Raises:
            OutputError: the file cannot be written.
            ConfigError: a name that is no text.
        """
        with self._turn:
            try:
                # At once, so that what was read before a write is still true.
                self._connection.execute("BEGIN IMMEDIATE")
                yield self._connection
                self._connection.execute("COMMIT")
            except sqlite3.Error as error:
                self._require_not_busy(error)
                reason = why_not_written(error, self.path.parent)
                raise OutputError(f"{self.path} cannot be written: {reason}.") from error
            except UnicodeEncodeError as error:
                raise ConfigError(f"{error.object!r} is no text; give another name.") from error
            finally:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    def _require_not_busy(self, error: sqlite3.Error) -> None:
        """Tell that another process writes where that is what went wrong."""
        if getattr(error, "sqlite_errorname", "").startswith(_BUSY):
            raise OutputError(
                f"Another process has been writing to {self.path} for {_WAIT_S:g} s; try again "
                "when it is done."
            ) from error
