"""Layers of outlines in one GeoPackage, with the styles that QGIS opens them in."""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyogrio
import shapely
from pyogrio.errors import DataLayerError, DataSourceError

from geoseg.errors import ConfigError, GridError, OutputError, nearest
from geoseg.files import require_no_folder, why_not_written, writing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import geopandas as gpd
    from numpy.typing import NDArray

__all__ = ["check_geopackage_path", "write_geopackage"]

_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")
_RESERVED_PREFIXES = ("gpkg", "rtree_", "sqlite_")  # GDAL refuses gpkg without a _ too
_RESERVED_NAMES = ("layer_styles", "ogr_empty_table", "qgis_projects")
# GDAL cuts a key at its first ':' or '='.
_KEY = re.compile(r"[A-Za-z][A-Za-z0-9_.-]*")
_GEOMETRY = "geom"
# 1.4 makes QGIS 3.22 warn and the validator of GDAL 3.6 report errors that are none.
_VERSION = "1.3"
_POLYGONAL = (shapely.GeometryType.POLYGON, shapely.GeometryType.MULTIPOLYGON)
_UTC = 100  # GDAL's number for this time zone

# The table that QGIS itself makes when a style is saved into a GeoPackage.
_STYLES_TABLE = """
CREATE TABLE layer_styles (
    id INTEGER PRIMARY KEY AUTOINCREMENT NOT NULL,
    f_table_catalog TEXT(256), f_table_schema TEXT(256), f_table_name TEXT(256),
    f_geometry_column TEXT(256), styleName TEXT(30), styleQML TEXT, styleSLD TEXT,
    useAsDefault BOOLEAN, description TEXT, owner TEXT(30), ui TEXT(30),
    update_time DATETIME DEFAULT (strftime('%Y-%m-%dT%H:%M:%fZ','now'))
)
"""
_REGISTER_TABLE = """
INSERT INTO gpkg_contents (table_name, data_type, identifier, description, last_change)
VALUES ('layer_styles', 'attributes', 'layer_styles', '', strftime('%Y-%m-%dT%H:%M:%fZ','now'))
"""
_ADD_STYLE = """
INSERT INTO layer_styles (f_table_catalog, f_table_schema, f_table_name, f_geometry_column,
    styleName, styleQML, styleSLD, useAsDefault, description, owner)
VALUES ('', '', ?, ?, 'default', ?, '', 1, '', '')
"""


def write_geopackage(
    path: Path,
    layers: Mapping[str, gpd.GeoDataFrame],
    *,
    styles: Mapping[str, str],
    metadata: Mapping[str, str],
) -> None:
    """Write layers as MultiPolygons, each with its default style, whole or not at all.

    Days (`datetime.date`, or datetime64 without zone and without a time of day) become DATE, times
    become DATETIME in UTC. A column that holds nothing is a column of days when its name ends in
    `_date`. QGIS takes fields named `start_date` and `end_date` for the time of a layer.

    Args:
        path: the .gpkg; replaced when it exists.
        layers: by name: lower case letters, digits and underscores. May be empty of rows. Heights
            of vertices are not written.
        styles: QML by layer name.
        metadata: kept with the data set.

    Raises:
        ConfigError: a name that a GeoPackage must not hold, or a style without its layer.
        GridError: a layer without a coordinate reference system.
        OutputError: the file cannot be written, is open in another program, is not intact after
            writing, or a layer holds something else than polygons.
    """
    check_geopackage_path(path)
    _check_request(path, layers, styles, metadata)
    for name, table in layers.items():
        _check_name(name)
        _check_columns(name, table)
        _check_geometry(name, table)
    with writing(path) as aside:
        try:
            for name, table in layers.items():
                _write_layer(aside, name, table, metadata)
            with closing(sqlite3.connect(aside)) as database:
                _add_styles(database, styles)
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
    path: Path,
    layers: Mapping[str, gpd.GeoDataFrame],
    styles: Mapping[str, str],
    metadata: Mapping[str, str],
) -> None:
    if not layers:
        raise ConfigError(f"{path} would hold no layer; give at least one, which may be empty.")
    for name in styles:
        if name not in layers:
            raise ConfigError(f"no layer named {name!r} for its style. {nearest(name, layers)}")
    for key in metadata:
        if not _KEY.fullmatch(key):
            raise ConfigError(
                f"{key!r} cannot be a key of metadata; use a letter, then letters, digits, '_', "
                "'.' and '-'."
            )


def _check_name(name: str) -> None:
    reserved = name.startswith(_RESERVED_PREFIXES) or name in _RESERVED_NAMES
    if reserved or not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name!r} cannot name a layer; use a lower case letter, then up to 62 lower case "
            f"letters, digits and _. Reserved: {', '.join(_RESERVED_NAMES)}, and what begins "
            f"with {', '.join(_RESERVED_PREFIXES)}."
        )


def _check_columns(name: str, table: gpd.GeoDataFrame) -> None:
    columns = [str(column) for column in table.columns.drop(table.geometry.name)]
    seen = Counter(column.lower() for column in ("fid", _GEOMETRY, *columns))
    for column in columns:
        if not column or seen[column.lower()] > 1:
            raise ConfigError(
                f"Layer {name!r} cannot hold a column named {column!r}; rename it. Names differ by "
                f"more than case, and 'fid' and {_GEOMETRY!r} are taken."
            )


def _check_geometry(name: str, table: gpd.GeoDataFrame) -> None:
    if table.crs is None:
        raise GridError(f"Layer {name!r} has no coordinate reference system; set one first.")
    geometry = table.geometry.to_numpy()
    polygons = np.isin(shapely.get_type_id(geometry), _POLYGONAL) & ~shapely.is_empty(geometry)
    if not polygons.all():
        row = int(np.argmin(polygons))
        raise OutputError(
            f"Layer {name!r} has no polygon in row {row} of {len(table)} (it holds "
            f"{geometry[row]!s:.40}); drop what is empty and what is not a polygon."
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
    path: Path, name: str, table: gpd.GeoDataFrame, metadata: Mapping[str, str]
) -> None:
    columns = table.columns.drop(table.geometry.name)
    fields = [_field(table[column]) for column in columns]
    times = [c for c, (values, _) in zip(columns, fields, strict=True) if values.dtype == "M8[ms]"]
    first = not path.exists()
    epsg = table.crs.to_epsg()
    # The lower of pyogrio's two ways in: the other has no type for a day, and writes days as text.
    pyogrio.raw.write(
        path,
        shapely.to_wkb(shapely.force_2d(table.geometry.to_numpy())),
        [values for values, _ in fields],
        [str(column) for column in columns],
        field_mask=[missing for _, missing in fields],
        layer=name,
        driver="GPKG",
        geometry_type="MultiPolygon",
        promote_to_multi=True,
        crs=f"EPSG:{epsg}" if epsg else table.crs.to_wkt(),
        gdal_tz_offsets={str(column): np.full(len(table), _UTC) for column in times},
        append=not first,
        dataset_metadata=dict(metadata) if first and metadata else None,
        dataset_options={"VERSION": _VERSION} if first else None,
        layer_options={"GEOMETRY_NAME": _GEOMETRY},
    )


def _field(column: pd.Series) -> tuple[NDArray[np.generic], NDArray[np.bool_] | None]:
    """What GDAL is given of a column: values, and where they are missing unless they say so."""
    kind = pd.api.types.infer_dtype(column, skipna=True)
    missing = column.isna().to_numpy()
    if kind == "date" or (kind == "empty" and str(column.name).endswith("_date")):
        days = [None if gone else day for day, gone in zip(column, missing, strict=True)]
        return np.array(days, dtype="M8[D]"), None
    if kind in {"datetime", "datetime64"}:
        return _times(column), None
    values = column.to_numpy()
    if isinstance(column.dtype, pd.api.extensions.ExtensionDtype) and column.dtype.kind in "biuf":
        values = column.to_numpy(dtype=column.dtype.type, na_value=False)
    return values, missing


def _times(column: pd.Series) -> NDArray[np.datetime64]:
    """Days where there is neither a zone nor a time of day, as GeoPandas reads them; else UTC."""
    times = pd.to_datetime(column, utc=True).dt.tz_localize(None)
    stored: NDArray[np.datetime64] = times.to_numpy(dtype="M8[ms]")
    days = stored.astype("M8[D]")
    zoned = isinstance(column.dtype, pd.DatetimeTZDtype) or column.dtype == object
    if not zoned and (np.isnat(stored) | (stored == days)).all():
        return days
    return stored


def _add_styles(database: sqlite3.Connection, styles: Mapping[str, str]) -> None:
    with database:
        database.execute(_STYLES_TABLE)
        database.execute(_REGISTER_TABLE)
        database.executemany(_ADD_STYLE, [(name, _GEOMETRY, qml) for name, qml in styles.items()])


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
