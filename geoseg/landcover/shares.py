"""Shares of classes in cells of any size, which add up to each other.

One field of shares, on the finest cells, says what lies where. The shares of a coarser cell are its
area mean, so whatever order cells are put together in, the same shares come out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from affine import Affine
from odc.geo.geobox import GeoBox
from scipy.ndimage import zoom
from scipy.sparse import csr_array

from geoseg.errors import ConfigError, GridError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Shares", "aggregate", "cells_over", "millimetres", "overlaps_mm", "refine"]

_ROUNDS = 8  # of scaling towards the share of a cell; what is left then is corrected exactly
_NOTHING = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Shares:
    """Shares of K classes in cells (H, W).

    Raises:
        GridError: cells that are not square and north up, or arrays that are not of the grid.
    """

    grid: GeoBox  # in metres
    share: NDArray[np.float64]  # (K, H, W), sums to 1; NaN where nothing is known
    area_m2: NDArray[np.float64]  # (H, W) of a cell that something is known of

    def __post_init__(self) -> None:
        a: Affine = self.grid.affine
        if a.b or a.d or a.a <= 0 or abs(a.a + a.e) > 1e-6 * a.a:
            raise GridError(
                f"Cells of {a.a:g} by {a.e:g} are not square or not north up; warp the pivot to "
                "square cells first."
            )
        shape = tuple(int(n) for n in self.grid.shape)
        if self.share.shape[1:] != shape or self.area_m2.shape != shape:
            raise GridError(
                f"Shares of {self.share.shape} with areas of {self.area_m2.shape} on a grid of "
                f"{shape}; give (classes, rows, columns) and (rows, columns)."
            )

    @classmethod
    def of(cls, share: NDArray[np.floating], grid: GeoBox) -> Shares:
        """Of whole cells; one with a share that is NaN is not known at all."""
        known = np.isfinite(share).all(axis=0)
        whole = share.astype(np.float64)
        with np.errstate(invalid="ignore"):
            whole = np.where(known, whole / whole.sum(axis=0), np.nan)
        cell = abs(grid.affine.a * grid.affine.e)
        return cls(grid=grid, share=whole, area_m2=np.where(known, cell, 0.0))

    @property
    def gsd_m(self) -> float:
        """Width of a cell."""
        return float(self.grid.affine.a)


def aggregate(shares: Shares, gsd_m: float) -> Shares:
    """Area means in coarser cells that begin in the same top left corner.

    A cell counts with the area that something is known of, and in parts where it lies in several
    coarser ones. At the right and lower rim cells may reach beyond the ground; what lies there is
    not known.

    Raises:
        ConfigError: the cells are finer than those that are given.
    """
    fine, coarse = millimetres(shares.gsd_m), millimetres(gsd_m)
    if coarse < fine:
        raise ConfigError(
            f"Shares of {shares.gsd_m:g} m cannot be put together to {gsd_m:g} m; refine them."
        )
    height, width = (int(n) for n in shares.grid.shape)
    down, across = (overlaps_mm(n, fine, coarse) / fine for n in (height, width))
    area = down @ shares.area_m2 @ across.T
    amounts = np.where(shares.area_m2 > 0, shares.share * shares.area_m2, 0.0)
    summed = np.stack([down @ amount @ across.T for amount in amounts])
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(area > 0, summed / area, np.nan)
    return Shares(grid=cells_over(shares.grid, gsd_m), share=share, area_m2=area)


def refine(shares: Shares, gsd_m: float) -> Shares:
    """Shares in finer cells, whose mean in each given cell is what it was.

    Shares are interpolated between the centres of cells, scaled to keep those of each cell, and at
    last drawn back towards their mean as little as makes them exact and leaves none negative. What
    a cell holds is so put beside neighbours that hold it; detail that nothing measured is not made.

    Raises:
        ConfigError: the given cells are no multiple of the finer ones.
    """
    times = _times_finer(shares.gsd_m, gsd_m)
    if times == 1:
        return shares
    known = shares.area_m2 > 0
    coarse = np.where(known, shares.share, 0.0)
    guess = np.stack([_between_centres(one, times) for one in coarse])
    total = guess.sum(axis=0)
    guess = np.where(total > _NOTHING, guess / np.maximum(total, _NOTHING), 1 / len(guess))
    for _ in range(_ROUNDS):
        guess = guess * _spread(coarse / np.maximum(_means(guess, times), _NOTHING), times)
        guess = guess / np.maximum(guess.sum(axis=0), _NOTHING)
    fine = np.where(_spread(known, times), _exact(guess, coarse, times), np.nan)
    return Shares(
        grid=cells_over(shares.grid, gsd_m),
        share=fine,
        area_m2=_spread(shares.area_m2, times) / times**2,
    )


def cells_over(grid: GeoBox, gsd_m: float) -> GeoBox:
    """Cells of another size over a grid, from its top left corner to beyond its rim."""
    a: Affine = grid.affine
    fine, coarse = millimetres(a.a), millimetres(gsd_m)
    height, width = (-(-int(n) * fine // coarse) for n in grid.shape)
    return GeoBox((height, width), Affine(gsd_m, 0, a.c, 0, -gsd_m, a.f), grid.crs)


def millimetres(gsd_m: float) -> int:
    """A length as a whole number, so that areas can be compared exactly.

    Raises:
        ConfigError: it is none.
    """
    length = round(gsd_m * 1000)
    if length < 1 or abs(length - gsd_m * 1000) > 1e-3:
        raise ConfigError(f"A pixel of {gsd_m} m cannot be mapped; give whole millimetres.")
    return length


def overlaps_mm(count: int, fine_mm: int, coarse_mm: int) -> csr_array:
    """Length in mm (coarse cells, fine cells) that cells of two sizes share along one axis.

    Args:
        count: of the fine cells.
        fine_mm: their length.
        coarse_mm: that of the coarser ones, which begin where the fine ones do.
    """
    begin = np.arange(count) * fine_mm
    end = begin + fine_mm
    # A fine cell may lie across a border of coarse ones: it has an entry in each.
    first = begin // coarse_mm
    border = (first + 1) * coarse_mm
    in_first, in_next = np.minimum(end, border) - begin, np.maximum(end - border, 0)
    shape = (-(-count * fine_mm // coarse_mm), count)
    lengths = np.concatenate([in_first, in_next])
    rows, columns = np.concatenate([first, first + 1]), np.tile(np.arange(count), 2)
    kept = lengths > 0
    return csr_array((lengths[kept], (rows[kept], columns[kept])), shape=shape)


def _times_finer(coarse_m: float, fine_m: float) -> int:
    coarse, fine = millimetres(coarse_m), millimetres(fine_m)
    if coarse % fine:
        raise ConfigError(
            f"Cells of {coarse_m:g} m cannot be cut into cells of {fine_m:g} m; give a finest map "
            f"of which {coarse_m:g} m is a multiple, such as {coarse_m / 2:g} or {coarse_m / 5:g}."
        )
    return coarse // fine


def _between_centres(share: NDArray[np.float64], times: int) -> NDArray[np.float64]:
    return np.asarray(zoom(share, times, order=1, mode="nearest", grid_mode=True))


def _means(fine: NDArray[np.float64], times: int) -> NDArray[np.float64]:
    """Means (K, H, W) in cells of so many fine ones."""
    count, height, width = fine.shape
    blocks = fine.reshape(count, height // times, times, width // times, times)
    return np.asarray(blocks.mean(axis=(2, 4)))


def _spread(coarse: NDArray[Any], times: int) -> NDArray[Any]:
    return coarse.repeat(times, axis=-2).repeat(times, axis=-1)


def _exact(
    guess: NDArray[np.float64], coarse: NDArray[np.float64], times: int
) -> NDArray[np.float64]:
    """`coarse + t (guess - its mean)`, with the largest t to 1 that leaves nothing negative."""
    mean = _means(guess, times)
    apart = guess - _spread(mean, times)
    lowest = -_lowest(apart, times)
    room = np.where(lowest > _NOTHING, coarse / np.maximum(lowest, _NOTHING), 1.0)
    kept = np.minimum(room.min(axis=0), 1.0)
    return np.asarray(np.maximum(_spread(coarse, times) + _spread(kept, times) * apart, 0.0))


def _lowest(fine: NDArray[np.float64], times: int) -> NDArray[np.float64]:
    count, height, width = fine.shape
    blocks = fine.reshape(count, height // times, times, width // times, times)
    return np.asarray(blocks.min(axis=(2, 4)))
