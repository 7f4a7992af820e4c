"""Quantities in words: as many digits as their uncertainty allows."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

__all__ = ["UNKNOWN", "Z90", "known", "measured", "quantity", "rated", "shown"]

Z90 = 1.645  # standard deviations to either side that hold 90 % of a normal distribution
UNKNOWN = "\N{EN DASH}"
_MOST_PLACES = 6  # of a km2: a square metre


def quantity(value: float, digits: int = 3, *, sign: bool = False) -> str:
    """A number with so many significant digits, all digits before the point, and no exponent."""
    if not math.isfinite(value):
        return UNKNOWN
    if value == 0:
        return "0"
    return _written(value, _places(value, digits), sign=sign)


def measured(value: float, deviation: float, *, sign: bool = False) -> str:
    """A value and the half width of its 90 % interval, to two digits of the latter.

    Args:
        value: in any unit.
        deviation: standard deviation, in the same; NaN where not known.
        sign: write a plus before what is positive.
    """
    half = Z90 * deviation
    if not (math.isfinite(value) and math.isfinite(half) and half > 0):
        return quantity(value, sign=sign)
    places = _places(half, 2)
    return f"{_written(value, places, sign=sign)} ± {_written(half, places)}"


def rated(value: float, low: float, high: float) -> tuple[str, str]:
    """A rate and its interval, to two digits of half the latter; empty where not known."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return quantity(value, 2, sign=True) if math.isfinite(value) else "", ""
    places = _places((high - low) / 2, 2)
    rate, *ends = (_written(number, places, sign=True) for number in (value, low, high))
    return rate, " to ".join(ends)


def known(value: Any) -> float:  # noqa: ANN401  a cell of any table
    """The number of a cell, NaN where it is empty."""
    return math.nan if value is None or pd.isna(value) else float(value)


def shown(value: Any) -> str:  # noqa: ANN401  a cell of any table
    """Text of a cell of a table, empty where the cell is."""
    return "" if value is None or pd.isna(value) else str(value)


def _places(value: float, digits: int) -> int:
    """Digits behind the point that give a value so many significant ones."""
    if value == 0:
        return 0
    return min(max(digits - 1 - math.floor(math.log10(abs(value))), 0), _MOST_PLACES)


def _written(value: float, places: int, *, sign: bool = False) -> str:
    value = round(value, places) + 0.0  # no negative zero
    return f"{value:{'+' if sign and value else ''},.{places}f}".replace("-", "\N{MINUS SIGN}")
