"""SPOT and Pleiades: the DIMAP metadata of a product, of versions 1 and 2.

After Airbus, Pleiades and SPOT 6-7 user guides; CNES, DIMAP 1.1 of SPOT 1 to 5. Both divide by the
gain. Other makers of DIMAP multiply (GEOSAT-2): their products are not read here.
"""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, NamedTuple

from geoseg.errors import SceneError
from geoseg.scenes.prepare.calibration import Calibration, Radiometry, solar_gain
from geoseg.scenes.scene import SunPosition
from geoseg.scenes.xml_text import number_in, parse_xml, text_in

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

__all__ = ["dimap_radiometry"]

_UNKNOWN = 999.0  # stands for a solar irradiance that was not known, in some files
_CALIBRATION = ".//Instrument_Calibration/Band_Measurement_List"


class _Measured(NamedTuple):
    """Radiance = stored / gain + bias, in W/(m2 sr um); without an irradiance: reflectance."""

    gain: float
    bias: float
    irradiance: float | None


def dimap_radiometry(text: str, name: str) -> Radiometry:
    """Calibrations of the bands by their ids, and by their numbers in the raster from 1.

    Radiance L = Q / gain + bias; reflectance = pi L d^2 / (E0 sin(elevation)), with the solar
    irradiance E0 of the file. A product that was made in reflectance says so by its own gains.

    Args:
        text: of DIM_*.XML or METADATA.DIM.
        name: of the file, for messages.

    Raises:
        SceneError: no DIMAP, a number missing, or the sun is down.
    """
    root = parse_xml(text, name)
    measured = _version_2(root, name) or _version_1(root, name)
    if not measured:
        raise SceneError(
            f"{name} gives no gain of any band; it is no DIMAP metadata of an image, or of one "
            "that was stretched. Order it without display stretch."
        )
    sun = _sun(root, name)
    special = _special(root, name)
    found = {}
    for index, band in measured.items():
        light = 1.0
        if band.irradiance is not None:
            light = solar_gain(band.irradiance, day=_day(root, name), elevation_deg=sun.elevation)
        found[index] = Calibration(
            gain=light / band.gain,
            offset=light * band.bias,
            fill=special.get("NODATA", 0.0),
            saturated=special.get("SATURATED"),
        )
    return Radiometry(bands=found, sun=sun)


def _version_2(root: Element, name: str) -> dict[str, _Measured]:
    """By the id of a band, and by its number in the raster where that is given.

    The order in which bands are measured here is not that of the raster.
    """
    indexes = {text_in(e, "BAND_ID"): text_in(e, "BAND_INDEX") for e in root.iter("Raster_Index")}
    suns = {
        text_in(e, "BAND_ID"): _irradiance(e, "VALUE", name)
        for e in root.iter("Band_Solar_Irradiance")
        if e.find("BAND_ID") is not None
    }
    found: dict[str, _Measured] = {}
    for kind in ("Band_Radiance", "Band_Reflectance"):
        for element in root.findall(f"{_CALIBRATION}/{kind}"):
            band = text_in(element, "BAND_ID")
            irradiance = suns.get(band) if kind == "Band_Radiance" else None
            if kind == "Band_Radiance" and irradiance is None:
                raise _nothing(name, f"solar irradiance of band {band}")
            measured = _Measured(
                _gain(element, "GAIN", name), _needed(element, "BIAS", name), irradiance
            )
            found |= {key: measured for key in (band, indexes.get(band)) if key is not None}
    return found


def _version_1(root: Element, name: str) -> dict[str, _Measured]:
    suns = {
        text_in(e, "BAND_INDEX"): _irradiance(e, "SOLAR_IRRADIANCE_VALUE", name)
        for e in root.iter("Band_Solar_Irradiance")
        if e.find("BAND_INDEX") is not None
    }
    found = {}
    for element in root.iter("Spectral_Band_Info"):
        index = text_in(element, "BAND_INDEX") or ""
        if element.find("PHYSICAL_GAIN") is None:
            continue
        if index not in suns:
            raise _nothing(name, f"solar irradiance of band {index}")
        bias = number_in(element, "PHYSICAL_BIAS", name)
        found[index] = _Measured(_gain(element, "PHYSICAL_GAIN", name), bias or 0.0, suns[index])
    return found


def _sun(root: Element, name: str) -> SunPosition:
    """At the centre of the image, where it is given in several places."""
    places = [
        e
        for e in root.iter("Located_Geometric_Values")
        if (text_in(e, "LOCATION_TYPE") or "").lower() == "center"
    ]
    within = places[0] if places else root
    elevation = number_in(within, ".//SUN_ELEVATION", name)
    azimuth = number_in(within, ".//SUN_AZIMUTH", name)
    if elevation is None or azimuth is None:
        raise _nothing(name, "position of the sun")
    return SunPosition(azimuth=azimuth % 360, elevation=elevation)


def _day(root: Element, name: str) -> date:
    stated = text_in(root, ".//IMAGING_DATE") or text_in(root, ".//DATASET_TIME_RANGE/START") or ""
    try:
        return date.fromisoformat(stated[:10])
    except ValueError as error:
        raise _nothing(name, "date (IMAGING_DATE)") from error


def _special(root: Element, name: str) -> dict[str, float]:
    found = {}
    for element in root.iter("Special_Value"):
        kind = text_in(element, "SPECIAL_VALUE_TEXT")
        count = number_in(element, "SPECIAL_VALUE_COUNT", name)
        if count is None:
            count = number_in(element, "SPECIAL_VALUE_INDEX", name)
        if kind is not None and count is not None:
            found[kind.upper()] = count
    return found


def _gain(element: Element, key: str, name: str) -> float:
    gain = _needed(element, key, name)
    if not gain > 0:
        raise SceneError(f"{name} gives {key} = {gain}; a gain is positive. Fetch it again.")
    return gain


def _irradiance(element: Element, key: str, name: str) -> float:
    irradiance = _needed(element, key, name)
    if irradiance == _UNKNOWN:
        band = text_in(element, "BAND_ID") or text_in(element, "BAND_INDEX")
        raise SceneError(
            f"{name} gives 999 for the solar irradiance of band {band}, which means that it was "
            "not known; write that of the user guide into a copy of the product, in W/(m2 um)."
        )
    return irradiance


def _needed(element: Element, key: str, name: str) -> float:
    number = number_in(element, key, name)
    if number is None:
        raise _nothing(name, f"{key} of a band")
    return number


def _nothing(name: str, what: str) -> SceneError:
    return SceneError(f"{name} gives no {what}; fetch it again.")
