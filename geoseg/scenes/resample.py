"""Pixels brought to another size: averaged by area, or interpolated between their centres."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csr_array

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Averaging", "area_average", "interpolate", "nearest_index"]

_ENOUGH = 0.5 - 1e-4  # of the area of a pixel; sums of float32 shares miss the half by rounding


def area_average(
    image: NDArray[np.float32], valid: NDArray[np.bool_], shape: tuple[int, int]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """An image (C, h, w) of this shape on the same ground, and what is valid in it.

    A pixel is the mean of the valid pixels under it, each weighted by the area it covers; it is
    valid when at least half of it is. A band that is NaN in a valid pixel is left out there, and is
    NaN where it has nothing.

    Args:
        image: (C, H, W).
        valid: (H, W).
        shape: rows and columns wanted, which need not divide those of the image.
    """
    average = Averaging(valid.shape, shape, bands=len(image))
    average.add(0, image, valid)
    return average.result()


class Averaging:
    """An average by area of an image that comes in strips of whole rows.

    Args:
        fine: rows and columns of the image.
        coarse: rows and columns wanted.
        bands: of the image.
        covered: rows and columns from which on the image lies outside its scene: what lies outside
            counts neither for nor against a pixel. All of it counts when None.
    """

    def __init__(
        self,
        fine: tuple[int, int],
        coarse: tuple[int, int],
        *,
        bands: int,
        covered: tuple[int, int] | None = None,
    ) -> None:
        counted = fine if covered is None else covered
        self._rows = _shares(fine[0], coarse[0])
        self._columns = _shares(fine[1], coarse[1])
        inside = [np.arange(n) < limit for n, limit in zip(fine, counted, strict=True)]
        self._whole = np.outer(self._rows @ inside[0], self._columns @ inside[1])
        self._area = np.zeros(coarse, dtype=np.float32)
        self._sums = np.zeros((bands, *coarse), dtype=np.float32)
        self._known: NDArray[np.float32] | None = None  # area of each band, where one has a hole

    def add(self, top: int, image: NDArray[np.float32], valid: NDArray[np.bool_]) -> None:
        """Take the rows of the image from `top` on: (C, h, W), with what is valid in them."""
        rows = self._rows[:, top : top + len(valid)]
        area = _product(rows, valid[None].astype(np.float32), self._columns)[0]
        measured = valid & np.isfinite(image)
        holes = bool((measured != valid).any())
        if holes and self._known is None:
            self._known = np.repeat(self._area[None], len(image), axis=0)
        if self._known is not None:
            self._known += _product(rows, measured.astype(np.float32), self._columns)
        self._area += area
        self._sums += _product(rows, np.where(measured, image, np.float32(0)), self._columns)

    def result(self) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """The averages (C, h, w), 0 where not valid, and what is valid (h, w)."""
        valid: NDArray[np.bool_] = (self._area > 0) & (self._area >= _ENOUGH * self._whole)
        area = self._area if self._known is None else self._known
        with np.errstate(invalid="ignore", divide="ignore"):
            image = self._sums / area
        image[:, ~valid] = 0
        return image, valid


def interpolate(
    image: NDArray[np.float32],
    valid: NDArray[np.bool_],
    rows: NDArray[np.float64],
    columns: NDArray[np.float64],
) -> NDArray[np.float32]:
    """Values (C, h, w) between pixel centres, from the valid pixels around each alone.

    Args:
        image: (C, H, W); the first pixel has its centre at 0.5.
        valid: (H, W).
        rows: where the rows wanted lie in those of the image; beyond its edge, at the edge.
        columns: the same of the columns.
    """
    down, across = _bilinear(len(valid), rows), _bilinear(valid.shape[1], columns)
    area = _product(down, valid[None].astype(np.float32), across)
    with np.errstate(invalid="ignore", divide="ignore"):
        return _product(down, np.where(valid, image, np.float32(0)), across) / area


def nearest_index(places: NDArray[np.float64], count: int) -> NDArray[np.intp]:
    """Which of `count` pixels holds each place, the last one beyond them."""
    return np.clip(np.floor(places).astype(np.intp), 0, count - 1)


def _shares(fine: int, coarse: int) -> csr_array:
    """How much (coarse, fine) of each fine pixel lies in each coarse one."""
    edges = np.arange(coarse + 1) * (fine / coarse)
    first = np.minimum(np.floor(edges[:-1] + 1e-9).astype(int), fine - 1)
    last = np.maximum(np.ceil(edges[1:] - 1e-9).astype(int), first + 1)
    count = last - first
    row = np.repeat(np.arange(coarse), count)
    column = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + first[row]
    share = np.minimum(edges[row + 1], column + 1) - np.maximum(edges[row], column)
    return csr_array((share.astype(np.float32), (row, column)), shape=(coarse, fine))


def _bilinear(count: int, places: NDArray[np.float64]) -> csr_array:
    """Weights (len(places), count) of the two pixels around each place."""
    centre = np.clip(places - 0.5, 0, count - 1)
    low = np.minimum(np.floor(centre).astype(int), max(count - 2, 0))
    high = np.minimum(low + 1, count - 1)
    share = centre - low
    row = np.arange(len(places))
    weights = np.concatenate([1 - share, share]).astype(np.float32)
    index = (np.concatenate([row, row]), np.concatenate([low, high]))
    return csr_array((weights, index), shape=(len(places), count))


def _product(
    rows: csr_array, image: NDArray[np.float32], columns: csr_array
) -> NDArray[np.float32]:
    """`rows @ band @ columns.T` for each band of an image."""
    bands, height, width = image.shape
    # Rows first: what is left for the columns, which lie apart in memory, is the smaller.
    down = rows @ image.transpose(1, 0, 2).reshape(height, bands * width)
    turned = down.reshape(-1, width).T
    both = (columns @ np.ascontiguousarray(turned)).T
    return np.ascontiguousarray(both.reshape(rows.shape[0], bands, -1).transpose(1, 0, 2))
