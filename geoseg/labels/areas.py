"""Areas of outlines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pyproj import CRS, Geod

if TYPE_CHECKING:
    import geopandas as gpd
    from numpy.typing import NDArray

__all__ = ["geodesic_areas_km2"]

_WGS84 = Geod(ellps="WGS84")


def geodesic_areas_km2(outlines: gpd.GeoDataFrame, *, bend_m: float) -> NDArray[np.float64]:
    """Areas on the WGS 84 ellipsoid in km2 (Karney 2013), holes left out.

    Args:
        outlines: in any CRS.
        bend_m: sides longer than this are divided before they are taken to degrees, because a
            straight side of a projection is not a geodesic. In the unit of the CRS.
    """
    divided = outlines.geometry.segmentize(bend_m).to_crs(CRS.from_epsg(4326))
    return np.array([abs(_WGS84.geometry_area_perimeter(g)[0]) / 1e6 for g in divided])
