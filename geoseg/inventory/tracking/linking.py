"""The tracks of all kinds of outlines in some surveys, with their ids."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from pyproj import CRS

from geoseg.inventory.ground import seen_shares
from geoseg.inventory.tracking import UNKNOWN, Event, Linked, Sighting, link_sightings
from geoseg.inventory.tracking.identity import glims_style_ids, known_tracks, settled_tracks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import geopandas as gpd
    from numpy.typing import NDArray

    from geoseg.inventory.inventory import Inventory
    from geoseg.inventory.surveys.survey import Survey
    from geoseg.inventory.tracking.identity import KnownTracks

__all__ = ["Tracks", "link_surveys"]

_NONE = -1
_HALF = 0.5  # of an outline, seen, for it to tell anything


@dataclass(frozen=True, kw_only=True)
class Tracks:
    """Tracks of some surveys, numbered from 0. Arrays are over tracks (T,) unless they say else."""

    ids: NDArray[np.object_]
    kinds: NDArray[np.object_]
    ref_ids: NDArray[np.object_]  # None where the reference has none
    names: NDArray[np.object_]  # None where no source names it
    of_outline: list[NDArray[np.intp]]  # a survey, (N,) number of the track of each outline
    states: NDArray[np.int8]  # (T, surveys)
    parents: NDArray[np.intp]  # number of the track it broke off, -1 for none
    merged_into: NDArray[np.intp]  # number of the track that took it up, -1 for none
    events: list[Event]


def link_surveys(
    surveys: Sequence[Survey],
    *,
    earlier: Inventory | None,
    reference: gpd.GeoDataFrame | None,
    on_survey: Callable[[int, int], None] | None = None,
) -> Tracks:
    """Tracks of all outlines, kind after kind.

    Args:
        surveys: oldest first, in one CRS.
        earlier: an inventory whose ids stay as they are.
        reference: columns ref_id, kind and glac_name, in the CRS of the surveys.
        on_survey: is told how many surveys of all kinds are done.
    """
    kinds = sorted({kind for survey in surveys for kind in survey.outlines["kind"]})
    tracks = _none(surveys)
    taken: set[str] = set() if earlier is None else set(earlier.tracks["track_id"])
    for number, kind in enumerate(kinds):

        def advance(done: int, total: int, *, before: int = number) -> None:
            if on_survey is not None:
                on_survey(before * total + done, len(kinds) * total)

        known = known_tracks(kind, earlier, reference)
        taken.update(known.ids)
        rows = [np.flatnonzero(survey.outlines["kind"] == kind) for survey in surveys]
        sightings = [
            Sighting(
                survey.outlines.geometry.to_numpy()[chosen],
                survey.ground_of(kind),
                settled_tracks(survey, kind, known, earlier),
                _reach_m(surveys, index),
            )
            for index, (survey, chosen) in enumerate(zip(surveys, rows, strict=True))
        ]
        linked = link_sightings(sightings, tracks=len(known.ids), on_survey=advance)
        linked = _as_observed(linked, sightings)
        named = _named(kind, linked, known, surveys, rows, taken)
        taken.update(named.ids)
        tracks = _joined(tracks, named, rows)
    return tracks


def _none(surveys: Sequence[Survey]) -> Tracks:
    texts, numbers = np.empty(0, dtype=object), np.empty(0, dtype=np.intp)
    return Tracks(
        ids=texts,
        kinds=texts,
        ref_ids=texts,
        names=texts,
        of_outline=[np.full(len(survey.outlines), _NONE, dtype=np.intp) for survey in surveys],
        states=np.empty((0, len(surveys)), dtype=np.int8),
        parents=numbers,
        merged_into=numbers,
        events=[],
    )


def _joined(all_kinds: Tracks, one_kind: Tracks, rows: list[NDArray[np.intp]]) -> Tracks:
    """Tracks of several kinds, with those of one more after them."""
    first = len(all_kinds.ids)
    for of_all, of_one, chosen in zip(all_kinds.of_outline, one_kind.of_outline, rows, strict=True):
        of_all[chosen] = of_one + first
    moved = {
        name: np.where(values == _NONE, _NONE, values + first)
        for name, values in (("parents", one_kind.parents), ("merged_into", one_kind.merged_into))
    }
    events = [
        event._replace(track=event.track + first, others=tuple(o + first for o in event.others))
        for event in one_kind.events
    ]
    names = ("ids", "kinds", "ref_ids", "names", "states")
    return Tracks(
        **{n: np.concatenate([getattr(all_kinds, n), getattr(one_kind, n)]) for n in names},
        **{n: np.concatenate([getattr(all_kinds, n), values]) for n, values in moved.items()},
        of_outline=all_kinds.of_outline,
        events=[*all_kinds.events, *events],
    )


def _as_observed(linked: Linked, sightings: Sequence[Sighting]) -> Linked:
    """Tracks of which nothing is told by outlines that other dates filled in under a cloud.

    Such an outline stays in its track, whose state is unknown then, and no event is told of it.
    """
    states = linked.states.copy()
    for number, (sighting, tracks) in enumerate(zip(sightings, linked.of_outline, strict=True)):
        filled = seen_shares(sighting.polygons, sighting.seen) < _HALF
        states[tracks[filled], number] = UNKNOWN
    told = [event for event in linked.events if event.name == "vanish" or _is_told(event, states)]
    return replace(linked, states=states, events=told)


def _is_told(event: Event, states: NDArray[np.int8]) -> bool:
    """Whether the survey after saw what the event is of."""
    of = list(event.others) if event.name == "split" else [event.track]
    return bool((states[of, event.after] != UNKNOWN).any())


def _reach_m(surveys: Sequence[Survey], index: int) -> float:
    """How far an outline may lie from where it was: a pixel of the coarser of two surveys."""
    if index == 0:
        return 0.0
    pixels = [survey.gsd_m or 0.0 for survey in (surveys[index - 1], surveys[index])]
    return max(pixels)


def _named(
    kind: str,
    linked: Linked,
    known: KnownTracks,
    surveys: Sequence[Survey],
    rows: list[NDArray[np.intp]],
    taken: set[str],
) -> Tracks:
    """Tracks of one kind that have an outline, numbered anew, with their ids and names."""
    count = len(linked.states)
    first = np.full(count, None, dtype=object)
    names = np.full(count, None, dtype=object)
    for survey, chosen, tracks in reversed(
        list(zip(surveys, rows, linked.of_outline, strict=True))
    ):
        first[tracks] = survey.outlines.geometry.to_numpy()[chosen]
    for survey, chosen, tracks in zip(surveys, rows, linked.of_outline, strict=True):
        said = survey.outlines["glac_name"].to_numpy()[chosen]
        names[tracks] = np.where(pd.isna(said), names[tracks], said)
    names[: len(known.names)] = [
        ours or theirs for ours, theirs in zip(known.names, names, strict=False)
    ]
    used = np.flatnonzero([polygon is not None for polygon in first])
    number = np.full(count + 1, _NONE, dtype=np.intp)  # the last one stands for none
    number[used] = np.arange(len(used))
    new = used[used >= len(known.ids)]
    ids = np.full(count, None, dtype=object)
    ids[: len(known.ids)] = known.ids
    crs = CRS(surveys[0].outlines.crs)
    ids[new] = glims_style_ids(first[new], crs, kind, taken)
    ref_ids = np.full(count, None, dtype=object)
    ref_ids[: len(known.ref_ids)] = known.ref_ids
    return Tracks(
        ids=ids[used],
        kinds=np.full(len(used), kind, dtype=object),
        ref_ids=ref_ids[used],
        names=names[used],
        of_outline=[number[tracks] for tracks in linked.of_outline],
        states=linked.states[used],
        parents=number[linked.parents[used]],
        merged_into=number[linked.merged_into[used]],
        events=[
            event._replace(
                track=int(number[event.track]), others=tuple(number[list(event.others)].tolist())
            )
            for event in linked.events
        ],
    )
