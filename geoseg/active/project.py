"""What people said of items, round by round: a database that loses no click."""

from __future__ import annotations

import json
import re
import sqlite3
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

from geoseg.errors import ConfigError, DataError, OutputError, nearest
from geoseg.files import why_not_written, writing

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

__all__ = [
    "UNKNOWN",
    "Answer",
    "Drawn",
    "Project",
    "Proposed",
    "Round",
    "create_project",
    "holds_project",
    "open_project",
]

UNKNOWN = "unknown"  # what a person says who has looked and cannot tell
Via = Literal["page", "qgis", "table", "simulated"]

_FILE = "project.sqlite"
_FORMAT = "1"
_WAIT_S = 30.0
_CLASS = re.compile("[a-z][a-z0-9_]{0,62}")
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
    said TEXT NOT NULL, time TEXT NOT NULL, via TEXT NOT NULL, undone INTEGER NOT NULL DEFAULT 0
);
CREATE INDEX answer_item ON answer (item, annotator);
CREATE TABLE outline (
    number INTEGER PRIMARY KEY AUTOINCREMENT, item TEXT NOT NULL, annotator TEXT NOT NULL,
    class TEXT NOT NULL, geometry TEXT NOT NULL,  -- GeoJSON
    image INTEGER NOT NULL,       -- number of the image that it was drawn on
    time TEXT NOT NULL, undone INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE gold (item TEXT PRIMARY KEY, said TEXT NOT NULL) WITHOUT ROWID;
"""


class Proposed(NamedTuple):
    """An item that somebody is asked to look at."""

    round: int
    rank: int  # from 1, in the order to look at
    item: str
    why: str  # what it was chosen for: audit, likely, doubtful, representative...
    inclusion: float  # chance to be proposed, by design; 1 where it was chosen and not drawn
    probability: float | None  # that the heads gave it, hidden until it is answered


class Drawn(NamedTuple):
    """An item of a proposal that is to be recorded."""

    item: str
    why: str
    inclusion: float
    probability: float | None = None


class Answer(NamedTuple):
    """What somebody said of an item."""

    number: int  # rises with time
    item: str
    annotator: str
    said: str  # a class of the project, or UNKNOWN
    time: str  # ISO 8601, UTC
    via: str


class Round(NamedTuple):
    """A proposal, and what was learned after it."""

    number: int  # from 1
    made: str  # ISO 8601, UTC
    strategy: str
    settings: Mapping[str, Any]
    model: str
    metrics: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Project:
    """The record of a labelling; close it, or use it in `with`.

    Answers are appended and never changed: one that is undone is marked so. The last word of a
    person on an item is what counts of him. Each method is one transaction that is on disk when it
    returns, so that several processes may work on one project.
    """

    folder: Path
    key: str  # of the project, in every file that leaves it
    classes: tuple[str, ...]  # two: absent, present; or more
    pool: str  # digest of the pool that it is about
    _database: sqlite3.Connection

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._database.close()

    def record_round(
        self,
        drawn: Sequence[Drawn],
        *,
        strategy: str,
        settings: Mapping[str, Any],
        model: str = "",
    ) -> int:
        """Record a proposal, in the order to look at; its number."""
        with self._writing() as database:
            (last,) = database.execute("SELECT coalesce(max(number), 0) FROM round").fetchone()
            row = (last + 1, _now(), strategy, json.dumps(dict(settings)), model, "{}")
            database.execute("INSERT INTO round VALUES (?, ?, ?, ?, ?, ?)", row)
            database.executemany(
                "INSERT INTO proposed VALUES (?, ?, ?, ?, ?, ?)",
                [
                    (last + 1, rank, one.item, one.why, one.inclusion, one.probability)
                    for rank, one in enumerate(drawn, start=1)
                ],
            )
        return int(last) + 1

    def record_metrics(self, number: int, metrics: Mapping[str, Any]) -> None:
        """Record what heads are worth that were trained on the answers of a round and before."""
        with self._writing() as database:
            database.execute(
                "UPDATE round SET metrics = ? WHERE number = ?", (json.dumps(dict(metrics)), number)
            )

    def record(self, item: str, annotator: str, said: str, *, via: Via) -> int:
        """Record an answer; its number.

        Raises:
            ConfigError: no class of the project, or no name of a person.
        """
        return self.record_all([(item, annotator, said)], via=via)[0]

    def record_all(self, answers: Sequence[tuple[str, str, str]], *, via: Via) -> list[int]:
        """Record (item, annotator, said) of many, all or none; their numbers."""
        for _, annotator, said in answers:
            self.require_class(said)
            if not annotator.strip():
                raise ConfigError("An answer has no annotator; say who gave it.")
        now = _now()
        with self._writing() as database:
            return [
                int(
                    database.execute(
                        "INSERT INTO answer (item, annotator, said, time, via) "
                        "VALUES (?, ?, ?, ?, ?)",
                        (*one, now, via),
                    ).lastrowid
                    or 0
                )
                for one in answers
            ]

    def undo(self, annotator: str) -> str | None:
        """Take back the last answer of a person; its item, or None where there is none."""
        with self._writing() as database:
            row = database.execute(
                "SELECT number, item FROM answer WHERE annotator = ? AND undone = 0 "
                "ORDER BY number DESC LIMIT 1",
                (annotator,),
            ).fetchone()
            if row is None:
                return None
            database.execute("UPDATE answer SET undone = 1 WHERE number = ?", row[:1])
        return str(row[1])

    def answers(self) -> list[Answer]:
        """The last word of each person on each item, by number."""
        rows = self._database.execute(
            "SELECT max(number), item, annotator, said, time, via FROM answer WHERE undone = 0 "
            "GROUP BY item, annotator ORDER BY 1"
        )
        return [Answer(*row) for row in rows]

    def proposed(self, number: int | None = None) -> list[Proposed]:
        """Items of a round by rank, or of all rounds."""
        rows = self._database.execute(
            "SELECT round, rank, item, why, inclusion, probability FROM proposed "
            "WHERE ?1 IS NULL OR round = ?1 ORDER BY round, rank",
            (number,),
        )
        return [Proposed(*row) for row in rows]

    def waiting(self, annotator: str) -> list[Proposed]:
        """What a person has not answered yet, the oldest round first; an item once."""
        rows = self._database.execute(
            "SELECT min(round), rank, item, why, inclusion, probability FROM proposed AS p "
            "WHERE NOT EXISTS (SELECT 1 FROM answer AS a WHERE a.item = p.item "
            "AND a.annotator = ? AND a.undone = 0) GROUP BY item ORDER BY 1, 2",
            (annotator,),
        )
        return [Proposed(*row) for row in rows]

    def rounds(self) -> list[Round]:
        """All, in order."""
        rows = self._database.execute(
            "SELECT number, made, strategy, settings, model, metrics FROM round ORDER BY number"
        )
        return [
            Round(number, made, strategy, json.loads(settings), model, json.loads(metrics))
            for number, made, strategy, settings, model, metrics in rows
        ]

    def set_gold(self, truth: Mapping[str, str]) -> None:
        """Items whose class is known for sure: they measure who answers.

        Raises:
            ConfigError: no class of the project.
        """
        for said in truth.values():
            self.require_class(said)
        with self._writing() as database:
            database.executemany("INSERT OR REPLACE INTO gold VALUES (?, ?)", truth.items())

    def gold(self) -> dict[str, str]:
        """Class by item."""
        return dict(self._database.execute("SELECT item, said FROM gold ORDER BY item"))

    def require_class(self, said: str) -> None:
        """Refuse what is neither a class of the project nor UNKNOWN.

        Raises:
            ConfigError: it is not.
        """
        known = (*self.classes, UNKNOWN)
        if said not in known:
            raise ConfigError(f"The project has no class {said!r}. {nearest(said, known)}")

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        try:
            # At once, so that what was read before a write is still true.
            self._database.execute("BEGIN IMMEDIATE")
            yield self._database
            self._database.execute("COMMIT")
        except BaseException as error:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            if isinstance(error, sqlite3.Error):
                reason = why_not_written(error, self.folder)
                raise OutputError(f"{self.folder / _FILE} cannot be written: {reason}.") from error
            raise


def holds_project(folder: Path) -> bool:
    """Whether a project lies in a folder."""
    return (folder / _FILE).is_file()


def create_project(folder: Path, *, classes: Sequence[str], pool: str) -> Project:
    """An empty project.

    Args:
        folder: where there is none yet.
        classes: two or more names; of two the first is the common one, as absent, present.
        pool: digest of the pool.

    Raises:
        ConfigError: a project lies there, or names that cannot be those of classes.
        OutputError: the folder cannot be written.
    """
    if holds_project(folder):
        raise ConfigError(f"{folder} holds a project already; give another folder.")
    _require_classes(classes)
    about = {
        "format": _FORMAT,
        "key": uuid.uuid4().hex,
        "classes": json.dumps(list(classes)),
        "pool": pool,
        "made": _now(),
    }
    with writing(folder / _FILE) as aside:
        database = sqlite3.connect(aside, isolation_level=None)
        database.execute("BEGIN")
        for statement in _TABLES.split(";"):
            database.execute(statement)
        database.executemany("INSERT INTO about VALUES (?, ?)", about.items())
        database.execute("COMMIT")
        database.close()
    return open_project(folder)


def open_project(folder: Path) -> Project:
    """The project of a folder.

    Raises:
        DataError: there is none, it is damaged, or another version wrote it.
    """
    path = folder / _FILE
    if not holds_project(folder):
        raise DataError(f"{folder} holds no project; make one with `geoseg active init`.")
    # One connection may be handed from thread to thread, as servers do; sqlite takes turns.
    database = sqlite3.connect(path, timeout=_WAIT_S, isolation_level=None, check_same_thread=False)
    try:
        database.execute("PRAGMA synchronous = FULL")
        about = dict(database.execute("SELECT key, value FROM about"))
        if about["format"] != _FORMAT:
            raise DataError(f"{path} was written by another version of geoseg; use that one.")
        return Project(
            folder=folder,
            key=about["key"],
            classes=tuple(json.loads(about["classes"])),
            pool=about["pool"],
            _database=database,
        )
    except (sqlite3.Error, KeyError, ValueError) as error:
        database.close()
        raise DataError(f"{path} is damaged ({error}); restore it from a copy.") from error


def _require_classes(classes: Sequence[str]) -> None:
    if len(classes) < 2 or len(set(classes)) < len(classes):
        raise ConfigError(
            f"The classes are {', '.join(classes) or 'none'}; name two or more, each once, as "
            "absent,present."
        )
    for name in classes:
        if not _CLASS.fullmatch(name) or name == UNKNOWN:
            raise ConfigError(
                f"{name!r} is no name of a class; take small letters, digits and _, and not "
                f"{UNKNOWN!r}, which is always there."
            )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
