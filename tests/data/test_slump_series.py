from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.stats import binom

from geoseg.chips import stack_places
from geoseg.data.slumps import simulated_places
from geoseg.data.slumps.look import INSTRUMENTS
from geoseg.data.slumps.tundra import make_tundra
from geoseg.dates import decimal_year
from geoseg.labels import IGNORE
from geoseg.sensors import find_sensor


@pytest.fixture(scope="module")
def sample():
    """Places of which half hold a slump, and each of them made."""
    places = simulated_places(120, seed=4, prevalence=0.5)
    return places, [places[i] for i in range(len(places))]


def everything(place):
    """All that a place consists of, to compare."""
    return (
        *(place.id, place.lon, place.lat, place.present),
        *((c.time, c.sensor_id, c.gsd_m, c.bands) for c in place.images),
        *(t.numpy().tobytes() for c in place.images for t in (c.image, c.valid, c.label)),
    )


def of_sensor(made, sensor_id):
    return [chip for place in made for chip in place.images if chip.sensor_id == sensor_id]


def test_a_place_depends_on_its_seed_and_its_number_alone():
    few, many = simulated_places(8, seed=1), simulated_places(30, seed=1)
    backwards = many[::-1]

    last = everything(few[7])

    assert everything(many[7]) == last
    assert everything(backwards[22]) == last
    assert everything(many[-23]) == last
    assert everything(simulated_places(8, seed=2)[7]) != last


def test_no_two_streams_of_random_numbers_are_one(monkeypatch):
    begun, real = [], np.random.default_rng

    def kept(seed):
        begun.append(seed)
        return real(seed)

    monkeypatch.setattr(np.random, "default_rng", kept)
    places = simulated_places(40, seed=77)  # a seed that no other test has, nor its palettes

    assert len([*places]) == 40
    streams = {tuple(real(seed).integers(0, 2**32, 4)) for seed in begun}
    assert len(begun) >= 40 + 4 + 32  # of places, columns and palettes
    assert len(streams) == len(begun)


def test_a_place_past_the_end_is_refused():
    with pytest.raises(IndexError):
        simulated_places(3, seed=0)[3]


def test_places_are_seen_two_to_seven_times_oldest_first_while_their_sensor_flew(sample):
    for place in sample[1]:
        assert 2 <= len(place.images) <= 7
        assert all(one.time < later.time for one, later in pairwise(place.images))
        assert place.images[-1].time.year >= 2019
        for chip in place.images:
            sensor = find_sensor(chip.sensor_id)
            assert sensor.first_year <= chip.time.year <= (sensor.last_year or 2024)
    assert all(of_sensor(sample[1], sensor_id) for sensor_id in INSTRUMENTS)


def test_the_truth_of_places_is_known_without_making_them(sample):
    places, made = sample

    for i, place in enumerate(made):
        assert place.present == places.present[i] == (places.onset(i) is not None)
        assert (place.lon, place.lat) == (places.lon[i], places.lat[i])


def test_no_mask_shows_a_slump_before_its_onset_and_the_latest_shows_one(sample):
    places, made = sample

    for i, place in enumerate(made):
        begun = places.onset(i) or np.inf
        for chip in place.images:
            if decimal_year(chip.time) < begun:
                assert not (chip.label == 1).any()
        last = place.images[-1]
        if last.valid.all():
            assert (last.label == 1).any() == place.present


def test_ground_that_a_slump_took_stays_in_it(sample):
    grown = 0
    for place in sample[1]:
        for gsd_m in (10.0, 30.0):
            seen = [chip for chip in place.images if chip.gsd_m == gsd_m]
            for one, later in pairwise(seen):
                both = one.valid & later.valid
                taken = (one.label == 1) & both
                assert (later.label[taken] == 1).all()
                grown += int(((later.label == 1) & both).sum() > taken.sum() > 0)

    assert grown > 5


def test_a_slump_is_as_large_on_landsat_as_on_sentinel_2():
    ratios = []
    places = simulated_places(150, seed=9, prevalence=1.0)
    for place in places:
        clear = {c.gsd_m: c for c in place.images[-3:] if c.valid.all()}
        if len(clear) == 2 and abs((clear[10.0].time - clear[30.0].time).days) < 1000:
            ratios.append(
                float((clear[30.0].label == 1).sum() * 9 / (clear[10.0].label == 1).sum())
            )

    assert len(ratios) > 5
    assert np.median(ratios) == pytest.approx(1, abs=0.25)


@pytest.mark.parametrize("prevalence", [0.0, 0.02, 0.15, 1.0])
def test_as_many_places_hold_a_slump_as_the_prevalence_says(prevalence):
    places = simulated_places(20_000, seed=6, prevalence=prevalence)

    low, high = binom.interval(0.9999, 20_000, prevalence)
    assert low <= places.present.sum() <= high


def test_no_region_holds_more_slumps_than_another_and_each_lies_in_the_arctic():
    places = simulated_places(8000, seed=6, prevalence=0.2)
    names = np.array([places.region(i) for i in range(len(places))])

    assert len(set(names)) == 8
    for name in set(names):
        here = names == name
        low, high = binom.interval(0.9999, here.sum(), 0.2)
        assert low <= places.present[here].sum() <= high
        assert places.lon[here].std() < 2
    assert places.lat.min() > 64
    assert np.abs(places.lon).max() < 180


def test_pixels_that_are_not_valid_are_zero_and_ignored_and_all_others_are_measured(sample):
    hidden = 0
    for place in sample[1]:
        for chip in place.images:
            assert chip.image.dtype == torch.float32
            assert chip.label.dtype == torch.uint8
            assert chip.image.shape == (len(chip.bands), 48, 48)
            assert (chip.label[~chip.valid] == IGNORE).all()
            assert (chip.image[:, ~chip.valid] == 0).all()
            assert chip.label[chip.valid].max() <= 1
            assert chip.image.isfinite().all()
            assert chip.valid.float().mean() > 0.2
            hidden += int((~chip.valid).sum())

    assert hidden > 0


def test_radar_sees_through_clouds_and_some_clouds_of_other_sensors_are_missed(sample):
    clouds = {"found": 0, "missed": 0}
    for chip in of_sensor(sample[1], "sentinel-2"):
        bright = bool((chip.image[0][chip.valid] > 0.5).any())
        clouds["missed"] += int(bright)
        clouds["found"] += int(not chip.valid.all())

    assert all(chip.valid.all() for chip in of_sensor(sample[1], "sentinel-1"))
    assert clouds["missed"] > 0
    assert clouds["found"] > clouds["missed"]


def test_a_sensor_has_one_palette_in_the_unit_of_its_images(sample):
    for sensor_id in INSTRUMENTS:
        chips = of_sensor(sample[1], sensor_id)
        assert all(torch.equal(chip.palette, chips[0].palette) for chip in chips)
        assert chips[0].palette.shape == (len(chips[0].bands), 256)
        pixels = torch.cat([chip.image[:, chip.valid] for chip in chips], dim=1)
        away = (pixels.median(1).values - chips[0].palette.median(1).values).abs()
        assert (away < 0.5 * chips[0].palette.std(1)).all()


def test_places_of_all_sensors_make_one_batch(sample):
    batch = stack_places(sample[1][:40])

    # Both Landsats have other wavelengths, so each of five instruments is a set of bands.
    assert len(batch.batches) == 5
    assert batch.size == 40


def test_a_headwall_stands_around_the_upper_end_and_the_wet_floor_opens_below():
    slump = make_tundra(np.random.default_rng(3), onset=1990.0, green=0.5).slump
    whole = (slice(None), slice(None))
    radius_m = slump.scar.radius_m(2020.0)

    wall, floor = slump.headwall(radius_m, whole), slump.floor(radius_m, whole)

    assert (
        np.average(slump.down_m, weights=wall) < -10 < 10 < np.average(slump.down_m, weights=floor)
    )
    # What stands upslope of the middle faces down.
    upslope = (wall > 0.5) & (slump.down_m < 0)
    east, north = np.gradient(slump.down_m, axis=1) / 10, -np.gradient(slump.down_m, axis=0) / 10
    down = slump.inward[0] * east + slump.inward[1] * north
    assert (down[upslope] > 0).all()
    assert slump.scar.radius_m(1989.9) is None


def test_film_and_landsat_5_are_stored_in_8_bits(sample):
    for sensor_id in ("hexagon-kh9-mapping", "landsat-5"):
        for chip in of_sensor(sample[1], sensor_id):
            counts = chip.image[:, chip.valid]
            assert torch.equal(counts, counts.round())
            assert 1 <= counts.min() <= counts.max() <= 255
