import geopandas as gpd
import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtr
from shapely import box

from geoseg.inventory.attributes.divides import split_by_divides
from geoseg.inventory.attributes.uncertainty import (
    area_errors,
    border_width_px,
    combined_uncertainty_km2,
    model_uncertainty_km2,
    pixel_uncertainty_km2,
    registration_uncertainty_km2,
)

CRS = "EPSG:32645"
NORMAL_90 = 1.645


def test_the_border_is_half_a_pixel_wide_and_one_on_film_and_under_debris():
    assert border_width_px([0, 0.5, 1, np.nan], film=False).tolist() == [0.5, 0.75, 1, 0.5]
    assert border_width_px([0, 1], film=True).tolist() == [1, 1]


def test_half_a_pixel_is_the_extreme_of_a_border_that_is_off_as_a_whole():
    # A square of a kilometre at 30 m: 4 km by 15 m, and the corners of the buffer.
    unc = pixel_uncertainty_km2(4000, gsd_m=30, width_px=0.5)

    assert unc * np.sqrt(3) == pytest.approx(0.06 + np.pi * 15**2 / 1e6)


def test_intervals_of_borders_off_by_half_a_pixel_hold_the_true_area():
    rng = np.random.default_rng(0)
    radius = rng.uniform(60, 2000, 5000)
    drawn = radius + rng.uniform(-15, 15, 5000)

    unc = pixel_uncertainty_km2(2 * np.pi * drawn, gsd_m=30, width_px=0.5)

    inside = np.abs(np.pi * (drawn**2 - radius**2)) / 1e6 <= NORMAL_90 * unc
    assert 0.92 < inside.mean() < 0.97


@pytest.mark.slow
@settings(deadline=None)
@given(shift=st.tuples(st.floats(-40, 40), st.floats(-40, 40)), tilt=st.floats(-0.5, 0.5))
def test_what_a_shift_moves_across_a_divide_is_within_the_uncertainty(shift, tilt):
    glacier = shapely.Point(0, 0).buffer(3000)
    divide = shapely.LineString([(-5000, -5000 * tilt), (0, 300), (5000, 5000 * tilt)])
    sides = shapely.get_parts(shapely.ops.split(box(-4500, -4500, 4500, 4500), divide))
    divides = gpd.GeoDataFrame({"rgi_id": ["a", "b"]}, geometry=sides, crs=CRS)

    def pieces(x, y):
        moved = gpd.GeoDataFrame(geometry=[shapely.affinity.translate(glacier, x, y)], crs=CRS)
        return split_by_divides(moved, divides, surface=None).set_index("ref_id")

    still, moved = pieces(0, 0), pieces(*shift)
    unc = registration_uncertainty_km2(still, shift_unc_m=1.0)

    gained = (moved.area - still.area) / 1e6
    # One metre in the direction that matters most moves `unc`; what one gains the other loses.
    assert np.abs(gained).max() <= unc.max() * np.hypot(*shift) * 1.02 + 1e-3
    assert gained.sum() == pytest.approx(0, abs=1e-9)
    assert unc[0] == pytest.approx(unc[1])
    # The ends of the divide on the margin of the ice.
    ends = shapely.get_coordinates(divide.intersection(glacier))[[0, -1]]
    assert unc[0] == pytest.approx(np.hypot(*np.diff(ends, axis=0)[0]) / 1e6, rel=1e-6)


def test_a_shift_leaves_the_area_of_what_has_no_divide():
    alone = gpd.GeoDataFrame(geometry=[box(0, 0, 10, 10), box(10, 10, 20, 20)], crs=CRS)

    assert registration_uncertainty_km2(alone, shift_unc_m=20).tolist() == [0, 0]
    assert registration_uncertainty_km2(alone[:0], shift_unc_m=20).shape == (0,)


def mean_probability(spread_m, width_m=5000.0):
    """Of a strip with a border that is off by a normal deviate, seen along one bank."""
    inside = np.arange(0.5, width_m / 2)
    return ndtr(inside / spread_m).mean()


def test_the_spread_of_the_border_is_found_in_the_probabilities():
    # Two banks of 700 m, shorter than what errs alike: the area errs by the spread times both.
    area_km2 = 5000 * 700 / 1e6
    p = mean_probability(20)

    unc = model_uncertainty_km2(area_km2, p, 700, pixel_unc_km2=0, gsd_m=30)

    assert unc == pytest.approx(2 * 700 * 20 / 1e6, rel=1e-2)


def test_errors_of_what_is_long_even_out():
    p = mean_probability(20)

    short = model_uncertainty_km2(5000 * 960 / 1e6, p, 960, pixel_unc_km2=0, gsd_m=30)
    long = model_uncertainty_km2(5000 * 9600 / 1e6, p, 9600, pixel_unc_km2=0, gsd_m=30)

    assert long == pytest.approx(short * np.sqrt(10))


def test_what_half_a_pixel_explains_is_not_counted_twice():
    area, p = 2.0, 0.97
    alone = model_uncertainty_km2(area, p, 500, pixel_unc_km2=0, gsd_m=30)

    some = model_uncertainty_km2(area, p, 500, pixel_unc_km2=0.6 * alone, gsd_m=30)

    assert combined_uncertainty_km2(0.6 * alone, 0, some) == pytest.approx(alone)
    assert model_uncertainty_km2(area, p, 500, pixel_unc_km2=2 * alone, gsd_m=30) == 0


def test_causes_add_as_squares_and_what_is_not_known_is_none():
    combined = combined_uncertainty_km2(
        [3, 3, 3, np.nan], [4, np.nan, 0, 1], [12, np.nan, np.nan, 1]
    )

    np.testing.assert_allclose(combined, [13, 3, 3, np.nan])
    assert np.isnan(model_uncertainty_km2(1, np.nan, 9, pixel_unc_km2=0, gsd_m=30))


def test_what_a_network_got_wrong_is_a_share_of_the_truth_by_kind():
    names = ("ground", "clean_ice", "debris_ice", "supraglacial_lake", "proglacial_lake", "slump")
    confusion = np.diag([90_000, 6000, 2000, 500, 3000, 200])
    confusion[1, 0] = 1500  # of ice taken for ground
    confusion[2, 1] = 700  # debris taken for clean ice is glacier all the same
    confusion[0, 4] = 600  # ground taken for a lake

    errors = area_errors(confusion, names)

    assert errors["glacier"] == pytest.approx(1500 / (6000 + 2000 + 500 + 1500 + 700))
    assert errors["lake"] == pytest.approx(600 / 3000)
    assert "slump" not in errors  # 200 pixels say nothing
