"""Catalogues: tables of scenes, as STAC GeoParquet on disk."""

from __future__ import annotations

import json
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
import pystac
import shapely
from odc.geo.geom import Geometry
from pystac.extensions.view import SUN_AZIMUTH_PROP, SUN_ELEVATION_PROP

from geoseg.errors import GeosegError, SceneError
from geoseg.files import writing
from geoseg.scenes.checksums import with_checksums
from geoseg.scenes.stac import (
    BAND_INDEX,
    CHECKSUM,
    SENSOR,
    footprint,
    item_of,
    read_scene,
    scene_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from geoseg.scenes.scene import Scene

__all__ = [
    "BrokenEntry",
    "Catalog",
    "CatalogEntry",
    "read_catalog",
    "scan_items",
    "scan_scene",
    "write_catalog",
]

# A struct has no order of its own that would hold for all rows; the order of bands is kept apart.
_ASSET_ORDER = "geoseg:assets"
_NEEDED = ("id", "geometry", "assets")
_TIMES = ("datetime", "start_datetime", "end_datetime")
_SUN = (SUN_AZIMUTH_PROP, SUN_ELEVATION_PROP)
_ROWS_AT_ONCE = 2048
# What is raised on a value that no STAC item has, such as a time beyond the year 9999.
_BROKEN = (ValueError, KeyError, TypeError, AttributeError, OverflowError)

_TIME = pa.timestamp("us", tz="UTC")
_BAND = pa.struct({"name": pa.string(), "eo:common_name": pa.string()})
_ASSET = pa.struct(
    {
        "href": pa.string(),
        "roles": pa.list_(pa.string()),
        "bands": pa.list_(_BAND),
        BAND_INDEX: pa.int32(),
        "nodata": pa.float64(),
        CHECKSUM: pa.string(),
    }
)
_LINK = pa.struct({"rel": pa.string(), "href": pa.string(), "type": pa.string()})
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_METADATA = {
    "geo": json.dumps(
        {
            "version": "1.1.0",
            "primary_column": "geometry",
            "columns": {
                "geometry": {
                    "encoding": "WKB",
                    "geometry_types": [],
                    "covering": {"bbox": {corner: ["bbox", corner] for corner in _CORNERS}},
                }
            },
        }
    ),
    "stac-geoparquet": json.dumps({"version": "1.0.0"}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogEntry:
    """A scene, and the ground it covers."""

    scene: Scene
    footprint: Geometry  # in EPSG:4326


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokenEntry:
    """A row that describes no scene."""

    id: str
    reason: str  # one sentence


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
            if not _is_item(path):
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
    schema = _schema(entry.scene for entry in entries)
    with (
        writing(path) as aside,
        pq.ParquetWriter(aside, schema, compression="zstd") as table,
    ):
        for first in range(0, len(entries), _ROWS_AT_ONCE):
            rows = [_row(entry, path.parent) for entry in entries[first : first + _ROWS_AT_ONCE]]
            table.write_batch(pa.RecordBatch.from_pylist(rows, schema=schema))


def read_catalog(path: Path) -> Catalog:
    """Read a table of scenes, without opening a raster.

    A row that describes no scene is told of and leaves the others as they are.

    Raises:
        SceneError: no STAC GeoParquet, or a damaged one.
    """
    entries: list[CatalogEntry] = []
    broken: list[BrokenEntry] = []
    for number, row in enumerate(_read_rows(path), start=1):
        scene_id = f"row {number}"
        try:
            values = {name: value.as_py() for name, value in row.items()}
            scene_id = values["id"] or scene_id
            entries.append(_entry(values, path))
        except GeosegError as error:
            broken.append(BrokenEntry(id=scene_id, reason=str(error)))
        except _BROKEN as error:
            reason = (
                f"Row {number} of {path} is no STAC item that can be read "
                f"({type(error).__name__}: {error}); scan its scene again."
            )
            broken.append(BrokenEntry(id=scene_id, reason=reason))
    return Catalog(tuple(entries), tuple(broken))


def _is_item(path: Path) -> bool:
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


def _schema(scenes: Iterable[Scene]) -> pa.Schema:
    """The columns of a table of these scenes: an asset is a field of `assets` in all rows."""
    assets = {"mask": _ASSET, "dem": _ASSET} | {name: _ASSET for s in scenes for name in s.bands}
    return pa.schema(
        {
            "type": pa.string(),
            "stac_version": pa.string(),
            "stac_extensions": pa.list_(pa.string()),
            "id": pa.string(),
            "geometry": pa.binary(),
            "bbox": pa.struct(dict.fromkeys(_CORNERS, pa.float64())),
            "links": pa.list_(_LINK),
            "assets": pa.struct(assets),
            **dict.fromkeys(_TIMES, _TIME),
            SENSOR: pa.string(),
            "platform": pa.string(),
            "instruments": pa.list_(pa.string()),
            **dict.fromkeys(_SUN, pa.float64()),
            _ASSET_ORDER: pa.list_(pa.string()),
        },
        metadata=_METADATA,
    )


def _row(entry: CatalogEntry, folder: Path) -> dict[str, Any]:
    """A row of the table: the properties of a STAC item stand beside its own fields."""
    item = item_of(entry.scene, folder, entry.footprint)
    return {
        **item,
        **item["properties"],
        "geometry": entry.footprint.geom.wkb,
        "bbox": dict(zip(_CORNERS, item["bbox"], strict=True)),
        "start_datetime": entry.scene.start,
        "end_datetime": entry.scene.end,
        _ASSET_ORDER: list(item["assets"]),
    }


def _read_rows(path: Path) -> Iterator[dict[str, pa.Scalar]]:
    """The rows of a table; only the columns that make a scene."""
    with _reading(path), pq.ParquetFile(path) as table:
        names = table.schema_arrow.names
        missing = [name for name in _NEEDED if name not in names]
        if missing:
            raise SceneError(
                f"{path} has no column {' and no '.join(missing)}; give a table of STAC items as "
                "GeoParquet."
            )
        wanted = [n for n in (*_NEEDED, *_TIMES, *_SUN, SENSOR, _ASSET_ORDER) if n in names]
        for batch in table.iter_batches(_ROWS_AT_ONCE, columns=wanted):
            for index in range(batch.num_rows):
                yield {name: batch[name][index] for name in wanted}


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise SceneError(f"{path} does not exist; check the path of the catalogue.") from None
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, GeosegError):
            raise
        raise SceneError(
            f"{path} cannot be read as a catalogue ({str(error).splitlines()[0]}); give a table of "
            "STAC items as GeoParquet."
        ) from error


def _entry(row: dict[str, Any], path: Path) -> CatalogEntry:
    if not row["id"]:
        raise SceneError(f"{path} holds a scene without id; give it one.")
    assets = {key: _known(asset) for key, asset in row["assets"].items() if asset is not None}
    order = [key for key in row.get(_ASSET_ORDER) or () if key in assets]
    times = {name: _as_text(row.get(name)) for name in _TIMES}
    item = {
        "type": "Feature",
        "stac_version": pystac.get_stac_version(),
        "id": row["id"],
        "geometry": None,
        "properties": _known({SENSOR: row.get(SENSOR), **times, **{k: row.get(k) for k in _SUN}}),
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
