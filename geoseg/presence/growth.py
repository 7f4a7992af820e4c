"""How an object grew, where its masks are known: areas of dates, made to never shrink."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.ndimage import binary_dilation
from scipy.optimize import isotonic_regression

from geoseg.errors import LabelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Growth", "MaskAreas", "areas_of_masks", "growth_curve"]

_INSIDE = 0.5  # probability from which a pixel is of the object
_MOST_HIDDEN = 0.05  # share of the object's ground that may be hidden on a date that is used
_DRAWS = 500  # the 5th percentile then rests on 25 draws


class MaskAreas(NamedTuple):
    """Areas of an object on T dates; NaN on a date that hides its ground."""

    area_m2: NDArray[np.float64]  # (T,)
    sd_m2: NDArray[np.float64]  # (T,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Growth:
    """A growth curve on the dates with a known area, oldest first; intervals of 90 %."""

    years: NDArray[np.float64]  # (D,)
    area_m2: NDArray[np.float64]  # (D,) never shrinks
    low_m2: NDArray[np.float64]
    high_m2: NDArray[np.float64]
    rate_m2_per_year: float
    rate_low: float
    rate_high: float


def areas_of_masks(
    probability: NDArray[np.floating], valid: NDArray[np.bool_], *, gsd_m: float
) -> MaskAreas:
    """Areas of one object with standard deviations.

    The area is the sum of probabilities over the object and the pixels about it. Its standard
    deviation is that of one offset of the whole border, anywhere within half a pixel to either side
    (Granshaw 2006, taken as uniform), and of the pixels that are in doubt, each by itself.

    Args:
        probability: of the object in each pixel (T, H, W).
        valid: (T, H, W).
        gsd_m: side of a pixel.
    """
    inside = valid & (probability >= _INSIDE)
    ground = binary_dilation(inside.any(axis=0))
    hidden = (~valid & ground).sum(axis=(1, 2)) > _MOST_HIDDEN * max(int(ground.sum()), 1)
    chance = np.where(valid & ground, probability, 0).astype(np.float64)
    doubt = (chance * (1 - chance)).sum(axis=(1, 2)) * gsd_m**4
    border = np.array([_border_px(mask) for mask in inside]) * gsd_m
    sd = np.sqrt(doubt + (border * gsd_m / 2) ** 2 / 3)
    area = chance.sum(axis=(1, 2)) * gsd_m**2
    return MaskAreas(np.where(hidden, np.nan, area), np.where(hidden, np.nan, sd))


def growth_curve(years: NDArray[np.floating], areas: MaskAreas, rng: np.random.Generator) -> Growth:
    """Areas that never shrink, and the rate of growth, with intervals by the bootstrap.

    Isotonic regression weighted by variance; the rate is the slope of a weighted straight line.
    Areas are drawn anew from their distributions (parametric bootstrap, Efron and Tibshirani 1993).

    Args:
        years: decimal years of the dates (T,), in any order.
        areas: on them.
        rng: draws.

    Raises:
        LabelError: fewer than two dates with a known area.
    """
    known = np.isfinite(areas.area_m2)
    order = np.argsort(np.asarray(years)[known], kind="stable")
    when = np.asarray(years, dtype=np.float64)[known][order]
    if len(np.unique(when)) < 2:
        raise LabelError(
            f"Areas are known of {len(np.unique(when))} moments; growth is told from two or more."
        )
    area, sd = areas.area_m2[known][order], areas.sd_m2[known][order]
    # A date on which nothing is seen has no border; it is as sure as the surest other, not certain.
    sd = np.maximum(sd, sd[sd > 0].min() if (sd > 0).any() else 1.0)
    drawn = np.maximum(rng.normal(area, sd, (_DRAWS, len(area))), 0)
    curves = np.stack([_never_shrinking(one, sd) for one in drawn])
    low, high = np.percentile(curves, (5, 95), axis=0)
    rates = _rates(when, drawn, sd)
    rate_low, rate_high = np.percentile(rates, (5, 95))
    return Growth(
        years=when,
        area_m2=_never_shrinking(area, sd),
        low_m2=low,
        high_m2=high,
        rate_m2_per_year=float(_rates(when, area[None], sd)[0]),
        rate_low=float(rate_low),
        rate_high=float(rate_high),
    )


def _border_px(mask: NDArray[np.bool_]) -> float:
    """Length of the border of a mask in pixels, as of a smooth outline.

    Sides of pixels overstate a border of any direction by 4 / pi on average.
    """
    padded = np.pad(mask, 1).astype(np.int8)
    sides = np.abs(np.diff(padded, axis=0)).sum() + np.abs(np.diff(padded, axis=1)).sum()
    return float(sides) * np.pi / 4


def _never_shrinking(area: NDArray[np.float64], sd: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(isotonic_regression(area, weights=1 / sd**2).x)


def _rates(
    years: NDArray[np.float64], areas: NDArray[np.float64], sd: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Slopes (N,) of weighted straight lines through areas (N, D)."""
    weight = 1 / sd**2
    centred = years - np.average(years, weights=weight)
    return np.asarray(areas @ (weight * centred) / (weight * centred**2).sum())
