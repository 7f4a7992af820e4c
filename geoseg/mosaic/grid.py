"""One grid for the maps of several scenes, wherever on Earth they lie."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import CRS, Transformer

from geoseg.errors import GridError
from geoseg.grids import DEGREES, crs_of, describe_grid, local_equal_area, require_metres, same_crs
from geoseg.grids import gsd_m as gsd_m_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["border_on", "mosaic_grid"]

_SIDE_POINTS = 65  # a side of 185 km is divided into 3 km, whose bend is under a metre
_ALIGNED_PX = 0.01  # coordinates written by different programs differ by rounding


def mosaic_grid(
    grids: Sequence[GeoBox], *, crs: CRS | None = None, gsd_m: float | None = None
) -> GeoBox:
    """The grid that holds all of these, north up.

    Its reference system is the one given; else that of the grids where they agree and it is in
    metres; else a Lambert azimuthal equal-area projection about their centre, which has no edge at
    the antimeridian nor at a pole. Its pixels coincide with those of the finest grid in its
    reference system, so that what lies on them is copied and not resampled.

    Args:
        grids: of the maps, at least one.
        crs: in metres.
        gsd_m: side of a pixel; that of the finest grid when None.

    Raises:
        GridError: no grid, one without a reference system, a reference system in other units than
            metres, or one that cannot hold the grids.
    """
    if not grids:
        raise GridError("There is no map to make a mosaic of; give at least one.")
    if gsd_m is not None and not (math.isfinite(gsd_m) and gsd_m > 0):
        raise GridError(f"gsd_m = {gsd_m}; give the side of a pixel in metres, above 0.")
    target = _common_crs(grids) if crs is None else crs
    require_metres(target, "Mosaics")
    lattice = _lattice(grids, target, gsd_m)
    borders = np.concatenate([border_on(grid, target) for grid in grids])
    column, row = ((borders - (lattice.c, lattice.f)) / (lattice.a, lattice.e)).T
    left, top = (math.floor(axis.min() + _ALIGNED_PX) for axis in (column, row))
    right, bottom = (math.ceil(axis.max() - _ALIGNED_PX) for axis in (column, row))
    shape = (max(bottom - top, 1), max(right - left, 1))
    return GeoBox(shape, lattice * Affine.translation(left, top), target.to_wkt())


def border_on(grid: GeoBox, crs: CRS) -> NDArray[np.float64]:
    """Points x, y (N, 2) in `crs` along the border of a grid, in order and not closed.

    A side that is straight on the grid is bent elsewhere, so it is divided before it is taken over:
    the corners alone can miss a part of the grid, at the poles most of it.

    Raises:
        GridError: a point of the border has no place in `crs`.
    """
    step = np.arange(_SIDE_POINTS - 1) / (_SIDE_POINTS - 1)
    along = np.concatenate([step, np.ones_like(step), 1 - step, np.zeros_like(step)])
    across = np.roll(along, len(step))
    column, row = np.stack([along * grid.shape.x, across * grid.shape.y])
    x, y = grid.affine * (column, row)
    own = crs_of(grid)
    if not same_crs(own, crs):
        x, y = Transformer.from_crs(own, crs, always_xy=True).transform(x, y)
    points = np.column_stack([x, y])
    if not np.isfinite(points).all():
        raise GridError(
            f"The map on {describe_grid(grid)} has no place in {crs.name}; leave the map out or "
            "give another reference system."
        )
    return points


def _common_crs(grids: Sequence[GeoBox]) -> CRS:
    first = crs_of(grids[0])
    metric = first.is_projected and first.axis_info[0].unit_conversion_factor == 1
    if metric and all(same_crs(crs_of(grid), first) for grid in grids[1:]):
        return first
    return local_equal_area(np.concatenate([border_on(grid, DEGREES) for grid in grids]))


def _lattice(grids: Sequence[GeoBox], crs: CRS, gsd_m: float | None) -> Affine:
    """Where the pixels of the mosaic lie; the first of them may be any."""
    wanted_m = min(map(gsd_m_of, grids)) if gsd_m is None else gsd_m
    for grid in grids:
        as_fine = abs(gsd_m_of(grid) - wanted_m) * max(grid.shape) < _ALIGNED_PX * wanted_m
        if as_fine and grid.affine.e < 0 and same_crs(crs_of(grid), crs):
            return grid.affine
    return Affine(wanted_m, 0, 0, 0, -wanted_m, 0)
