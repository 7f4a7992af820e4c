"""Glaciers from the ice of a map."""

from __future__ import annotations

from typing import TYPE_CHECKING

import geopandas as gpd
import numpy as np
import shapely

from geoseg.inventory.attributes.borders import borders_of, components, unions
from geoseg.inventory.surveys.survey import ICE_CLASSES

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["GLACIER_SURFACES", "IMAGE_SHARES", "glaciers_of", "shares"]

_DEBRIS = "debris_ice"
# A lake of unnamed kind is judged by its shore; one that the map calls proglacial is not on ice.
_PONDS = frozenset({"supraglacial_lake", "lake"})
GLACIER_SURFACES = ICE_CLASSES | _PONDS  # what a glacier may be made of
IMAGE_SHARES = ("snow_share", "shadow_share")  # that outlines of a map may have
_MOSTLY = 0.5  # of the shore of a lake, from which on it lies on the ice


def glaciers_of(surface: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """Ice that touches along a line, whatever it is covered by, as one glacier each.

    A pond with at least half of its shore on ice belongs to the glacier; a nunatak is a hole in it.

    Args:
        surface: polygons of one map that do not overlap, with `class_name`, in a projected CRS.
            Mean probabilities of classes, `p_clean_ice` and so on, or the `probability` of the own
            class, are used where there are any; so are `snow_share` and `shadow_share`.

    Returns:
        Polygons of which two touch in points at most, with kind, class_name (glacier where there is
        more than one class of ice), debris_share and pond_share (of the area, 0 to 1), probability
        (that it is glacier, the mean over its area, NaN where not known) and parts, always 1. Where
        the surface has them, snow_share and shadow_share of what they are known of.
    """
    classes = surface["class_name"].to_numpy()
    rows = np.flatnonzero(np.isin(classes, list(GLACIER_SURFACES)))
    polygons = surface.geometry.to_numpy()[rows]
    ice = np.isin(classes[rows], list(ICE_CLASSES))
    borders = borders_of(polygons)
    shore = ice[borders.first] != ice[borders.second]
    pond = np.where(ice[borders.first], borders.second, borders.first)[shore]
    on_ice = np.bincount(pond, borders.length[shore], len(polygons))
    member = ice | (on_ice >= _MOSTLY * shapely.length(polygons))
    joined = member[borders.first] & member[borders.second]
    # Ponds that touch each other only are joined by the ice about them.
    joined &= ice[borders.first] | ice[borders.second]
    group = components(len(polygons), borders.first[joined], borders.second[joined])
    _, glacier = np.unique(group[member], return_inverse=True)
    geometry = unions(polygons[member], glacier)
    made_of = shares(
        surface.iloc[rows[member]], glacier, shapely.area(polygons[member]), count=len(geometry)
    )
    columns = {"kind": "glacier", **made_of, "parts": shapely.get_num_geometries(geometry)}
    return gpd.GeoDataFrame(columns, geometry=geometry, crs=surface.crs)


def shares(
    pieces: gpd.GeoDataFrame,
    glacier: NDArray[np.intp],
    area_m2: NDArray[np.float64],
    *,
    count: int,
) -> dict[str, NDArray[np.generic]]:
    """class_name, debris_share, pond_share and probability (count,) of glaciers, and image shares.

    Args:
        pieces: (M,) of the surface, with `class_name`.
        glacier: (M,) number of the one that each belongs to.
        area_m2: (M,) of each that lies in it.
        count: of glaciers; one without pieces has NaN.
    """
    classes = pieces["class_name"].to_numpy(dtype=object)
    ice = np.isin(classes, list(ICE_CLASSES))
    total = np.bincount(glacier, area_m2, count)
    seen = [column for column in IMAGE_SHARES if column in pieces.columns]

    def mean(values: NDArray[np.generic]) -> NDArray[np.float64]:
        with np.errstate(invalid="ignore"):
            weighted = area_m2 * values.astype(np.float64)
            return np.asarray(np.bincount(glacier, weighted, count) / total, dtype=np.float64)

    def mean_of_known(column: str) -> NDArray[np.float64]:
        values = pieces[column].to_numpy(dtype=float, na_value=np.nan)
        known = np.isfinite(values)
        with np.errstate(invalid="ignore"):
            return mean(np.where(known, values, 0)) / mean(known)

    return {
        "class_name": _only_class(classes[ice], glacier[ice], count),
        "debris_share": mean(classes == _DEBRIS),
        "pond_share": mean(~ice),
        "probability": mean(_glacier_chance(pieces)),
        **{column: mean_of_known(column) for column in seen},
    }


def _only_class(
    classes: NDArray[np.object_], glacier: NDArray[np.intp], count: int
) -> NDArray[np.object_]:
    """The class (count,) of the ice of each glacier; glacier where there are several."""
    names, code = np.unique(classes.astype(str), return_inverse=True)
    pairs = np.unique(np.stack([glacier, code], axis=1), axis=0)
    single = np.bincount(pairs[:, 0], minlength=count)[pairs[:, 0]] == 1
    only = np.full(count, "glacier", dtype=object)
    only[pairs[single, 0]] = names[pairs[single, 1]]
    return only


def _glacier_chance(pieces: gpd.GeoDataFrame) -> NDArray[np.float64]:
    """The probability (M,) that a piece of the surface is glacier: ice of any class, or a pond."""
    # Ice that may be clean or under debris is glacier in either case.
    columns = [f"p_{name}" for name in sorted(ICE_CLASSES | {"supraglacial_lake"})]
    known = [column for column in columns if column in pieces.columns]
    if known:
        chance = pieces[known].to_numpy(dtype=float, na_value=np.nan).sum(axis=1)
        if "p_lake" in pieces.columns:
            chance += np.where(pieces["class_name"] == "lake", pieces["p_lake"], 0)
        return np.asarray(chance, dtype=np.float64)
    if "probability" in pieces.columns:
        return np.asarray(pieces["probability"].to_numpy(dtype=float, na_value=np.nan))
    return np.full(len(pieces), np.nan)
