import re

import pytest

from geoseg.errors import SensorError
from geoseg.sensors import Band, Sensor, SensorKind, find_sensor, load_sensors
from geoseg.sensors.table import parse_sensors
from geoseg.views import TERRAIN

NEEDED = {
    "corona-kh4a", "corona-kh4b", "hexagon-kh9-mapping", "hexagon-kh9-panoramic",
    "landsat-1", "landsat-2", "landsat-3", "landsat-4-mss", "landsat-5-mss", "landsat-4",
    "landsat-5", "landsat-7", "landsat-8", "landsat-9", "spot-1", "spot-2", "spot-3", "spot-4",
    "spot-5", "spot-6", "spot-7", "pleiades-1a", "pleiades-1b", "aster", "sentinel-1",
    "sentinel-2", "planetscope", "planetscope-dove", "dem",
}  # fmt: skip
STAC = {
    "pan", "coastal", "blue", "green", "green05", "yellow", "red", "rededge", "rededge071",
    "rededge075", "rededge078", "nir", "nir08", "nir09", "cirrus", "swir16", "swir22", "lwir",
    "lwir11", "lwir12",
}  # fmt: skip
ASTER_ONLY = {
    "swir217", "swir226", "swir233", "swir240", "lwir083", "lwir087", "lwir091", "lwir106",
    "lwir113",
}  # fmt: skip
# Band ranges of the STAC eo extension, widened by half a width where an instrument leaves them.
REGION_UM = {
    "coastal": (0.40, 0.46), "blue": (0.45, 0.53), "green": (0.50, 0.60), "green05": (0.51, 0.55),
    "yellow": (0.58, 0.62), "red": (0.60, 0.69), "rededge071": (0.69, 0.73),
    "rededge075": (0.73, 0.76), "rededge078": (0.76, 0.79), "nir": (0.76, 1.00),
    "nir08": (0.80, 0.96), "nir09": (0.90, 1.05), "cirrus": (1.35, 1.40), "swir16": (1.55, 1.75),
    "swir22": (2.08, 2.35), "lwir": (10.5, 12.5), "lwir11": (10.5, 11.5), "lwir12": (11.5, 12.5),
    "pan": (0.40, 1.00),
}  # fmt: skip

ROW = """
[[sensor]]
id = "toy"
platform = "Toy 1"
instrument = "camera"
kind = "multispectral"
first_year = 1990
bits = 8
source = "A document, table 1"
band = [{ name = "B1", common_name = "red", centre_um = 0.66, fwhm_um = 0.06, gsd_m = 30 }]
"""


def make_sensor(**fields):
    red = Band(name="B1", common_name="red", gsd_m=30, centre_um=0.66, fwhm_um=0.06)
    return Sensor(
        **{
            "id": "toy", "platform": "Toy 1", "instrument": "camera", "bits": 8, "bands": (red,),
            "kind": SensorKind.MULTISPECTRAL, "first_year": 1990, "source": "A document",
            **fields,
        }
    )  # fmt: skip


# The table


def test_every_instrument_of_the_archive_is_known():
    assert set(load_sensors()) == NEEDED


@pytest.mark.parametrize("sensor", load_sensors().values(), ids=lambda s: s.id)
def test_a_row_has_sane_figures_and_a_source(sensor):
    assert len(sensor.source) > 40
    assert 1960 <= sensor.first_year <= (sensor.last_year or 2100)
    assert sensor.bits in {8, 12, 16, 32}
    for band in sensor.bands:
        assert 0.5 <= band.gsd_m <= 120
        if band.centre_um is not None:
            assert 0.35 < band.centre_um < 13
            assert 0 < band.fwhm_um < band.centre_um


@pytest.mark.parametrize("sensor", load_sensors().values(), ids=lambda s: s.id)
def test_a_common_name_is_that_of_stac_where_stac_has_one(sensor):
    ours = {SensorKind.SAR: {"vv", "vh"}, SensorKind.TERRAIN: set(TERRAIN)}
    allowed = ours.get(sensor.kind, STAC)

    used = {band.common_name for band in sensor.bands}

    assert used <= (allowed | ASTER_ONLY if sensor.id == "aster" else allowed)


@pytest.mark.parametrize("sensor", load_sensors().values(), ids=lambda s: s.id)
def test_the_centre_of_a_band_lies_in_the_region_of_its_name(sensor):
    for band in sensor.bands:
        if band.common_name in REGION_UM:
            low, high = REGION_UM[band.common_name]
            assert low <= band.centre_um <= high, band.name


@pytest.mark.parametrize(
    ("sensor", "band", "centre_um", "gsd_m"),
    [
        # Published centre wavelengths, not computed from the band edges of the table.
        ("landsat-1", "nir08", 0.950, 79),
        ("landsat-5", "swir22", 2.215, 30),
        ("landsat-7", "pan", 0.710, 15),
        ("landsat-8", "coastal", 0.443, 30),
        ("landsat-8", "red", 0.655, 30),
        ("landsat-8", "swir16", 1.609, 30),
        ("landsat-9", "swir22", 2.201, 30),
        ("landsat-8", "lwir11", 10.895, 100),
        ("sentinel-2", "B8A", 0.865, 20),
        ("sentinel-2", "nir", 0.833, 10),
        ("sentinel-2", "swir16", 1.614, 20),
        ("spot-1", "pan", 0.615, 10),
        ("spot-5", "green", 0.545, 10),
        ("spot-7", "blue", 0.485, 6),
        ("pleiades-1b", "nir", 0.850, 2.8),
        ("aster", "nir", 0.810, 15),
        ("planetscope", "rededge071", 0.705, 3),
        ("planetscope-dove", "green", 0.545, 3),
    ],
)
def test_a_well_known_band_has_its_published_centre(sensor, band, centre_um, gsd_m):
    found = find_sensor(sensor).band(band)

    assert found.centre_um == pytest.approx(centre_um, abs=0.002)
    assert found.gsd_m == gsd_m


@pytest.mark.parametrize(
    ("sensor", "first_year", "last_year"),
    [
        ("corona-kh4a", 1963, 1969),
        ("hexagon-kh9-mapping", 1973, 1980),
        ("landsat-1", 1972, 1978),
        ("landsat-5", 1984, 2011),
        ("landsat-7", 1999, 2024),
        ("spot-7", 2014, 2023),
        ("sentinel-2", 2015, None),
    ],
)
def test_an_instrument_has_the_years_of_its_images(sensor, first_year, last_year):
    found = find_sensor(sensor)

    assert (found.first_year, found.last_year) == (first_year, last_year)


@pytest.mark.parametrize(
    ("sensor", "gsd_m"),
    [
        ("corona-kh4a", 2.7),
        ("corona-kh4b", 1.8),
        ("hexagon-kh9-mapping", 6),
        ("hexagon-kh9-panoramic", 0.6),
    ],
)
def test_film_is_one_panchromatic_band_that_does_not_see_blue(sensor, gsd_m):
    (band,) = find_sensor(sensor).bands

    assert band.common_name == "pan"
    assert band.gsd_m == gsd_m
    assert band.centre_um - band.fwhm_um / 2 >= 0.5
    assert band.centre_um + band.fwhm_um / 2 <= 0.72


@pytest.mark.parametrize(
    ("sensor", "names"),
    [
        ("landsat-1", ["B4", "B5", "B6", "B7"]),
        ("landsat-2", ["B4", "B5", "B6", "B7"]),
        ("landsat-3", ["B4", "B5", "B6", "B7"]),
        ("landsat-4-mss", ["B1", "B2", "B3", "B4"]),
        ("landsat-5-mss", ["B1", "B2", "B3", "B4"]),
    ],
)
def test_the_scanner_of_landsat_numbers_its_bands_anew_on_landsat_4(sensor, names):
    bands = find_sensor(sensor).bands

    assert [band.name for band in bands] == names
    assert [band.common_name for band in bands] == ["green", "red", "rededge075", "nir08"]


def test_sentinel_1_measures_two_polarisations_at_one_frequency():
    bands = find_sensor("sentinel-1").bands

    assert [band.polarisation for band in bands] == ["VV", "VH"]
    assert {band.frequency_ghz for band in bands} == {5.405}


def test_the_sharpness_of_a_band_is_that_of_the_band_not_of_the_instrument():
    sentinel, pleiades = find_sensor("sentinel-2"), find_sensor("pleiades-1a")

    assert sentinel.band("blue").mtf_nyquist == 0.304
    assert sentinel.band("swir22").mtf_nyquist == 0.19
    assert pleiades.band("pan").mtf_nyquist == 0.15


def test_no_sharpness_is_made_up_where_none_is_published():
    assert find_sensor("sentinel-2").band("cirrus").mtf_nyquist is None
    assert find_sensor("hexagon-kh9-mapping").band("pan").mtf_nyquist is None


# Looking up


def test_a_band_is_found_by_its_common_name_and_by_its_own():
    sensor = find_sensor("sentinel-2")

    assert sensor.band("B8A") is sensor.band("nir08")


def test_an_unknown_sensor_is_answered_with_the_nearest_one():
    expected = "no sensor named 'landsat7'. Did you mean 'landsat-7'? Known: aster, corona-kh4a,"
    with pytest.raises(SensorError, match=re.escape(expected)):
        find_sensor("landsat7")


def test_an_unknown_band_is_answered_with_the_nearest_one():
    expected = "no landsat-8 band named 'swir1'. Did you mean 'swir16'? Known: blue, cirrus,"
    with pytest.raises(SensorError, match=re.escape(expected)):
        find_sensor("landsat-8").band("swir1")


# Refusals


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"gsd_m": -1}, "Band 'B1' has gsd_m = -1; give a positive number."),
        ({"gsd_m": float("nan")}, "Band 'B1' has gsd_m = nan; give a positive number."),
        ({"fwhm_um": 0}, "Band 'B1' has fwhm_um = 0; give a positive number."),
        (
            {"fwhm_um": None},
            "Band 'B1' has centre_um = 0.66 and fwhm_um = None; give both or neither.",
        ),
        (
            {"frequency_ghz": 5.4},
            "Band 'B1' has frequency_ghz = 5.4 and polarisation = None; give both or neither.",
        ),
        (
            {"frequency_ghz": 5.4, "polarisation": "VV"},
            "Band 'B1' has centre_um = 0.66 and frequency_ghz = 5.4; give the one it measures.",
        ),
        (
            {"centre_um": 660, "fwhm_um": 60},
            "Band 'B1' has centre_um = 660; give micrometres, between 0.3 and 15.",
        ),
        (
            {"centre_um": 0.66, "fwhm_um": 0.66},
            "Band 'B1' has fwhm_um = 0.66 and centre_um = 0.66; give a width below the centre.",
        ),
        (
            {"mtf_nyquist": 15},
            "Band 'B1' has mtf_nyquist = 15; give a share above 0 and up to 1, or leave it out.",
        ),
    ],
)
def test_an_impossible_band_is_refused_at_birth(fields, message):
    red = {"name": "B1", "common_name": "red", "gsd_m": 30, "centre_um": 0.66, "fwhm_um": 0.06}
    with pytest.raises(SensorError, match=f"^{re.escape(message)}$"):
        Band(**{**red, **fields})


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"bands": ()}, "Sensor 'toy' has no band; give at least one."),
        (
            {"bands": make_sensor().bands * 2},
            "Sensor 'toy' has two bands called ['B1', 'red']; rename one.",
        ),
        (
            {"last_year": 1980},
            "Sensor 'toy' has last_year = 1980 but first_year = 1990; put them in order.",
        ),
        ({"bits": 0}, "Sensor 'toy' has bits = 0; give at least 1."),
        (
            {"mtf_nyquist": 0},
            "Sensor 'toy' has mtf_nyquist = 0; give a share above 0 and up to 1, or leave it out.",
        ),
        ({"source": " "}, "Sensor 'toy' has no source; name the document."),
        (
            {"kind": SensorKind.SAR},
            "Sensor 'toy' is sar, but its band 'B1' has centre_um; give frequency_ghz.",
        ),
        (
            {"kind": SensorKind.TERRAIN},
            "Sensor 'toy' is terrain, but its band 'B1' has centre_um; "
            "give neither centre_um nor frequency_ghz.",
        ),
        (
            {"bands": (Band(name="B1", common_name="red", gsd_m=30),)},
            "Sensor 'toy' is multispectral, but its band 'B1' has no wavelength; give centre_um.",
        ),
    ],
)
def test_an_impossible_sensor_is_refused_at_birth(fields, message):
    with pytest.raises(SensorError, match=f"^{re.escape(message)}$"):
        make_sensor(**fields)


# Reading a table


def test_a_row_needs_neither_an_end_nor_a_sharpness():
    sensor = parse_sensors(ROW)["toy"]

    assert sensor.last_year is None
    assert sensor.mtf_nyquist is None
    assert sensor.band("red").fwhm_um == 0.06


def test_an_empty_table_has_no_sensor():
    assert parse_sensors("") == {}


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        (
            "first_year",
            "firstyear",
            "Sensor 'toy' has the unknown key 'firstyear'. Did you mean 'first_year'? Known: band,",
        ),
        ("bits = 8\n", "", "Sensor 'toy' has no 'bits'; give it."),
        ('id = "toy"\n', "", "Sensor number 1 has no 'id'; give it."),
        (
            "fwhm_um",
            "fwhm",
            "Sensor 'toy', band 'B1', has the unknown key 'fwhm'. Did you mean 'fwhm_um'?",
        ),
        (", gsd_m = 30", "", "Sensor 'toy', band 'B1', has no 'gsd_m'; give it."),
        (
            "gsd_m = 30",
            "gsd_m = 0",
            "Sensor 'toy': Band 'B1' has gsd_m = 0; give a positive number.",
        ),
        (
            '"multispectral"',
            '"multi-spectral"',
            "Sensor 'toy' has kind = 'multi-spectral'. Did you mean 'multispectral'? Known: film,",
        ),
    ],
)
def test_an_error_in_a_table_names_the_row_and_the_key(right, wrong, message):
    assert right in ROW

    with pytest.raises(SensorError, match=f"^{re.escape(message)}"):
        parse_sensors(ROW.replace(right, wrong))


def test_an_id_given_twice_is_refused_rather_than_overwritten():
    expected = re.escape("Sensor 'toy' is in the table twice; rename one.")
    with pytest.raises(SensorError, match=expected):
        parse_sensors(ROW * 2)
