"""Layers of outlines, points and tables in one GeoPackage, and what QGIS opens them with."""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from itertools import chain
from types import MappingProxyType
from typing import TYPE_CHECKING

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import shapely
from pyogrio.errors import DataLayerError, DataSourceError

from geoseg.errors import ConfigError, GridError, OutputError, nearest
from geoseg.files import require_no_folder, why_not_written, writing
from geoseg.inventory.storage.qgis_tables import add_descriptions, add_projects, add_styles

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["LAYER_TITLE", "LayerTraits", "check_geopackage_path", "write_geopackage"]

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_RESERVED_PREFIXES = ("gpkg", "rtree_", "sqlite_")  # GDAL refuses gpkg without a _ too
_RESERVED_NAMES = ("layer_styles", "ogr_empty_table", "qgis_projects")
# GDAL cuts a key at its first ':' or '='.
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_GEOMETRY = "geom"
# 1.4 makes QGIS 3.22 warn and the validator of GDAL 3.6 report errors that are none.
_VERSION = "1.3"
_POLYGONAL = (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON)
_PUNCTUAL = (shapely.GeometryType.POINT,)
LAYER_TITLE = "layer_title"  # a key of the metadata of a layer
_UTC = 100  # GDAL's number for this time zone


@dataclass(frozen=True, kw_only=True)
class LayerTraits:
    """What a layer is beside its rows."""

    points: bool = False  # of points, and of polygons otherwise, whatever its rows are
    gaps: bool = False  # rows may have no geometry
    title: str = ""  # the three are shown by QGIS
    abstract: str = ""
    licence: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)  # kept with the layer


_PLAIN = LayerTraits()


def write_geopackage(
    path: Path,
    layers: Mapping[str, pd.DataFrame],
    *,
    styles: Mapping[str, str],
    metadata: Mapping[str, str],
    traits: Mapping[str, LayerTraits] = MappingProxyType({}),
    projects: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Write layers, each with its default style, and QGIS projects, whole or not at all.

    A GeoDataFrame becomes a layer of MultiPolygons, or of points where its traits say so; any other
    table becomes one without geometry.

    Days (`datetime.date`, or datetime64 without zone and without a time of day) become DATE, times
    become DATETIME in UTC. A column of objects that holds nothing is a column of days when its name
    ends in `_date`. QGIS takes fields named `start_date` and `end_date` for the time of a layer.

    Args:
        path: the .gpkg; replaced when it exists.
        layers: by name: lower case letters, digits and underscores. May be empty of rows. Heights
            of vertices are not written.
        styles: QML by layer name.
        metadata: kept with the data set. GDAL 3.12 leaves a copy of it beside the file, .aux.xml,
            whenever it reads a layer; it does not with the metadata of layers.
        traits: by layer name, where a layer is more than polygons without a title.
        projects: the XML of a QGIS project (.qgs) by its name. Its data sources are
            `./FILE.gpkg|layername=LAYER`: a file that is renamed afterwards loses them.

    Raises:
        ConfigError: a name that a GeoPackage must not hold, or a style or traits without a layer.
        GridError: a layer without a coordinate reference system.
        OutputError: the file cannot be written, is open in another program, is not intact after
            writing, or a layer holds another geometry than its own.
    """
    check_geopackage_path(path)
    _check_request(path, layers, [metadata, *(t.metadata for t in traits.values())])
    _check_names(layers, {"style": styles, "traits": traits})
    for name, table in layers.items():
        _check_columns(name, table)
        if isinstance(table, gpd.GeoDataFrame):
            _check_geometry(name, table, traits.get(name, _PLAIN))
    with writing(path) as aside:
        try:
            for name, table in layers.items():
                _write_layer(aside, name, table, traits.get(name, _PLAIN), metadata)
            with closing(sqlite3.connect(aside)) as database:
                _add_to(database, layers, styles, traits)
                add_projects(database, projects)
                _check(path, database, {name: len(t) for name, t in layers.items()})
        # NotImplementedError: a type of column that GDAL has no field for.
        except (DataSourceError, DataLayerError, NotImplementedError, sqlite3.Error) as error:
            reason = why_not_written(error, path.parent)
            raise OutputError(f"{path} could not be written: {reason}.") from error


def check_geopackage_path(path: Path) -> None:
    """Refuse a path that no GeoPackage can be written to, before work is done for one.

    Raises:
        ConfigError: it does not end in .gpkg.
        OutputError: it is a folder, or is open in another program.
    """
    if path.suffix != ".gpkg":
        raise ConfigError(f"{path} is no name of a GeoPackage; let it end in '.gpkg'.")
    require_no_folder(path)
    _refuse_open(path)


def _check_request(
    path: Path, layers: Mapping[str, pd.DataFrame], metadata: Iterable[Mapping[str, str]]
) -> None:
    if not layers:
        raise ConfigError(f"{path} would hold no layer; give at least one, which may be empty.")
    for key in chain.from_iterable(metadata):
        if not _KEY.fullmatch(key):
            raise ConfigError(
                f"{key!r} cannot be a key of metadata; use a letter, then letters, digits, '_', "
                "'.' and '-'."
            )


def _check_names(
    layers: Mapping[str, pd.DataFrame], given: Mapping[str, Mapping[str, object]]
) -> None:
    for what, by_name in given.items():
        for name in by_name:
            if name not in layers:
                raise ConfigError(
                    f"no layer named {name!r} for its {what}. {nearest(name, layers)}"
                )
    for name in layers:
        reserved = name.startswith(_RESERVED_PREFIXES) or name in _RESERVED_NAMES
        if reserved or not _NAME.fullmatch(name):
            raise ConfigError(
                f"{name!r} cannot name a layer; use a lower case letter, then up to 62 lower case "
                f"letters, digits and _. Reserved: {', '.join(_RESERVED_NAMES)}, and what begins "
                f"with {', '.join(_RESERVED_PREFIXES)}."
            )


def _check_columns(name: str, table: pd.DataFrame) -> None:
    columns = [str(column) for column in _fields_of(table)]
    seen = Counter(column.lower() for column in ("fid", _GEOMETRY, *columns))
    for column in columns:
        if not column.isprintable() or not column or seen[column.lower()] > 1:
            raise ConfigError(
                f"Layer {name!r} cannot hold a column named {column!r}; rename it. Names differ by "
                f"more than case and can be printed, and 'fid' and {_GEOMETRY!r} are taken."
            )


def _fields_of(table: pd.DataFrame) -> list[Hashable]:
    """The columns that become fields: all but the geometry."""
    geometry = table.geometry.name if isinstance(table, gpd.GeoDataFrame) else None
    return [column for column in table.columns if column != geometry]


def _check_geometry(name: str, table: gpd.GeoDataFrame, traits: LayerTraits) -> None:
    if table.crs is None:
        raise GridError(f"Layer {name!r} has no coordinate reference system; set one first.")
    geometry = table.geometry.to_numpy()
    own, word = (_PUNCTUAL, "point") if traits.points else (_POLYGONAL, "polygon")
    fits = np.isin(shapely.get_type_id(geometry), own) & ~shapely.is_empty(geometry)
    if traits.gaps:
        fits |= shapely.is_missing(geometry)
    if not fits.all():
        row = int(np.argmin(fits))
        raise OutputError(
            f"Layer {name!r} has no {word} in row {row} of {len(table)} (it holds "
            f"{geometry[row]!s:.40}); drop what is empty and what is not a {word}."
        )


def _refuse_open(path: Path) -> None:
    """A log that another program has not closed would be replayed over the new file by SQLite."""
    for end in ("-wal", "-journal"):
        log = path.with_name(path.name + end)
        if log.exists() and log.stat().st_size > 0:
            raise OutputError(
                f"{path} is open in another program, or was when that ended: {log.name} lies "
                "beside it. Close it there, or delete both files, and run again."
            )


def _write_layer(
    path: Path, name: str, table: pd.DataFrame, traits: LayerTraits, metadata: Mapping[str, str]
) -> None:
    columns = _fields_of(table)
    fields = [_field(table[column]) for column in columns]
    times = [c for c, (values, _) in zip(columns, fields, strict=True) if values.dtype == "M8[ms]"]
    first = not path.exists()
    # The lower of pyogrio's two ways in: the other has no type for a day, and writes days as text.
    pyogrio.raw.write(
        path,
        field_data=[values for values, _ in fields],
        fields=[str(column) for column in columns],
        field_mask=[missing for _, missing in fields],
        layer=name,
        driver="GPKG",
        gdal_tz_offsets={str(column): np.full(len(table), _UTC) for column in times},
        append=not first,
        dataset_metadata=dict(metadata) if first and metadata else None,
        layer_metadata=_layer_metadata(traits),
        dataset_options={"VERSION": _VERSION} if first else None,
        **_geometry_of(table, traits),
    )


def _layer_metadata(traits: LayerTraits) -> dict[str, str] | None:
    """What GDAL keeps with a layer; it makes the tables, too, that a title is described in."""
    titled = {LAYER_TITLE: traits.title} if traits.title else {}
    return {**titled, **traits.metadata} or None


def _geometry_of(table: pd.DataFrame, traits: LayerTraits) -> dict[str, object]:
    """What pyogrio is given of the geometry of a layer."""
    if not isinstance(table, gpd.GeoDataFrame):
        return {"geometry": None, "geometry_type": None, "promote_to_multi": False}
    epsg = table.crs.to_epsg()
    return {
        "geometry": shapely.to_wkb(shapely.force_2d(table.geometry.to_numpy())),
        "geometry_type": "Point" if traits.points else "MultiPolygon",
        "promote_to_multi": not traits.points,
        "crs": f"EPSG:{epsg}" if epsg else table.crs.to_wkt(),
        "layer_options": {"GEOMETRY_NAME": _GEOMETRY},
    }


def _field(column: pd.Series) -> tuple[NDArray[np.generic], NDArray[np.bool_] | None]:
    """What GDAL is given of a column: values, and where they are missing unless they say so."""
    kind = pd.api.types.infer_dtype(column, skipna=True)
    missing = column.isna().to_numpy()
    if kind == "date" or (kind == "empty" and _may_be_days(column)):
        days = [None if gone else day for day, gone in zip(column, missing, strict=True)]
        return np.array(days, dtype="M8[D]"), None
    if kind in {"datetime", "datetime64"}:
        return _times(column), None
    values = column.to_numpy()
    if isinstance(column.dtype, pd.api.extensions.ExtensionDtype) and column.dtype.kind in "biuf":
        values = column.to_numpy(dtype=column.dtype.type, na_value=False)
    return values, missing


def _may_be_days(column: pd.Series) -> bool:
    """Whether a column that holds nothing is one of days: by its name, unless it is typed."""
    return column.dtype == object and str(column.name).endswith("_date")


def _times(column: pd.Series) -> NDArray[np.datetime64]:
    """Days where there is neither a zone nor a time of day, as GeoPandas reads them; else UTC."""
    times = pd.to_datetime(column, utc=True).dt.tz_localize(None)
    stored: NDArray[np.datetime64] = times.to_numpy(dtype="M8[ms]")
    days = stored.astype("M8[D]")
    zoned = isinstance(column.dtype, pd.DatetimeTZDtype) or column.dtype == object
    if not zoned and (np.isnat(stored) | (stored == days)).all():
        return days
    return stored


def _add_to(
    database: sqlite3.Connection,
    layers: Mapping[str, pd.DataFrame],
    styles: Mapping[str, str],
    traits: Mapping[str, LayerTraits],
) -> None:
    columns = {n: _GEOMETRY if isinstance(t, gpd.GeoDataFrame) else "" for n, t in layers.items()}
    add_styles(database, styles, columns)
    described = {
        name: {"title": t.title, "abstract": t.abstract, "license": t.licence}
        for name, t in traits.items()
        if t.title
    }
    add_descriptions(database, described.items())


def _check(path: Path, database: sqlite3.Connection, rows: Mapping[str, int]) -> None:
    """A table whose count was cut short reads as empty without an error, so rows are counted."""
    (intact,) = database.execute("PRAGMA integrity_check").fetchone()
    counts = dict(database.execute("SELECT table_name, feature_count FROM gpkg_ogr_contents"))
    for name, expected in rows.items():
        # A table's name cannot be a parameter; this one is letters, digits and underscores.
        (stored,) = database.execute(f'SELECT count(*) FROM "{name}"').fetchone()
        if intact != "ok" or not stored == counts.get(name) == expected:
            raise OutputError(
                f"{path} was not written: layer {name!r} is not intact (check {intact!r}, "
                f"{stored} rows, {counts.get(name)} registered, {expected} expected). Write it "
                "again, to a local disk if this is a network drive."
            )
