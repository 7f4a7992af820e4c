"""A global grid of places: one integer names a spot on Earth, whichever scene shows it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from geoseg.errors import ConfigError

__all__ = ["PlaceGrid"]

# Polar radius of curvature a^2/b of WGS 84: no piece of the ellipsoid is curved less, so that
# neighbours are never further apart than the spacing.
_RADIUS_M = 6_399_593.626
_FINEST_M, _COARSEST_M = 1.0, 1_000_000.0
_ROW_BITS = np.uint64(32)
_COLUMNS = np.uint64(0xFFFFFFFF)


@dataclass(frozen=True, slots=True)
class PlaceGrid:
    """Cells in rows of latitude, each row divided into as many as keep the spacing.

    The layout is that of Major TOM (Francis and Czerkawski 2024): rows of equal height in degrees,
    and a number of columns that falls with the cosine of latitude. It was chosen over cells of an
    equal-area projection, H3 and UTM tiles because it is defined by one number, covers poles and
    antimeridian without a seam, has near-square cells of one area (to 1 %, but for the last
    hundred rows at a pole) and needs arithmetic only, a whole array at a time. A finer grid is
    no subdivision of a coarser one; a cell belongs to the coarser cell in which its centre lies.

    **Convention:** a cell is row * 2^32 + column; rows are counted from the south pole, columns
    from 180 W eastwards. At 320 m, (lon, lat) = (0, 0) is row 31413, column 62828.
    """

    spacing_m: float = 320.0  # neighbours are this far apart, or less

    def __post_init__(self) -> None:
        if not _FINEST_M <= self.spacing_m <= _COARSEST_M:
            raise ConfigError(
                f"A spacing of {self.spacing_m} m makes no grid of places; give 1 to 1,000,000 m."
            )

    @property
    def rows(self) -> int:
        """How many rows, from pole to pole."""
        return math.ceil(math.pi * _RADIUS_M / self.spacing_m)

    def columns(self, row: NDArray[np.int64]) -> NDArray[np.int64]:
        """How many cells rows (N,) have."""
        latitude = np.radians((row + 0.5) * (180 / self.rows) - 90)
        around_m = 2 * math.pi * _RADIUS_M * np.cos(latitude)
        count: NDArray[np.int64] = np.maximum(np.ceil(around_m / self.spacing_m), 1).astype(
            np.int64
        )
        return count

    def cells_at(self, lon: NDArray[np.float64], lat: NDArray[np.float64]) -> NDArray[np.uint64]:
        """The cells (N,) in which points lie.

        Args:
            lon: degrees east (N,), of any turn: 190 is -170.
            lat: degrees north (N,), -90 to 90.
        """
        row = np.floor((lat + 90) * (self.rows / 180)).astype(np.int64).clip(0, self.rows - 1)
        count = self.columns(row)
        turn = np.mod(lon + 180, 360) / 360
        # A hair west of 180 W is rounded to a whole turn.
        column = np.minimum(np.floor(turn * count).astype(np.int64), count - 1)
        return (row.astype(np.uint64) << _ROW_BITS) | column.astype(np.uint64)

    def centres(self, cells: NDArray[np.uint64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Longitude (N,), -180 to 180, and latitude (N,) of the centres of cells, in degrees."""
        row, column = _apart(cells)
        lat = np.asarray((row + 0.5) * (180 / self.rows) - 90, dtype=np.float64)
        lon = np.asarray((column + 0.5) * (360 / self.columns(row)) - 180, dtype=np.float64)
        return lon, lat

    def coarser(self, factor: int) -> PlaceGrid:
        """A grid of cells that many times as wide."""
        return PlaceGrid(self.spacing_m * factor)


def _apart(cells: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row and column of cells."""
    return (cells >> _ROW_BITS).astype(np.int64), (cells & _COLUMNS).astype(np.int64)
