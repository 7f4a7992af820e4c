"""Some pixels of a whole scene."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
from rasterio.windows import Window

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from geoseg.scenes.reader import SceneReader

__all__ = ["scene_sample"]

_WINDOW_PX = 16
_SIDES = (12, 24, 48)  # windows a side, the next where the one before found too few pixels
_SMALL_PX = 2**18  # a scene of no more is read whole


def scene_sample(reader: SceneReader, count: int = 1024, seed: int = 0) -> NDArray[np.float32]:
    """Valid pixels (C, P) of a whole scene, drawn at random: for one scene always the same.

    Small windows are read, spread over the scene, or all of a small one. Pixels repeat where the
    scene has fewer; all are NaN where it has none. Otherwise only voids of the terrain are NaN.

    Args:
        reader: of the bands wanted.
        count: of pixels.
        seed: another seed, other pixels.
    """
    rng = np.random.default_rng(seed)
    found = np.empty((len(reader.bands), 0), dtype=np.float32)
    for side in _SIDES:
        parts = [found]
        for window in _spread(reader, side, rng):
            image, valid = reader.read(window)
            parts.append(image[:, valid])
        found = np.concatenate(parts, axis=1)
        if found.shape[1] >= count or _is_small(reader):
            break
    if found.shape[1] == 0:
        return np.full((len(reader.bands), count), np.nan, dtype=np.float32)
    return found[:, rng.choice(found.shape[1], count, replace=found.shape[1] < count)]


def _spread(reader: SceneReader, side: int, rng: np.random.Generator) -> Iterator[Window]:
    """One window in each cell of a lattice of side x side; all of a small scene."""
    height, width = reader.grid.shape
    if _is_small(reader):
        yield Window(0, 0, width, height)
        return
    rows, columns = (np.linspace(0, n, min(side, n) + 1).astype(int) for n in (height, width))
    for top, bottom in pairwise(rows):
        for left, right in pairwise(columns):
            h, w = min(_WINDOW_PX, bottom - top), min(_WINDOW_PX, right - left)
            y, x = rng.integers(top, bottom - h + 1), rng.integers(left, right - w + 1)
            yield Window(int(x), int(y), int(w), int(h))


def _is_small(reader: SceneReader) -> bool:
    return reader.grid.shape.y * reader.grid.shape.x * reader.coarser**2 <= _SMALL_PX
