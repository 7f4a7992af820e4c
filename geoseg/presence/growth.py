"""How an object grew, where its masks are known: areas of dates, made to never shrink."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.ndimage import binary_dilation
from scipy.optimize import isotonic_regression

from geoseg.errors import LabelError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

__all__ = ["Growth", "MaskAreas", "SeenMask", "areas_of_masks", "growth_curve"]

_MOST_HIDDEN = 0.05  # share of the object's ground that may be hidden on a date that is used
_DRAWS = 500  # the 5th percentile then rests on 25 draws


class SeenMask(NamedTuple):
    """An object in one image; the images of an object have one middle on the ground."""

    inside: NDArray[np.bool_]  # (H, W) False where not valid
    valid: NDArray[np.bool_]  # (H, W)
    gsd_m: float  # side of a pixel
    border_m: float  # what the border is known to: a pixel, or a cell of evidence


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
    rate_m2_per_year: float  # of the areas before they were made so: may be negative
    rate_low: float
    rate_high: float


def areas_of_masks(masks: Sequence[SeenMask]) -> MaskAreas:
    """Areas of one object on T dates with standard deviations.

    The standard deviation is that of one offset of the whole border, anywhere within half of what
    the border is known to, to either side (Granshaw 2006, taken as uniform). A date that hides more
    than 5 % of the ground that the object takes up on any date, or that ends there, has no area.

    Args:
        masks: of each date.
    """
    hidden = _hidden_shares(masks) > _MOST_HIDDEN
    area = np.array([mask.inside.sum() * mask.gsd_m**2 for mask in masks], dtype=np.float64)
    border = np.array([_border_px(mask.inside) * mask.gsd_m for mask in masks])
    sd = border * np.array([mask.border_m for mask in masks]) / 2 / np.sqrt(3)
    return MaskAreas(np.where(hidden, np.nan, area), np.where(hidden, np.nan, sd))


def growth_curve(years: NDArray[np.floating], areas: MaskAreas, rng: np.random.Generator) -> Growth:
    """Areas that never shrink, and the rate of growth, with intervals by the bootstrap.

    Isotonic regression weighted by variance; the rate is the slope of a weighted straight line
    through the areas as they are, so it is negative where they shrink: that of curves which never
    do would be above 0 of noise alone, and cut off at 0 it would hide that masks disagree.
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


def _hidden_shares(masks: Sequence[SeenMask]) -> NDArray[np.float64]:
    """The share (T,) of the ground of an object, and of that about it, which each date hides."""
    coarsest = max(mask.gsd_m for mask in masks)
    extents = [np.array(mask.valid.shape) * mask.gsd_m / coarsest for mask in masks]
    # One pixel more on each side: an object at the edge of an image may go on beyond.
    shape = np.ceil(np.max(extents, axis=0)).astype(int) + 2
    ground = np.zeros(shape, dtype=bool)
    for mask in masks:
        at = (np.argwhere(mask.inside) + 0.5 - np.array(mask.inside.shape) / 2) * mask.gsd_m
        row, column = np.floor(at / coarsest + shape / 2).astype(int).T
        ground[row, column] = True
    ground = binary_dilation(ground)
    middles = (np.argwhere(ground) + 0.5 - shape / 2) * coarsest
    shares = [1 - _valid_at(mask, middles).mean() if len(middles) else 0.0 for mask in masks]
    return np.array(shares)


def _valid_at(mask: SeenMask, metres: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Whether points (M, 2), metres south and east of the middle, lie on valid pixels."""
    at = np.floor(metres / mask.gsd_m + np.array(mask.valid.shape) / 2).astype(int)
    inside = ((at >= 0) & (at < mask.valid.shape)).all(axis=1)
    seen = np.zeros(len(at), dtype=bool)
    seen[inside] = mask.valid[tuple(at[inside].T)]
    return seen


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
