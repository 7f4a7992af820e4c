"""Outlines for a part of a map: as many corners as can be seen, and what is known of each."""

from __future__ import annotations

import json
import math
import threading
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import shapely
from pyogrio.errors import DataLayerError, DataSourceError
from pyproj.exceptions import ProjError
from shapely.errors import GEOSException

from geoseg.dates import Interval
from geoseg.errors import GeosegError, LabelError
from geoseg.report.qgis import class_colours
from geoseg.report.quantities import known, measured, quantity, shown
from geoseg.vectors import opening
from geoseg.viewer.tiles import TILE_PX

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from geoseg.viewer.items import OutlineLayer

__all__ = ["UNREADABLE", "OutlineBook", "as_days"]

UNREADABLE = (DataLayerError, DataSourceError)

_MOST = 3000  # outlines that are drawn at once; the largest are
_KEPT = 6  # layers in memory
_SEEN_PX = 0.7  # by which a line may be off
_DIGITS = 6  # of a degree: a decimetre
# What is told of an outline, under which word; what a table has not is left out.
_IDS = ("track_id", "outline_id", "rgi_id", "ref_id", "glims_id")
_TOLD = (("survey", "survey"), ("scene", "scene"), ("sensor", "sensor"), ("source", "source"))


class OutlineBook:
    """Layers of outlines, kept in memory while they are looked at."""

    def __init__(self) -> None:
        self._kept = lru_cache(_KEPT)(lambda layer, _stamp: _read(layer))
        self._turn = threading.Lock()

    def within(
        self,
        layer: OutlineLayer,
        box: tuple[float, float, float, float],
        zoom: int,
    ) -> dict[str, Any]:
        """The outlines in a part of the map as GeoJSON, and how many smaller ones are left out.

        Each has a title, a class with its colour, and `about`: pairs of a word and what is known.

        Args:
            layer: of a GeoPackage.
            box: west, south, east and north, in degrees.
            zoom: of the map, which decides how many corners are seen.

        Raises:
            LabelError: it cannot be read.
        """
        table = self._table(layer)
        found = table.iloc[np.sort(table.sindex.query(shapely.box(*box)))]
        left_out = max(0, len(found) - _MOST)
        if left_out:
            found = found.iloc[np.sort(np.argsort(-found.area_deg2.to_numpy())[:_MOST])]
        colours = class_colours(sorted(set(table["shown_class"])))
        shapes = _drawn(found.geometry.to_numpy(), zoom)
        return {
            "left_out": left_out,
            "features": [
                {
                    "type": "Feature",
                    "geometry": json.loads(shape),
                    "properties": {
                        "title": row.shown_title,
                        "class": row.shown_class,
                        "colour": colours[row.shown_class],
                        "about": row.shown_about,
                    },
                }
                for shape, row in zip(shapes, found.itertuples(), strict=True)
            ],
        }

    def _table(self, layer: OutlineLayer) -> gpd.GeoDataFrame:
        # One at a time: all parts of the map ask for the same.
        with self._turn:
            try:
                return self._kept(layer, layer.path.stat().st_mtime_ns)
            except (OSError, ValueError, GEOSException, ProjError, *UNREADABLE) as error:
                if isinstance(error, GeosegError):
                    raise
                raise LabelError(
                    f"{layer.path} cannot be read ({error}); write it again, then open the page "
                    "again."
                ) from error


def as_days(column: pd.Series) -> pd.Series:
    """A column of days or of ISO texts as times, NaT where it holds neither."""
    return pd.to_datetime(column, errors="coerce", format="ISO8601", utc=True)


def _read(layer: OutlineLayer) -> gpd.GeoDataFrame:
    """The outlines of a layer in degrees, with what is told of them."""
    with opening(layer.path) as path:
        table = pyogrio.read_dataframe(path, layer=layer.layer)
    if layer.survey is not None and "survey" in table.columns:
        table = table[table["survey"].astype(str) == layer.survey]
    table = table[~(table.geometry.isna() | table.geometry.is_empty)]
    placed = shapely.force_2d(table.geometry.to_crs("EPSG:4326").to_numpy())
    on_map = _lie_somewhere(placed)
    table, placed = table[on_map], placed[on_map]
    return gpd.GeoDataFrame(
        {
            "shown_title": _titles(table),
            "shown_class": _classes(table),
            "shown_about": _about(table),
            "area_deg2": shapely.area(placed),
        },
        geometry=_in_one_piece(placed),
        crs="EPSG:4326",
    )


def _lie_somewhere(placed: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Whether all corners of each polygon are finite; one that is not cannot be drawn."""
    corners, row = shapely.get_coordinates(placed, return_index=True)
    somewhere = np.ones(len(placed), dtype=bool)
    somewhere[row[~np.isfinite(corners).all(axis=1)]] = False
    return somewhere


def _in_one_piece(placed: NDArray[np.object_]) -> NDArray[np.object_]:
    """What lies on either side of the antimeridian goes on east of it."""
    bounds = shapely.bounds(placed)
    split = bounds[:, 2] - bounds[:, 0] > 180
    placed[split] = shapely.transform(
        placed[split], lambda at: np.where(at[:, :1] < 0, at + np.array([360, 0]), at)
    )
    return placed


def _drawn(shapes: NDArray[np.object_], zoom: int) -> Sequence[str]:
    """Polygons as GeoJSON with the corners that are seen at a zoom."""
    south, north = shapely.bounds(shapes)[:, [1, 3]].T if len(shapes) else (np.zeros(0),) * 2
    pixel = 360 / 2**zoom / TILE_PX
    least = _SEEN_PX * pixel * np.cos(np.radians(np.minimum(np.abs(south + north) / 2, 85)))
    simple = shapely.simplify(shapes, least)
    rounded = shapely.transform(simple, lambda at: np.round(at, _DIGITS))
    return shapely.to_geojson(rounded).tolist() if len(shapes) else []


def _titles(table: pd.DataFrame) -> list[str]:
    names = _texts(table, ("glac_name", "name"))
    ids = _texts(table, _IDS)
    return [name or own or "Outline" for name, own in zip(names, ids, strict=True)]


def _classes(table: pd.DataFrame) -> list[str]:
    """The class of each row: `class_name`, `kind` where there is none, or else glacier."""
    column = next((name for name in ("class_name", "kind") if name in table.columns), None)
    if column is None:
        return ["glacier"] * len(table)
    return [shown(value) or "glacier" for value in table[column]]


def _about(table: pd.DataFrame) -> list[list[tuple[str, str]]]:
    """What is known of each outline, in words."""
    columns: list[tuple[str, list[str]]] = [
        ("id", _texts(table, _IDS)),
        ("class", [name.replace("_", " ") for name in _classes(table)]),
        ("date", _days(table)),
        ("area", _areas(table)),
        ("probability", _numbers(table, "probability")),
        *((word, _texts(table, (name,))) for name, word in _TOLD),
    ]
    return [
        [(word, values[row]) for word, values in columns if values[row]]
        for row in range(len(table))
    ]


def _texts(table: pd.DataFrame, names: Sequence[str]) -> list[str]:
    """The first of some columns that there is, as text."""
    name = next((name for name in names if name in table.columns), None)
    return [""] * len(table) if name is None else [shown(value) for value in table[name]]


def _numbers(table: pd.DataFrame, name: str) -> list[str]:
    if name not in table.columns:
        return [""] * len(table)
    return [quantity(v, 2) if np.isfinite(v) else "" for v in _values(table, name)]


def _values(table: pd.DataFrame, name: str) -> list[float]:
    """A column as numbers, NaN where it is missing or holds text that is none."""
    if name not in table.columns:
        return [math.nan] * len(table)
    return [known(value) for value in pd.to_numeric(table[name], errors="coerce")]


def _areas(table: pd.DataFrame) -> list[str]:
    if "area_km2" not in table.columns:
        return [""] * len(table)
    columns = (_values(table, name) for name in ("area_km2", "area_unc_km2"))
    return [
        f"{measured(area, unc)} km²" if np.isfinite(area) else ""
        for area, unc in zip(*columns, strict=True)
    ]


def _days(table: pd.DataFrame) -> list[str]:
    if not {"start_date", "end_date"} <= set(table.columns):
        return _texts(table, ("src_date", "date"))
    found = []
    spans = zip(as_days(table["start_date"]), as_days(table["end_date"]), strict=True)
    for first, end in spans:
        told = not (pd.isna(first) or pd.isna(end))
        found.append(Interval.of_days(first, end).words if told else "")
    return found
