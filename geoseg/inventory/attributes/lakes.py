"""How lakes lie to the ice."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import shapely

from geoseg.errors import GridError

if TYPE_CHECKING:
    import geopandas as gpd
    from numpy.typing import NDArray

__all__ = ["lake_relations"]

_MOSTLY = 0.5  # of the shore, from which on a lake lies on the ice
# How et al. (2021), Sci. Rep. 11, 4481: lakes within 1 km of the ice margin of Greenland.
_NEAR_M = 1000.0


def lake_relations(
    lakes: gpd.GeoDataFrame, glaciers: gpd.GeoDataFrame, *, touch_m: float, near_m: float = _NEAR_M
) -> pd.DataFrame:
    """lake_type, dist_ice_m and glacier of each lake, with the index of the lakes.

    A lake is supraglacial when at least half of its shore lies on a glacier or within its outer
    outline, else ice_contact when it touches a glacier, else proglacial when a glacier is near,
    else other. Ground that ice encloses counts as the glacier's: ponds lie in rims of debris that
    a map may call ground. What a lake is dammed by cannot be told from outlines.

    Args:
        lakes: of one survey, in a projected CRS in metres.
        glaciers: of the same survey, in the same CRS.
        touch_m: a gap up to here is none: the pixel of the map.
        near_m: how far a glacier may be that a lake belongs to.

    Returns:
        dist_ice_m is 0 where a lake touches, NaN where there is no glacier at all; glacier is the
        row of the nearest one, counted from 0, empty where none is near.

    Raises:
        GridError: lakes and glaciers are in different reference systems.
    """
    if lakes.crs != glaciers.crs:
        raise GridError(
            f"The lakes are in {lakes.crs and lakes.crs.name} and the glaciers in "
            f"{glaciers.crs and glaciers.crs.name}; bring one to the other with `to_crs`."
        )
    shapes = lakes.geometry.to_numpy()
    ice = _filled(glaciers.geometry.to_numpy())
    distance, glacier = _nearest(shapes, ice)
    distance[distance <= touch_m] = 0
    on_ice = _shore_on_ice(shapes, ice, touch_m) >= _MOSTLY
    near = distance <= near_m
    kind = np.select(
        [on_ice, distance == 0, near], ["supraglacial", "ice_contact", "proglacial"], "other"
    )
    return pd.DataFrame(
        {
            "lake_type": kind.astype(object),
            "dist_ice_m": distance,
            "glacier": pd.arrays.IntegerArray(glacier, ~near),
        },
        index=lakes.index,
    )


def _filled(glaciers: NDArray[np.object_]) -> NDArray[np.object_]:
    """Multipolygons (G,) without holes."""
    parts, owner = shapely.get_parts(glaciers, return_index=True)
    whole = np.asarray(shapely.polygons(shapely.get_exterior_ring(parts)))
    filled = np.full(len(glaciers), shapely.MultiPolygon(), dtype=object)
    return np.asarray(shapely.multipolygons(whole, indices=owner, out=filled))


def _nearest(
    lakes: NDArray[np.object_], ice: NDArray[np.object_]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Distance (L,) to the nearest ice, NaN where there is none, and its number."""
    distance, glacier = np.full(len(lakes), np.nan), np.zeros(len(lakes), dtype=np.int64)
    (lake, nearest), found = shapely.STRtree(ice).query_nearest(
        lakes, return_distance=True, all_matches=False
    )
    distance[lake], glacier[lake] = found, nearest
    return distance, glacier


def _shore_on_ice(
    lakes: NDArray[np.object_], ice: NDArray[np.object_], touch_m: float
) -> NDArray[np.float64]:
    """Share (L,) of the border of each lake that lies on ice or within reach of it."""
    lake, glacier = shapely.STRtree(ice).query(lakes, predicate="dwithin", distance=touch_m)
    west, south, east, north = shapely.bounds(lakes[lake]).T
    # As near as the ice comes and a quarter more: all of the tolerance, and a lake of a few pixels
    # beside the ice had most of its shore on it.
    reach = shapely.distance(lakes[lake], ice[glacier]) + touch_m / 4
    # Beyond the reach, so that the cut itself does not lie on the shore.
    margin = 2 * touch_m
    around = shapely.box(west - margin, south - margin, east + margin, north + margin)
    within = shapely.buffer(shapely.intersection(ice[glacier], around), reach)
    met = shapely.length(shapely.intersection(shapely.boundary(lakes[lake]), within))
    with np.errstate(invalid="ignore"):
        share = np.bincount(lake, met, len(lakes)) / shapely.length(lakes)
    return np.asarray(share, dtype=np.float64)
