"""Answers from files: tables that people write, and the layer that a proposal is answered on."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd

from geoseg.active.record import SEEDS, UNKNOWN, Said
from geoseg.errors import ConfigError, LabelError
from geoseg.presence.packs.labels import as_present
from geoseg.presence.packs.texts import read_columns, read_texts

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from geoseg.active.pool import Pool
    from geoseg.active.project import Project
    from geoseg.active.record import Via

__all__ = ["PLACES", "PROJECT_KEY", "Ingested", "ingest", "read_gold"]

PLACES = "places"  # the layer of a proposal
PROJECT_KEY = "geoseg_project"  # of the metadata of the layer

_ITEM = ("item", "chip_id")  # names of the column of ids
_SAID = ("said", "class", "label")
_TOLD = 3  # of what is wrong


class Ingested(NamedTuple):
    """What became of a file."""

    rows: int
    empty: int  # rows that nobody answered
    taken: int  # answers that are new
    known: int  # answers that the person had given by such a file before


def ingest(path: Path, project: Project, pool: Pool, *, annotator: str | None = None) -> Ingested:
    """Take the answers of a file into a project, all or none.

    A GeoPackage is one that `geoseg active propose` wrote for this project; what is not answered is
    empty there. A table has columns `item` (or `chip_id`), `said` (or `class`; or `present`, true
    or false, where the project has two classes), and where there are any `annotator` and `note`.
    What a person has said by such a file before is not recorded again, so that a file may be taken
    in twice. Two people on one item are two answers.

    Args:
        path: .gpkg, .csv or .parquet.
        project: that it is for.
        pool: of the project.
        annotator: who gave those answers that name nobody.

    Raises:
        ConfigError: an answer is of no class, of nobody, or of two.
        LabelError: another project's file, no such table, or items that the pool has not.
    """
    via: Via = "qgis" if path.suffix == ".gpkg" else "table"
    table = _read_layer(path, project) if via == "qgis" else _read_table(path, project)
    said = [one._replace(annotator=one.annotator or annotator or "") for one in _answers(table)]
    _require_known(path, said, project, pool)
    if annotator != SEEDS and any(one.annotator == SEEDS for one in said):
        raise ConfigError(
            f"{path} has answers of {SEEDS!r}, which stands for labels that were there before; "
            "give the annotator another name."
        )
    taken = project.record_new(said, via=via)
    return Ingested(len(table), len(table) - len(said), taken, len(said) - taken)


def read_gold(path: Path, project: Project, pool: Pool) -> dict[str, str]:
    """Class by item, of items whose class is known for sure; a table as `ingest` takes it.

    Raises:
        ConfigError: a class that the project has not, two for one item, or UNKNOWN.
        LabelError: no such table, or items that the pool has not.
    """
    said = [one._replace(annotator="gold") for one in _answers(_read_table(path, project))]
    _require_known(path, said, project, pool)
    if unsure := [one.item for one in said if one.said == UNKNOWN]:
        raise ConfigError(
            f"{path} says {UNKNOWN!r} of {len(unsure)} items ({_some(unsure)}), which is "
            "nothing to be known for sure; leave them out. Nothing was taken in."
        )
    return {one.item: one.said for one in said}


def _answers(table: pd.DataFrame) -> list[Said]:
    """Rows that say something, as it is written."""
    rows = zip(*(table[name] for name in ("item", "annotator", "said", "note")), strict=True)
    return [
        Said(item, annotator.strip(), said, note) for item, annotator, said, note in rows if said
    ]


def _require_known(path: Path, said: Sequence[Said], project: Project, pool: Pool) -> None:
    """Refuse a file of which anything cannot be taken: half of it would be worse than none."""
    classes = {*project.classes, UNKNOWN}
    if wrong := sorted({one.said for one in said} - classes):
        known = ", ".join((*project.classes, UNKNOWN))
        raise ConfigError(
            f"{path} says {_some(wrong)}, of which the project knows nothing; it knows {known}. "
            "Nothing was taken in."
        )
    if nobody := [one.item for one in said if not one.annotator]:
        raise ConfigError(
            f"{path} has {len(nobody)} answers without an annotator; give --annotator NAME, or "
            "fill the column in."
        )
    names = [one.item for one in said]
    if gone := [n for n, row in zip(names, pool.positions(names), strict=True) if row < 0]:
        other = len(gone) == len(said)
        whose = "it is of another project" if other else "correct their ids, or leave them out"
        raise LabelError(
            f"{path} has {len(gone)} of {len(said)} answers on items that the pool has not "
            f"({_some(gone)}); {whose}. Nothing was taken in."
        )
    words: dict[tuple[str, str], str] = {}
    for one in said:
        if words.setdefault((one.item, one.annotator), one.said) != one.said:
            raise ConfigError(
                f"{path} has two answers of {one.annotator} on {one.item!r}; leave one. Nothing "
                "was taken in."
            )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _TOLD} more" if len(names) > _TOLD else ""
    return ", ".join(repr(name) for name in names[:_TOLD]) + more


def _read_layer(path: Path, project: Project) -> pd.DataFrame:
    """The layer of places of a GeoPackage, as text."""
    try:
        # Not by GDAL: QGIS may have the file open, and its writes are then in a log beside it.
        with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as file:
            key = _project_of(file)
            if key != project.key:
                whose = "another project" if key else "no project of geoseg"
                raise LabelError(
                    f"{path} is of {whose}; take the proposal.gpkg of this project's rounds. "
                    "Nothing was taken in."
                )
            rows = file.execute(f"SELECT item, annotator, said, note FROM {PLACES}").fetchall()
    except sqlite3.Error as error:
        raise LabelError(f"{path} is no proposal that can be read ({error}).") from error
    table = pd.DataFrame(rows, columns=["item", "annotator", "said", "note"], dtype=object)
    return table.fillna("").astype(str)


def _project_of(file: sqlite3.Connection) -> str:
    """The key of the project in the metadata of the layer; '' where there is none."""
    found = file.execute(
        "SELECT m.metadata FROM gpkg_metadata AS m JOIN gpkg_metadata_reference AS r "
        "ON r.md_file_id = m.id WHERE r.table_name = ?",
        (PLACES,),
    ).fetchall()
    for (text,) in found:
        if match := re.search(rf'key="{PROJECT_KEY}">([0-9a-f]+)<', str(text)):
            return match[1]
    return ""


def _read_table(path: Path, project: Project) -> pd.DataFrame:
    """Columns item, annotator, said and note of a table, as text."""
    given = _texts(path)
    item = next((name for name in _ITEM if name in given), None)
    said = next((name for name in _SAID if name in given), None)
    if item is None or (said is None and "present" not in given):
        raise LabelError(
            f"{path} has the columns {', '.join(map(str, given.columns[:8])) or 'none'}; give item "
            "(or chip_id) and said (or class, or present)."
        )
    none = pd.Series([""] * len(given), index=given.index, dtype=object)
    return pd.DataFrame(
        {
            "item": given[item],
            "annotator": given.get("annotator", none),
            "said": given[said].str.strip() if said else _of_present(path, given, project),
            "note": given.get("note", none),
        }
    )


def _of_present(path: Path, given: pd.DataFrame, project: Project) -> pd.Series[str]:
    if len(project.classes) != 2:
        raise LabelError(
            f"{path} says whether something is present and the project has "
            f"{len(project.classes)} classes; name the class in a column said."
        )
    try:
        present = [as_present(value) for value in given["present"]]
    except LabelError as error:
        raise LabelError(f"{path}: {error}") from error
    unsure = given["present"].str.strip().str.lower() == UNKNOWN
    words = [UNKNOWN if cannot else "" for cannot in unsure]
    return pd.Series(
        [
            word if one is None else project.classes[int(one)]
            for word, one in zip(words, present, strict=True)
        ],
        index=given.index,
        dtype=object,
    )


def _texts(path: Path) -> pd.DataFrame:
    """A table with every value as text, '' where there is none."""
    try:
        if path.suffix == ".csv":
            return read_texts(path)
        if path.suffix == ".parquet":
            given = read_columns(path)
            texts = {name: given[name].map(_text).astype(object) for name in given.columns}
            return pd.DataFrame(texts, index=given.index)
    except (OSError, ValueError) as error:
        raise LabelError(f"{path} cannot be read ({error}); give a whole table.") from error
    raise LabelError(f"{path} holds no answers; give a .csv, .parquet or .gpkg file.")


def _text(value: object) -> str:
    missing = value is None or value is pd.NA or (isinstance(value, float) and np.isnan(value))
    return "" if missing else str(value)
