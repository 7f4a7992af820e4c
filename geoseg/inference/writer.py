"""Class and probability maps, written strip by strip."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

import numpy as np
from rasterio.errors import RasterioError
from rasterio.windows import Window

from geoseg.errors import OutputError
from geoseg.files import writing
from geoseg.inference.maps import (
    as_stored,
    create_map,
    describe_classes,
    describe_probability,
    write_cog,
)
from geoseg.inference.prevalence import adapted
from geoseg.labels import IGNORE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox
    from rasterio.io import DatasetWriter

    from geoseg.inference.maps import Prediction
    from geoseg.labels import ClassScheme

__all__ = ["MapWriter", "open_maps"]

_STRIP_PX = 256


class Ratio(Protocol):
    """Says how much more common classes are than in training."""

    def __call__(self, rows: range, width: int, /) -> NDArray[np.float32]:
        """Ratios (K, h, W) of these rows."""


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
        self._raw.write(as_stored(chance, valid), window=window)

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
            self._probability.write(as_stored(chance, valid), window=window)


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
                create_map(probability.with_suffix(".raw.tif"), bands, grid) as raw,
                create_map(strips[0], 1, grid) as class_map,
                create_map(strips[1], bands, grid) as chance_map,
            ):
                describe_classes(class_map, scheme, tags)
                describe_probability(chance_map, scheme, tags)
                yield MapWriter(raw, class_map, chance_map)
            write_cog(strips[0], classes, overviews="mode")
            write_cog(strips[1], probability, overviews="average")
        except RasterioError as error:
            raise OutputError(
                f"{prediction.classes.parent} could not be written to ({error}); "
                "free space there and run again."
            ) from error
