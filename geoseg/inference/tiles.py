"""Tiles of a scene, row by row, and the weights that blend them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from rasterio.windows import Window

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

__all__ = ["blend_weights", "tile_rows"]


def tile_rows(shape: tuple[int, int], *, size: int, halo: int) -> Iterator[list[Window]]:
    """Rows of square tiles that cover a raster (H, W); neighbours overlap by two halos.

    The first tiles begin a halo outside the raster, so that every pixel of it is as far from the
    edge of some tile as any other.
    """
    step = size - 2 * halo
    for top in range(-halo, shape[0] - halo, step):
        yield [Window(left, top, size, size) for left in range(-halo, shape[1] - halo, step)]


def blend_weights(*, size: int, halo: int) -> NDArray[np.float32]:
    """Weights (size, size) that rise over the overlap and add up to 1 over neighbouring tiles."""
    overlap = 2 * halo
    side = np.ones(size)
    if overlap:
        side[:overlap] = (np.arange(overlap) + 0.5) / overlap
        side[-overlap:] = side[:overlap][::-1]
    return np.outer(side, side).astype(np.float32)
