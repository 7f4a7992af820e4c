"""What lies between the ground and a sensor: clouds, their shadows, and the mask of a processor."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.ndimage import binary_dilation, gaussian_filter, shift

from geoseg.data.simulate.noise import fractal

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Sky", "make_sky"]

CLOUD_REFLECTANCE = 0.55

_SEEN_ABOVE = 0.15  # opacity that a processor finds
_CLOUDLESS, _OVERCAST = 0.30, 0.40  # of the days
_SHADOW = 0.55  # of the light that is left there


class Sky(NamedTuple):
    """Over (H, W) cells."""

    opacity: NDArray[np.float32]  # 0 to 1
    light: NDArray[np.float32]  # 1 outside of shadows
    masked: NDArray[np.bool_]  # what a processor says is cloud or shadow


def make_sky(rng: np.random.Generator, *, side: int) -> Sky | None:
    """The sky at one overpass; None where it is overcast.

    A mask finds what is thick, and a cell around it; thin edges and one cloud in twenty escape it.
    """
    drawn = rng.uniform()
    if drawn < _OVERCAST:
        return None
    if drawn < _OVERCAST + _CLOUDLESS:
        clear = np.zeros((side, side), dtype=np.float32)
        return Sky(clear, np.ones_like(clear), clear > 0)
    field = fractal(side, rng, roughness=3.6)
    thick = field - np.quantile(field, rng.uniform(0.2, 0.95))
    opacity = np.clip(gaussian_filter(thick, 2) * 1.5, 0, 0.95)
    away = rng.uniform(8, 30, 2) * rng.choice([-1, 1], 2)
    shaded = np.clip(shift(opacity, away, order=1, mode="nearest") * 3, 0, 1)
    escapes = rng.uniform() < 0.05
    found = (opacity > _SEEN_ABOVE) & ~escapes
    found_shadow = (shaded > 0.5) & (rng.uniform() < 0.85)
    return Sky(
        opacity.astype(np.float32),
        (1 - (1 - _SHADOW) * shaded * (opacity < _SEEN_ABOVE)).astype(np.float32),
        binary_dilation(found, iterations=2) | binary_dilation(found_shadow, iterations=2),
    )
