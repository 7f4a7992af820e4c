"""Terrain under a scene: elevation from a model of any grid, and what follows from it.

Convention: elevation in metres above the datum of the model; slope in degrees from the horizontal;
aspect is where the slope falls to, clockwise from the top of the grid (grid north), as its sine
(east) and cosine (north), both 0 where flat; curvature in 1/(100 m), positive where the ground is
convex upward. A plane that falls 1 m in 1 m to the east has slope 45, aspect_sine 1, aspect_cosine
0 and curvature 0. Where the model, or a neighbour that is needed, has a void, the bands are NaN.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import TYPE_CHECKING

import numpy as np
import rasterio
from odc.geo.geobox import GeoBox
from pyproj import CRS, Geod, Transformer
from rasterio.enums import Resampling
from rasterio.warp import reproject
from rasterio.windows import Window

from geoseg.blocks import fill_from_blocks
from geoseg.errors import SceneError
from geoseg.grids import crs_of, part_of, raster_grid
from geoseg.scenes.raster import open_raster, reading
from geoseg.scenes.resample import area_average
from geoseg.sensors import find_sensor

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from rasterio.io import DatasetReader

__all__ = ["TERRAIN_BANDS", "Terrain", "ground_size_m", "open_terrain", "terrain_bands"]

TERRAIN_BANDS = tuple(band.common_name for band in find_sensor("dem").bands)

_BLOCK_PX = 256
_CACHED_BLOCKS = 256  # a quarter of a megabyte each
_STRIP_PX = 2**22  # of a finer model held at once
_NODES = 17  # a side, at which the ground size of pixels is computed
_LOWEST_M, _HIGHEST_M = -1000.0, 9500.0
_USUAL_VOID = {"int16": -32768.0}  # of a model that does not tag its voids; -9999 in others


def terrain_bands(
    elevation_m: NDArray[np.float32], ground_m: tuple[NDArray[np.float64], NDArray[np.float64]]
) -> NDArray[np.float32]:
    """The bands of `TERRAIN_BANDS` (5, H, W), NaN where they cannot be told.

    Slope and aspect by Horn (1981), curvature by Zevenbergen and Thorne (1987).

    Args:
        elevation_m: (H + 2, W + 2), with one pixel more to each side.
        ground_m: width and height of a pixel on the ground (H, W), or what broadcasts to it.
    """
    z = elevation_m.astype(np.float64)
    width, height = ground_m
    here, above, below = z[1:-1, 1:-1], z[:-2], z[2:]
    left, right = z[1:-1, :-2], z[1:-1, 2:]
    north, south = above[:, 1:-1], below[:, 1:-1]
    # The corners count once, the neighbours across a side twice.
    east_sum = above[:, 2:] + 2 * right + below[:, 2:]
    west_sum = above[:, :-2] + 2 * left + below[:, :-2]
    north_sum = above[:, :-2] + 2 * north + above[:, 2:]
    south_sum = below[:, :-2] + 2 * south + below[:, 2:]
    to_east = (east_sum - west_sum) / (8 * width)
    to_north = (north_sum - south_sum) / (8 * height)
    steepness = np.hypot(to_east, to_north)
    safe = np.where(steepness == 0, 1, steepness)
    bend = ((left + right) / 2 - here) / width**2 + ((north + south) / 2 - here) / height**2
    bands = (
        here,
        np.degrees(np.arctan(steepness)),
        -to_east / safe,
        -to_north / safe,
        -2 * 100 * bend,
    )
    terrain = np.stack(bands).astype(np.float32)
    # Slope and aspect do without the middle pixel; of a void nothing is known.
    terrain[:, np.isnan(here)] = np.nan
    return terrain


def ground_size_m(grid: GeoBox, window: Window) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Width and height (H, W) in metres on the ellipsoid of the pixels of a window of a grid.

    A pixel of a Mercator map of 80 degrees north is six times smaller than it says. Computed at
    some pixels of the grid and interpolated, so that a pixel has one size in every window.
    """
    across, down = _node_sizes(grid)
    rows = np.linspace(0, grid.shape.y, _NODES)
    columns = np.linspace(0, grid.shape.x, _NODES)
    row = _linear(np.arange(window.height) + window.row_off + 0.5, rows)
    column = _linear(np.arange(window.width) + window.col_off + 0.5, columns)
    return row @ across @ column.T, row @ down @ column.T


@dataclass(frozen=True, slots=True)
class Terrain:
    """An elevation model under one grid."""

    path: Path
    grid: GeoBox
    version: int  # of the file, so that another one of the same name is not taken for it

    def read(self, window: Window) -> NDArray[np.float32]:
        """The terrain bands (5, H, W) of a window of the grid: of the whole, the same part."""
        elevation = np.empty((window.height + 2, window.width + 2), dtype=np.float32)
        corner = (window.row_off - 1, window.col_off - 1)
        fill_from_blocks(elevation, corner, side=_BLOCK_PX, block=partial(_block, self))
        return terrain_bands(elevation, ground_size_m(self.grid, window))

    def read_on(self, grid: GeoBox) -> NDArray[np.float32]:
        """The terrain bands (5, H, W) of another grid, as that of one chip."""
        height, width = grid.shape
        wider = part_of(grid, Window(-1, -1, width + 2, height + 2))
        return terrain_bands(
            _elevation_m(self.path, wider), ground_size_m(grid, Window(0, 0, width, height))
        )


def open_terrain(path: Path, grid: GeoBox) -> Terrain:
    """The terrain of a grid, from an elevation model of any reference system and pixel.

    Raises:
        SceneError: the file cannot be read, holds more than elevation, or lies elsewhere.
        GridError: it has no CRS or georeference.
    """
    with open_raster(path) as raster:
        if raster.count != 1:
            raise SceneError(
                f"{path} has {raster.count} bands; give an elevation model of one band, in metres."
            )
        model = raster_grid(raster)
    if grid.crs is not None and not model.extent.to_crs("EPSG:4326").intersects(
        grid.extent.to_crs("EPSG:4326")
    ):
        raise SceneError(
            f"The elevation model {path} does not lie under the scene; give that of this place."
        )
    return Terrain(path, grid, path.stat().st_mtime_ns)


@lru_cache(maxsize=_CACHED_BLOCKS)
def _block(terrain: Terrain, row: int, column: int) -> NDArray[np.float32]:
    """Elevation of a block of the grid."""
    window = Window(column * _BLOCK_PX, row * _BLOCK_PX, _BLOCK_PX, _BLOCK_PX)
    return _elevation_m(terrain.path, part_of(terrain.grid, window))


def _elevation_m(path: Path, grid: GeoBox) -> NDArray[np.float32]:
    """Elevation (H, W) on a grid: averaged by area from a finer model, else bilinear."""
    height, width = grid.shape
    out = np.empty(grid.shape, dtype=np.float32)
    with open_raster(path) as raster, reading(path):
        finer = _width_m(grid) / _width_m(raster_grid(raster))
        # Sampled at the pixel of the model, then averaged: GDAL's own average takes whole pixels.
        times = max(1, math.ceil(finer - 0.05))
        step = max(1, _STRIP_PX // (width * times**2))
        for top in range(0, height, step):
            rows = min(step, height - top)
            strip = part_of(grid, Window(0, top, width, rows))
            sampled = _sampled_m(raster, _finer(strip, times))
            known = np.isfinite(sampled)
            mean, enough = area_average(sampled[None], known, (rows, width))
            out[top : top + rows] = np.where(enough, mean[0], np.float32(np.nan))
    return out


def _finer(grid: GeoBox, times: int) -> GeoBox:
    height, width = grid.shape
    scale = grid.affine.scale(1 / times)
    return GeoBox((height * times, width * times), grid.affine * scale, grid.crs)


def _sampled_m(raster: DatasetReader, grid: GeoBox) -> NDArray[np.float32]:
    """Elevation (H, W) between the pixel centres of a model, NaN in its voids."""
    out = np.full(grid.shape, np.nan, dtype=np.float32)
    void = raster.nodata
    if void is None and not raster.dtypes[0].startswith("uint"):
        void = _USUAL_VOID.get(raster.dtypes[0], -9999.0)
    reproject(
        rasterio.band(raster, 1),
        out,
        src_nodata=void,
        dst_transform=grid.affine,
        dst_crs=crs_of(grid).to_wkt(),
        dst_nodata=np.nan,
        resampling=Resampling.bilinear,
    )
    out[(out < _LOWEST_M) | (out > _HIGHEST_M)] = np.nan
    return out


def _width_m(grid: GeoBox) -> float:
    return float(np.median(_node_sizes(grid)[0]))


@lru_cache(maxsize=64)
def _node_sizes(grid: GeoBox) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Width and height (nodes, nodes) in metres of the pixels at some places of a grid."""
    crs = crs_of(grid)
    to_degrees = Transformer.from_crs(crs, CRS.from_epsg(4326), always_xy=True)
    rows, columns = np.meshgrid(
        np.linspace(0, grid.shape.y, _NODES), np.linspace(0, grid.shape.x, _NODES), indexing="ij"
    )
    geod, affine = Geod(ellps="WGS84"), grid.affine

    def length(down: float, across: float) -> NDArray[np.float64]:
        (west, south), (east, north) = (
            to_degrees.transform(
                affine.a * (columns + sign * across) + affine.c,
                affine.e * (rows + sign * down) + affine.f,
            )
            for sign in (-0.5, 0.5)
        )
        return np.asarray(geod.inv(west, south, east, north)[2], dtype=np.float64)

    return length(0, 1), length(1, 0)


def _linear(places: NDArray[np.float64], nodes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights (len(places), nodes) of the nodes around each place; straight on beyond them."""
    step = nodes[1] - nodes[0]
    low = np.clip(np.floor(places / step).astype(int), 0, len(nodes) - 2)
    share = places / step - low
    weights = np.zeros((len(places), len(nodes)))
    index = np.arange(len(places))
    weights[index, low], weights[index, low + 1] = 1 - share, share
    return weights
