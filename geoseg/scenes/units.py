"""What the values of a scene look like: reflectance, digital numbers, decibels or metres."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike

    from geoseg.sensors import Band

__all__ = ["Unit", "describe_units", "unit_of"]


class Unit(StrEnum):
    """What values look like."""

    REFLECTANCE = "reflectance 0-1"
    SCALED = "scaled reflectance 0-10000"
    DIGITAL_8 = "digital numbers 0-255"
    DIGITAL_16 = "digital numbers 0-65535"
    DECIBEL = "decibels"
    METRES = "metres"


_BRIGHTEST = 2.0  # reflectance of a sunlit slope of snow, and more
_BRIGHTEST_SCALED = 20_000.0
_LOUDEST_DB = 40.0  # of a corner reflector, and more


def unit_of(sample: ArrayLike, band: Band | None = None) -> Unit | None:
    """What the values of one band look like, from some of its pixels; None without any.

    Values alone cannot tell all: a scan of 12 bits looks like scaled reflectance, a very dark
    picture of 8 bits like reflectance.

    Args:
        sample: values, NaN where there is none.
        band: what was measured, where it is known: elevation looks like digital numbers.
    """
    values = np.asarray(sample, dtype=np.float64)
    values = values[np.isfinite(values)]
    if values.size == 0:
        return None
    if band is not None and band.common_name == "elevation":
        return Unit.METRES
    low, middle, high = np.percentile(values, [0.5, 50, 99.5])
    if middle < 0 and low < -_BRIGHTEST and high <= _LOUDEST_DB:
        return Unit.DECIBEL
    if high <= _BRIGHTEST:
        return Unit.REFLECTANCE
    if values.max() <= 255:
        return Unit.DIGITAL_8
    return Unit.SCALED if high <= _BRIGHTEST_SCALED else Unit.DIGITAL_16


def describe_units(samples: Mapping[str, ArrayLike]) -> str | None:
    """One sentence on a set of scenes whose values look like several units; None when they agree.

    Args:
        samples: pixels (C, P) of each scene by its id, as of `scene_sample`. The first band speaks
            for its scene: terrain stands last.
    """
    scenes: dict[Unit, list[str]] = {}
    for name, sample in samples.items():
        unit = unit_of(np.asarray(sample)[0])
        if unit is not None:
            scenes.setdefault(unit, []).append(name)
    if len(scenes) < 2:
        return None
    parts = ", ".join(f"{_subject(names)} like {unit.value}" for unit, names in scenes.items())
    return f"The values of {parts}; each scene is standardised by its own tones."


def _subject(names: list[str]) -> str:
    if len(names) == 1:
        return f"scene {names[0]} look"
    return f"scenes {names[0]} and {len(names) - 1} more look"
