"""Outlines of one survey made fit to be tracked: valid, each once, apart from each other."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import geopandas as gpd
import numpy as np
import shapely

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Cleaned", "clean_outlines"]

_SAME = 0.98  # of both outlines
_SLIVER_M = 0.1  # width of an overlap, or of what it leaves, below which it is rounding
_POLYGONAL = (3, 6)


class Cleaned(NamedTuple):
    """Outlines, and what was done to them, by their rows in what was read."""

    outlines: gpd.GeoDataFrame
    repaired: dict[int, str]  # what was wrong
    duplicates: dict[int, int]  # the row that stands for it
    overlaps: list[tuple[int, int]]  # the row that was cut, and the one that was cut out of it
    empty: list[int]  # rows without an area


def clean_outlines(table: gpd.GeoDataFrame) -> Cleaned:
    """Valid polygons, none twice, and none of a kind on the ground of another.

    Ground that two outlines of a kind claim stays with the smaller one, which was drawn to tell it
    apart, and is cut out of the larger; of one that smaller ones cover, nothing is left. No ground
    is lost: what is dropped is there once more, or has no area.

    Args:
        table: polygons in a CRS in metres, with a column `kind`; its index is replaced.
    """
    polygons, wrong = _repaired(table.geometry.to_numpy())
    has_area = np.isin(shapely.get_type_id(polygons), _POLYGONAL) & (shapely.area(polygons) > 0)
    empty = np.flatnonzero(~has_area).tolist()
    duplicates: dict[int, int] = {}
    overlaps: list[tuple[int, int]] = []
    for kind in table["kind"].unique():
        rows = np.flatnonzero((table["kind"] == kind).to_numpy() & has_area)
        twice, cut = _apart(polygons, rows)
        duplicates |= twice
        overlaps += cut
    kept = has_area
    kept[list(duplicates)] = False
    covered = np.array([large for large, _ in overlaps], dtype=np.intp)
    kept[covered] &= _is_wide(polygons[covered])
    outlines = table.set_geometry(gpd.GeoSeries(polygons, index=table.index, crs=table.crs))
    return Cleaned(outlines[kept].reset_index(drop=True), wrong, duplicates, overlaps, empty)


def _repaired(polygons: NDArray[np.object_]) -> tuple[NDArray[np.object_], dict[int, str]]:
    bad = np.flatnonzero(~shapely.is_valid(polygons) & ~shapely.is_missing(polygons))
    wrong = {int(row): str(shapely.is_valid_reason(polygons[row])) for row in bad}
    out = polygons.copy()
    out[bad] = shapely.make_valid(polygons[bad], method="structure", keep_collapsed=False)
    return out, wrong


def _apart(
    polygons: NDArray[np.object_], rows: NDArray[np.intp]
) -> tuple[dict[int, int], list[tuple[int, int]]]:
    """Cut the outlines of these rows apart in place; which were there twice, and which were cut."""
    areas = shapely.area(polygons)
    one, other = shapely.STRtree(polygons[rows]).query(polygons[rows], predicate="intersects")
    one, other = rows[one[one < other]], rows[other[one < other]]
    common = shapely.intersection(polygons[one], polygons[other])
    wide = _is_wide(common)
    smaller, larger = np.where(areas[one] <= areas[other], (one, other), (other, one))
    same = wide & (shapely.area(common) >= _SAME * areas[larger])
    twice: dict[int, int] = {}
    for row, gone in sorted(zip(one[same].tolist(), other[same].tolist(), strict=True)):
        twice.setdefault(gone, twice.get(row, row))
    cut = []
    for small, large in zip(smaller[wide & ~same].tolist(), larger[wide & ~same].tolist(),
                            strict=True):  # fmt: skip
        if small not in twice and large not in twice:
            polygons[large] = shapely.difference(polygons[large], polygons[small])
            cut.append((large, small))
    return twice, cut


def _is_wide(polygons: NDArray[np.object_]) -> NDArray[np.bool_]:
    """Whether there is more to each (N,) than what rounding leaves along a border."""
    wide: NDArray[np.bool_] = 2 * shapely.area(polygons) > _SLIVER_M * shapely.length(polygons)
    return wide
