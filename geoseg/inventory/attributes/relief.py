"""Elevation, slope and aspect of outlines, from an elevation model."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from pyproj import CRS, Transformer
from rasterio.windows import Window

from geoseg.grids import crs_of, raster_grid
from geoseg.labels import geodesic_areas_km2
from geoseg.scenes import open_raster
from geoseg.scenes.terrain import open_terrain

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from geoseg.scenes.terrain import Terrain

__all__ = ["hypsometry", "relief_of"]

_COLUMNS = ("zmin_m", "zmed_m", "zmean_m", "zmax_m", "slope_deg", "aspect_deg", "aspect_sec")
_CELL_PX = 1024  # outlines whose middles lie in one such square are read together
_PIXELS_AT_ONCE = 2**22  # of outlines, unless one has more
_STRIP_PX = 2**20  # of the model
_BEND_M = 1000.0


def relief_of(outlines: gpd.GeoDataFrame, dem: Path) -> pd.DataFrame:
    """Elevation, mean slope and mean aspect of each outline, with the index of the outlines.

    Columns: zmin_m, zmed_m, zmean_m, zmax_m, slope_deg (from the horizontal), aspect_deg (where the
    ground falls to, clockwise from true north, the mean direction), aspect_sec (1 north, 2
    north-east to 8 north-west). Empty where the model has nothing, the last two also where all is
    flat. A pixel counts where its centre lies in the outline; an outline without one has the pixel
    under it.

    Args:
        outlines: polygons in any CRS; they may overlap.
        dem: elevation in metres; read by windows, so that memory does not grow with its size.

    Raises:
        SceneError: the model cannot be read, or holds more than elevation.
        GridError: it has no CRS or georeference.
    """
    relief = np.full((len(outlines), 7), np.nan)
    for part in _relief(outlines, dem):
        known = np.isfinite(part.z)
        outline, count = part.outline[known], len(part.rows)
        relief[part.rows, :4] = _elevations(outline, part.z[known], count)
        relief[part.rows, 4] = _mean(outline, part.slope_deg[known], count)
        relief[part.rows, 5] = _directions(
            outline, part.to_east[known], part.to_north[known], count
        )
    relief[:, 5] = np.mod(relief[:, 5] + _north_deg(outlines, dem), 360)
    # The last half of a sector of 45 degrees is north again.
    sector = np.floor(np.mod(relief[:, 5] + 22.5, 360) / 45) + 1
    table = pd.DataFrame(relief, columns=_COLUMNS, index=outlines.index)
    none = np.isnan(sector)
    table["aspect_sec"] = pd.arrays.IntegerArray(np.where(none, 0, sector).astype(np.int64), none)
    return table


def hypsometry(outlines: gpd.GeoDataFrame, dem: Path, *, step_m: float = 100.0) -> pd.DataFrame:
    """Area by elevation: survey, kind, z_from_m, z_to_m and area_km2 of all bands that hold any.

    The geodesic area of an outline is spread over its pixels, so that the bands add up to the areas
    where the model is known; ground in its voids is in no band.

    Args:
        outlines: with `survey` and `kind`, in a projected CRS in metres.
        dem: elevation in metres.
        step_m: height of a band; bands begin at multiples of it.

    Raises:
        SceneError: the model cannot be read, or holds more than elevation.
        GridError: it has no CRS or georeference.
    """
    areas = geodesic_areas_km2(outlines, bend_m=_BEND_M)
    groups = outlines.groupby(["survey", "kind"], sort=True)
    group = groups.ngroup().to_numpy()
    found = []
    for part in _relief(outlines, dem):
        pixels = np.bincount(part.outline, minlength=len(part.rows))
        each = (areas[part.rows] / np.maximum(pixels, 1))[part.outline]
        known = np.isfinite(part.z)
        band = np.floor(part.z[known] / step_m).astype(np.int64)
        row = part.rows[part.outline[known]]
        table = pd.DataFrame({"group": group[row], "band": band, "area_km2": each[known]})
        found.append(table.groupby(["group", "band"]).sum())
    columns = ["survey", "kind", "z_from_m", "z_to_m", "area_km2"]
    if not found:
        return pd.DataFrame({column: [] for column in columns})
    bands = pd.concat(found).groupby(["group", "band"]).sum().reset_index()
    names = outlines[["survey", "kind"]].iloc[np.unique(group, return_index=True)[1]]
    named = names.iloc[bands["group"]].reset_index(drop=True)
    low = bands["band"] * step_m
    by_band: pd.DataFrame = named.assign(
        z_from_m=low, z_to_m=low + step_m, area_km2=bands["area_km2"]
    )[columns]
    return by_band


class _Relief(NamedTuple):
    """Pixels (P,) of a part of the outlines; NaN in voids."""

    rows: NDArray[np.intp]  # of the outlines of this part
    outline: NDArray[np.intp]  # (P,) which of them
    z: NDArray[np.float32]
    slope_deg: NDArray[np.float32]
    to_east: NDArray[np.float32]  # direction of the fall in the grid; 0, 0 where flat
    to_north: NDArray[np.float32]


class _Runs(NamedTuple):
    """Runs of pixels in rows of a grid."""

    outline: NDArray[np.intp]  # (R,)
    row: NDArray[np.int64]  # (R,)
    first: NDArray[np.int64]  # (R,) column
    end: NDArray[np.int64]  # (R,) the column after the last


def _relief(outlines: gpd.GeoDataFrame, dem: Path) -> Iterator[_Relief]:
    """The ground of all outlines that the model reaches, some at a time."""
    with open_raster(dem) as raster:
        grid = raster_grid(raster)
    shapes = _in_pixels(outlines, grid)
    box = shapely.box(0, 0, grid.shape.x, grid.shape.y)
    here = np.flatnonzero(shapely.intersects(shapes, box))
    if not len(here):
        return
    terrain = open_terrain(dem, grid)
    for rows in _parts(shapes, here):
        runs = _runs(shapes[rows], grid)
        strips = list(_strips(terrain, runs))
        yield _Relief(rows, *(np.concatenate(columns) for columns in zip(*strips, strict=True)))


def _in_pixels(outlines: gpd.GeoDataFrame, grid: GeoBox) -> NDArray[np.object_]:
    """Outlines in columns and rows of a grid."""
    placed = outlines.geometry.to_crs(crs_of(grid)).to_numpy()
    affine = grid.affine
    corner, size = np.array([affine.c, affine.f]), np.array([affine.a, affine.e])
    return np.asarray(shapely.transform(placed, lambda xy: (xy - corner) / size), dtype=object)


def _parts(shapes: NDArray[np.object_], here: NDArray[np.intp]) -> Iterator[NDArray[np.intp]]:
    """Rows of outlines that lie close to each other, of no more pixels than are held at once."""
    west, north, east, south = shapely.bounds(shapes[here]).T
    column = ((west + east) / 2 // _CELL_PX).astype(np.int64)
    row = ((north + south) / 2 // _CELL_PX).astype(np.int64)
    order = np.lexsort((column, row))
    pixels = np.cumsum(shapely.area(shapes[here][order]))
    cell = np.cumsum(np.diff(row[order], prepend=0) != 0) + np.cumsum(
        np.diff(column[order], prepend=0) != 0
    )
    change = np.diff(cell, prepend=-1) + np.diff(pixels // _PIXELS_AT_ONCE, prepend=0)
    yield from np.split(here[order], np.flatnonzero(change[1:]) + 1)


def _runs(shapes: NDArray[np.object_], grid: GeoBox) -> _Runs:
    """The pixels of a grid whose centres lie in outlines (N,) in pixels of it."""
    outline, row, column = _crossings(shapes)
    # Along a row a ring is entered and left in turn.
    enter, leave = np.ceil(column[::2] - 0.5), np.ceil(column[1::2] - 0.5)
    runs = _Runs(outline[::2], row[::2], enter.astype(np.int64), leave.astype(np.int64))
    missed = np.ones(len(shapes), dtype=bool)
    missed[runs.outline[runs.end > runs.first]] = False
    left = np.flatnonzero(missed)
    points = shapely.get_coordinates(shapely.point_on_surface(shapes[left]))
    across, down = np.floor(points).astype(np.int64).T
    under = _Runs(left, down, across, across + 1)
    both = _Runs(*(np.concatenate(columns) for columns in zip(runs, under, strict=True)))
    first, end = np.maximum(both.first, 0), np.minimum(both.end, grid.shape.x)
    kept = (end > first) & (both.row >= 0) & (both.row < grid.shape.y)
    return _Runs(both.outline[kept], both.row[kept], first[kept], end[kept])


def _crossings(
    shapes: NDArray[np.object_],
) -> tuple[NDArray[np.intp], NDArray[np.int64], NDArray[np.float64]]:
    """Where borders cross the middles of rows: outline, row, column; by outline, row and column."""
    parts, owner = shapely.get_parts(shapes, return_index=True)
    rings, part = shapely.get_rings(parts, return_index=True)
    points, ring = shapely.get_coordinates(rings, return_index=True)
    inside = ring[1:] == ring[:-1]
    start, end = points[:-1][inside], points[1:][inside]
    low, high = np.minimum(start[:, 1], end[:, 1]), np.maximum(start[:, 1], end[:, 1])
    # Half-open, so that a corner on the middle of a row is crossed by one of its sides.
    first = np.ceil(low - 0.5).astype(np.int64)
    count = np.ceil(high - 0.5).astype(np.int64) - first
    side = np.repeat(np.arange(len(count)), count)
    row = first[side] + np.arange(len(side)) - (np.cumsum(count) - count)[side]
    slope = (end[side, 0] - start[side, 0]) / (end[side, 1] - start[side, 1])
    column = start[side, 0] + slope * (row + 0.5 - start[side, 1])
    outline = owner[part[ring[:-1][inside]]][side]
    order = np.lexsort((column, row, outline))
    return outline[order], row[order], column[order]


def _strips(terrain: Terrain, runs: _Runs) -> Iterator[tuple[NDArray[np.generic], ...]]:
    """Outline, elevation, slope and direction of the pixels of runs, strip by strip."""
    if not len(runs.row):
        yield np.zeros(0, np.intp), *np.zeros((4, 0), np.float32)
        return
    left, right = int(runs.first.min()), int(runs.end.max())
    top, bottom = int(runs.row.min()), int(runs.row.max()) + 1
    order = np.argsort(runs.row, kind="stable")
    runs = _Runs(*(column[order] for column in runs))
    height = max(1, _STRIP_PX // (right - left))
    for begin in range(top, bottom, height):
        stop = min(begin + height, bottom)
        here = slice(*np.searchsorted(runs.row, [begin, stop]))
        length = (runs.end - runs.first)[here]
        if not len(length):
            continue
        bands = terrain.read(Window(left, begin, right - left, stop - begin))
        start = (runs.row[here] - begin) * (right - left) + runs.first[here] - left
        pixel = np.repeat(start - (np.cumsum(length) - length), length) + np.arange(length.sum())
        z, slope, east, north = bands.reshape(len(bands), -1)[:4, pixel]
        yield np.repeat(runs.outline[here], length), z, slope, east, north


def _elevations(
    outline: NDArray[np.intp], z: NDArray[np.float32], count: int
) -> NDArray[np.float64]:
    """Least, median, mean and greatest (count, 4) of the elevations of each outline."""
    found = np.full((count, 4), np.nan)
    order = np.lexsort((z, outline))
    ordered = z[order].astype(np.float64)
    number = np.bincount(outline, minlength=count)
    some = number > 0
    last = np.cumsum(number)[some] - 1
    first = last - number[some] + 1
    found[some, 0], found[some, 3] = ordered[first], ordered[last]
    # Of an even number, between the two in the middle.
    found[some, 1] = (ordered[(first + last) // 2] + ordered[(first + last + 1) // 2]) / 2
    found[:, 2] = _mean(outline, z, count)
    return found


def _mean(
    outline: NDArray[np.intp], values: NDArray[np.float32], count: int
) -> NDArray[np.float64]:
    """Mean (count,) of what is known of each outline."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore"):
        total = np.bincount(outline[known], values[known].astype(np.float64), count)
        return np.asarray(total / np.bincount(outline[known], minlength=count), dtype=np.float64)


def _directions(
    outline: NDArray[np.intp],
    to_east: NDArray[np.float32],
    to_north: NDArray[np.float32],
    count: int,
) -> NDArray[np.float64]:
    """Mean direction (count,) in degrees clockwise from the top of the grid; NaN where flat."""
    east, north = _mean(outline, to_east, count), _mean(outline, to_north, count)
    # Below the rounding of the means no direction is left of it.
    none = ~(np.hypot(east, north) > 1e-6)
    return np.where(none, np.nan, np.degrees(np.arctan2(east, north)))


def _north_deg(outlines: gpd.GeoDataFrame, dem: Path) -> NDArray[np.float64]:
    """What an angle (N,) from the top of the grid of a model is more from true north, in degrees.

    In a polar projection the top of the grid is any direction.
    """
    with open_raster(dem) as raster:
        crs = crs_of(raster_grid(raster))
    if crs.is_geographic:
        return np.zeros(len(outlines))
    middle = shapely.centroid(outlines.geometry.to_numpy())
    to_degrees = Transformer.from_crs(outlines.crs, CRS.from_epsg(4326), always_xy=True)
    longitude, latitude = to_degrees.transform(shapely.get_x(middle), shapely.get_y(middle))
    from_degrees = Transformer.from_crs(CRS.from_epsg(4326), crs, always_xy=True)
    # A hundred metres, to the north or, near the pole, to here from the south.
    ahead = np.minimum(latitude + 1e-3, 90)
    x, y = from_degrees.transform(longitude, ahead - 1e-3)
    x_ahead, y_ahead = from_degrees.transform(longitude, ahead)
    return np.asarray(-np.degrees(np.arctan2(x_ahead - x, y_ahead - y)), dtype=np.float64)
