"""The bands of one raster file, ready to be read: what never changes is looked up once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from rasterio.enums import ColorInterp, MaskFlags
from rasterio.windows import Window

from geoseg.errors import SceneError
from geoseg.grids import raster_grid
from geoseg.scenes.raster import reading
from geoseg.scenes.resample import interpolate, nearest_index

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox
    from rasterio.io import DatasetReader

    from geoseg.scenes.scene import Asset

__all__ = ["StoredBands", "StoredMask", "data_bands", "open_bands"]


class Layer(NamedTuple):
    """A band of a scene and its channel in the images that are read."""

    name: str
    asset: Asset
    channel: int


def data_bands(raster: DatasetReader) -> tuple[int, ...]:
    """The bands of a raster that hold data, counted from 1: all but an alpha band."""
    return tuple(
        index
        for index, meaning in enumerate(raster.colorinterp, start=1)
        if meaning != ColorInterp.alpha
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBands:
    """Some bands of one open file."""

    raster: DatasetReader
    grid: GeoBox
    names: tuple[str, ...]
    channels: tuple[int, ...]
    indexes: tuple[int, ...]  # of the bands, then of an alpha band that masks them
    voids: tuple[tuple[float, ...], ...]  # what means no data, for each band
    scaling: tuple[tuple[float, float], ...]  # scale and offset of each band
    masked: tuple[int, ...]  # bands whose mask the file keeps apart

    def read(
        self,
        window: Window,
        grid: GeoBox,
        image: NDArray[np.float32],
        valid: NDArray[np.bool_],
    ) -> None:
        """Fill the channels of an image (C, H, W) and strike out of `valid` what is missing.

        Args:
            window: within `grid`.
            grid: that of this file, or a finer one of the same extent.
            image: of all channels.
            valid: (H, W).
        """
        if grid.shape == self.grid.shape:
            self._read_own(window, image, valid, self.channels)
            return
        own, rows, columns = _own_places(window, grid, self.grid)
        count = len(self.channels)
        coarse = np.empty((count, own.height, own.width), dtype=np.float32)
        known = np.ones(coarse.shape[1:], dtype=bool)
        self._read_own(own, coarse, known, range(count))
        image[list(self.channels)] = interpolate(coarse, known, rows, columns)
        near = np.ix_(nearest_index(rows, own.height), nearest_index(columns, own.width))
        valid &= known[near]

    def _read_own(
        self,
        window: Window,
        image: NDArray[np.float32],
        valid: NDArray[np.bool_],
        channels: Sequence[int],
    ) -> None:
        with reading(self.raster.name):
            stored = self.raster.read(list(self.indexes), window=window)
            for index in self.masked:
                valid &= self.raster.read_masks(index, window=window) > 0
        for band in stored[len(channels) :]:
            valid &= band != 0
        # Most windows have no void, which the extremes tell faster than a comparison; NaN does not.
        low, high = stored.min(), stored.max()
        for band, channel, voids, (scale, offset) in zip(
            stored, channels, self.voids, self.scaling, strict=False
        ):
            for void in voids:
                if not (void < low or void > high):
                    valid &= band != void
            target = image[channel]
            target[:] = band
            if band.dtype.kind == "f":
                valid &= np.isfinite(target)
            if (scale, offset) != (1, 0):
                target *= np.float32(scale)
                target += np.float32(offset)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredMask:
    """The mask of a scene: 0 where it must not be used."""

    bands: StoredBands

    def read(self, window: Window, grid: GeoBox, valid: NDArray[np.bool_]) -> None:
        """Strike out of `valid` (H, W) what the mask does; it has no values between 0 and 1."""
        own, rows, columns = _own_places(window, grid, self.bands.grid)
        values = np.empty((1, own.height, own.width), dtype=np.float32)
        known = np.ones(values.shape[1:], dtype=bool)
        self.bands.read(own, self.bands.grid, values, known)
        known &= values[0] != 0
        valid &= known[np.ix_(nearest_index(rows, own.height), nearest_index(columns, own.width))]


def open_bands(
    raster: DatasetReader, layers: Sequence[Layer], *, data: Sequence[int]
) -> StoredBands:
    """Bands of an open raster.

    Args:
        raster: open.
        layers: which bands of it, and where they go.
        data: bands that the scene takes for data, be they called alpha by the file: programs tag
            the fourth band of a picture so, near infrared or not.

    Raises:
        SceneError: the file has no such band.
        GridError: no CRS or georeference, or rotated.
    """
    for layer in layers:
        if not 1 <= layer.asset.index <= raster.count:
            raise SceneError(
                f"{raster.name} has {raster.count} bands; there is no band "
                f"{layer.asset.index} for {layer.name}."
            )
    own = [layer.asset.index for layer in layers]
    opaque = {*range(1, raster.count + 1)} - {*data_bands(raster)} - {*data} - {*own}
    flags = {index: set(raster.mask_flag_enums[index - 1]) for index in own}
    return StoredBands(
        raster=raster,
        grid=raster_grid(raster),
        names=tuple(layer.name for layer in layers),
        channels=tuple(layer.channel for layer in layers),
        indexes=(*own, *sorted(opaque)),
        voids=tuple(_voids(raster, layer.asset) for layer in layers),
        scaling=tuple((raster.scales[i - 1], raster.offsets[i - 1]) for i in own),
        masked=_masked_apart(flags),
    )


def _masked_apart(flags: dict[int, set[MaskFlags]]) -> tuple[int, ...]:
    """Bands with a mask that is neither their nodata value nor an alpha band."""
    within = {MaskFlags.all_valid, MaskFlags.alpha}
    apart = [i for i, found in flags.items() if not found & within and found != {MaskFlags.nodata}]
    whole = all(flags[i] == {MaskFlags.per_dataset} for i in apart)
    return tuple(apart[:1] if whole else apart)


def _voids(raster: DatasetReader, asset: Asset) -> tuple[float, ...]:
    """Values that mean no data in a band, in the type it is stored in."""
    kind = np.dtype(raster.dtypes[asset.index - 1])
    found: set[float] = set()
    for value in (raster.nodatavals[asset.index - 1], asset.nodata):
        if value is None or np.isnan(value):
            continue  # NaN is never valid
        if kind.kind == "f":
            with np.errstate(over="ignore"):
                found.add(float(np.array(value).astype(kind)))
        elif float(value).is_integer():
            found.add(int(value))  # compared without a detour by floating point
    return tuple(sorted(found))


def _own_places(
    window: Window, grid: GeoBox, own: GeoBox
) -> tuple[Window, NDArray[np.float64], NDArray[np.float64]]:
    """What to read of a coarser grid for a window of a finer one, and where in it each pixel lies.

    One pixel more to each side, so that a window has no seam.
    """
    rows = (np.arange(window.height) + window.row_off + 0.5) * (own.shape.y / grid.shape.y)
    columns = (np.arange(window.width) + window.col_off + 0.5) * (own.shape.x / grid.shape.x)
    top, left = max(0, int(rows[0]) - 1), max(0, int(columns[0]) - 1)
    bottom = min(own.shape.y, int(rows[-1]) + 2)
    right = min(own.shape.x, int(columns[-1]) + 2)
    return Window(left, top, right - left, bottom - top), rows - top, columns - left
