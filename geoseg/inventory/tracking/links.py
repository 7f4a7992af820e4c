"""Which outlines of two surveys show the same ground."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import shapely

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Links", "best_matches", "find_links", "near_links", "shared_areas_m2"]

_LEAST_SHARE = 0.1  # of the smaller outline: less is a border that two programs drew differently
_CHUNK = 2048  # pairs: many enough for a thread to be worth it, few enough to share them out
_THREADS = max(1, min(8, os.cpu_count() or 1))


class Links(NamedTuple):
    """Pairs of outlines that share ground."""

    one: NDArray[np.intp]  # (L,) row in the first set
    other: NDArray[np.intp]  # (L,) row in the second
    shared_m2: NDArray[np.float64]  # (L,)

    def only(self, chosen: NDArray[np.bool_]) -> Links:
        """Some of them."""
        return Links(self.one[chosen], self.other[chosen], self.shared_m2[chosen])


def find_links(one: NDArray[np.object_], other: NDArray[np.object_]) -> Links:
    """Pairs that share at least a tenth of the smaller outline.

    Where an outline meets one other only, and that one meets no third, it is enough that a point
    well inside either lies in the other: no other pair competes with it, so that how much they
    share decides nothing, and the shared ground is given as all of the smaller. This saves most of
    the time, which goes into cutting polygons.

    Args:
        one: valid polygons (N,) in a CRS in metres.
        other: likewise (M,).
    """
    first, second = shapely.STRtree(other).query(one)
    smaller = np.minimum(shapely.area(one)[first], shapely.area(other)[second])
    # No more can be shared than their boxes share: most neighbours need not be looked at.
    may = _shared_boxes_m2(one[first], other[second]) >= _LEAST_SHARE * smaller
    first, second, smaller = first[may], second[may], smaller[may]
    lone = (np.bincount(first, minlength=len(one))[first] == 1) & (
        np.bincount(second, minlength=len(other))[second] == 1
    )
    sure = np.zeros(len(first), dtype=bool)
    sure[lone] = _either_inside(one[first[lone]], other[second[lone]])
    shared = smaller.copy()
    shared[~sure] = shared_areas_m2(one[first[~sure]], other[second[~sure]])
    # Two outlines without area, which a reader may let through, share nothing.
    linked = sure | ((shared >= _LEAST_SHARE * smaller) & (shared > 0))
    return Links(first, second, shared).only(linked)


def near_links(
    one: NDArray[np.object_], other: NDArray[np.object_], *, reach_m: float
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Pairs that are nearest to each other both ways and no further apart than `reach_m`.

    Their areas differ by less than half of the larger: a pond does not become the lake beside it.
    """
    none = np.empty(0, dtype=np.intp)
    if not (reach_m > 0 and len(one) and len(other)):
        return none, none
    forth = _nearest(one, other, reach_m)
    back = _nearest(other, one, reach_m)
    mutual = forth >= 0
    mutual[mutual] = back[forth[mutual]] == np.flatnonzero(mutual)
    first = np.flatnonzero(mutual)
    second = forth[first]
    areas = np.stack([shapely.area(one[first]), shapely.area(other[second])])
    alike = areas.min(axis=0) > areas.max(axis=0) / 2
    return first[alike], second[alike]


def shared_areas_m2(one: NDArray[np.object_], other: NDArray[np.object_]) -> NDArray[np.float64]:
    """Area (L,) that each pair of polygons has in common."""
    out = np.zeros(len(one))

    def cut(start: int) -> None:
        part = slice(start, start + _CHUNK)
        out[part] = shapely.area(shapely.intersection(one[part], other[part]))

    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(cut, range(0, len(one), _CHUNK)))
    return out


def best_matches(links: Links) -> NDArray[np.bool_]:
    """Which links (L,) make pairs: each row of either set at most once, the largest share first."""
    chosen = np.zeros(len(links.one), dtype=bool)
    left = np.argsort(-links.shared_m2, kind="stable")
    while len(left):
        # The first of a row among the links, and of its partner likewise, is best for both of them.
        best_one = np.zeros(len(left), dtype=bool)
        best_one[np.unique(links.one[left], return_index=True)[1]] = True
        best_other = np.zeros(len(left), dtype=bool)
        best_other[np.unique(links.other[left], return_index=True)[1]] = True
        taken = left[best_one & best_other]
        chosen[taken] = True
        free = ~np.isin(links.one[left], links.one[taken])
        free &= ~np.isin(links.other[left], links.other[taken])
        left = left[free]
    return chosen


def _shared_boxes_m2(one: NDArray[np.object_], other: NDArray[np.object_]) -> NDArray[np.float64]:
    """Area (L,) that the boxes around each pair of polygons have in common."""
    box, beside = shapely.bounds(one), shapely.bounds(other)
    size = np.minimum(box[:, 2:], beside[:, 2:]) - np.maximum(box[:, :2], beside[:, :2])
    shared: NDArray[np.float64] = np.prod(np.maximum(size, 0), axis=1)
    return shared


def _either_inside(one: NDArray[np.object_], other: NDArray[np.object_]) -> NDArray[np.bool_]:
    shapely.prepare(one)
    shapely.prepare(other)
    inside: NDArray[np.bool_] = _has_inner_point(one, other) | _has_inner_point(other, one)
    shapely.destroy_prepared(one)
    shapely.destroy_prepared(other)
    return inside


def _has_inner_point(polygons: NDArray[np.object_], of: NDArray[np.object_]) -> NDArray[np.bool_]:
    points = shapely.point_on_surface(of)
    inside: NDArray[np.bool_] = shapely.contains_xy(
        polygons, shapely.get_x(points), shapely.get_y(points)
    )
    return inside


def _nearest(
    one: NDArray[np.object_], other: NDArray[np.object_], reach_m: float
) -> NDArray[np.intp]:
    """Row of the nearest of `other` to each of `one`, -1 where none is in reach."""
    found = np.full(len(one), -1, dtype=np.intp)
    rows, nearest = shapely.STRtree(other).query_nearest(
        one, max_distance=reach_m, all_matches=False
    )
    found[rows] = nearest
    return found
