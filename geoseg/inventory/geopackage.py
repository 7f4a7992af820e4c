"""Layers of outlines in one GeoPackage, with the styles that QGIS opens them in."""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import numpy as np
import pyogrio
import shapely

from geoseg.errors import ConfigError, GridError, OutputError
from geoseg.files import writing

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import geopandas as gpd

__all__ = ["write_geopackage"]

_NAME = re.compile(r"^[a-z][a-z0-9_]{0,62}$")
_RESERVED = ("gpkg_", "rtree_", "sqlite_", "layer_styles", "qgis_projects")
# 1.4 makes QGIS 3.22 warn and the validator of GDAL 3.6 report errors that are none.
_VERSION = "1.3"

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
VALUES ('', '', ?, 'geom', ?, ?, '', 1, '', '')
"""


def write_geopackage(
    path: Path,
    layers: Mapping[str, gpd.GeoDataFrame],
    *,
    styles: Mapping[str, str],
    metadata: Mapping[str, str],
) -> None:
    """Write layers as MultiPolygons, each with its default style, whole or not at all.

    Args:
        path: the .gpkg; replaced when it exists.
        layers: by name: lower case letters, digits and underscores. May be empty of rows.
        styles: QML by layer name.
        metadata: kept with the data set.

    Raises:
        ConfigError: a layer name that a GeoPackage must not hold.
        GridError: a layer without a coordinate reference system.
        OutputError: the file cannot be written, or is not intact after writing.
    """
    for name, table in layers.items():
        _check_name(name)
        if table.crs is None:
            raise GridError(f"Layer {name!r} has no coordinate reference system; set one first.")
    with writing(path) as aside:
        try:
            for name, table in layers.items():
                _write_layer(aside, name, table, metadata)
            with closing(sqlite3.connect(aside)) as database:
                _add_styles(database, styles)
                _check(database, {name: len(table) for name, table in layers.items()})
        except (pyogrio.errors.DataSourceError, sqlite3.Error) as error:
            raise OutputError(f"{path} could not be written: {error}.") from error


def _check_name(name: str) -> None:
    if not _NAME.match(name) or name.startswith(_RESERVED):
        raise ConfigError(
            f"{name!r} cannot name a layer; use a lower case letter, then letters, digits and _, "
            f"and none of {', '.join(_RESERVED)} in front."
        )


def _write_layer(
    path: Path, name: str, table: gpd.GeoDataFrame, metadata: Mapping[str, str]
) -> None:
    # One geometry type a layer: QGIS and GDAL refuse a mixture.
    several = shapely.get_type_id(table.geometry.to_numpy()) == shapely.GeometryType.MULTIPOLYGON
    parts = [
        geometry if multi else shapely.multipolygons([geometry])
        for geometry, multi in zip(table.geometry, several, strict=True)
    ]
    pyogrio.write_dataframe(
        table.set_geometry(np.array(parts, dtype=object), crs=table.crs),
        path,
        layer=name,
        driver="GPKG",
        geometry_type="MultiPolygon",
        append=path.exists(),
        dataset_metadata=dict(metadata),
        dataset_options={"VERSION": _VERSION},
        layer_options={"GEOMETRY_NAME": "geom"},
    )


def _add_styles(database: sqlite3.Connection, styles: Mapping[str, str]) -> None:
    with database:
        database.execute(_STYLES_TABLE)
        database.execute(_REGISTER_TABLE)
        database.executemany(_ADD_STYLE, [(name, name, qml) for name, qml in styles.items()])


def _check(database: sqlite3.Connection, rows: Mapping[str, int]) -> None:
    """A table whose index was cut short reads as empty without an error, so rows are counted."""
    (intact,) = database.execute("PRAGMA integrity_check").fetchone()
    counted = dict(database.execute("SELECT table_name, feature_count FROM gpkg_ogr_contents"))
    if intact != "ok" or any(counted.get(name) != count for name, count in rows.items()):
        raise OutputError(f"The GeoPackage is not intact after writing ({intact}, {counted}).")
