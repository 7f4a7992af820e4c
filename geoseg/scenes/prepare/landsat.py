"""Landsat Collection 2: the MTL file, and the bits of QA_PIXEL and QA_RADSAT.

After USGS, Collection 2 data format control books of Level 1 (LSDS-1822 OLI, LSDS-1414 ETM+,
LSDS-1415 TM, LSDS-1416 MSS) and Level 2 (LSDS-1328).
"""

from __future__ import annotations

import json
import math
import re
from typing import TYPE_CHECKING, Any

import numpy as np

from geoseg.errors import SceneError
from geoseg.scenes.prepare.calibration import Calibration, Radiometry, require_sun
from geoseg.scenes.prepare.quality import Quality
from geoseg.scenes.products.landsat import parse_mtl
from geoseg.scenes.scene import SunPosition

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["landsat_quality", "landsat_radiometry", "saturation_beside"]

# Surface reflectance of Level 2 by the science product guides (LSDS-1619 OLI, LSDS-1618 TM and
# ETM+), where the file does not say it.
_SURFACE = (2.75e-5, -0.2)
_FILL = 0.0
_BANDS, _SIXTH = 0b1111111, 0b0100000  # of QA_RADSAT
_MSS = ("landsat-1", "landsat-2", "landsat-3", "landsat-4-mss", "landsat-5-mss")
_THERMAL_SIXTH = ("landsat-4", "landsat-5", "landsat-7")
_LEVEL_2 = re.compile(r"^L2S[PR]$")


def landsat_radiometry(text: str, name: str) -> Radiometry:
    """Calibrations of the reflective bands of a scene by the names of their files.

    Level 1: (M Q + A) / sin(elevation of the sun), from REFLECTANCE_MULT and _ADD (LSDS-1822).
    Level 2: 0.0000275 Q - 0.2, as the file says it (LSDS-1619). Thermal bands are left out.

    Args:
        text: of the *_MTL.txt or *_MTL.json.
        name: of the file, for messages.

    Raises:
        SceneError: no MTL file of Collection 2, a number missing, or the sun is down.
    """
    groups = _groups(text, name)
    contents = _group(groups, "PRODUCT_CONTENTS", name)
    level = str(contents.get("PROCESSING_LEVEL", ""))
    attributes = _group(groups, "IMAGE_ATTRIBUTES", name)
    sun = SunPosition(
        azimuth=_number(attributes, "SUN_AZIMUTH", name) % 360,
        elevation=_number(attributes, "SUN_ELEVATION", name),
    )
    files = {
        key.removeprefix("FILE_NAME_"): str(value)
        for key, value in contents.items()
        if key.startswith("FILE_NAME_BAND_")
    }
    if _LEVEL_2.match(level):
        bands = _surface(groups, files, name)
    else:
        bands = _top_of_air(groups, files, sun, name)
    return Radiometry(bands=bands, sun=sun)


def landsat_quality(
    pixel: NDArray[np.integer],
    radsat: NDArray[np.integer] | None = None,
    *,
    sensor_id: str,
) -> Quality:
    """What QA_PIXEL (H, W) and QA_RADSAT of Collection 2 say (LSDS-1822, -1414, -1415, -1416).

    Bits of QA_PIXEL: 0 fill, 1 dilated cloud, 2 cirrus, 3 cloud, 4 cloud shadow, 5 snow. Of TM and
    ETM+ bit 2 is not used, of MSS 0 and 3 alone are.

    Args:
        pixel: QA_PIXEL.
        radsat: QA_RADSAT of the same pixels: its bits 0 to 6 are the bands 1 to 7, of which 6 is
            thermal on TM and ETM+; bit 9 is a dropped pixel, and not used of OLI.
        sensor_id: of the instrument; of MSS no shadow and no snow is coded.
    """
    bits = np.asarray(pixel, dtype=np.uint16)

    def bit(number: int) -> NDArray[np.bool_]:
        return (bits >> number & 1).astype(bool)

    saturated, dropped = None, np.zeros(bits.shape, dtype=bool)
    if radsat is not None:
        said = np.asarray(radsat, dtype=np.uint16)
        bands = _BANDS & ~_SIXTH if sensor_id in _THERMAL_SIXTH else _BANDS
        saturated = (said & bands) != 0
        dropped = (said >> 9 & 1).astype(bool)
    return Quality(
        void=bit(0) | dropped,
        cloud=bit(1) | bit(2) | bit(3),
        shadow=None if sensor_id in _MSS else bit(4),
        snow=None if sensor_id in _MSS else bit(5),
        saturated=saturated,
    )


def saturation_beside(quality: Path) -> Path | None:
    """Where the QA_RADSAT of a QA_PIXEL may lie; None for a file of another name."""
    beside = quality.with_name(quality.name.replace("QA_PIXEL", "QA_RADSAT"))
    return None if beside == quality else beside


def _top_of_air(
    groups: dict[str, Any], files: dict[str, str], sun: SunPosition, name: str
) -> dict[str, Calibration]:
    scaling = _group(groups, "LEVEL1_RADIOMETRIC_RESCALING", name)
    limits = groups.get("LEVEL1_MIN_MAX_PIXEL_VALUE", {})
    require_sun(sun.elevation)
    light = math.sin(math.radians(sun.elevation))
    found = {}
    for band, file in files.items():
        if f"REFLECTANCE_MULT_{band}" not in scaling:
            continue  # a thermal band
        gain = _number(scaling, f"REFLECTANCE_MULT_{band}", name) / light
        offset = _number(scaling, f"REFLECTANCE_ADD_{band}", name) / light
        most = f"QUANTIZE_CAL_MAX_{band}"
        found[file] = Calibration(
            gain=gain,
            offset=offset,
            fill=_FILL,
            saturated=_number(limits, most, name) if most in limits else None,
        )
    return found


def _surface(groups: dict[str, Any], files: dict[str, str], name: str) -> dict[str, Calibration]:
    stated = groups.get("LEVEL2_SURFACE_REFLECTANCE_PARAMETERS", {})
    found = {}
    for band, file in files.items():
        if "_ST_" in file:
            continue  # temperature of the surface
        keys = f"REFLECTANCE_MULT_{band}", f"REFLECTANCE_ADD_{band}"
        scaling = {**dict(zip(keys, _SURFACE, strict=True)), **stated}
        gain, offset = (_number(scaling, key, name) for key in keys)
        found[file] = Calibration(gain=gain, offset=offset, fill=_FILL, saturated=65535.0)
    if not found:
        raise SceneError(f"{name} names no band of surface reflectance; fetch it again.")
    return found


def _groups(text: str, name: str) -> dict[str, Any]:
    """The groups of an MTL file by their names, those of either form."""
    try:
        if text.lstrip().startswith("{"):
            content = json.loads(text)["LANDSAT_METADATA_FILE"]
            return {key: value for key, value in content.items() if isinstance(value, dict)}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _no_mtl(name) from error
    groups = parse_mtl(text)
    if not groups:
        raise _no_mtl(name)
    return groups


def _group(groups: dict[str, Any], wanted: str, name: str) -> dict[str, Any]:
    if wanted not in groups:
        raise SceneError(
            f"{name} has no group {wanted}; it is no MTL file of Collection 2, fetch the scene "
            "again from there."
        )
    return dict(groups[wanted])


def _number(group: dict[str, Any], key: str, name: str) -> float:
    try:
        return float(group[key])
    except (KeyError, ValueError, TypeError) as error:
        raise SceneError(f"{name} gives no number for {key}; fetch it again.") from error


def _no_mtl(name: str) -> SceneError:
    return SceneError(f"{name} is no MTL file that can be read; fetch it again.")
