"""The files of a mosaic: its maps, and which scene each pixel is of."""

from __future__ import annotations

import json
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from geoseg.errors import SceneError
from geoseg.files import checksums_beside
from geoseg.inference.maps import describe_classes, describe_probability
from geoseg.labels import IGNORE
from geoseg.scenes.cog import open_cog

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from odc.geo.geobox import GeoBox
    from rasterio.io import DatasetReader, DatasetWriter
    from rasterio.windows import Window

    from geoseg.inference.maps import Prediction
    from geoseg.labels import ClassScheme
    from geoseg.mosaic.merge import Merged

__all__ = ["MosaicWriter", "SeenScene", "open_mosaic", "read_seen_scenes", "source_path"]

_SCENES_TAG = "SCENES"  # of the source map: JSON, a list of {id, start, end}


class SeenScene(NamedTuple):
    """A scene of a mosaic, and when it was acquired (half-open, UTC)."""

    id: str
    start: datetime
    end: datetime


def source_path(prediction: Prediction) -> Path:
    """Where the source map of a mosaic lies: beside its class map.

    A COG of 16 bits that numbers, from 1, the scene that each pixel is of, 0 where it is of none.
    Its tag `SCENES` lists them.
    """
    return prediction.classes.with_name("source.tif")


def read_seen_scenes(source: DatasetReader) -> list[SeenScene]:
    """The scenes of a mosaic from its source map, which numbers them from 1.

    Raises:
        SceneError: it is no source map.
    """
    try:
        return [
            SeenScene(s["id"], datetime.fromisoformat(s["start"]), datetime.fromisoformat(s["end"]))
            for s in json.loads(source.tags()[_SCENES_TAG])
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise SceneError(
            f"{source.name} does not list its scenes in the tag {_SCENES_TAG}; give the source.tif "
            "of a mosaic."
        ) from error


class MosaicWriter(NamedTuple):
    """The open maps of a mosaic."""

    classes: DatasetWriter
    source: DatasetWriter
    probability: DatasetWriter | None

    def write(self, merged: Merged, window: Window) -> None:
        """Write a block of each."""
        self.classes.write(merged.classes, 1, window=window)
        self.source.write(merged.source, 1, window=window)
        if self.probability is not None:
            self.probability.write(merged.stored, window=window)


@contextmanager
def open_mosaic(
    prediction: Prediction,
    grid: GeoBox,
    scheme: ClassScheme,
    *,
    scenes: Sequence[SeenScene],
    tags: Mapping[str, str],
) -> Iterator[MosaicWriter]:
    """Cloud-optimised GeoTIFFs that appear when the block ends without an error.

    Args:
        prediction: where the maps go.
        grid: their pixels.
        scheme: gives band names and colours.
        scenes: listed in the source map.
        tags: provenance, kept in the metadata of all files.

    Raises:
        OutputError: they cannot be written.
    """
    with (
        open_cog(prediction.classes, grid, nodata=IGNORE, overviews="mode") as classes,
        open_cog(
            source_path(prediction), grid, nodata=0, overviews="mode", dtype="uint16"
        ) as source,
        ExitStack() as stack,
    ):
        describe_classes(classes, scheme, tags)
        listed = [
            {"id": s.id, "start": s.start.isoformat(), "end": s.end.isoformat()} for s in scenes
        ]
        source.update_tags(**{**tags, _SCENES_TAG: json.dumps(listed)})
        probability = None
        if prediction.probability is not None:
            path, bands = prediction.probability, len(scheme.classes)
            wanted = open_cog(path, grid, nodata=IGNORE, overviews="average", bands=bands)
            probability = stack.enter_context(wanted)
            describe_probability(probability, scheme, tags)
        yield MosaicWriter(classes, source, probability)
        _forget_earlier(prediction)


def _forget_earlier(prediction: Prediction) -> None:
    """Remove what an earlier mosaic left that would be taken for part of the one to appear."""
    checksums_beside(prediction.classes).unlink(missing_ok=True)
    if prediction.probability is None:
        prediction.classes.with_name("probability.tif").unlink(missing_ok=True)
