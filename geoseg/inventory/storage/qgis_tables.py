"""The tables in which QGIS keeps styles, projects and descriptions inside a GeoPackage."""

from __future__ import annotations

import io
import json
import re
import zipfile
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Mapping

__all__ = ["add_descriptions", "add_projects", "add_styles"]

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")  # XML has no way to hold them

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
# QGIS does not list it in gpkg_contents either.
_PROJECTS_TABLE = "CREATE TABLE qgis_projects (name TEXT PRIMARY KEY, metadata BLOB, content BLOB)"
_ADD_PROJECT = "INSERT INTO qgis_projects (name, metadata, content) VALUES (?, ?, ?)"
_ADD_METADATA = """
INSERT INTO gpkg_metadata (md_scope, md_standard_uri, mime_type, metadata)
VALUES ('dataset', 'http://mrcc.com/qgis.dtd', 'text/xml', ?)
"""
_REFER_TO_METADATA = """
INSERT INTO gpkg_metadata_reference (reference_scope, table_name, timestamp, md_file_id)
VALUES ('table', ?, strftime('%Y-%m-%dT%H:%M:%fZ','now'), ?)
"""


def add_styles(
    database: sqlite3.Connection, styles: Mapping[str, str], geometry: Mapping[str, str]
) -> None:
    """Add a QML a layer, which QGIS opens it in; `geometry` names its column of geometry or ''."""
    with database:
        database.execute(_STYLES_TABLE)
        database.execute(_REGISTER_TABLE)
        database.executemany(_ADD_STYLE, [(n, geometry[n], qml) for n, qml in styles.items()])


def add_projects(database: sqlite3.Connection, projects: Mapping[str, str]) -> None:
    """Add projects (the XML of a .qgs by name), which QGIS lists below the GeoPackage."""
    if not projects:
        return
    known = {"last_modified_time": f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"}
    known["last_modified_user"] = "geoseg"
    about = json.dumps(known).encode()
    with database:
        database.execute(_PROJECTS_TABLE)
        database.executemany(
            _ADD_PROJECT, [(name, about, _qgz_in_hex(name, qgs)) for name, qgs in projects.items()]
        )


def add_descriptions(
    database: sqlite3.Connection, described: Iterable[tuple[str, Mapping[str, str]]]
) -> None:
    """Add what the properties of a layer show: title, abstract and licence, by its name."""
    with database:
        for layer, fields in described:
            root = ET.Element("qgis", version="3.22.0")
            for tag, text in {"identifier": layer, "type": "dataset", **fields}.items():
                ET.SubElement(root, tag).text = _CONTROL.sub("", text)
            added = database.execute(_ADD_METADATA, [ET.tostring(root, encoding="unicode")])
            database.execute(_REFER_TO_METADATA, [layer, added.lastrowid])


def _qgz_in_hex(name: str, qgs: str) -> str:
    """A zip that holds the project, in hexadecimal digits: QGIS reads no other form."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(zipfile.ZipInfo(f"{name}.qgs"), qgs.encode())
    return packed.getvalue().hex()
