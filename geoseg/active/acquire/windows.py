"""What a map says of each of its windows: how doubtful it is, and which classes it expects."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import rasterio
from rasterio.windows import Window
from scipy.special import entr

from geoseg.errors import ConfigError, SceneError
from geoseg.grids import crs_of, raster_grid, require_metres
from geoseg.labels import IGNORE
from geoseg.scenes import open_raster, reading

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox
    from rasterio.io import DatasetReader

    _Pixels = NDArray[np.bool_ | np.integer | np.floating]

__all__ = ["MapWindows", "OnBlock", "map_of", "measure_windows"]

_MAPS = ("probability.tif", "uncertainty.tif")  # of a folder, the first that is there
_UNCERTAINTIES = ("entropy", "spread")  # what the one band of an uncertainty map is called
_LEAST_PX = 8  # side of a window
_BLOCK_PX = 1024  # side at least of what is read at once
_CACHE_BYTES = 32 * 2**20


class OnBlock(Protocol):
    """Is told how far the reading of a map is."""

    def __call__(self, done: int, total: int, /) -> None:
        """Blocks read so far, and blocks of the map."""


class MapWindows(NamedTuple):
    """Windows of a map that lie side by side, those with a pixel of data, from the top left."""

    grid: GeoBox  # of the map
    rows_px: int  # of a window
    columns_px: int
    row: NDArray[np.intp]  # (N,) in windows from the top
    column: NDArray[np.intp]  # (N,) in windows from the left
    valid: NDArray[np.float64]  # (N,) pixels with data over those of a whole window
    doubt: NDArray[np.float64]  # (N,) mean over them of entropy or spread, 0 to 1
    classes: tuple[str, ...]  # of the map; () where it holds an uncertainty
    chances: NDArray[np.float64]  # (N, K) mean probability of each class


class _Reader(NamedTuple):
    """Stored numbers to shares."""

    classes: tuple[str, ...]
    share: NDArray[np.float64]  # (256,) of a stored number
    doubt: NDArray[np.float32]  # (256,) what a band of that number adds to doubt


def map_of(path: Path) -> Path:
    """The map of a folder that `geoseg predict` wrote, of probabilities where it has them.

    Args:
        path: the folder; the path of a map is given back.

    Raises:
        SceneError: there is no such path, or the folder holds none.
    """
    if not path.is_dir():
        if not path.exists():
            raise SceneError(f"{path} does not exist; give a folder that `geoseg predict` wrote.")
        return path
    found = next((path / name for name in _MAPS if (path / name).is_file()), None)
    if found is None:
        raise SceneError(
            f"{path} holds neither {' nor '.join(_MAPS)}; map the scene with `geoseg predict` and "
            "inference.probability = true."
        )
    return found


def measure_windows(path: Path, *, window_m: float, on_block: OnBlock | None = None) -> MapWindows:
    """The windows of a map of probabilities or uncertainty, as `geoseg predict` writes them.

    Doubt of probabilities is their entropy over that of all classes alike. Memory grows with the
    number of windows, not of pixels.

    Args:
        path: the GeoTIFF: a band a class, or one of entropy or spread.
        window_m: side of a window, rounded to whole pixels.
        on_block: is told how far the reading is.

    Raises:
        SceneError: it cannot be read, or holds something else.
        GridError: it is not georeferenced, or not in metres.
        ConfigError: windows of less than 8 pixels, or larger than the map.
    """
    with rasterio.Env(GDAL_CACHEMAX=_CACHE_BYTES), open_raster(path) as raster, reading(path):
        grid = raster_grid(raster)
        require_metres(crs_of(grid), "Windows")
        reader = _reader(raster)
        rows, columns = _window_px(grid, window_m)
        shape = (-(-raster.height // rows), -(-raster.width // columns))
        pixels = np.zeros(shape, dtype=np.int64)
        doubt = np.zeros(shape)
        sums = np.zeros((len(reader.classes), *shape), dtype=np.int64)
        blocks = list(_blocks(raster))
        for done, block in enumerate(blocks, start=1):
            stored = raster.read(window=block)
            known = (stored != IGNORE).all(axis=0)
            add = _Adder(block, rows, columns)
            add(pixels, known)
            # Band by band: all at once takes twice as long, for it leaves the cache.
            add(doubt, known * sum(np.take(reader.doubt, band) for band in stored))
            for total, band in zip(sums, stored, strict=False):
                add(total, np.where(known, band, 0))
            if on_block is not None:
                on_block(done, len(blocks))
    row, column = np.nonzero(pixels)
    count = pixels[row, column]
    return MapWindows(
        grid=grid,
        rows_px=rows,
        columns_px=columns,
        row=row,
        column=column,
        valid=count / (rows * columns),
        doubt=doubt[row, column] / count,
        classes=reader.classes,
        chances=(sums[:, row, column] / count * reader.share[1]).T,
    )


class _Adder:
    """Adds what a block holds to the windows that it lies on."""

    def __init__(self, block: Window, rows: int, columns: int) -> None:
        self._rows, self._row_starts = _cuts(block.row_off, block.height, rows)
        self._columns, self._column_starts = _cuts(block.col_off, block.width, columns)

    def __call__(self, totals: NDArray[np.int64] | NDArray[np.float64], pixels: _Pixels) -> None:
        """Add pixels (h, w) to totals (rows of windows, columns of windows)."""
        by_row = np.add.reduceat(pixels, self._row_starts, axis=0, dtype=totals.dtype)
        part = totals[self._rows, self._columns]
        np.add(part, np.add.reduceat(by_row, self._column_starts, axis=1), out=part)


def _cuts(offset: int, length: int, step: int) -> tuple[slice, NDArray[np.intp]]:
    """Windows that a stretch of pixels lies on, and where each begins in it."""
    first, last = offset // step, (offset + length - 1) // step
    starts = np.arange(first, last + 1) * step - offset
    return slice(first, last + 1), np.maximum(starts, 0).astype(np.intp)


def _blocks(raster: DatasetReader) -> Iterator[Window]:
    """Of whole blocks of the file, so that none is read twice."""
    rows, columns = (-(-_BLOCK_PX // side) * side for side in raster.block_shapes[0])
    for top in range(0, raster.height, rows):
        for left in range(0, raster.width, columns):
            yield Window(
                left, top, min(columns, raster.width - left), min(rows, raster.height - top)
            )


def _reader(raster: DatasetReader) -> _Reader:
    """How the numbers of a map are read.

    Raises:
        SceneError: it holds no shares of 0 to 1 in bytes, or does not name its bands.
    """
    names = tuple(raster.descriptions)
    scale = raster.scales[0]
    uncertain = len(names) == 1 and names[0] in _UNCERTAINTIES
    named = uncertain or (len(names) > 1 and all(names))
    if not named or set(raster.dtypes) != {"uint8"} or scale * (IGNORE - 1) > 1.1:
        raise SceneError(
            f"{raster.name} holds neither probabilities nor an uncertainty; give probability.tif "
            "or uncertainty.tif that `geoseg predict` wrote, or their folder."
        )
    share = np.arange(256) * scale
    doubt = share if uncertain else entr(share) / math.log(len(names))
    classes = () if uncertain else tuple(str(name) for name in names)
    return _Reader(classes, share, doubt.astype(np.float32))


def _window_px(grid: GeoBox, window_m: float) -> tuple[int, int]:
    """Rows and columns of a window.

    Raises:
        ConfigError: too few, or more than the map has.
    """
    pixel = abs(grid.resolution.x), abs(grid.resolution.y)
    if not 0 < window_m < math.inf:
        raise ConfigError(f"No window is {window_m:g} m wide; give its side in metres.")
    columns, rows = (round(window_m / side) for side in pixel)
    if min(rows, columns) < _LEAST_PX:
        raise ConfigError(
            f"A window of {window_m:g} m is {rows} x {columns} px of this map; give "
            f"{_LEAST_PX * max(pixel):g} m or more, 8 px."
        )
    if rows > grid.shape.y or columns > grid.shape.x:
        width, height = grid.shape.x * pixel[0], grid.shape.y * pixel[1]
        raise ConfigError(
            f"A window of {window_m:g} m does not fit into a map of {width:g} x {height:g} m; give "
            "a smaller side."
        )
    return rows, columns
