"""Chips around the places of a scene, cut in memory: every block of its files is decoded once."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from pyproj import Geod, Transformer
from rasterio.windows import Window

from geoseg.grids import DEGREES, crs_of
from geoseg.scenes import Pixels

if TYPE_CHECKING:
    from collections.abc import Iterator

    from odc.geo.geobox import GeoBox

    from geoseg.presence.rows.grid import PlaceGrid
    from geoseg.scenes import SceneReader

__all__ = ["Sites", "Strip", "chips_of", "parts_of", "sites_within", "strips"]

_PART_PX = 16_384  # side of the largest piece of a scene that is one unit of work
_STRIP_PX = 256  # rows read at once, at least
_POINTS = 3  # to a spacing, each way, so that no cell is missed between them


class Sites(NamedTuple):
    """Places on a grid of pixels."""

    cell: NDArray[np.uint64]  # (N,)
    row: NDArray[np.float64]  # (N,) of the centre: 0 at the top edge of the first pixel
    column: NDArray[np.float64]  # (N,) likewise, from the left


class Strip(NamedTuple):
    """Rows of a scene, and the places whose chips lie in them."""

    pixels: Pixels
    top: int  # row of the scene of the first of the pixels
    left: int
    sites: Sites


def parts_of(reader: SceneReader) -> list[Window]:
    """Pieces that cover a scene, from the top: all of it, unless it is very large."""
    height, width = reader.grid.shape
    return [
        Window(left, top, min(_PART_PX, width - left), min(_PART_PX, height - top))
        for top in range(0, height, _PART_PX)
        for left in range(0, width, _PART_PX)
    ]


def sites_within(grid: GeoBox, places: PlaceGrid, window: Window) -> Sites:
    """The places whose centres lie in a window of a grid of any CRS, by cell.

    A place on the border of two windows is in one of them only.
    """
    (top, bottom), (left, right) = window.toranges()
    to_degrees = Transformer.from_crs(crs_of(grid), DEGREES, always_xy=True)
    step = places.spacing_m / (_POINTS * _widest_pixel_m(grid, window, to_degrees))
    # A lattice so dense that every cell is hit, and a step more to each side for those cut by it.
    rows = np.arange(top - step, bottom + 2 * step, step)
    columns = np.arange(left - step, right + 2 * step, step)
    x, y = _at(grid, *np.meshgrid(columns, rows))
    lon, lat = to_degrees.transform(x.ravel(), y.ravel())
    on_earth = np.isfinite(lon) & np.isfinite(lat) & (np.abs(lat) <= 90)
    cells = np.unique(places.cells_at(lon[on_earth], lat[on_earth]))
    row, column = _pixels_at(grid, to_degrees, *places.centres(cells), left + window.width / 2)
    inside = (top <= row) & (row < bottom) & (left <= column) & (column < right)
    return Sites(cells[inside], row[inside], column[inside])


def strips(reader: SceneReader, places: PlaceGrid, part: Window, side_px: int) -> Iterator[Strip]:
    """A part of a scene from top to bottom, each place in the strip that holds its chip whole.

    What is held does not grow with the height of the part: the rows that the next chips reach back
    to are kept, the others are read once.

    Args:
        reader: of the scene.
        places: that are looked at.
        part: of `parts_of`.
        side_px: of a chip, centred on its place to half a pixel.
    """
    reach = side_px // 2 + 1
    block = reader.block_height_px
    step = -(-_STRIP_PX // block) * block
    left, width = part.col_off - reach, part.width + 2 * reach
    end = part.row_off + part.height
    held: Pixels | None = None
    top = done = part.row_off - reach
    for bottom in (*range(part.row_off + step, end, step), end + reach):
        fresh = reader.read(Window(left, top, width, bottom - top))
        held = fresh if held is None else _joined(_last(held, 2 * reach), fresh)
        first, ready = max(done, part.row_off), min(bottom - reach, end)
        if ready > first:
            window = Window(part.col_off, first, part.width, ready - first)
            sites = sites_within(reader.grid, places, window)
            yield Strip(held, bottom - held.valid.shape[0], left, sites)
            done = ready
        top = bottom


def chips_of(
    strip: Strip, side_px: int, chosen: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Images (n, C, side, side) and what is valid of them (n, side, side) around some places."""
    row, column = (
        np.rint(centre[chosen] - side_px / 2).astype(int) - first
        for centre, first in ((strip.sites.row, strip.top), (strip.sites.column, strip.left))
    )
    shape = (side_px, side_px)
    valid = sliding_window_view(strip.pixels.valid, shape)[row, column]
    images = sliding_window_view(strip.pixels.image, shape, axis=(1, 2))[:, row, column]
    return np.ascontiguousarray(images.swapaxes(0, 1)), valid


def _widest_pixel_m(grid: GeoBox, window: Window, to_degrees: Transformer) -> float:
    """The longest side of a pixel on the ground, at the corners and the middle of a window."""
    (top, bottom), (left, right) = window.toranges()
    row, column = (
        axis.ravel()
        for axis in np.meshgrid(np.linspace(top, bottom, 3), np.linspace(left, right, 3))
    )
    geod = Geod(ellps="WGS84")
    here = to_degrees.transform(*_at(grid, column, row))
    sides_m = [
        geod.inv(*here, *to_degrees.transform(*_at(grid, column + across, row + down)))[2]
        for across, down in ((1, 0), (0, 1))
    ]
    return float(np.nanmax(np.where(np.isfinite(sides_m), sides_m, np.nan)))


def _pixels_at(
    grid: GeoBox,
    to_degrees: Transformer,
    lon: NDArray[np.float64],
    lat: NDArray[np.float64],
    middle: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Row and column of points on a grid; of all turns of a longitude, the one nearest to it."""
    if crs_of(grid).is_geographic:
        here = (grid.affine * (middle, 0))[0]
        lon = lon + 360 * np.rint((here - lon) / 360)
        x, y = lon, lat
    else:
        x, y = to_degrees.transform(lon, lat, direction="INVERSE")
    column, row = ~grid.affine * (np.asarray(x), np.asarray(y))
    return row, column


def _at(
    grid: GeoBox, column: NDArray[np.float64], row: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Coordinates x and y of positions on a grid."""
    x, y = grid.affine * (column, row)  # type: ignore[operator]  # affine types it for numbers
    return x, y


def _last(pixels: Pixels, rows: int) -> Pixels:
    return Pixels(pixels.image[:, -rows:], pixels.valid[-rows:])


def _joined(upper: Pixels, lower: Pixels) -> Pixels:
    return Pixels(
        np.concatenate([upper.image, lower.image], axis=1),
        np.concatenate([upper.valid, lower.valid]),
    )
