"""Which chips of a scene are looked at."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from odc.geo.geobox import GeoBox
from rasterio.windows import Window
from torch.utils.data import Dataset

from geoseg.chips.chip import Chip
from geoseg.chips.source import LEARN
from geoseg.chips.split import tiles_of
from geoseg.errors import LabelError, SceneError
from geoseg.grids import gsd_m
from geoseg.labels import IGNORE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from geoseg.chips.source import ChipSource
    from geoseg.config import ChipSettings

__all__ = [
    "BandStatistics",
    "GridChips",
    "MixedChips",
    "RandomChips",
    "band_statistics",
    "class_pixels",
    "part_to_learn",
]

_PLACES_SIDE = 2048  # cells a side of the class map from which places are drawn
_LEAST_KNOWN = 0.05  # share of a chip that must be known to be worth a step
_TRIES = 50
_STATISTICS_CHIPS = 64


class BandStatistics(NamedTuple):
    """Mean and standard deviation of each band over valid pixels, in the unit of the scene."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


class RandomChips(Dataset[Chip]):
    """An endless row of random chips of a scene; chip `i` depends on the seed and on `i` alone.

    Raises:
        LabelError: the region holds no class but the ground.
    """

    def __init__(
        self, source: ChipSource, region: Window, settings: ChipSettings, *, seed: int
    ) -> None:
        self.source = source
        self.region = region
        self.settings = settings
        self.seed = seed
        self._places = _class_places(source, region)
        if source.labels is not None and not any(label > 0 for label in self._places):
            raise LabelError(
                f"No outline lies in the part of scene {source.scene.id} that trains; give labels "
                "there, or change split.train_from and split.train_share."
            )

    def __getitem__(self, index: int) -> Chip:
        """The chip of this number.

        Raises:
            SceneError: nothing valid and labelled was met in fifty places.
        """
        rng = np.random.default_rng([self.seed, index])
        size = self.settings.size_px
        for _ in range(_TRIES):
            chip = self.source.cut(self._window(rng), self.region, size_px=size)
            of_use = chip.valid if self.source.labels is None else chip.label != IGNORE
            if of_use.float().mean() >= _LEAST_KNOWN:
                return chip
        raise SceneError(
            f"scene {self.source.scene.id} has hardly a valid, labelled pixel in the part that "
            "trains; check its mask and the split."
        )

    def _window(self, rng: np.random.Generator) -> Window:
        side = round(self.settings.size_px * self._ratio(rng))
        if self._places and rng.random() < self.settings.balanced_share:
            places = list(self._places.values())[rng.integers(len(self._places))]
            row, column = places[rng.integers(len(places))]
            # The place may lie anywhere in the chip: a class always at the centre would be learned.
            corner = np.array([row, column]) - rng.integers(side, size=2)
        else:
            extent = np.array([self.region.height, self.region.width])
            origin = np.array([self.region.row_off, self.region.col_off])
            corner = origin + rng.integers(np.maximum(extent - side, 0) + 1)
        row, column = _kept_inside(corner, self.region, side)
        return Window(column, row, side, side)

    @cached_property
    def gsd_m(self) -> tuple[float, float]:
        """Finest and coarsest pixel of the chips."""
        native_m = gsd_m(self.source.grid)
        if self.settings.gsd_m is None:
            return native_m, native_m
        finest, coarsest = (max(limit, native_m) for limit in self.settings.gsd_m)
        # A chip that is wider than its region would hold little to learn from.
        roomy_m = native_m * min(self.region.height, self.region.width) / self.settings.size_px
        return finest, max(min(coarsest, roomy_m), finest)

    def _ratio(self, rng: np.random.Generator) -> float:
        """How many pixels of the scene a pixel of the chip is wide, drawn evenly over octaves."""
        if self.settings.gsd_m is None:
            return 1.0
        finest, coarsest = self.gsd_m
        drawn_m = float(np.exp(rng.uniform(np.log(finest), np.log(coarsest))))
        return drawn_m / gsd_m(self.source.grid)


class MixedChips(Dataset[Chip]):
    """Random chips of several scenes: every sensor as often as any other, and so its scenes."""

    def __init__(self, parts: Sequence[RandomChips], *, seed: int) -> None:
        self.parts = tuple(parts)
        self.seed = seed
        self._by_sensor: dict[str, list[RandomChips]] = {}
        for part in self.parts:
            self._by_sensor.setdefault(part.source.scene.sensor_id, []).append(part)

    def __getitem__(self, index: int) -> Chip:
        rng = np.random.default_rng([self.seed, index, len(self.parts)])
        scenes = list(self._by_sensor.values())[rng.integers(len(self._by_sensor))]
        return scenes[rng.integers(len(scenes))][index]


class GridChips(Dataset[Chip]):
    """All of a region, once, in chips side by side.

    Args:
        source: of the chips.
        region: to cover.
        settings: size of a chip.
        coarser: pixels of the scene, to each side, that are averaged into one.
    """

    def __init__(
        self, source: ChipSource, region: Window, settings: ChipSettings, *, coarser: int = 1
    ) -> None:
        self.source = source
        self.region = region
        self.windows = tiles_of(region, settings.size_px * coarser)
        self._size_px = settings.size_px

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> Chip:
        return self.source.cut(self.windows[index], self.region, size_px=self._size_px)


def part_to_learn(source: ChipSource) -> Window:
    """The smallest window of a scene that holds all that may be learned from.

    Raises:
        LabelError: nothing may be.
    """
    whole = Window(0, 0, source.grid.shape.x, source.grid.shape.y)
    if source.ground is None:
        return whole
    coarse, cell = _coarse_grid(source.grid, whole)
    open_ = source.ground(coarse) == LEARN
    rows, columns = (np.flatnonzero(open_.any(axis=axis)) for axis in (1, 0))
    if not rows.size:
        raise LabelError(
            f"All ground of scene {source.scene.id} is held out; take it from the sources or hold "
            "out less."
        )
    top, left = int(rows[0]) * cell, int(columns[0]) * cell
    bottom = min((int(rows[-1]) + 1) * cell, whole.height)
    right = min((int(columns[-1]) + 1) * cell, whole.width)
    return Window(left, top, right - left, bottom - top)


def band_statistics(chips: MixedChips) -> BandStatistics:
    """Statistics of the bands over the valid pixels of the first chips.

    Raises:
        SceneError: a band is constant, so it carries nothing to learn from.
    """
    pixels = []
    for index in range(_STATISTICS_CHIPS):
        chip = chips[index]
        pixels.append(chip.image[:, chip.valid].numpy().astype(np.float64))
    values = np.concatenate(pixels, axis=1)
    mean, std = np.nanmean(values, axis=1), np.nanstd(values, axis=1)
    source = chips.parts[0].source
    for band, spread in zip(source.bands, std, strict=True):
        if not spread > 0:
            raise SceneError(
                f"band {band.common_name} of scene {source.scene.id} is constant in the part "
                "that trains; leave it out or check the file."
            )
    return BandStatistics(tuple(map(float, mean)), tuple(map(float, std)))


def class_pixels(chips: MixedChips, classes: int) -> tuple[int, ...]:
    """Pixels of each class id among the labelled ones of the first chips."""
    counts = np.zeros(classes, dtype=np.int64)
    for index in range(_STATISTICS_CHIPS):
        label = chips[index].label.numpy()
        counts += np.bincount(label[label != IGNORE], minlength=classes)
    return tuple(map(int, counts))


def _class_places(source: ChipSource, region: Window) -> dict[int, NDArray[np.int64]]:
    """Rows and columns (n, 2) of some pixels of each class id that the region holds."""
    if source.labels is None:
        return {}
    coarse, cell = _coarse_grid(source.grid, region)
    label = source.labels.burn(coarse)
    if source.ground is not None:
        label[source.ground(coarse) != LEARN] = IGNORE
    origin = np.array([region.row_off, region.col_off])
    classes = [c for c in np.unique(label) if c != IGNORE]
    return {int(c): np.argwhere(label == c) * cell + cell // 2 + origin for c in classes}


def _coarse_grid(grid: GeoBox, region: Window) -> tuple[GeoBox, int]:
    """A grid of a region with a bounded number of cells, and how many pixels wide a cell is."""
    cell = max(1, -(-max(region.height, region.width) // _PLACES_SIDE))
    shape = (-(-region.height // cell), -(-region.width // cell))
    corner = grid.affine * grid.affine.translation(region.col_off, region.row_off)
    return GeoBox(shape, corner * grid.affine.scale(cell), grid.crs), cell


def _kept_inside(corner: NDArray[np.int64], region: Window, size: int) -> tuple[int, int]:
    """The corner moved so that a chip lies inside its region, as far as it fits."""
    row = max(min(int(corner[0]), region.row_off + region.height - size), region.row_off)
    column = max(min(int(corner[1]), region.col_off + region.width - size), region.col_off)
    return row, column
