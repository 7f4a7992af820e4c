"""Areas that scenes are looked for in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import geopandas as gpd
import numpy as np
import shapely
from odc.geo.geom import Geometry
from pyogrio.errors import DataSourceError
from pyproj import CRS, Transformer

from geoseg.errors import ConfigError, GridError
from geoseg.grids import DEGREES
from geoseg.scenes.stac import about_pole
from geoseg.vectors import opening

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["read_area"]

_HALF_A_TURN = 180.0  # degrees
_STEPS = 256  # points along an area: a straight side in metres is bent in degrees


def read_area(path: Path) -> Geometry:
    """All polygons of the first layer of a file as one area, divided at the antimeridian.

    It is in EPSG:4326. One that holds a pole reaches to it along all meridians.

    Raises:
        ConfigError: no such file, or no polygon in it.
        GridError: it has no coordinate reference system.
    """
    try:
        with opening(path) as file:
            table = gpd.read_file(file, layer=0)
    except (DataSourceError, OSError, ValueError) as error:
        raise ConfigError(
            f"{path} cannot be read as a vector file ({str(error).splitlines()[0]}); give a "
            "GeoPackage, GeoJSON or Shapefile."
        ) from error
    # Heights, as KML has them, are of no use here.
    shapes = [] if table.geometry is None else shapely.force_2d(table.geometry.dropna().to_numpy())
    areas = [shapely.make_valid(s, method="structure") for s in shapes if _is_area(s)]
    polygons = shapely.get_parts(shapely.union_all(areas))
    if len(polygons) == 0:
        raise ConfigError(f"{path} holds no polygon; draw the area that scenes are wanted of.")
    if table.crs is None:
        raise GridError(f"{path} has no coordinate reference system; set it in QGIS.")
    return Geometry(shapely.union_all(_in_degrees(polygons, CRS(table.crs))), "EPSG:4326")


def _is_area(shape: shapely.Geometry) -> bool:
    bounded = bool(np.isfinite(shapely.get_coordinates(shape)).all())
    return bounded and shapely.get_dimensions(shape) == 2


def _in_degrees(polygons: NDArray[np.object_], crs: CRS) -> NDArray[np.object_]:
    west, south, east, north = shapely.bounds(polygons).T
    step = np.maximum(east - west, north - south) / _STEPS
    transformer = Transformer.from_crs(crs, DEGREES, always_xy=True)
    placed: NDArray[np.object_] = shapely.transform(
        shapely.segmentize(polygons, step),
        lambda corners: np.column_stack(transformer.transform(*corners.T)),
    )
    west, _, east, _ = shapely.bounds(placed).T
    # All others have points on both sides of the antimeridian, or lie about a pole.
    is_plain = (east - west < _HALF_A_TURN) & (west >= -_HALF_A_TURN) & (east <= _HALF_A_TURN)
    for i in np.flatnonzero(~is_plain):
        placed[i] = _divided(polygons[i], crs, step[i])
    return placed


def _divided(polygon: shapely.Polygon, crs: CRS, step: float) -> shapely.Geometry:
    for latitude in (90.0, -90.0):
        if not crs.is_geographic and _holds(polygon, crs, latitude):
            border = np.array(polygon.segmentize(step).exterior.coords)
            return about_pole(border, crs, latitude).geom
    whole = Geometry(polygon, crs.to_wkt())
    return whole.to_crs("EPSG:4326", resolution=step, wrapdateline=True).geom


def _holds(polygon: shapely.Polygon, crs: CRS, latitude: float) -> bool:
    x, y = Transformer.from_crs(DEGREES, crs, always_xy=True).transform(0, latitude)
    return bool(np.isfinite([x, y]).all() and polygon.contains(shapely.Point(x, y)))
