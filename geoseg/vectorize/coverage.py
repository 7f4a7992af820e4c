"""Borders that neighbours share, drawn with fewer and with rounder corners."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import shapely

from geoseg.vectorize.rings import polygons_of_rings

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["simplify_coverage", "smooth_coverage"]


def simplify_coverage(polygons: NDArray[np.object_], *, tolerance: float) -> NDArray[np.object_]:
    """Polygons (N,) with fewer corners; what two share they share still.

    Corners go whose triangle with their neighbours has less area, roughly, than the square of the
    tolerance, in the unit of the coordinates (Visvalingam and Whyatt 1993). Corners stay where
    three borders meet.
    """
    if not len(polygons) or tolerance == 0:
        return polygons
    simple: NDArray[np.object_] = shapely.coverage_simplify(polygons, tolerance)
    return simple


def smooth_coverage(polygons: NDArray[np.object_], *, rounds: int) -> NDArray[np.object_]:
    """Polygons (N,) with their corners cut, by Chaikin (1974); what two share they share still.

    A round puts two points on each side, at a quarter and at three quarters of it, in place of its
    ends. It doubles the number of corners. Corners stay where three sides meet, and where cutting
    them would make a border cross another.

    Args:
        polygons: that do not overlap, with the same corners along common borders; in columns and
            rows, whole numbers from 0, so that both neighbours of a border compute the same.
        rounds: more make it smoother; 0 leaves all as it is.
    """
    if not len(polygons) or rounds == 0:
        return polygons
    corners = _corners(polygons)
    held = _meetings(corners)
    smooth = _cut(corners, held, rounds)
    while len(free := _free_near_overlaps(smooth, corners, held)):
        crowded = _crowded(corners, free)
        # All at once where none is seen to be the cause: as given, polygons do not overlap.
        held[corners.name[crowded if len(crowded) else free]] = True
        smooth = _cut(corners, held, rounds)
    return smooth


class _Corners(NamedTuple):
    """The corners of all rings, ring by ring."""

    place: NDArray[np.float64]  # (P, 2)
    following: NDArray[np.int64]  # (P,) the next corner of its ring
    name: NDArray[np.int64]  # (P,) of the corner as given: equal at equal places
    ring: NDArray[np.int64]  # (P,)
    polygon: NDArray[np.int64]  # (P,)

    def drawn(self) -> NDArray[np.object_]:
        """As polygons."""
        firsts = np.flatnonzero(np.diff(self.ring, prepend=-1))
        return polygons_of_rings(self.place, self.ring, self.polygon[firsts])


def _corners(polygons: NDArray[np.object_]) -> _Corners:
    rings, polygon_of_ring = shapely.get_rings(polygons, return_index=True)
    points, ring = shapely.get_coordinates(rings, return_index=True)
    # The last point of a ring is its first once more.
    closing = np.diff(ring, append=len(rings)) != 0
    points, ring = points[~closing], ring[~closing]
    column, row = points.astype(np.int64).T
    _, name = np.unique(column << 32 | row, return_inverse=True)
    return _Corners(points, _following(ring), name, ring, polygon_of_ring[ring])


def _following(ring: NDArray[np.int64]) -> NDArray[np.int64]:
    """The next of its ring for each of the corners (P,) whose rings these are."""
    following = np.arange(1, len(ring) + 1)
    first = np.flatnonzero(np.diff(ring, prepend=-1))
    following[np.append(first[1:], len(ring)) - 1] = first
    return following


def _meetings(corners: _Corners) -> NDArray[np.bool_]:
    """Of each name, whether more than two sides meet there."""
    ends = np.sort(np.stack([corners.name, corners.name[corners.following]], axis=1), axis=1)
    count = int(corners.name.max()) + 1
    sides = np.unique(ends[:, 0] * count + ends[:, 1])
    met = np.bincount(sides // count, minlength=count) + np.bincount(sides % count, minlength=count)
    return met > 2


def _cut(corners: _Corners, held: NDArray[np.bool_], rounds: int) -> NDArray[np.object_]:
    """Polygons with all corners cut but those whose names are held."""
    for _ in range(rounds):
        corners = _cut_once(corners, held)
    return corners.drawn()


def _cut_once(corners: _Corners, held: NDArray[np.bool_]) -> _Corners:
    following = corners.following
    here, there = corners.place, corners.place[following]
    stays = held[corners.name]
    # From either end a side is cut at the same places: a sum of two does not depend on their order.
    near_here = np.where(stays[:, None], here, 0.75 * here + 0.25 * there)
    near_there = 0.25 * here + 0.75 * there
    kept = np.stack([np.ones_like(stays), ~stays[following]], axis=1).ravel()

    ring = np.repeat(corners.ring, 2)[kept]
    return _Corners(
        np.stack([near_here, near_there], axis=1).reshape(-1, 2)[kept],
        _following(ring),
        np.stack([corners.name, corners.name[following]], axis=1).ravel()[kept],
        ring,
        np.repeat(corners.polygon, 2)[kept],
    )


def _free_near_overlaps(
    smooth: NDArray[np.object_], corners: _Corners, held: NDArray[np.bool_]
) -> NDArray[np.intp]:
    """Corners (F,) that are cut in polygons that cross themselves, overlap, or lie beside such."""
    wrong = ~shapely.is_valid(smooth)
    wrong |= ~shapely.is_empty(shapely.coverage_invalid_edges(smooth))
    if not wrong.any():
        return np.empty(0, dtype=np.intp)
    # By boxes, as it is not defined what an invalid polygon intersects.
    boxes = np.asarray(shapely.envelope(smooth))
    near = np.zeros(len(smooth), dtype=bool)
    near[shapely.STRtree(boxes).query(boxes[wrong], predicate="intersects")[1]] = True
    return np.flatnonzero(near[corners.polygon] & ~held[corners.name])


def _crowded(corners: _Corners, free: NDArray[np.intp]) -> NDArray[np.intp]:
    """Those of the corners (F,) to which another side comes so close that a cut may cross it."""
    before = np.empty_like(corners.following)
    before[corners.following] = np.arange(len(before))
    ends = np.stack([np.arange(len(before)), corners.following], axis=1)
    ends = ends[np.isin(corners.polygon, corners.polygon[free])]
    sides = np.asarray(shapely.linestrings(corners.place[ends]))
    triples = np.stack([before[free], free, corners.following[free]], axis=1)
    triangles = np.asarray(shapely.polygons(corners.place[triples]))
    triangle, side = shapely.STRtree(sides).query(triangles, predicate="intersects")
    others = (corners.name[ends[side]] != corners.name[free[triangle], None]).all(axis=1)
    triangle, side = triangle[others], side[others]
    enters = ~shapely.touches(triangles[triangle], sides[side])
    crowded: NDArray[np.intp] = free[np.unique(triangle[enters])]
    return crowded
