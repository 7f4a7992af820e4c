"""What rasters look like: images in a composition of their bands, maps in their colours."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import numpy as np

from geoseg.page.missing import NotThereError
from geoseg.page.pictures import Tones, are_power, in_decibels, mixed, span_of, toned
from geoseg.viewer.tiles import RasterTiles, grid_over

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from geoseg.scenes import Asset
    from geoseg.viewer.items import Image, PaintedMap

__all__ = ["Painter", "colours_of_classes", "colours_of_shares"]

_FADED = 0.25  # of a share: below, what is underneath shines through
_SAMPLE_PX = 512  # longer side of the picture of a whole image that its tones are taken from


def colours_of_shares(stops: Sequence[str], steps: int) -> NDArray[np.uint8]:
    """Colours (256, 4) of shares that are stored as 0 to `steps`; what is above has none.

    Args:
        stops: colours at even distances, such as '#440154', from 0 to 1.
        steps: what is stored of a share of 1.
    """
    ends = np.array([list(bytes.fromhex(colour[1:])) for colour in stops], dtype=float)
    share = np.clip(np.arange(256) / steps, 0, 1)
    at = np.linspace(0, 1, len(stops))
    mixed_colours = [np.interp(share, at, ends[:, channel]) for channel in range(3)]
    opaque = np.where(np.arange(256) <= steps, np.clip(share / _FADED, 0, 1), 0)
    table = np.stack([*mixed_colours, 255 * opaque], axis=1)
    return np.asarray(np.rint(table), dtype=np.uint8)


def colours_of_classes(colours: Sequence[str]) -> NDArray[np.uint8]:
    """Colours (256, 4) of class ids; the ground, which is 0, and what is no class have none."""
    table = np.zeros((256, 4), dtype=np.uint8)
    for number, colour in enumerate(colours[1:], start=1):
        table[number] = (*bytes.fromhex(colour[1:]), 255)
    return table


class Painter:
    """Paints tiles. How an image is stretched is reckoned once and holds all over it."""

    def __init__(self) -> None:
        self._tiles = RasterTiles()
        self._tones: dict[tuple[object, ...], Tones] = {}
        self._turn = threading.Lock()

    def map_tile(self, shown: PaintedMap, choice: str, grid: GeoBox) -> NDArray[np.uint8]:
        """A band of a map on a tile (H, W, 4): red, green, blue and alpha.

        Raises:
            NotThereError: it has no such band.
            SceneError: the file cannot be read.
        """
        if choice not in shown.choices:
            raise NotThereError
        index = shown.choices[choice]
        values, valid = self._tiles.read(shown.path, [index], grid, classes=shown.classes)
        picture: NDArray[np.uint8] = shown.colours[values[0].astype(np.uint8)]
        picture[~valid] = 0
        return picture

    def image_tile(
        self,
        image: Image,
        composition: str,
        grid: GeoBox,
        *,
        bounds: tuple[float, float, float, float],
    ) -> NDArray[np.uint8]:
        """An image on a tile (H, W, 4): red, green, blue and alpha, which is 0 where not valid.

        Args:
            image: with its bands.
            composition: one of its choices.
            grid: of the tile.
            bounds: of the image, in degrees, for its tones.

        Raises:
            NotThereError: the image has no such composition.
            SceneError: a file cannot be read.
        """
        if composition not in image.choices:
            raise NotThereError
        tones = self._tones_of(image, composition, bounds)
        layers, valid = self._read(image, composition, grid)
        picture = np.zeros((*grid.shape, 4), dtype=np.uint8)
        if valid.any():
            colours = toned(_ready(layers, composition, tones.decibels), tones.spans)
            picture[..., :3] = np.rint(np.moveaxis(np.array(colours), 0, -1))
            picture[..., 3] = 255
            picture[~valid] = 0
        return picture

    def _tones_of(
        self, image: Image, composition: str, bounds: tuple[float, float, float, float]
    ) -> Tones:
        key = (composition, *image.choices[composition])
        # One at a time: all tiles of an image ask for the same.
        with self._turn:
            if key not in self._tones:
                layers, valid = self._read(image, composition, grid_over(bounds, _SAMPLE_PX))
                known = [layer[valid] for layer in layers]
                decibels = are_power(known, composition)
                ready = _ready(known, composition, decibels)
                spans = [span_of(values, composition) for values in ready]
                self._tones[key] = Tones(decibels, spans)
            return self._tones[key]

    def _read(
        self, image: Image, composition: str, grid: GeoBox
    ) -> tuple[list[NDArray[np.float32]], NDArray[np.bool_]]:
        """The bands of a composition, each (H, W), and where all of them are valid."""
        layers: dict[Asset, NDArray[np.float32]] = {}
        valid = np.ones(grid.shape, dtype=bool)
        for assets in _by_file(image.choices[composition]):
            first = assets[0]
            values, known = self._tiles.read(
                first.path, [one.index for one in assets], grid, nodata=first.nodata
            )
            valid &= known
            layers |= dict(zip(assets, values.astype(np.float32), strict=True))
        if image.mask is not None and valid.any():
            mask = image.mask
            kept, known = self._tiles.read(mask.path, [mask.index], grid, classes=True)
            valid &= known & (kept[0] != 0)
        return [layers[one] for one in image.choices[composition]], valid


def _ready(
    layers: Sequence[NDArray[np.float32]], composition: str, decibels: bool
) -> list[NDArray[np.float32]]:
    return mixed([in_decibels(one) for one in layers] if decibels else layers, composition)


def _by_file(assets: Sequence[Asset]) -> list[list[Asset]]:
    """Bands that are read at once."""
    groups: dict[tuple[object, ...], list[Asset]] = {}
    for one in dict.fromkeys(assets):
        groups.setdefault((one.path, one.nodata), []).append(one)
    return list(groups.values())
