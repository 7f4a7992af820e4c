"""Speckle of radar in decibels: how far the logarithm of an average of looks is off, and spreads.

Intensity of L independent looks is a gamma variable of shape L about the backscatter, so that its
logarithm is off by digamma(L) - ln L and has the variance trigamma(L), whatever the backscatter
(Xie, Pierce and Ulaby 2002, Statistical properties of logarithmically transformed speckle).
"""

from __future__ import annotations

import math

from scipy.special import digamma, polygamma

from geoseg.errors import SensorError

__all__ = ["bias_db", "sd_db"]

_DB = 10 / math.log(10)


def bias_db(looks: float) -> float:
    """Mean of measured less true backscatter in dB, below 0.

    Args:
        looks: equivalent number of them, above 0.

    Raises:
        SensorError: a number of looks that is none.
    """
    return _DB * float(digamma(_checked(looks)) - math.log(looks))


def sd_db(looks: float) -> float:
    """Standard deviation of measured backscatter in dB.

    Args:
        looks: equivalent number of them, above 0.

    Raises:
        SensorError: a number of looks that is none.
    """
    return _DB * math.sqrt(float(polygamma(1, _checked(looks))))


def _checked(looks: float) -> float:
    if not (math.isfinite(looks) and looks > 0):
        raise SensorError(f"{looks} looks are none; give a number above 0, 4.4 for Sentinel-1 GRD.")
    return looks
