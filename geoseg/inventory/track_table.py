"""The table of tracks: one row a glacier, lake or slump, with how its area changed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import geopandas as gpd
import numpy as np
import pandas as pd

from geoseg.inventory.attributes.rates import changes_of, weighted_rates
from geoseg.inventory.columns import conform
from geoseg.inventory.tables import empty_table, whole_outlines
from geoseg.inventory.tracking import ABSENT, PRESENT, UNKNOWN

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from geoseg.inventory.tracking.linking import Tracks

__all__ = ["tracks_table"]

_DAYS_A_YEAR = 365.2425


def tracks_table(outlines: gpd.GeoDataFrame, tracks: Tracks) -> gpd.GeoDataFrame:
    """Tracks as they were seen last, with changes and rates of their areas.

    Rates run over the true dates of acquisition. An outline a part of whose ground was not seen
    counts for neither.

    Args:
        outlines: of `linked_outlines`, with area_unc_km2; by track and date.
        tracks: the same ones.
    """
    if not len(tracks.ids):
        return conform("tracks", empty_table("tracks", outlines.crs))
    track = outlines["track"].to_numpy(dtype=np.intp)
    first, last = _ends(track, np.ones(len(track), dtype=bool), len(tracks.ids))
    table = gpd.GeoDataFrame(
        {
            "track_id": tracks.ids,
            "ref_id": tracks.ref_ids,
            "kind": tracks.kinds,
            "glac_name": tracks.names,
            "parent_id": _ids_of(tracks, tracks.parents),
            "merged_into": _ids_of(tracks, tracks.merged_into),
            "start_date": outlines["start_date"].to_numpy()[first],
            "end_date": outlines["end_date"].to_numpy()[last],
            "n_present": (tracks.states == PRESENT).sum(axis=1),
            "n_absent": (tracks.states == ABSENT).sum(axis=1),
            "n_unknown": (tracks.states == UNKNOWN).sum(axis=1),
            "cenlon": outlines["cenlon"].to_numpy()[last],
            "cenlat": outlines["cenlat"].to_numpy()[last],
            **_changes(outlines, len(tracks.ids)),
        },
        geometry=outlines.geometry.to_numpy()[last],
        crs=outlines.crs,
    )
    return conform("tracks", table)


def _changes(outlines: gpd.GeoDataFrame, count: int) -> dict[str, object]:
    """Columns of areas, changes and rates (T,); empty where no outline, or one only, is whole."""
    track, whole = outlines["track"].to_numpy(dtype=np.intp), whole_outlines(outlines)
    area = np.where(whole, outlines["area_km2"], np.nan)
    sd = outlines["area_unc_km2"].to_numpy(dtype=float)
    first, last = _ends(track, whole, count)
    known = first >= 0
    early, late = (np.where(known, area[rows], np.nan) for rows in (first, last))
    several = known & (first != last)
    change = changes_of(np.where(several, early, np.nan), sd[first], late, sd[last])
    rates = weighted_rates(track, _years(outlines), area, sd, count=count)
    per_cent = np.full(count, np.nan)
    np.divide(100 * rates.rate_km2_a, early, out=per_cent, where=early > 0)
    return {
        "area_first_km2": early,
        "area_last_km2": late,
        "change_km2": change.change_km2,
        "change_unc_km2": change.unc_km2,
        "change_pct": change.change_pct,
        "significant": change.significant,
        "rate_km2_a": rates.rate_km2_a,
        "rate_lo_km2_a": rates.lo_km2_a,
        "rate_hi_km2_a": rates.hi_km2_a,
        "rate_pct_a": per_cent,
    }


def _ends(
    track: NDArray[np.intp], chosen: NDArray[np.bool_], count: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """First and last row (T,) among the chosen ones of each track, -1 where it has none."""
    rows = np.flatnonzero(chosen)
    first, last = (np.full(count, -1, dtype=np.intp) for _ in range(2))
    last[track[rows]] = rows
    first[track[rows[::-1]]] = rows[::-1]
    return first, last


def _years(outlines: gpd.GeoDataFrame) -> NDArray[np.float64]:
    """The middle of each acquisition in years since 1970."""
    starts, ends = (
        pd.to_datetime(outlines[column]).to_numpy(dtype="datetime64[D]").astype(float)
        for column in ("start_date", "end_date")
    )
    years: NDArray[np.float64] = (starts + ends) / 2 / _DAYS_A_YEAR
    return years


def _ids_of(tracks: Tracks, numbers: NDArray[np.intp]) -> NDArray[np.object_]:
    ids = np.full(len(numbers), None, dtype=object)
    ids[numbers >= 0] = tracks.ids[numbers[numbers >= 0]]
    return ids
