"""Clouds over glaciers are told from snow, and shadows lie where the sun throws them."""

import numpy as np
import pytest

from geoseg.errors import ConfigError, SceneError
from geoseg.scenes import SunPosition
from geoseg.scenes.prepare.clouds import (
    behind_clouds,
    cloud_mask_named,
    cloud_reach_px,
    dark_ground,
    looks_cloudy,
    looks_snowy,
)

# Reflectance in blue, green, red, near infrared and at 1.6 um: typical of such ground.
GROUND = {
    "fresh snow": (0.95, 0.94, 0.93, 0.88, 0.12),
    "old snow": (0.65, 0.65, 0.62, 0.50, 0.05),
    "bare ice": (0.45, 0.45, 0.40, 0.28, 0.02),
    "shaded snow": (0.25, 0.20, 0.16, 0.12, 0.01),
    "cloud": (0.62, 0.60, 0.60, 0.62, 0.45),
    "thin cloud": (0.38, 0.36, 0.35, 0.38, 0.25),
    "rock": (0.12, 0.15, 0.19, 0.24, 0.32),
    "pale sand": (0.20, 0.28, 0.36, 0.42, 0.52),
    "meadow": (0.04, 0.08, 0.05, 0.40, 0.20),
    "lake": (0.08, 0.10, 0.06, 0.02, 0.01),
    "milky lake": (0.20, 0.24, 0.20, 0.08, 0.01),
    "debris on ice": (0.10, 0.12, 0.14, 0.16, 0.15),
}
NAMES = ("blue", "green", "red", "nir08", "swir16")


def seen(*names):
    spectra = np.array([GROUND[name] for name in names], dtype=np.float32)
    return {band: spectra[None, :, i] for i, band in enumerate(NAMES)}


def kinds(found):
    return {name for name, is_so in zip(GROUND, found[0], strict=True) if is_so}


def test_only_clouds_look_cloudy_and_only_snow_and_ice_look_snowy():
    bands = seen(*GROUND)

    assert kinds(looks_cloudy(bands)) == {"cloud", "thin cloud"}
    assert kinds(looks_snowy(bands)) == {"fresh snow", "old snow", "bare ice", "shaded snow"}


def test_what_was_not_measured_is_neither_and_darkness_below_zero_is_no_snow():
    bands = {name: np.array([[np.nan, -0.01, 0.0]], dtype=np.float32) for name in NAMES}

    assert not looks_cloudy(bands).any()
    assert not looks_snowy(bands).any()


def test_a_missing_band_is_named():
    bands = seen("fresh snow")
    del bands["swir16"]
    with pytest.raises(SceneError, match=r"there is no swir16\.$"):
        looks_cloudy(bands)
    del bands["nir08"]
    bands["swir16"] = bands["red"]
    with pytest.raises(SceneError, match="give a band nir08 or nir"):
        looks_snowy(bands)


def scenery(shape=(90, 120)):
    """Meadow with a cloud, and two patches of dark ground."""
    ground = seen("meadow")
    return {name: np.full(shape, values[0, 0]) for name, values in ground.items()}


def shadow(cloud, bands, sun):
    return behind_clouds(cloud, sun=sun, gsd_m=30.0) & dark_ground(bands) & ~cloud


def dark(bands, rows, columns):
    for name in NAMES:
        bands[name][rows, columns] = 0.04


def test_a_shadow_lies_away_from_the_sun_and_dark_ground_elsewhere_is_none():
    bands = scenery()
    cloud = np.zeros((90, 120), dtype=bool)
    cloud[60:66, 40:50] = True
    # Sun in the south-east at 45 degrees: 1000 m up throws 707 m north and 707 m west, 24 px.
    dark(bands, slice(36, 42), slice(16, 26))
    dark(bands, slice(84, 88), slice(64, 70))  # towards the sun
    dark(bands, slice(10, 16), slice(90, 100))

    found = shadow(cloud, bands, SunPosition(azimuth=135, elevation=45))

    expected = np.zeros_like(cloud)
    expected[36:42, 16:26] = True
    assert (found == expected).mean() > 0.998
    assert found[37:41, 17:25].all()
    assert not found[70:].any()
    assert not found[:, 60:].any()


def test_open_water_behind_a_cloud_is_no_shadow_and_a_low_sun_reaches_no_further_than_15_degrees():
    bands = scenery()
    cloud = np.zeros((90, 120), dtype=bool)
    cloud[60:66, 40:50] = True
    lake = seen("lake")
    for name in NAMES:
        bands[name][36:42, 40:50] = lake[name][0, 0]

    found = shadow(cloud, bands, SunPosition(azimuth=180, elevation=45))

    assert not found.any()
    assert cloud_reach_px(SunPosition(azimuth=0, elevation=45), gsd_m=30.0) in (200, 201)
    low = cloud_reach_px(SunPosition(azimuth=0, elevation=3), gsd_m=30.0)
    assert low == cloud_reach_px(SunPosition(azimuth=0, elevation=15), gsd_m=30.0)


def test_an_unknown_mask_names_those_that_are_there():
    with pytest.raises(ConfigError, match=r"no cloud mask 'threshold'\. Did you mean 'thresholds'"):
        cloud_mask_named("threshold")
