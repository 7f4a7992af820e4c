"""From finished strips to the maps of a scene."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import rasterio
import torch
from rasterio.errors import RasterioError

from geoseg.errors import OutputError
from geoseg.files import checksums_beside, why_not_written, write_checksums, writing
from geoseg.grids import gsd_m
from geoseg.inference.maps import (
    PROBABILITY_STEPS,
    describe_classes,
    describe_probability,
    describe_uncertainty,
)
from geoseg.inference.parts import Parts
from geoseg.inference.prevalence import adapted, prevalence_ratio, ratio_at
from geoseg.labels import IGNORE
from geoseg.scenes.cog import write_cog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox
    from rasterio.io import DatasetWriter

    from geoseg.config import InferenceSettings
    from geoseg.inference.layers import Layers
    from geoseg.inference.maps import Prediction
    from geoseg.models import ModelSpec

__all__ = ["corrected_parts", "write_maps"]

_SAMPLE_SIDE = 160  # pixels a side from which prevalence is estimated


def corrected_parts(
    raw: Parts, grid: GeoBox, layers: Layers, spec: ModelSpec, settings: InferenceSettings
) -> Parts:
    """The strips with classes as common as they are about each pixel, not as in training.

    A spread stays that of the probabilities before.
    """
    step_px = max(1, -(-max(grid.shape) // _SAMPLE_SIDE))
    reach_px = settings.prevalence_reach_m / gsd_m(grid) / step_px
    sampled = _sampled(raw, layers, step_px)
    ratio = prevalence_ratio(sampled, spec.prior, reach_px=reach_px)
    begin = _begin(raw, step_px)
    corrected = Parts(raw.folder / "corrected", grid)
    for number in range(len(corrected), len(raw)):
        done = []
        for top, stored in raw.chunks(number):
            rows = range(top, top + stored.shape[1])
            here = ratio_at(ratio, begin=begin, step_px=step_px, rows=rows, width=stored.shape[2])
            chance = adapted(stored[1 : 1 + layers.classes].astype(np.float32), here)
            spread = stored[-1].astype(np.float32) / PROBABILITY_STEPS
            found = layers.encode(torch.from_numpy(chance)[None], torch.from_numpy(spread)[None])
            done.append(np.where(stored[0] != IGNORE, found[0].numpy(), np.uint8(IGNORE)))
        corrected.add(np.concatenate(done, axis=1), None)
    return corrected


def _sampled(raw: Parts, layers: Layers, step_px: int) -> NDArray[np.float32]:
    """Probabilities (K, h, w) of every so many pixels; NaN without data."""
    found = []
    row, column = _begin(raw, step_px)
    for number in range(len(raw)):
        for top, stored in raw.chunks(number):
            first = -(top - row) % step_px
            some = stored[: 1 + layers.classes, first::step_px, column::step_px]
            chance = some[1:].astype(np.float32) / PROBABILITY_STEPS
            found.append(np.where(some[0] != IGNORE, chance, np.float32(np.nan)))
    return np.concatenate(found, axis=1)


def _begin(raw: Parts, step_px: int) -> tuple[int, int]:
    """Row and column of the first pixel that is sampled; a scene may be narrower than a step."""
    height, width = raw.shape
    return min(step_px // 2, (height - 1) // 2), min(step_px // 2, (width - 1) // 2)


def write_maps(
    parts: Parts,
    prediction: Prediction,
    layers: Layers,
    spec: ModelSpec,
    tags: Mapping[str, str],
) -> None:
    """Make the maps of the finished strips."""
    scheme, chances = spec.scheme, range(2, 2 + layers.classes)

    def of_classes(raster: DatasetWriter) -> None:
        describe_classes(raster, scheme, tags)

    def of_probability(raster: DatasetWriter) -> None:
        describe_probability(raster, scheme, tags)

    def of_uncertainty(raster: DatasetWriter) -> None:
        describe_uncertainty(raster, layers.uncertainty, tags)

    # An older class map would stand beside new probabilities, and older sums speak against all.
    for path in (prediction.classes, checksums_beside(prediction.classes)):
        path.unlink(missing_ok=True)
    # The class map comes last: where it is, all are.
    if prediction.uncertainty is not None:
        _write_map(parts, prediction.uncertainty, [layers.count], of_uncertainty, "average")
    if prediction.probability is not None:
        _write_map(parts, prediction.probability, chances, of_probability, "average")
    _write_map(parts, prediction.classes, [1], of_classes, "mode")
    write_checksums(prediction.paths)


def _write_map(
    parts: Parts,
    path: Path,
    bands: Sequence[int],
    describe: Callable[[DatasetWriter], None],
    overviews: str,
) -> None:
    virtual = parts.as_raster(bands)
    with rasterio.open(virtual, "r+", driver="VRT") as raster:
        describe(raster)
    with writing(path) as aside:
        try:
            write_cog(virtual, aside, overviews=overviews)
        except RasterioError as error:
            reason = why_not_written(error, path.parent)
            raise OutputError(f"{path} could not be written: {reason}.") from error
