"""Borders become polygons in pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import shapely
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, depth_first_order

from geoseg.vectorize.regions import NE, NW, SE, SW

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from geoseg.vectorize.regions import Borders

__all__ = ["draw_polygons", "polygons_of_rings"]

# Sides leave a corner to the east, south, west or north, in this order: a turn to the right adds
# one. Beside the way that is gone lie these, at the corner that it leaves and at its end alike.
_RIGHT, _LEFT = (SE, SW, NW, NE), (NE, SE, SW, NW)


class _Sides(NamedTuple):
    """Straight sides of regions, which lie to the right of the way that a side is gone."""

    start: NDArray[np.int32]  # (E,) corner
    region: NDArray[np.int32]  # (E,)
    following: NDArray[np.int32]  # (E,) side


def draw_polygons(borders: Borders, count: int) -> NDArray[np.object_]:
    """A polygon for each of the regions 1 to `count`, in columns and rows of corners of pixels.

    Region 0 is nobody's. Neighbours have the same corners along their common border. Where a region
    touches itself with a corner, its rings touch there and do not cross.
    """
    if not count:
        return np.empty(0, dtype=object)
    sides = _sides(borders)
    order, lengths = _rings(sides)
    corner = sides.start[order]
    ring = np.repeat(np.arange(len(lengths)), lengths)
    place = np.stack([borders.column[corner], borders.row[corner]], axis=1).astype(np.float64)
    firsts = order[np.cumsum(lengths) - lengths]
    return polygons_of_rings(place, ring, sides.region[firsts] - 1)


def polygons_of_rings(
    place: NDArray[np.float64], ring: NDArray[np.integer], polygon: NDArray[np.integer]
) -> NDArray[np.object_]:
    """Polygons of the corners (P, 2) of rings, which are numbered (P,).

    Args:
        place: corners, ring by ring.
        ring: of each corner, from 0.
        polygon: of each ring, from 0; the first ring of a polygon is its outer one.
    """
    rings = np.asarray(shapely.linearrings(place, indices=ring))
    return np.asarray(shapely.polygons(rings, indices=polygon))


def _sides(borders: Borders) -> _Sides:
    """All sides, in the order of the corners that they leave."""
    ends = _ends(borders)
    around = borders.around
    exists = np.stack(
        [
            (around[right] != 0) & (around[right] != around[left])
            for right, left in zip(_RIGHT, _LEFT, strict=True)
        ],
        axis=1,
    )
    number = np.cumsum(exists, dtype=np.int64).reshape(exists.shape) - 1
    total = int(number[-1, -1]) + 1
    region = np.empty(total, dtype=np.int32)
    following = np.empty(total, dtype=np.int32)
    for way in range(4):
        start = np.flatnonzero(exists[:, way])
        own, end = around[_RIGHT[way], start], ends[way][start]
        side = number[start, way]
        region[side] = own
        following[side] = number[end, (way + _turn(around, way, own, end)) % 4]
    return _Sides(np.nonzero(exists)[0].astype(np.int32), region, following)


def _turn(
    around: NDArray[np.int32], way: int, own: NDArray[np.int32], end: NDArray[np.intp]
) -> NDArray[np.int64]:
    """Where the border of a region turns at the end of a side: -1 left, 0 not, 1 right."""
    # To the left first: where a region meets itself at a corner, this leaves a ring that passes
    # the corner once on either side of it. To the right makes one ring that touches itself.
    turns_left = around[_LEFT[way], end] == own
    goes_on = around[_RIGHT[way], end] == own
    return np.where(turns_left, -1, np.where(goes_on, 0, 1))


def _ends(borders: Borders) -> tuple[NDArray[np.intp], ...]:
    """The next corner to the east, south, west and north of each; wrong where no side leads."""
    count = len(borders.row)
    along = np.arange(count)
    columnwise = np.argsort(borders.column, kind="stable")
    south, north = np.zeros((2, count), dtype=np.intp)
    south[columnwise[:-1]] = columnwise[1:]
    north[columnwise[1:]] = columnwise[:-1]
    return along + 1, south, along - 1, north


def _rings(sides: _Sides) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Sides ring by ring (E,), and the number of sides of each ring.

    Rings come region by region. The first of a region is its outer one: that begins at the first
    corner of all.
    """
    count = len(sides.following)
    rings, ring = _components(sides.following, "strong")
    first = np.empty(rings, dtype=np.int64)
    # The last of several values for one place stays, so going backward leaves the first side.
    first[ring[::-1]] = np.arange(count)[::-1]
    by_region = np.lexsort((first, sides.region[first]))
    first = first[by_region]
    # Opened before their first sides and tied to each other, the rings are one path.
    last = np.empty(count, dtype=np.int32)
    last[sides.following] = np.arange(count)
    path = sides.following.copy()
    path[last[first]] = np.roll(first, -1)
    order = depth_first_order(_graph(path), int(first[0]), return_predecessors=False)
    return order, np.bincount(ring, minlength=rings)[by_region]


def _components(following: NDArray[np.int32], connection: str) -> tuple[int, NDArray[np.int32]]:
    count, component = connected_components(_graph(following), connection=connection)
    return int(count), component


def _graph(following: NDArray[np.int32]) -> csr_array:
    """The graph in which each node leads to one other."""
    count = len(following)
    # In floats and 32 bits, as the graph routines want it: anything else is copied.
    leads = np.ones(count), following, np.arange(count + 1, dtype=np.int32)
    return csr_array(leads, shape=(count, count))
