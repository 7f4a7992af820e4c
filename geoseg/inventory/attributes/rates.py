"""How fast areas change, and whether they changed at all."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import ndtri, stdtrit

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

__all__ = ["Changes", "Rates", "changes_of", "weighted_rates"]

_UPPER = 0.975  # of a two-sided interval of 95 %


class Rates(NamedTuple):
    """Change of area per year of each track (T,); NaN where it cannot be told."""

    rate_km2_a: NDArray[np.float64]
    lo_km2_a: NDArray[np.float64]  # 95 % interval
    hi_km2_a: NDArray[np.float64]
    used: NDArray[np.int64]  # areas that it was computed from


class Changes(NamedTuple):
    """Change from one area to another (T,); empty where either is not known."""

    change_km2: NDArray[np.float64]
    unc_km2: NDArray[np.float64]  # standard deviation
    change_pct: NDArray[np.float64]  # of the first
    significant: pd.arrays.BooleanArray  # beyond 1.96 standard deviations


def weighted_rates(
    tracks: NDArray[np.integer],
    years: NDArray[np.float64],
    areas_km2: NDArray[np.float64],
    sds_km2: NDArray[np.float64],
    *,
    count: int,
) -> Rates:
    """Slopes of area on time, by least squares with each area weighted by its uncertainty.

    Two areas are enough for a rate and its interval. Where more than two scatter about the line by
    more than their uncertainties say, these are taken to be too small by one factor (Birge 1932),
    and the interval is Student's. Where the uncertainty of an area of a track is not known (NaN),
    all of its areas count alike and the interval comes from their scatter alone: NaN for two.

    Args:
        tracks: (N,) number of the track, from 0, that each area is of.
        years: (N,) with a fraction: true dates of acquisition.
        areas_km2: (N,) NaN where not known; left out.
        sds_km2: (N,) standard deviations, above 0.
        count: of tracks.

    Returns:
        NaN for a track of fewer than two areas, or all of the same date.
    """
    known = np.isfinite(areas_km2) & np.isfinite(years)
    track, year, area = tracks[known], years[known], areas_km2[known]
    sd = sds_km2[known]

    def total(values: NDArray[np.generic] | None = None) -> NDArray[np.float64]:
        return np.bincount(track, values, count).astype(np.float64)

    unweighted = total(~np.isfinite(sd)) > 0
    weight = 1 / np.where(unweighted[track], 1.0, sd) ** 2
    with np.errstate(divide="ignore", invalid="ignore"):
        mean_year, mean_area = total(weight * year) / total(weight), total(weight * area)
        mean_area /= total(weight)
        year, area = year - mean_year[track], area - mean_area[track]
        spread = total(weight * year**2)
        # Dates that differ by rounding only say nothing of a rate.
        several = total(np.abs(year) > 1e-6) > 1
        rate = np.where(several, total(weight * year * area) / spread, np.nan)
        free = total() - 2
        ratio = total(weight * (area - rate[track] * year) ** 2) / free
        reach = _reach(ratio, free, unweighted) / np.sqrt(spread)
    return Rates(rate, rate - reach, rate + reach, total().astype(np.int64))


def changes_of(
    first_km2: ArrayLike, first_sd_km2: ArrayLike, last_km2: ArrayLike, last_sd_km2: ArrayLike
) -> Changes:
    """What was gained (above 0) or lost between two areas (T,) whose errors are independent."""
    first, first_sd = np.asarray(first_km2, float), np.asarray(first_sd_km2, float)
    change = np.asarray(last_km2, float) - first
    sd = np.hypot(first_sd, np.asarray(last_sd_km2, float))
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(first > 0, 100 * change / first, np.nan)
    beyond = np.abs(change) > ndtri(_UPPER) * sd
    unknown = np.isnan(change) | np.isnan(sd)
    return Changes(change, sd, share, pd.arrays.BooleanArray(beyond, unknown))


def _reach(
    ratio: NDArray[np.float64], free: NDArray[np.float64], unweighted: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Half of the 95 % interval (T,) of lines whose areas have a weighted spread of 1.

    Args:
        ratio: chi squared by degrees of freedom.
        free: degrees of freedom.
        unweighted: whether uncertainties are not known.
    """
    student = stdtrit(np.maximum(free, 1), _UPPER) * np.sqrt(ratio)
    scattered = np.where(free > 0, student, np.nan)
    wider = (free > 0) & (ratio > 1)
    return np.where(unweighted | wider, scattered, ndtri(_UPPER))
