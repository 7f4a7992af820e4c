"""What covers the ground in a year."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy.ndimage import label

from geoseg.data.simulate.landscape import FINE_M
from geoseg.data.simulate.noise import rising

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from geoseg.data.simulate.landscape import Landscape

__all__ = [
    "CLEAN_ICE",
    "DEBRIS_ICE",
    "GROUND",
    "LAKE",
    "POND",
    "SLUMP",
    "TARN",
    "Surface",
    "surface",
]

# Ids of geoseg.labels.GLACIER_SURFACE.
GROUND, CLEAN_ICE, DEBRIS_ICE, POND, LAKE, SLUMP, TARN = range(7)
_FIRST_ID = {CLEAN_ICE: 100, LAKE: 200, SLUMP: 300, TARN: 400, POND: 1000}
_TIP = 0.07  # length of the rounded end of a tongue, as a share of its valley
_NUNATAK_SLOPE = 1.3  # tangent: steeper walls hold no ice
_HIGHEST_TARN_M = 5300.0
_SMALLEST_TARN_M2 = 20_000.0


@dataclass(frozen=True, kw_only=True)
class Surface:
    """The ground in one year; arrays (H, W) on the fine grid."""

    year: int
    classes: NDArray[np.uint8]
    objects: NDArray[np.int32]  # id of the glacier, lake, pond, slump or tarn; 0 on the ground
    snow: NDArray[np.float32]  # share of a pixel under seasonal snow or firn, 0 to 1


def surface(landscape: Landscape, year: int) -> Surface:
    """Classes, objects and snow of a year; an object keeps its id through all years."""
    classes = np.full(landscape.grid.shape, GROUND, dtype=np.uint8)
    objects = np.zeros(landscape.grid.shape, dtype=np.int32)
    end = _ends(landscape, year)[landscape.valley]
    ice = _ice(landscape, end, year)
    debris = ice & _debris(landscape, year)
    classes[ice], classes[debris] = CLEAN_ICE, DEBRIS_ICE
    objects[ice] = _FIRST_ID[CLEAN_ICE] + landscape.valley[ice]
    lake = _lakes(landscape, end) & ~ice
    classes[lake] = LAKE
    objects[lake] = _FIRST_ID[LAKE] + landscape.valley[lake]
    ponds = _ponds(landscape, year)
    pond = debris & (ponds > 0)
    classes[pond] = POND
    objects[pond] = ponds[pond]
    tarns = _tarns(landscape)
    tarn = (classes == GROUND) & (tarns > 0)
    classes[tarn] = TARN
    objects[tarn] = tarns[tarn]
    _cut_slumps(landscape, year, classes, objects)
    return Surface(year=year, classes=classes, objects=objects, snow=_snow(landscape, ice))


def _ends(landscape: Landscape, year: int) -> NDArray[np.float32]:
    """Where along its valley each glacier ends."""
    years = year - 1965
    return np.array(
        [g.end_1965 - g.retreat_per_year * years for g in landscape.glaciers], dtype=np.float32
    )


def _ice(landscape: Landscape, end: NDArray[np.float32], year: int) -> NDArray[np.bool_]:
    width = np.array([g.half_width_m for g in landscape.glaciers], dtype=np.float32)
    thinned = width[landscape.valley] * (1 - 0.0025 * (year - 1965))
    basin = 1 + 0.9 * (1 - rising(landscape.along, 0.25, 0.5))
    tip = np.clip((landscape.along - (end - _TIP)) / _TIP, 0, 1)
    reach = thinned * basin * np.sqrt(1 - tip**2) * (1 + 0.12 * landscape.patches)
    steep = landscape.slope > _NUNATAK_SLOPE + 0.15 * landscape.patches
    inside: NDArray[np.bool_] = (landscape.across_m < reach) & (landscape.along < end) & ~steep
    return inside


def _debris(landscape: Landscape, year: int) -> NDArray[np.bool_]:
    """Low parts of some tongues, rising a little every year, and the margins of all tongues."""
    start = np.array([g.debris_from for g in landscape.glaciers], dtype=np.float32)
    start = start[landscape.valley] - 0.0015 * (year - 1965)
    covered = landscape.along > start + 0.035 * landscape.patches
    width = np.array([g.half_width_m for g in landscape.glaciers], dtype=np.float32)
    share = landscape.across_m / width[landscape.valley]
    margin = (share + 0.12 * landscape.patches > 0.86) & (landscape.along > 0.55)
    debris: NDArray[np.bool_] = covered | margin
    return debris


def _lakes(landscape: Landscape, end: NDArray[np.float32]) -> NDArray[np.bool_]:
    first = np.array([g.end_1965 for g in landscape.glaciers], dtype=np.float32)
    holds = np.array([g.lake for g in landscape.glaciers])[landscape.valley]
    width = np.array([g.half_width_m for g in landscape.glaciers], dtype=np.float32)
    left = first[landscape.valley] - landscape.along  # behind the moraine of 1965
    shore = width[landscape.valley] * 0.6 * np.sqrt(np.clip(left / 0.04, 0, 1))
    inside: NDArray[np.bool_] = (
        holds
        & (landscape.along > end - _TIP)
        & (left > 0)
        & (landscape.across_m < shore * (1 + 0.15 * landscape.patches))
    )
    return inside


def _ponds(landscape: Landscape, year: int) -> NDArray[np.int32]:
    """Ids of ponds, wherever there is debris to hold them; more and larger ones every year."""
    # Numbered at their largest, so that a pond keeps its number while it grows.
    numbered, _ = label(landscape.ponds > 1.7)
    deep = landscape.ponds > 2.3 - 0.6 * (year - 1965) / 60
    return np.where(deep & (numbered > 0), numbered + _FIRST_ID[POND], 0).astype(np.int32)


def _tarns(landscape: Landscape) -> NDArray[np.int32]:
    """Ids of lakes in hollows that no glacier touches; the same in every year."""
    hollow = (landscape.patches < -1.2) & (landscape.slope < 0.6)
    away = landscape.elevation_m < _HIGHEST_TARN_M
    numbered, count = label(hollow & away)
    sizes = np.bincount(numbered.ravel(), minlength=count + 1)
    large = (sizes * FINE_M**2 > _SMALLEST_TARN_M2) & (np.arange(count + 1) > 0)
    ids = np.where(large, np.cumsum(large) - 1 + _FIRST_ID[TARN], 0)
    return np.asarray(ids[numbered], dtype=np.int32)


def _cut_slumps(
    landscape: Landscape, year: int, classes: NDArray[np.uint8], objects: NDArray[np.int32]
) -> None:
    """A scar grows upslope from where it began, as a half disc with a ragged headwall."""
    for number, slump in enumerate(landscape.slumps):
        radius = slump.growth_m * (year - slump.born) / FINE_M
        if radius < 2:
            continue
        reach = int(radius * 1.6) + 1
        rows = slice(max(slump.row - reach, 0), slump.row + reach)
        columns = slice(max(slump.column - reach, 0), slump.column + reach)
        height, width = classes[rows, columns].shape
        row = np.arange(rows.start, rows.start + height)[:, None]
        column = np.arange(columns.start, columns.start + width)[None, :]
        up = 1 if slump.row < classes.shape[0] / 2 else -1  # the crest lies in the middle
        upslope = (row - slump.row) * up
        edge = radius * (1 + 0.2 * landscape.patches[rows, columns])
        bite = (np.hypot(upslope * 0.8, column - slump.column) < edge) & (upslope > -0.35 * radius)
        scar = bite & (classes[rows, columns] == GROUND)
        classes[rows, columns][scar] = SLUMP
        objects[rows, columns][scar] = _FIRST_ID[SLUMP] + number


def _snow(landscape: Landscape, ice: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Firn on the upper glaciers, patches on high ground that is not too steep."""
    height = landscape.elevation_m + 90 * landscape.patches
    firn = rising(height, 5150, 5450)
    patchy = rising(height + 80 * landscape.texture - 400 * landscape.slope, 5330, 5520)
    return np.where(ice, firn, patchy).astype(np.float32)
