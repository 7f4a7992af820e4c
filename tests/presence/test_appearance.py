"""Since when a place holds something."""

import math
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import multivariate_normal

from geoseg.errors import ConfigError, LabelError
from geoseg.presence.appearance import (
    DateErrors,
    OnsetPrior,
    first_appearances,
    fit_date_errors,
)
from geoseg.presence.evidence import DatedEvidence
from geoseg.presence.growth import MaskAreas, SeenMask, areas_of_masks, growth_curve

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from presence_years import REGIMES, measure_regime, simulate_places

SURE = 7.0

images = st.lists(
    st.tuples(st.floats(1960, 2025), st.floats(-10, 10), st.floats(0, 1)), min_size=1, max_size=7
)


def first(*dates, **options):
    """Of one place, from (year, evidence, validity)."""
    years, evidence, validity = zip(*dates, strict=True)
    places = DatedEvidence.of_places([(years, evidence, validity)])
    return first_appearances(places, **options)[0]


def test_a_slump_not_seen_in_1999_hidden_in_2001_and_seen_in_2003_came_in_between():
    found = first((1999.6, -SURE, 1.0), (2001.6, SURE, 0.0), (2003.6, SURE, 1.0), (2006.6, SURE, 1))

    assert (found.after, found.until) == (1999.6, 2003.6)
    assert found.year == pytest.approx(2001.6, abs=0.1)
    # Any day between the two images is as likely as another: 5 % of four years from either end.
    assert (found.low, found.high) == pytest.approx((1999.8, 2003.4), abs=0.1)
    assert found.probability_present > 0.9


def test_a_partly_hidden_image_does_not_decide():
    clear = first((1999, -SURE, 1.0), (2001, -SURE, 1.0), (2003, SURE, 1.0), (2004, SURE, 1.0))
    hazy = first((1999, -SURE, 1.0), (2001, -SURE, 0.1), (2003, SURE, 1.0), (2004, SURE, 1.0))

    assert (clear.after, clear.until) == (2001, 2003)
    assert (hazy.after, hazy.until) == (1999, 2003)
    assert hazy.year > 2001  # but it is heard


def test_one_false_alarm_among_clear_images_without_it_is_no_appearance():
    dates = [(year, -SURE, 1.0) for year in range(1990, 2020, 3)]
    dates[4] = (dates[4][0], SURE, 1.0)

    found = first(*dates)

    assert found.probability_present < 0.01
    assert found[:2] == (None, None)
    assert found[3:] == (None, None, None)


def test_what_is_in_every_image_was_there_by_the_first():
    found = first((1999, SURE, 1.0), (2003, SURE, 1.0))

    assert (found.after, found.until, found.low, found.year) == (None, 1999, None, None)
    assert found.high == 1999


def test_a_place_that_no_image_shows_is_unknown_and_not_absent():
    found = first((1999, SURE, 0.0), (2003, float("nan"), 0.0))

    assert np.isnan(found.probability_present)
    assert found.until is None


def test_a_place_that_is_held_to_have_it_is_dated_whatever_its_dates_say():
    dates = ((1999, -SURE, 1.0), (2003, 1.0, 1.0))

    assert first(*dates).until is None
    assert first(*dates, present=np.array([True])).until == 2003


def test_places_without_images_leave_those_of_others_in_their_rows():
    whole = ([1999.0, 2003.0], [-SURE, 3 * SURE], [1.0, 1.0])
    nothing = ([], [], [])

    found = first_appearances(DatedEvidence.of_places([nothing, whole, nothing]))

    np.testing.assert_array_equal(found.until, [np.nan, 2003, np.nan])
    assert first_appearances(DatedEvidence.of_places([])).year.shape == (0,)


def test_two_images_of_one_moment_bound_no_gap():
    found = first((1999, -SURE, 1.0), (2003, -SURE, 1.0), (2003, 4 * SURE, 1.0), (2008, SURE, 1.0))

    assert (found.after, found.until) == (1999, 2003)


@given(images=images, hidden=st.tuples(st.floats(1960, 2025), st.floats(-9, 9), st.just(0.0)))
def test_a_hidden_image_changes_nothing(images, hidden):
    errors = DateErrors(correlation=0.3)

    assert first(*images, hidden, errors=errors) == pytest.approx(
        first(*images, errors=errors), nan_ok=True
    )


@given(images=images, data=st.data())
def test_the_order_of_images_changes_nothing(images, data):
    # Images of one moment have no order; so that none are, moments are told apart.
    apart = [(year + 0.01 * i, *rest) for i, (year, *rest) in enumerate(sorted(images))]
    shuffled = data.draw(st.permutations(apart))

    assert first(*shuffled) == pytest.approx(first(*apart), nan_ok=True)


@given(images=images, correlation=st.floats(0, 0.9))
def test_bounds_and_years_are_in_order(images, correlation):
    found = first(*images, present=np.array([True]), errors=DateErrors(correlation=correlation))

    told = [year for year in found[:1] + found[3:] if year is not None]
    order = (found.after, found.low, found.year, found.high, found.until)
    known = [year for year in order if year is not None]
    assert known == pytest.approx(sorted(known))
    assert (found.after is None) == (found.low is None)
    assert all(year <= max(image[0] for image in images) for year in told)


def by_hand(years, evidence, validity, prior, errors):
    """The posterior of each gap and of never, from the densities of the whole series."""
    covariance = errors.separation * (
        errors.correlation + np.diag((1 - errors.correlation) / np.array(validity))
    )
    weights = []
    for onset in range(len(years) + 1):
        mean = np.where(np.arange(len(years)) >= onset, 0.5, -0.5) * errors.separation
        likely = multivariate_normal(mean, covariance).pdf(evidence)
        begin = years[0] - prior.years_before if onset == 0 else years[onset - 1]
        waited = prior.per_year * (begin - years[0] + prior.years_before)
        comes = 1.0 if onset == len(years) else 1 - np.exp(-prior.per_year * (years[onset] - begin))
        weights.append(likely * np.exp(-waited) * comes)
    return np.array(weights) / np.sum(weights)


@pytest.mark.parametrize("correlation", [0.0, 0.6])
def test_the_posterior_is_that_of_the_densities_of_the_whole_series(correlation):
    years, evidence = [1990.0, 1996.0, 1999.0, 2008.0], [-2.0, 1.0, 0.5, 3.0]
    validity = [1.0, 0.3, 0.8, 1.0]
    prior = OnsetPrior(per_year=0.02, years_before=4)
    errors = DateErrors(separation=5, correlation=correlation)

    found = first_appearances(
        DatedEvidence.of_places([(years, evidence, validity)]), prior=prior, errors=errors
    )

    *gaps, never = by_hand(years, evidence, validity, prior, errors)
    assert found.probability_present[0] == pytest.approx(1 - never)
    cumulative = np.cumsum(gaps) / (1 - never)
    gap = int(np.searchsorted(cumulative, 0.5))
    part = (0.5 - cumulative[gap - 1]) / (cumulative[gap] - cumulative[gap - 1])
    assert found.year[0] == pytest.approx(years[gap - 1] + part * (years[gap] - years[gap - 1]))


def test_a_rock_that_looks_like_a_slump_on_all_dates_is_less_sure_where_dates_correlate():
    dates = [(year, 2.0, 1.0) for year in range(2000, 2010)]

    alone = first(*dates).probability_present
    together = first(*dates, errors=DateErrors(correlation=0.6)).probability_present

    assert together < 0.3 < 0.9 < alone


def test_a_change_is_surer_where_dates_correlate():
    # A rock that looks a little like a slump, and then a slump: a common offset explains no change.
    dates = ((2000, 0.0, 1.0), (2001, 0.0, 1.0), (2005, 5.0, 1.0), (2006, 5.0, 1.0))
    held = {"present": np.array([True])}

    alone = first(*dates, **held)
    together = first(*dates, **held, errors=DateErrors(separation=6, correlation=0.8))

    assert together.after == 2001
    assert alone.after is None


def test_errors_of_dates_are_found_again_in_labelled_places():
    regime = next(r for r in REGIMES if r.name == "both, fitted")
    evidence, onset = simulate_places(regime, 20_000, np.random.default_rng(3))

    used = evidence.used()
    errors = fit_date_errors(evidence, onset <= used.years[np.maximum(used.offsets[1:] - 1, 0)])

    assert errors.separation == pytest.approx(6.2, rel=0.1)
    assert errors.correlation == pytest.approx(0.5, abs=0.05)
    assert errors.scale == pytest.approx(1 / 1.5, rel=0.1)
    assert errors.centre == pytest.approx(0, abs=0.3)


def test_errors_are_not_learnt_from_places_of_one_kind():
    evidence = DatedEvidence.of_places([([2000.0], [1.0], [1.0])] * 3)

    with pytest.raises(LabelError, match="0 present places and 3 dates of absent ones are too few"):
        fit_date_errors(evidence, np.zeros(3, dtype=bool))


@pytest.mark.parametrize(
    "name", ["calibrated", "both, fitted", "5 % lookalikes, fitted", "twice the slumps before"]
)
def test_the_true_year_lies_in_the_interval_nine_times_in_ten(name):
    found = measure_regime(next(r for r in REGIMES if r.name == name), seed=11, places=30_000)

    assert 0.85 <= found.covered <= 0.95
    assert found.dated > 400


def test_evidence_that_is_too_sure_of_itself_misses_until_its_errors_are_fitted():
    raw, fitted = (
        measure_regime(r, seed=11, places=30_000)
        for r in REGIMES
        if r.name.startswith("over-confident")
    )

    assert raw.covered < 0.87
    assert fitted.covered > 0.88


@pytest.mark.slow
def test_a_million_places_take_seconds():
    counts = np.full(1_000_000, 10)
    rng = np.random.default_rng(0)
    evidence = DatedEvidence(
        years=rng.uniform(1990, 2025, counts.sum()),
        evidence=rng.normal(0, 3, counts.sum()),
        validity=rng.random(counts.sum()),
        offsets=np.concatenate([[0], np.cumsum(counts)]),
    )

    begin = time.process_time()
    found = first_appearances(evidence)

    assert time.process_time() - begin < 30
    assert len(found.year) == len(counts)


def test_a_validity_that_is_no_share_is_refused():
    with pytest.raises(ValueError, match="validity of an image is a share"):
        DatedEvidence.of_places([([2000.0], [1.0], [80.0])])


def test_impossible_assumptions_are_refused():
    with pytest.raises(ConfigError, match="0 appearances a year; give a number above 0"):
        OnsetPrior(per_year=0)
    with pytest.raises(ConfigError, match="inf appearances a year; give a number above 0"):
        OnsetPrior(per_year=math.inf)
    with pytest.raises(ConfigError, match="inf years before the first image; give a number"):
        OnsetPrior(years_before=math.inf)
    with pytest.raises(ConfigError, match="Dates correlate by 1; give a share"):
        DateErrors(correlation=1.0)


def disc(radius_m, *, gsd_m=10.0, shape=(60, 80), at_m=(0.0, 0.0), hidden=None, border_m=None):
    """A disc so far south and east of the middle of an image, and on which pixels it is seen."""
    south, east = (
        (np.arange(side) + 0.5 - side / 2) * gsd_m - at
        for side, at in zip(shape, at_m, strict=True)
    )
    valid = np.ones(shape, dtype=bool)
    if hidden is not None:
        valid[hidden] = False
    inside = np.hypot(south[:, None], east) < radius_m
    return SeenMask(inside & valid, valid, gsd_m, gsd_m if border_m is None else border_m)


def test_areas_of_discs_are_theirs():
    radii = np.array([50.0, 120.0, 200.0])

    areas = areas_of_masks([disc(r) for r in radii])

    np.testing.assert_allclose(areas.area_m2, np.pi * radii**2, rtol=0.04)
    # Half a pixel of the border, taken as uniform: 2 pi r * 5 m / sqrt(3).
    np.testing.assert_allclose(areas.sd_m2, 2 * np.pi * radii * 5 / np.sqrt(3), rtol=0.1)


def test_a_border_that_is_known_to_a_cell_is_as_much_less_sure():
    fine, coarse = areas_of_masks([disc(120.0), disc(120.0, border_m=80.0)]).sd_m2

    assert coarse == pytest.approx(8 * fine)


def test_a_date_that_hides_the_object_has_no_area_and_one_that_hides_other_ground_has():
    # North-east of the middle: rows 3 to 27, columns 48 to 72.
    parts = [np.s_[10:20, 48:72], np.s_[36:, :], np.s_[:, :40]]
    masks = [disc(120.0, at_m=(-150.0, 200.0), hidden=part) for part in (*parts, None)]

    areas = areas_of_masks(masks)

    np.testing.assert_array_equal(np.isnan(areas.area_m2), [True, False, False, False])
    assert areas.area_m2[1] == areas.area_m2[2] == areas.area_m2[3]


def test_the_ground_of_all_dates_has_to_be_seen_whatever_their_pixels():
    # 30 m pixels with the same middle; small images end within the ground of the largest disc.
    small, large = disc(120.0, shape=(30, 30)), disc(200.0)
    coarse = disc(200.0, gsd_m=30.0, shape=(20, 24))
    clouded = disc(200.0, gsd_m=30.0, shape=(20, 24), hidden=slice(8, 10))

    areas = areas_of_masks([small, large, coarse, clouded])

    np.testing.assert_array_equal(np.isnan(areas.area_m2), [True, False, False, True])
    assert areas.area_m2[2] == pytest.approx(areas.area_m2[1], rel=0.05)


def test_an_object_that_reaches_the_edge_of_all_images_has_no_area():
    within, cut = ([disc(100.0, shape=(30, 30), at_m=(0, east))] * 2 for east in (0, 120))

    assert np.isfinite(areas_of_masks(within).area_m2).all()
    assert np.isnan(areas_of_masks(cut).area_m2).all()


@settings(max_examples=15, deadline=None)
@given(st.lists(st.floats(100, 1e5), min_size=2, max_size=8))
def test_a_growth_curve_never_shrinks(areas):
    drawn = MaskAreas(np.array(areas), np.full(len(areas), 50.0))

    growth = growth_curve(np.arange(len(areas)) + 2000.0, drawn, np.random.default_rng(0))

    assert (np.diff(growth.area_m2) >= 0).all()
    assert (np.diff(growth.low_m2) >= 0).all()
    assert (growth.low_m2 <= growth.high_m2).all()


def test_the_rate_of_growth_lies_in_its_interval():
    rng = np.random.default_rng(4)
    years = np.array([2016.0, 2001.0, 2009.0, 2020.0, 2005.0, 2012.0])
    sd = np.full(6, 400.0)
    inside = 0
    for _ in range(60):
        areas = MaskAreas(5000 + 300 * (years - 2000) + rng.normal(0, sd), sd)
        growth = growth_curve(years, areas, rng)
        inside += growth.rate_low <= 300 <= growth.rate_high

    assert 47 <= inside <= 60
    assert (np.diff(growth.years) > 0).all()


def test_the_rate_of_areas_that_shrink_is_negative_and_says_so():
    areas = MaskAreas(np.array([9000.0, 7000.0, 5000.0]), np.full(3, 100.0))

    growth = growth_curve(np.array([2000.0, 2010.0, 2020.0]), areas, np.random.default_rng(0))

    np.testing.assert_allclose(growth.area_m2, 7000)
    assert growth.rate_m2_per_year == pytest.approx(-200)
    assert growth.rate_low < -200 < growth.rate_high < 0


def test_one_known_area_is_no_growth():
    areas = MaskAreas(np.array([100.0, np.nan]), np.array([10.0, np.nan]))

    with pytest.raises(LabelError, match="Areas are known of 1 moments; growth is told from two"):
        growth_curve(np.array([2000.0, 2001.0]), areas, np.random.default_rng(0))
