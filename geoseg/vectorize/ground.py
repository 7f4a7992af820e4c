"""The ground that a map covers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import geopandas as gpd
import numpy as np

from geoseg.config import OutlineSettings
from geoseg.grids import crs_of
from geoseg.labels import IGNORE
from geoseg.vectorize.outlines import pixel_area_m2
from geoseg.vectorize.reader import open_map
from geoseg.vectorize.tracing import place, trace

if TYPE_CHECKING:
    from pathlib import Path

    from geoseg.vectorize.reader import OnStrip

__all__ = ["outline_ground"]

_EXACT = OutlineSettings(min_area_m2=0, min_hole_m2=0, simplify_px=0, smooth=0)


def outline_ground(
    path: Path, *, missing: int = IGNORE, on_strip: OnStrip | None = None
) -> gpd.GeoSeries:
    """The ground of a raster of bytes where it does not hold `missing`, polygon by polygon.

    Memory grows with the border of the ground and not with the raster.

    Args:
        path: a class map, or another raster of bytes, in metres.
        missing: the value where there is nothing.
        on_strip: is told of every strip that was read.

    Raises:
        SceneError: it cannot be read, or does not hold bytes.
        GridError: it is not in metres.
    """
    with open_map(path, passes=1, on_strip=on_strip) as reader:
        grid = reader.grid
        strips = reader.strips(lambda part: (part != missing).astype(np.uint8))
        tracing = trace(strips, _EXACT, pixel_m2=pixel_area_m2(grid))
    return gpd.GeoSeries(place(tracing.polygons, grid.affine), crs=crs_of(grid))
