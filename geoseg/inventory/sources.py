"""Surveys from vector files of any origin: geoseg's own, and other people's inventories."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import shapely
from pyogrio.errors import DataLayerError, DataSourceError

from geoseg.errors import ConfigError, GridError, LabelError, nearest
from geoseg.inventory.interval import Interval
from geoseg.inventory.survey import kind_of
from geoseg.labels import survey_days

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from pyproj import CRS

    from geoseg.inventory.inventory import Inventory

__all__ = ["Drawn", "drawn_of", "read_drawn", "read_ground", "read_reference"]

_SEEN = "seen"  # layer with the ground that a map covers
_OUTLINES = "outlines"  # layer of geoseg's own files
_DEFAULT_CLASS = "glacier"

# What inventories call the same thing, in any case: RGI 7, RGI 6, GLIMS, national ones.
_NAMES = ("glac_name", "name", "glacname", "glacier_name", "glaciername")
_IDS = ("rgi_id", "rgiid", "glims_id", "glimsid", "glac_id", "uid")
_CARRIED = ("probability", "probability_sd", "scene", "sensor", "gsd_m", "model")
_CHANCE = "p_"  # begins the name of the mean probability of a class


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """Outlines as a file holds them, in its own CRS, before they are mended."""

    source: str  # name of the file, and of the layer where it matters
    when: Interval
    outlines: gpd.GeoDataFrame  # with kind, class_name, glac_name, source_id, start_date, end_date
    seen: gpd.GeoSeries | None  # None where the file does not say what ground it covers
    gsd_m: float | None = None


def read_drawn(
    path: Path,
    *,
    layer: str | None = None,
    when: Interval | None = None,
    date_of: str | None = None,
    class_of: str | None = None,
) -> Drawn:
    """The outlines of one survey.

    Args:
        path: any vector file that GDAL reads.
        layer: which layer; `outlines` when None and there is one, else the first of polygons.
        when: the date of the survey; that of its outlines when None.
        date_of: the column with the day of each outline; `start_date` and `end_date` are known.
        class_of: the column with the class of each outline, or the class of all of them;
            `class_name` when None and there is one, else glacier.

    Raises:
        LabelError: no such file or layer, no polygon column in it, or no dates.
        ConfigError: no such column, or no date known.
        GridError: no coordinate reference system.
    """
    name = _layer_of(path, layer)
    where = path.name if layer is None else f"{path.name}::{name}"
    table = _read(path, name)
    if table.crs is None:
        raise GridError(
            f"{where} has no coordinate reference system; set it with `ogr2ogr -a_srs EPSG:...`."
        )
    starts, ends = _days(table, when, date_of, where)
    if when is None:
        when = Interval.of_days(min(starts), max(ends)) if len(table) else None
    if when is None:
        raise ConfigError(f"{where} is empty and does not say of when; give its --dates.")
    classes = _classes(table, class_of, where)
    outlines = gpd.GeoDataFrame(
        {
            "kind": [kind_of(c) for c in classes],
            "class_name": classes,
            "glac_name": _texts(table, _known_column(table, _NAMES)),
            "source_id": _texts(table, _known_column(table, _IDS)),
            "start_date": starts,
            "end_date": ends,
            **{c: table[c].to_numpy() for c in table.columns if _is_carried(c)},
        },
        geometry=shapely.force_2d(table.geometry.to_numpy()),
        crs=table.crs,
    )
    ground = read_ground(path, _SEEN) if _SEEN in _layers(path) else None
    return Drawn(source=where, when=when, outlines=outlines, seen=ground, gsd_m=_gsd_m(table))


def read_ground(path: Path, layer: str | None = None) -> gpd.GeoSeries:
    """The ground that a survey saw: all polygons of a layer, in its CRS.

    Raises:
        LabelError: no such file or layer.
        GridError: no coordinate reference system.
    """
    table = _read(path, _layer_of(path, layer))
    if table.crs is None:
        raise GridError(f"{path} has no coordinate reference system; set it first.")
    return gpd.GeoSeries(table.geometry, crs=table.crs)


def read_reference(path: Path, crs: CRS) -> gpd.GeoDataFrame:
    """Outlines of a reference inventory, RGI or GLIMS, with ref_id, glac_name and kind, mended.

    Args:
        path: any vector file with a column of ids.
        crs: of the result.

    Raises:
        LabelError: it cannot be read, or has no column of ids.
        GridError: it has no coordinate reference system.
    """
    table = _read(path, _layer_of(path, None))
    if table.crs is None:
        raise GridError(f"{path} has no coordinate reference system; set it first.")
    ids = _known_column(table, _IDS)
    if ids is None:
        known = ", ".join(str(c) for c in table.columns if c != table.geometry.name)
        raise LabelError(
            f"{path} has no column of ids ({', '.join(_IDS)}), only {known or 'none'}; give "
            "outlines of RGI or GLIMS."
        )
    placed = table.geometry.to_crs(crs).to_numpy()
    reference = gpd.GeoDataFrame(
        {
            "ref_id": _texts(table, ids),
            "glac_name": _texts(table, _known_column(table, _NAMES)),
            "kind": [kind_of(name) for name in _classes(table, None, path.name)],
        },
        geometry=shapely.make_valid(placed, method="structure", keep_collapsed=False),
        crs=crs,
    )
    return reference[reference["ref_id"].notna() & (reference.area > 0)].reset_index(drop=True)


def drawn_of(inventory: Inventory, source: str) -> list[Drawn]:
    """The surveys of an inventory, to be tracked again with others."""
    found = []
    for row in inventory.surveys.itertuples():
        own = inventory.outlines[inventory.outlines["survey"] == row.survey]
        found.append(
            Drawn(
                source=row.source if isinstance(row.source, str) else source,
                when=Interval.of_days(row.start_date, row.end_date),
                outlines=own.assign(source_id=own.get("source_id")).reset_index(drop=True),
                seen=inventory.surveys.geometry[[row.Index]],
                gsd_m=None if pd.isna(row.gsd_m) else float(row.gsd_m),
            )
        )
    return found


def _known_column(table: pd.DataFrame, names: Sequence[str]) -> str | None:
    """The column that goes by one of these names, in any case; the first of them that there is."""
    lower = {str(column).lower(): str(column) for column in table.columns}
    return next((lower[name] for name in names if name in lower), None)


def _layers(path: Path) -> Mapping[str, str | None]:
    """Layers of a file, each with its type of geometry."""
    if not path.exists():
        raise LabelError(f"{path} does not exist; check the path of the outlines.")
    try:
        return {str(name): kind for name, kind in pyogrio.list_layers(path)}
    except (DataSourceError, DataLayerError) as error:
        raise LabelError(f"{path} cannot be read as a vector file ({error}).") from error


def _layer_of(path: Path, layer: str | None) -> str:
    layers = _layers(path)
    if layer is not None:
        if layer not in layers:
            raise LabelError(f"{path} has no layer {layer!r}. {nearest(layer, layers)}")
        return layer
    if _OUTLINES in layers:
        return _OUTLINES
    polygonal = [n for n, kind in layers.items() if kind and "Polygon" in kind and n != _SEEN]
    if not polygonal:
        # A GeoJSON or an empty layer may not say its type.
        polygonal = [n for n, kind in layers.items() if kind is not None]
    if not polygonal:
        raise LabelError(f"{path} holds no layer of polygons; give a file of outlines.")
    if len(polygonal) > 1:
        raise LabelError(
            f"{path} holds several layers ({', '.join(polygonal)}); name one as "
            f"{path.name}::{polygonal[0]}."
        )
    return polygonal[0]


def _read(path: Path, layer: str) -> gpd.GeoDataFrame:
    try:
        table = pyogrio.read_dataframe(path, layer=layer)
    except (DataSourceError, DataLayerError) as error:
        raise LabelError(f"{path} cannot be read as a vector file ({error}).") from error
    if not isinstance(table, gpd.GeoDataFrame):
        raise LabelError(f"Layer {layer!r} of {path} holds no geometry; name a layer of outlines.")
    return table


def _classes(table: gpd.GeoDataFrame, class_of: str | None, where: str) -> list[str]:
    if class_of is None:
        class_of = "class_name" if "class_name" in table.columns else _DEFAULT_CLASS
    if class_of not in table.columns:
        if not class_of.replace("_", "").isalnum() or class_of != class_of.lower():
            columns = [str(c) for c in table.columns if c != table.geometry.name]
            raise ConfigError(
                f"{class_of!r} is no column of {where} and cannot be a class (lower case letters, "
                f"digits and _). {nearest(class_of, columns)}"
            )
        return [class_of] * len(table)
    return [_DEFAULT_CLASS if pd.isna(value) else str(value) for value in table[class_of]]


def _days(
    table: gpd.GeoDataFrame, when: Interval | None, date_of: str | None, where: str
) -> tuple[list[dt.date], list[dt.date]]:
    """First day of each outline, and the day after its last."""
    own = {"start_date", "end_date"} <= set(table.columns)
    if date_of is not None and date_of not in table.columns:
        columns = [str(c) for c in table.columns if c != table.geometry.name]
        raise ConfigError(f"{where} has no column {date_of!r}. {nearest(date_of, columns)}")
    if date_of is not None:
        found = survey_days(table[date_of], where=f"Column {date_of!r} of {where}")
        starts, ends = pd.Series(found), pd.Series(found + np.timedelta64(1, "D"))
    elif own and when is None:
        starts, ends = (pd.to_datetime(table[c]) for c in ("start_date", "end_date"))
    elif when is not None:
        first, end = when.start.date(), when.end.date()
        return [first] * len(table), [end] * len(table)
    else:
        raise ConfigError(
            f"{where} does not say when its outlines were seen; give --dates, one for each file, "
            "or the column with --date-of."
        )
    known = ~starts.isna() & ~ends.isna()
    if not known.any() and when is None and len(table):
        raise ConfigError(f"{where} holds no date; give --dates, one for each file.")
    earliest, latest = starts[known].min(), ends[known].max()
    starts, ends = starts.fillna(earliest), ends.fillna(latest)
    return list(starts.dt.date), list(ends.dt.date)


def _is_carried(column: str) -> bool:
    return column in _CARRIED or column.startswith(_CHANCE)


def _texts(table: pd.DataFrame, column: str | None) -> list[str | None]:
    if column is None:
        return [None] * len(table)
    return [None if pd.isna(value) or not str(value).strip() else str(value).strip()
            for value in table[column]]  # fmt: skip


def _gsd_m(table: pd.DataFrame) -> float | None:
    """The coarsest pixel that outlines were drawn on, where they say."""
    if "gsd_m" not in table.columns or table["gsd_m"].isna().all():
        return None
    return float(table["gsd_m"].max())
