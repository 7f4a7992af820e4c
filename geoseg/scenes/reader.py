"""Reading windows of a scene, with what is valid in them."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from odc.geo.geobox import GeoBox
from rasterio.windows import Window

from geoseg.errors import GridError, SceneError, nearest
from geoseg.grids import crs_of, describe_grid, part_of, same_crs, same_grid
from geoseg.scenes.raster import open_raster
from geoseg.scenes.resample import Averaging
from geoseg.scenes.stored import Layer, StoredBands, StoredMask, open_bands
from geoseg.scenes.terrain import TERRAIN_BANDS, open_terrain
from geoseg.sensors import find_sensor

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from rasterio.io import DatasetReader

    from geoseg.scenes.scene import Scene
    from geoseg.sensors import Band

__all__ = ["Pixels", "SceneReader", "band_names", "bands_of", "open_scene"]

_STRIP_PX = 2**22  # read at once of what is averaged


class Pixels(NamedTuple):
    """What was measured in a window."""

    image: NDArray[np.float32]  # (C, H, W), 0 where not valid; NaN in a void of the terrain
    valid: NDArray[np.bool_]  # (H, W), True where every band was measured


def band_names(scene: Scene) -> tuple[str, ...]:
    """All bands of a scene: what was measured, and the terrain where it has an elevation model."""
    measured = tuple(scene.bands)
    if scene.dem is None:
        return measured
    return measured + tuple(name for name in TERRAIN_BANDS if name not in measured)


def bands_of(scene: Scene, names: Sequence[str]) -> tuple[Band, ...]:
    """What the bands of these names measure.

    Raises:
        SceneError: the scene has no such band.
    """
    sensor, terrain = find_sensor(scene.sensor_id), find_sensor("dem")
    _require_bands(scene, names)
    return tuple((sensor if name in scene.bands else terrain).band(name) for name in names)


@contextmanager
def open_scene(
    scene: Scene, bands: Sequence[str] | None = None, *, coarser: int = 1
) -> Iterator[SceneReader]:
    """A reader of these bands of a scene, in this order; of all it measured when none are named.

    Args:
        scene: with these bands.
        bands: common names; those of the terrain where the scene has an elevation model.
        coarser: how many pixels of the scene, to each side, are averaged by area into one.

    Raises:
        SceneError: a band is missing, or its file cannot be opened.
        GridError: the bands do not lie on the same ground.
    """
    names = tuple(scene.bands) if bands is None else tuple(bands)
    _require_bands(scene, names)
    if coarser < 1 or coarser != int(coarser):
        raise SceneError(f"coarser = {coarser}; give a whole number of pixels, 1 or more.")
    if not any(name in scene.bands for name in names):
        raise SceneError(
            f"{', '.join(names) or 'nothing'} of scene {scene.id} was measured by its sensor; "
            f"name at least one of its bands: {', '.join(scene.bands)}."
        )
    with ExitStack() as stack:
        yield SceneReader(scene, names, int(coarser), stack)


class SceneReader:
    """Windows of an open scene on one grid: that of its finest band, or one coarser by a factor.

    The last row and column of a coarser grid reach beyond the scene where the factor does not
    divide its size, so that no pixel of the scene is lost; what lies beyond counts neither for nor
    against them.
    """

    def __init__(
        self, scene: Scene, bands: tuple[str, ...], coarser: int, stack: ExitStack
    ) -> None:
        self.scene = scene
        self.bands = bands
        self._files, self._mask = _open_files(scene, bands, stack)
        finest = min(self._files, key=_pixel_width)
        for file in self._files:
            _require_same_ground(finest, file)
        if self._mask is not None:
            _require_same_ground(finest, self._mask.bands)
        self._fine: GeoBox = finest.grid
        self.coarser = coarser
        self.grid: GeoBox = _coarser_grid(self._fine, coarser)
        self._terrain = [i for i, name in enumerate(bands) if name not in scene.bands]
        self._slopes = None
        if self._terrain and scene.dem is not None:
            self._slopes = open_terrain(scene.dem, self.grid)

    def read(self, window: Window, shape: tuple[int, int] | None = None) -> Pixels:
        """The pixels of a window of the scene's grid; what lies outside the scene is not valid.

        Args:
            window: whole pixels of `grid`; may reach beyond its edges.
            shape: rows and columns to which the window is averaged by area; a pixel is valid when
                at least half of it is. Those of the window when None.

        Raises:
            SceneError: a file is truncated or damaged.
        """
        k = self.coarser
        own = (window.height, window.width)
        wanted = own if shape is None else shape
        if k == 1 and wanted == own:
            pixels = self._measured(window)
        else:
            fine = Window(window.col_off * k, window.row_off * k, own[1] * k, own[0] * k)
            pixels = self._averaged(fine, wanted)
        if self._terrain:
            self._add_terrain(pixels, window, wanted)
        return pixels

    @property
    def block_height_px(self) -> int:
        """Rows of the tallest blocks in which a file of the scene is stored."""
        return max(int(file.raster.block_shapes[0][0]) for file in self._files)

    @property
    def stored_bytes_per_px(self) -> int:
        """Bytes that all files hold of a pixel of the finest band."""
        return sum(
            np.dtype(file.raster.dtypes[index - 1]).itemsize
            for file in self._files
            for index in file.indexes
        )

    @property
    def voids(self) -> tuple[tuple[float, ...], ...]:
        """What means no data in each band, in the unit of the scene; NaN does in all."""
        found: list[tuple[float, ...]] = [()] * len(self.bands)
        for file in self._files:
            for channel, voids, (scale, offset) in zip(
                file.channels, file.voids, file.scaling, strict=True
            ):
                found[channel] = tuple(void * scale + offset for void in voids)
        return tuple(found)

    def overview(self, longest_px: int) -> Pixels:
        """The whole scene at a lower resolution, its longer side at most `longest_px`."""
        height, width = self.grid.shape
        shrink = max(1.0, max(height, width) / longest_px)
        shape = (max(1, round(height / shrink)), max(1, round(width / shrink)))
        return self.read(Window(0, 0, width, height), shape)

    def _measured(self, window: Window) -> Pixels:
        """The pixels of a window of the finest grid; terrain is left as it comes."""
        inside, place = _inside(window, self._fine)
        shape = (window.height, window.width)
        if inside == window:
            image = np.empty((len(self.bands), *shape), dtype=np.float32)
            valid = np.ones(shape, dtype=bool)
            self._read_inside(window, image, valid)
            return Pixels(image, valid)
        image = np.zeros((len(self.bands), *shape), dtype=np.float32)
        valid = np.zeros(shape, dtype=bool)
        if inside is not None:
            valid[place] = True
            self._read_inside(inside, image[:, *place], valid[place])
        return Pixels(image, valid)

    def _read_inside(
        self, window: Window, image: NDArray[np.float32], valid: NDArray[np.bool_]
    ) -> None:
        for file in self._files:
            file.read(window, self._fine, image, valid)
        if self._mask is not None:
            self._mask.read(window, self._fine, valid)
        if self._terrain:
            image[self._terrain] = 0
        if not valid.all():
            image[:, ~valid] = 0

    def _averaged(self, window: Window, shape: tuple[int, int]) -> Pixels:
        """A window of the finest grid, averaged; some rows of it are held at a time."""
        covered = None
        if self.coarser > 1:
            end = self._fine.shape
            covered = (end.y - window.row_off, end.x - window.col_off)
        fine = (window.height, window.width)
        average = Averaging(fine, shape, bands=len(self.bands), covered=covered)
        step = max(1, _STRIP_PX // max(1, window.width))
        for top in range(0, window.height, step):
            rows = min(step, window.height - top)
            strip = Window(window.col_off, window.row_off + top, window.width, rows)
            average.add(top, *self._measured(strip))
        return Pixels(*average.result())

    def _add_terrain(self, pixels: Pixels, window: Window, shape: tuple[int, int]) -> None:
        """Fill the terrain bands, which are computed at the pixel that is asked for."""
        assert self._slopes is not None
        if shape == (window.height, window.width):
            terrain = self._slopes.read(window)
        else:
            part = part_of(self.grid, window)
            scale = part.affine.scale(window.width / shape[1], window.height / shape[0])
            terrain = self._slopes.read_on(GeoBox(shape, part.affine * scale, part.crs))
        for channel in self._terrain:
            band = terrain[TERRAIN_BANDS.index(self.bands[channel])]
            pixels.image[channel] = np.where(pixels.valid, band, np.float32(0))


def _open_files(
    scene: Scene, names: Sequence[str], stack: ExitStack
) -> tuple[tuple[StoredBands, ...], StoredMask | None]:
    """The bands of a scene, those of one file together, and its mask."""
    opened: dict[Path, DatasetReader] = {}

    def bands(path: Path, layers: Sequence[Layer]) -> StoredBands:
        if path not in opened:
            opened[path] = stack.enter_context(open_raster(path))
        data = [asset.index for asset in scene.bands.values() if asset.path == path]
        return open_bands(opened[path], layers, data=data)

    layers: dict[Path, list[Layer]] = {}
    for channel, name in enumerate(names):
        if name in scene.bands:
            asset = scene.bands[name]
            layers.setdefault(asset.path, []).append(Layer(name, asset, channel))
    files = tuple(bands(path, group) for path, group in layers.items())
    if scene.mask is None:
        return files, None
    return files, StoredMask(bands=bands(scene.mask.path, [Layer("mask", scene.mask, 0)]))


def _require_bands(scene: Scene, names: Sequence[str]) -> None:
    known = band_names(scene)
    for name in names:
        if name in known:
            continue
        if name in TERRAIN_BANDS:
            raise SceneError(
                f"scene {scene.id} has no elevation model, which band {name!r} is made from; name "
                "one under `dem` of the scene, or leave the band out."
            )
        raise SceneError(f"no band {name!r} in scene {scene.id}. {nearest(name, known)}")


def _coarser_grid(grid: GeoBox, factor: int) -> GeoBox:
    if factor == 1:
        return grid
    shape = (-(-grid.shape.y // factor), -(-grid.shape.x // factor))
    return GeoBox(shape, grid.affine * grid.affine.scale(factor), grid.crs)


def _inside(window: Window, grid: GeoBox) -> tuple[Window | None, tuple[slice, slice]]:
    """The part of a window within the grid, and where that part lies in the window."""
    height, width = grid.shape
    top, left = max(window.row_off, 0), max(window.col_off, 0)
    bottom = min(window.row_off + window.height, height)
    right = min(window.col_off + window.width, width)
    if bottom <= top or right <= left:
        return None, (slice(0), slice(0))
    rows = slice(top - window.row_off, bottom - window.row_off)
    columns = slice(left - window.col_off, right - window.col_off)
    return Window(left, top, right - left, bottom - top), (rows, columns)


def _pixel_width(file: StoredBands) -> float:
    return abs(float(file.grid.resolution.x))


def _require_same_ground(finest: StoredBands, file: StoredBands) -> None:
    one, other = finest.grid, file.grid
    first, second = finest.names[0], file.names[0]
    grids = (
        f"\n  {first}: {describe_grid(one)}\n  {second}: {describe_grid(other)}\n"
        "Bring one onto the other with geoseg.scenes.read_onto(asset, grid) or `gdalwarp`."
    )
    if not same_crs(crs_of(one), crs_of(other)):
        raise GridError(f"{first} and {second} have different coordinate reference systems.{grids}")
    if same_grid(one, other):
        return
    if _pixel_width(file) <= _pixel_width(finest) * 1.001 or not _same_extent(one, other):
        raise GridError(f"{first} and {second} are not on the same pixels.{grids}")


def _same_extent(fine: GeoBox, coarse: GeoBox) -> bool:
    """Whether a coarser grid covers the same rectangle, to a tenth of a fine pixel."""
    tolerance = 0.1 * abs(fine.resolution.x)
    sides = zip(fine.boundingbox.bbox, coarse.boundingbox.bbox, strict=True)
    return all(abs(a - b) <= tolerance for a, b in sides)
