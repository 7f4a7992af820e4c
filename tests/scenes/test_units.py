import numpy as np
import pytest

from geoseg.scenes import Unit, describe_units, unit_of
from geoseg.sensors import find_sensor

RNG = np.random.default_rng(0)


def snow_and_rock(low, high, count=1024):
    return np.where(RNG.random(count) < 0.3, high, low) * RNG.uniform(0.8, 1.1, count)


@pytest.mark.parametrize(
    ("sample", "unit"),
    [
        (snow_and_rock(0.08, 0.9), Unit.REFLECTANCE),
        (snow_and_rock(-0.01, 1.3), Unit.REFLECTANCE),  # deep shadow and a sunlit slope of snow
        (snow_and_rock(800, 9000), Unit.SCALED),
        (snow_and_rock(40, 230).astype(np.uint8), Unit.DIGITAL_8),
        (np.full(1024, 255), Unit.DIGITAL_8),
        (snow_and_rock(9000, 55_000).astype(np.uint16), Unit.DIGITAL_16),
        (RNG.normal(-14, 5, 1024), Unit.DECIBEL),
    ],
)
def test_values_look_like_their_unit(sample, unit):
    assert unit_of(sample) is unit


def test_what_is_missing_says_nothing():
    sample = np.array([np.nan, np.nan, 0.4, 0.5, 0.1])

    assert unit_of(sample) is Unit.REFLECTANCE
    assert unit_of(sample[:2]) is None


def test_elevation_is_in_metres_where_the_band_is_known():
    assert unit_of(np.arange(4000.0), find_sensor("dem").band("elevation")) is Unit.METRES


def test_scenes_of_one_unit_need_no_word():
    one, other = snow_and_rock(0.1, 0.8), snow_and_rock(0.05, 0.9)

    assert describe_units({"a": np.stack([one, one]), "b": other[None]}) is None
    assert describe_units({}) is None
    assert describe_units({"a": one[None], "b": np.full((2, 8), np.nan)}) is None


def test_scenes_of_several_units_are_named_in_one_sentence():
    reflectance = snow_and_rock(0.1, 0.8)[None]

    sentence = describe_units(
        {"a": reflectance, "film": snow_and_rock(40, 230)[None], "b": reflectance}
    )

    assert sentence == (
        "The values of scenes a and 1 more look like reflectance 0-1, scene film look like digital "
        "numbers 0-255; each scene is standardised by its own tones."
    )


def test_terrain_behind_the_bands_does_not_speak_for_its_scene():
    measured, elevation = snow_and_rock(0.1, 0.8), np.linspace(2000, 6000, 1024)

    assert describe_units({"a": np.stack([measured, elevation]), "b": measured[None]}) is None
