"""Identities that are given once: those of an earlier inventory, of a reference, and new ones."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import shapely
from pyproj import CRS, Transformer

from geoseg.grids import DEGREES
from geoseg.inventory.surveys.registration import outline_shift
from geoseg.inventory.tracking import FREE, Links, best_matches, find_links

if TYPE_CHECKING:
    from collections.abc import Iterable

    import geopandas as gpd
    from numpy.typing import NDArray

    from geoseg.inventory.inventory import Inventory
    from geoseg.inventory.surveys.survey import Survey

__all__ = ["KnownTracks", "glims_style_ids", "known_tracks", "settled_tracks"]

_NO_NUMBERS = np.empty(0, dtype=np.intp)
_PREFIXES = {"glacier": "G", "lake": "GL", "thaw_slump": "RTS"}


class KnownTracks(NamedTuple):
    """Tracks of one kind that have an id before anything is linked, by their number."""

    ids: list[str]
    ref_ids: list[str | None]
    names: list[str | None]
    reference: NDArray[
        np.object_
    ]  # (R,) outlines of the reference inventory, in the CRS of surveys
    of_reference: NDArray[np.intp]  # (R,) the track of each


def known_tracks(
    kind: str, earlier: Inventory | None, reference: gpd.GeoDataFrame | None
) -> KnownTracks:
    """Tracks of an earlier inventory, and those of a reference that it did not know yet.

    Args:
        kind: of the tracks.
        earlier: whose ids stay as they are.
        reference: columns ref_id, kind and glac_name; a new track goes by its ref_id. Where a
            track has an id already, it keeps that one beside it.
    """
    ids: list[str] = []
    ref_ids: list[str | None] = []
    names: list[str | None] = []
    if earlier is not None:
        mine = earlier.tracks[earlier.tracks["kind"] == kind]
        ids += mine["track_id"].tolist()
        ref_ids += [_or_none(value) for value in mine["ref_id"]]
        names += [_or_none(value) for value in mine["glac_name"]]
    if reference is None:
        return KnownTracks(ids, ref_ids, names, np.empty(0, dtype=object), _NO_NUMBERS)
    of_kind = reference[reference["kind"] == kind]
    polygons = of_kind.geometry.to_numpy()
    numbers = {ref: number for number, ref in enumerate(ref_ids) if ref is not None}
    if earlier is not None:
        without = np.flatnonzero([ref is None for ref in ref_ids])
        outlines = mine.geometry.to_crs(reference.crs).to_numpy()[without]
        numbers |= _of_same_ground(without, outlines, of_kind[~of_kind["ref_id"].isin(numbers)])
    of_reference = []
    for ref, name in zip(of_kind["ref_id"], of_kind["glac_name"], strict=True):
        if ref not in numbers:
            numbers[ref] = len(ids)
            ids.append(ref)
            ref_ids.append(ref)
            names.append(None)
        number = numbers[ref]
        ref_ids[number], names[number] = ref, names[number] or _or_none(name)
        of_reference.append(number)
    return KnownTracks(ids, ref_ids, names, polygons, np.array(of_reference, dtype=np.intp))


def settled_tracks(
    survey: Survey, kind: str, known: KnownTracks, earlier: Inventory | None
) -> NDArray[np.intp]:
    """The known track of each outline of a kind in a survey, FREE where it has none.

    An outline keeps the track that it had in the same survey of the earlier inventory, even where
    it was redrawn since. What the earlier one did not know goes by the reference outline that it
    covers most of, each of which stands for one outline.
    """
    polygons = survey.outlines.geometry[(survey.outlines["kind"] == kind).to_numpy()].to_numpy()
    tracks = np.full(len(polygons), FREE, dtype=np.intp)
    if earlier is not None:
        before, numbers = _of_same_survey(earlier, survey, kind, known)
        _settle(tracks, find_links(before, polygons), numbers)
    if len(known.reference):
        _settle(tracks, find_links(known.reference, polygons), known.of_reference)
    return tracks


def glims_style_ids(
    polygons: NDArray[np.object_], crs: CRS, kind: str, taken: Iterable[str]
) -> list[str]:
    """An id for each new track, by a point inside, as GLIMS writes it: G086850E27990N.

    Lakes begin with GL and slumps with RTS. An id that is taken already is followed by -2, -3 ...

    Args:
        polygons: the first outlines (N,) of the tracks.
        crs: of them.
        kind: glacier, lake, thaw_slump, or another.
        taken: ids that are given.
    """
    points = shapely.point_on_surface(polygons)
    to_degrees = Transformer.from_crs(crs, DEGREES, always_xy=True)
    east, north = to_degrees.transform(shapely.get_x(points), shapely.get_y(points))
    thousandths = np.rint(np.asarray(east) % 360 * 1000).astype(int) % 360_000
    latitude = np.rint(np.abs(north) * 1000).astype(int)
    side = np.where(np.asarray(north) >= 0, "N", "S")
    # Ids stand in lists with commas between.
    prefix = _PREFIXES.get(kind) or re.sub(r"[^A-Z0-9_]", "", kind.upper()) or "X"
    used = Counter(dict.fromkeys(taken, 1))
    ids = []
    for x, y, hemisphere in zip(thousandths.tolist(), latitude.tolist(), side, strict=True):
        plain = name = f"{prefix}{x:06d}E{y:05d}{hemisphere}"
        number = 1
        while used[name]:
            number += 1
            name = f"{plain}-{number}"
        used[name] += 1
        ids.append(name)
    return ids


def _of_same_ground(
    tracks: NDArray[np.intp], outlines: NDArray[np.object_], reference: gpd.GeoDataFrame
) -> dict[str, int]:
    """The track of each id of a reference, where one shares most ground with it.

    Args:
        tracks: numbers (N,) of tracks that have no id of the reference yet.
        outlines: of them, (N,).
        reference: column ref_id; several outlines may be of one id.
    """
    ref_ids, which = np.unique(reference["ref_id"].to_numpy(dtype=str), return_inverse=True)
    links = find_links(outlines, reference.geometry.to_numpy())
    links = links._replace(other=which[links.other])
    chosen = best_matches(links)
    found = zip(ref_ids[links.other[chosen]], tracks[links.one[chosen]], strict=True)
    return {str(ref): int(track) for ref, track in found}


def _of_same_survey(
    earlier: Inventory, survey: Survey, kind: str, known: KnownTracks
) -> tuple[NDArray[np.object_], NDArray[np.intp]]:
    """Outlines of the survey in an earlier inventory, and the numbers of their tracks.

    They are moved to where the survey lies now: it was moved otherwise, where it was measured from
    another reference survey.
    """
    dates = earlier.surveys
    same = (dates["start_date"] == survey.first_day) & (dates["end_date"] == survey.end_day)
    if not same.any():  # its date was told otherwise since: 1966, and now 1966-08
        same = (dates["start_date"] < survey.end_day) & (dates["end_date"] > survey.first_day)
    rows = earlier.outlines["survey"].isin(dates["survey"][same])
    found = earlier.outlines[rows & (earlier.outlines["kind"] == kind)]
    number_of = {track: number for number, track in enumerate(known.ids)}
    numbers = np.array([number_of[track] for track in found["track_id"]], dtype=np.intp)
    placed = found[["kind", "class_name", "geometry"]].to_crs(survey.outlines.crs)
    shift = outline_shift(replace(survey, outlines=placed), survey)
    if shift is None:
        return placed.geometry.to_numpy(), numbers
    return placed.translate(shift.x_m, shift.y_m).to_numpy(), numbers


def _settle(tracks: NDArray[np.intp], links: Links, numbers: NDArray[np.intp]) -> None:
    """Give outlines that are free the tracks, not used here yet, that share most ground."""
    used = tracks[tracks != FREE]
    links = links.only((tracks[links.other] == FREE) & ~np.isin(numbers[links.one], used))
    # Two outlines of the reference may be of one track.
    chosen = best_matches(links._replace(one=numbers[links.one]))
    tracks[links.other[chosen]] = numbers[links.one[chosen]]


def _or_none(value: object) -> str | None:
    return value if isinstance(value, str) and value else None
