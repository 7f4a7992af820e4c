"""Windows of images of thaw slumps with their masks, as places that hold one or not.

The set `rts-chips`: 756 images from basemaps, 8-bit RGB, each with a mask of its slumps (Yang and
others 2023, Mapping retrogressive thaw slumps using deep neural networks, Remote Sensing of
Environment 288, 113495). It states neither the date nor the place nor the pixel size of an image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, overload

import numpy as np
import torch
from scipy import ndimage

from geoseg.chips import Chip, Place
from geoseg.data.slumps.ground import same_ground
from geoseg.errors import DataError
from geoseg.sensors import find_sensor

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = [
    "FOLDS",
    "Fold",
    "SlumpImage",
    "SlumpWindows",
    "WindowSpec",
    "cut_windows",
    "read_slump_images",
]

Fold = Literal["train", "calibration", "test"]
FOLDS: tuple[Fold, ...] = ("train", "calibration", "test")

_FOLD_SHARES = (0.5, 0.25, 0.25)
_MASK_ABOVE = 127  # the masks are JPEG: 0 and 255 with the noise of its compression
_PALETTE = 1024
# The basemaps are of Maxar's satellites; Pleiades has the visible bands nearest to theirs of all in
# the table of sensors.
_SENSOR = "pleiades-1a"
_GSD_M = 4.0  # Yang and others 2023 name 4 m; the images themselves state none
_TIME = datetime(2019, 7, 1, tzinfo=UTC)  # none is stated: between the launches and the paper


@dataclass(frozen=True, slots=True, kw_only=True)
class SlumpImage:
    """One image and where slumps are in it."""

    name: str  # train_yg_012
    colours: NDArray[np.uint8]  # (H, W, 3), red, green, blue
    slump: NDArray[np.bool_]  # (H, W)

    @property
    def region(self) -> str:
        """What its name says of where it lies: yg for Yamal and Gydan, nitze for other sites."""
        return self.name.split("_")[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class WindowSpec:
    """How windows are cut, and when one holds a slump."""

    size_px: int = 64
    stride_px: int | None = None  # of those without a slump; half a window when None
    least_px: int = 100  # of a slump that a window is cut around
    off_centre: float = 0.125  # of the side, how far at most its middle lies off the slump's
    margin_px: int = 4  # around a window without a slump, which no slump may reach either

    @property
    def step_px(self) -> int:
        """From one window to the next."""
        return self.stride_px or self.size_px // 2


@dataclass(frozen=True, slots=True, kw_only=True)
class SlumpWindows(Sequence[Place]):
    """Windows of images, each a place with one image, cut when asked for.

    One window around each slump, and on a grid those without any slump in or just beside them; no
    two are the same.
    """

    images: tuple[SlumpImage, ...]
    spec: WindowSpec
    image: NDArray[np.int32]  # (N,) which image
    row: NDArray[np.int32]  # (N,) of the upper left pixel
    column: NDArray[np.int32]  # (N,)
    share: NDArray[np.float32]  # (N,) of the window that is slump
    present: NDArray[np.bool_]  # (N,)
    ground: NDArray[np.int32]  # (N,) windows of one number are of images that overlap
    fold: NDArray[np.int8]  # (N,) index into FOLDS; all windows of one ground are in one
    palette: NDArray[np.float32]  # (3, P) pixels of all training images

    def __len__(self) -> int:
        return len(self.image)

    @overload
    def __getitem__(self, index: int) -> Place: ...
    @overload
    def __getitem__(self, index: slice) -> SlumpWindows: ...
    def __getitem__(self, index: int | slice) -> Place | SlumpWindows:
        if isinstance(index, slice):
            return self.chosen(np.arange(len(self))[index])
        return self.place_of(range(len(self))[index])

    def part(self, fold: Fold) -> SlumpWindows:
        """The windows of one fold."""
        return self.chosen(np.flatnonzero(self.fold == FOLDS.index(fold)))

    def chosen(self, numbers: NDArray[np.integer]) -> SlumpWindows:
        """Some of the windows, in this order."""
        columns = ("image", "row", "column", "share", "present", "ground", "fold")
        return replace(self, **{name: getattr(self, name)[numbers] for name in columns})

    def place_of(self, number: int) -> Place:
        """The place of one window: one image of red, green and blue, 0 to 255."""
        source = self.images[self.image[number]]
        row, column = int(self.row[number]), int(self.column[number])
        cut = np.s_[row : row + self.spec.size_px, column : column + self.spec.size_px]
        colours = np.ascontiguousarray(source.colours[cut].transpose(2, 0, 1), dtype=np.float32)
        sensor = find_sensor(_SENSOR)
        chip = Chip(
            image=torch.from_numpy(colours),
            valid=torch.ones(colours.shape[1:], dtype=torch.bool),
            label=torch.from_numpy(source.slump[cut].astype(np.uint8)),
            # Of an image alone it would not do: a large slump would be what is usual.
            palette=torch.from_numpy(self.palette),
            bands=tuple(sensor.band(name) for name in ("red", "green", "blue")),
            gsd_m=_GSD_M,
            time=_TIME,
            sensor_id=sensor.id,
        )
        return Place(
            id=f"{source.name}/r{row:03d}c{column:03d}",
            lon=np.nan,
            lat=np.nan,
            images=(chip,),
            present=bool(self.present[number]),
        )


def read_slump_images(folder: Path) -> tuple[SlumpImage, ...]:
    """All images of a folder, by name, with their masks.

    Args:
        folder: of the set `rts-chips`: images/NAME.jpg and masks/NAME.jpg.

    Raises:
        DataError: there are none, or an image has no mask of its size.
    """
    paths = sorted((folder / "images").glob("*.jpg"))
    if not paths:
        raise DataError(f"{folder / 'images'} holds no .jpg; fetch the set rts-chips again.")
    return tuple(_read(path, folder / "masks" / path.name) for path in paths)


def cut_windows(
    images: Sequence[SlumpImage], spec: WindowSpec | None = None, *, seed: int = 0
) -> SlumpWindows:
    """The windows of all images.

    Args:
        images: to cut, as `read_slump_images` gives them.
        spec: how.
        seed: of the folds, to which grounds are dealt region by region, and of where a slump lies
            in its window.

    Raises:
        DataError: there are too few grounds for one to train on.
    """
    spec = spec or WindowSpec()
    ground = same_ground([image.colours for image in images])
    dealt = _deal(images, ground, seed)
    if not (dealt == 0).any():
        raise DataError(
            f"{len(images)} images leave none to train on; give images of two places of one "
            "region at least."
        )
    rng = np.random.default_rng(seed)
    cut = [_cut(image, spec, rng) for image in images]
    counts = [len(rows) for rows, _, _ in cut]
    number = np.repeat(np.arange(len(images), dtype=np.int32), counts)
    rows, columns, share = (np.concatenate(part) for part in zip(*cut, strict=True))
    return SlumpWindows(
        images=tuple(images),
        spec=spec,
        image=number,
        row=rows,
        column=columns,
        share=share,
        present=share > 0,
        ground=ground[number],
        fold=dealt[number],
        palette=_palette([image for image, f in zip(images, dealt, strict=True) if f == 0]),
    )


def _read(path: Path, mask: Path) -> SlumpImage:
    from PIL import Image

    if not mask.is_file():
        raise DataError(f"{mask} is missing; fetch the set rts-chips again.")
    with Image.open(path) as image, Image.open(mask) as drawn:
        colours = np.asarray(image.convert("RGB"))
        slump = np.asarray(drawn.convert("L")) > _MASK_ABOVE
    if slump.shape != colours.shape[:2]:
        raise DataError(
            f"{mask} has {slump.shape} rows and columns, its image {colours.shape[:2]}; fetch the "
            "set rts-chips again."
        )
    return SlumpImage(name=path.stem, colours=colours, slump=slump)


def _deal(images: Sequence[SlumpImage], ground: NDArray[np.int32], seed: int) -> NDArray[np.int8]:
    """The fold of each image; each region is dealt by itself, so that each fold has its share."""
    rng = np.random.default_rng(seed)
    region = np.array([image.region for image in images])
    dealt = np.zeros(len(images), dtype=np.int8)
    for name in np.unique(region):
        members = rng.permutation(np.unique(ground[region == name]))
        ends = np.round(np.cumsum(_FOLD_SHARES) * len(members)).astype(int)
        for fold, part in enumerate(np.split(members, ends[:-1])):
            dealt[np.isin(ground, part)] = fold
    return dealt


def _cut(
    image: SlumpImage, spec: WindowSpec, rng: np.random.Generator
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.float32]]:
    """Rows, columns and share of slump (0 where absent) of the windows of an image."""
    height, width = image.slump.shape
    size, step = spec.size_px, spec.step_px
    if min(height, width) < size:
        none = np.empty(0, dtype=np.int32)
        return none, none, none.astype(np.float32)
    grid = np.meshgrid(
        np.arange(0, height - size + 1, step), np.arange(0, width - size + 1, step), indexing="ij"
    )
    rows, columns = (axis.ravel() for axis in grid)
    clear = _count(image.slump, rows, columns, size, spec.margin_px) == 0
    around = _around_slumps(image.slump, spec, rng)
    rows = np.concatenate([around[:, 0], rows[clear]])
    columns = np.concatenate([around[:, 1], columns[clear]])
    share = _count(image.slump, rows, columns, size, 0) / size**2
    return rows.astype(np.int32), columns.astype(np.int32), share.astype(np.float32)


def _around_slumps(
    slump: NDArray[np.bool_], spec: WindowSpec, rng: np.random.Generator
) -> NDArray[np.int_]:
    """Upper left pixels (n, 2) of a window around each slump that is large enough.

    Two slumps in one corner of an image have one window between them.
    """
    numbered, count = ndimage.label(slump, structure=np.ones((3, 3)))
    numbers = np.arange(1, count + 1)
    large = numbers[np.bincount(numbered.ravel(), minlength=count + 1)[1:] >= spec.least_px]
    if len(large) == 0:
        return np.empty((0, 2), dtype=int)
    middle = np.array(ndimage.center_of_mass(slump, numbered, large))
    off = rng.uniform(-spec.off_centre, spec.off_centre, middle.shape) * spec.size_px
    middle_of = np.round(middle + off - spec.size_px / 2).astype(int)
    corner: NDArray[np.int_] = np.clip(middle_of, 0, np.array(slump.shape) - spec.size_px)
    # A slump bent around its middle may lie outside the window.
    inside = _count(slump, corner[:, 0], corner[:, 1], spec.size_px, 0) >= spec.least_px
    kept = corner[inside]
    _, first = np.unique(kept, axis=0, return_index=True)
    return kept[np.sort(first)]


def _count(
    slump: NDArray[np.bool_], rows: NDArray[np.int_], columns: NDArray[np.int_], size: int, by: int
) -> NDArray[np.int_]:
    """Pixels of slump in windows that are `by` pixels wider on every side."""
    sums = np.pad(slump, ((by + 1, by), (by + 1, by))).cumsum(axis=0).cumsum(axis=1)
    bottom, right = rows + size + 2 * by, columns + size + 2 * by
    return np.asarray(
        sums[bottom, right] - sums[rows, right] - sums[bottom, columns] + sums[rows, columns]
    )


def _palette(images: Sequence[SlumpImage]) -> NDArray[np.float32]:
    """Pixels (3, P) of all of the images, spread evenly over them."""
    pixels = np.concatenate([image.colours.reshape(-1, 3)[::7] for image in images])
    # Not a round step: it would walk down a few columns of the images only.
    chosen = (np.arange(_PALETTE) * 0.6180339887 % 1 * len(pixels)).astype(np.int64)
    return np.ascontiguousarray(pixels[chosen].T, dtype=np.float32)
