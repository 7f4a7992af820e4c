"""From the strips of a class raster to polygons in pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import shapely

from geoseg.labels import IGNORE
from geoseg.vectorize.coverage import simplify_coverage, smooth_coverage
from geoseg.vectorize.regions import find_regions
from geoseg.vectorize.rings import draw_polygons
from geoseg.vectorize.sieve import sieve

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray
    from rasterio import Affine

    from geoseg.config import OutlineSettings
    from geoseg.vectorize.runs import Strip

__all__ = ["Tracing", "place", "trace"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracing:
    """Polygons of a class raster, and which runs of its strips lie in each."""

    polygons: NDArray[np.object_]  # (N,) in columns and rows, counted from the upper left corner
    classes: NDArray[np.uint8]  # (N,)
    of_label: NDArray[np.int32]  # (L,) polygon of a label, counted from 1; 0 where it is in none


def trace(strips: Iterable[Strip], settings: OutlineSettings, *, pixel_m2: float) -> Tracing:
    """Polygons of all classes but the ground, in the order of their first pixels.

    Memory grows with the corners of all borders in the raster and not with its pixels.

    Args:
        strips: each is looked at once.
        settings: minimum sizes, simplification and smoothing.
        pixel_m2: area of a pixel.
    """
    regions = find_regions(strips)
    sieved = sieve(regions, below_px=math.ceil(settings.min_hole_m2 / pixel_m2))
    mapped = (sieved.classes != 0) & (sieved.classes != IGNORE)
    large = mapped & (sieved.size_px * pixel_m2 >= settings.min_area_m2)
    count = int(large.sum())
    number = np.zeros(len(large), dtype=np.int32)
    number[large] = np.arange(1, count + 1)
    number_of_region = number[sieved.of_region]
    polygons = draw_polygons(regions.borders.renumbered(number_of_region), count)
    simple = simplify_coverage(polygons, tolerance=settings.simplify_px)
    return Tracing(
        polygons=smooth_coverage(simple, rounds=settings.smooth),
        classes=sieved.classes[large],
        of_label=number_of_region[regions.of_label],
    )


def place(polygons: NDArray[np.object_], affine: Affine) -> NDArray[np.object_]:
    """Polygons in columns and rows taken to coordinates, outer rings counter-clockwise."""

    def on_ground(corners: NDArray[np.float64]) -> NDArray[np.float64]:
        # Not as a product of matrices: that may round a corner differently in either neighbour.
        column, row = corners.T
        x = affine.a * column + affine.b * row + affine.c
        y = affine.d * column + affine.e * row + affine.f
        return np.stack([x, y], axis=1)

    placed = shapely.transform(polygons, on_ground)
    turned: NDArray[np.object_] = shapely.orient_polygons(placed)
    return turned
