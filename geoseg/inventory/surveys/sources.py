"""Surveys from vector files of any origin: geoseg's own, and other people's inventories."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import shapely
from pyogrio.errors import DataLayerError, DataSourceError

from geoseg.dates import Interval
from geoseg.errors import ConfigError, GridError, LabelError, nearest
from geoseg.inventory.surveys.survey import ICE_CLASSES, LAKE_CLASSES, kind_of
from geoseg.labels import survey_days
from geoseg.scenes import Shift
from geoseg.vectors import opening

if TYPE_CHECKING:
    import datetime as dt
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from pyproj import CRS

    from geoseg.inventory.inventory import Inventory

__all__ = ["Drawn", "columns_of", "drawn_of", "read_drawn", "read_ground", "read_reference"]

_SEEN = "seen"  # layer with the ground that a map covers
_OUTLINES = "outlines"  # layer of geoseg's own files
_DEFAULT_CLASS = "glacier"
_GLIMS_LINE, _GLIMS_ROCK = "line_type", "intrnl_rock"
_GLIMS_CLASSES = {
    "glac_bound": "glacier",
    "supra_lake": "supraglacial_lake",
    "pro_lake": "proglacial_lake",
}
_CLASSES = ICE_CLASSES | LAKE_CLASSES | {"thaw_slump"}
_TYPING_ERROR = 0.8  # likeness of a word to a column, from which it was meant to be that
_OWN_DAYS = ("start_date", "end_date")
_UNREADABLE = (DataLayerError, DataSourceError)
_POLYGONAL = (3, 6)

# What inventories call the same thing, in any case: RGI 7, RGI 6, GLIMS, national ones.
_NAMES = ("glac_name", "name", "glacname", "glacier_name", "glaciername")
_IDS = ("rgi_id", "rgiid", "glims_id", "glimsid", "glac_id", "uid")
_CARRIED_TEXTS = ("scene", "sensor", "model")
_CARRIED_NUMBERS = ("probability", "probability_sd", "snow_share", "shadow_share", "gsd_m")
_CHANCE = "p_"  # begins the name of the mean probability of a class


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """Outlines as a file holds them, in its own CRS, before they are mended."""

    source: str  # name of the file, and of the layer where it matters
    when: Interval
    outlines: gpd.GeoDataFrame  # with kind, class_name, glac_name, start_date, end_date
    seen: gpd.GeoSeries | None  # None where the file does not say what ground it covers
    gsd_m: float | None = None
    whole: bool = False  # whether glaciers are whole, though a class of ice be their name
    repaired: int = 0  # what was mended before the file was written
    duplicates: int = 0
    overlaps: int = 0
    shift: Shift | None = None  # that the outlines were moved back by
    corrected: bool = False


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
        LabelError: no such file or layer, no polygon in what it holds, or no dates.
        ConfigError: no such column, or no date known.
        GridError: no coordinate reference system.
    """
    name = _layer_of(path, layer)
    where = path.name if layer is None else f"{path.name}::{name}"
    table = _of_glims(_read(path, name), class_of)
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
            "start_date": starts,
            "end_date": ends,
            **_carried(table),
        },
        geometry=shapely.force_2d(table.geometry.to_numpy()),
        crs=table.crs,
    )
    ground = read_ground(path, _SEEN) if _SEEN in _layers(path) else None
    return Drawn(source=where, when=when, outlines=outlines, seen=ground, gsd_m=_gsd_m(outlines))


def columns_of(path: Path, layer: str | None = None) -> list[str]:
    """The columns of a layer beside its geometry.

    Raises:
        LabelError: no such file or layer.
    """
    wanted = _layer_of(path, layer)
    try:
        with opening(path) as file:
            return [str(name) for name in pyogrio.read_info(file, layer=wanted)["fields"]]
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error


def read_ground(path: Path, layer: str | None = None) -> gpd.GeoSeries:
    """The ground that a survey saw: all polygons of a layer, in its CRS.

    Raises:
        LabelError: no such file or layer, or no polygon in what it holds.
        GridError: no coordinate reference system.
    """
    table = _read(path, _layer_of(path, layer))
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
        corrected = bool(row.corrected)
        found.append(
            Drawn(
                source=row.source if isinstance(row.source, str) else source,
                when=Interval.of_days(row.start_date, row.end_date),
                outlines=own.reset_index(drop=True),
                seen=None if row.geometry is None else inventory.surveys.geometry[[row.Index]],
                gsd_m=None if pd.isna(row.gsd_m) else float(row.gsd_m),
                whole=True,
                repaired=int(row.repaired),
                duplicates=int(row.duplicates),
                overlaps=int(row.overlaps),
                # Where a survey was not moved, its shift is measured again: it is that from another
                # one, where the survey that lies best is new.
                shift=_shift(inventory.surveys, row.Index) if corrected else None,
                corrected=corrected,
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
        with opening(path) as file:
            return {str(name): kind for name, kind in pyogrio.list_layers(file)}
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error


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
        # A GeoJSON or an empty layer may not say its type; what else there is, is refused by name.
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
        with opening(path) as file:
            table = pyogrio.read_dataframe(file, layer=layer)
    except _UNREADABLE as error:
        raise _unreadable(path, error) from error
    if not isinstance(table, gpd.GeoDataFrame):
        raise LabelError(f"Layer {layer!r} of {path} holds no geometry; name a layer of outlines.")
    if table.crs is None:
        raise GridError(
            f"{path} has no coordinate reference system; set it with `ogr2ogr -a_srs EPSG:...`."
        )
    types = shapely.get_type_id(table.geometry.to_numpy())
    if len(table) and not np.isin(types, _POLYGONAL).any():
        found = {str(kind) for kind in table.geometry.geom_type.dropna()}
        raise LabelError(
            f"Layer {layer!r} of {path} holds no polygon, only "
            f"{', '.join(sorted(found)) or 'rows without geometry'}; give outlines."
        )
    return table


def _unreadable(path: Path, error: Exception) -> LabelError:
    # GDAL goes on with advice about drivers.
    reason = str(error).partition("; It might help")[0].strip(" .")
    return LabelError(
        f"{path} cannot be read as a vector file ({reason}); give a GeoPackage, shapefile or "
        "GeoJSON of outlines."
    )


def _of_glims(table: gpd.GeoDataFrame, class_of: str | None) -> gpd.GeoDataFrame:
    """A table of GLIMS as outlines with classes: its rock is a hole in ice, other lines no outline.

    Any other table stays as it is.
    """
    if class_of is not None or _GLIMS_LINE not in table.columns:
        return table
    line = table[_GLIMS_LINE].astype(str).str.lower().to_numpy()
    classes = np.array([_GLIMS_CLASSES.get(name) for name in line], dtype=object)
    geometry = shapely.make_valid(table.geometry.to_numpy(), method="structure")
    rock = geometry[line == _GLIMS_ROCK]
    if len(rock):
        ice = np.flatnonzero(classes == _DEFAULT_CLASS)
        geometry[ice] = shapely.difference(geometry[ice], shapely.union_all(rock))
    known = np.array([name is not None for name in classes], dtype=bool)
    mended = table.set_geometry(gpd.GeoSeries(geometry, index=table.index, crs=table.crs))
    return mended.assign(class_name=classes)[known].reset_index(drop=True)


def _classes(table: gpd.GeoDataFrame, class_of: str | None, where: str) -> list[str]:
    if class_of is None:
        class_of = "class_name" if "class_name" in table.columns else _DEFAULT_CLASS
    if class_of in table.columns:
        return [_DEFAULT_CLASS if pd.isna(value) else str(value) for value in table[class_of]]
    columns = [str(c) for c in table.columns if c != table.geometry.name]
    if not class_of.replace("_", "").isalnum() or class_of != class_of.lower():
        raise ConfigError(
            f"{class_of!r} is no column of {where} and cannot be a class (lower case letters, "
            f"digits and _). {nearest(class_of, columns)}"
        )
    if class_of not in _CLASSES and get_close_matches(class_of, columns, cutoff=_TYPING_ERROR):
        raise ConfigError(
            f"{class_of!r} is no column of {where}, and too like one to be the class of all "
            f"outlines. {nearest(class_of, columns)}"
        )
    return [class_of] * len(table)


def _days(
    table: gpd.GeoDataFrame, when: Interval | None, date_of: str | None, where: str
) -> tuple[list[dt.date], list[dt.date]]:
    """First day of each outline, and the day after its last."""
    if date_of is not None and date_of not in table.columns:
        known = [str(c) for c in table.columns if c != table.geometry.name]
        raise ConfigError(f"{where} has no column {date_of!r}. {nearest(date_of, known)}")
    if date_of is None and when is not None:
        first, end = when.first_day, when.end_day
        return [first] * len(table), [end] * len(table)
    columns = _OWN_DAYS if date_of is None else (date_of, date_of)
    if not set(columns) <= set(table.columns):
        raise ConfigError(
            f"{where} does not say when its outlines were seen; give --dates, one for each file, "
            "or the column with --date-of."
        )
    if not len(table):
        return [], []
    starts, ends = (survey_days(table[c], where=f"Column {c!r} of {where}") for c in columns)
    # Other people's end_date may be the last day itself.
    ends = np.where(ends == starts, ends + np.timedelta64(1, "D"), ends)
    starts = np.where(np.isnat(starts), np.nanmin(starts), starts)
    ends = np.where(np.isnat(ends), np.nanmax(ends), ends)
    return starts.tolist(), ends.tolist()


def _carried(table: pd.DataFrame) -> dict[str, NDArray[np.generic]]:
    """Columns that outlines of a map have; what is not of their type is nothing to us."""
    columns = [str(c) for c in table.columns]
    numbers = [c for c in columns if c in _CARRIED_NUMBERS or c.startswith(_CHANCE)]
    texts = [c for c in columns if c in _CARRIED_TEXTS]
    return {
        **{c: np.asarray(pd.to_numeric(table[c], errors="coerce"), dtype=float) for c in numbers},
        **{c: np.array(_texts(table, c), dtype=object) for c in texts},
    }


def _shift(surveys: gpd.GeoDataFrame, row: int) -> Shift:
    """As the surveys of an inventory say it."""
    x_m, y_m, unc_m = (float(surveys.at[row, c]) for c in ("shift_x_m", "shift_y_m", "shift_unc_m"))
    return Shift(x_m=x_m, y_m=y_m, unc_m=unc_m, samples=0)


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
