"""Reflectance and backscatter of what covers the ground.

Reflectances are round figures after the ECOSTRESS spectral library (Meerdink and others 2019) and,
for ice and snow, Hall and Martinec 1985; backscatter after Ulaby and Dobson 1989 and, for wet snow,
Nagler and Rott 2000. They set the kinds apart as in nature; they are no measurement.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["BACKSCATTER_DB", "KINDS", "reflectance_of"]

_CENTRES_UM = (0.48, 0.56, 0.66, 0.83, 1.61, 2.20)

KINDS: Mapping[str, tuple[float, ...]] = MappingProxyType(
    {
        "snow": (0.92, 0.92, 0.90, 0.84, 0.12, 0.08),
        "ice": (0.56, 0.53, 0.45, 0.34, 0.04, 0.03),
        "debris": (0.12, 0.14, 0.17, 0.20, 0.22, 0.18),
        "granite": (0.15, 0.18, 0.21, 0.26, 0.30, 0.27),
        "schist": (0.08, 0.09, 0.11, 0.14, 0.16, 0.13),
        "meadow": (0.04, 0.07, 0.06, 0.30, 0.22, 0.11),
        "turbid water": (0.17, 0.21, 0.17, 0.09, 0.02, 0.01),
        "clear water": (0.08, 0.07, 0.04, 0.02, 0.01, 0.01),
        "mud": (0.09, 0.12, 0.16, 0.22, 0.25, 0.20),
    }
)

BACKSCATTER_DB: Mapping[str, tuple[float, float]] = MappingProxyType(  # gamma0 in VV, VH
    {
        "snow": (-17.0, -24.0),
        "ice": (-10.0, -18.0),
        "debris": (-8.0, -15.0),
        "granite": (-9.5, -16.0),
        "schist": (-9.0, -15.5),
        "meadow": (-11.5, -17.0),
        "turbid water": (-19.0, -27.0),
        "clear water": (-21.0, -28.0),
        "mud": (-10.5, -18.5),
    }
)


def reflectance_of(kind: str, centre_um: float) -> float:
    """Reflectance (0 to 1) of a kind of surface at a wavelength."""
    return float(np.interp(centre_um, _CENTRES_UM, KINDS[kind]))
