"""Scenes of a catalogue by place, time, sensor and cloud, without making them."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import shapely
from odc.geo.geom import Geometry
from pystac.extensions.eo import CLOUD_COVER_PROP

from geoseg.errors import ConfigError
from geoseg.files import writing
from geoseg.scenes.catalog import reading_table
from geoseg.scenes.catalog_rows import TIMES, row_writer
from geoseg.scenes.stac import SENSOR

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

    from geoseg.dates import Interval

__all__ = ["CatalogSummary", "Found", "Query", "area_of_bbox", "search_catalog", "summarise"]

_NEEDED = ("id", "bbox", "geometry", "assets")
_READ = (*_NEEDED[:3], *TIMES, SENSOR, CLOUD_COVER_PROP)
_INSTANT = np.timedelta64(1, "us")


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """What scenes are looked for; None asks nothing."""

    area: Geometry | None = None  # in EPSG:4326; a scene that touches it is found
    interval: Interval | None = None  # a scene is found if some of its time lies within
    sensors: Collection[str] | None = None
    max_cloud_percent: float | None = None


class Found(NamedTuple):
    """What a search found."""

    scenes: int
    of: int
    cloud_unknown: int  # left out because their cloud cover is not known


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogSummary:
    """What a catalogue holds, in numbers."""

    scenes: int
    by_sensor: dict[str, int]
    by_year: dict[int, int]  # of the beginning of the scenes
    first: str | None  # day
    last: str | None
    bbox: tuple[float, float, float, float] | None  # west, south, east, north of all, degrees


def area_of_bbox(bbox: tuple[float, float, float, float]) -> Geometry:
    """The ground between two meridians and two parallels, divided at the antimeridian.

    Args:
        bbox: west, south, east, north in degrees; west is greater than east where the antimeridian
            lies between.

    Raises:
        ConfigError: it is no box on the Earth.
    """
    west, south, east, north = bbox
    on_earth = all(-180 <= v <= 180 for v in (west, east)) and -90 <= south < north <= 90
    if not on_earth or west == east:
        raise ConfigError(
            f"The box {west:g},{south:g},{east:g},{north:g} is none on the Earth; give west,south,"
            "east,north in degrees, with west above east across the antimeridian."
        )
    if west < east:
        return Geometry(shapely.box(west, south, east, north), "EPSG:4326")
    parts = [shapely.box(west, south, 180, north), shapely.box(-180, south, east, north)]
    return Geometry(shapely.MultiPolygon(parts), "EPSG:4326")


def search_catalog(path: Path, query: Query, out: Path) -> Found:
    """Write the scenes of a catalogue that a query asks for as a catalogue, in their order.

    Raises:
        ConfigError: the result would replace the catalogue.
        SceneError: no STAC GeoParquet, a damaged one, or one of a later version.
        OutputError: the result cannot be written.
    """
    if out.resolve() == path.resolve():
        raise ConfigError(f"{out} is the catalogue that is searched; name another file for --out.")
    columns = _columns(path)
    chosen = np.ones(columns.num_rows, dtype=bool)
    if query.sensors is not None:
        chosen &= np.isin(_texts(columns, SENSOR), list(query.sensors))
    if query.interval is not None:
        chosen &= _within_time(columns, query.interval)
    if query.area is not None:
        chosen &= _touches(columns, query.area, chosen)
    unknown = 0
    if query.max_cloud_percent is not None:
        clouds = _numbers(columns, CLOUD_COVER_PROP)
        unknown = int((chosen & np.isnan(clouds)).sum())
        chosen &= clouds <= query.max_cloud_percent
    _write_rows(path, np.flatnonzero(chosen), out)
    return Found(scenes=int(chosen.sum()), of=columns.num_rows, cloud_unknown=unknown)


def summarise(path: Path) -> CatalogSummary:
    """What a catalogue holds.

    Raises:
        SceneError: no STAC GeoParquet, a damaged one, or one of a later version.
    """
    columns = _columns(path)
    start, end = _times(columns)
    known = ~np.isnat(start)
    years = start[known].astype("datetime64[Y]").astype(int) + 1970
    boxes = _boxes(columns)
    boxes = boxes[~np.isnan(boxes).any(axis=1)]
    sensors = Counter(_texts(columns, SENSOR).tolist())
    last = end[known] - _INSTANT
    return CatalogSummary(
        scenes=columns.num_rows,
        by_sensor=dict(sorted(sensors.items())),
        by_year=dict(sorted(Counter(years.tolist()).items())),
        first=str(start[known].min().astype("datetime64[D]")) if known.any() else None,
        last=str(last.max().astype("datetime64[D]")) if known.any() else None,
        bbox=_around(boxes) if len(boxes) else None,
    )


def _columns(path: Path) -> pa.Table:
    """The columns that scenes are chosen by."""
    with reading_table(path, _NEEDED) as table:
        names = table.schema_arrow.names
        return table.read([name for name in _READ if name in names])


def _write_rows(path: Path, rows: NDArray[np.intp], out: Path) -> None:
    """Write some rows of a table as a table, their files named from its new place."""
    way = os.path.relpath(path.parent, out.parent)
    with reading_table(path, _NEEDED) as table, writing(out) as aside:
        schema = table.schema_arrow
        with row_writer(aside, schema) as found:
            first = 0
            for group in range(table.num_row_groups):
                count = table.metadata.row_group(group).num_rows
                here = rows[np.searchsorted(rows, first) : np.searchsorted(rows, first + count)]
                if len(here):
                    some = table.read_row_group(group).take(pa.array(here - first))
                    found(_moved(some, way).cast(schema))
                first += count


def _moved(table: pa.Table, way: str) -> pa.Table:
    """Rows with the paths of their files seen from another folder.

    Args:
        table: with relative paths.
        way: the former folder, seen from the new one.
    """
    if way == ".":
        return table
    place = table.schema.get_field_index("assets")
    assets = table.column(place).combine_chunks()
    if isinstance(assets, pa.ChunkedArray):
        assets = pa.concat_arrays(assets.chunks)
    fields = [_moved_asset(assets.field(i), way) for i in range(assets.type.num_fields)]
    moved = pa.StructArray.from_arrays(fields, fields=list(assets.type), mask=pc.is_null(assets))
    return table.set_column(place, table.schema.field(place), moved)


def _moved_asset(asset: pa.StructArray, way: str) -> pa.StructArray:
    index = asset.type.get_field_index("href")
    if index < 0:
        return asset
    hrefs = pa.array([_from(way, href) for href in asset.field(index).to_pylist()], pa.string())
    fields = [hrefs if i == index else asset.field(i) for i in range(asset.type.num_fields)]
    return pa.StructArray.from_arrays(fields, fields=list(asset.type), mask=pc.is_null(asset))


def _from(way: str, href: str | None) -> str | None:
    if href is None or "://" in href or href.startswith("/"):
        return href
    return os.path.normpath(f"{way}/{href}")


def _within_time(columns: pa.Table, interval: Interval) -> NDArray[np.bool_]:
    start, end = _times(columns)
    begin, finish = (np.datetime64(t.replace(tzinfo=None), "us") for t in interval)
    # NaT compares as False: a scene without a time is in no interval.
    within: NDArray[np.bool_] = (start < finish) & (end > begin)
    return within


def _times(columns: pa.Table) -> tuple[NDArray[np.datetime64], NDArray[np.datetime64]]:
    """Beginning and end of all scenes, UTC; an instant ends a microsecond later."""
    nothing = np.full(columns.num_rows, np.datetime64("NaT"), dtype="datetime64[us]")
    instant, start, end = (
        columns[name].to_numpy().astype("datetime64[us]")
        if name in columns.column_names
        else nothing
        for name in TIMES
    )
    whole = ~(np.isnat(start) | np.isnat(end))
    return np.where(whole, start, instant), np.where(whole, end, instant + _INSTANT)


def _touches(columns: pa.Table, area: Geometry, among: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which of some scenes meet an area; boxes first, for outlines are dear."""
    west, south, east, north = area.boundingbox.bbox
    boxes = _boxes(columns)
    near = among & (boxes[:, 0] <= east) & (boxes[:, 2] >= west)
    near &= (boxes[:, 1] <= north) & (boxes[:, 3] >= south)
    rows = np.flatnonzero(near)
    encoded = columns["geometry"].take(pa.array(rows)).to_numpy(zero_copy_only=False)
    outlines = shapely.from_wkb(encoded, on_invalid="ignore")
    shapely.prepare(area.geom)
    touched = np.zeros(columns.num_rows, dtype=bool)
    touched[rows] = shapely.intersects(area.geom, outlines)
    return touched


def _boxes(columns: pa.Table) -> NDArray[np.float64]:
    """West, south, east and north of all scenes (N, 4), NaN where not known."""
    box = columns["bbox"].combine_chunks()
    if isinstance(box, pa.ChunkedArray):
        box = pa.concat_arrays(box.chunks) if box.num_chunks else pa.array([], box.type)
    corners = [pc.struct_field(box, name) for name in ("xmin", "ymin", "xmax", "ymax")]
    return np.column_stack([c.to_numpy(zero_copy_only=False).astype(float) for c in corners])


def _around(boxes: NDArray[np.float64]) -> tuple[float, float, float, float]:
    low, high = boxes.min(axis=0), boxes.max(axis=0)
    return float(low[0]), float(low[1]), float(high[2]), float(high[3])


def _texts(columns: pa.Table, name: str) -> NDArray[Any]:
    if name not in columns.column_names:
        return np.full(columns.num_rows, "")
    return np.asarray(columns[name].fill_null("").to_pylist(), dtype=str)


def _numbers(columns: pa.Table, name: str) -> NDArray[np.float64]:
    if name not in columns.column_names:
        return np.full(columns.num_rows, np.nan)
    numbers: NDArray[np.float64] = columns[name].to_numpy().astype(float)
    return numbers
