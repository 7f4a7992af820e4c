"""All days of many pixels, compiled, against the chain of each."""

import sys
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.errors import ConfigError, SceneError
from geoseg.pivot.physical import daily
from geoseg.pivot.physical.daily import fill_days
from geoseg.pivot.physical.temporal import smooth_series
from geoseg.pivot.physical.wander import Wander

SD, SCALE_DAYS = 0.06, 45.0


def series_of(days, pixels=11, *, seed=0, missing=0.5):
    """Days, values and variances (T, N) and their process."""
    rng = np.random.default_rng(seed)
    values = rng.normal(0, SD, (len(days), pixels)).astype(np.float32)
    variances = (10 ** rng.uniform(-5, -3, values.shape)).astype(np.float32)
    gone = rng.random(values.shape) < missing
    values[gone] = np.nan
    variances[rng.random(values.shape) < missing / 2] = np.inf
    variances[gone & (rng.random(values.shape) < 0.5)] = np.nan
    wander = Wander(sd=torch.linspace(0.5 * SD, 2 * SD, pixels), days=SCALE_DAYS)
    return days, torch.from_numpy(values), torch.from_numpy(variances), wander


def by_chain(series, wanted):
    """Mean and sd (D, N)."""
    chain = smooth_series(*series)
    mean, variance = (torch.stack(one) for one in zip(*map(chain.at, wanted), strict=True))
    return mean, variance.sqrt()


def assert_is(pieces, series, wanted, *, rtol=1e-4):
    mean, sd = by_chain(series, wanted)
    np.testing.assert_allclose(torch.cat([one for _, one, _ in pieces], 1), mean, rtol, rtol * SD)
    np.testing.assert_allclose(torch.cat([one for _, _, one in pieces], 1), sd, rtol)


def copies(pieces):
    return [(piece.pixels, piece.mean.clone(), piece.sd.clone()) for piece in pieces]


@pytest.fixture
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(
    quarters=st.lists(st.integers(0, 1600), min_size=1, max_size=30, unique=True),
    asked=st.lists(st.integers(-300, 1900), min_size=1, max_size=9),
    seed=st.integers(0, 2**31),
)
def test_days_are_those_of_the_chain(quarters, asked, seed):
    days = sorted(quarter / 4 for quarter in quarters)
    wanted = sorted([quarter / 4 for quarter in asked] + [days[0], days[-1]])
    series = series_of(days, pixels=5, seed=seed)

    assert_is(copies(fill_days(*series, wanted)), series, wanted)


@pytest.mark.slow
@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("count", [1, 2, 3])
@pytest.mark.parametrize("at_once", [4, 11, 8192])
def test_pieces_follow_each_other_whatever_the_threads(monkeypatch, count, at_once):
    series, wanted = series_of([0.0, 5.0, 20.0, 90.0]), [-4.0, 0.0, 1.5, 20.0, 55.0, 120.0]
    monkeypatch.setattr(daily, "PIXELS", at_once)
    torch.set_num_threads(count)

    pieces = copies(fill_days(*series, wanted))

    assert [part.start for part, _, _ in pieces] == list(range(0, 11, at_once))
    assert_is(pieces, series, wanted)


@pytest.mark.usefixtures("threads")
def test_a_piece_stays_until_the_next_is_asked_for(monkeypatch):
    series = series_of([0.0, 5.0])
    mean, _ = by_chain(series, [1.0, 2.0])
    monkeypatch.setattr(daily, "PIXELS", 2)
    torch.set_num_threads(1)

    for piece in fill_days(*series, [1.0, 2.0]):
        time.sleep(0.02)  # in which another piece would be done

        np.testing.assert_allclose(piece.mean, mean[:, piece.pixels], rtol=1e-4, atol=1e-6)


def test_who_stops_early_waits_for_nothing(monkeypatch):
    monkeypatch.setattr(daily, "PIXELS", 2)
    pieces = fill_days(*series_of([0.0, 5.0]), [1.0])

    assert next(pieces).pixels == slice(0, 2)
    pieces.close()


def test_pieces_lie_in_a_buffer_for_each_thread(monkeypatch):
    monkeypatch.setattr(daily, "PIXELS", 2)

    places = {piece.mean.data_ptr() for piece in fill_days(*series_of([0.0, 5.0]), [1.0])}

    assert len(places) == torch.get_num_threads()


def test_views_and_double_precision_give_the_same():
    days, values, variances, wander = series = series_of([0.0, 5.0, 9.0], pixels=12)
    strided = (one.T.contiguous().T.double() for one in (values, variances))
    shared = Wander(sd=torch.full((1,), SD).expand(12), days=SCALE_DAYS)

    assert_is(copies(fill_days(days, *strided, wander, [3.0])), series, [3.0])
    even = (days, values, variances, shared)
    assert_is(copies(fill_days(*even, [3.0])), even, [3.0])


def test_no_day_is_asked_for():
    assert [piece.sd.shape for piece in fill_days(*series_of([0.0, 5.0]), [])] == [(0, 11)]


def test_no_pixels_are_no_pieces():
    assert list(fill_days(*series_of([0.0, 5.0], pixels=0), [1.0])) == []


@pytest.mark.parametrize(
    ("days", "message"),
    [
        ([3.0, 2.0], "Day 2 of the series comes after day 3; give each day once, in their order"),
        ([], "A series of no day has nothing to smooth; give one day or more"),
    ],
)
def test_days_that_are_no_series_are_refused(days, message):
    with pytest.raises(SceneError, match=f"^{message}"):
        fill_days(*series_of(days), [1.0])


@pytest.mark.parametrize("variance", [0.0, -1e-4])
def test_a_measurement_without_error_is_refused(variance):
    days, values, variances, wander = series_of([0.0, 5.0], missing=0.0)
    variances[1, 3] = variance

    with pytest.raises(SceneError, match="variance of 0 or less; give one above 0, or infinity"):
        list(fill_days(days, values, variances, wander, [1.0]))

    values[1, 3] = torch.nan
    list(fill_days(days, values, variances, wander, [1.0]))


def test_days_asked_for_out_of_order_are_refused():
    with pytest.raises(SceneError, match=r"^Day 1 comes after day 2; give days in order\.$"):
        fill_days(*series_of([0.0, 5.0]), [2.0, 1.0])


def test_without_numba_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)

    with pytest.raises(ConfigError, match=r"run pip install 'numba>=0\.61'\.$"):
        fill_days(*series_of([0.0, 5.0]), [1.0])
