"""What an overpass measured is refused where it cannot be what it says."""

from datetime import UTC, datetime, timedelta, timezone

import numpy as np
import pytest
import torch
from affine import Affine
from odc.geo.geobox import GeoBox

from geoseg.errors import SceneError
from geoseg.pivot.measurement.acquisition import Acquisition, Reading, days_of, in_order

PIXELS = GeoBox((6, 9), Affine(10, 0, 500_000, 0, -10, 7_000_000), "EPSG:32633")
NOON = datetime(1970, 1, 11, 12, tzinfo=UTC)


def reading(values, bands=("red",)):
    return Reading(pixels=PIXELS, bands=bands, values=torch.as_tensor(values, dtype=torch.float32))


def acquisition(values=0.2, *, sensor_id="sentinel-2", bands=("red",), name="one", time=NOON):
    shown = np.broadcast_to(np.asarray(values, dtype=np.float32), (len(bands), 6, 9)).copy()
    return Acquisition(id=name, sensor_id=sensor_id, time=time, readings=(reading(shown, bands),))


def radar(values):
    return acquisition(values, sensor_id="sentinel-1", bands=("vv",))


def drawn(low, high, seed=0):
    return np.random.default_rng(seed).uniform(low, high, (1, 6, 9))


def test_the_day_counts_from_1970_in_whatever_zone():
    there = timezone(timedelta(hours=9))

    assert acquisition().day == 10.5
    assert acquisition(time=datetime(1970, 1, 11, 21, tzinfo=there)).day == 10.5
    assert acquisition().sensor.id == "sentinel-2"


@pytest.mark.parametrize("shape", [(1, 9, 6), (2, 6, 9), (6, 9)])
def test_values_of_another_shape_are_refused(shape):
    with pytest.raises(SceneError, match=r"for bands red on 6 x 9 pixels; give \(bands, rows"):
        reading(np.zeros(shape))


def test_an_acquisition_needs_a_band_and_a_time_zone():
    with pytest.raises(SceneError, match="'one' has no band; give at least one"):
        Acquisition(id="one", sensor_id="sentinel-2", time=NOON, readings=())
    with pytest.raises(SceneError, match="without a time zone; give it in UTC"):
        acquisition(time=datetime(2020, 1, 1))  # noqa: DTZ001  it is what is refused


@pytest.mark.parametrize("values", [drawn(0, 10_000), drawn(20, 90), drawn(-20, -5)])
def test_stored_numbers_percents_and_decibels_are_no_reflectance(values):
    with pytest.raises(SceneError, match="a gain is absurd or missing: give reflectances"):
        acquisition(values)


@pytest.mark.parametrize("values", [-0.02, 1.3, drawn(-0.05, 0.4), np.nan])
def test_dark_water_bright_snow_and_clouds_are_taken(values):
    acquisition(values)


def test_a_few_pixels_that_are_absurd_do_not_refuse_the_rest():
    values = drawn(0, 0.5)
    values[0, 0, :3] = 65535

    acquisition(values)


@pytest.mark.parametrize("least", [0.001, 0.0])
def test_linear_backscatter_is_refused(least):
    values = drawn(0.01, 0.4)
    values[0, 2, 3] = least

    with pytest.raises(SceneError, match="it looks linear; give decibels"):
        radar(values)


def test_backscatter_that_is_no_decibels_is_refused():
    with pytest.raises(SceneError, match="give decibels"):
        radar(drawn(-3000, -500))


@pytest.mark.parametrize("values", [drawn(-25, -8), drawn(-8, 12), np.nan])
def test_decibels_are_taken(values):
    radar(values)


def test_a_band_that_is_absurd_is_not_hidden_by_the_others():
    decibels, linear = drawn(-20, -5)[0], drawn(0.01, 0.4)[0]
    with pytest.raises(SceneError, match=r"'one' in vh is positive everywhere"):
        acquisition([decibels, linear], sensor_id="sentinel-1", bands=("vv", "vh"))

    reflectance, counts = drawn(0, 0.5)[0], drawn(0, 10_000)[0]
    with pytest.raises(SceneError, match=r"'one' in nir08 are below"):
        acquisition([reflectance, reflectance, counts], bands=("green", "red", "nir08"))


def test_heat_beside_reflectance_is_taken_for_what_it_is():
    acquisition(drawn(270, 300), sensor_id="landsat-8", bands=("lwir11",))


def test_film_has_grey_values():
    acquisition(drawn(0, 255), sensor_id="hexagon-kh9-mapping", bands=("pan",))


def test_they_are_put_in_order_by_time_then_name():
    late, b, a = (
        acquisition(name=name, time=NOON + timedelta(days=days))
        for name, days in [("z", 1), ("b", 0), ("a", 0)]
    )

    for given in ([late, b, a], [a, b, late], [b, late, a]):
        assert [one.id for one in in_order(given)] == ["a", "b", "z"]


def test_two_of_one_name_are_refused():
    with pytest.raises(SceneError, match="Two acquisitions are called 'one'"):
        in_order([acquisition(), acquisition(time=NOON + timedelta(days=3))])


def test_days_of_moments_are_those_of_acquisitions():
    assert days_of([NOON, NOON + timedelta(hours=6)]) == [10.5, 10.75]
    with pytest.raises(SceneError, match="give all of them in UTC"):
        days_of([NOON, datetime(2020, 1, 1)])  # noqa: DTZ001  it is what is refused
