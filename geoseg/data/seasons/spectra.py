"""Spectra of what covers the ground, as anchors between which they are straight.

Round figures after the ECOSTRESS spectral library (Meerdink and others 2019); backscatter after
Ulaby and Dobson 1989. They set covers apart as in nature; they are no measurement.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from geoseg.errors import SensorError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from geoseg.sensors import Band

__all__ = ["COVERS", "measured_by"]

_ANCHORS_UM = (0.40, 0.48, 0.56, 0.66, 0.69, 0.74, 0.80, 0.87, 1.00, 1.30, 1.61, 1.90, 2.20, 2.40)
_SPECTRA: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {
        "soil": (.06, .09, .13, .18, .19, .21, .23, .25, .28, .33, .36, .33, .33, .30),
        "leaves": (.03, .03, .08, .04, .05, .34, .42, .44, .45, .40, .23, .10, .11, .08),
        "straw": (.06, .10, .15, .22, .24, .28, .31, .34, .38, .42, .40, .30, .28, .22),
        "rock": (.11, .13, .15, .18, .18, .19, .20, .20, .21, .22, .23, .22, .20, .18),
        "water": (.07, .07, .06, .04, .035, .025, .02, .015, .01, .01, .005, .005, .005, .005),
        "snow": (.93, .94, .94, .92, .91, .89, .87, .85, .72, .50, .12, .07, .09, .06),
    }
)  # fmt: skip
_BACKSCATTER_DB: Mapping[str, tuple[float, float]] = MappingProxyType(  # gamma0 in VV, VH
    {
        "soil": (-11.0, -19.5),
        "leaves": (-9.5, -14.5),
        "straw": (-12.0, -18.0),
        "rock": (-9.0, -16.0),
        "water": (-20.0, -27.0),
        "snow": (-15.0, -22.0),
    }
)
COVERS = tuple(_SPECTRA)

_STEPS = np.arange(0.36, 2.5, 0.002)


def measured_by(band: Band) -> NDArray[np.float32]:
    """What a band measures of each cover (K,): reflectance, or power of backscatter.

    Raises:
        SensorError: the band is thermal, or no band of light or radar.
    """
    if band.polarisation is not None:
        column = 0 if band.polarisation == "VV" else 1
        powers = [10 ** (_BACKSCATTER_DB[cover][column] / 10) for cover in COVERS]
        return np.array(powers, dtype=np.float32)
    if band.centre_um is None or band.fwhm_um is None or band.centre_um > _ANCHORS_UM[-1]:
        raise SensorError(f"Band {band.name!r} measures no reflectance; leave it out.")
    width = band.fwhm_um / (2 * np.sqrt(2 * np.log(2)))
    response = np.exp(-0.5 * ((_STEPS - band.centre_um) / width) ** 2)
    spectra = [np.interp(_STEPS, _ANCHORS_UM, _SPECTRA[cover]) for cover in COVERS]
    return np.asarray(np.stack(spectra) @ response / response.sum(), dtype=np.float32)
