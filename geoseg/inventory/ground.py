"""What of some outlines lies on the ground that a survey saw.

A survey may see all but a thousand clouds. An outline is cut with the few pieces of such ground
that lie about it, never with all of it: cutting takes time by all corners of what is cut.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import shapely

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

__all__ = ["seen_parts", "seen_shares"]

_CORNERS = 256  # of a piece


def seen_shares(polygons: NDArray[np.object_], seen: BaseGeometry | None) -> NDArray[np.float64]:
    """The share (N,) of each polygon that was seen, 0 to 1; of all where None."""
    share = np.ones(len(polygons))
    partly, parts = _cut(polygons, seen)
    share[partly] = shapely.area(parts) / shapely.area(polygons[partly])
    return np.clip(share, 0, 1)


def seen_parts(polygons: NDArray[np.object_], seen: BaseGeometry | None) -> NDArray[np.object_]:
    """What (N,) of each polygon was seen, empty where nothing; None stays None."""
    out = polygons.copy()
    partly, parts = _cut(polygons, seen)
    out[partly] = parts
    return out


def _cut(
    polygons: NDArray[np.object_], seen: BaseGeometry | None
) -> tuple[NDArray[np.intp], NDArray[np.object_]]:
    """Rows of polygons of which not all was seen, and what of them was."""
    if seen is None:
        return np.empty(0, dtype=np.intp), np.empty(0, dtype=object)
    shapely.prepare(seen)
    partly = np.flatnonzero(~shapely.covers(seen, polygons) & ~shapely.is_missing(polygons))
    pieces = _pieces(seen)
    row, piece = shapely.STRtree(pieces).query(polygons[partly], predicate="intersects")
    order = np.argsort(row, kind="stable")
    ends = np.searchsorted(row[order], np.arange(len(partly) + 1))
    about = np.full(len(partly), shapely.Polygon(), dtype=object)
    for number in np.flatnonzero(np.diff(ends)):
        near = pieces[piece[order[ends[number] : ends[number + 1]]]]
        about[number] = near[0] if len(near) == 1 else shapely.union_all(near)
    return partly, shapely.intersection(polygons[partly], about)


def _pieces(ground: BaseGeometry) -> NDArray[np.object_]:
    """Ground cut into pieces of few corners, by halves along its longer side."""
    done, wanting = [], shapely.get_parts(ground).tolist()
    while wanting:
        piece = wanting.pop()
        west, south, east, north = shapely.bounds(piece)
        if shapely.get_num_coordinates(piece) <= _CORNERS:
            done.append(piece)
        elif east - west >= north - south:
            middle = (west + east) / 2
            wanting += _halves(piece, (west, south, middle, north), (middle, south, east, north))
        else:
            middle = (south + north) / 2
            wanting += _halves(piece, (west, south, east, middle), (west, middle, east, north))
    return np.array(done, dtype=object)


def _halves(piece: BaseGeometry, *boxes: tuple[float, float, float, float]) -> list[BaseGeometry]:
    """The polygons of a piece in each box."""
    found = shapely.get_parts([shapely.intersection(piece, shapely.box(*box)) for box in boxes])
    return [part for part in found if shapely.area(part) > 0]
