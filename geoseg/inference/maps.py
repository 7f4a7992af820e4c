"""The maps of a scene on disk: class ids and probabilities as cloud-optimised GeoTIFFs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from rasterio.io import DatasetWriter

    from geoseg.config import InferenceSettings
    from geoseg.labels import ClassScheme

__all__ = [
    "PROBABILITY_STEPS",
    "Prediction",
    "as_stored",
    "describe_classes",
    "describe_probability",
    "describe_uncertainty",
]

PROBABILITY_STEPS = 250  # probability = stored / 250; 255 is left for no data


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The maps of a scene on disk: cloud-optimised GeoTIFFs, 255 where there is no data."""

    classes: Path  # class ids
    probability: Path | None = None  # a band a class, stored as 0 to 250 with scale 1/250
    uncertainty: Path | None = None  # one band, stored likewise

    @property
    def paths(self) -> list[Path]:
        """Of all maps."""
        named = (self.classes, self.probability, self.uncertainty)
        return [path for path in named if path is not None]

    @classmethod
    def within(cls, folder: Path, settings: InferenceSettings) -> Prediction:
        """The maps that the settings ask for, by their usual names."""
        return cls(
            classes=folder / "classes.tif",
            probability=folder / "probability.tif" if settings.probability else None,
            uncertainty=folder / "uncertainty.tif" if settings.uncertainty != "none" else None,
        )


def as_stored(chance: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Probabilities of any shape as they are stored."""
    return np.rint(chance * PROBABILITY_STEPS).astype(np.uint8)


def describe_classes(raster: DatasetWriter, scheme: ClassScheme, tags: Mapping[str, str]) -> None:
    """Give a class map its colours, the names of its classes and its provenance."""
    raster.update_tags(**tags)
    raster.write_colormap(1, {c.id: _rgba(c.colour) for c in scheme.classes})
    raster.update_tags(CLASSES=",".join(scheme.names))


def describe_probability(
    raster: DatasetWriter, scheme: ClassScheme, tags: Mapping[str, str]
) -> None:
    """Give a probability map its scale, the names of its bands and its provenance."""
    _describe_shares(raster, scheme.names, tags)


def describe_uncertainty(raster: DatasetWriter, kind: str, tags: Mapping[str, str]) -> None:
    """Give an uncertainty map its scale, what it holds and its provenance."""
    _describe_shares(raster, [kind], tags)


def _describe_shares(raster: DatasetWriter, names: Sequence[str], tags: Mapping[str, str]) -> None:
    raster.update_tags(**tags)
    raster.scales = [1 / PROBABILITY_STEPS] * raster.count
    for index, name in enumerate(names, start=1):
        raster.set_band_description(index, name)


def _rgba(colour: str) -> tuple[int, int, int, int]:
    red, green, blue = bytes.fromhex(colour.removeprefix("#"))
    return red, green, blue, 255
