"""Ground that a track gained and lost between two surveys."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import shapely

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

__all__ = ["Change", "ground_changes"]

_POLYGONAL = (3, 6)


class Change(NamedTuple):
    """Ground gained or lost, (N,) each."""

    row: NDArray[np.intp]  # of the pair
    gained: NDArray[np.bool_]
    polygons: NDArray[np.object_]


def ground_changes(
    before: NDArray[np.object_],
    after: NDArray[np.object_],
    *,
    seen_before: BaseGeometry | None,
    seen_after: BaseGeometry | None,
    least_m2: float,
) -> Change:
    """What outlines gained and lost, on ground that both surveys saw.

    Args:
        before: outlines (P,) in the first survey; None of what appeared.
        after: the same in the second; None of what vanished.
        seen_before: ground that the first survey saw; None for all.
        seen_after: likewise of the second.
        least_m2: smaller pieces are borders that were drawn differently, and left out.
    """
    gain = _pieces(_without(after, before), seen_before, least_m2)
    loss = _pieces(_without(before, after), seen_after, least_m2)
    rows = [np.flatnonzero(shapely.area(pieces) > 0) for pieces in (gain, loss)]
    return Change(
        row=np.concatenate(rows),
        gained=np.repeat([True, False], [len(r) for r in rows]),
        polygons=np.concatenate([gain[rows[0]], loss[rows[1]]]),
    )


def _without(one: NDArray[np.object_], other: NDArray[np.object_]) -> NDArray[np.object_]:
    """One less the other; all of it where there is no other, nothing where there is no one."""
    left = one.copy()
    both = ~(shapely.is_missing(one) | shapely.is_missing(other))
    left[both] = shapely.difference(one[both], other[both])
    return left


def _pieces(
    ground: NDArray[np.object_], seen: BaseGeometry | None, least_m2: float
) -> NDArray[np.object_]:
    """The polygons (P,) of each ground that were seen and are not too small; None where none is."""
    if seen is not None:
        shapely.prepare(seen)
        partly = ~shapely.covers(seen, ground) & ~shapely.is_missing(ground)
        ground = ground.copy()
        ground[partly] = shapely.intersection(ground[partly], seen)
    parts, row = shapely.get_parts(ground, return_index=True)
    large = np.isin(shapely.get_type_id(parts), _POLYGONAL) & (shapely.area(parts) >= least_m2)
    out = np.full(len(ground), None, dtype=object)
    kept, row = parts[large], row[large]
    where, starts = np.unique(row, return_index=True)
    for target, pieces in zip(where, np.split(kept, starts[1:]), strict=False):
        out[target] = shapely.multipolygons(pieces)
    return out
