"""Grids of rasters: where pixels lie, and whether two rasters share them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from odc.geo.geobox import GeoBox
from pyproj import CRS, Geod
from pyproj.crs import ProjectedCRS
from pyproj.crs.coordinate_operation import LambertAzimuthalEqualAreaConversion

from geoseg.errors import GridError

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from rasterio.io import DatasetReader
    from rasterio.windows import Window

__all__ = [
    "DEGREES",
    "HOW_TO_PLACE",
    "crs_of",
    "describe_grid",
    "gsd_m",
    "local_equal_area",
    "part_of",
    "raster_grid",
    "require_metres",
    "same_crs",
    "same_grid",
]

DEGREES = CRS.from_epsg(4326)

# Ends a sentence about an image that lies nowhere.
HOW_TO_PLACE = (
    "where it has ground control points (in it, or of QGIS in NAME.points beside it) or RPCs, warp "
    "it with `geoseg catalog prepare`; else make an orthoimage with spymicmac (Hexagon, aerial "
    "frames) or ASP, the Ames Stereo Pipeline (Corona, Hexagon)"
)

_ALIGNED_PX = 0.01  # coordinates written by different programs differ by rounding
_NO_CENTRE = 0.01  # of the Earth's radius


def raster_grid(raster: DatasetReader) -> GeoBox:
    """The grid of an open raster.

    Raises:
        GridError: no coordinate reference system, no georeference, or a rotated grid.
    """
    if raster.transform.is_identity:
        raise GridError(f"{raster.name} has no georeference and cannot be mapped; {HOW_TO_PLACE}.")
    if raster.crs is None:
        raise GridError(
            f"{raster.name} has no coordinate reference system; set it with "
            "`gdal_edit.py -a_srs EPSG:... FILE` or map a georeferenced copy."
        )
    if raster.transform.b or raster.transform.d:
        raise GridError(f"{raster.name} is rotated; warp it north up with `gdalwarp` first.")
    return GeoBox(raster.shape, raster.transform, raster.crs.to_wkt())


def crs_of(grid: GeoBox) -> CRS:
    """The coordinate reference system of a grid.

    Raises:
        GridError: it has none.
    """
    if grid.crs is None:
        raise GridError("This needs a grid with a coordinate reference system; it has none.")
    # The one that the grid holds: to parse it anew in every window costs more than the window.
    crs: CRS = grid.crs.proj
    return crs


def require_metres(crs: CRS, purpose: str) -> None:
    """Refuse a reference system whose unit is not the metre.

    Raises:
        GridError: it is in degrees or feet.
    """
    if crs.is_geographic or crs.axis_info[0].unit_conversion_factor != 1:
        raise GridError(
            f"{purpose} need a scene in metres and {crs.name} is in {crs.axis_info[0].unit_name}s; "
            "warp the scene to a projected reference system in metres first."
        )


def local_equal_area(points: NDArray[np.float64]) -> CRS:
    """A Lambert azimuthal equal-area projection about the centre of points, taken on the sphere.

    It has no edge at the antimeridian nor at a pole. A mean of longitudes would put places on
    either side of the antimeridian on the far side of Earth.

    Args:
        points: longitude and latitude (N, 2) in degrees.

    Raises:
        GridError: they lie all around the Earth.
    """
    east, north = np.radians(points).T
    x, y, z = np.mean(
        [np.cos(north) * np.cos(east), np.cos(north) * np.sin(east), np.sin(north)], axis=1
    )
    if math.hypot(x, y, z) < _NO_CENTRE:
        raise GridError(
            "These lie all around the Earth and have no centre; take one region, or give its "
            "reference system."
        )
    # A hundredth of a degree: a name that can be read, and the same one when a map moves a little.
    latitude = round(math.degrees(math.atan2(z, math.hypot(x, y))), 2)
    longitude = round(math.degrees(math.atan2(y, x)), 2)
    return ProjectedCRS(
        LambertAzimuthalEqualAreaConversion(latitude, longitude),
        name=f"WGS 84 / Lambert azimuthal equal area at {latitude:g}, {longitude:g}",
        geodetic_crs=DEGREES,
    )


def same_crs(one: CRS, other: CRS) -> bool:
    """Whether two reference systems place a coordinate at the same spot.

    The same projection is often written as two WKTs with other names in them, so projection, axes
    and ellipsoid are compared, not the words. A datum that is not named agrees with any other.
    """
    if one.equals(other, ignore_axis_order=True):
        return True
    return (
        _projection(one) == _projection(other)
        and one.ellipsoid == other.ellipsoid
        and _same_datum(one, other)
    )


def same_grid(one: GeoBox, other: GeoBox) -> bool:
    """Whether two rasters have the same pixels, to a hundredth of a pixel."""
    if one.shape != other.shape or not same_crs(crs_of(one), crs_of(other)):
        return False
    corners = np.array([[0, 0], [one.shape.x, one.shape.y]], dtype=float)
    shift = [np.subtract(one.affine * (x, y), other.affine * (x, y)) for x, y in corners]
    return bool(np.all(np.abs(shift) <= _ALIGNED_PX * abs(one.resolution.x)))


def gsd_m(grid: GeoBox) -> float:
    """Width in metres of the pixel at the centre of a grid of any CRS."""
    row, column = grid.shape.y // 2, grid.shape.x // 2
    left, top = grid.affine * (column, row)
    right, _ = grid.affine * (column + 1, row)
    crs = crs_of(grid)
    if crs.is_geographic:
        return float(Geod(ellps="WGS84").inv(left, top, right, top)[2])
    return float(abs(right - left) * crs.axis_info[0].unit_conversion_factor)


def part_of(grid: GeoBox, window: Window) -> GeoBox:
    """The grid of a window in whole pixels, which may reach beyond the grid it is counted in."""
    return grid.translate_pix(window.col_off, window.row_off).crop((window.height, window.width))


def describe_grid(grid: GeoBox) -> str:
    """A grid in one line, for messages."""
    crs = crs_of(grid)
    authority = crs.to_authority()
    name = ":".join(authority) if authority else crs.name
    return (
        f"{name}, {grid.shape.y} x {grid.shape.x} px of {abs(grid.resolution.x):g}, "
        f"top left ({grid.affine.c:.10g}, {grid.affine.f:.10g})"
    )


def _projection(crs: CRS) -> tuple[object, ...]:
    units = tuple(axis.unit_conversion_factor for axis in crs.axis_info)
    if crs.coordinate_operation is None:
        return ("geographic", units)
    parameters = sorted((p.name, p.value) for p in crs.coordinate_operation.params)
    return (crs.coordinate_operation.method_name, parameters, units)


def _same_datum(one: CRS, other: CRS) -> bool:
    names = {crs.datum.name.removesuffix(" ensemble") for crs in (one, other) if crs.datum}
    named = {n for n in names if not n.lower().startswith(("unknown", "unnamed", "not specified"))}
    return len(named) < 2
