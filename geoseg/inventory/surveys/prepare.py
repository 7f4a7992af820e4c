"""From outlines as they were drawn to surveys that can be compared."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import geopandas as gpd
import numpy as np
import pandas as pd
import shapely
from pyproj import CRS, Proj, Transformer

from geoseg.errors import ConfigError, GridError
from geoseg.grids import DEGREES, local_equal_area, same_crs
from geoseg.inventory.attributes.divides import split_by_divides
from geoseg.inventory.attributes.glaciers import glaciers_of
from geoseg.inventory.stack import stacked
from geoseg.inventory.surveys.cleaning import clean_outlines
from geoseg.inventory.surveys.survey import GLACIER_PARTS, Survey, presumed_ground

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray
    from shapely.geometry.base import BaseGeometry

    from geoseg.inventory.surveys.cleaning import Cleaned
    from geoseg.inventory.surveys.sources import Drawn
    from geoseg.scenes.coregister import Shift

__all__ = ["Prepared", "common_crs", "prepare_survey", "require_apart"]

_UTM_REACH = 4.0  # degrees to either side of a central meridian: a zone, and a little of the next
_UTM_LATITUDE = 80.0
_TRUE_SCALE = 0.1  # by which a metre of a projection may be off; Web Mercator is, beyond 25 degrees
_POLE = 90.0  # degrees north
_LISTED = 5  # of what was mended, by name
_SIDE_POINTS = 64  # of the border of a scene, which bends when it is taken to another projection


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A survey, and what was done to it."""

    survey: Survey
    repaired: int = 0
    duplicates: int = 0
    overlaps: int = 0
    remarks: tuple[str, ...] = ()  # a sentence each
    shift: Shift | None = None  # from the reference survey; None where it could not be measured
    corrected: bool = False  # whether it was moved back by that
    errors: Mapping[str, float] = field(default_factory=dict)  # of areas by kind, as `area_errors`


def common_crs(drawn: Sequence[Drawn]) -> CRS:
    """One reference system in metres for all: theirs, UTM where a zone holds them, or a local one.

    Raises:
        GridError: they lie all around the Earth, or nowhere on it.
    """
    first = CRS(drawn[0].outlines.crs)
    metric = first.is_projected and first.axis_info[0].unit_conversion_factor == 1
    points = np.concatenate([_places(d) for d in drawn])
    if not len(points):
        return first if metric else CRS.from_epsg(6933)
    theirs = metric and all(same_crs(CRS(d.outlines.crs), first) for d in drawn[1:])
    if theirs and _is_true_to_scale(first, points):
        return first
    local = local_equal_area(points)
    centre = Transformer.from_crs(local, DEGREES, always_xy=True).transform(0, 0)
    zone = int((centre[0] + 180) // 6) % 60 + 1
    away = (points[:, 0] - (zone * 6 - 183) + 180) % 360 - 180
    if np.abs(points[:, 1]).max() < _UTM_LATITUDE and np.abs(away).max() <= _UTM_REACH:
        return CRS.from_epsg((32600 if centre[1] >= 0 else 32700) + zone)
    return local


def prepare_survey(
    drawn: Drawn, *, crs: CRS, gsd_m: float | None = None, divides: gpd.GeoDataFrame | None = None
) -> Prepared:
    """A survey of outlines that are valid, each once and apart, in the given CRS.

    Ice that a map tells apart, clean, under debris, or under a pond, becomes one glacier where it
    touches. Outlines of whole glaciers stay as they were drawn, also where they touch.

    Args:
        drawn: what a file holds.
        crs: in metres.
        gsd_m: of the image that outlines were drawn on, where the file does not say.
        divides: glaciers of a reference inventory (ref_id, glac_name) that ice masses are split by.

    Raises:
        GridError: an outline lies nowhere on Earth.
    """
    name = str(drawn.when)
    cleaned = clean_outlines(_placed(drawn, crs))
    outlines = cleaned.outlines if drawn.whole else _as_glaciers(cleaned.outlines)
    if divides is not None:
        outlines = _divided(outlines, divides, None if drawn.whole else cleaned.outlines)
    outlines = _with_columns(outlines, cleaned.outlines)
    seen = _one(drawn, crs)
    presumed = seen is None
    if seen is None:
        seen = presumed_ground(outlines.geometry.to_numpy())
    survey = Survey(
        name=name,
        start=drawn.when.start,
        end=drawn.when.end,
        outlines=outlines,
        seen=seen,
        presumed=presumed,
        source=drawn.source,
        sensor=_only(outlines, "sensor"),
        gsd_m=drawn.gsd_m if gsd_m is None else gsd_m,
        model=_only(outlines, "model"),
    )
    return Prepared(
        survey=survey,
        repaired=drawn.repaired + len(cleaned.repaired),
        duplicates=drawn.duplicates + len(cleaned.duplicates),
        overlaps=drawn.overlaps + len(cleaned.overlaps),
        remarks=tuple(_remarks(drawn, cleaned)),
        shift=drawn.shift,
        corrected=drawn.corrected,
    )


def require_apart(surveys: Sequence[Survey]) -> None:
    """Refuse two surveys of the same date: neither comes before the other.

    Raises:
        ConfigError: with their names and what to do.
    """
    seen: dict[str, Survey] = {}
    for survey in surveys:
        if survey.name in seen:
            raise ConfigError(
                f"{seen[survey.name].source} and {survey.source} are both dated {survey.name}; "
                "give each its own date, or put outlines of one date into one file."
            )
        seen[survey.name] = survey


def _placed(drawn: Drawn, crs: CRS) -> gpd.GeoDataFrame:
    """The outlines in a reference system, in which all of them have a place."""
    _places(drawn)
    placed = drawn.outlines.to_crs(crs)
    corners, row = shapely.get_coordinates(placed.geometry.to_numpy(), return_index=True)
    lost = ~np.isfinite(corners).all(axis=1)
    if lost.any():
        raise GridError(
            f"Row {row[np.argmax(lost)] + 1} of {drawn.source} has no place in {crs.name}, which "
            "the others lie in; leave out what is far from all others."
        )
    return placed


def _places(drawn: Drawn) -> NDArray[np.float64]:
    """Longitude and latitude (N, 2) of a corner of each polygon.

    Not its middle: an outline that the antimeridian cuts lies on both sides of it.
    """
    outlines = drawn.outlines
    rings = shapely.get_exterior_ring(shapely.get_parts(outlines.geometry.to_numpy()))
    corners = shapely.get_coordinates(shapely.get_point(rings, 0))
    crs = CRS(outlines.crs)
    to_degrees = Transformer.from_crs(crs, DEGREES, always_xy=True)
    points = np.column_stack(to_degrees.transform(*corners.T))
    nowhere = ~(np.isfinite(points).all(axis=1) & (np.abs(points[:, 1]) <= _POLE))
    if nowhere.any():
        x, y = corners[np.argmax(nowhere)]
        raise GridError(
            f"{drawn.source} has an outline at {x:.10g}, {y:.10g}, which is nowhere in {crs.name}; "
            "set its true reference system with `ogr2ogr -a_srs EPSG:...`."
        )
    return points


def _is_true_to_scale(crs: CRS, points: NDArray[np.float64]) -> bool:
    """Whether a metre of a projection is one on the ground, nearly, in all directions."""
    scale = Proj(crs).get_factors(*points.T)
    least, most = np.min(scale.tissot_semiminor), np.max(scale.tissot_semimajor)
    return bool(least >= 1 - _TRUE_SCALE and most <= 1 + _TRUE_SCALE)


def _as_glaciers(outlines: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """One outline a glacier, where ice is told apart by classes; lakes on it stay lakes too."""
    if not set(outlines["class_name"]) & GLACIER_PARTS:
        return outlines
    glaciers = glaciers_of(outlines)
    others = outlines[(outlines["kind"] != "glacier").to_numpy()]
    return stacked([glaciers, others])


def _divided(
    outlines: gpd.GeoDataFrame, divides: gpd.GeoDataFrame, surface: gpd.GeoDataFrame | None
) -> gpd.GeoDataFrame:
    is_ice = (outlines["kind"] == "glacier").to_numpy()
    pieces = split_by_divides(outlines[is_ice], divides, surface=surface)
    return stacked([pieces, outlines[~is_ice]])


def _with_columns(outlines: gpd.GeoDataFrame, surface: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """With the columns that all outlines have; glaciers say of their images what their ice did."""
    if "glac_name" not in outlines.columns:
        outlines["glac_name"] = None
    for column in ("scene", "sensor", "model"):
        if column in outlines.columns:
            outlines[column] = outlines[column].fillna(_only(surface, column))
    return outlines


def _one(drawn: Drawn, crs: CRS) -> BaseGeometry | None:
    """The ground that a file says was seen, in one piece of geometry."""
    if drawn.seen is None:
        return None
    if drawn.seen.is_empty.all():
        return shapely.Polygon()
    west, south, east, north = drawn.seen.total_bounds
    bent = drawn.seen.segmentize(max(east - west, north - south, 1e-9) / _SIDE_POINTS)
    placed = bent.to_crs(crs).to_numpy()
    placed = shapely.make_valid(placed, method="structure", keep_collapsed=False)
    return shapely.union_all(placed)


def _only(outlines: gpd.GeoDataFrame, column: str) -> str | None:
    """What all outlines say, or all that they say, commas between."""
    if column not in outlines.columns:
        return None
    said = sorted({str(value) for value in outlines[column].dropna()})
    return ",".join(said) or None


def _remarks(drawn: Drawn, cleaned: Cleaned) -> list[str]:
    """What was mended, a sentence each, the first few by row and name."""
    names = drawn.outlines["glac_name"].tolist()

    def who(row: int) -> str:
        return f"row {row + 1}" + ("" if pd.isna(names[row]) else f" ({names[row]})")

    def listed(what: str, parts: list[str]) -> str:
        more = f", and {len(parts) - _LISTED} more" if len(parts) > _LISTED else ""
        return f"{what} ({len(parts)}): {', '.join(parts[:_LISTED])}{more}."

    said = []
    if cleaned.repaired:
        rows = [f"{who(row)}: {why}" for row, why in cleaned.repaired.items()]
        said.append(listed("not valid, and repaired", rows))
    if cleaned.duplicates:
        rows = [f"{who(row)} is {who(first)} again" for row, first in cleaned.duplicates.items()]
        said.append(listed("there twice, and counted once", rows))
    if cleaned.overlaps:
        rows = [f"{who(large)} by {who(small)}" for large, small in cleaned.overlaps]
        said.append(listed("overlapping, and the larger cut by the smaller", rows))
    if cleaned.empty:
        rows = [who(row) for row in cleaned.empty]
        said.append(listed("without a polygon that has an area, and left out", rows))
    if not len(cleaned.outlines):
        said.append("no outline in it.")
    return [f"{drawn.source}: {sentence}" for sentence in said]
