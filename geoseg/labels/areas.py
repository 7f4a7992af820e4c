"""Areas of outlines."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import shapely
from pyproj import CRS, Geod, Transformer

if TYPE_CHECKING:
    import geopandas as gpd
    from numpy.typing import NDArray

__all__ = ["geodesic_areas_km2"]

_WGS84 = Geod(ellps="WGS84")
_E2 = _WGS84.es
_E = math.sqrt(_E2)
_POLE_Q = 1 + (1 - _E2) * math.atanh(_E) / _E
# Of the sphere that has the area of the ellipsoid, and on which authalic latitudes lie.
_AUTHALIC_M = _WGS84.a * math.sqrt(_POLE_Q / 2)
_AT_ONCE = 2**15  # outlines, to bound memory
_EXACT = 2e-7  # relative


def geodesic_areas_km2(outlines: gpd.GeoDataFrame, *, bend_m: float) -> NDArray[np.float64]:
    """Areas on the WGS 84 ellipsoid in km2, holes left out; NaN where there is no outline.

    Equal to those of Karney (2013) to 1e-6 of the area: computed on the sphere of equal area, where
    a short side is nearly the same, and as Karney does where the sides are too long for that.

    Args:
        outlines: in any CRS.
        bend_m: sides longer than this are divided before they are taken to degrees, because a
            straight side of a projection is not a geodesic. In the unit of the CRS.
    """
    geometry = outlines.geometry.to_numpy()
    to_degrees = Transformer.from_crs(outlines.crs, CRS.from_epsg(4326), always_xy=True)
    areas = np.full(len(geometry), np.nan)
    for first in range(0, len(geometry), _AT_ONCE):
        part = _divided(geometry[first : first + _AT_ONCE], bend_m)
        # A place that has no degrees, far outside of its projection, leaves NaN.
        with np.errstate(invalid="ignore"):
            areas[first : first + _AT_ONCE] = _areas_m2(part, to_degrees) / 1e6
    areas[shapely.is_missing(geometry)] = np.nan
    return areas


def _divided(geometry: NDArray[np.object_], bend_m: float) -> NDArray[np.object_]:
    """Outlines of which no side is longer."""
    west, south, east, north = shapely.bounds(geometry).T
    wide = np.hypot(east - west, north - south) > bend_m
    divided = geometry.copy()
    divided[wide] = shapely.segmentize(geometry[wide], bend_m)
    return divided


class _Rings(NamedTuple):
    """The rings of some outlines, in degrees."""

    longitude: NDArray[np.float64]  # (P,) of the corners, ring by ring, the first once more as last
    latitude: NDArray[np.float64]  # (P,)
    starts: NDArray[np.int64]  # (R + 1,) first corner of each, and the end
    outline: NDArray[np.int64]  # (R,)
    sign: NDArray[np.float64]  # (R,) -1 of a hole


def _areas_m2(geometry: NDArray[np.object_], to_degrees: Transformer) -> NDArray[np.float64]:
    rings = _rings(geometry, to_degrees)
    areas, error = _on_the_sphere(rings)
    allowed = _EXACT * np.abs(np.bincount(rings.outline, rings.sign * areas, len(geometry)))
    wrong = np.bincount(rings.outline, error, len(geometry)) > allowed
    for ring in np.flatnonzero(wrong[rings.outline]):
        corners = slice(rings.starts[ring], rings.starts[ring + 1])
        area, _ = _WGS84.polygon_area_perimeter(rings.longitude[corners], rings.latitude[corners])
        areas[ring] = abs(area)
    return np.bincount(rings.outline, rings.sign * areas, len(geometry)).astype(np.float64)


def _rings(geometry: NDArray[np.object_], to_degrees: Transformer) -> _Rings:
    parts, outline_of_part = shapely.get_parts(geometry, return_index=True)
    rings, part = shapely.get_rings(parts, return_index=True)
    points, ring = shapely.get_coordinates(rings, return_index=True)
    longitude, latitude = to_degrees.transform(points[:, 0], points[:, 1])
    starts = np.searchsorted(ring, np.arange(len(rings) + 1))
    # The first ring of a polygon is its outer one.
    outer = np.diff(part, prepend=-1) != 0
    return _Rings(longitude, latitude, starts, outline_of_part[part], np.where(outer, 1.0, -1.0))


def _on_the_sphere(rings: _Rings) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Areas (R,) in m2 of rings with great circles as sides, and a bound of their error.

    The bound is infinite for a ring around a pole, whose sides do not tell where the pole lies.
    """
    if not len(rings.outline):
        return np.zeros(0), np.zeros(0)
    # Whole turns away: a side across the antimeridian is short.
    turn = np.diff(rings.longitude)
    turn = np.radians(turn - 360 * np.round(turn / 360))
    sine, cosine = _authalic(np.radians(rings.latitude))
    half = np.tan(turn / 2)
    below = 2 * np.arctan2(
        half * (sine[:-1] * (1 + cosine[1:]) + sine[1:] * (1 + cosine[:-1])),
        (1 + cosine[:-1]) * (1 + cosine[1:]) + sine[:-1] * sine[1:],
    )
    north = np.radians(np.diff(rings.latitude))
    chord = np.sin(north / 2) ** 2 + cosine[:-1] * cosine[1:] * np.sin(turn / 2) ** 2
    # Between a side of length L and the great circle lies e2 / (12 R) L^3 times a number that
    # depends on place and direction: at most 0.17, measured; a quarter is allowed for.
    bent = _E2 / 48 * (2 * np.sqrt(chord)) ** 3
    rounded = 4 * np.finfo(float).eps * np.abs(turn)
    # From the last corner of a ring to the first of the next there is no side.
    gaps = rings.starts[1:-1] - 1
    for values in (turn, below, bent, rounded):
        values[gaps] = 0
    first = rings.starts[:-1]
    error = np.add.reduceat(bent + rounded, first)
    around = np.abs(np.add.reduceat(turn, first)) > math.pi
    widest = np.maximum.reduceat(np.abs(turn), first)
    error[around | (widest > math.pi / 2)] = np.inf
    square = _AUTHALIC_M**2
    return np.abs(np.add.reduceat(below, first)) * square, error * square


def _authalic(latitude: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Sine and cosine of the latitude on the sphere that keeps areas (Snyder 1987, 3-11, 3-12)."""
    s = np.sin(latitude)
    q = (1 - _E2) * (s / (1 - _E2 * s**2) + np.arctanh(_E * s) / _E)
    sine = np.clip(q / _POLE_Q, -1, 1)
    return sine, np.sqrt((1 - sine) * (1 + sine))
