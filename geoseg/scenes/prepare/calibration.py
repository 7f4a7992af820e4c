"""From stored numbers to reflectance: one gain and one offset a band, and what means nothing."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING

import numpy as np

from geoseg.errors import SceneError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from geoseg.scenes.scene import SunPosition

__all__ = ["Calibration", "Radiometry", "earth_sun_distance_au", "solar_gain", "to_reflectance"]

_EPOCH = date(2000, 1, 1)
_LOWEST_SUN_DEG = 0.5  # below it the light is no longer that of the sun alone


@dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Reflectance = stored * gain + offset."""

    gain: float
    offset: float = 0.0
    fill: float | None = None  # stored where nothing was measured
    saturated: float | None = None  # stored, from which on the detector had its fill

    def __post_init__(self) -> None:
        if not (math.isfinite(self.gain) and self.gain > 0 and math.isfinite(self.offset)):
            raise SceneError(
                f"A band has gain = {self.gain} and offset = {self.offset}; a calibration has a "
                "positive gain. See the metadata of the product."
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Radiometry:
    """What the metadata of a product say of its numbers."""

    bands: Mapping[str, Calibration] = field(default_factory=dict)  # by what the product calls them
    sun: SunPosition | None = None


def to_reflectance(stored: NDArray[np.number], calibration: Calibration) -> NDArray[np.float32]:
    """Reflectance of any shape, unitless, NaN where the stored number is the fill or not finite.

    Not clipped: dark water comes out below 0 when the air is corrected for, and snow on a sunlit
    slope above 1. A saturated pixel keeps its number, which then is the least it may have had; see
    `Calibration.saturated`.
    """
    values = np.asarray(stored, dtype=np.float32)
    measured = values * np.float32(calibration.gain) + np.float32(calibration.offset)
    known = np.isfinite(values)
    if calibration.fill is not None:
        known &= values != np.float32(calibration.fill)
    return np.where(known, measured, np.float32(np.nan))


def solar_gain(irradiance: float, *, day: date, elevation_deg: float) -> float:
    """Reflectance per radiance: pi d^2 / (E0 sin(elevation)).

    As in the handbooks of Landsat 7 (LSDS-1927), SPOT and Pleiades; d is the distance of the
    sun in astronomical units.

    **Convention:** E0 = 1536 W/(m2 um), of band 3 of TM on Landsat 5 (Chander, Markham and Helder
    2009, Remote Sensing of Environment 113, table 3), 3 January, sun at 90 degrees: 0.00198 per
    W/(m2 sr um).

    Args:
        irradiance: E0 of the band above the air, W/(m2 um), at one astronomical unit.
        day: of the image.
        elevation_deg: of the sun above the horizon.

    Raises:
        SceneError: no irradiance, or the sun is down.
    """
    if not irradiance > 0:
        raise SceneError(f"A band has a solar irradiance of {irradiance}; give W/(m2 um) above 0.")
    require_sun(elevation_deg)
    distance = earth_sun_distance_au(day)
    return math.pi * distance**2 / (irradiance * math.sin(math.radians(elevation_deg)))


def require_sun(elevation_deg: float) -> None:
    """Refuse to make reflectance of an image without sunlight.

    Raises:
        SceneError: the sun is below half a degree.
    """
    if not _LOWEST_SUN_DEG <= elevation_deg <= 90:
        raise SceneError(
            f"The sun stands at {elevation_deg} degrees; reflectance needs it above "
            f"{_LOWEST_SUN_DEG:g}. Leave this image out, or give what its metadata say."
        )


def earth_sun_distance_au(day: date) -> float:
    """Distance of the sun at noon UTC of a day, astronomical units, to 0.0001.

    The short series of the Astronomical Almanac (US Naval Observatory, Computing Approximate Solar
    Coordinates), of the anomaly g of the Earth since noon of 1 January 2000.

    **Convention:** 0.9833 on 3 January, 1.0167 on 4 July.
    """
    anomaly = math.radians(357.529 + 0.98560028 * (day - _EPOCH).days)
    return 1.00014 - 0.01671 * math.cos(anomaly) - 0.00014 * math.cos(2 * anomaly)
