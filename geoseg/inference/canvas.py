"""Where tiles are put together: some rows of a scene, that move down as they are finished."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from geoseg.labels import IGNORE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from torch import Tensor

    from geoseg.inference.chance import Chance
    from geoseg.inference.layers import Layers
    from geoseg.inference.tiles import TileGrid

__all__ = ["Canvas", "open_canvas"]

# Probabilities are added up as whole numbers: half the memory of floating point, the same sum in
# any order, and 256 times finer than what is stored.
_WHOLE = 64_000
_CHUNK_PX = 2**20  # turned into layers at once


class Canvas(Protocol):
    """Puts tiles together."""

    def ready(self, chance: Chance, places: Sequence[tuple[int, int]]) -> NDArray[np.generic]:
        """What is put (N, B, h, w) of tiles at these rows and columns of the grid."""

    def put(self, tile: NDArray[np.generic], valid: NDArray[np.bool_], row: int, col: int) -> None:
        """Put a tile (B, h, w) with its validity (h, w) in its place."""

    def finish(self, row: int) -> NDArray[np.uint8]:
        """Layers (B, h, W) of the pixels that are settled after this row of tiles; moves down."""

    def overlap(self) -> NDArray[np.generic] | None:
        """What the next tiles go on from, to be kept beside what is finished."""

    def go_on(self, row: int, overlap: NDArray[np.generic] | None) -> None:
        """Begin after this row of tiles, which left this overlap."""


def open_canvas(grid: TileGrid, layers: Layers, rows_at_once: int) -> Canvas:
    """An empty canvas that holds some rows of tiles."""
    if grid.blend == "crop":
        return _Cropped(grid, layers, rows_at_once)
    return _Blended(grid, layers, rows_at_once)


class _Cropped:
    """Each pixel is of one tile."""

    def __init__(self, grid: TileGrid, layers: Layers, rows_at_once: int) -> None:
        self._grid, self._layers = grid, layers
        shape = (layers.count, _height(grid, rows_at_once), grid.columns.length_px)
        self._pixels = np.full(shape, IGNORE, dtype=np.uint8)
        self._top = 0

    def ready(self, chance: Chance, places: Sequence[tuple[int, int]]) -> NDArray[np.generic]:  # noqa: ARG002  cropping needs no weights
        return np.asarray(self._layers.encode(*chance).cpu().numpy())

    def put(self, tile: NDArray[np.generic], valid: NDArray[np.bool_], row: int, col: int) -> None:
        here, there = _places(self._grid, row, col, self._top)
        target, known = self._pixels[:, *there], valid[here]
        if known.all():
            target[:] = tile[:, *here]
        else:
            np.copyto(target, tile[:, *here], where=known)

    def finish(self, row: int) -> NDArray[np.uint8]:
        end = self._grid.rows.settled(row, self._grid.blend) - self._top
        finished = self._pixels[:, :end].copy()
        # Tiles after this one begin where these pixels end: nothing has to be carried along.
        self._pixels[:, :end] = IGNORE
        self._top += end
        return finished

    def overlap(self) -> None:
        return None

    def go_on(self, row: int, overlap: NDArray[np.generic] | None) -> None:  # noqa: ARG002  there is none
        self._top = self._grid.rows.settled(row, self._grid.blend)


class _Blended:
    """Each pixel is the weighted mean of the tiles that show it."""

    def __init__(self, grid: TileGrid, layers: Layers, rows_at_once: int) -> None:
        self._grid, self._layers = grid, layers
        self._spread = layers.uncertainty == "spread"
        shape = (_height(grid, rows_at_once), grid.columns.length_px)
        self._sums = np.zeros((layers.classes + self._spread, *shape), dtype=np.uint16)
        self._known = np.zeros(shape, dtype=bool)
        self._top = 0

    def ready(self, chance: Chance, places: Sequence[tuple[int, int]]) -> NDArray[np.generic]:
        channels = [chance.mean] if chance.spread is None else [chance.mean, chance.spread[:, None]]
        found = torch.cat(channels, dim=1) if len(channels) > 1 else chance.mean
        weights = torch.stack([self._weights(*place) for place in places]).to(found.device)
        whole = (found * weights[:, None] * _WHOLE).round_().to(torch.int32)
        return whole.cpu().numpy().astype(np.uint16)

    def put(self, tile: NDArray[np.generic], valid: NDArray[np.bool_], row: int, col: int) -> None:
        here, there = _places(self._grid, row, col, self._top)
        target = self._sums[:, *there]
        np.add(target, tile[:, *here], out=target)
        self._known[there] |= valid[here]

    def finish(self, row: int) -> NDArray[np.uint8]:
        end = self._grid.rows.settled(row, self._grid.blend) - self._top
        width = self._known.shape[1]
        out = np.empty((self._layers.count, end, width), dtype=np.uint8)
        step = max(1, _CHUNK_PX // width)
        for first in range(0, end, step):
            rows = slice(first, min(first + step, end))
            out[:, rows] = self._encoded(rows)
        left = self._sums.shape[1] - end
        for pixels in (self._sums, self._known[None]):
            pixels[:, :left] = pixels[:, end:].copy()
            pixels[:, left:] = 0
        self._top += end
        return out

    def overlap(self) -> NDArray[np.generic]:
        # Validity is read again with the tiles below.
        return self._sums[:, : self._overlap_px]

    def go_on(self, row: int, overlap: NDArray[np.generic] | None) -> None:
        assert overlap is not None
        self._top = self._grid.rows.settled(row, self._grid.blend)
        self._sums[:, : overlap.shape[1]] = overlap

    @property
    def _overlap_px(self) -> int:
        rows = self._grid.rows
        shown = [s + rows.size_px for s in rows.starts if s < self._top]
        return max(0, max(shown, default=0) - self._top)

    def _encoded(self, rows: slice) -> NDArray[np.uint8]:
        """Layers (B, h, W) of some rows of the canvas."""
        found = torch.from_numpy(self._sums[:, rows].astype(np.float32))[None] / _WHOLE
        classes = self._layers.classes
        spread = found[:, classes] if self._spread else None
        # Without data the sums are 0, or those of a neighbour that saw no data either.
        out = self._layers.encode(found[:, :classes], spread)[0].numpy()
        return np.where(self._known[rows], out, np.uint8(IGNORE))

    def _weights(self, row: int, col: int) -> Tensor:
        down = torch.from_numpy(self._grid.rows.weights(row))
        across = torch.from_numpy(self._grid.columns.weights(col))
        return down[:, None] * across


def _height(grid: TileGrid, rows_at_once: int) -> int:
    """Rows of pixels that so many rows of tiles span at most."""
    starts = grid.rows.starts
    last = len(starts) - min(rows_at_once, len(starts))
    spans = [starts[i + min(rows_at_once, len(starts)) - 1] - starts[i] for i in range(last + 1)]
    return max(spans) + grid.rows.size_px


def _places(
    grid: TileGrid, row: int, col: int, top: int
) -> tuple[tuple[slice, slice], tuple[slice, slice]]:
    """What of a tile is kept, in the tile and on a canvas that begins at a row of the scene."""
    here, there = [], []
    for axis, index, begin in ((grid.rows, row, top), (grid.columns, col, 0)):
        kept, start = axis.kept(index, grid.blend), axis.starts[index]
        here.append(slice(kept.start - start, kept.stop - start))
        there.append(slice(kept.start - begin, kept.stop - begin))
    return (here[0], here[1]), (there[0], there[1])
