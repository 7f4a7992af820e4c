"""Spatial folds: which ground trains, which is held out, the same for every scene of a place."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from odc.geo.geobox import GeoBox
from pyproj import CRS, Transformer
from pyproj.exceptions import CRSError
from rasterio.windows import Window

from geoseg.chips.source import LEARN, UNLEARNED, UNSEEN
from geoseg.errors import ConfigError, GridError
from geoseg.grids import crs_of, part_of, require_metres, same_crs
from geoseg.labels import IGNORE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

__all__ = ["Folds", "make_folds"]

_STRIP_PX = 512
_MOST_FOLDS = 127  # what int8 holds
# Coordinates are rounded to this before they are compared: a window of a grid computes them with
# other rounding errors than the whole, and both must put a pixel into the same block.
_DECIMALS_M = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Folds:
    """Square blocks of ground, each in one fold.

    **Convention:** block (row, column) reaches from `top_m - row * block_m` southward and from
    `left_m + column * block_m` eastward; its number is `row * columns + column`. A pixel belongs
    to the block that its centre lies in. Distances are those of the map of `crs`.
    """

    crs: str  # WKT, in metres
    left_m: float
    top_m: float
    block_m: float
    buffer_m: float
    dealt: tuple[tuple[int, ...], ...]  # the fold of each block, rows from the north

    def __post_init__(self) -> None:
        _require_width(self.block_m)
        if not 0 <= self.buffer_m < self.block_m / 2:
            raise ConfigError(
                f"buffer_m = {self.buffer_m:g} does not fit blocks of block_m = {self.block_m:g}; "
                "make the buffer less than half a block, so that ground is left to train on."
            )
        held = {fold for row in self.dealt for fold in row}
        full = len({len(row) for row in self.dealt}) == 1
        if not (full and held and held == set(range(len(held)))):
            raise ConfigError(
                "The folds of blocks must be a full table of numbers from 0; make them again with "
                "make_folds."
            )

    @property
    def count(self) -> int:
        """How many folds there are."""
        return 1 + max(max(row) for row in self.dealt)

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of blocks."""
        return len(self.dealt), len(self.dealt[0])

    def fold_of(self, grid: GeoBox) -> NDArray[np.int8]:
        """The fold of each pixel (H, W) of a grid of any CRS and pixel size, -1 outside the area.

        Raises:
            GridError: the grid has no coordinate reference system.
        """
        dealt = np.array(self.dealt, dtype=np.int8)

        def fold(down: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.int8]:
            row, column, inside = self._block(down, right)
            return np.where(inside, dealt[row, column], np.int8(-1))

        return self._by_strips(grid, fold, np.int8)

    def block_of(self, grid: GeoBox) -> NDArray[np.int32]:
        """The number of the block of each pixel (H, W), -1 outside the area.

        Raises:
            GridError: the grid has no coordinate reference system.
        """

        def number(down: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.int64]:
            row, column, inside = self._block(down, right)
            return np.where(inside, row * self.shape[1] + column, -1)

        return self._by_strips(grid, number, np.int32)

    def roles(self, grid: GeoBox, *, held_out: int) -> NDArray[np.uint8]:
        """LEARN, UNLEARNED or UNSEEN for each pixel (H, W) while the fold `held_out` is tested.

        The buffer is measured from pixel centres to the held-out squares, so it is as wide on a
        grid of 30 m as on one of 1 m. Pixels outside the area are UNLEARNED.

        Raises:
            ConfigError: there is no such fold.
            GridError: the grid has no coordinate reference system.
        """
        if not 0 <= held_out < self.count:
            raise ConfigError(
                f"held_out = {held_out} is no fold; give one from 0 to {self.count - 1}."
            )
        # One row and column more on each side: a block at the edge has neighbours to look at.
        held = np.pad(np.array(self.dealt) == held_out, 1)

        def role(down: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.uint8]:
            row, column, inside = self._block(down, right)
            near = np.zeros(inside.shape, dtype=bool)
            for step_y, gap_y in self._gaps(down, row):
                for step_x, gap_x in self._gaps(right, column):
                    beside = held[row + 1 + step_y, column + 1 + step_x]
                    near |= beside & (gap_y**2 + gap_x**2 <= self.buffer_m**2)
            roles = np.where(near | ~inside, np.uint8(UNLEARNED), np.uint8(LEARN))
            roles[inside & held[row + 1, column + 1]] = UNSEEN
            return roles

        return self._by_strips(grid, role, np.uint8)

    def to_dict(self) -> dict[str, Any]:
        """What `from_dict` takes, in types that JSON holds."""
        return {
            "crs": self.crs,
            "left_m": self.left_m,
            "top_m": self.top_m,
            "block_m": self.block_m,
            "buffer_m": self.buffer_m,
            "dealt": [list(row) for row in self.dealt],
        }

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Folds:
        """The folds that `to_dict` wrote.

        Raises:
            ConfigError: a key is missing, or a value is none that `to_dict` writes.
        """
        try:
            lengths = {
                key: float(fields[key]) for key in ("left_m", "top_m", "block_m", "buffer_m")
            }
            dealt = tuple(tuple(int(fold) for fold in row) for row in fields["dealt"])
            crs = CRS(fields["crs"]).to_wkt()
        except (KeyError, TypeError, ValueError, CRSError) as error:
            raise ConfigError(
                f"The folds cannot be read ({error!r}); make them again with make_folds."
            ) from error
        return cls(crs=crs, dealt=dealt, **lengths)

    def _block(
        self, down: NDArray[np.float64], right: NDArray[np.float64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """Row and column of blocks, kept within the table, and whether a place was inside it."""
        rows, columns = self.shape
        row, column = down // self.block_m, right // self.block_m
        inside = (row >= 0) & (row < rows) & (column >= 0) & (column < columns)
        return (
            np.clip(row, 0, rows - 1).astype(np.int64),
            np.clip(column, 0, columns - 1).astype(np.int64),
            inside,
        )

    def _gaps(
        self, along: NDArray[np.float64], index: NDArray[np.int64]
    ) -> Iterator[tuple[int, NDArray[np.float64]]]:
        """Metres along one axis to the block before, to the own one, and to the one behind.

        Farther blocks lie more than half a block away, which no buffer reaches.
        """
        within = along - index * self.block_m
        yield -1, within
        yield 0, np.zeros_like(within)
        yield 1, self.block_m - within

    def _by_strips(
        self,
        grid: GeoBox,
        verb: Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[Any]],
        dtype: type[np.generic],
    ) -> NDArray[Any]:
        """What `verb` says of the metres (down, right) from the top left of the area."""
        crs = crs_of(grid)
        own = CRS(self.crs)
        transformer = None if same_crs(crs, own) else Transformer.from_crs(crs, own, always_xy=True)
        height, width = grid.shape.y, grid.shape.x
        out = np.empty((height, width), dtype=dtype)
        for top in range(0, height, _STRIP_PX):
            part = part_of(grid, Window(0, top, width, min(_STRIP_PX, height - top)))
            x, y = _centres(part, transformer)
            out[top : top + part.shape.y] = verb(
                _from_edge(self.top_m - y), _from_edge(x - self.left_m)
            )
        return out


def make_folds(
    grid: GeoBox,
    *,
    count: int,
    block_m: float,
    buffer_m: float,
    seed: int,
    truth: NDArray[np.uint8] | None = None,
) -> Folds:
    """Deal the blocks that cover a grid to folds, each with close to its share of every class.

    The blocks richest in the rarest class are dealt first, each to the fold that lacks that class
    most; ground without a class is dealt last, by area (after Sechidis et al. 2011, On the
    stratification of multi-label data).

    Args:
        grid: the area, in metres; the blocks begin at its top left and may reach beyond its end.
        count: folds.
        block_m: width of a block, several times the range over which the ground is alike.
        buffer_m: how far training keeps away from what is held out, less than half a block.
        seed: other folds with another seed.
        truth: a class raster (h, w) of the whole grid, as coarse as you like, 255 where unknown.

    Raises:
        ConfigError: lengths that do not fit, or fewer blocks than folds.
        GridError: the grid is rotated or not in metres.
    """
    crs = crs_of(grid)
    require_metres(crs, "Folds")
    if grid.affine.b or grid.affine.d:
        raise GridError("Folds need a grid that is north up; warp the scene with `gdalwarp` first.")
    if not 2 <= count <= _MOST_FOLDS:
        raise ConfigError(f"count = {count} folds; give 2 to {_MOST_FOLDS}.")
    box = grid.boundingbox
    undealt = Folds(
        crs=crs.to_wkt(),
        left_m=box.left,
        top_m=box.top,
        block_m=block_m,
        buffer_m=buffer_m,
        dealt=_one_fold(box.top - box.bottom, box.right - box.left, block_m),
    )
    rows, columns = undealt.shape
    if rows * columns < count:
        raise ConfigError(
            f"{rows * columns} blocks of {block_m:g} m cover the area and {count} folds need one "
            "each; make block_m smaller or ask for fewer folds."
        )
    holds = _area(undealt, grid)[:, None]
    if truth is not None:
        holds = np.column_stack([_class_counts(undealt, grid, truth), holds])
    folds = _deal(holds, count, np.random.default_rng(seed))
    return replace(undealt, dealt=tuple(map(tuple, folds.reshape(rows, columns).tolist())))


def _require_width(block_m: float) -> None:
    if not (math.isfinite(block_m) and block_m > 0):
        raise ConfigError(f"block_m = {block_m}; give blocks a positive width in metres.")


def _one_fold(height_m: float, width_m: float, block_m: float) -> tuple[tuple[int, ...], ...]:
    _require_width(block_m)
    # Rounded: 90.3 / 30.1 is a little above 3, and a fourth block would hold no ground.
    rows, columns = (math.ceil(round(m / block_m, 6)) for m in (height_m, width_m))
    return ((0,) * columns,) * rows


def _area(folds: Folds, grid: GeoBox) -> NDArray[np.float64]:
    """The square metres (B,) of each block that lie on the grid."""
    box = grid.boundingbox
    rows, columns = folds.shape
    height = np.minimum(folds.block_m, box.top - box.bottom - folds.block_m * np.arange(rows))
    width = np.minimum(folds.block_m, box.right - box.left - folds.block_m * np.arange(columns))
    return np.asarray(np.outer(height, width).ravel())


def _class_counts(folds: Folds, grid: GeoBox, truth: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Truth pixels (B, K) of each class in each block."""
    blocks = folds.block_of(grid.zoom_to(truth.shape))
    known = (truth != IGNORE) & (blocks >= 0)
    classes = int(truth[known].max(initial=0)) + 1
    pairs = blocks[known].astype(np.int64) * classes + truth[known]
    size = folds.shape[0] * folds.shape[1]
    counts = np.bincount(pairs, minlength=size * classes).reshape(size, classes)
    return np.asarray(counts[:, counts.any(axis=0)].astype(np.float64))


def _deal(holds: NDArray[np.float64], count: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """The fold of each block (B,), from what the blocks hold (B, K) of each class.

    The last class is the area: every block has some, so every block is dealt.
    """
    share = holds / holds.sum(axis=0)
    dealt = np.full(len(holds), -1)
    got = np.zeros((count, holds.shape[1]))
    rarest_first = [*np.argsort(holds[:, :-1].sum(axis=0), kind="stable"), holds.shape[1] - 1]
    shuffled = rng.permutation(len(holds))
    for k in rarest_first:
        richest_first = shuffled[np.argsort(-share[shuffled, k], kind="stable")]
        for block in richest_first:
            if dealt[block] < 0 and share[block, k] > 0:
                # An empty fold comes first in both keys: none stays empty.
                fold = np.lexsort([rng.random(count), got.sum(axis=1), got[:, k]])[0]
                dealt[block] = fold
                got[fold] += share[block]
    return dealt


def _centres(
    grid: GeoBox, transformer: Transformer | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """X and y of pixel centres, as (1, W) and (H, 1) where the axes allow it, else as (H, W)."""
    column = np.arange(grid.shape.x, dtype=np.float64)[None, :] + 0.5
    row = np.arange(grid.shape.y, dtype=np.float64)[:, None] + 0.5
    affine = grid.affine
    if transformer is None and not (affine.b or affine.d):
        return affine.a * column + affine.c, affine.e * row + affine.f
    x = affine.a * column + affine.b * row + affine.c
    y = affine.d * column + affine.e * row + affine.f
    if transformer is None:
        return x, y
    x, y = np.broadcast_arrays(x, y)
    there = transformer.transform(x.ravel(), y.ravel())
    return there[0].reshape(x.shape), there[1].reshape(x.shape)


def _from_edge(metres: NDArray[np.float64]) -> NDArray[np.float64]:
    # A place that the projection does not hold is infinite; it is outside like any other.
    return np.asarray(np.round(np.where(np.isfinite(metres), metres, -1.0), _DECIMALS_M))
