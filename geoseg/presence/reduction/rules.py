"""Rules from the pixels of a chip to one probability, 0 to 1, NaN where no pixel is valid.

Noise makes some pixel of every large chip likely; rules that ask for an area withstand it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from geoseg.presence.reduction.objects import ChipObject

__all__ = ["maximum", "noisy_or", "top_k_mean"]


def maximum(probability: NDArray[np.floating], valid: NDArray[np.bool_]) -> float:
    """Of the likeliest pixel of a chip (H, W)."""
    return float(probability[valid].max()) if valid.any() else float("nan")


def top_k_mean(
    probability: NDArray[np.floating], valid: NDArray[np.bool_], *, pixels: int
) -> float:
    """Mean of the likeliest pixels of a chip (H, W), wherever they lie.

    Args:
        probability: of the thing in each pixel.
        valid: which pixels have data.
        pixels: how many: as the smallest object has. All valid ones where there are fewer.
    """
    known = probability[valid]
    if not known.size:
        return float("nan")
    count = min(pixels, known.size)
    return float(np.partition(known, known.size - count)[known.size - count :].mean())


def noisy_or(objects: Sequence[ChipObject], valid: NDArray[np.bool_]) -> float:
    """That at least one object is real, each by itself (Pearl 1988): 1 - product of (1 - p).

    The probability of an object is the upper quartile of its pixels.
    """
    if not valid.any():
        return float("nan")
    return 1 - float(np.prod([1 - one.sure for one in objects]))
