"""Ground that a track gained and lost between two surveys."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely

from geoseg.inventory.columns import conform
from geoseg.inventory.ground import seen_parts
from geoseg.inventory.tables import BEND_M, empty_table
from geoseg.labels import geodesic_areas_km2

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from geoseg.inventory.surveys.survey import Survey
    from geoseg.inventory.tracking import Event
    from geoseg.inventory.tracking.linking import Tracks

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
    vanished is lost, and what appeared, or came back, is gained. Gains less losses of all tracks
    are the change of their areas, where all of the ground was seen.

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
            seen_before=before.known_ground,
            seen_after=after.known_ground,
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
    gain, loss = _without(after, before), _without(before, after)
    for seen in (seen_before, seen_after):
        gain, loss = seen_parts(gain, seen), seen_parts(loss, seen)
    gain, loss = _pieces(gain, least_m2), _pieces(loss, least_m2)
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


def _pieces(ground: NDArray[np.object_], least_m2: float) -> NDArray[np.object_]:
    """The polygons (P,) of each ground that are not too small; None where none is."""
    parts, row = shapely.get_parts(ground, return_index=True)
    large = np.isin(shapely.get_type_id(parts), _POLYGONAL) & (shapely.area(parts) >= least_m2)
    out = np.full(len(ground), None, dtype=object)
    kept, row = parts[large], row[large]
    where, starts = np.unique(row, return_index=True)
    for target, pieces in zip(where, np.split(kept, starts[1:]), strict=False):
        out[target] = shapely.multipolygons(pieces)
    return out


def _all_pairs(outlines: gpd.GeoDataFrame, tracks: Tracks) -> _Pairs:
    """Outlines that follow each other in a track, and what began, ended, broke off and merged."""
    rows = _Rows(outlines, surveys=tracks.states.shape[1])
    for event in tracks.events:
        if event.name == "vanish":
            rows.add(event, event.track, event.polygon, None)
        elif event.name == "split":
            _part(rows, event)
        elif event.name == "merge":
            _join(rows, event)
        else:
            rows.add(event, event.track, None, event.polygon)
            rows.end_before(event.track, event.after)
    return rows.pairs()


def _part(rows: _Rows, event: Event) -> None:
    """What broke off is no loss; what it grew by, beyond the outline that it broke off, is gain."""
    whole = rows.polygons[rows.at(event.track, event.after) - 1]
    rows.one[event.track, event.after] = shapely.difference(whole, event.polygon)
    for part in event.others:
        rows.end_before(part, event.after)
        grown = shapely.difference(rows.polygons[rows.at(part, event.after)], whole)
        rows.add(event, part, None, grown)


def _join(rows: _Rows, event: Event) -> None:
    """What was taken up is no gain; what of it is not in the whole is loss."""
    whole = rows.polygons[rows.at(event.track, event.after)]
    rows.other[event.track, event.after] = shapely.difference(whole, event.polygon)
    for part in event.others:
        last = rows.at(part, event.after) - 1
        before = event._replace(before=int(rows.number[last]))
        rows.add(before, part, shapely.difference(rows.polygons[last], whole), None)


class _Rows:
    """Pairs of outlines in the making."""

    def __init__(self, outlines: gpd.GeoDataFrame, *, surveys: int) -> None:
        self.polygons = outlines.geometry.to_numpy()
        # Another shape than that of the outline, by track and later survey of a pair.
        self.one: dict[tuple[int, int], BaseGeometry] = {}
        self.other: dict[tuple[int, int], BaseGeometry] = {}
        self.number = outlines["number"].to_numpy(np.intp)  # of the survey
        self._track, self._surveys = outlines["track"].to_numpy(np.intp), surveys
        self._key = self._track * surveys + self.number
        self._follows = np.append(False, self._track[1:] == self._track[:-1])
        self._lone: list[tuple[int, int, int, BaseGeometry | None, BaseGeometry | None]] = []

    def at(self, track: int, survey: int) -> int:
        """Row of the first outline of a track in a survey or after it."""
        return int(np.searchsorted(self._key, track * self._surveys + survey))

    def add(
        self, event: Event, track: int, one: BaseGeometry | None, other: BaseGeometry | None
    ) -> None:
        """What began or ended in an event."""
        self._lone.append((track, event.before, event.after, one, other))

    def end_before(self, track: int, survey: int) -> None:
        """What comes back does not follow on what was there before it had ended."""
        self._follows[self.at(track, survey)] = False

    def pairs(self) -> _Pairs:
        """All of them."""
        later = np.flatnonzero(self._follows)
        track, after = self._track[later], self.number[later]
        one, other = self.polygons[later - 1], self.polygons[later]
        for shapes, changed in ((one, self.one), (other, self.other)):
            for row, key in enumerate(zip(track.tolist(), after.tolist(), strict=True)):
                shapes[row] = changed.get(key, shapes[row])
        # What began may have taken up others, and of what ended parts may have broken off.
        alone = [
            (t, b, a, _within(one, self.one.get((t, a))), _within(other, self.other.get((t, a))))
            for t, b, a, one, other in self._lone
        ]
        lone = list(zip(*alone, strict=True)) or [()] * 5
        numbers = [np.array(values, dtype=np.intp) for values in lone[:3]]
        shapes = [np.array(values, dtype=object) for values in lone[3:]]
        return _Pairs(
            np.concatenate([track, numbers[0]]),
            np.concatenate([self.number[later - 1], numbers[1]]),
            np.concatenate([after, numbers[2]]),
            np.concatenate([one, shapes[0]]),
            np.concatenate([other, shapes[1]]),
        )


def _within(shape: BaseGeometry | None, changed: BaseGeometry | None) -> BaseGeometry | None:
    """What of a shape, where there is one, is in what was changed, where anything was."""
    if shape is None or changed is None:
        return shape
    return shapely.intersection(shape, changed)


def _by_surveys(pairs: _Pairs) -> Iterator[_Pairs]:
    """Pairs of the same two surveys, by date."""
    for before, after in sorted(set(zip(pairs.before.tolist(), pairs.after.tolist(), strict=True))):
        chosen = (pairs.before == before) & (pairs.after == after)
        yield _Pairs(*(values[chosen] for values in pairs))


def _least_m2(before: Survey, after: Survey) -> float:
    pixel = max(before.gsd_m or 0.0, after.gsd_m or 0.0)
    return _LEAST_PX * pixel**2 or _LEAST_M2
