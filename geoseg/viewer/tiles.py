"""Rasters of any size and projection on tiles of a map in Web Mercator."""

from __future__ import annotations

import math
import threading
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import rasterio
from affine import Affine
from odc.geo.geobox import GeoBox
from pyproj import Transformer
from rasterio.enums import ColorInterp, Resampling
from rasterio.io import MemoryFile
from rasterio.vrt import WarpedVRT

from geoseg.grids import DEGREES, crs_of, gsd_m, raster_grid
from geoseg.page.missing import NotThereError
from geoseg.scenes import open_raster, reading

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from rasterio.io import DatasetReader

__all__ = [
    "TILE_PX",
    "OnTile",
    "RasterTiles",
    "deepest_zoom",
    "degrees_of",
    "grid_over",
    "tile_grid",
]

TILE_PX = 256

_MERCATOR = "EPSG:3857"
_RADIUS_M = 6378137.0
_HALF_M = math.pi * _RADIUS_M  # from the middle of the map to its border
_DEEPEST = 24
_HIGHEST = 85.05  # degrees of latitude: the map ends there
_MOST_SHRINK = 8  # of a file without overviews, each time that it is read
_REDUCED_PX = 2**24  # of all bands of a reduced copy
_REDUCED_KEPT = 6
_AT_ONCE = 4  # tiles that are read; each takes some memory
_WARP_MIB = 64
_CACHE_BYTES = 64 * 2**20  # of GDAL, which takes a twentieth of the memory of the machine otherwise


class OnTile(NamedTuple):
    """What a raster holds of a tile."""

    values: NDArray[np.generic]  # (B, H, W) in the type of the file
    valid: NDArray[np.bool_]  # (H, W)


def tile_grid(zoom: int, column: int, row: int) -> GeoBox:
    """The pixels of a tile; the first one lies in the north west.

    Raises:
        NotThereError: there is no such tile.
    """
    count = 2 ** min(zoom, _DEEPEST)
    if not (0 <= zoom <= _DEEPEST and 0 <= column < count and 0 <= row < count):
        raise NotThereError
    pixel_m = 2 * _HALF_M / count / TILE_PX
    left, top = column * TILE_PX * pixel_m - _HALF_M, _HALF_M - row * TILE_PX * pixel_m
    return GeoBox((TILE_PX, TILE_PX), Affine(pixel_m, 0, left, 0, -pixel_m, top), _MERCATOR)


def grid_over(bounds: tuple[float, float, float, float], longest_px: int) -> GeoBox:
    """The pixels of a picture of west, south, east and north, in degrees."""
    west, south, east, north = bounds
    left, right = (math.radians(lon) * _RADIUS_M for lon in (west, east))
    bottom, top = (_northing_m(lat) for lat in (south, north))
    pixel_m = max(right - left, top - bottom, 1.0) / longest_px
    shape = (max(1, round((top - bottom) / pixel_m)), max(1, round((right - left) / pixel_m)))
    return GeoBox(shape, Affine(pixel_m, 0, left, 0, -pixel_m, top), _MERCATOR)


@lru_cache(maxsize=4096)  # asked of a raster for each of its tiles
def degrees_of(grid: GeoBox) -> tuple[float, float, float, float]:
    """West, south, east and north of a raster; across the antimeridian east is more than 180."""
    to_degrees = Transformer.from_crs(crs_of(grid), DEGREES, always_xy=True)
    west, south, east, north = to_degrees.transform_bounds(*grid.boundingbox.bbox)
    return west, south, east if east >= west else east + 360, north


def deepest_zoom(grid: GeoBox) -> int:
    """The zoom from which a raster has nothing more to show."""
    return min(max(math.ceil(math.log2(2 * _HALF_M / TILE_PX / _pixel_m(grid))), 0), _DEEPEST)


class RasterTiles:
    """Reads what rasters hold of tiles, in memory that does not grow with them.

    Overviews are used where a file has them. Of a large file without, a reduced copy is made in
    memory when it is first seen from afar.
    """

    def __init__(self) -> None:
        self._reduced = lru_cache(_REDUCED_KEPT)(_reduced)
        self._turn = threading.Lock()
        self._few = threading.BoundedSemaphore(_AT_ONCE)

    def read(
        self,
        path: Path,
        indexes: Sequence[int],
        grid: GeoBox,
        *,
        classes: bool = False,
        nodata: float | None = None,
    ) -> OnTile:
        """Some bands of a raster on a tile.

        Args:
            path: of the raster.
            indexes: of the bands, counted from 1.
            grid: of the tile.
            classes: whether values are class ids, of which the most frequent is taken from afar;
                others are averaged.
            nodata: overrides what the file says of itself.

        Raises:
            SceneError: the file cannot be opened or read.
            GridError: it has no georeference.
        """
        with (
            self._few,
            rasterio.Env(GDAL_CACHEMAX=_CACHE_BYTES),
            self._level(path, indexes, grid, classes=classes) as (raster, chosen),
        ):
            if raster is None:
                shape = (len(indexes), *grid.shape)
                return OnTile(np.zeros(shape, np.uint8), np.zeros(grid.shape, bool))
            with reading(path):
                return _warped(raster, chosen, grid, classes=classes, nodata=nodata)

    @contextmanager
    def _level(
        self, path: Path, indexes: Sequence[int], grid: GeoBox, *, classes: bool
    ) -> Iterator[tuple[DatasetReader | None, Sequence[int]]]:
        """The file, an overview of it or a reduced copy, and which of its bands are meant."""
        with ExitStack() as stack:
            raster = stack.enter_context(open_raster(path))
            own = raster_grid(raster)
            if not _meet(own, grid):
                yield None, indexes
                return
            shrink = abs(grid.resolution.x) / _pixel_m(own)
            factors = [1, *raster.overviews(indexes[0])]
            number = max(n for n, factor in enumerate(factors) if factor <= max(1, shrink * 1.01))
            longest = max(raster.shape) / factors[number]
            side = math.isqrt(_REDUCED_PX // len(indexes))
            if shrink / factors[number] > _MOST_SHRINK and longest > side:
                told = path.stat()
                stamp = (told.st_mtime_ns, told.st_size)
                with self._turn:  # or all tiles that are seen from afar would make one
                    content = self._reduced(path, stamp, tuple(indexes), side, classes=classes)
                file = stack.enter_context(MemoryFile(content))
                yield stack.enter_context(file.open()), range(1, len(indexes) + 1)
                return
            if number:
                raster = stack.enter_context(open_raster(path, overview=number - 1))
            yield raster, indexes


def _warped(
    raster: DatasetReader,
    indexes: Sequence[int],
    grid: GeoBox,
    *,
    classes: bool,
    nodata: float | None,
) -> OnTile:
    void = raster.nodata if nodata is None else nodata
    alpha = [n for n, what in enumerate(raster.colorinterp, 1) if what == ColorInterp.alpha]
    coarser = abs(grid.resolution.x) > _pixel_m(raster_grid(raster))
    afar = Resampling.mode if classes else Resampling.average
    with WarpedVRT(
        raster,
        crs=_MERCATOR,
        transform=grid.affine,
        height=grid.shape.y,
        width=grid.shape.x,
        # From near, pixels are shown as they are.
        resampling=afar if coarser else Resampling.nearest,
        src_nodata=void,
        nodata=void,
        add_alpha=void is None and not alpha,
        warp_mem_limit=_WARP_MIB,
    ) as tile:
        values = tile.read(list(indexes))
        if void is not None:
            valid = (values != np.array(void).astype(values.dtype)).all(axis=0)
        else:
            valid = tile.read(alpha[0] if alpha else tile.count) > 0
    if values.dtype.kind == "f":
        valid &= np.isfinite(values).all(axis=0)
    return OnTile(values, valid)


def _reduced(
    path: Path,
    stamp: tuple[int, int],  # noqa: ARG001  by which a file that was written again is another
    indexes: tuple[int, ...],
    side: int,
    *,
    classes: bool,
) -> bytes:
    """A copy of some bands as a GeoTIFF with no side longer than `side`."""
    with open_raster(path) as raster, reading(path):
        return _shrunk(raster, indexes, side, classes=classes)


def _shrunk(raster: DatasetReader, indexes: Sequence[int], side: int, *, classes: bool) -> bytes:
    """A small copy of some bands as a GeoTIFF; the last band is its alpha where it has no void."""
    shrink = max(raster.shape) / side
    height, width = (max(1, round(length / shrink)) for length in raster.shape)
    how = Resampling.mode if classes else Resampling.average
    values = raster.read(list(indexes), out_shape=(len(indexes), height, width), resampling=how)
    void, kinds = raster.nodata, [ColorInterp.gray] * len(indexes)
    if void is None:
        known = raster.dataset_mask(out_shape=(height, width)) > 0
        if values.dtype.kind == "f":
            void, values = np.nan, np.where(known, values, np.nan).astype(values.dtype)
        else:
            opaque = np.where(known, np.iinfo(values.dtype).max, 0).astype(values.dtype)
            values, kinds = np.concatenate([values, opaque[None]]), [*kinds, ColorInterp.alpha]
    with MemoryFile() as file:
        with file.open(
            driver="GTiff",
            dtype=values.dtype,
            count=len(values),
            height=height,
            width=width,
            crs=raster.crs,
            transform=raster.transform * Affine.scale(raster.width / width, raster.height / height),
            nodata=void,
        ) as copy:
            copy.write(values)
            copy.colorinterp = kinds
        content: bytes = file.read()
    return content


def _meet(own: GeoBox, grid: GeoBox) -> bool:
    """Whether a raster and a tile may have ground in common."""
    west, south, east, north = degrees_of(own)
    left, bottom, right, top = grid.boundingbox.bbox
    if not (_northing_m(south) < top and _northing_m(north) > bottom):
        return False
    # What goes on across the antimeridian lies at the other end of the map.
    return any(
        math.radians(west + turn) * _RADIUS_M < right
        and math.radians(east + turn) * _RADIUS_M > left
        for turn in (-360, 0, 360)
    )


def _pixel_m(grid: GeoBox) -> float:
    """The width of a pixel on the map, which stretches ground towards the poles."""
    _, south, _, north = degrees_of(grid)
    middle = min(abs(south + north) / 2, _HIGHEST)
    return gsd_m(grid) / math.cos(math.radians(middle))


def _northing_m(latitude: float) -> float:
    inside = math.radians(min(max(latitude, -_HIGHEST), _HIGHEST))
    return math.asinh(math.tan(inside)) * _RADIUS_M
