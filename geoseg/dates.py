"""Dates as people write them for a survey."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from geoseg.errors import ConfigError

if TYPE_CHECKING:
    import datetime as dt

__all__ = ["Interval", "as_utc", "decimal_year", "parse_interval"]

_WRITTEN = re.compile(r"(\d{4})(?:-(\d\d)(?:-(\d\d))?)?")


class Interval(NamedTuple):
    """When a survey was taken, half-open, UTC."""

    start: datetime
    end: datetime

    @classmethod
    def of_days(cls, first: dt.date, end: dt.date) -> Interval:
        """From the beginning of a day to the beginning of another."""
        return cls(_midnight(first), _midnight(end))

    @property
    def middle(self) -> datetime:
        """Half way."""
        return self.start + (self.end - self.start) / 2

    @property
    def first_day(self) -> dt.date:
        """The day that it begins."""
        return self.start.astimezone(UTC).date()

    @property
    def end_day(self) -> dt.date:
        """The first day after it."""
        return (self.end.astimezone(UTC) - timedelta(microseconds=1)).date() + timedelta(days=1)

    @property
    def words(self) -> str:
        """The same as its text, as it is read: 1966-08-12 to 1966-09-03."""
        return str(self).replace("/", " to ")

    def __str__(self) -> str:
        """As short as it can be written: 1966, 1966-08, 1966-08-12 or 1966-08-12/1966-09-03."""
        if self.start.month == self.start.day == 1 and self.end == _next(self.start, "year"):
            return f"{self.start:%Y}"
        if self.start.day == 1 and self.end == _next(self.start, "month"):
            return f"{self.start:%Y-%m}"
        last = self.end - timedelta(microseconds=1)
        if last.date() == self.start.date():
            return f"{self.start:%Y-%m-%d}"
        return f"{self.start:%Y-%m-%d}/{last:%Y-%m-%d}"


def parse_interval(text: str) -> Interval:
    """A year, a month, a day, or from one to another: 1966, 1966-08, 1971-07/1973, 2015-09-12.

    Raises:
        ConfigError: it is none of these.
    """
    parts = text.strip().split("/")
    if len(parts) > 2:
        raise ConfigError(_refusal(text))
    spans = [_span(part, text) for part in parts]
    if not spans[0].start < spans[-1].end:
        raise ConfigError(f"The date {text!r} ends before it begins; write the earlier one first.")
    return Interval(spans[0].start, spans[-1].end)


def as_utc(moment: datetime) -> datetime:
    """A moment as it is, and UTC where it names no time zone."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def decimal_year(moment: datetime) -> float:
    """A moment as a year with a fraction, UTC."""
    moment = moment.astimezone(UTC)
    begin = datetime(moment.year, 1, 1, tzinfo=UTC)
    return moment.year + (moment - begin) / (_next(begin, "year") - begin)


def _span(part: str, text: str) -> Interval:
    found = _WRITTEN.fullmatch(part.strip())
    if found is None:
        raise ConfigError(_refusal(text))
    year, month, day = found.groups()
    unit = "year" if month is None else "month" if day is None else "day"
    try:
        start = datetime(int(year), int(month or 1), int(day or 1), tzinfo=UTC)
        return Interval(start, _next(start, unit))
    # OverflowError: the day after the last one that a computer knows.
    except (ValueError, OverflowError) as error:
        raise ConfigError(f"{_refusal(text)} ({error})") from error


def _next(start: datetime, unit: str) -> datetime:
    """The beginning of the year, month or day after."""
    if unit == "day":
        return start + timedelta(days=1)
    month = start.month % 12 + 1 if unit == "month" else 1
    later = unit == "year" or month == 1
    return start.replace(year=start.year + later, month=month)


def _midnight(day: dt.date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)


def _refusal(text: str) -> str:
    return f"{text!r} is no date; write 1966, 1966-08, 1966-08-12 or 1971-07/1973-09."
