"""A simulated year: what was measured, and what a clear sky would have shown."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from geoseg.data.seasons import LAND_COVERS, make_ground, simulated_year, write_year
from geoseg.data.seasons.spectra import COVERS, measured_by
from geoseg.errors import SensorError
from geoseg.pivot.measurement.looks import looks_of
from geoseg.pivot.measurement.speckle import bias_db, sd_db
from geoseg.sensors import find_sensor

SIDE = 24


@pytest.fixture(scope="module")
def year():
    return simulated_year(5, side=SIDE)


def pairs(year, sensor_id):
    """Measured and clear values of all bands of a sensor."""
    for one in year.acquisitions:
        if one.sensor_id == sensor_id:
            yield from zip(one.readings, year.clear[one.id], strict=True)


def brightness(year, days, sensor_id="sentinel-2"):
    """Mean of the visible under a clear sky."""
    return float(
        np.mean(
            [
                float(year.clear[one.id][0].values.mean())
                for one in year.acquisitions
                if one.sensor_id == sensor_id and int(one.id[-3:]) in days
            ]
        )
    )


def one_clear(year, acquisition):
    return replace(acquisition, readings=year.clear[acquisition.id], registration_m=0.0)


@pytest.mark.slow
def test_the_same_seed_gives_the_same_year(year):
    again = simulated_year(5, side=SIDE)

    assert [one.id for one in again.acquisitions] == [one.id for one in year.acquisitions]
    np.testing.assert_array_equal(again.land_cover, year.land_cover)
    for one, other in zip(again.acquisitions, year.acquisitions, strict=True):
        for reading, same in zip(one.readings, other.readings, strict=True):
            torch.testing.assert_close(reading.values, same.values, rtol=0, atol=0, equal_nan=True)


@pytest.mark.slow
def test_another_seed_gives_another_year(year):
    other = simulated_year(6, side=SIDE)

    assert not np.array_equal(other.land_cover, year.land_cover)
    assert [one.id for one in other.acquisitions] != [one.id for one in year.acquisitions]


@pytest.mark.slow
def test_a_year_on_disk_holds_no_scene_of_the_year_before(tmp_path):
    write_year(tmp_path, seed=1, side=16)
    before = {path.stem for path in (tmp_path / "scenes").glob("*.json")}
    mine = tmp_path / "scenes" / "mine.json"
    mine.write_text("{}")

    write_year(tmp_path, seed=2, side=16)

    ids = {one.id for one in simulated_year(2, side=16).acquisitions}
    assert before - ids
    assert {path.stem for path in (tmp_path / "scenes").glob("*.json")} == ids | {"mine"}
    assert {path.name for path in (tmp_path / "scenes").iterdir() if path.is_dir()} == ids


def test_grids_and_shapes_are_those_of_the_sensors(year):
    assert tuple(year.grid.shape) == year.land_cover.shape == (SIDE, SIDE)
    assert year.grid.affine.a == 10
    assert set(np.unique(year.land_cover)) <= set(range(len(LAND_COVERS)))
    assert {one.sensor_id for one in year.acquisitions} == {
        "sentinel-1",
        "sentinel-2",
        "landsat-8",
        "landsat-9",
    }
    for one in year.acquisitions:
        assert len(one.readings) == len(year.clear[one.id])
        for reading, clear in zip(one.readings, year.clear[one.id], strict=True):
            assert reading.pixels == clear.pixels
            assert reading.bands == clear.bands
            for name in reading.bands:
                assert reading.pixels.affine.a == find_sensor(one.sensor_id).band(name).gsd_m
            assert reading.pixels.extent.contains(year.grid.extent)


def test_overpasses_are_in_order_within_a_year(year):
    times = [one.time for one in year.acquisitions]

    assert times == sorted(times)
    assert {time.year for time in times} == {2023}
    assert len({one.id for one in year.acquisitions}) == len(times)


def test_nothing_is_missing_under_a_clear_sky_and_some_is_under_clouds(year):
    for readings in year.clear.values():
        assert all(torch.isfinite(reading.values).all() for reading in readings)
    hidden = torch.cat(
        [torch.isnan(measured.values).flatten() for measured, _ in pairs(year, "sentinel-2")]
    )
    radar = [torch.isnan(measured.values).any() for measured, _ in pairs(year, "sentinel-1")]
    assert 0.05 < float(hidden.float().mean()) < 0.7
    assert not any(radar)


@pytest.mark.parametrize("sensor_id", ["sentinel-2", "landsat-8", "landsat-9"])
def test_where_no_cloud_is_masked_it_is_the_clear_sky_but_for_noise(year, sensor_id):
    errors = []
    for measured, clear in pairs(year, sensor_id):
        seen = torch.isfinite(measured.values)
        errors.append((measured.values - clear.values)[seen])
    off = torch.cat(errors)

    # Clouds that escape a mask are few: the middle is noise and haze, and shifts at edges.
    low, middle, high = (float(off.quantile(q)) for q in (0.16, 0.5, 0.84))
    assert abs(middle) < 0.005
    assert 0.004 < (high - low) / 2 < 0.02


def test_speckle_has_the_bias_and_spread_of_its_looks(year):
    off = torch.cat(
        [
            (measured.values - clear.values).flatten()
            for measured, clear in pairs(year, "sentinel-1")
        ]
    )

    assert float(off.mean()) == pytest.approx(bias_db(4.4), abs=0.05)
    assert float(off.std()) == pytest.approx(sd_db(4.4), rel=0.03)


def test_sentinel_2_and_landsat_see_the_same_ground(year):
    """Through the pivot, on days of each that are close in time."""
    clear = [
        (one, looks_of(one_clear(year, one), "nir", year.grid))
        for one in year.acquisitions
        if one.sensor_id in {"sentinel-2", "landsat-8", "landsat-9"}
    ]
    compared = 0
    for one, look in clear:
        for other, seen in clear:
            near = 0 <= other.day - one.day <= 2
            if near and (one.sensor_id == "sentinel-2") != (other.sensor_id == "sentinel-2"):
                compared += 1
                off = look.on_ground() - seen.on_ground()
                assert abs(float(off.nanmean())) < 0.02
                both = torch.isfinite(off)
                alike = np.corrcoef(look.on_ground()[both], seen.on_ground()[both])[0, 1]
                assert alike > 0.7
    assert compared > 2


def test_leaves_are_green_in_summer(year):
    infrared = {
        int(one.id[-3:]): float(year.clear[one.id][0].values[3].mean())
        for one in year.acquisitions
        if one.sensor_id.startswith("landsat")
    }
    summer = [value for day, value in infrared.items() if 140 < day < 170]
    winter = [value for day, value in infrared.items() if day < 60 or day > 320]

    assert min(summer) > max(winter)


def test_snow_is_bright_in_winter_and_gone_in_summer(year):
    winter, summer = set(range(30)), set(range(170, 240))
    snowy = simulated_year(5, side=SIDE, snow=True)

    assert brightness(snowy, winter) > 3 * brightness(snowy, summer)
    assert brightness(snowy, winter) > 3 * brightness(year, winter)
    assert brightness(snowy, summer) == pytest.approx(brightness(year, summer), abs=0.05)


@pytest.mark.parametrize("day", [0.0, 100.0, 172.0, 364.0])
@pytest.mark.parametrize("snow", [False, True])
def test_covers_are_shares_of_all_ground(day, snow):
    ground = make_ground(np.random.default_rng(2), side=60, snow=snow)

    shares = ground.covers(day)

    assert shares.shape == (len(COVERS), 60, 60)
    assert shares.sum(0) == pytest.approx(1, abs=1e-5)
    assert shares.min() >= -1e-6


def test_a_slump_lays_soil_bare_from_its_day_on():
    ground = make_ground(np.random.default_rng(2), side=60, snow=False)
    soil = COVERS.index("soil")

    before, after = (ground.covers(ground.slump_day + days)[soil] for days in (-1, 1))

    assert ground.slump.any()
    assert (after[ground.slump] == 1).all()
    assert before[ground.slump].mean() < 0.9
    assert np.abs(after - before)[~ground.slump].max() < 0.2


def test_bands_tell_covers_apart_as_in_nature():
    band = find_sensor("sentinel-2").band
    seen = {
        name: dict(zip(COVERS, measured_by(band(name)), strict=True))
        for name in ("red", "nir08", "swir16")
    }

    assert seen["nir08"]["leaves"] > 5 * seen["red"]["leaves"]
    assert seen["red"]["snow"] > 0.85
    assert seen["swir16"]["snow"] < 0.2
    assert seen["nir08"]["water"] < 0.03
    with pytest.raises(SensorError, match="measures no reflectance; leave it out"):
        measured_by(find_sensor("landsat-8").band("lwir11"))
