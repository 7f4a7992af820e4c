"""Class and probability maps, written strip by strip."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import rasterio
from rasterio.errors import RasterioError
from rasterio.shutil import copy
from rasterio.windows import Window

from geoseg.errors import OutputError
from geoseg.files import writing
from geoseg.grids import crs_of
from geoseg.inference.prevalence import adapted
from geoseg.labels import IGNORE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox
    from rasterio.io import DatasetWriter

    from geoseg.labels import ClassScheme

__all__ = ["PROBABILITY_STEPS", "MapWriter", "Prediction", "open_maps"]

_STRIP_PX = 256
PROBABILITY_STEPS = 250  # probability = stored / 250; 255 is left for no data


class Ratio(Protocol):
    """Says how much more common classes are than in training."""

    def __call__(self, rows: range, width: int, /) -> NDArray[np.float32]:
        """Ratios (K, h, W) of these rows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The maps of a scene on disk."""

    classes: Path  # COG of class ids, 255 where there is no data
    probability: Path  # COG, a band a class, stored as 0 to 250 with scale 1/250; 255 = no data


class MapWriter:
    """Takes probabilities from top to bottom, then makes the maps of them."""

    def __init__(
        self, raw: DatasetWriter, classes: DatasetWriter, probability: DatasetWriter
    ) -> None:
        self._raw = raw
        self._classes = classes
        self._probability = probability

    def write_raw(self, top: int, chance: NDArray[np.float32], valid: NDArray[np.bool_]) -> None:
        """Keep probabilities (K, h, W) and validity (h, W) of the strip that starts at `top`."""
        window = Window(0, top, chance.shape[2], chance.shape[1])
        self._raw.write(_stored(chance, valid), window=window)

    def finish(self, ratio: Ratio) -> None:
        """Write both maps, with classes `ratio` times as common as the network takes them to be."""
        width = self._raw.width
        for top in range(0, self._raw.height, _STRIP_PX):
            rows = range(top, min(top + _STRIP_PX, self._raw.height))
            window = Window(0, top, width, len(rows))
            stored = self._raw.read(window=window)
            valid = stored[0] != IGNORE
            chance = adapted(stored.astype(np.float32), ratio(rows, width))
            classes = np.where(valid, chance.argmax(axis=0), IGNORE).astype(np.uint8)
            self._classes.write(classes, 1, window=window)
            self._probability.write(_stored(chance, valid), window=window)


@contextmanager
def open_maps(
    prediction: Prediction, grid: GeoBox, scheme: ClassScheme, tags: Mapping[str, str]
) -> Iterator[MapWriter]:
    """Two cloud-optimised GeoTIFFs that appear when the block ends without an error.

    Args:
        prediction: where they go.
        grid: their pixels.
        scheme: gives band names and colours.
        tags: provenance, kept in the metadata of both files.

    Raises:
        OutputError: they cannot be written.
    """
    with writing(prediction.classes) as classes, writing(prediction.probability) as probability:
        strips = [path.with_suffix(".strips.tif") for path in (classes, probability)]
        bands = len(scheme.classes)
        try:
            with (
                _create(probability.with_suffix(".raw.tif"), bands, grid) as raw,
                _create(strips[0], 1, grid) as class_map,
                _create(strips[1], bands, grid) as chance_map,
            ):
                _describe(class_map, chance_map, scheme, tags)
                yield MapWriter(raw, class_map, chance_map)
            _to_cog(strips[0], classes, overviews="mode")
            _to_cog(strips[1], probability, overviews="average")
        except RasterioError as error:
            raise OutputError(
                f"{prediction.classes.parent} could not be written to ({error}); "
                "free space there and run again."
            ) from error


def _stored(chance: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return np.where(valid, np.rint(chance * PROBABILITY_STEPS), IGNORE).astype(np.uint8)


def _create(path: Path, bands: int, grid: GeoBox) -> DatasetWriter:
    return rasterio.open(
        path,
        "w+",
        driver="GTiff",
        dtype="uint8",
        count=bands,
        width=grid.shape.x,
        height=grid.shape.y,
        crs=crs_of(grid).to_wkt(),
        transform=grid.affine,
        nodata=IGNORE,
        compress="deflate",
        bigtiff="if_safer",
    )


def _describe(
    class_map: DatasetWriter,
    chance_map: DatasetWriter,
    scheme: ClassScheme,
    tags: Mapping[str, str],
) -> None:
    for raster in (class_map, chance_map):
        raster.update_tags(**tags)
    class_map.write_colormap(1, {c.id: _rgba(c.colour) for c in scheme.classes})
    class_map.update_tags(CLASSES=",".join(scheme.names))
    chance_map.scales = [1 / PROBABILITY_STEPS] * chance_map.count
    for index, name in enumerate(scheme.names, start=1):
        chance_map.set_band_description(index, name)


def _rgba(colour: str) -> tuple[int, int, int, int]:
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red, green, blue, 255


def _to_cog(source: Path, target: Path, *, overviews: str) -> None:
    copy(
        source,
        target,
        driver="COG",
        compress="deflate",
        overview_resampling=overviews,
        bigtiff="if_safer",
    )
