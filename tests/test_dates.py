import datetime as dt
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from geoseg.dates import Interval, as_utc, decimal_year, parse_interval
from geoseg.errors import ConfigError

days = st.dates(dt.date(1000, 1, 1), dt.date(9999, 12, 30))


@pytest.mark.parametrize(
    ("text", "first", "end"),
    [
        ("1966", (1966, 1, 1), (1967, 1, 1)),
        ("1899", (1899, 1, 1), (1900, 1, 1)),
        ("1850-12", (1850, 12, 1), (1851, 1, 1)),
        ("2000-02-28", (2000, 2, 28), (2000, 2, 29)),
        ("1999-12-31", (1999, 12, 31), (2000, 1, 1)),
        ("1971-07/1973-09", (1971, 7, 1), (1973, 10, 1)),
        (" 1971-07 / 1973 ", (1971, 7, 1), (1974, 1, 1)),
        ("2015-09-12/2015-09-12", (2015, 9, 12), (2015, 9, 13)),
    ],
)
def test_a_date_runs_from_its_first_day_to_the_day_after_its_last(text, first, end):
    assert parse_interval(text) == Interval.of_days(dt.date(*first), dt.date(*end))


@given(days, days)
def test_what_an_interval_is_called_is_read_as_the_same_interval(one, other):
    end = max(one, other) + dt.timedelta(days=1)
    interval = Interval.of_days(min(one, other), end)

    assert parse_interval(str(interval)) == interval


@pytest.mark.parametrize(
    ("interval", "name"),
    [
        (((1966, 1, 1), (1967, 1, 1)), "1966"),
        (((1966, 1, 1), (1968, 1, 1)), "1966-01-01/1967-12-31"),
        (((1966, 12, 1), (1967, 1, 1)), "1966-12"),
        (((1966, 12, 2), (1967, 1, 1)), "1966-12-02/1966-12-31"),
        (((1966, 12, 31), (1967, 1, 1)), "1966-12-31"),
    ],
)
def test_the_name_of_an_interval_is_as_short_as_it_can_be(interval, name):
    assert str(Interval.of_days(*(dt.date(*day) for day in interval))) == name


@pytest.mark.parametrize(
    "text", ["", "/", "66", "1966-8", "12.08.1966", "1966-08-12T10:00", "1/2/3", "0000", "nan"]
)
def test_what_is_no_date_is_refused_with_what_to_write(text):
    with pytest.raises(
        ConfigError, match=r"is no date; write 1966, 1966-08, 1966-08-12 or 1971-07"
    ):
        parse_interval(text)


@pytest.mark.parametrize("text", ["2001-02-29", "2001-13", "9999", "9999-12", "9999-12-31"])
def test_a_day_that_is_in_no_calendar_is_refused_with_why(text):
    with pytest.raises(ConfigError, match=r"is no date; .* \((day|month|year|date value) .*\)"):
        parse_interval(text)


def test_an_interval_that_ends_before_it_begins_is_refused():
    with pytest.raises(ConfigError, match="'1973/1971-07' ends before it begins; write the earl"):
        parse_interval("1973/1971-07")


def test_the_middle_of_a_year_is_half_a_year_in_years_of_any_length():
    for text in ("1900", "2000", "2001"):
        assert decimal_year(parse_interval(text).middle) == int(text) + 0.5
    # 1 July of a leap year is its 183rd day.
    assert decimal_year(datetime(2000, 7, 1, tzinfo=UTC)) == pytest.approx(2000 + 182 / 366)


def test_a_moment_of_no_time_zone_is_utc_and_others_are_what_they_are():
    bare = datetime(2016, 7, 1, 10)  # noqa: DTZ001  as people write it
    there = datetime(2016, 7, 1, 10, tzinfo=dt.timezone(dt.timedelta(hours=-7)))

    assert as_utc(bare) == datetime(2016, 7, 1, 10, tzinfo=UTC)
    assert as_utc(there) is there
