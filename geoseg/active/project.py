"""What people said of items, round by round: a database that loses no click."""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self

from geoseg.active.database import Database, create_database
from geoseg.active.record import (
    SEEDS,
    UNKNOWN,
    Answer,
    Drawn,
    Outline,
    Proposed,
    Round,
    Said,
    Via,
    polygon_of,
)
from geoseg.errors import ConfigError, DataError, nearest

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

__all__ = [
    "UNKNOWN",
    "Answer",
    "Drawn",
    "Outline",
    "Project",
    "Proposed",
    "Round",
    "Said",
    "Via",
    "create_project",
    "holds_project",
    "open_project",
    "require_classes",
]

_FILE = "project.sqlite"
_FORMAT = "1"
_LONGEST = 100  # characters of the name of a person
_MOST = 2**63 - 1  # that a number of a row can be
_CLASS = re.compile("[a-z][a-z0-9_]{0,62}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Project:
    """The record of a labelling; close it, or use it in `with`.

    Answers are appended and never changed: one that is undone is marked so. The last word of a
    person on an item is what counts of him. Each method is one transaction that is on disk when it
    returns, so that several threads and processes may work on one project.
    """

    folder: Path
    key: str  # of the project, in every file that leaves it
    classes: tuple[str, ...]  # two: absent, present; or more
    pool: str  # digest of the pool that it is about
    _database: Database

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._database.close()

    def record_round(
        self,
        drawn: Sequence[Drawn],
        *,
        strategy: str,
        settings: Mapping[str, Any],
        model: str = "",
    ) -> int:
        """Record a proposal, in the order to look at; its number.

        Raises:
            ConfigError: an item comes twice, or has no chance to be drawn.
        """
        items = {one.item for one in drawn}
        if len(items) < len(drawn) or not all(0 < one.inclusion <= 1 for one in drawn):
            raise ConfigError(
                "A round proposes each item once, with an inclusion above 0 and at most 1."
            )
        with self._database.writing() as database:
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
        """Record what heads are worth that were trained on the answers of a round and before.

        Raises:
            ConfigError: no such round.
        """
        row = (json.dumps(dict(metrics)), number)
        with self._database.writing() as database:
            done = database.execute("UPDATE round SET metrics = ? WHERE number = ?", row)
            if not done.rowcount:
                raise ConfigError(f"There is no round {number}; propose first.")

    def record(self, item: str, annotator: str, said: str, *, via: Via, sent: str = "") -> int:
        """Record an answer; its number.

        Args:
            item: its id.
            annotator: who answers.
            said: a class of the project, or UNKNOWN.
            via: the way it came.
            sent: a key of its own; the same once more changes nothing, and gives the same number.

        Raises:
            ConfigError: no class of the project, or no name of a person.
        """
        one = self._checked(Said(item, annotator, said))
        if one.annotator == SEEDS:
            raise ConfigError(
                f"{SEEDS!r} is what labels are said by that were there before; take another name."
            )
        with self._database.writing() as database:
            return _once(database, sent, lambda: _insert_answer(database, one, via))

    def record_all(self, answers: Sequence[Said | tuple[str, str, str]], *, via: Via) -> list[int]:
        """Record what was said of many, all or none; their numbers.

        Raises:
            ConfigError: no class of the project, or no name of a person.
        """
        taken = [self._checked(Said(*one)) for one in answers]
        with self._database.writing() as database:
            return [_insert_answer(database, one, via) for one in taken]

    def record_new(self, answers: Sequence[Said], *, via: Via) -> int:
        """Record what a person has not yet said in this way, all or none; how many that is.

        So a file that is taken in again changes nothing, whatever the person said elsewhere since,
        and whether or not it was undone.

        Raises:
            ConfigError: no class of the project, or no name of a person.
        """
        taken = [self._checked(one) for one in answers]
        count = 0
        with self._database.writing() as database:
            for one in taken:
                before = database.execute(
                    "SELECT said, note FROM answer WHERE item = ? AND annotator = ? AND via = ? "
                    "ORDER BY number DESC LIMIT 1",
                    (one.item, one.annotator, via),
                ).fetchone()
                if before != (one.said, one.note):
                    _insert_answer(database, one, via)
                    count += 1
        return count

    def undo(self, annotator: str, number: int | None = None) -> str | None:
        """Take back an answer of a person, or the last; its item, or None where there is none."""
        return self._undo("answer", annotator, number)

    def answers(self, item: str | None = None) -> list[Answer]:
        """The last word of each person on each item, or on one, by number."""
        where, values = ("", ()) if item is None else ("AND item = ? ", (item,))
        rows = self._database.read(
            "SELECT max(number), item, annotator, said, time, via, note FROM answer "
            f"WHERE undone = 0 {where}GROUP BY item, annotator ORDER BY 1",
            values,
        )
        return [Answer(*row) for row in rows]

    def first_answers(self) -> list[Answer]:
        """What each person said of an item before the page told him more, by number.

        Of items on which a word of his stands; what he took back in between counts too.
        """
        rows = self._database.read(
            "SELECT min(number), item, annotator, said, time, via, note FROM answer AS a "
            "WHERE EXISTS (SELECT 1 FROM answer AS b WHERE b.item = a.item "
            "AND b.annotator = a.annotator AND b.undone = 0) GROUP BY item, annotator ORDER BY 1"
        )
        return [Answer(*row) for row in rows]

    def record_outline(
        self,
        item: str,
        annotator: str,
        class_: str,
        geometry: Mapping[str, Any],
        image: int,
        *,
        sent: str = "",
        instead: int | None = None,
    ) -> int:
        """Record an outline; its number. A person may draw several on an image.

        Args:
            item: its id.
            annotator: who drew it.
            class_: of the project; nobody outlines what he cannot tell.
            geometry: GeoJSON Polygon or MultiPolygon in pixels of the image, from the outer corner
                of its first pixel, x right and y down.
            image: number of the image of the item, from 0.
            sent: a key of its own; the same once more changes nothing, and gives the same number.
            instead: number of an outline that the same person drew, and now mends.

        Raises:
            ConfigError: no class of the project, no name of a person, no number of an image or of
                an outline.
            LabelError: no polygon, or one that has no area or crosses itself.
        """
        one = self._checked(Said(item, annotator, class_))
        if class_ == UNKNOWN:
            raise ConfigError(f"An outline is of a class, not of {UNKNOWN!r}; name the class.")
        if not 0 <= image <= _MOST:
            raise ConfigError(f"There is no image {image}; they are counted from 0.")
        if instead is not None and not 0 < instead <= _MOST:
            raise ConfigError(f"There is no outline {instead}; give the number of one.")
        row = (item, one.annotator, class_, json.dumps(polygon_of(geometry)), image, _now())
        with self._database.writing() as database:
            database.execute(
                "UPDATE outline SET undone = 1 WHERE number = ? AND item = ? AND annotator = ?",
                (instead, item, one.annotator),
            )
            return _once(database, sent, lambda: _insert_outline(database, row))

    def undo_outline(self, annotator: str, number: int | None = None) -> str | None:
        """Take back an outline of a person, or the last; its item, or None where there is none."""
        return self._undo("outline", annotator, number)

    def outlines(self, item: str | None = None) -> list[Outline]:
        """The outlines that stand, of an item or of all, by number."""
        where, values = ("", ()) if item is None else ("AND item = ? ", (item,))
        rows = self._database.read(
            "SELECT number, item, annotator, class, geometry, image, time FROM outline "
            f"WHERE undone = 0 {where}ORDER BY number",
            values,
        )
        return [Outline(*row)._replace(geometry=json.loads(row[4])) for row in rows]

    def proposed(self, number: int | None = None) -> list[Proposed]:
        """Items of a round by rank, or of all rounds."""
        rows = self._database.read(
            "SELECT round, rank, item, why, inclusion, probability FROM proposed "
            "WHERE ?1 IS NULL OR round = ?1 ORDER BY round, rank",
            (number,),
        )
        return [Proposed(*row) for row in rows]

    def waiting(self, annotator: str) -> list[Proposed]:
        """What a person has not answered yet, the oldest round first; an item once."""
        rows = self._database.read(
            "SELECT min(round), rank, item, why, inclusion, probability FROM proposed AS p "
            "WHERE NOT EXISTS (SELECT 1 FROM answer AS a WHERE a.item = p.item "
            "AND a.annotator = ? AND a.undone = 0) GROUP BY item ORDER BY 1, 2",
            (annotator.strip(),),
        )
        return [Proposed(*row) for row in rows]

    def rounds(self) -> list[Round]:
        """All, in order."""
        rows = self._database.read(
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
            if said == UNKNOWN:
                raise ConfigError(f"What is known for sure is not {UNKNOWN!r}; leave it out.")
        with self._database.writing() as database:
            database.executemany("INSERT OR REPLACE INTO gold VALUES (?, ?)", truth.items())

    def gold(self) -> dict[str, str]:
        """Class by item."""
        return dict(self._database.read("SELECT item, said FROM gold ORDER BY item"))

    def require_class(self, said: str) -> None:
        """Refuse what is neither a class of the project nor UNKNOWN.

        Raises:
            ConfigError: it is not.
        """
        known = (*self.classes, UNKNOWN)
        if said not in known:
            raise ConfigError(f"The project has no class {said!r}. {nearest(said, known)}")

    def _checked(self, one: Said) -> Said:
        """What can be recorded, the name of the person without blanks around it."""
        self.require_class(one.said)
        annotator = one.annotator.strip()
        if not annotator:
            raise ConfigError("An answer has no annotator; say who gave it.")
        if not annotator.isprintable() or len(annotator) > _LONGEST:
            raise ConfigError(
                f"{annotator[:_LONGEST]!r} is no name of a person; take up to {_LONGEST} "
                "characters that can be printed."
            )
        return one._replace(annotator=annotator)

    def _undo(self, table: str, annotator: str, number: int | None) -> str | None:
        with self._database.writing() as database:
            row = database.execute(
                f"SELECT number, item FROM {table} WHERE annotator = ?1 "
                "AND (number = ?2 OR ?2 IS NULL AND undone = 0) ORDER BY number DESC LIMIT 1",
                (annotator.strip(), number),
            ).fetchone()
            if row is None:
                return None
            database.execute(f"UPDATE {table} SET undone = 1 WHERE number = ?", row[:1])
        return str(row[1])


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
    require_classes(classes)
    about = {
        "format": _FORMAT,
        "key": uuid.uuid4().hex,
        "classes": json.dumps(list(classes)),
        "pool": pool,
        "made": _now(),
    }
    create_database(folder / _FILE, about)
    return open_project(folder)


def open_project(folder: Path) -> Project:
    """The project of a folder.

    Raises:
        DataError: there is none, it is damaged, or another version wrote it.
        OutputError: another process writes for long.
    """
    path = folder / _FILE
    if not holds_project(folder):
        raise DataError(f"{folder} holds no project; make one with `geoseg active init`.")
    database = Database(path)
    about = database.about
    try:
        if about["format"] != _FORMAT:
            raise DataError(f"{path} was written by another version of geoseg; use that one.")
        return Project(
            folder=folder,
            key=about["key"],
            classes=tuple(json.loads(about["classes"])),
            pool=about["pool"],
            _database=database,
        )
    except DataError:
        database.close()
        raise
    except (KeyError, ValueError, TypeError) as error:
        database.close()
        raise DataError(f"{path} is damaged ({error}); restore it from a copy.") from error


def require_classes(classes: Sequence[str]) -> None:
    """Refuse names that cannot be those of the classes of a project.

    Raises:
        ConfigError: fewer than two, one twice, or one that is no plain word.
    """
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


def _once(database: sqlite3.Connection, sent: str, insert: Callable[[], int]) -> int:
    """The number of a row, which is not inserted again when the same was sent before."""
    before = database.execute("SELECT number FROM sent WHERE key = ?", (sent,)).fetchone()
    if before is not None:
        return int(before[0])
    number = insert()
    if sent:
        database.execute("INSERT INTO sent VALUES (?, ?)", (sent, number))
    return number


def _insert_answer(database: sqlite3.Connection, one: Said, via: Via) -> int:
    made = database.execute(
        "INSERT INTO answer (item, annotator, said, time, via, note) VALUES (?, ?, ?, ?, ?, ?)",
        (one.item, one.annotator, one.said, _now(), via, one.note),
    )
    return int(made.lastrowid or 0)


def _insert_outline(database: sqlite3.Connection, row: tuple[Any, ...]) -> int:
    made = database.execute(
        "INSERT INTO outline (item, annotator, class, geometry, image, time) "
        "VALUES (?, ?, ?, ?, ?, ?)",
        row,
    )
    return int(made.lastrowid or 0)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
