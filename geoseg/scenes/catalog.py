"""Catalogues: tables of scenes, as STAC GeoParquet on disk."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pystac
import shapely
from odc.geo.geom import Geometry

from geoseg.errors import GeosegError, SceneError
from geoseg.parquet import DAMAGED
from geoseg.scenes.catalog_rows import (
    ASSET_ORDER,
    NUMBERS,
    ROWS_AT_ONCE,
    TIMES,
    CatalogWriter,
    require_known_version,
    writing_rows,
)
from geoseg.scenes.checksums import with_checksums
from geoseg.scenes.stac import SENSOR, footprint, item_of, read_scene, scene_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from geoseg.scenes.scene import Scene

__all__ = [
    "BrokenEntry",
    "Catalog",
    "CatalogEntry",
    "EntryWriter",
    "ProblemKind",
    "count_rows",
    "is_item",
    "read_catalog",
    "reading_table",
    "scan_items",
    "scan_scene",
    "stream_catalog",
    "write_catalog",
    "writing_catalog",
]

_NEEDED = ("id", "geometry", "assets")
# What is raised on a value that no STAC item has, such as a time beyond the year 9999.
_BROKEN = (ValueError, KeyError, TypeError, AttributeError, OverflowError)


class ProblemKind(StrEnum):
    """Why something that was found is not in a catalogue."""

    UNREADABLE = "unreadable"
    DUPLICATE = "duplicate"
    UNPLACED = "not georeferenced"
    REMOTE = "not local"
    PASSED_OVER = "passed over"


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogEntry:
    """A scene, and the ground it covers."""

    scene: Scene
    footprint: Geometry  # in EPSG:4326


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenEntry:
    """A row that describes no scene, or a file that became none."""

    id: str
    reason: str  # one sentence
    kind: ProblemKind = ProblemKind.UNREADABLE


class Catalog(NamedTuple):
    """What a table of scenes holds, in the order of its rows."""

    entries: tuple[CatalogEntry, ...]
    broken: tuple[BrokenEntry, ...]


def scan_scene(scene: Scene) -> CatalogEntry:
    """The entry of a scene; its rasters are opened for the ground they cover.

    Raises:
        SceneError: a raster cannot be opened.
    """
    return CatalogEntry(scene=scene, footprint=footprint(scene))


def scan_items(folder: Path, *, checksums: bool) -> Catalog:
    """The scenes of all STAC items (.json) under a folder, in the order of their paths.

    JSON of other kinds is passed over. Of scenes with one id the first is taken; the later ones,
    items that describe no scene and files that are no JSON are told of as broken.

    Args:
        folder: searched to its depths.
        checksums: read all files for their SHA-256, so that damage is noticed later.
    """
    entries: list[CatalogEntry] = []
    broken: list[BrokenEntry] = []
    places: dict[str, Path] = {}
    for path in sorted(folder.rglob("*.json")):
        name = path.relative_to(folder)
        try:
            if not is_item(path):
                continue
            scene = read_scene(path)
            _require_new(scene.id, name, places)
            entries.append(scan_scene(with_checksums(scene) if checksums else scene))
            places[scene.id] = name
        except GeosegError as error:
            broken.append(BrokenEntry(id=str(name), reason=str(error)))
    return Catalog(tuple(entries), tuple(broken))


def write_catalog(entries: Sequence[CatalogEntry], path: Path) -> None:
    """Write a table of scenes, whole or not at all; their files are named relative to it.

    Raises:
        SceneError: two scenes have one id.
        OutputError: it cannot be written.
    """
    counts = Counter(entry.scene.id for entry in entries)
    for scene_id, count in counts.items():
        if count > 1:
            raise SceneError(
                f"{path} would hold {count} scenes named {scene_id!r}; give each an id of its own."
            )
    with writing_catalog(path) as table:
        for entry in entries:
            table.add(entry)


class EntryWriter:
    """Scenes, written to a table one by one."""

    def __init__(self, rows: CatalogWriter, folder: Path) -> None:
        self._rows = rows
        self._folder = folder

    def add(self, entry: CatalogEntry) -> None:
        """Write a scene; its id must be no other's."""
        self._rows.add(item_of(entry.scene, self._folder, entry.footprint), entry.footprint)


@contextmanager
def writing_catalog(path: Path) -> Iterator[EntryWriter]:
    """A table that takes scenes one by one, and is there whole when the block succeeds.

    Raises:
        OutputError: it cannot be written.
    """
    with writing_rows(path) as rows:
        yield EntryWriter(rows, path.parent)


def read_catalog(path: Path) -> Catalog:
    """Read a table of scenes, without opening a raster.

    A row that describes no scene is told of and leaves the others as they are.

    Raises:
        SceneError: no STAC GeoParquet, or a damaged one.
    """
    entries: list[CatalogEntry] = []
    broken: list[BrokenEntry] = []
    for row in stream_catalog(path):
        if isinstance(row, CatalogEntry):
            entries.append(row)
        else:
            broken.append(row)
    return Catalog(tuple(entries), tuple(broken))


def stream_catalog(path: Path) -> Iterator[CatalogEntry | BrokenEntry]:
    """The rows of a table of scenes one by one: in memory are no more than are read at once.

    Raises:
        SceneError: no STAC GeoParquet, or a damaged one, which may be seen after many rows.
    """
    for number, row in enumerate(_read_rows(path), start=1):
        scene_id = f"row {number}"
        try:
            values = {name: value.as_py() for name, value in row.items()}
            scene_id = values["id"] or scene_id
            entry: CatalogEntry | BrokenEntry = _entry(values, path)
        except GeosegError as error:
            entry = BrokenEntry(id=scene_id, reason=str(error))
        except _BROKEN as error:
            reason = (
                f"Row {number} of {path} is no STAC item that can be read "
                f"({type(error).__name__}: {error}); scan its scene again."
            )
            entry = BrokenEntry(id=scene_id, reason=reason)
        yield entry


def count_rows(path: Path) -> int:
    """How many scenes a table names, those that cannot be read too.

    Raises:
        SceneError: no STAC GeoParquet.
    """
    with reading_table(path, _NEEDED) as table:
        return int(table.metadata.num_rows)


def is_item(path: Path) -> bool:
    """Whether a JSON file claims to be a STAC item; folders hold JSON of other kinds.

    Raises:
        SceneError: it is no JSON that can be read.
    """
    if path.is_dir():
        return False
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError, RecursionError) as error:
        raise SceneError(
            f"{path} is no JSON that can be read ({type(error).__name__}: {error}); write it again "
            "if it was cut short, or move it away."
        ) from error
    return isinstance(content, dict) and "stac_version" in content and "assets" in content


def _require_new(scene_id: str, path: Path, places: Mapping[str, Path]) -> None:
    """Refuse the id of a scene that was found elsewhere."""
    if scene_id in places:
        raise SceneError(
            f"{path} holds a scene named {scene_id!r}, and so does {places[scene_id]}; give each "
            "an id of its own."
        )


def _read_rows(path: Path) -> Iterator[dict[str, pa.Scalar]]:
    """The rows of a table; only the columns that make a scene."""
    with reading_table(path, _NEEDED) as table:
        names = table.schema_arrow.names
        wanted = [n for n in (*_NEEDED, *TIMES, *NUMBERS, SENSOR, ASSET_ORDER) if n in names]
        for batch in table.iter_batches(ROWS_AT_ONCE, columns=wanted):
            for index in range(batch.num_rows):
                yield {name: batch[name][index] for name in wanted}


@contextmanager
def reading_table(path: Path, needed: Sequence[str]) -> Iterator[pq.ParquetFile]:
    """An open table that has some columns; a read that fails in this block names its file.

    Raises:
        SceneError: no STAC GeoParquet with these columns, a damaged one, or one of a later version.
    """
    try:
        with pq.ParquetFile(path) as table:
            _require_columns(table.schema_arrow, needed, path)
            yield table
    except FileNotFoundError:
        raise SceneError(f"{path} does not exist; check the path of the catalogue.") from None
    except DAMAGED as error:
        if isinstance(error, GeosegError):
            raise
        raise SceneError(
            f"{path} cannot be read as a catalogue ({str(error).splitlines()[0]}); give a table of "
            "STAC items as GeoParquet."
        ) from error


def _require_columns(schema: pa.Schema, needed: Sequence[str], path: Path) -> None:
    require_known_version(schema.metadata, path)
    missing = [name for name in needed if name not in schema.names]
    if missing:
        raise SceneError(
            f"{path} has no column {' and no '.join(missing)}; give a table of STAC items as "
            "GeoParquet."
        )


def _entry(row: dict[str, Any], path: Path) -> CatalogEntry:
    if not row["id"]:
        raise SceneError(f"{path} holds a scene without id; give it one.")
    assets = {key: _known(asset) for key, asset in row["assets"].items() if asset is not None}
    order = [key for key in row.get(ASSET_ORDER) or () if key in assets]
    times = {name: _as_text(row.get(name)) for name in TIMES}
    item = {
        "type": "Feature",
        "stac_version": pystac.get_stac_version(),
        "id": row["id"],
        "geometry": None,
        "properties": _known(
            {SENSOR: row.get(SENSOR), **times, **{k: row.get(k) for k in NUMBERS}}
        ),
        "links": [],
        "assets": {key: assets[key] for key in (*order, *assets)},
    }
    return CatalogEntry(scene=scene_of(item, path), footprint=_footprint(row, path))


def _known(value: Any) -> Any:  # noqa: ANN401  any value of a table
    """A value without the fields that are null because other rows have them."""
    if isinstance(value, dict):
        return {key: _known(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_known(inner) for inner in value]
    return value


def _as_text(time: datetime | str | None) -> str | None:
    return time.isoformat() if isinstance(time, datetime) else time


def _footprint(row: dict[str, Any], path: Path) -> Geometry:
    try:
        outline = shapely.from_wkb(row["geometry"])
    except (shapely.errors.GEOSException, TypeError):
        outline = None
    if outline is None or outline.is_empty:
        raise SceneError(f"{path} holds scene {row['id']} without a footprint; scan it again.")
    return Geometry(outline, "EPSG:4326")
