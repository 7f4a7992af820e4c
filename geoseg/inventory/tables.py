"""Tables of an inventory: outlines, states, events and surveys."""

from __future__ import annotations

from typing import TYPE_CHECKING

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from pyproj import CRS, Transformer

from geoseg.grids import DEGREES
from geoseg.inventory.columns import COLUMNS, conform
from geoseg.inventory.ground import seen_shares
from geoseg.inventory.stack import stacked
from geoseg.inventory.tracking import ABSENT, PRESENT, UNKNOWN
from geoseg.labels import geodesic_areas_km2

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from geoseg.inventory.surveys.prepare import Prepared
    from geoseg.inventory.surveys.survey import Survey
    from geoseg.inventory.tracking.linking import Tracks

__all__ = [
    "BEND_M",
    "empty_table",
    "events_table",
    "linked_outlines",
    "states_table",
    "surveys_table",
    "whole_outlines",
]

BEND_M = 1000.0  # a longer straight side is bent when it is taken to degrees
_STATUS = {PRESENT: "present", ABSENT: "absent", UNKNOWN: "unknown"}
_UNSEEN = 0.05  # of an outline's ground, from which its area is not that of the glacier


def linked_outlines(surveys: Sequence[Survey], tracks: Tracks) -> gpd.GeoDataFrame:
    """All outlines with what surveys and tracks say of them, by track and date.

    Besides columns of the inventory: `number` of the survey, and `track`, the number of the track.
    """
    parts = []
    for number, (survey, track) in enumerate(zip(surveys, tracks.of_outline, strict=True)):
        own = survey.outlines
        of_survey = {
            "start_date": survey.first_day,
            "end_date": survey.end_day,
            "scene": survey.source,
            "sensor": survey.sensor,
            "model": survey.model,
            "gsd_m": survey.gsd_m,
        }
        parts.append(
            own.assign(
                number=number,
                track=track,
                track_id=tracks.ids[track],
                glac_name=tracks.names[track],
                survey=survey.name,
                **{name: _or_else(own, name, value) for name, value in of_survey.items()},
            )
        )
    table = stacked(parts).astype({"number": int, "track": int, "gsd_m": float})
    table = table.sort_values(["track", "number"], ignore_index=True)
    geometry = table.geometry.to_numpy()
    points = shapely.point_on_surface(geometry)
    to_degrees = Transformer.from_crs(CRS(table.crs), DEGREES, always_xy=True)
    east, north = to_degrees.transform(shapely.get_x(points), shapely.get_y(points))
    return table.assign(
        outline_id=table["track_id"].astype(str) + "@" + table["survey"].astype(str),
        src_date=_middles(table),
        area_km2=geodesic_areas_km2(table, bend_m=BEND_M),
        cenlon=east,
        cenlat=north,
        parts=shapely.get_num_geometries(geometry),
        invalid_share=_unseen_shares(table, surveys),
    )


def whole_outlines(outlines: gpd.GeoDataFrame) -> NDArray[np.bool_]:
    """Whether at most a twentieth of the ground of each outline (N,) was not seen.

    The area of the others is not that of the glacier.
    """
    unseen = outlines["invalid_share"].to_numpy(dtype=float)
    whole: NDArray[np.bool_] = ~(unseen > _UNSEEN)
    return whole


def states_table(
    outlines: gpd.GeoDataFrame, tracks: Tracks, surveys: Sequence[Survey]
) -> pd.DataFrame:
    """Present, absent or unknown, of each track at each survey, with the area where it is known."""
    count, shape = len(surveys), tracks.states.size
    where = (outlines["track"] * count + outlines["number"]).to_numpy(dtype=np.intp)
    areas = {}
    for column in ("area_km2", "area_unc_km2"):
        areas[column] = np.full(shape, np.nan)
        areas[column][where] = np.where(whole_outlines(outlines), outlines[column], np.nan)
    table = pd.DataFrame(
        {
            "track_id": np.repeat(tracks.ids, count),
            "kind": np.repeat(tracks.kinds, count),
            "survey": [survey.name for survey in surveys] * len(tracks.ids),
            "start_date": [survey.first_day for survey in surveys] * len(tracks.ids),
            "end_date": [survey.end_day for survey in surveys] * len(tracks.ids),
            "status": [_STATUS[state] for state in tracks.states.ravel().tolist()],
            **areas,
        }
    )
    return conform("states", table)


def events_table(tracks: Tracks, surveys: Sequence[Survey]) -> gpd.GeoDataFrame:
    """What happened between surveys, a point each, by date and kind."""
    crs = surveys[0].outlines.crs
    if not tracks.events:
        return conform("events", empty_table("events", crs))
    rows = [
        {
            "event": event.name,
            "track_id": tracks.ids[event.track],
            "other_ids": ",".join(tracks.ids[list(event.others)]) or None,
            "kind": tracks.kinds[event.track],
            "survey_before": surveys[event.before].name,
            "survey_after": surveys[event.after].name,
            "start_date": surveys[event.before].first_day,
            "end_date": surveys[event.after].end_day,
        }
        for event in tracks.events
    ]
    ground = gpd.GeoDataFrame(rows, geometry=[event.polygon for event in tracks.events], crs=crs)
    table = ground.assign(area_km2=geodesic_areas_km2(ground, bend_m=BEND_M))
    table = table.set_geometry(ground.representative_point())
    return conform("events", table.sort_values(["start_date", "kind", "event"], kind="stable"))


def surveys_table(prepared: Sequence[Prepared]) -> gpd.GeoDataFrame:
    """One row a survey; geometry: the ground that it saw, none where nobody says what that was."""
    surveys = [p.survey for p in prepared]
    shifts = [p.shift for p in prepared]
    table = gpd.GeoDataFrame(
        {
            "survey": [s.name for s in surveys],
            "start_date": [s.first_day for s in surveys],
            "end_date": [s.end_day for s in surveys],
            "source": [s.source for s in surveys],
            "sensor": [s.sensor for s in surveys],
            "model": [s.model for s in surveys],
            "gsd_m": [np.nan if s.gsd_m is None else s.gsd_m for s in surveys],
            "outlines": [len(s.outlines) for s in surveys],
            "repaired": [p.repaired for p in prepared],
            "duplicates": [p.duplicates for p in prepared],
            "overlaps": [p.overlaps for p in prepared],
            "shift_x_m": [np.nan if s is None else s.x_m for s in shifts],
            "shift_y_m": [np.nan if s is None else s.y_m for s in shifts],
            "shift_unc_m": [np.nan if s is None else s.unc_m for s in shifts],
            "corrected": [p.corrected for p in prepared],
        },
        geometry=[_or_none(survey.known_ground) for survey in surveys],
        crs=surveys[0].outlines.crs,
    )
    return conform("surveys", table)


def empty_table(layer: str, crs: CRS) -> gpd.GeoDataFrame:
    """A layer without rows, with its columns."""
    columns = {name: pd.Series([], dtype=object) for name in COLUMNS[layer]}
    return gpd.GeoDataFrame(columns, geometry=[], crs=crs)


def _or_else(table: gpd.GeoDataFrame, name: str, value: object) -> NDArray[np.object_]:
    """A column (N,), with this value where it says nothing."""
    column = np.full(len(table), value, dtype=object)
    if name in table.columns:
        said = table[name].notna().to_numpy()
        column[said] = np.asarray(table[name], dtype=object)[said]
    return column


def _middles(table: gpd.GeoDataFrame) -> list[object]:
    """The day half way from the first to the last."""
    starts, ends = (pd.to_datetime(table[c]) for c in ("start_date", "end_date"))
    return list((starts + (ends - starts) / 2).dt.date)


def _unseen_shares(table: gpd.GeoDataFrame, surveys: Sequence[Survey]) -> NDArray[np.float64]:
    """The share of the ground of each outline that its survey did not see.

    Its ground is its own, or that of its track in the survey before or after, whichever was seen
    least of: what a cloud hides is not in the outline.
    """
    geometry, track = table.geometry.to_numpy(), table["track"].to_numpy()
    number = table["number"].to_numpy()
    unseen = np.zeros(len(table))
    for step in (0, 1, -1):
        near = np.roll(np.arange(len(table)), step)
        same = track[near] == track
        for index, survey in enumerate(surveys):
            rows = np.flatnonzero(same & (number == index))
            share = 1 - seen_shares(geometry[near[rows]], survey.known_ground)
            unseen[rows] = np.maximum(unseen[rows], share)
    return unseen


def _or_none(ground: BaseGeometry | None) -> BaseGeometry | None:
    return None if ground is None or ground.is_empty else ground
