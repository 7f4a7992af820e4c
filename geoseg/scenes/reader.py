"""Reading windows of a scene, with what is valid in them."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from rasterio.enums import MaskFlags, Resampling
from rasterio.windows import Window

from geoseg.errors import GridError, SceneError
from geoseg.grids import crs_of, describe_grid, raster_grid, same_crs, same_grid
from geoseg.scenes.raster import open_raster, reading

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox
    from rasterio.io import DatasetReader

    from geoseg.scenes.scene import Asset, Scene

__all__ = ["Pixels", "SceneReader", "open_scene"]


class Pixels(NamedTuple):
    """What was measured in a window."""

    image: NDArray[np.float32]  # (C, H, W), 0 where not valid
    valid: NDArray[np.bool_]  # (H, W), True where every band was measured


@contextmanager
def open_scene(scene: Scene, bands: Sequence[str] | None = None) -> Iterator[SceneReader]:
    """A reader of these bands of a scene, in this order; of all bands when none are named.

    Raises:
        SceneError: a band is missing, or its file cannot be opened.
        GridError: the bands do not lie on the same ground.
    """
    names = tuple(scene.bands) if bands is None else tuple(bands)
    with ExitStack() as stack:
        opened: dict[str, DatasetReader] = {}

        def layer(name: str, asset: Asset) -> _Layer:
            key = str(asset.path)
            if key not in opened:
                opened[key] = stack.enter_context(open_raster(asset.path))
            return _Layer(name=name, raster=opened[key], asset=asset)

        layers = [layer(name, scene.asset(name)) for name in names]
        mask = None if scene.mask is None else layer("mask", scene.mask)
        yield SceneReader(scene, layers, mask)


class SceneReader:
    """Windows of an open scene on one grid: that of its finest band."""

    def __init__(self, scene: Scene, layers: Sequence[_Layer], mask: _Layer | None) -> None:
        self.scene = scene
        self.bands = tuple(layer.name for layer in layers)
        finest = min(layers, key=lambda layer: layer.pixel_width)
        self.grid: GeoBox = finest.grid
        self._layers = tuple(layers)
        self._mask = mask
        for layer in (*layers, *([] if mask is None else [mask])):
            _require_same_ground(finest, layer)

    def read(self, window: Window) -> Pixels:
        """The pixels of a window of the scene's grid; what lies outside the scene is not valid.

        Args:
            window: whole pixels of `grid`; may reach beyond its edges.

        Raises:
            SceneError: a file is truncated or damaged.
        """
        image = np.zeros((len(self._layers), window.height, window.width), dtype=np.float32)
        valid = np.zeros((window.height, window.width), dtype=bool)
        inside, place = _inside(window, self.grid)
        if inside is not None:
            part = self._read_inside(inside, (inside.height, inside.width))
            image[:, *place], valid[place] = part
        return Pixels(image, valid)

    def overview(self, longest_px: int) -> Pixels:
        """The whole scene at a lower resolution, its longer side at most `longest_px`."""
        height, width = self.grid.shape
        shrink = max(1.0, max(height, width) / longest_px)
        shape = (max(1, round(height / shrink)), max(1, round(width / shrink)))
        return self._read_inside(Window(0, 0, width, height), shape)

    def _read_inside(self, window: Window, shape: tuple[int, int]) -> Pixels:
        image = np.empty((len(self._layers), *shape), dtype=np.float32)
        valid = np.ones(shape, dtype=bool)
        for layer, target in zip(self._layers, image, strict=True):
            target[:], known = layer.read(window, self.grid, shape)
            valid &= known
        if self._mask is not None:
            values, known = self._mask.read(window, self.grid, shape)
            valid &= known & (values != 0)
        image[:, ~valid] = 0
        return Pixels(image, valid)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    """A band of an open raster."""

    name: str
    raster: DatasetReader
    asset: Asset

    def __post_init__(self) -> None:
        if not 1 <= self.asset.index <= self.raster.count:
            raise SceneError(
                f"{self.raster.name} has {self.raster.count} bands; there is no band "
                f"{self.asset.index} for {self.name}."
            )

    @property
    def grid(self) -> GeoBox:
        return raster_grid(self.raster)

    @property
    def pixel_width(self) -> float:
        return abs(float(self.grid.resolution.x))

    def read(
        self, window: Window, grid: GeoBox, shape: tuple[int, int]
    ) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        """Values and validity (H, W) in a window of `grid`, which may be finer than this layer."""
        index = self.asset.index
        own = self._own_window(window, grid)
        # A mask has no values between 0 and 1. GDAL does not know a nodata value that the file does
        # not name, so that it would be averaged into its neighbours.
        exact = self.name == "mask" or self.asset.nodata is not None
        smooth = Resampling.nearest if exact else Resampling.bilinear
        with reading(self.raster.name):
            values = self.raster.read(
                index, window=own, out_shape=shape, out_dtype=np.float32, resampling=smooth
            )
            known = np.isfinite(values)
            if self.asset.nodata is not None:
                known &= values != np.float32(self.asset.nodata)
            if MaskFlags.all_valid not in self.raster.mask_flag_enums[index - 1]:
                known &= self.raster.read_masks(index, window=own, out_shape=shape) > 0
        scale, offset = self.raster.scales[index - 1], self.raster.offsets[index - 1]
        if (scale, offset) != (1, 0):
            values = values * np.float32(scale) + np.float32(offset)
        return values, known

    def _own_window(self, window: Window, grid: GeoBox) -> Window:
        across = grid.shape.x / self.raster.width
        down = grid.shape.y / self.raster.height
        return Window(
            window.col_off / across,
            window.row_off / down,
            window.width / across,
            window.height / down,
        )


def _inside(window: Window, grid: GeoBox) -> tuple[Window | None, tuple[slice, slice]]:
    """The part of a window within the grid, and where that part lies in the window."""
    top, left = max(window.row_off, 0), max(window.col_off, 0)
    bottom = min(window.row_off + window.height, grid.shape.y)
    right = min(window.col_off + window.width, grid.shape.x)
    if bottom <= top or right <= left:
        return None, (slice(0), slice(0))
    rows = slice(top - window.row_off, bottom - window.row_off)
    columns = slice(left - window.col_off, right - window.col_off)
    return Window(left, top, right - left, bottom - top), (rows, columns)


def _require_same_ground(finest: _Layer, layer: _Layer) -> None:
    one, other = finest.grid, layer.grid
    names = f"{finest.name} and {layer.name}"
    grids = (
        f"\n  {finest.name}: {describe_grid(one)}\n  {layer.name}: {describe_grid(other)}\n"
        "Bring one onto the other with geoseg.scenes.read_onto(asset, grid) or `gdalwarp`."
    )
    if not same_crs(crs_of(one), crs_of(other)):
        raise GridError(f"{names} have different coordinate reference systems.{grids}")
    if same_grid(one, other):
        return
    if layer.pixel_width <= finest.pixel_width * 1.001 or not _same_extent(one, other):
        raise GridError(f"{names} are not on the same pixels.{grids}")


def _same_extent(fine: GeoBox, coarse: GeoBox) -> bool:
    """Whether a coarser grid covers the same rectangle, to a tenth of a fine pixel."""
    tolerance = 0.1 * abs(fine.resolution.x)
    sides = zip(fine.boundingbox.bbox, coarse.boundingbox.bbox, strict=True)
    return all(abs(a - b) <= tolerance for a, b in sides)
