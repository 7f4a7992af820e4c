"""What is known of the quality of each pixel, and the mask that is made of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Collection

    from numpy.typing import NDArray

__all__ = ["STRIKABLE", "Mask", "Quality", "mask_of"]

STRIKABLE = ("cloud", "shadow", "snow", "saturated")


class Mask(IntEnum):
    """Values of a mask; readers of scenes take all but 0."""

    UNUSABLE = 0
    CLEAR = 1
    SNOW = 2  # snow or bare ice
    SATURATED = 3  # in one band or more: the least it may have been


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """Pixels (H, W) of each kind; None where nobody looked."""

    void: NDArray[np.bool_]  # nothing was measured
    cloud: NDArray[np.bool_] | None = None
    shadow: NDArray[np.bool_] | None = None  # of a cloud
    snow: NDArray[np.bool_] | None = None
    saturated: NDArray[np.bool_] | None = None

    def counts(self) -> dict[str, int]:
        """Pixels that were measured, and those among them of each kind that was looked for."""
        seen = ~self.void
        found = {
            kind: int((there & seen).sum())
            for kind in STRIKABLE
            if (there := getattr(self, kind)) is not None
        }
        return {"measured": int(seen.sum()), **found}


def mask_of(quality: Quality, strike: Collection[str]) -> NDArray[np.uint8]:
    """The mask (H, W) of a scene, in values of `Mask`.

    Args:
        quality: of its pixels.
        strike: which of `STRIKABLE` must not be used.
    """
    mask = np.full(quality.void.shape, Mask.CLEAR, dtype=np.uint8)
    for kind, value in (("snow", Mask.SNOW), ("saturated", Mask.SATURATED)):
        found = getattr(quality, kind)
        if found is not None:
            mask[found] = value
    for kind in strike:
        found = getattr(quality, kind)
        if found is not None:
            mask[found] = Mask.UNUSABLE
    mask[quality.void] = Mask.UNUSABLE
    return mask
