"""Ground that a track gained and lost between two surveys."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from geoseg.inventory.columns import conform
from geoseg.inventory.tables import BEND_M, empty_table
from geoseg.labels import geodesic_areas_km2

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from geoseg.inventory.linking import Tracks
    from geoseg.inventory.survey import Survey

__all__ = ["Change", "changes_table", "ground_changes"]

_POLYGONAL = (3, 6)
_LEAST_PX = 1.0  # pixels of the coarser survey; a smaller piece is a border that was drawn anew
_LEAST_M2 = 1.0  # where no pixel is known


class Change(NamedTuple):
    """Ground gained or lost, (N,) each."""

    row: NDArray[np.intp]  # of the pair
    gained: NDArray[np.bool_]
    polygons: NDArray[np.object_]


class _Pairs(NamedTuple):
    """Outlines of tracks in two surveys, (P,) each."""

    track: NDArray[np.intp]
    before: NDArray[np.intp]  # number of the survey
    after: NDArray[np.intp]
    one: NDArray[np.object_]  # outline in the first survey; None of what appeared
    other: NDArray[np.object_]  # in the second; None of what vanished


def changes_table(
    outlines: gpd.GeoDataFrame, tracks: Tracks, surveys: Sequence[Survey]
) -> gpd.GeoDataFrame:
    """Ground that tracks gained and lost between surveys that follow each other in them.

    What broke off is not lost and what was taken up is not gained: it is of another track. What
    vanished is lost, and what appeared is gained.

    Args:
        outlines: of `linked_outlines`.
        tracks: of the surveys.
        surveys: oldest first.
    """
    parts = []
    for pairs in _by_surveys(_all_pairs(outlines, tracks)):
        before, after = surveys[pairs.before[0]], surveys[pairs.after[0]]
        found = ground_changes(
            pairs.one,
            pairs.other,
            seen_before=before.seen,
            seen_after=after.seen,
            least_m2=_least_m2(before, after),
        )
        track = pairs.track[found.row]
        part = gpd.GeoDataFrame(
            {
                "track_id": tracks.ids[track],
                "kind": tracks.kinds[track],
                "change": np.where(found.gained, "gain", "loss"),
                "survey_from": before.name,
                "survey_to": after.name,
                "start_date": before.first_day,
                "end_date": after.end_day,
            },
            geometry=found.polygons,
            crs=outlines.crs,
        )
        parts.append(part)
    parts = [part for part in parts if len(part)]
    if not parts:
        return conform("changes", empty_table("changes", outlines.crs))
    table = gpd.GeoDataFrame(pd.concat(parts, ignore_index=True), crs=outlines.crs)
    return conform("changes", table.assign(area_km2=geodesic_areas_km2(table, bend_m=BEND_M)))


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


def _all_pairs(outlines: gpd.GeoDataFrame, tracks: Tracks) -> _Pairs:
    """Outlines that follow each other in a track, and what appeared and vanished."""
    track, number = outlines["track"].to_numpy(), outlines["number"].to_numpy()
    polygons = outlines.geometry.to_numpy()
    followed = np.flatnonzero(track[1:] == track[:-1])
    one, other = polygons[followed].copy(), polygons[followed + 1].copy()
    row_of = {key: row for row, key in enumerate(
        zip(track[followed].tolist(), number[followed + 1].tolist(), strict=True))}  # fmt: skip
    lone = []
    for event in tracks.events:
        if event.name in {"appear", "vanish"}:
            pair = (None, event.polygon) if event.name == "appear" else (event.polygon, None)
            lone.append((event.track, event.before, event.after, *pair))
        row = row_of.get((event.track, event.after))
        if row is not None and event.name == "split":
            one[row] = shapely.difference(one[row], event.polygon)
        if row is not None and event.name == "merge":
            other[row] = shapely.difference(other[row], event.polygon)
    columns = [np.array([pair[i] for pair in lone], dtype=np.intp) for i in range(3)]
    shapes = [np.array([pair[i] for pair in lone], dtype=object) for i in (3, 4)]
    return _Pairs(
        np.concatenate([track[followed], columns[0]]),
        np.concatenate([number[followed], columns[1]]),
        np.concatenate([number[followed + 1], columns[2]]),
        np.concatenate([one, shapes[0]]),
        np.concatenate([other, shapes[1]]),
    )


def _by_surveys(pairs: _Pairs) -> Iterator[_Pairs]:
    """Pairs of the same two surveys, by date."""
    for before, after in sorted(set(zip(pairs.before.tolist(), pairs.after.tolist(), strict=True))):
        chosen = (pairs.before == before) & (pairs.after == after)
        yield _Pairs(*(values[chosen] for values in pairs))


def _least_m2(before: Survey, after: Survey) -> float:
    pixel = max(before.gsd_m or 0.0, after.gsd_m or 0.0)
    return _LEAST_PX * pixel**2 or _LEAST_M2
