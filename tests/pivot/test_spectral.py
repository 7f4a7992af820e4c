"""What a band measures of the variables of the pivot."""

import numpy as np
import pytest

from geoseg.errors import SensorError
from geoseg.pivot.measurement.spectral import covariance_of_bands, find_adjustment, mixture_of
from geoseg.pivot.measurement.variables import find_variable, load_variables
from geoseg.sensors import find_sensor

OPTICAL = [v for v in load_variables().values() if v.kind == "reflectance"]
HLS = {
    "coastal": (0.9959, -0.0002),
    "blue": (0.9778, -0.004),
    "green": (1.0053, -0.0009),
    "red": (0.9765, 0.0009),
    "nir08": (0.9983, -0.0001),
    "swir16": (0.9987, -0.0011),
    "swir22": (1.003, -0.0012),
}


@pytest.mark.parametrize("band", HLS)
def test_coefficients_of_hls_are_those_published_and_go_back(band):
    found = find_adjustment("sentinel-2", band, "landsat-8")

    assert (found.slope, found.offset) == HLS[band]
    reflectance = np.linspace(0, 1, 7)
    assert found.inverse(found.forward(reflectance)) == pytest.approx(reflectance, abs=1e-15)
    assert found.source


def test_there_are_none_the_other_way_round_nor_of_other_instruments():
    assert find_adjustment("landsat-8", "blue", "sentinel-2") is None
    assert find_adjustment("spot-5", "green", "landsat-8") is None


@pytest.mark.parametrize("name", [v.name for v in OPTICAL])
def test_the_band_of_a_variable_is_that_variable(name):
    variable = find_variable(name)

    found = mixture_of(variable.band, OPTICAL)

    own = [v.name == name for v in OPTICAL]
    assert found.weights == pytest.approx(np.array(own, dtype=float), abs=0.01)
    assert abs(found.offset) < 0.001
    assert found.sd < 0.001


@pytest.mark.parametrize(
    ("band", "variable"),
    [("blue", "blue"), ("green", "green"), ("red", "red"), ("nir08", "nir"), ("swir16", "swir1")],
)
def test_bands_of_sentinel_2_are_nearly_those_of_oli(band, variable):
    found = mixture_of(find_sensor("sentinel-2").band(band), OPTICAL)

    number = [v.name for v in OPTICAL].index(variable)
    assert found.weights[number] == pytest.approx(1, abs=0.25)
    assert found.weights.sum() == pytest.approx(1, abs=0.05)
    assert found.sd < 0.01


def test_what_lies_far_from_all_variables_is_less_certain():
    sd = {
        name: mixture_of(find_sensor("sentinel-2").band(name), OPTICAL).sd
        for name in ("red", "rededge078", "cirrus")
    }

    assert sd["red"] < sd["rededge078"] < sd["cirrus"]


def test_covariances_are_positive_and_fall_with_the_distance():
    bands = [v.band for v in OPTICAL if v.name != "visible"]
    among = covariance_of_bands(bands, bands)

    assert np.linalg.eigvalsh(among).min() > 0
    assert (np.diff(among[0]) < 0).all()


def test_radar_is_no_mixture_of_reflectances():
    with pytest.raises(SensorError, match="has no wavelength"):
        mixture_of(find_variable("vv").band, OPTICAL)
    with pytest.raises(SensorError, match=r"no pivot variable named 'gren'\. Did you mean 'green'"):
        find_variable("gren")
