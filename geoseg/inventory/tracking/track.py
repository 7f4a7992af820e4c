"""Outlines of several surveys linked into tracks, and what happened between surveys."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from geoseg.inventory.tracking.step import FREE, Event, Front, Sighting, Step, mostly_seen

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

__all__ = ["ABSENT", "PRESENT", "UNKNOWN", "Linked", "link_sightings"]

ABSENT, PRESENT, UNKNOWN = 0, 1, -1
_NONE = -1


@dataclass(frozen=True, kw_only=True)
class Linked:
    """Tracks are numbered from 0."""

    of_outline: list[NDArray[np.intp]]  # a survey, (N,) number of the track of each outline
    states: NDArray[np.int8]  # (tracks, surveys) PRESENT, ABSENT or UNKNOWN
    parents: NDArray[np.intp]  # (tracks,) that each broke off, -1 for none
    merged_into: NDArray[np.intp]  # (tracks,) that each was taken up by, -1 for none
    events: list[Event]


def link_sightings(
    sightings: Sequence[Sighting],
    *,
    tracks: int = 0,
    on_survey: Callable[[int, int], None] | None = None,
) -> Linked:
    """Link outlines into tracks, survey by survey.

    Each outline is compared with the last known outline of every track, so that a survey in which a
    glacier lay under cloud does not cut its track. An outline goes on with the track that it shares
    most ground with, and a track with one outline at most:

    - Of an outline that fell apart, the part with most of its ground carries on; the others begin
      tracks of their own, with it as their parent, where they lie mostly on its ground.
    - Of outlines that grew together, the one with most ground in the whole carries on; the others
      end, taken up by it, where they lay mostly on the ground of the whole.
    - A track that ended and is found again goes on, where half of the smaller outline is shared,
      or, if nothing else meets the two, a point well inside either.
    - What is not found is absent where nine tenths of its ground were seen, and else unknown.

    Outlines whose track is known keep it, whatever they share: a survey that is added later joins
    the tracks that there are, by its ground in the surveys before and after it, and changes none.

    Args:
        sightings: of one kind, oldest first.
        tracks: how many numbers are taken by tracks that are known.
        on_survey: is told how many surveys are done.
    """
    front = Front(tracks)
    events: list[Event] = []
    of_outline = []
    for number, sighting in enumerate(sightings):
        step = Step(front, number, sighting, _known_later(sightings, number))
        events += step.take()
        of_outline.append(step.tracks)
        if on_survey is not None:
            on_survey(number + 1, len(sightings))
    states = _states(sightings, of_outline, front.count)
    for event in events:
        if event.name == "merge":  # seen to be in the whole, even where some ground was not seen
            states[list(event.others), event.after] = ABSENT
    dated = (_dated(event, states) for event in events)
    return Linked(
        of_outline=of_outline,
        states=states,
        parents=front.parents,
        merged_into=front.merged_into,
        events=[event for event in dated if event is not None],
    )


def _known_later(
    sightings: Sequence[Sighting], number: int
) -> tuple[NDArray[np.object_], NDArray[np.intp]]:
    """The next outlines of known tracks after a survey, where they help to place what is in it."""
    none = np.empty(0, dtype=object), np.empty(0, dtype=np.intp)
    if not (sightings[number].tracks == FREE).any():
        return none
    known = [(s.polygons[s.tracks != FREE], s.tracks[s.tracks != FREE])
             for s in sightings[number + 1 :]]  # fmt: skip
    if not known:
        return none
    tracks = np.concatenate([tracks for _, tracks in known])
    first, rows = np.unique(tracks, return_index=True)
    return np.concatenate([polygons for polygons, _ in known])[rows], first


def _states(
    sightings: Sequence[Sighting], of_outline: Sequence[NDArray[np.intp]], tracks: int
) -> NDArray[np.int8]:
    """Whether each track was found in each survey, and whether its ground was seen where not.

    Its ground is that of its last outline before the survey, or of its first one after.
    """
    states = np.full((tracks, len(sightings)), UNKNOWN, dtype=np.int8)
    ground = np.full(tracks, None, dtype=object)
    for sighting, found in reversed(list(zip(sightings, of_outline, strict=True))):
        ground[found] = sighting.polygons
    for number, (sighting, found) in enumerate(zip(sightings, of_outline, strict=True)):
        ground[found] = sighting.polygons
        states[found, number] = PRESENT
        missing = np.flatnonzero(states[:, number] != PRESENT)
        seen = mostly_seen(ground[missing], sighting.seen)
        states[missing[seen], number] = ABSENT
    return states


def _dated(event: Event, states: NDArray[np.int8]) -> Event | None:
    """An event with the last survey that did not show it; None where no survey could have."""
    if event.name not in {"appear", "reappear"}:
        return event
    bare = np.flatnonzero(states[event.track, : event.after] == ABSENT)
    return event._replace(before=int(bare[-1])) if len(bare) else None
