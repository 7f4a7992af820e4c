"""Parts of a scene: where to train, where to validate, what to hold out."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from math import ceil, floor
from operator import or_
from typing import TYPE_CHECKING

import numpy as np
from odc.geo.geom import Geometry
from rasterio.features import rasterize
from rasterio.windows import Window

from geoseg.chips.source import LEARN, UNSEEN
from geoseg.errors import ConfigError
from geoseg.grids import part_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from geoseg.config import SplitSettings

__all__ = ["HeldOut", "Split", "split_scene", "tiles_of"]

_STEPS = 32  # points a side
_SLIVER = 0.01  # of a pixel


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Three windows of a scene that share no pixel."""

    train: Window
    validation: Window | None
    test: Window | None


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Ground that no training sees, in whatever scene it lies."""

    outline: Geometry

    @classmethod
    def parts(cls, grid: GeoBox, windows: Sequence[Window]) -> HeldOut:
        """The ground of some windows of a scene."""
        return cls(reduce(or_, (part_of(grid, window).extent for window in windows)))

    def window(self, grid: GeoBox) -> Window | None:
        """The pixels of a grid that this ground spans; None where it lies elsewhere."""
        box = self._on(grid).boundingbox
        across, down = ~grid.affine * (box.left, box.top), ~grid.affine * (box.right, box.bottom)
        left, top = (max(0, ceil(v - _SLIVER)) for v in across)
        right = min(grid.shape.x, floor(down[0] + _SLIVER))
        bottom = min(grid.shape.y, floor(down[1] + _SLIVER))
        if right <= left or bottom <= top:
            return None
        return Window(left, top, right - left, bottom - top)

    def __call__(self, grid: GeoBox) -> NDArray[np.uint8]:
        """UNSEEN for each pixel (H, W) of a grid that touches the ground held out, else LEARN."""
        there = self._on(grid)
        if not there.intersects(grid.extent):
            return np.full(grid.shape, LEARN, dtype=np.uint8)
        # An edge that two scenes share is no overlap.
        inside = there.geom.buffer(-_SLIVER * abs(grid.resolution.x))
        return np.asarray(
            rasterize(
                [(inside, UNSEEN)],
                out_shape=grid.shape,
                fill=LEARN,
                transform=grid.affine,
                all_touched=True,
                dtype=np.uint8,
            )
        )

    def _on(self, grid: GeoBox) -> Geometry:
        """The outline in the reference system of a grid."""
        assert grid.crs is not None
        # A straight side in one projection is bent in another.
        box = self.outline.boundingbox
        step = max(box.span_x, box.span_y) / _STEPS
        return self.outline.to_crs(grid.crs, resolution=step)


def split_scene(grid: GeoBox, settings: SplitSettings) -> Split:
    """Cut a scene straight through.

    The validation part is the end of the training part that lies farthest from the held-out part.

    Raises:
        ConfigError: no pixel is left to train on.
    """
    across = settings.train_from in {"west", "east"}
    length = grid.shape.x if across else grid.shape.y
    trained = round(length * settings.train_share)
    kept = round(trained * settings.validation_share)
    if trained - kept < 1:
        raise ConfigError(
            f"split.train_share = {settings.train_share} and split.validation_share = "
            f"{settings.validation_share} leave no pixel to train on; raise the first."
        )

    def part(start: int, stop: int) -> Window | None:
        """From `start` to `stop`, counted from the side that trains."""
        if start == stop:
            return None
        if settings.train_from in {"east", "south"}:
            start, stop = length - stop, length - start
        if across:
            return Window(start, 0, stop - start, grid.shape.y)
        return Window(0, start, grid.shape.x, stop - start)

    train = part(kept, trained)
    assert train is not None
    return Split(train=train, validation=part(0, kept), test=part(trained, length))


def tiles_of(window: Window, size_px: int) -> list[Window]:
    """Windows of one size that cover a window; the last of a row overlaps the one before it."""
    rows = _starts(window.row_off, window.height, size_px)
    columns = _starts(window.col_off, window.width, size_px)
    return [Window(column, row, size_px, size_px) for row in rows for column in columns]


def _starts(first: int, length: int, size: int) -> list[int]:
    last = max(first, first + length - size)
    return sorted({*range(first, last, size), last})
