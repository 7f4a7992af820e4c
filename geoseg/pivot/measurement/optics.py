"""How a sensor samples the ground: its point spread, and the pixels that it is read out in.

One axis at a time: the point spread is a Gaussian, which separates, and grids are not rotated.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq

from geoseg.errors import SensorError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["USUAL_MTF", "Axis", "gaussian_width", "realised_mtf", "sampling", "width_of_mtf"]

USUAL_MTF = 0.25  # at Nyquist, where none is published
_FINEST = 0.75  # of a cell: on a coarser grid no Gaussian has the transfer of the formula
_REACH = 4.0  # standard deviations: at 2 a transfer of 0.1 becomes one of 0.12


@dataclass(frozen=True, slots=True)
class Axis:
    """Pixels along one axis of a grid, in metres."""

    begin: float  # edge of the first pixel
    step: float  # below 0 where it runs the other way, as rows do from the north
    pixels: int

    @property
    def centres(self) -> NDArray[np.float64]:
        """Of the pixels (n,)."""
        return np.asarray(self.begin + (np.arange(self.pixels) + 0.5) * self.step)


@cache
def gaussian_width(pixel_m: float, mtf: float, step_m: float) -> float:
    """Standard deviation in metres of the point spread on a grid of `step_m`.

    On a fine grid (pixel / pi) sqrt(-2 ln MTF). Where the grid is hardly finer than the pixel, the
    spread is solved for so that the transfer at the Nyquist frequency of the sensor is right on it:
    sampled at its own pixel, a Gaussian of the formula passes twice of what it should.

    Args:
        pixel_m: of the sensor.
        mtf: modulation transfer at its Nyquist frequency, above 0 and below 1.
        step_m: of the grid that is looked at.

    Raises:
        SensorError: a transfer that is none, or pixels finer than three quarters of a cell.
    """
    if not 0 < mtf < 1:
        raise SensorError(f"A modulation transfer of {mtf} is none; give one between 0 and 1.")
    if pixel_m < _FINEST * step_m:
        raise SensorError(
            f"Pixels of {pixel_m:g} m are too fine for a pivot of {step_m:g} m; average them to "
            "its cells, or choose a finer grid."
        )
    formula = width_of_mtf(pixel_m, mtf)

    def excess(width: float) -> float:
        return realised_mtf(width, pixel_m, step_m) - mtf

    if excess(formula) <= 0:
        return formula
    return float(brentq(excess, formula, 10 * formula + step_m, xtol=1e-9))


def width_of_mtf(pixel_m: float, mtf: float) -> float:
    """Standard deviation in metres of a Gaussian with a transfer at the Nyquist frequency."""
    return float(pixel_m / np.pi * np.sqrt(-2 * np.log(mtf)))


def realised_mtf(width_m: float, pixel_m: float, step_m: float) -> float:
    """Transfer at the Nyquist frequency of a pixel, of a Gaussian sampled on a grid and cut off."""
    reach = int(np.ceil(_REACH * width_m / step_m))
    places = np.arange(-reach, reach + 1) * step_m
    weights = np.exp(-0.5 * (places / width_m) ** 2)
    return float((weights * np.cos(np.pi * places / pixel_m)).sum() / weights.sum())


def sampling(ground: Axis, pixels: Axis, width_m: float) -> NDArray[np.float64]:
    """What each pixel of a sensor takes of the cells of the ground, as a matrix (pixels, cells).

    Rows add up to 1; those of pixels whose spread reaches beyond the ground are 0.

    Args:
        ground: cells of the pivot.
        pixels: of the sensor, on the same axis.
        width_m: standard deviation of the point spread.
    """
    reach = _REACH * width_m
    low, high = sorted((ground.begin, ground.begin + ground.step * ground.pixels))
    centres = pixels.centres
    inside = (centres - reach >= low) & (centres + reach <= high)
    apart = centres[:, None] - ground.centres
    weights = np.exp(-0.5 * (apart / width_m) ** 2) * (np.abs(apart) <= reach) * inside[:, None]
    totals = weights.sum(axis=1, keepdims=True)
    return np.asarray(weights / np.where(totals > 0, totals, 1))
