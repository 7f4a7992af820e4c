import pytest

from geoseg.errors import SensorError
from geoseg.sensors import Band, Sensor, SensorKind, find_sensor, load_sensors

NEEDED = {
    "corona-kh4a", "corona-kh4b", "hexagon-kh9-mapping", "hexagon-kh9-panoramic", "landsat-1",
    "landsat-5", "landsat-7", "landsat-8", "spot-1", "spot-4", "spot-5", "spot-7", "pleiades-1a",
    "aster", "sentinel-1", "sentinel-2", "planetscope", "dem",
}  # fmt: skip


def test_every_instrument_of_the_archive_is_known_with_a_source():
    sensors = load_sensors()

    assert set(sensors) >= NEEDED
    assert all(len(sensor.source) > 20 for sensor in sensors.values())


@pytest.mark.parametrize("sensor", load_sensors().values(), ids=lambda s: s.id)
def test_bands_have_the_figures_of_their_kind(sensor):
    for band in sensor.bands:
        optical = sensor.kind not in {SensorKind.SAR, SensorKind.TERRAIN}
        assert (band.centre_um is not None) == optical
        assert (band.frequency_ghz is not None) == (sensor.kind is SensorKind.SAR)
        if optical:
            assert 0.4 < band.centre_um < 13
            assert band.fwhm_um < band.centre_um / 1.5
        assert 0.5 <= band.gsd_m <= 120


@pytest.mark.parametrize(
    ("sensor", "band", "centre_um", "gsd_m"),
    [
        # Published centre wavelengths, not computed from the band edges of the table.
        ("landsat-8", "swir16", 1.609, 30),
        ("landsat-8", "red", 0.655, 30),
        ("sentinel-2", "nir08", 0.865, 20),
        ("sentinel-2", "nir", 0.833, 10),
        ("landsat-5", "swir22", 2.215, 30),
        ("landsat-1", "nir08", 0.950, 79),
        ("aster", "nir", 0.810, 15),
        ("planetscope", "rededge071", 0.705, 3),
        ("spot-5", "green", 0.545, 10),
    ],
)
def test_well_known_bands_have_their_published_centre(sensor, band, centre_um, gsd_m):
    found = find_sensor(sensor).band(band)

    assert found.centre_um == pytest.approx(centre_um, abs=0.002)
    assert found.gsd_m == gsd_m


def test_a_band_is_found_by_its_common_name_and_by_its_own():
    sensor = find_sensor("sentinel-2")

    assert sensor.band("B8A") is sensor.band("nir08")


def test_an_unknown_sensor_is_answered_with_the_nearest_one():
    with pytest.raises(
        SensorError, match=r"no sensor named 'landsat7'. Did you mean 'landsat-7'\?"
    ):
        find_sensor("landsat7")


def test_an_unknown_band_is_answered_with_the_nearest_one():
    expected = r"no landsat-8 band named 'swir1'\. Did you mean 'swir16'\? Known: blue, cirrus"
    with pytest.raises(SensorError, match=expected):
        find_sensor("landsat-8").band("swir1")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"centre_um": 0.5, "fwhm_um": 0}, "fwhm_um = 0; give a positive number"),
        ({"centre_um": 0.5}, "give both or neither"),
        ({"frequency_ghz": 5.4}, "give both or neither"),
        ({"gsd_m": -1}, "gsd_m = -1; give a positive number"),
    ],
)
def test_an_impossible_band_is_refused_at_birth(fields, message):
    with pytest.raises(SensorError, match=message):
        Band(**{"name": "B1", "common_name": "blue", "gsd_m": 30, **fields})


def test_a_sensor_with_two_bands_of_one_name_is_refused():
    band = Band(name="B1", common_name="blue", gsd_m=30)
    with pytest.raises(SensorError, match="two bands called"):
        Sensor(
            id="x", platform="x", instrument="x", kind=SensorKind.FILM, bands=(band, band),
            first_year=2000, last_year=None, bits=8, mtf_nyquist=None, source="x",
        )  # fmt: skip
