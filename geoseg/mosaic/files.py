"""The files of a mosaic: its maps, and which scene each pixel is of."""

from __future__ import annotations

import json
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

import rasterio
from rasterio.errors import RasterioError

from geoseg.errors import OutputError, SceneError
from geoseg.files import checksums_beside, has_room, why_not_written, writing
from geoseg.grids import crs_of
from geoseg.inference.maps import describe_classes, describe_probability, write_cog
from geoseg.labels import IGNORE

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
        _cog(prediction.classes, 1, grid, overviews="mode") as classes,
        _cog(source_path(prediction), 1, grid, overviews="mode", dtype="uint16") as source,
        ExitStack() as stack,
    ):
        describe_classes(classes, scheme, tags)
        listed = [
            {"id": s.id, "start": s.start.isoformat(), "end": s.end.isoformat()} for s in scenes
        ]
        source.update_tags(**{**tags, _SCENES_TAG: json.dumps(listed)})
        probability = None
        if prediction.probability is not None:
            bands = len(scheme.classes)
            wanted = _cog(prediction.probability, bands, grid, overviews="average")
            probability = stack.enter_context(wanted)
            describe_probability(probability, scheme, tags)
        yield MosaicWriter(classes, source, probability)
        _forget_earlier(prediction)


def _forget_earlier(prediction: Prediction) -> None:
    """Remove what an earlier mosaic left that would be taken for part of the one to appear."""
    checksums_beside(prediction.classes).unlink(missing_ok=True)
    if prediction.probability is None:
        prediction.classes.with_name("probability.tif").unlink(missing_ok=True)


@contextmanager
def _cog(
    path: Path, bands: int, grid: GeoBox, *, overviews: str, dtype: str = "uint8"
) -> Iterator[DatasetWriter]:
    """A cloud-optimised GeoTIFF that takes blocks in any order; the unwritten ones are no data."""
    with writing(path) as aside, _told_of_folder(path.parent):
        tiled = aside.with_suffix(".tiles.tif")
        with rasterio.open(
            tiled,
            "w",
            driver="GTiff",
            dtype=dtype,
            count=bands,
            width=grid.shape.x,
            height=grid.shape.y,
            crs=crs_of(grid).to_wkt(),
            transform=grid.affine,
            nodata=IGNORE if dtype == "uint8" else 0,
            tiled=True,
            blockxsize=512,
            blockysize=512,
            interleave="band",
            sparse_ok=True,
            compress="deflate",
            bigtiff="if_safer",
        ) as raster:
            yield raster
        _require_room(path.parent)
        write_cog(tiled, aside, overviews=overviews)


def _require_room(folder: Path) -> None:
    """Refuse a file that was just closed on a full disk: what fails then, rasterio only logs."""
    if not has_room(folder):
        raise OutputError(
            f"The mosaic in {folder} could not be written: the disk is full; free space there and "
            "run again."
        )


@contextmanager
def _told_of_folder(folder: Path) -> Iterator[None]:
    """Turn a failed write into an OutputError: which of the open maps failed, nobody can tell."""
    try:
        yield
    except RasterioError as error:
        reason = why_not_written(error, folder)
        raise OutputError(f"The mosaic in {folder} could not be written: {reason}.") from error
