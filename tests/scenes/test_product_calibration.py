"""Stored numbers become reflectance as the handbooks of the products say."""

import json
import math
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from conftest import scene_of
from hypothesis import given
from hypothesis import strategies as st

from geoseg.errors import SceneError
from geoseg.scenes import Asset, Scene
from geoseg.scenes.prepare.calibration import (
    Calibration,
    Radiometry,
    earth_sun_distance_au,
    solar_gain,
    to_reflectance,
)
from geoseg.scenes.prepare.dimap import dimap_radiometry
from geoseg.scenes.prepare.landsat import landsat_quality, landsat_radiometry
from geoseg.scenes.prepare.product import read_radiometry, stated_calibrations
from geoseg.scenes.prepare.quality import Mask, Quality, mask_of
from geoseg.scenes.prepare.sentinel2 import (
    sentinel2_quality,
    sentinel2_radiometry,
)
from geoseg.scenes.xml_text import parse_xml

MTL = """GROUP = LANDSAT_METADATA_FILE
  GROUP = PRODUCT_CONTENTS
    PROCESSING_LEVEL = "L1TP"
    FILE_NAME_BAND_3 = "LC08_B3.TIF"
    FILE_NAME_BAND_10 = "LC08_B10.TIF"
    FILE_NAME_QUALITY_L1_PIXEL = "LC08_QA_PIXEL.TIF"
  END_GROUP = PRODUCT_CONTENTS
  GROUP = IMAGE_ATTRIBUTES
    SUN_AZIMUTH = -15.5
    SUN_ELEVATION = 30.0
  END_GROUP = IMAGE_ATTRIBUTES
  GROUP = LEVEL1_MIN_MAX_PIXEL_VALUE
    QUANTIZE_CAL_MAX_BAND_3 = 65535
  END_GROUP = LEVEL1_MIN_MAX_PIXEL_VALUE
  GROUP = LEVEL1_RADIOMETRIC_RESCALING
    RADIANCE_MULT_BAND_10 = 3.3420E-04
    REFLECTANCE_MULT_BAND_3 = 2.0000E-05
    REFLECTANCE_ADD_BAND_3 = -0.100000
  END_GROUP = LEVEL1_RADIOMETRIC_RESCALING
END_GROUP = LANDSAT_METADATA_FILE
END
"""

S2 = """<?xml version="1.0"?>
<n1:Level-2A_User_Product xmlns:n1="https://psd-14.sentinel2.eo.esa.int/PSD/x.xsd">
 <n1:General_Info><Product_Info><PROCESSING_BASELINE>{baseline}</PROCESSING_BASELINE></Product_Info>
 <Product_Image_Characteristics>
  <Special_Values><SPECIAL_VALUE_TEXT>NODATA</SPECIAL_VALUE_TEXT>
   <SPECIAL_VALUE_INDEX>0</SPECIAL_VALUE_INDEX></Special_Values>
  <Special_Values><SPECIAL_VALUE_TEXT>SATURATED</SPECIAL_VALUE_TEXT>
   <SPECIAL_VALUE_INDEX>65535</SPECIAL_VALUE_INDEX></Special_Values>
  <BOA_QUANTIFICATION_VALUE unit="none">10000</BOA_QUANTIFICATION_VALUE>
  {offsets}
  <Spectral_Information_List>
   <Spectral_Information bandId="1" physicalBand="B2"/>
   <Spectral_Information bandId="8" physicalBand="B8A"/>
  </Spectral_Information_List>
 </Product_Image_Characteristics></n1:General_Info></n1:Level-2A_User_Product>"""
OFFSETS = "".join(f'<BOA_ADD_OFFSET band_id="{i}">-1000</BOA_ADD_OFFSET>' for i in (1, 8))

DIMAP_2 = """<Dimap_Document><Raster_Data><Raster_Display>
 <Raster_Index_List><Raster_Index><BAND_ID>B2</BAND_ID><BAND_INDEX>1</BAND_INDEX></Raster_Index>
 <Raster_Index><BAND_ID>B0</BAND_ID><BAND_INDEX>3</BAND_INDEX></Raster_Index></Raster_Index_List>
 <Special_Value><SPECIAL_VALUE_TEXT>SATURATED</SPECIAL_VALUE_TEXT>
  <SPECIAL_VALUE_COUNT>4095</SPECIAL_VALUE_COUNT></Special_Value></Raster_Display></Raster_Data>
 <Radiometric_Data><Radiometric_Calibration><Instrument_Calibration><Band_Measurement_List>
  <Band_Radiance><BAND_ID>B0</BAND_ID><GAIN>9.5</GAIN><BIAS>0.5</BIAS></Band_Radiance>
  <Band_Radiance><BAND_ID>B2</BAND_ID><GAIN>10</GAIN><BIAS>0</BIAS></Band_Radiance>
  <Band_Solar_Irradiance><BAND_ID>B0</BAND_ID><VALUE>1915</VALUE></Band_Solar_Irradiance>
  <Band_Solar_Irradiance><BAND_ID>B2</BAND_ID><VALUE>1594</VALUE></Band_Solar_Irradiance>
 </Band_Measurement_List></Instrument_Calibration></Radiometric_Calibration></Radiometric_Data>
 <Geometric_Data><Use_Area>
  <Located_Geometric_Values><LOCATION_TYPE>Top Center</LOCATION_TYPE><Solar_Incidences>
   <SUN_AZIMUTH>1</SUN_AZIMUTH><SUN_ELEVATION>1</SUN_ELEVATION></Solar_Incidences>
  </Located_Geometric_Values>
  <Located_Geometric_Values><LOCATION_TYPE>Center</LOCATION_TYPE><Solar_Incidences>
   <SUN_AZIMUTH>150</SUN_AZIMUTH><SUN_ELEVATION>30</SUN_ELEVATION></Solar_Incidences>
  </Located_Geometric_Values></Use_Area></Geometric_Data>
 <Dataset_Sources><Source_Identification><Strip_Source><IMAGING_DATE>2015-01-03</IMAGING_DATE>
 </Strip_Source></Source_Identification></Dataset_Sources></Dimap_Document>"""

DIMAP_1 = """<Dimap_Document><Dataset_Sources><Source_Information><Scene_Source>
  <IMAGING_DATE>1995-07-04</IMAGING_DATE><SUN_AZIMUTH>160</SUN_AZIMUTH>
  <SUN_ELEVATION>45</SUN_ELEVATION></Scene_Source></Source_Information></Dataset_Sources>
 <Image_Interpretation><Spectral_Band_Info><BAND_INDEX>1</BAND_INDEX>
  <BAND_DESCRIPTION>XS1</BAND_DESCRIPTION><PHYSICAL_GAIN>0.9</PHYSICAL_GAIN>
  <PHYSICAL_BIAS>0</PHYSICAL_BIAS></Spectral_Band_Info></Image_Interpretation>
 <Data_Strip><Sensor_Calibration><Solar_Irradiance><Band_Solar_Irradiance>
  <BAND_INDEX>1</BAND_INDEX><SOLAR_IRRADIANCE_VALUE>1855</SOLAR_IRRADIANCE_VALUE>
 </Band_Solar_Irradiance></Solar_Irradiance></Sensor_Calibration></Data_Strip></Dimap_Document>"""


@given(
    truth=st.lists(st.floats(-0.05, 1.4), min_size=6, max_size=6),
    gain=st.floats(1e-5, 1e-3),
    offset=st.floats(-0.3, 0.0),
)
def test_stored_numbers_give_the_reflectance_back_to_half_a_count(truth, gain, offset):
    known = np.array(truth, dtype=np.float64).reshape(2, 3)
    stored = np.rint((known - offset) / gain)

    found = to_reflectance(stored, Calibration(gain=gain, offset=offset))

    np.testing.assert_allclose(found, known, atol=0.51 * gain + 1e-6)


def test_fill_is_nan_while_negative_and_saturated_numbers_stay():
    stored = np.array([[0, 500, 65535], [1000, 2000, 0]], dtype=np.uint16)

    found = to_reflectance(stored, Calibration(gain=1e-4, offset=-0.1, fill=0, saturated=65535))

    np.testing.assert_array_equal(np.isnan(found), stored == 0)
    np.testing.assert_allclose(found[0, 1:], [-0.05, 6.4535], rtol=1e-6)
    assert found.dtype == np.float32


def test_a_calibration_without_a_gain_is_refused():
    with pytest.raises(SceneError, match=r"^A band has gain = 0 and offset = 0\.0"):
        Calibration(gain=0)


def test_landsat_level_1_is_divided_by_the_height_of_the_sun_and_leaves_heat_out():
    found = landsat_radiometry(MTL, "x_MTL.txt")

    assert set(found.bands) == {"LC08_B3.TIF"}
    stored = np.array([[10_000, 0]])
    # (2e-5 * 10000 - 0.1) / sin 30 = 0.2
    measured = to_reflectance(stored, found.bands["LC08_B3.TIF"])
    np.testing.assert_allclose(measured, [[0.2, np.nan]], rtol=1e-6)
    assert found.bands["LC08_B3.TIF"].saturated == 65535
    assert (found.sun.azimuth, found.sun.elevation) == (344.5, 30.0)


def test_landsat_level_2_in_json_is_scaled_and_not_divided():
    groups = {
        "PRODUCT_CONTENTS": {
            "PROCESSING_LEVEL": "L2SP",
            "FILE_NAME_BAND_3": "LC08_SR_B3.TIF",
            "FILE_NAME_BAND_ST_B10": "LC08_ST_B10.TIF",
        },
        "IMAGE_ATTRIBUTES": {"SUN_AZIMUTH": "150", "SUN_ELEVATION": "30"},
        "LEVEL2_SURFACE_REFLECTANCE_PARAMETERS": {
            "REFLECTANCE_MULT_BAND_3": "2.75e-05",
            "REFLECTANCE_ADD_BAND_3": "-0.2",
        },
    }

    found = landsat_radiometry(json.dumps({"LANDSAT_METADATA_FILE": groups}), "x_MTL.json")

    assert set(found.bands) == {"LC08_SR_B3.TIF"}
    np.testing.assert_allclose(to_reflectance(np.array([20_000]), found.bands.popitem()[1]), 0.35)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "x_MTL.txt is no MTL file that can be read; fetch it again."),
        ("{", "x_MTL.txt is no MTL file that can be read; fetch it again."),
        (MTL.replace("IMAGE_ATTRIBUTES", "OTHER"), "x_MTL.txt has no group IMAGE_ATTRIBUTES"),
        (MTL.replace("30.0", "high"), "x_MTL.txt gives no number for SUN_ELEVATION"),
        (MTL.replace("30.0", "-3.0"), "The sun stands at -3.0 degrees; reflectance needs it above"),
    ],
)
def test_landsat_metadata_that_cannot_be_used_say_why(text, words):
    with pytest.raises(SceneError, match="^" + words.replace("(", r"\(")):
        landsat_radiometry(text, "x_MTL.txt")


@pytest.mark.parametrize(("size", "words"), [(2**25 + 1, "is larger than"), (None, "cannot be")])
def test_metadata_too_large_or_gone_are_named(tmp_path, size, words):
    path = tmp_path / "x_MTL.txt"
    if size is not None:
        with path.open("wb") as file:
            file.truncate(size)

    with pytest.raises(SceneError, match=rf"x_MTL\.txt {words} "):
        read_radiometry(replace(scene_of(tmp_path / "x.tif"), metadata=path))


@pytest.mark.parametrize(
    ("baseline", "offsets", "expected"), [("05.11", OFFSETS, 0.2), ("02.14", "", 0.3)]
)
def test_sentinel_2_takes_off_what_was_added_since_baseline_4(baseline, offsets, expected):
    found = sentinel2_radiometry(S2.format(baseline=baseline, offsets=offsets), "MTD.xml")

    assert set(found.bands) == {"B2", "B8A"}
    np.testing.assert_allclose(to_reflectance(np.array([3000]), found.bands["B8A"]), expected)
    assert np.isnan(to_reflectance(np.array([0]), found.bands["B2"]))
    assert found.bands["B2"].saturated == 65535


def test_sentinel_2_of_a_baseline_with_offsets_that_gives_none_is_refused():
    with pytest.raises(SceneError, match=r"baseline 04\.00 and gives no offset for B2, B8A; ref"):
        sentinel2_radiometry(S2.format(baseline="04.00", offsets=""), "MTD.xml")


def test_pleiades_radiance_becomes_reflectance_by_the_band_index_of_the_raster():
    found = dimap_radiometry(DIMAP_2, "DIM.XML")

    assert set(found.bands) == {"B0", "3", "B2", "1"}
    assert found.bands["B0"] == found.bands["3"] != found.bands["1"]
    # Band B0 lies third: L = 950 / 9.5 + 0.5 = 100.5; d = 0.98328, sin 30 = 0.5.
    expected = math.pi * 100.5 * 0.98328**2 / (1915 * 0.5)
    np.testing.assert_allclose(
        to_reflectance(np.array([950]), found.bands["3"]), expected, rtol=1e-4
    )
    assert found.bands["3"].saturated == 4095
    assert found.sun.elevation == 30


def test_spot_1_to_5_metadata_of_dimap_1_are_read():
    found = dimap_radiometry(DIMAP_1, "METADATA.DIM")

    expected = math.pi * (90 / 0.9) * 1.01672**2 / (1855 * math.sin(math.pi / 4))
    np.testing.assert_allclose(
        to_reflectance(np.array([90]), found.bands["1"]), expected, rtol=1e-4
    )


@pytest.mark.parametrize(("text", "e0"), [(DIMAP_2, "1915"), (DIMAP_1, "1855")])
def test_an_irradiance_of_999_is_none(text, e0):
    with pytest.raises(SceneError, match=r"^DIM\.XML gives 999 for the solar irradiance of band"):
        dimap_radiometry(text.replace(e0, "999"), "DIM.XML")


def test_dimap_without_gains_and_with_a_gain_of_zero_is_refused():
    with pytest.raises(SceneError, match=r"^DIM\.XML gives no gain of any band"):
        dimap_radiometry("<Dimap_Document/>", "DIM.XML")
    with pytest.raises(SceneError, match=r"^DIM\.XML gives GAIN = 0\.0; a gain is positive"):
        dimap_radiometry(DIMAP_2.replace("9.5", "0"), "DIM.XML")


def test_the_distance_of_the_sun_is_that_of_the_almanac():
    assert earth_sun_distance_au(date(2020, 1, 4)) == pytest.approx(0.98328, abs=1e-4)
    assert earth_sun_distance_au(date(2021, 7, 5)) == pytest.approx(1.01672, abs=1e-4)
    # At J2000.0, and by Meeus, Astronomical Algorithms, example 25.a: 0.99766 at 0 h of 13 October
    # 1992, between two noons.
    assert earth_sun_distance_au(date(2000, 1, 1)) == pytest.approx(0.98333, abs=5e-5)
    noons = [earth_sun_distance_au(date(1992, 10, day)) for day in (12, 13)]
    assert np.mean(noons) == pytest.approx(0.99766, abs=5e-5)
    assert noons[0] > noons[1]


def test_without_an_irradiance_there_is_no_reflectance():
    with pytest.raises(SceneError, match="irradiance of 0"):
        solar_gain(0, day=date(2020, 1, 4), elevation_deg=40)


def test_an_entity_in_metadata_is_refused_and_never_expanded():
    bomb = '<!DOCTYPE a [<!ENTITY b "bb"><!ENTITY c "&b;&b;">]><a>&c;</a>'
    with pytest.raises(SceneError, match=r"^a\.xml declares a type or an entity"):
        parse_xml(bomb, "a.xml")
    outside = '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><a>&b;</a>'
    with pytest.raises(SceneError, match=r"^a\.xml declares a type or an entity"):
        parse_xml(outside, "a.xml")


def test_bits_of_landsat_quality_are_read_where_the_handbook_puts_them():
    #                fill  clear  dilated cirrus cloud shadow snow  water
    pixel = np.array([[1, 21824, 21826, 54532, 22280, 23888, 30048, 21952]], dtype=np.uint16)
    radsat = np.array([[0, 0, 0, 0, 0, 0, 0b100, 0]], dtype=np.uint16)

    found = landsat_quality(pixel, radsat, sensor_id="landsat-8")

    assert found.void.tolist() == [[True] + [False] * 7]
    assert found.cloud.tolist() == [[False, False, True, True, True, False, False, False]]
    assert found.shadow.tolist() == [[False] * 5 + [True, False, False]]
    assert found.snow.tolist() == [[False] * 6 + [True, False]]
    assert found.saturated.tolist() == [[False] * 6 + [True, False]]


def test_what_an_instrument_does_not_code_nobody_has_looked_for():
    pixel = np.full((1, 3), 64, dtype=np.uint16)
    radsat = np.array([[0b100000, 1 << 9, 0b1]], dtype=np.uint16)

    oli, tm, mss = (
        landsat_quality(pixel, radsat, sensor_id=name)
        for name in ("landsat-8", "landsat-5", "landsat-3")
    )

    assert oli.saturated.tolist() == [[True, False, True]]
    assert tm.saturated.tolist() == [[False, False, True]]  # its sixth band is thermal
    assert oli.void.tolist() == [[False, True, False]]  # a dropped pixel
    assert (mss.shadow, mss.snow) == (None, None)
    assert not oli.snow.any()


def test_classes_of_sentinel_2_are_read_as_the_atbd_numbers_them():
    found = sentinel2_quality(np.arange(12).reshape(3, 4))

    places = {
        kind: np.flatnonzero(getattr(found, kind)).tolist()
        for kind in ("void", "cloud", "shadow", "snow", "saturated")
    }
    assert places == {
        "void": [0],
        "cloud": [8, 9, 10],
        "shadow": [3],
        "snow": [11],
        "saturated": [1],
    }


def test_a_mask_strikes_what_it_is_told_and_never_takes_a_void():
    def here(*columns):
        flags = np.zeros((1, 6), dtype=bool)
        flags[0, list(columns)] = True
        return flags

    quality = Quality(void=here(0), cloud=here(0, 1), snow=here(0, 2, 3), saturated=here(3, 4))

    assert mask_of(quality, ("cloud",)).tolist() == [[0, 0, 2, 3, 3, 1]]
    assert mask_of(quality, ()).tolist() == [[0, 1, 2, 3, 3, 1]]
    assert mask_of(quality, ("saturated", "shadow")).tolist() == [[0, 1, 2, 0, 0, 1]]
    assert Mask.SATURATED == 3
    assert quality.counts() == {"measured": 5, "cloud": 1, "snow": 2, "saturated": 2}


def test_the_panchromatic_band_of_pleiades_is_found_by_its_id(tmp_path):
    day = datetime(2014, 8, 10, tzinfo=UTC)
    bands = {"pan": Asset(path=tmp_path / "IMG.TIF")}
    scene = Scene(
        id="p", sensor_id="pleiades-1a", start=day, end=day + timedelta(days=1), bands=bands
    )
    stated = Calibration(gain=2.0, offset=0.0, fill=0.0, saturated=None)

    found = stated_calibrations(scene, Radiometry(bands={"P": stated, "B0": stated}, sun=None))

    assert found == {"pan": stated}
