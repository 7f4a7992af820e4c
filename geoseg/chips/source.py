"""A labelled scene from which chips are cut."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np
import torch

from geoseg.chips.chip import Chip
from geoseg.grids import gsd_m, part_of
from geoseg.labels import IGNORE
from geoseg.scenes import open_scene
from geoseg.sensors import find_sensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox
    from rasterio.windows import Window

    from geoseg.labels import Labels
    from geoseg.scenes import Scene, SceneReader

__all__ = ["ChipSource"]


class ChipSource:
    """Chips of one scene; cheap to send to another process, opened there on first use."""

    def __init__(self, scene: Scene, labels: Labels, bands: Sequence[str]) -> None:
        sensor = find_sensor(scene.sensor_id)
        self.scene = scene
        self.labels = labels
        self.bands = tuple(sensor.band(name) for name in bands)
        self._names = tuple(bands)
        self._opened: tuple[int, ExitStack, SceneReader] | None = None

    @property
    def grid(self) -> GeoBox:
        """The scene's grid."""
        return self._reader().grid

    def cut(self, window: Window, region: Window) -> Chip:
        """The chip of a window; its label is IGNORE outside a region and where not valid."""
        reader = self._reader()
        image, valid = reader.read(window)
        label = self.labels.burn(part_of(reader.grid, window))
        label[~valid | _outside(region, window)] = IGNORE
        return Chip(
            image=torch.from_numpy(image),
            valid=torch.from_numpy(valid),
            label=torch.from_numpy(label),
            bands=self.bands,
            gsd_m=gsd_m(reader.grid),
            time=self.scene.start,
            sensor_id=self.scene.sensor_id,
        )

    def close(self) -> None:
        """Close the files of the scene."""
        if self._opened is not None and self._opened[0] == os.getpid():
            self._opened[1].close()
        self._opened = None

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_opened": None}

    def _reader(self) -> SceneReader:
        # An open file does not survive a fork.
        if self._opened is None or self._opened[0] != os.getpid():
            stack = ExitStack()
            reader = stack.enter_context(open_scene(self.scene, self._names))
            self._opened = (os.getpid(), stack, reader)
        return self._opened[2]


def _outside(region: Window, window: Window) -> NDArray[np.bool_]:
    """Which pixels (H, W) of a window lie outside a region."""
    row = np.arange(window.height) + window.row_off - region.row_off
    column = np.arange(window.width) + window.col_off - region.col_off
    rows = (row < 0) | (row >= region.height)
    columns = (column < 0) | (column >= region.width)
    outside: NDArray[np.bool_] = rows[:, None] | columns[None, :]
    return outside
