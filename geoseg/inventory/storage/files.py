"""The files of an inventory: a GeoPackage, and a folder of GeoParquet beside it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pyogrio
from pyogrio.errors import DataLayerError, DataSourceError

from geoseg.errors import ConfigError, LabelError
from geoseg.inventory.columns import COLUMNS, GEOMETRY_TYPES, conform
from geoseg.inventory.inventory import Inventory
from geoseg.inventory.storage.geopackage import (
    LAYER_TITLE,
    LayerTraits,
    check_geopackage_path,
    write_geopackage,
)
from geoseg.inventory.storage.shown import SHOWN, with_shown
from geoseg.inventory.storage.twin import forget_twin, require_twin_or_nothing, write_twin
from geoseg.vectors import opening

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import pandas as pd

__all__ = ["PROJECT_NAME", "is_inventory", "read_inventory", "write_inventory"]

PROJECT_NAME = "inventory"  # of the QGIS project in the file

_TITLE, _LICENCE = "title", "licence"
_FOREIGN = "GPKG_METADATA_ITEM_"  # how GDAL names metadata of others, such as of QGIS
_ABSTRACTS = {
    "surveys": ("Surveys", "The ground that each survey saw."),
    "tracks": ("Tracks", "One row a glacier, lake or slump, as it was seen last, with its change."),
    "outlines": ("Outlines", "Every outline of every survey."),
    "lakes": ("Lakes", "The lakes among the outlines, with their type."),
    "changes": ("Changes", "Ground gained and lost between surveys that follow each other."),
    "events": ("Events", "Where a track appears, vanishes, reappears, splits or merges."),
    "states": ("States", "Whether each track was present, absent or unknown at each survey."),
}


def write_inventory(
    path: Path,
    inventory: Inventory,
    *,
    styles: Mapping[str, str],
    project: str | None,
    parquet: bool = True,
) -> None:
    """Write an inventory as a GeoPackage and, beside it, as a folder of GeoParquet.

    The GeoPackage appears whole or not at all. The folder, `NAME_parquet` for NAME.gpkg, holds one
    file a table; it is complete before the GeoPackage is replaced, and takes its place after.

    Layers of the GeoPackage that a survey shows have two columns more than docs/inventory.md says,
    `shown_from` and `shown_until`: the time in which the project draws a row.

    Args:
        path: the .gpkg; replaced when it exists.
        inventory: all of its columns are there, empty where nothing is known.
        styles: QML by layer name.
        project: the XML of a QGIS project for a file of this name, kept in it as `inventory`.
        parquet: write the folder; without it, one that an earlier inventory left is removed.

    Raises:
        ConfigError: the path does not end in .gpkg, or a key of the provenance cannot be one.
        LabelError: a table lacks a column, or a column holds what is not of its type.
        OutputError: the files cannot be written, or are open in another program.
    """
    check_geopackage_path(path)
    require_twin_or_nothing(path)
    about = _about(inventory)
    tables = {name: conform(name, table) for name, table in inventory.tables()}
    with write_twin(path, tables, about) if parquet else forget_twin(path):
        write_geopackage(
            path,
            with_shown(tables),
            styles=styles,
            metadata={},
            traits={name: _traits(name, about) for name in tables},
            projects={PROJECT_NAME: project} if project else {},
        )


def _about(inventory: Inventory) -> dict[str, str]:
    """Title, licence and provenance."""
    for key in (_TITLE, _LICENCE, LAYER_TITLE):
        if key in inventory.provenance:
            raise ConfigError(
                f"The provenance of an inventory has a key {key!r}; use another, that one is taken."
            )
    return {_TITLE: inventory.title, _LICENCE: inventory.licence, **inventory.provenance}


def _traits(layer: str, about: Mapping[str, str]) -> LayerTraits:
    title, abstract = _ABSTRACTS[layer]
    return LayerTraits(
        points=GEOMETRY_TYPES.get(layer) == "Point",
        # Nobody may know where a survey ended that saw all of the ground.
        gaps=layer == "surveys",
        title=title,
        abstract=abstract,
        licence=about[_LICENCE],
        metadata={key: value for key, value in about.items() if value},
    )


def is_inventory(path: Path) -> bool:
    """Whether a file is a GeoPackage with the layers of an inventory, at a glance."""
    try:
        return not _missing_layers(path)
    except (sqlite3.Error, UnicodeDecodeError):
        return False


def read_inventory(path: Path) -> Inventory:
    """Read an inventory from its GeoPackage.

    Raises:
        LabelError: it is missing, is no inventory, or is damaged.
    """
    if not path.is_file():
        raise LabelError(f"{path} does not exist; give the .gpkg of an inventory.")
    try:
        missing = _missing_layers(path)
        if missing:
            raise LabelError(
                f"{path} is no inventory: it has no layer {missing[0]!r}. Give a file that geoseg "
                "wrote as an inventory."
            )
        with opening(path) as file:
            tables = {name: _read(file, name) for name in COLUMNS}
            kept = pyogrio.read_info(file, layer="outlines")["layer_metadata"] or {}
    except (sqlite3.Error, UnicodeDecodeError, DataSourceError, DataLayerError) as error:
        raise LabelError(
            f"{path} cannot be read as an inventory: {error}. It is damaged, or no GeoPackage; "
            "write it again."
        ) from error
    title, licence = kept.pop(_TITLE, ""), kept.pop(_LICENCE, "")
    own = {k: v for k, v in kept.items() if k != LAYER_TITLE and not k.startswith(_FOREIGN)}
    return Inventory(**tables, title=title, licence=licence, provenance=own)


def _missing_layers(path: Path) -> list[str]:
    """Layers of an inventory that a GeoPackage lacks, or has as another kind of table."""
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as database:
        held = set(database.execute("SELECT table_name, data_type FROM gpkg_contents"))
    wanted = {n: "features" if n in GEOMETRY_TYPES else "attributes" for n in COLUMNS}
    return [name for name, kind in wanted.items() if (name, kind) not in held]


def _read(file: Path, layer: str) -> pd.DataFrame:
    table = pyogrio.read_dataframe(file, layer=layer)
    return conform(layer, table.drop(columns=[c for c in SHOWN if c in table.columns]))
