"""Tiles of a scene: where they lie, what each contributes, and how neighbours blend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np
from rasterio.windows import Window

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Axis", "Blend", "TileGrid"]

Blend = Literal["smooth", "crop"]

# Networks halve their image five times. A tile that begins on a multiple of this sees the pixels
# paired as they are in the whole image, without which no halo would make the two agree.
_STRIDE_PX = 32


@dataclass(frozen=True, slots=True)
class Axis:
    """Tiles of one size along one side of a scene, the first at its beginning.

    The last may reach beyond the end by less than 32 px: as far as a network pads an image.
    """

    length_px: int  # of the scene
    size_px: int  # of each tile
    starts: tuple[int, ...]

    @classmethod
    def plan(cls, length_px: int, *, core_px: int, halo_px: int) -> Axis:
        """About the fewest pixels in all, in tiles of at most the core and two halos.

        Args:
            length_px: of the scene.
            core_px: a multiple of 32 px.
            halo_px: at most a quarter of the core when rounded up to a multiple of 16 px, so that
                no three tiles overlap; neighbours overlap by at least two.
        """
        length, core = -(-length_px // _STRIDE_PX), core_px // _STRIDE_PX
        overlap = -(-2 * halo_px // _STRIDE_PX)
        fewest = max(1, -(-(length - overlap) // core))

        def size(count: int) -> int:
            return -(-(length + (count - 1) * overlap) // count)

        # Small tiles cost more than their pixels.
        count = min(range(fewest, 2 * fewest), key=lambda n: n * (size(n) + 1))
        room = length - size(count)
        starts = (i * room // max(1, count - 1) for i in range(count))
        return cls(length_px, size(count) * _STRIDE_PX, tuple(s * _STRIDE_PX for s in starts))

    def kept(self, index: int, blend: Blend) -> range:
        """Pixels of the scene to which a tile contributes."""
        start, end = self.starts[index], self.starts[index] + self.size_px
        if blend == "crop":
            start, end = self._cut(index - 1, start), self._cut(index, end)
        return range(start, min(end, self.length_px))

    def settled(self, index: int, blend: Blend) -> int:
        """The first pixel that tiles after this one still change; the length after the last."""
        if index == len(self.starts) - 1:
            return self.length_px
        return self.kept(index + 1, blend).start

    def weights(self, index: int) -> NDArray[np.float32]:
        """Weights (size,) of a tile, which add up to 1 with those of its neighbours.

        They rise as the squared sine over the overlap, which leaves no crease at its ends.
        """
        out = np.ones(self.size_px, dtype=np.float32)
        if index > 0:
            ramp = _ramp(self.starts[index - 1] + self.size_px - self.starts[index])
            out[: len(ramp)] = ramp
        if index + 1 < len(self.starts):
            ramp = _ramp(self.starts[index] + self.size_px - self.starts[index + 1])
            out[len(out) - len(ramp) :] = 1 - ramp
        return out

    def _cut(self, index: int, otherwise: int) -> int:
        """Where a tile and the next one meet: in the middle of their overlap."""
        if not 0 <= index < len(self.starts) - 1:
            return otherwise
        return (self.starts[index] + self.size_px + self.starts[index + 1]) // 2


@dataclass(frozen=True, slots=True)
class TileGrid:
    """Rows and columns of tiles over a scene."""

    rows: Axis
    columns: Axis
    blend: Blend

    @classmethod
    def plan(cls, shape: tuple[int, int], *, core_px: int, halo_px: int, blend: Blend) -> TileGrid:
        """Tiles over a raster (H, W)."""
        rows, columns = (Axis.plan(n, core_px=core_px, halo_px=halo_px) for n in shape)
        return cls(rows, columns, blend)

    @property
    def count(self) -> int:
        """Of tiles."""
        return len(self.rows.starts) * len(self.columns.starts)

    @property
    def tile_shape(self) -> tuple[int, int]:
        """Height and width of each tile."""
        return self.rows.size_px, self.columns.size_px

    @property
    def forward_px(self) -> int:
        """Pixels that a network is shown when no tile is skipped."""
        return self.count * self.rows.size_px * self.columns.size_px

    def window(self, row: int, column: int) -> Window:
        """Where a tile lies; it may reach beyond the scene."""
        height, width = self.tile_shape
        return Window(self.columns.starts[column], self.rows.starts[row], width, height)


def _ramp(overlap_px: int) -> NDArray[np.float32]:
    steps = (np.arange(overlap_px) + 0.5) / overlap_px
    return np.square(np.sin(np.pi / 2 * steps)).astype(np.float32)
