"""Objects in a chip of pixel probabilities, and what they look like in numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.ndimage import find_objects as boxes_of
from scipy.ndimage import label

from geoseg.errors import ConfigError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FEATURES", "ChipObject", "ObjectRule", "features_of", "find_objects"]

_ROUNDING = 1e-9  # of a pixel: an area that is a whole number of pixels stays one
_SURE_PART = 0.75  # quantile of the pixels of an object that stands for it: its rim is in doubt

FEATURES = (
    "objects",  # log(1 + how many)
    "area",  # log(1 + m2 of all)
    "largest",  # log(1 + m2 of the largest)
    "mean",  # probability of the pixels of the surest object
    "sure",  # its upper quartile
    "maximum",  # of all pixels of the chip
    "compactness",  # of the surest object: 1 of a disc, less of what is long or frayed
    "valid",  # share of pixels with data
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectRule:
    """What counts as an object: pixels that touch along a side, all at least this likely."""

    min_area_m2: float  # of the smallest object; what a chip's edge cuts off does not count
    pixel_m2: float
    least_probability: float = 0.2  # low, since an object is weighed by its own probability after

    def __post_init__(self) -> None:
        if not (self.min_area_m2 > 0 and self.pixel_m2 > 0):
            raise ConfigError(
                f"A smallest object of {self.min_area_m2:g} m2 and pixels of {self.pixel_m2:g} m2; "
                "both are above 0."
            )
        if not 0 < self.least_probability <= 1:
            raise ConfigError(
                f"A least probability of {self.least_probability:g}; give one above 0, up to 1."
            )

    @property
    def min_px(self) -> int:
        """Pixels of the smallest object."""
        return max(1, math.ceil(self.min_area_m2 / self.pixel_m2 - _ROUNDING))


class ChipObject(NamedTuple):
    """One object of a chip."""

    area_px: int
    border_px: int  # sides of pixels
    mean: float  # probability of its pixels
    sure: float  # their upper quartile

    @property
    def compactness(self) -> float:
        """4 pi area / border^2, borders of pixels taken to smooth ones: 1 of a disc."""
        return min(1.0, 4 * math.pi * self.area_px / (self.border_px * math.pi / 4) ** 2)


def find_objects(
    probability: NDArray[np.floating], valid: NDArray[np.bool_], rule: ObjectRule
) -> list[ChipObject]:
    """Objects of a chip (H, W) that are large enough, the surest first."""
    inside = valid & (np.where(valid, probability, 0) >= rule.least_probability)
    if np.count_nonzero(inside) < rule.min_px:
        return []
    labels, _ = label(inside)  # four neighbours: squares that touch at a corner are two outlines
    found = []
    for number, box in enumerate(boxes_of(labels), start=1):
        mask = labels[box] == number
        if np.count_nonzero(mask) >= rule.min_px:
            found.append(_describe(mask, probability[box]))
    return sorted(found, key=lambda one: (-one.sure, -one.area_px))


def features_of(
    probability: NDArray[np.floating],
    valid: NDArray[np.bool_],
    objects: list[ChipObject],
    rule: ObjectRule,
) -> NDArray[np.float64]:
    """Numbers (F,) of a chip, as `FEATURES` names them; NaN of one without a valid pixel."""
    if not valid.any():
        return np.full(len(FEATURES), np.nan)
    areas = [one.area_px * rule.pixel_m2 for one in objects]
    surest = objects[0] if objects else None
    return np.array(
        [
            math.log1p(len(objects)),
            math.log1p(sum(areas)),
            math.log1p(max(areas, default=0)),
            surest.mean if surest else 0.0,
            surest.sure if surest else 0.0,
            float(probability[valid].max()),
            surest.compactness if surest else 0.0,
            float(valid.mean()),
        ]
    )


def _describe(mask: NDArray[np.bool_], probability: NDArray[np.floating]) -> ChipObject:
    edged = np.pad(mask, 1).astype(np.int8)
    border = np.abs(np.diff(edged, axis=0)).sum() + np.abs(np.diff(edged, axis=1)).sum()
    values = probability[mask]
    return ChipObject(
        area_px=values.size,
        border_px=int(border),
        mean=float(values.mean()),
        sure=float(np.quantile(values, _SURE_PART)),
    )
