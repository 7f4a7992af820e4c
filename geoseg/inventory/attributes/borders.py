"""Borders that outlines of one survey have in common."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import shapely
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

__all__ = ["Borders", "Sides", "borders_of", "components", "shared_sides", "unions"]

_SAME_AREA = 1e-9  # relative


class Sides(NamedTuple):
    """Sides that two outlines have in common, once each."""

    first: NDArray[np.intp]  # (S,) outline with the side on its ring, its inside to the left
    second: NDArray[np.intp]  # (S,) with its inside to the right
    vector: NDArray[np.float64]  # (S, 2) from start to end, as `first` runs


class Borders(NamedTuple):
    """Pairs of outlines that touch along a line or overlap, once each."""

    first: NDArray[np.intp]  # (B,)
    second: NDArray[np.intp]  # (B,)
    length: NDArray[np.float64]  # (B,) of the line


def shared_sides(geometry: NDArray[np.object_]) -> Sides:
    """Sides that two of some polygons or multipolygons (N,) both have, with the same corners."""
    oriented = shapely.orient_polygons(geometry, exterior_cw=False)
    parts, owner = shapely.get_parts(oriented, return_index=True)
    rings, part = shapely.get_rings(parts, return_index=True)
    points, ring = shapely.get_coordinates(rings, return_index=True)
    inside = ring[1:] == ring[:-1]
    start, end = points[:-1][inside], points[1:][inside]
    of = owner[part[ring[:-1][inside]]]
    turned = (start[:, 0] > end[:, 0]) | ((start[:, 0] == end[:, 0]) & (start[:, 1] > end[:, 1]))
    low = np.where(turned[:, None], end, start)
    high = np.where(turned[:, None], start, end)
    order = np.lexsort((high[:, 1], high[:, 0], low[:, 1], low[:, 0]))
    low, high = low[order], high[order]
    same = (low[1:] == low[:-1]).all(axis=1) & (high[1:] == high[:-1]).all(axis=1)
    one, other = order[:-1][same], order[1:][same]
    between = of[one] != of[other]
    one, other = one[between], other[between]
    return Sides(of[one], of[other], end[one] - start[one])


def borders_of(polygons: NDArray[np.object_]) -> Borders:
    """The borders between polygons (N,), whether or not they have the same corners there."""
    count = len(polygons)
    sides = shared_sides(polygons)
    low, high = np.minimum(sides.first, sides.second), np.maximum(sides.first, sides.second)
    pairs, side = np.unique(low * count + high, return_inverse=True)
    along = np.hypot(sides.vector[:, 0], sides.vector[:, 1])
    length = np.bincount(side, along, len(pairs)).astype(np.float64)
    one, other = shapely.STRtree(polygons).query(polygons)
    rest = one < other
    rest[rest] = ~np.isin(one[rest] * count + other[rest], pairs)
    crossed = _crossed(polygons, one[rest], other[rest])
    first, second = np.divmod(pairs, max(count, 1))
    found = zip(Borders(first, second, length), crossed, strict=True)
    return Borders(*(np.concatenate(both) for both in found))


def components(count: int, first: NDArray[np.intp], second: NDArray[np.intp]) -> NDArray[np.intp]:
    """Number of the group (count,) that each belongs to, where both of a pair are in one group."""
    graph = csr_array((np.ones(len(first)), (first, second)), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.intp)


def unions(polygons: NDArray[np.object_], group: NDArray[np.intp]) -> NDArray[np.object_]:
    """The union (G,) of the polygons of each group, which are numbered from 0."""
    found = np.empty(int(group.max(initial=-1)) + 1, dtype=object)
    found[group] = polygons
    for number, members in _groups_of_several(group):
        found[number] = _union(polygons[members])
    return found


def _union(polygons: NDArray[np.object_]) -> BaseGeometry:
    """That of a coverage is fast and exact; of anything else it is refused, or wrong."""
    whole = shapely.area(polygons).sum()
    with suppress(shapely.GEOSException):
        union: BaseGeometry = shapely.coverage_union_all(polygons)
        if abs(union.area - whole) <= _SAME_AREA * whole and union.is_valid:
            return union
    slow: BaseGeometry = shapely.union_all(polygons)
    return slow


def _crossed(
    polygons: NDArray[np.object_], one: NDArray[np.intp], other: NDArray[np.intp]
) -> Borders:
    """Of pairs without a side in common those that share more than points all the same."""
    corners = shapely.get_num_coordinates(polygons)
    larger = np.where(corners[one] > corners[other], one, other)
    shapely.prepare(polygons[np.unique(larger)])
    hit = shapely.intersects(polygons[larger], polygons[one + other - larger])
    one, other = one[hit], other[hit]
    length = shapely.length(shapely.intersection(polygons[one], polygons[other]))
    some = length > 0
    return Borders(one[some], other[some], length[some])


def _groups_of_several(group: NDArray[np.intp]) -> Iterator[tuple[int, NDArray[np.intp]]]:
    order = np.argsort(group, kind="stable")
    sizes = np.bincount(group)
    ends = np.cumsum(sizes)
    for number in np.flatnonzero(sizes > 1):
        yield int(number), order[ends[number] - sizes[number] : ends[number]]
