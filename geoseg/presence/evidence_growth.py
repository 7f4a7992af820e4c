"""How what is outlined in the images of a place grew."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import shapely

from geoseg.dates import decimal_year
from geoseg.presence.evidence_layers import GrowthRow
from geoseg.presence.growth import SeenMask, areas_of_masks, growth_curve

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from geoseg.chips import Place
    from geoseg.presence.growth import Growth

__all__ = ["growth_rows"]

_SEED = 0  # of intervals, so that a place told of again grows alike


def growth_rows(
    place: Place, maps: Sequence[NDArray[np.float32]], level: float, cell_px: int
) -> list[GrowthRow]:
    """The growth of the area whose evidence reaches a level; no row where two dates do not tell it.

    Only images with some such area count: what is too faint to be outlined has no area of nought.
    Those that hide the object, or in which it reaches the edge, are left out.

    Args:
        place: with a position, which is the middle of its images.
        maps: evidence (H, W) in each image, NaN where not valid.
        level: from which on it is outlined.
        cell_px: side of a cell of evidence, to which a border is known.
    """
    found = _growth(place, maps, level, cell_px)
    if found is None:
        return []
    at = shapely.Point(place.lon, place.lat)
    return [
        GrowthRow(
            chip_id=place.id,
            year=float(found.years[date]),
            area_m2=float(found.area_m2[date]),
            low_m2=float(found.low_m2[date]),
            high_m2=float(found.high_m2[date]),
            rate_m2_per_year=found.rate_m2_per_year,
            rate_low=found.rate_low,
            rate_high=found.rate_high,
            geometry=at,
        )
        for date in range(len(found.years))
    ]


def _growth(
    place: Place, maps: Sequence[NDArray[np.float32]], level: float, cell_px: int
) -> Growth | None:
    shown = [
        (
            decimal_year(chip.time),
            SeenMask(found >= level, ~np.isnan(found), chip.gsd_m, cell_px * chip.gsd_m),
        )
        for chip, found in zip(place.images, maps, strict=True)
        if (found >= level).any()
    ]
    if len({year for year, _ in shown}) < 2:
        return None
    years = np.array([year for year, _ in shown])
    areas = areas_of_masks([mask for _, mask in shown])
    if len(np.unique(years[np.isfinite(areas.area_m2)])) < 2:
        return None
    return growth_curve(years, areas, np.random.default_rng(_SEED))
