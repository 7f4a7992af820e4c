"""What an inventory knows of each track at each survey, and totals that can be compared."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from scipy import stats

from geoseg.report.quantities import shown

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from geoseg.inventory import Inventory

__all__ = ["History", "Total", "Trend", "history_of", "kind_words", "trend_of"]

_FIRST_KINDS = ("glacier", "lake", "thaw_slump")
_LEVEL = 0.95


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """A line through areas, with the interval that holds its true slope in 95 of 100 cases."""

    middle: float  # year that the line turns about
    area_km2: float  # of the line in that year
    area_half_km2: float  # half width of the 95 % interval there
    rate_km2_a: float
    rate_half_km2_a: float

    def at(self, years: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """The line, and half the width of its 95 % interval, in km2."""
        since = years - self.middle
        half = np.hypot(self.area_half_km2, self.rate_half_km2_a * since)
        return self.area_km2 + self.rate_km2_a * since, half


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Total:
    """Area of a kind at each of S surveys, over the tracks that are known at all of them.

    A track that was not seen once would otherwise drop out of that survey, and look like a loss.
    """

    kind: str
    tracks: int
    compared: int  # of the tracks: known at all surveys
    area_km2: NDArray[np.float64]  # (S,)
    unc_km2: NDArray[np.float64]  # (S,) one standard deviation, NaN where not known
    trend: Trend | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class History:
    """Status and area of N tracks at S surveys in the order of time."""

    surveys: tuple[str, ...]
    days: tuple[str, ...]  # of the acquisitions, in words
    span: str  # of all of them
    years: NDArray[np.float64]  # (S,) the middle of each
    tracks: pd.DataFrame  # N rows
    status: NDArray[np.object_]  # (N, S) present, absent, unknown
    area_km2: NDArray[np.float64]  # (N, S) 0 where absent, NaN where unknown
    unc_km2: NDArray[np.float64]  # (N, S) one standard deviation, NaN where not known

    @property
    def kinds(self) -> list[str]:
        """The kinds of track there are."""
        found = set(self.tracks["kind"])
        return [k for k in _FIRST_KINDS if k in found] + sorted(found - set(_FIRST_KINDS))

    def of(self, kind: str) -> NDArray[np.bool_]:
        """Which tracks (N,) are of a kind."""
        chosen: NDArray[np.bool_] = (self.tracks["kind"] == kind).to_numpy(dtype=bool)
        return chosen

    def name_of(self, number: int) -> str:
        """The name of a track, its id where it has none."""
        track = self.tracks.iloc[number]
        return shown(track["glac_name"]) or str(track["track_id"])

    def namesake_id(self, number: int) -> str:
        """The id of a track whose name others bear too, else nothing."""
        track = self.tracks.iloc[number]
        shared = (self.tracks["glac_name"] == track["glac_name"]).sum() > 1
        return str(track["track_id"]) if shared else ""

    def total(self, kind: str) -> Total:
        """The area of a kind through time.

        Deviations are added, not squared and added: one image, drawn by one network, errs to the
        same side along all of its borders.
        """
        own = self.of(kind)
        known = own & np.isfinite(self.area_km2).all(axis=1)
        area, unc = self.area_km2[known].sum(axis=0), self.unc_km2[known].sum(axis=0)
        return Total(
            kind=kind,
            tracks=int(own.sum()),
            compared=int(known.sum()),
            area_km2=area,
            unc_km2=unc,
            trend=trend_of(self.years, area, unc) if known.any() else None,
        )


def history_of(inventory: Inventory) -> History:
    """The states of an inventory as arrays; without a state, a track is unknown at a survey."""
    surveys = inventory.surveys
    start, end = (pd.to_datetime(surveys[f"{side}_date"]) for side in ("start", "end"))
    order = np.argsort(start.to_numpy(), kind="stable")
    names = [str(n) for n in surveys["survey"].to_numpy()[order]]
    tracks = inventory.tracks.drop(columns=inventory.tracks.geometry.name).reset_index(drop=True)
    status = _wide(inventory.states, "status", tracks["track_id"], names).to_numpy(dtype=object)
    status = np.where(np.isin(status, ["present", "absent"]), status, "unknown").astype(object)
    area, unc = (
        _wide(inventory.states, column, tracks["track_id"], names).to_numpy(dtype=float)
        for column in ("area_km2", "area_unc_km2")
    )
    absent, unknown = status == "absent", status == "unknown"
    return History(
        surveys=tuple(names),
        days=tuple(_days(start.iloc[i], end.iloc[i]) for i in order),
        span=_days(start.min(), end.max()),
        years=np.array([_year(start.iloc[i], end.iloc[i]) for i in order], dtype=float),
        tracks=tracks,
        status=status,
        area_km2=np.where(absent, 0, np.where(unknown, np.nan, area)),
        unc_km2=np.where(absent, 0, np.where(unknown, np.nan, unc)),
    )


def trend_of(
    years: NDArray[np.float64], areas: NDArray[np.float64], deviations: NDArray[np.float64]
) -> Trend | None:
    """A weighted regression of areas (S,) in km2 on time; None where two surveys are not known.

    Its interval is the wider of two: what the deviations lead one to expect, and what the scatter
    about the line shows. Two surveys without deviations have none (NaN).
    """
    known = np.isfinite(years) & np.isfinite(areas)
    years, areas, deviations = years[known], areas[known], deviations[known]
    if len(np.unique(years)) < 2:
        return None
    told = bool(np.isfinite(deviations).all() and (deviations > 0).any())
    # What is wholly absent has no deviation, and must not outweigh all that is there.
    least = deviations[deviations > 0].min() if told else 1.0
    weights = np.maximum(deviations, least) ** -2.0 if told else np.ones_like(areas)
    middle = float(np.average(years, weights=weights))
    since = years - middle
    lever = float((weights * since**2).sum())
    rate = float((weights * since * areas).sum() / lever)
    mean = float(np.average(areas, weights=weights))
    freedom = len(areas) - 2
    scatter = float((weights * (areas - mean - rate * since) ** 2).sum())
    halves = [stats.norm.ppf((1 + _LEVEL) / 2)] if told else []
    if freedom:
        halves.append(stats.t.ppf((1 + _LEVEL) / 2, freedom) * np.sqrt(scatter / freedom))
    half = float(max(halves, default=np.nan))
    return Trend(
        middle=middle,
        area_km2=mean,
        area_half_km2=half / float(np.sqrt(weights.sum())),
        rate_km2_a=rate,
        rate_half_km2_a=half / float(np.sqrt(lever)),
    )


def kind_words(kind: str) -> str:
    """A kind for people: Glaciers, Thaw slumps; any other as it is called."""
    return f"{kind.replace('_', ' ').capitalize()}{'s' if kind in _FIRST_KINDS else ''}"


def _wide(
    states: pd.DataFrame, column: str, tracks: pd.Series[Any], surveys: list[str]
) -> pd.DataFrame:
    """A column of the states as tracks by surveys."""
    if states.empty:
        return pd.DataFrame(index=pd.Index(tracks), columns=surveys, dtype=object)
    one = states.drop_duplicates(["track_id", "survey"])
    table = one.pivot(index="track_id", columns="survey", values=column)
    return table.reindex(index=tracks, columns=surveys)


def _year(start: pd.Timestamp, end: pd.Timestamp) -> float:
    """The middle of an interval as a year with a fraction, NaN where it is not known."""
    if pd.isna(start) or pd.isna(end):
        return float("nan")
    middle = start + (end - start) / 2
    begin = pd.Timestamp(middle.year, 1, 1, tz=middle.tz)
    length = pd.Timestamp(middle.year + 1, 1, 1, tz=middle.tz) - begin
    return float(middle.year + (middle - begin) / length)


def _days(start: pd.Timestamp, end: pd.Timestamp) -> str:
    """A half-open interval as people write it: whole years, whole months, or days."""
    if pd.isna(start) or pd.isna(end):
        return "on an unknown day"
    form = "%Y-%m" if start.day == end.day == 1 else "%Y-%m-%d"
    if start.day_of_year == end.day_of_year == 1:
        form = "%Y"
    first, last = (day.strftime(form) for day in (start, end - pd.Timedelta(days=1)))
    return first if first == last else f"{first} to {last}"
