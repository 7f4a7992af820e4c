"""A class map on disk, read in strips."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import rasterio
from rasterio.windows import Window

from geoseg.errors import SceneError
from geoseg.grids import crs_of, raster_grid, require_metres
from geoseg.scenes import open_raster, reading
from geoseg.vectorize.runs import label_strips

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from rasterio.io import DatasetReader

    from geoseg.vectorize.runs import Strip

__all__ = ["MapReader", "OnStrip", "open_map", "strip_rows"]

_STRIP_PX = 2**24  # pixels of a strip: 16 MB, and some times that while its runs are found
# A strip is whole rows of blocks, so that no block is read twice in a pass and none need be kept.
_CACHE_BYTES = 32 * 2**20


class OnStrip(Protocol):
    """Is told how far the reading of a map is."""

    def __call__(self, done: int, total: int, /) -> None:
        """Strips read so far, and strips to read in all passes."""


class MapReader:
    """A class map, read from top to bottom as often as it is needed."""

    def __init__(self, raster: DatasetReader, *, passes: int, on_strip: OnStrip | None) -> None:
        self.grid = raster_grid(raster)
        require_metres(crs_of(self.grid), "Minimum areas")
        self._raster = raster
        self._rows = strip_rows(raster.width, raster.block_shapes[0][0])
        self._total = passes * -(-raster.height // self._rows)
        self._done = 0
        self._on_strip = on_strip

    def strips(
        self, change: Callable[[NDArray[np.uint8]], NDArray[np.uint8]] | None = None
    ) -> Iterator[Strip]:
        """One pass over the map; labels are the same in each.

        Args:
            change: makes classes of the rows that were read; the rows themselves when None.
        """
        parts = self._parts() if change is None else map(change, self._parts())
        return label_strips(parts, self._raster.width)

    def _parts(self) -> Iterator[NDArray[np.uint8]]:
        width, height = self._raster.width, self._raster.height
        for top in range(0, height, self._rows):
            yield self._raster.read(1, window=Window(0, top, width, min(self._rows, height - top)))
            self._done += 1
            if self._on_strip is not None:
                self._on_strip(self._done, self._total)


@contextmanager
def open_map(path: Path, *, passes: int, on_strip: OnStrip | None) -> Iterator[MapReader]:
    """A class map to be read `passes` times.

    Raises:
        SceneError: it cannot be read, or does not hold class ids.
        GridError: it is not in metres, so that a minimum area has no meaning.
    """
    with (
        rasterio.Env(GDAL_CACHEMAX=_CACHE_BYTES),
        open_raster(path) as raster,
        reading(path),
    ):
        if raster.dtypes[0] != "uint8":
            raise SceneError(
                f"{path} holds {raster.dtypes[0]} values and a class map holds ids of classes as "
                "uint8; give the class map, not the image or the probabilities."
            )
        yield MapReader(raster, passes=passes, on_strip=on_strip)


def strip_rows(width: int, block_rows: int) -> int:
    """Rows of a strip of a raster of `width` columns: whole rows of blocks, at least one."""
    return max(1, _STRIP_PX // (width * block_rows)) * block_rows
