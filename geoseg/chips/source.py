"""A labelled scene from which chips are cut."""

from __future__ import annotations

import os
from contextlib import ExitStack
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
import torch
from odc.geo.geobox import GeoBox
from scipy.ndimage import binary_dilation

from geoseg.chips.chip import Chip
from geoseg.grids import gsd_m, part_of
from geoseg.labels import IGNORE
from geoseg.scenes import bands_of, open_scene, scene_sample

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from rasterio.windows import Window
    from torch import Tensor

    from geoseg.labels import BurntLabels, Labels
    from geoseg.scenes import Scene, SceneReader

__all__ = ["LEARN", "UNLEARNED", "UNSEEN", "ChipSource", "Ground"]

# What may be done with a pixel of the ground: to learn from it, to see it beside what is learned
# from, or neither.
LEARN, UNLEARNED, UNSEEN = 0, 1, 2


class Ground(Protocol):
    """Says where on the ground may be learned from."""

    def __call__(self, grid: GeoBox, /) -> NDArray[np.uint8]:
        """LEARN, UNLEARNED or UNSEEN for each pixel (H, W) of a grid."""


class _Opened(NamedTuple):
    process: int
    stack: ExitStack
    reader: SceneReader
    gsd_m: float
    labels: BurntLabels | None


class ChipSource:
    """Chips of one scene; cheap to send to another process, opened there on first use.

    Args:
        scene: with these bands.
        labels: None for a scene that nothing is known of: its chips hold no class.
        bands: names, in the order of the channels.
        ground: what is held out of training, in all scenes alike; nothing when None.
    """

    def __init__(
        self,
        scene: Scene,
        labels: Labels | None,
        bands: Sequence[str],
        *,
        ground: Ground | None = None,
    ) -> None:
        self.scene = scene
        self.labels = labels
        self.bands = bands_of(scene, bands)
        self.ground = ground
        self._names = tuple(bands)
        self._opened: _Opened | None = None

    @property
    def grid(self) -> GeoBox:
        """The scene's grid."""
        return self._open().reader.grid

    @cached_property
    def palette(self) -> Tensor:
        """Some valid pixels of the scene (C, P), drawn at random but always the same."""
        return torch.from_numpy(scene_sample(self._open().reader))

    def cut(self, window: Window, region: Window, *, size_px: int | None = None) -> Chip:
        """The chip of a window; its label is IGNORE outside a region and where not valid.

        Args:
            window: in pixels of the scene.
            region: where to learn from.
            size_px: side of a square chip, to which the window is averaged; the pixels of the
                scene when None.
        """
        opened = self._open()
        averaged = None if size_px in {None, window.width} else (size_px, size_px)
        image, valid = opened.reader.read(window, averaged)
        ratio = window.width / valid.shape[1]
        label = self._label(opened.labels, window, valid.shape)
        if self.ground is not None:
            role, near = self._roles(opened, window, ratio, valid.shape)
            valid &= ~near
            image[:, ~valid] = 0
            label[role != LEARN] = IGNORE
        label[~valid] = IGNORE
        if not _within(window, region):
            label[_outside(region, window, label.shape)] = IGNORE
        return Chip(
            image=torch.from_numpy(image),
            valid=torch.from_numpy(valid),
            label=torch.from_numpy(label),
            palette=self.palette,
            bands=self.bands,
            gsd_m=opened.gsd_m * ratio,
            time=self.scene.start,
            sensor_id=self.scene.sensor_id,
        )

    def close(self) -> None:
        """Close the files of the scene."""
        if self._opened is not None and self._opened.process == os.getpid():
            self._opened.stack.close()
        self._opened = None

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_opened": None}

    def _roles(
        self, opened: _Opened, window: Window, ratio: float, shape: tuple[int, int]
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """What may be done with each pixel (h, w) of a chip, and where it may show unseen ground.

        A pixel shows some of its neighbours' ground too: an average reaches beyond its centre, and
        coarser bands are interpolated.
        """
        assert self.ground is not None
        coarsest_m = max(band.gsd_m for band in self.bands)
        beside = int(np.ceil(max(coarsest_m / (opened.gsd_m * ratio), 1)))
        grid = _seen_at(part_of(opened.reader.grid, window), ratio, shape)
        role = self.ground(grid.pad(beside))
        unseen = binary_dilation(role == UNSEEN, iterations=beside)
        inner = np.s_[beside:-beside, beside:-beside]
        return role[inner], unseen[inner]

    def _label(
        self, burnt: BurntLabels | None, window: Window, shape: tuple[int, int]
    ) -> NDArray[np.uint8]:
        """Class ids (h, w) of a window, at the centres of pixels that may be coarser than its."""
        if burnt is None:
            return np.full(shape, IGNORE, dtype=np.uint8)
        fine = burnt.read(window)
        if fine.shape == shape:
            return fine
        rows, columns = (
            _centres(n, of).astype(int) for n, of in zip(shape, fine.shape, strict=True)
        )
        return np.ascontiguousarray(fine[rows[:, None], columns])

    def _open(self) -> _Opened:
        # An open file does not survive a fork.
        if self._opened is None or self._opened.process != os.getpid():
            stack = ExitStack()
            reader = stack.enter_context(open_scene(self.scene, self._names))
            burnt = None if self.labels is None else self.labels.on(reader.grid)
            self._opened = _Opened(os.getpid(), stack, reader, gsd_m(reader.grid), burnt)
        return self._opened


def _seen_at(grid: GeoBox, ratio: float, shape: tuple[int, int]) -> GeoBox:
    """The grid of a chip whose pixels are so many times as wide."""
    return grid if ratio == 1 else GeoBox(shape, grid.affine * grid.affine.scale(ratio), grid.crs)


def _within(window: Window, region: Window) -> bool:
    (top, bottom), (left, right) = window.toranges()
    (first, last), (west, east) = region.toranges()
    return bool(first <= top and bottom <= last and west <= left and right <= east)


def _outside(region: Window, window: Window, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Which pixels (H, W) of a window, seen in this shape, lie outside a region."""
    row = _centres(shape[0], window.height) + window.row_off - region.row_off
    column = _centres(shape[1], window.width) + window.col_off - region.col_off
    rows = (row < 0) | (row >= region.height)
    columns = (column < 0) | (column >= region.width)
    outside: NDArray[np.bool_] = rows[:, None] | columns[None, :]
    return outside


def _centres(count: int, length: int) -> NDArray[np.float64]:
    """Where the centres of pixels lie in a length that they share."""
    return (np.arange(count) + 0.5) * length / count
