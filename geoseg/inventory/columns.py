"""The columns of an inventory and their types, as docs/inventory.md describes them."""

from __future__ import annotations

import datetime as dt
from typing import TYPE_CHECKING

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from geoseg.errors import LabelError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["COLUMNS", "GEOMETRY_TYPES", "as_type", "conform"]

# text, date, real, integer or bool.
_OUTLINES = {
    "outline_id": "text",
    "track_id": "text",
    "survey": "text",
    "kind": "text",
    "class_name": "text",
    "glac_name": "text",
    "src_date": "date",
    "start_date": "date",
    "end_date": "date",
    "area_km2": "real",
    "area_unc_km2": "real",
    "area_unc_px_km2": "real",
    "area_unc_reg_km2": "real",
    "area_unc_model_km2": "real",
    "cenlon": "real",
    "cenlat": "real",
    "parts": "integer",
    "debris_share": "real",
    "pond_share": "real",
    "snow_share": "real",
    "shadow_share": "real",
    "invalid_share": "real",
    "zmin_m": "real",
    "zmed_m": "real",
    "zmean_m": "real",
    "zmax_m": "real",
    "slope_deg": "real",
    "aspect_deg": "real",
    "aspect_sec": "integer",
    "dem_source": "text",
    "probability": "real",
    "probability_sd": "real",
    "scene": "text",
    "sensor": "text",
    "gsd_m": "real",
    "model": "text",
}
_TRACKS = {
    "track_id": "text",
    "ref_id": "text",
    "kind": "text",
    "glac_name": "text",
    "parent_id": "text",
    "merged_into": "text",
    "start_date": "date",
    "end_date": "date",
    "n_present": "integer",
    "n_absent": "integer",
    "n_unknown": "integer",
    "area_first_km2": "real",
    "area_last_km2": "real",
    "change_km2": "real",
    "change_unc_km2": "real",
    "change_pct": "real",
    "significant": "bool",
    "rate_km2_a": "real",
    "rate_lo_km2_a": "real",
    "rate_hi_km2_a": "real",
    "rate_pct_a": "real",
    "cenlon": "real",
    "cenlat": "real",
}
_EVENTS = {
    "event": "text",
    "track_id": "text",
    "other_ids": "text",
    "kind": "text",
    "survey_before": "text",
    "survey_after": "text",
    "start_date": "date",
    "end_date": "date",
    "area_km2": "real",
}
_LAKES = {
    "outline_id": "text",
    "track_id": "text",
    "survey": "text",
    "start_date": "date",
    "end_date": "date",
    "area_km2": "real",
    "area_unc_km2": "real",
    "cenlon": "real",
    "cenlat": "real",
    "lake_type": "text",
    "dist_ice_m": "real",
    "glacier_id": "text",
}
_CHANGES = {
    "track_id": "text",
    "kind": "text",
    "change": "text",
    "survey_from": "text",
    "survey_to": "text",
    "start_date": "date",
    "end_date": "date",
    "area_km2": "real",
}
_SURVEYS = {
    "survey": "text",
    "start_date": "date",
    "end_date": "date",
    "source": "text",
    "sensor": "text",
    "model": "text",
    "gsd_m": "real",
    "outlines": "integer",
    "repaired": "integer",
    "duplicates": "integer",
    "overlaps": "integer",
    "shift_x_m": "real",
    "shift_y_m": "real",
    "shift_unc_m": "real",
    "corrected": "bool",
}
_STATES = {
    "track_id": "text",
    "kind": "text",
    "survey": "text",
    "start_date": "date",
    "end_date": "date",
    "status": "text",
    "area_km2": "real",
    "area_unc_km2": "real",
}

COLUMNS: Mapping[str, Mapping[str, str]] = {
    "surveys": _SURVEYS,
    "tracks": _TRACKS,
    "outlines": _OUTLINES,
    "lakes": _LAKES,
    "changes": _CHANGES,
    "events": _EVENTS,
    "states": _STATES,
}
GEOMETRY_TYPES: Mapping[str, str] = {
    **dict.fromkeys(("surveys", "tracks", "outlines", "lakes", "changes"), "MultiPolygon"),
    "events": "Point",
}

_GEOMETRY = "geometry"
_TEXT_TYPE = pd.Series([""]).dtype  # object before pandas 3


def conform(layer: str, table: pd.DataFrame) -> pd.DataFrame:
    """A table of an inventory with the types of its columns and in their order, a copy.

    Columns that the inventory does not know follow, as they are; the geometry comes last. Text is
    of the type that pandas gives it, days are `datetime.date` or None, whole numbers are Int64,
    yes and no are boolean, polygons are multipolygons.

    Raises:
        LabelError: a column is missing, or holds what is not of its type.
    """
    wanted = COLUMNS[layer]
    for name in wanted:
        if name not in table.columns:
            raise LabelError(
                f"The layer {layer!r} of an inventory has no column {name!r}; add it, empty where "
                "nothing is known."
            )
    typed = table.copy()
    for name, kind in wanted.items():
        try:
            typed[name] = as_type(table[name], kind)
        except (TypeError, ValueError, AttributeError) as error:
            raise LabelError(
                f"Column {name!r} of the layer {layer!r} is not all of {kind}s ({error}); give "
                f"each row a {kind} or nothing."
            ) from error
    if layer in GEOMETRY_TYPES:
        typed = _with_geometry(layer, typed)
    others = [c for c in typed.columns if c not in wanted and c != _GEOMETRY]
    last = [_GEOMETRY] if layer in GEOMETRY_TYPES else []
    return typed[[*wanted, *others, *last]].reset_index(drop=True)


def as_type(column: pd.Series, kind: str) -> pd.Series:
    """A column as text, date, real, integer or bool, as `conform` says.

    Raises:
        TypeError: a value is not of this type.
        ValueError: likewise.
        AttributeError: likewise.
    """
    return _AS[kind](column)


def _with_geometry(layer: str, table: pd.DataFrame) -> gpd.GeoDataFrame:
    """The table with its geometry in the column `geometry`, of one type."""
    if not isinstance(table, gpd.GeoDataFrame) or table.active_geometry_name is None:
        raise LabelError(
            f"The layer {layer!r} of an inventory has no geometry; give a GeoDataFrame."
        )
    named = table if table.geometry.name == _GEOMETRY else table.rename_geometry(_GEOMETRY)
    if GEOMETRY_TYPES[layer] == "MultiPolygon":
        shapes = np.array(named.geometry.to_numpy(), dtype=object)
        (single,) = np.nonzero(shapely.get_type_id(shapes) == shapely.GeometryType.POLYGON)
        shapes[single] = shapely.multipolygons(shapes[single], indices=np.arange(len(single)))
        named = named.set_geometry(gpd.GeoSeries(shapes, index=named.index, crs=named.crs))
    return named


def _as_text(column: pd.Series) -> pd.Series:
    if _TEXT_TYPE != "object" and column.dtype == _TEXT_TYPE:
        return column
    values = [
        None if empty else value if type(value) is str else str(value)
        for value, empty in zip(column, column.isna().tolist(), strict=True)
    ]
    return pd.Series(values, index=column.index, dtype=_TEXT_TYPE)


def _as_days(column: pd.Series) -> pd.Series:
    days = {value: _day(value) for value in column.unique()}  # few, however long the table
    return pd.Series([days.get(value) for value in column], index=column.index, dtype=object)


def _day(value: dt.date | str | None) -> dt.date | None:
    if pd.isna(value):
        return None
    if isinstance(value, str):
        return dt.date.fromisoformat(value)
    return value.date() if isinstance(value, dt.datetime) else dt.date(*value.timetuple()[:3])


def _as_real(column: pd.Series) -> pd.Series:
    return pd.to_numeric(column).astype("Float64").astype("float64")


def _as_integer(column: pd.Series) -> pd.Series:
    return pd.to_numeric(column).astype("Int64")


def _as_bool(column: pd.Series) -> pd.Series:
    return column.astype("boolean")


_AS: Mapping[str, Callable[[pd.Series], pd.Series]] = {
    "text": _as_text,
    "date": _as_days,
    "real": _as_real,
    "integer": _as_integer,
    "bool": _as_bool,
}
