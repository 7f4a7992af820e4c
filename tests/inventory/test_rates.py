import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from geoseg.inventory.attributes.rates import changes_of, weighted_rates


def rate_of(years, areas, sds):
    """Of one track: rate, lo, hi."""
    zeros = np.zeros(len(years), dtype=np.int64)
    found = weighted_rates(
        zeros, *(np.asarray(v, dtype=float) for v in (years, areas, sds)), count=1
    )
    return found.rate_km2_a[0], found.lo_km2_a[0], found.hi_km2_a[0]


def test_two_areas_give_the_difference_by_the_years_and_its_interval():
    rate, lo, hi = rate_of([1965.6, 2025.6], [12.0, 9.0], [0.3, 0.4])

    assert rate == pytest.approx(-0.05)
    assert (lo, hi) == pytest.approx((-0.05 - 1.96 * 0.5 / 60, -0.05 + 1.96 * 0.5 / 60), rel=1e-4)


def test_an_area_that_is_known_better_weighs_more():
    years, areas = [1980, 2000, 2020], [10.0, 9.0, 9.6]

    early, _, _ = rate_of(years, areas, [0.01, 0.01, 10])
    late, _, _ = rate_of(years, areas, [10, 0.01, 0.01])

    assert early == pytest.approx(-1 / 20, rel=1e-2)
    assert late == pytest.approx(0.6 / 20, rel=1e-2)


def test_weights_are_those_of_the_normal_equations():
    rng = np.random.default_rng(3)
    years, areas, sds = rng.uniform(1960, 2025, 7), rng.uniform(1, 3, 7), rng.uniform(0.1, 2, 7)
    design = np.stack([np.ones(7), years - 2000], axis=1) / sds[:, None]
    covariance = np.linalg.inv(design.T @ design)
    expected = (covariance @ design.T @ (areas / sds))[1]

    rate, lo, hi = rate_of(years, areas, sds)

    assert rate == pytest.approx(expected)
    # These areas scatter by less than they may: nothing is made smaller for that.
    assert hi - lo == pytest.approx(2 * 1.959964 * np.sqrt(covariance[1, 1]))


def test_areas_that_scatter_more_than_they_should_widen_the_interval():
    years = np.arange(1990, 2020, 5)
    line = 10 - 0.05 * (years - 1990)
    scatter = np.array([1, -1, 1, -1, 1, -1]) * 0.2

    _, lo, hi = rate_of(years, line + scatter, np.full(6, 0.02))
    _, calm_lo, calm_hi = rate_of(years, line, np.full(6, 0.02))

    residual = scatter - np.polyval(np.polyfit(years, scatter, 1), years)
    birge = np.sqrt((residual**2).sum() / 0.02**2 / 4)
    student_4, normal = 2.776445, 1.959964
    assert (hi - lo) / (calm_hi - calm_lo) == pytest.approx(birge * student_4 / normal, rel=1e-4)


def test_unknown_areas_are_left_out():
    with_gap = rate_of([1990, 2000, 2010, 2020], [5, np.nan, 4.2, 4], [0.1, 0.1, 0.1, 0.1])

    assert with_gap == pytest.approx(rate_of([1990, 2010, 2020], [5, 4.2, 4], [0.1, 0.1, 0.1]))


def test_a_rate_needs_two_dates():
    assert np.isnan(rate_of([2000], [3], [0.1])).all()
    assert np.isnan(rate_of([2000.4, 2000.4], [3, 4], [0.1, 0.1])).all()
    assert np.isnan(rate_of([2000, 2010], [3, np.nan], [0.1, 0.1])).all()


def test_without_uncertainties_the_interval_comes_from_the_scatter():
    years, areas = np.array([1990, 2000, 2010, 2020.0]), np.array([5, 4.4, 4.2, 3.5])
    slope, offset = np.polyfit(years, areas, 1)
    residual = areas - slope * years - offset
    error = np.sqrt((residual**2).sum() / 2 / ((years - years.mean()) ** 2).sum())

    rate, lo, hi = rate_of(years, areas, [np.nan, 0.1, 0.1, 0.1])
    two = rate_of(years[:2], areas[:2], [np.nan, 0.1])

    assert rate == pytest.approx(slope)
    assert (hi - lo) / 2 == pytest.approx(4.302653 * error)
    assert two[0] == pytest.approx(-0.06)
    assert np.isnan(two[1:]).all()


@settings(deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    factor=st.floats(0.01, 100),
    shift=st.floats(-50, 50),
)
def test_a_rate_grows_with_the_areas_and_does_not_know_the_calendar(seed, factor, shift):
    rng = np.random.default_rng(seed)
    years, areas, sds = rng.uniform(1960, 2025, 5), rng.uniform(1, 3, 5), rng.uniform(0.1, 1, 5)

    once = np.array(rate_of(years, areas, sds))
    scaled = np.array(rate_of(years + shift, areas * factor, sds * factor))

    np.testing.assert_allclose(scaled, once * factor, rtol=1e-6, atol=1e-9 * factor)


def test_intervals_cover_the_true_rate_as_often_as_they_say():
    rng = np.random.default_rng(0)
    count, surveys = 20_000, 4
    track = np.repeat(np.arange(count), surveys)
    years = rng.uniform(1965, 2025, count * surveys)
    sds = rng.uniform(0.05, 0.3, count * surveys)
    for understated in (1, 4):
        errors = understated * sds * rng.standard_normal(count * surveys)
        areas = 20 - 0.04 * (years - 1965) + errors

        found = weighted_rates(track, years, areas, sds, count=count)

        covered = (found.lo_km2_a < -0.04) & (found.hi_km2_a > -0.04)
        # Student's interval replaces the narrower one only where it is needed: never too short.
        assert 0.93 < covered.mean() < 0.99


def test_many_tracks_are_a_matter_of_a_second():
    rng = np.random.default_rng(0)
    track = np.repeat(np.arange(400_000), 5)
    years, areas, sds = rng.uniform(0.5, 1, (3, len(track)))

    begin = time.process_time()
    weighted_rates(track, years, areas, sds, count=400_000)

    assert time.process_time() - begin < 5


def test_a_change_is_significant_beyond_both_uncertainties():
    changes = changes_of([10, 10, 10, np.nan, 0], [0.3] * 5, [9, 9.1, 10.9, 5, 2], [0.4] * 5)

    np.testing.assert_allclose(changes.change_km2[:3], [-1, -0.9, 0.9])
    np.testing.assert_allclose(changes.unc_km2, 0.5)
    np.testing.assert_allclose(changes.change_pct[:3], [-10, -9, 9])
    assert np.isnan(changes.change_pct[3:]).all()
    assert list(changes.significant[[0, 1, 2, 4]]) == [True, False, False, True]
    assert changes.significant.isna().tolist() == [False, False, False, True, False]
