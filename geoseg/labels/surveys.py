"""Outlines of other days than the image: which of them serve it, and how far they may be off."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import shapely
from shapely import STRtree

from geoseg.errors import LabelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["SURVEY_DAY", "Dating", "Serving", "serving", "survey_days"]

SURVEY_DAY = "survey_day"  # column with the day that an outline shows

_DAYS_A_YEAR = 365.25
_MOSTLY = 0.5  # of an outline
# RGI 6 writes 20009999 for a day of 2000 that is not known, and a negative number for no date.
_COMPACT = re.compile(r"(\d{4})(?:(\d\d)(\d\d))?(?:\.0)?")
_UNKNOWN_PART = "99"
_MIDDLE = "07-02"  # of a year


@dataclass(frozen=True, slots=True, kw_only=True)
class Dating:
    """When an image was taken, and how far outlines of other days serve it."""

    start: datetime
    end: datetime  # half-open
    within_years: float
    moved_m_per_year: float  # how far an edge may have moved on the ground

    def years_from(self, days: NDArray[np.datetime64]) -> NDArray[np.float64]:
        """Years between the image and each day, 0 within its interval, NaN where none is known."""
        first = np.datetime64(self.start.astimezone(UTC).date())
        # An interval that ends at midnight does not reach the day that begins there.
        last = np.datetime64((self.end - timedelta(microseconds=1)).astimezone(UTC).date())
        before, after = (first - days), (days - last)
        away = np.maximum(_in_days(before), _in_days(after))
        years: NDArray[np.float64] = np.maximum(away, 0) / _DAYS_A_YEAR
        return years


class Serving(NamedTuple):
    """What becomes of each outline."""

    serves: NDArray[np.bool_]  # is learned from
    unknown: NDArray[np.bool_]  # shows another time: what is there now is not known
    years: NDArray[np.float64]  # between it and the image


def survey_days(values: pd.Series, *, where: str) -> NDArray[np.datetime64]:
    """The day (N,) that each outline shows, NaT where its column does not say.

    Dates, ISO texts, whole years, and YYYYMMDD as RGI 6 writes it; of a year, its middle.

    Args:
        values: the column.
        where: names it in the error.

    Raises:
        LabelError: no value of it is a date.
    """
    if pd.api.types.is_datetime64_any_dtype(values):
        days = pd.to_datetime(values, utc=True)
    else:
        days = pd.to_datetime(values.map(_iso), format="ISO8601", utc=True, errors="coerce")
    found: NDArray[np.datetime64] = days.dt.tz_localize(None).to_numpy().astype("datetime64[D]")
    if np.isnat(found).all():
        raise LabelError(
            f"{where} holds no date (its first value is {values.iloc[0]!r}); name a column of days "
            "such as 2000-10-30, or of years."
        )
    return found


def serving(
    polygons: NDArray[np.object_],
    names: NDArray[np.object_],
    days: NDArray[np.datetime64],
    dating: Dating,
) -> Serving:
    """Which outlines serve an image: those near it in time that no nearer one replaces.

    An outline replaces another one of a day farther from the image that it covers for the most
    part, or of the same class that covers most of it: the same ice, grown or shrunk. An outline too
    far in time that nothing replaces says that something was there, not that nothing is now.

    Args:
        polygons: outlines (N,) in one CRS.
        names: their classes.
        days: that they show.
        dating: of the image.

    Raises:
        LabelError: none is near enough in time.
    """
    years = dating.years_from(days)
    near = years <= dating.within_years
    if not near.any():
        raise LabelError(_too_far(days, years, dating))
    kept = ~_replaced(polygons, names, np.where(np.isnan(years), np.inf, years))
    return Serving(kept & near, kept & ~near, years)


def _replaced(
    polygons: NDArray[np.object_], names: NDArray[np.object_], years: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Which outlines are replaced by those of days nearer to the image."""
    far, near = STRtree(polygons).query(polygons, predicate="intersects")
    later = years[far] > years[near]
    far, near = far[later], near[later]
    shared = shapely.area(shapely.intersection(polygons[far], polygons[near]))
    areas = shapely.area(polygons)
    covered = np.zeros(len(polygons))
    # Outlines of one survey do not overlap; of several they do, but more than all is still most.
    np.add.at(covered, far, shared)
    grown = (names[far] == names[near]) & (shared >= _MOSTLY * areas[near])
    replaced: NDArray[np.bool_] = covered >= _MOSTLY * areas
    replaced[far[grown]] = True
    return replaced


def _too_far(days: NDArray[np.datetime64], years: NDArray[np.float64], dating: Dating) -> str:
    when = dating.start.astimezone(UTC).date()
    if np.isnan(years).all():
        return f"No outline on the scene of {when} has a survey day; fill in labels.date_of."
    nearest = int(np.nanargmin(years))
    return (
        f"No outline on the scene of {when} is of a survey within {dating.within_years:g} years; "
        f"the nearest is of {days[nearest]}, {years[nearest]:.1f} years away: give outlines of the "
        "scene's time, or raise labels.within_years."
    )


def _in_days(span: NDArray[np.timedelta64]) -> NDArray[np.float64]:
    days: NDArray[np.float64] = np.where(np.isnat(span), np.nan, span.astype(np.float64))
    return days


def _iso(value: object) -> str | None:
    """A date as ISO text, of what the columns of inventories hold."""
    text = str(value).strip()
    if (parts := _COMPACT.fullmatch(text)) is None:
        return text
    year, month, day = parts.groups()
    if month in {None, _UNKNOWN_PART}:
        return f"{year}-{_MIDDLE}"
    return f"{year}-{month}-{'15' if day == _UNKNOWN_PART else day}"
