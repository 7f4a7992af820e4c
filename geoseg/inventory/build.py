"""From surveys to an inventory."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from geoseg.inventory.attributes.lakes import lake_relations
from geoseg.inventory.attributes.relief import relief_of
from geoseg.inventory.attributes.uncertainty import (
    border_width_px,
    combined_uncertainty_km2,
    model_uncertainty_km2,
    pixel_uncertainty_km2,
    registration_uncertainty_km2,
)
from geoseg.inventory.changes import changes_table
from geoseg.inventory.columns import COLUMNS, conform
from geoseg.inventory.inventory import About, Inventory
from geoseg.inventory.stack import stacked
from geoseg.inventory.surveys.registration import check_registration, registered
from geoseg.inventory.tables import (
    empty_table,
    events_table,
    linked_outlines,
    states_table,
    surveys_table,
)
from geoseg.inventory.track_table import tracks_table
from geoseg.inventory.tracking.linking import link_surveys
from geoseg.sensors import SensorKind, load_sensors

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    import geopandas as gpd
    from numpy.typing import NDArray

    from geoseg.inventory.surveys.prepare import Prepared
    from geoseg.inventory.surveys.registration import Registration
    from geoseg.inventory.surveys.survey import Survey

__all__ = ["align_surveys", "build_inventory"]

_USUAL_GSD_M = 30.0  # Landsat's, where a survey does not say
_TYPE_OF_CLASS = {"supraglacial_lake": "supraglacial", "proglacial_lake": "proglacial"}


def align_surveys(
    prepared: Sequence[Prepared],
    *,
    reference: str | None = None,
    correct: bool,
    refuse_above_m: float | None,
) -> tuple[list[Prepared], list[Registration]]:
    """Surveys with their shift from the reference survey, moved back where it is asked for.

    Args:
        prepared: in one CRS. A shift that is known already, as from images, is not measured again,
            and what was corrected already not moved again.
        reference: name of the survey that lies right; the newest of the finest pixel when None.
        correct: move surveys that lie more than half a pixel off, beyond doubt.
        refuse_above_m: ten pixels, at most 200 m, when None.

    Raises:
        GridError: a survey lies too far off.
    """
    surveys = [p.survey for p in prepared]
    measured = {p.survey.name: p.shift for p in prepared if p.shift is not None}
    found = check_registration(
        surveys, reference=reference, measured=measured, refuse_above_m=refuse_above_m
    )
    found = [_done(r) if p.corrected else r for p, r in zip(prepared, found, strict=True)]
    moved = registered(surveys, found if correct else [_left(r) for r in found])
    return [
        replace(
            p,
            survey=survey,
            shift=r.shift,
            corrected=p.corrected or (correct and r.verdict == "correct"),
        )
        for p, survey, r in zip(prepared, moved, found, strict=True)
    ], found


def build_inventory(
    prepared: Sequence[Prepared],
    about: About,
    *,
    earlier: Inventory | None = None,
    reference: gpd.GeoDataFrame | None = None,
    dem: Path | None = None,
    on_step: Callable[[str], None] | None = None,
    on_survey: Callable[[int, int], None] | None = None,
) -> Inventory:
    """Outlines of surveys linked into tracks, with all that is known of them.

    Args:
        prepared: surveys in one CRS, in any order, no two of one date.
        about: title, licence and provenance.
        earlier: an inventory whose ids stay as they are.
        reference: columns ref_id, kind and glac_name, in the CRS of the surveys.
        dem: elevation in metres, in any CRS; None for none.
        on_step: is told what is being done.
        on_survey: is told how many surveys are linked, of all kinds.

    Raises:
        SceneError: the DEM cannot be read.
    """
    say = on_step or (lambda _: None)
    prepared = sorted(prepared, key=lambda p: (p.survey.middle, p.survey.start))
    surveys = [p.survey for p in prepared]
    say("Linking outlines")
    tracks = link_surveys(surveys, earlier=earlier, reference=reference, on_survey=on_survey)
    say("Measuring outlines")
    outlines = linked_outlines(surveys, tracks)
    outlines = outlines.assign(**_uncertainties(outlines, prepared))
    if dem is not None:
        say("Reading elevations")
        outlines = outlines.assign(**relief_of(outlines, dem), dem_source=dem.name)
    say("Comparing surveys")
    return Inventory(
        outlines=_conform_outlines(outlines),
        tracks=tracks_table(outlines, tracks),
        events=events_table(tracks, surveys),
        lakes=_lakes_table(outlines, surveys),
        changes=changes_table(outlines, tracks, surveys),
        surveys=surveys_table(prepared),
        states=states_table(outlines, tracks, surveys),
        title=about.title,
        licence=about.licence,
        provenance=about.provenance,
    )


def _left(registration: Registration) -> Registration:
    """The same, but for a survey that could be corrected, which is left where it is."""
    if registration.verdict != "correct":
        return registration
    return replace(registration, verdict="ok")


def _done(registration: Registration) -> Registration:
    """The same for a survey that was moved back already, however far."""
    return replace(registration, verdict="ok")


def _unknown_shift_m(prepared: Prepared) -> float:
    """How far a survey may lie off, as a standard deviation along either axis."""
    shift = prepared.shift
    if shift is None:
        return 0.0
    # What was left where it lies is off by the shift itself.
    left_m = 0.0 if prepared.corrected else shift.length_m / math.sqrt(2)
    return math.hypot(shift.unc_m, left_m)


def _lakes_table(outlines: gpd.GeoDataFrame, surveys: Sequence[Survey]) -> gpd.GeoDataFrame:
    """The lakes among the outlines, with how they lie to the ice of their survey."""
    parts = []
    is_lake, is_ice = (outlines["kind"] == kind for kind in ("lake", "glacier"))
    for number, survey in enumerate(surveys):
        at_date = outlines["number"] == number
        lakes, glaciers = outlines[is_lake & at_date], outlines[is_ice & at_date]
        if len(lakes):
            parts.append(lakes.assign(**_related(lakes, glaciers, survey)))
    if not parts:
        return conform("lakes", empty_table("lakes", outlines.crs))
    table = stacked(parts)
    return conform("lakes", table[[*COLUMNS["lakes"], table.geometry.name]])


def _related(
    lakes: gpd.GeoDataFrame, glaciers: gpd.GeoDataFrame, survey: Survey
) -> dict[str, object]:
    """Columns of lakes; empty where the survey knows of no ice, but for what its classes say."""
    if not len(glaciers):
        types = [_TYPE_OF_CLASS.get(name) for name in lakes["class_name"]]
        return {"lake_type": types, "dist_ice_m": np.nan, "glacier_id": None}
    found = lake_relations(lakes, glaciers, touch_m=survey.gsd_m or _USUAL_GSD_M)
    ids = np.append(glaciers["track_id"].to_numpy(dtype=object), np.array([None]))
    return {
        "lake_type": found["lake_type"].to_numpy(),
        "dist_ice_m": found["dist_ice_m"].to_numpy(),
        "glacier_id": ids[found["glacier"].fillna(-1).to_numpy(dtype=np.intp)],
    }


def _conform_outlines(outlines: gpd.GeoDataFrame) -> gpd.GeoDataFrame:
    """With the columns of the inventory; what no survey says is empty."""
    missing = [column for column in COLUMNS["outlines"] if column not in outlines.columns]
    full = outlines.assign(**dict.fromkeys(missing)).drop(columns=["number", "track"])
    chances = [column for column in full.columns if column.startswith("p_")]
    return conform("outlines", full.drop(columns=chances))


def _uncertainties(
    outlines: gpd.GeoDataFrame, prepared: Sequence[Prepared]
) -> dict[str, NDArray[np.float64]]:
    """What each area may be off by, of each cause and in all; empty where no pixel is known."""
    names = ("area_unc_px_km2", "area_unc_reg_km2", "area_unc_model_km2")
    causes = {name: np.full(len(outlines), np.nan) for name in names}
    for number, one in enumerate(prepared):
        rows = np.flatnonzero(outlines["number"] == number)
        own = outlines.iloc[rows]
        size, length = own["gsd_m"].to_numpy(), own.length.to_numpy()
        debris = _numbers(own, "debris_share")
        width = border_width_px(debris, film=_is_film(one.survey.sensor))
        pixel = pixel_uncertainty_km2(length, gsd_m=size, width_px=width)
        causes["area_unc_px_km2"][rows] = pixel
        known = own["kind"].map(dict(one.errors)).to_numpy(dtype=float) * own["area_km2"].to_numpy()
        spread = model_uncertainty_km2(
            own["area_km2"],
            _numbers(own, "probability"),
            own.convex_hull.length / 2,
            pixel_unc_km2=pixel,
            gsd_m=size,
        )
        # Of outlines of an inventory, what was known when it was made.
        before = _numbers(own, "area_unc_model_km2")
        causes["area_unc_model_km2"][rows] = np.where(
            np.isnan(known),
            np.where(np.isnan(before), spread, before),
            np.hypot(np.nan_to_num(spread), known),
        )
        if one.shift is not None:
            of_kind = own["kind"].to_numpy() == "glacier"  # that meets its like at divides
            shifted = registration_uncertainty_km2(own[of_kind], shift_unc_m=_unknown_shift_m(one))
            causes["area_unc_reg_km2"][rows[of_kind]] = shifted
    return {**causes, "area_unc_km2": combined_uncertainty_km2(*causes.values())}


def _numbers(table: gpd.GeoDataFrame, column: str) -> NDArray[np.float64]:
    """A column (N,) of numbers, NaN where it says nothing."""
    if column not in table.columns:
        return np.full(len(table), np.nan)
    return np.asarray(table[column], dtype=np.float64)


def _is_film(sensor: str | None) -> bool:
    """Whether all images of a survey were taken on film; not where the sensor is not known."""
    known = load_sensors()
    names = (sensor or "").split(",")
    return all(name in known and known[name].kind is SensorKind.FILM for name in names)
