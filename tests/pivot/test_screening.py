"""Clouds that a mask has missed are left out; ground that changed is not."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
import torch
from affine import Affine
from odc.geo.geobox import GeoBox

from geoseg.pivot.measurement.acquisition import Acquisition, Reading
from geoseg.pivot.measurement.looks import looks_by_variable
from geoseg.pivot.physical.climatology import Series, series_of
from geoseg.pivot.physical.screening import screened, strange_cells

SHAPE = (16, 20)
GROUND = GeoBox(SHAPE, Affine(10, 0, 5e5, 0, -10, 7e6), "EPSG:32633")
MIDDLE = (slice(4, 12), slice(5, 15))
CLEAR = {"red": 0.08, "nir08": 0.30}


def series_with(values, *, every=8.0):
    """Days (T,) of even ground."""
    values = np.asarray(values, dtype=np.float32)
    return Series(
        np.arange(len(values)) * every, np.broadcast_to(values[:, None, None], (len(values), 2, 3))
    )


def strange_days(values, **extra):
    found = strange_cells(series_with(values, **extra))
    assert (found == found[:, :1, :1]).all()
    return found[:, 0, 0].nonzero()[0].tolist()


def overpass(day, *, brighter=0.0, bands=("red", "nir08"), pixel_m=10):
    """The middle of the ground brighter by so much."""
    margin = 6 * pixel_m
    shape = tuple((10 * side + 2 * margin) // pixel_m for side in SHAPE)
    pixels = GeoBox(
        shape, Affine(pixel_m, 0, 5e5 - margin, 0, -pixel_m, 7e6 + margin), "EPSG:32633"
    )
    values = torch.tensor([CLEAR[band] for band in bands])[:, None, None].repeat(1, *shape)
    inner = [slice(6 + s.start * 10 // pixel_m, 6 + s.stop * 10 // pixel_m) for s in MIDDLE]
    values[:, inner[0], inner[1]] += brighter
    return Acquisition(
        id=f"day-{day}",
        sensor_id="landsat-8",
        time=datetime(2023, 6, 1, tzinfo=UTC) + timedelta(days=day),
        readings=(Reading(pixels=pixels, bands=bands, values=values),),
    )


def kept_of(acquisitions, variables=("red", "nir")):
    looks = looks_by_variable(acquisitions, variables, GROUND)
    series = {name: series_of(one, SHAPE) for name, one in looks.items()}
    return looks, screened(looks, series)


def test_a_cloud_and_a_shadow_are_strange():
    assert strange_days([0.10, 0.11, 0.50, 0.10, 0.11]) == [2]
    assert strange_days([0.40, 0.41, 0.10, 0.40, 0.41]) == [2]


def test_ground_that_changed_and_stays_is_not():
    assert strange_days([0.35, 0.34, 0.35, 0.12, 0.12, 0.13]) == []


def test_ground_that_changes_day_by_day_is_not():
    assert strange_days(np.linspace(0.1, 0.6, 9)) == []


def test_ground_half_way_between_what_it_was_and_will_be_is_not():
    assert strange_days([0.1, 0.1, 0.35, 0.6, 0.6], every=5.0) == []


def test_noise_of_sensors_is_not():
    noisy = 0.2 + np.random.default_rng(0).normal(0, 0.01, 60)

    assert strange_days(noisy) == []


@pytest.mark.parametrize("values", [[0.6, 0.1, 0.1, 0.1], [0.1, 0.1, 0.1, 0.6]])
def test_the_first_and_the_last_day_have_one_side_and_are_kept(values):
    assert strange_days(values) == []


def test_after_a_long_gap_ground_may_have_come_far():
    assert strange_days([0.10, 0.25, 0.10], every=5.0) == [1]
    assert strange_days([0.10, 0.25, 0.10], every=60.0) == []


def test_days_that_show_nothing_are_passed_over():
    nothing = np.nan

    assert strange_days([0.1, nothing, 0.5, nothing, 0.1]) == [2]
    assert strange_days([nothing, nothing, 0.5, nothing]) == []


def test_cells_are_judged_each_for_itself():
    values = np.full((5, 2, 3), 0.1, dtype=np.float32)
    values[2, 1, 0] = 0.6

    found = strange_cells(Series(np.arange(5) * 5.0, values))

    assert np.argwhere(found).tolist() == [[2, 1, 0]]


@pytest.mark.parametrize("pixel_m", [10, 20])
def test_pixels_of_a_cloud_are_taken_out_of_all_variables_of_that_day(pixel_m):
    days = [overpass(day, brighter=0.4 * (day == 16), pixel_m=pixel_m) for day in range(0, 40, 8)]

    looks, kept = kept_of(days)

    for name in ("red", "nir"):
        for before, after in zip(looks[name], kept[name], strict=True):
            lost = before.footprint.adjoint((before.valid & ~after.valid).float()) > 0
            if before.acquisition == "day-16":
                assert lost[MIDDLE].all()
                # A pixel more on each side, and as far as a pixel looks.
                assert not lost[:1].any()
                assert not lost[:, -1:].any()
            else:
                assert not lost.any()


def test_a_slump_is_kept():
    days = [overpass(day, brighter=-0.06 * (day >= 16)) for day in range(0, 40, 8)]

    looks, kept = kept_of(days)

    for before, after in zip(looks["red"], kept["red"], strict=True):
        assert torch.equal(before.valid, after.valid)


def test_a_cloud_on_the_first_of_two_days_cannot_be_told_and_is_kept():
    looks, kept = kept_of([overpass(0, brighter=0.5), overpass(8)])

    assert [int(one.valid.sum()) for one in kept["red"]] == [
        int(one.valid.sum()) for one in looks["red"]
    ]


def test_a_cloud_over_all_takes_the_look_out():
    ends = [overpass(day) for day in (0, 8, 24, 32)]
    everywhere = overpass(16)
    cloudy = Reading(
        pixels=everywhere.readings[0].pixels,
        bands=("red", "nir08"),
        values=everywhere.readings[0].values + 0.5,
    )
    hidden = Acquisition(
        id="day-16", sensor_id="landsat-8", time=everywhere.time, readings=(cloudy,)
    )

    _, kept = kept_of([*ends[:2], hidden, *ends[2:]])

    assert [one.acquisition for one in kept["red"]] == ["day-0", "day-8", "day-24", "day-32"]


def test_variables_in_which_clouds_do_not_show_are_not_looked_at():
    """Soil is wet in the infrared after rain."""
    looks = looks_by_variable(
        [overpass(day, brighter=0.4 * (day == 16)) for day in range(0, 40, 8)], ["nir"], GROUND
    )
    as_swir = {"swir1": looks["nir"]}

    kept = screened(as_swir, {"swir1": series_of(looks["nir"], SHAPE)})

    assert [int(one.valid.sum()) for one in kept["swir1"]] == [
        int(one.valid.sum()) for one in looks["nir"]
    ]
