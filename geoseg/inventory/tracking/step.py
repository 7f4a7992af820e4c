"""One step of tracking: from the last known outline of every track to the outlines of a survey."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
import shapely

from geoseg.inventory.tracking.links import (
    Links,
    best_matches,
    find_links,
    near_links,
    shared_areas_m2,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

__all__ = ["FREE", "Event", "EventName", "Front", "Sighting", "Step", "mostly_seen"]

FREE = -1  # an outline whose track is not settled beforehand
_NONE = -1

_MOSTLY = 0.5  # of an outline, for it to have broken off another or to be taken up by another
_SEEN = 0.9  # of an outline's ground, for nothing to be there when nothing was found

EventName = Literal["appear", "vanish", "reappear", "split", "merge"]


class Sighting(NamedTuple):
    """The outlines of one kind in one survey."""

    polygons: NDArray[np.object_]  # (N,) valid, apart from each other, in a CRS in metres
    seen: BaseGeometry | None  # None where all of the ground was seen
    tracks: NDArray[np.intp]  # (N,) number of the track that an outline is known to be of, or FREE
    reach_m: float = 0.0  # how far an outline may have jumped that shares no ground


class Event(NamedTuple):
    """What happened to a track between two surveys."""

    name: EventName
    track: int  # that goes on; that appeared or vanished
    others: tuple[int, ...]  # tracks that broke off or were taken up
    before: int  # number of the last survey before it
    after: int  # number of the first survey after it
    polygon: BaseGeometry  # of what appeared, vanished, broke off or was taken up


class Front:
    """The last known outline of every track; tracks are numbered from 0.

    Args:
        count: how many numbers are taken by tracks that are known and may have no outline yet.
    """

    def __init__(self, count: int) -> None:
        self.polygons = np.full(count, None, dtype=object)
        self.last = np.full(count, _NONE, dtype=np.intp)  # survey that a track was last found in
        self.alive = np.zeros(count, dtype=bool)  # neither vanished nor taken up
        self.parents = np.full(count, _NONE, dtype=np.intp)
        self.merged_into = np.full(count, _NONE, dtype=np.intp)

    @property
    def count(self) -> int:
        """Tracks, with those that have no outline yet."""
        return len(self.last)

    @property
    def begun(self) -> NDArray[np.bool_]:
        """Which tracks have an outline."""
        begun: NDArray[np.bool_] = self.last != _NONE
        return begun

    def make_room(self, more: int) -> NDArray[np.intp]:
        """Numbers of so many new tracks."""
        first = self.count
        none = np.full(more, _NONE, dtype=np.intp)
        self.polygons = np.concatenate([self.polygons, np.full(more, None, dtype=object)])
        self.last = np.concatenate([self.last, none])
        self.alive = np.concatenate([self.alive, np.zeros(more, dtype=bool)])
        self.parents = np.concatenate([self.parents, none])
        self.merged_into = np.concatenate([self.merged_into, none])
        return np.arange(first, self.count)

    def move(self, number: int, sighting: Sighting, tracks: NDArray[np.intp]) -> None:
        """Take over the outlines of survey `number`, each of one of `tracks`."""
        self.polygons[tracks] = sighting.polygons
        self.last[tracks] = number
        self.alive[tracks] = True
        self.merged_into[tracks] = _NONE


class Step:
    """What becomes of the outlines of one survey, and of the tracks before it.

    Args:
        front: is moved on.
        number: of the survey.
        sighting: its outlines.
        later: the outlines of known tracks in the surveys that follow, and their tracks.
    """

    def __init__(
        self,
        front: Front,
        number: int,
        sighting: Sighting,
        later: tuple[NDArray[np.object_], NDArray[np.intp]],
    ) -> None:
        self._front, self._number, self._sighting = front, number, sighting
        known = np.flatnonzero(front.begun)
        found = find_links(front.polygons[known], sighting.polygons)
        self._later = later
        self._links = self._cut_where_it_decides(found._replace(one=known[found.one]))
        self.tracks = sighting.tracks.copy()

    def take(self) -> list[Event]:
        """Settle the track of every outline, move the front on, and say what happened."""
        self._go_on()
        self._jump()
        self._come_back()
        free = np.flatnonzero(self.tracks == FREE)
        self.tracks[free] = self._front.make_room(len(free))
        begun = self._front.begun
        new = ~begun[self.tracks]
        dead = begun[self.tracks] & ~self._front.alive[self.tracks]
        events = [*self._broke_off(new | dead), *self._appeared(new, dead)]
        events += [*self._taken_up(), *self._vanished()]
        self._front.move(self._number, self._sighting, self.tracks)
        return events

    def _cut_where_it_decides(self, links: Links) -> Links:
        """Links with the ground that is really shared, where that may decide.

        `find_links` takes a pair that meets nothing else to share all of the smaller outline. That
        decides nothing where the two will be one track, but where either goes, or may go, with
        something that is known beforehand.
        """
        polygons, outlines = self._front.polygons, self._sighting.polygons
        settled = self._sighting.tracks
        of_outline = settled[links.other]
        elsewhere = (of_outline != FREE) | np.isin(links.one, settled) | (len(self._later[1]) > 0)
        decides = elsewhere & (of_outline != links.one)
        shared = links.shared_m2.copy()
        shared[decides] = shared_areas_m2(
            polygons[links.one[decides]], outlines[links.other[decides]]
        )
        return links._replace(shared_m2=shared)

    def _go_on(self) -> None:
        """Outlines go on with the tracks that they share most ground with.

        The last outline of a track that ended does not count; a later one, which is known, does.
        """
        ended = self._front.begun & ~self._front.alive
        links, (polygons, tracks) = self._links.only(~ended[self._links.one]), self._later
        if len(tracks):
            after = find_links(polygons, self._sighting.polygons)
            after = after.only(self.tracks[after.other] == FREE)
            shared = shared_areas_m2(polygons[after.one], self._sighting.polygons[after.other])
            links = _added(links, Links(tracks[after.one], after.other, shared))
        self._match(links)

    def _jump(self) -> None:
        """Outlines that share no ground go on with a track nearby that shares none either."""
        front, polygons = self._front, self._sighting.polygons
        lone = self.tracks == FREE
        lone[self._links.other] = False
        waiting = front.alive & ~self._is_taken()
        waiting[self._links.one] = False
        outlines, tracks = np.flatnonzero(lone), np.flatnonzero(waiting)
        one, other = near_links(
            front.polygons[tracks], polygons[outlines], reach_m=self._sighting.reach_m
        )
        self.tracks[outlines[other]] = tracks[one]

    def _come_back(self) -> None:
        """Outlines go on with tracks that had ended, where half of the smaller is shared.

        Where nothing else meets the two, a point well inside either is enough (`find_links`).
        """
        links = self._links
        one = shapely.area(self._front.polygons[links.one])
        other = shapely.area(self._sighting.polygons[links.other])
        mostly = links.shared_m2 >= _MOSTLY * np.minimum(one, other)
        self._match(links.only(mostly & ~self._front.alive[links.one]))

    def _match(self, links: Links) -> None:
        open_to_it = (self.tracks[links.other] == FREE) & ~self._is_taken()[links.one]
        links = links.only(open_to_it)
        chosen = best_matches(links)
        self.tracks[links.other[chosen]] = links.one[chosen]

    def _is_taken(self) -> NDArray[np.bool_]:
        taken = np.zeros(self._front.count, dtype=bool)
        taken[self.tracks[self.tracks != FREE]] = True
        return taken

    def _broke_off(self, fresh: NDArray[np.bool_]) -> list[Event]:
        """Outlines that begin a track, or take an ended one up, mostly on the ground of another."""
        links, front = self._links, self._front
        areas = shapely.area(self._sighting.polygons[links.other])
        from_it = (links.shared_m2 >= _MOSTLY * areas) & front.alive[links.one]
        best = _largest(links.only(from_it & fresh[links.other]), by=1)
        self._parted = np.zeros(len(self.tracks), dtype=bool)
        self._parted[best.other] = True
        children = self.tracks[best.other]
        first = front.parents[children] == _NONE
        front.parents[children[first]] = best.one[first]
        events = []
        for parent, rows in _grouped(best.other, by=best.one):
            others = tuple(self.tracks[rows].tolist())
            polygon = shapely.union_all(self._sighting.polygons[rows])
            before = int(front.last[parent])
            events.append(Event("split", parent, others, before, self._number, polygon))
        return events

    def _appeared(self, new: NDArray[np.bool_], dead: NDArray[np.bool_]) -> list[Event]:
        """Outlines that begin a track, or take an ended one up, on ground that was bare."""
        rows = np.flatnonzero((new | dead) & ~self._parted)
        return [
            Event(
                "appear" if new[row] else "reappear",
                int(self.tracks[row]),
                (),
                _NONE,
                self._number,
                self._sighting.polygons[row],
            )
            for row in rows
        ]

    def _taken_up(self) -> list[Event]:
        """Tracks without an outline that lay mostly on the ground of another track's outline."""
        links, front = self._links, self._front
        missing = front.alive & ~self._is_taken()
        areas = shapely.area(front.polygons[links.one])
        into = missing[links.one] & (links.shared_m2 >= _MOSTLY * areas)
        best = _largest(links.only(into), by=0)
        takers = self.tracks[best.other]
        front.merged_into[best.one] = takers
        front.alive[best.one] = False
        events = []
        for taker, gone in _grouped(best.one, by=takers):
            others, before = tuple(gone.tolist()), int(front.last[gone].max())
            polygon = shapely.union_all(front.polygons[gone])
            events.append(Event("merge", taker, others, before, self._number, polygon))
        return events

    def _vanished(self) -> list[Event]:
        front = self._front
        missing = np.flatnonzero(front.alive & ~self._is_taken())
        gone = missing[mostly_seen(front.polygons[missing], self._sighting.seen)]
        front.alive[gone] = False
        return [
            Event("vanish", int(t), (), int(front.last[t]), self._number, front.polygons[t])
            for t in gone
        ]


def mostly_seen(polygons: NDArray[np.object_], seen: BaseGeometry | None) -> NDArray[np.bool_]:
    """Whether nine tenths of the ground of each polygon (N,) were seen; of all where None."""
    if seen is None:
        return np.ones(len(polygons), dtype=bool)
    shapely.prepare(seen)
    whole: NDArray[np.bool_] = shapely.covers(seen, polygons)
    partly = np.flatnonzero(~whole & shapely.intersects(seen, polygons))
    shared = shared_areas_m2(polygons[partly], np.full(len(partly), seen, dtype=object))
    whole[partly] = shared >= _SEEN * shapely.area(polygons[partly])
    return whole


def _grouped(
    values: NDArray[np.intp], *, by: NDArray[np.intp]
) -> Iterator[tuple[int, NDArray[np.intp]]]:
    """Values under each key, keys rising."""
    order = np.argsort(by, kind="stable")
    keys, starts = np.unique(by[order], return_index=True)
    yield from zip(keys.tolist(), np.split(values[order], starts[1:]), strict=False)


def _added(links: Links, more: Links) -> Links:
    """Links of both, the ground of a pair that is in both added up."""
    one, other = np.concatenate([links.one, more.one]), np.concatenate([links.other, more.other])
    width = int(other.max(initial=0)) + 1
    pairs, where = np.unique(one * width + other, return_inverse=True)
    both = np.concatenate([links.shared_m2, more.shared_m2])
    shared = np.bincount(where, both, len(pairs)).astype(np.float64)
    return Links(pairs // width, pairs % width, shared)


def _largest(links: Links, *, by: int) -> Links:
    """The link with the largest share of each row of the first (0) or second (1) set."""
    order = np.argsort(-links.shared_m2, kind="stable")
    first = np.unique(links[by][order], return_index=True)[1]
    chosen = np.zeros(len(order), dtype=bool)
    chosen[order[first]] = True
    return links.only(chosen)
