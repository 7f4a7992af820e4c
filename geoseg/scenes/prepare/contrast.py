"""Even tones over a frame of film: the filter of Wallis, by statistics of cells."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from geoseg.scenes.resample import interpolate

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["LocalTones"]

_CELLS = 64  # to the longer side: the memory they take does not depend on the image
# Cells to a side that count together, a fifth of a frame: wider than most glaciers, whose tone
# among the rocks is what they are mapped by.
_NEIGHBOURS = 13
_BRIGHTNESS = 0.8  # of the way to the mean of the frame
_CONTRAST = 0.7  # of the way to the deviation of the frame
_LEAST_DEVIATION = 1.0  # counts


class LocalTones:
    """Mean and deviation about each place of an image (H, W), counted strip by strip."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self._side = max(1, -(-max(shape) // _CELLS))
        cells = (-(-shape[0] // self._side), -(-shape[1] // self._side))
        self._count, self._sum, self._square = (np.zeros(cells) for _ in range(3))

    def add(self, first_row: int, stored: NDArray[np.number], valid: NDArray[np.bool_]) -> None:
        """Take some whole rows (h, W), with what is valid in them."""
        values = np.where(valid, stored, 0).astype(np.float64)
        rows = np.arange(first_row, first_row + len(stored)) // self._side
        columns = np.arange(0, stored.shape[1], self._side)
        for cell in np.unique(rows):
            own = rows == cell
            for total, part in (
                (self._count, valid[own]),
                (self._sum, values[own]),
                (self._square, values[own] ** 2),
            ):
                total[cell] += np.add.reduceat(part.sum(axis=0, dtype=np.float64), columns)

    def even(
        self, first_row: int, stored: NDArray[np.number], valid: NDArray[np.bool_]
    ) -> NDArray[np.float32]:
        """Whole rows (h, W) with their local mean and deviation brought near those of the frame.

        g = (f - m) S / (c s + (1 - c) S) + b M + (1 - b) m, with m, s of the surroundings and M, S
        of the frame: the filter of Wallis (1976), by statistics of cells and interpolation between
        them as in Baltsavias (1991, Multiphoto geometrically constrained matching, ETH Zurich), and
        without its factor c on top, so that c = b = 0 leaves an image as it is. What is as wide as
        the surroundings, a fifth of the frame, goes: vignetting, fog of the film, the step where
        two halves of a scan meet.

        Returns:
            Tones, not clipped; NaN where not valid.
        """
        if not self._count.any():
            return np.full(stored.shape, np.nan, dtype=np.float32)
        whole = self._count.sum()
        mean = self._sum.sum() / whole
        deviation = max(np.sqrt(max(self._square.sum() / whole - mean**2, 0.0)), _LEAST_DEVIATION)
        local, spread = self._about(first_row, stored.shape)
        gain = deviation / (_CONTRAST * spread + (1 - _CONTRAST) * deviation)
        tones = (stored - local) * gain + _BRIGHTNESS * mean + (1 - _BRIGHTNESS) * local
        return np.where(valid, tones, np.nan).astype(np.float32)

    def _about(
        self, first_row: int, shape: tuple[int, ...]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Mean and deviation about each pixel of some rows."""
        size = min(_NEIGHBOURS, max(self._count.shape))
        count, total, square = (
            ndimage.uniform_filter(values, size, mode="constant")
            for values in (self._count, self._sum, self._square)
        )
        known = count > 1e-9
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.where(known, total / count, 0)
            spread = np.sqrt(np.maximum(np.where(known, square / count - mean**2, 0), 0))
        cells = np.stack([mean, np.maximum(spread, _LEAST_DEVIATION)]).astype(np.float32)
        rows = (np.arange(first_row, first_row + shape[0]) + 0.5) / self._side
        columns = (np.arange(shape[1]) + 0.5) / self._side
        local, deviation = interpolate(cells, known, rows, columns)
        return local, deviation
