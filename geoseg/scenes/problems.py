"""What was found and is not in a catalogue, as a table beside it."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING

from geoseg.errors import SceneError
from geoseg.files import write_text
from geoseg.scenes.catalog import BrokenEntry, ProblemKind

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["problems_beside", "read_problems", "write_problems"]

_COLUMNS = ("path", "kind", "reason")


def problems_beside(catalog: Path) -> Path:
    """Where the problems of a catalogue lie: NAME.problems.csv."""
    return catalog.with_name(f"{catalog.stem}.problems.csv")


def write_problems(broken: Iterable[BrokenEntry], path: Path) -> None:
    """Write a table of problems; without any it has its header only.

    Raises:
        OutputError: it cannot be written.
    """
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(_COLUMNS)
    table.writerows((entry.id, entry.kind.value, entry.reason) for entry in broken)
    write_text(path, text.getvalue())


def read_problems(path: Path) -> tuple[BrokenEntry, ...]:
    """The problems of a table; none where there is no table.

    Raises:
        SceneError: it is none of problems.
    """
    if not path.is_file():
        return ()
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return tuple(
                BrokenEntry(id=row["path"], reason=row["reason"], kind=ProblemKind(row["kind"]))
                for row in csv.DictReader(file)
            )
    except (ValueError, KeyError, OSError, csv.Error) as error:
        raise SceneError(
            f"{path} is no table of problems ({type(error).__name__}: {error}); scan the scenes "
            "again, or move it away."
        ) from error
