"""Maps of surveys on disk: read onto one grid, and written consistent with each other."""

from __future__ import annotations

from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from affine import Affine
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

from geoseg.errors import SceneError
from geoseg.files import checksums_beside
from geoseg.grids import crs_of, gsd_m
from geoseg.inference.maps import describe_classes, describe_probability
from geoseg.labels import IGNORE
from geoseg.scenes import open_raster, reading
from geoseg.scenes.cog import open_cog

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox
    from rasterio.io import DatasetReader, DatasetWriter
    from rasterio.windows import Window

    from geoseg.inference import Prediction
    from geoseg.labels import ClassScheme
    from geoseg.scenes import Shift

__all__ = [
    "MapOfSurvey",
    "MapReader",
    "MapWriter",
    "Pixels",
    "Smoothed",
    "filled_path",
    "open_consistent",
    "open_survey",
]

_COARSER = 1.5  # pixels larger by this are averages of those of a map


@dataclass(frozen=True, slots=True, kw_only=True)
class MapOfSurvey:
    """The maps of one survey, and when it was acquired."""

    prediction: Prediction
    year: float  # the middle of the acquisition, with its fraction
    name: str
    moved_back: Shift | None = None  # from the other surveys, that its maps are corrected by


def filled_path(prediction: Prediction) -> Path:
    """Where the map lies that says what of a consistent map was inferred: beside its class map.

    A COG, 1 where the survey saw nothing and the class is that of other dates or none, else 0.
    """
    return prediction.classes.with_name("filled.tif")


class Pixels(NamedTuple):
    """A map on a block of the grid."""

    classes: NDArray[np.uint8]  # (H, W), 255 where there is no data
    stored: NDArray[np.uint8] | None  # (K, H, W), probability * 250, 255 where there is no data


class Smoothed(NamedTuple):
    """A consistent map on a block of the grid."""

    classes: NDArray[np.uint8]  # (H, W), 255 where no survey saw anything
    stored: NDArray[np.uint8]  # (K, H, W), probability * 250, 255 likewise
    filled: NDArray[np.uint8]  # (H, W), 1 where this survey saw nothing


class MapReader(NamedTuple):
    """The open maps of a survey, on the grid of the results."""

    path: Path
    classes: WarpedVRT
    probability: WarpedVRT | None

    def read(self, window: Window, count: int) -> Pixels:
        """A block, which holds `count` classes."""
        with reading(self.path):
            classes = self.classes.read(1, window=window)
            highest = int(np.where(classes == IGNORE, 0, classes).max())
            if highest >= count:
                raise SceneError(
                    f"{self.path} holds a class {highest} and names {count}; map the scene again."
                )
            if self.probability is None:
                return Pixels(classes, None)
            stored = self.probability.read(window=window)
        # At the border of a map its classes and what was averaged can differ by a pixel.
        return Pixels(np.where(stored[0] == IGNORE, np.uint8(IGNORE), classes), stored)


@contextmanager
def open_survey(one: MapOfSurvey, own: GeoBox, grid: GeoBox) -> Iterator[MapReader]:
    """The maps of a survey, which lie on `own`, as they are on `grid`.

    Classes are those of the nearest pixel. Probabilities are bilinear, or averaged where the grid
    is coarser; they are known where the classes are.
    """
    coarser = gsd_m(grid) > _COARSER * gsd_m(own)
    mixed = Resampling.average if coarser else Resampling.bilinear
    with ExitStack() as stack:

        def opened(path: Path, resampling: Resampling) -> WarpedVRT:
            raster = stack.enter_context(open_raster(path))
            return stack.enter_context(_on_grid(raster, grid, resampling, one.moved_back))

        path = one.prediction.probability
        yield MapReader(
            one.prediction.classes,
            opened(one.prediction.classes, Resampling.nearest),
            None if path is None else opened(path, mixed),
        )


def _on_grid(
    raster: DatasetReader, grid: GeoBox, resampling: Resampling, shift: Shift | None
) -> WarpedVRT:
    back = Affine.identity() if shift is None else Affine.translation(-shift.x_m, -shift.y_m)
    return WarpedVRT(
        raster,
        src_crs=raster.crs,
        src_transform=back * raster.transform,
        crs=crs_of(grid).to_wkt(),
        transform=grid.affine,
        width=grid.shape.x,
        height=grid.shape.y,
        src_nodata=IGNORE,
        nodata=IGNORE,
        resampling=resampling,
    )


class MapWriter(NamedTuple):
    """The open results of a survey."""

    classes: DatasetWriter
    filled: DatasetWriter
    probability: DatasetWriter | None

    def write(self, smoothed: Smoothed, window: Window) -> None:
        """Write a block of each."""
        self.classes.write(smoothed.classes, 1, window=window)
        self.filled.write(smoothed.filled, 1, window=window)
        if self.probability is not None:
            self.probability.write(smoothed.stored, window=window)


@contextmanager
def open_consistent(
    out: Prediction, grid: GeoBox, scheme: ClassScheme, tags: Mapping[str, str]
) -> Iterator[MapWriter]:
    """Results of a survey: GeoTIFFs that appear when the block ends without an error.

    Args:
        out: where they go.
        grid: their pixels.
        scheme: gives band names and colours.
        tags: provenance, kept in the metadata of all files.

    Raises:
        OutputError: they cannot be written.
    """
    with (
        open_cog(out.classes, grid, nodata=IGNORE, overviews="mode") as classes,
        open_cog(filled_path(out), grid, nodata=None, overviews="mode") as filled,
        ExitStack() as stack,
    ):
        describe_classes(classes, scheme, tags)
        filled.update_tags(**tags)
        probability = None
        if out.probability is not None:
            path, bands = out.probability, len(scheme.classes)
            wanted = open_cog(path, grid, nodata=IGNORE, overviews="average", bands=bands)
            probability = stack.enter_context(wanted)
            describe_probability(probability, scheme, tags)
        yield MapWriter(classes, filled, probability)
        # Sums of an earlier run would speak against what is about to appear.
        checksums_beside(out.classes).unlink(missing_ok=True)
