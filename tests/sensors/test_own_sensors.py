"""Sensors of a file of the user."""

import pytest

from geoseg.errors import SensorError
from geoseg.sensors import find_sensor, load_sensors

SWIFT = """
[[sensor]]
id = "swift-1"
platform = "Swift-1"
instrument = "frame camera"
kind = "multispectral"
first_year = 2024
bits = 12
source = "Handbook of Swift-1, table 3"
band = [{ name = "B1", common_name = "green", centre_um = 0.56, fwhm_um = 0.05, gsd_m = 2 }]
"""


@pytest.fixture
def named(tmp_path, monkeypatch):
    """Write the file that GEOSEG_SENSORS names."""

    def write(text):
        path = tmp_path / "swift.toml"
        path.write_text(text)
        monkeypatch.setenv("GEOSEG_SENSORS", str(path))
        load_sensors.cache_clear()

    yield write
    load_sensors.cache_clear()


def test_a_sensor_of_the_named_file_stands_after_those_that_ship(named):
    named(SWIFT)

    assert find_sensor("swift-1").band("green").gsd_m == 2
    assert [*load_sensors()][-1] == "swift-1"
    assert "landsat-7" in load_sensors()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (SWIFT.replace("swift-1", "landsat-7"), "'landsat-7' is in geoseg's own table; rename"),
        (SWIFT.replace("bits = 12", "bit = 12"), "unknown key 'bit'. Did you mean 'bits'"),
        (SWIFT.replace("gsd_m = 2", "gsd_m = 'two'"), "no table of sensors"),
        (SWIFT.replace("[[sensor]]", "[sensor]"), "no table of sensors"),
        ("sensor = 3", "no table of sensors"),
        ("[[sensor", "swift.toml: "),
    ],
)
def test_a_file_that_cannot_serve_is_told_of_in_one_sentence(named, text, why):
    named(text)

    with pytest.raises(SensorError, match=r"swift\.toml") as caught:
        find_sensor("landsat-8")

    assert why in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there_is_named(tmp_path, monkeypatch):
    monkeypatch.setenv("GEOSEG_SENSORS", str(tmp_path / "none.toml"))
    load_sensors.cache_clear()

    with pytest.raises(SensorError, match=r"none\.toml cannot be read: No such file"):
        find_sensor("landsat-8")
