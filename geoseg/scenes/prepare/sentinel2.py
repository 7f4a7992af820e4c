"""Sentinel-2: the metadata of a product, and the scene classification of Level 2A.

After ESA, Sentinel-2 Products Specification Document (S2-PDGS-TAS-DI-PSD), issue 14.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from geoseg.errors import SceneError
from geoseg.scenes.prepare.calibration import Calibration, Radiometry
from geoseg.scenes.prepare.quality import Quality
from geoseg.scenes.xml_text import number_in, parse_xml, text_in

if TYPE_CHECKING:
    from xml.etree.ElementTree import Element

    from numpy.typing import NDArray

__all__ = ["sentinel2_quality", "sentinel2_radiometry"]

_OFFSETS_SINCE = (4, 0)  # processing baseline, of 25 January 2022 (PSD issue 14)


def sentinel2_radiometry(text: str, name: str) -> Radiometry:
    """Calibrations of all bands by their physical names (B1, B8A): (Q + offset) / quantification.

    Without the offset, which products have since baseline 04.00, reflectance is 0.1 too bright.

    Args:
        text: of MTD_MSIL1C.xml or MTD_MSIL2A.xml.
        name: of the file, for messages.

    Raises:
        SceneError: no such metadata, or a baseline that has offsets and gives none.
    """
    root = parse_xml(text, name)
    level_2 = text_in(root, ".//BOA_QUANTIFICATION_VALUE") is not None
    divisor = number_in(root, f".//{'BOA_' if level_2 else ''}QUANTIFICATION_VALUE", name)
    bands = {
        e.get("bandId", ""): e.get("physicalBand", "") for e in root.iter("Spectral_Information")
    }
    if divisor is None or not divisor > 0 or not bands:
        raise SceneError(
            f"{name} gives no quantification value or no bands; it is no metadata of a Sentinel-2 "
            "product, fetch it again."
        )
    offsets = {
        e.get("band_id", ""): _offset(e, name)
        for e in root.iter("BOA_ADD_OFFSET" if level_2 else "RADIO_ADD_OFFSET")
    }
    _require_offsets(root, bands, offsets, name)
    special = {
        text_in(e, "SPECIAL_VALUE_TEXT"): number_in(e, "SPECIAL_VALUE_INDEX", name)
        for e in root.iter("Special_Values")
    }
    found = {
        physical: Calibration(
            gain=1 / divisor,
            offset=offsets.get(number, 0.0) / divisor,
            fill=special.get("NODATA", 0.0),
            saturated=special.get("SATURATED", 65535.0),
        )
        for number, physical in bands.items()
    }
    return Radiometry(bands=found)


def sentinel2_quality(classes: NDArray[np.integer]) -> Quality:
    """What the scene classification (H, W) of Level 2A says (ESA, Level-2A ATBD, table 3).

    0 no data, 1 saturated or defective, 3 cloud shadow, 8 and 9 cloud, 10 thin cirrus, 11 snow.
    """
    return Quality(
        void=classes == 0,
        cloud=np.isin(classes, (8, 9, 10)),
        shadow=classes == 3,
        snow=classes == 11,
        saturated=classes == 1,
    )


def _offset(element: Element, name: str) -> float:
    try:
        return float(element.text or "nan")
    except ValueError as error:
        raise SceneError(
            f"{name} gives {element.tag} = {element.text!r}, which is no number; fetch it again."
        ) from error


def _require_offsets(
    root: Element, bands: dict[str, str], offsets: dict[str, float], name: str
) -> None:
    stated = text_in(root, ".//PROCESSING_BASELINE") or ""
    found = re.fullmatch(r"(\d{1,4})\.(\d{1,4})", stated)
    if found is None:
        raise SceneError(f"{name} gives no processing baseline; fetch it again.")
    if (int(found[1]), int(found[2])) < _OFFSETS_SINCE:
        return
    missing = [physical for number, physical in bands.items() if number not in offsets]
    if missing:
        raise SceneError(
            f"{name} is of processing baseline {stated} and gives no offset for "
            f"{', '.join(missing)}; reflectance would be 0.1 off. Fetch it again."
        )
