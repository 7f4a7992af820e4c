"""What the probabilities of a map are inside each of its polygons."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from rasterio.windows import Window

from geoseg.errors import GridError, SceneError
from geoseg.grids import describe_grid, raster_grid, same_grid
from geoseg.labels import IGNORE
from geoseg.scenes import open_raster, reading

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox
    from rasterio.io import DatasetReader

    from geoseg.labels import ClassScheme
    from geoseg.vectorize.runs import Strip
    from geoseg.vectorize.tracing import Tracing

__all__ = ["ClassChances", "read_class_chances"]


class ClassChances(NamedTuple):
    """Probabilities, 0 to 1, over the pixels of each polygon; NaN where none is known."""

    own_mean: NDArray[np.float64]  # (N,) of the class of the polygon
    own_sd: NDArray[np.float64]  # (N,) standard deviation from pixel to pixel
    means: NDArray[np.float64]  # (K, N) of every class


def read_class_chances(
    path: Path, strips: Iterable[Strip], tracing: Tracing, grid: GeoBox, scheme: ClassScheme
) -> ClassChances:
    """Means and standard deviations over the pixels that a polygon was traced from.

    Simplification and smoothing do not change which pixels count. The probabilities are read only
    where polygons lie.

    Args:
        path: a band a class, 255 where there is no data; value times scale is a probability.
        strips: of the class map, cut as when it was traced.
        tracing: its polygons.
        grid: its pixels.
        scheme: its classes.

    Raises:
        SceneError: the file cannot be read or lacks a band.
        GridError: it lies on other pixels than the class map.
    """
    with _open_chances(path, grid, scheme) as raster:
        sums = _Sums(len(scheme.classes), tracing)
        for strip in strips:
            runs = _inner_runs(strip, tracing)
            if len(runs.polygon):
                window = runs.window()
                sums.add(raster.read(sums.bands, window=window), runs, window)
        return sums.chances(np.array(raster.scales[: len(scheme.classes)]))


class _Runs(NamedTuple):
    """Runs of pixels that lie in polygons."""

    row: NDArray[np.int64]  # (R,)
    column: NDArray[np.int64]  # (R,) first
    length_px: NDArray[np.int64]  # (R,)
    polygon: NDArray[np.int32]  # (R,) counted from 0

    def window(self) -> Window:
        """The smallest one that holds them all."""
        left, top = self.column.min(), self.row.min()
        right, bottom = (self.column + self.length_px).max(), self.row.max() + 1
        return Window(int(left), int(top), int(right - left), int(bottom - top))

    def bounds(self, window: Window) -> NDArray[np.int64]:
        """First pixel of each in the window, and the first after it, in turn (2 R,)."""
        start = (self.row - window.row_off) * window.width + self.column - window.col_off
        return np.stack([start, start + self.length_px], axis=1).ravel()


class _Sums:
    """Sums over the pixels of polygons, in the numbers that the file stores."""

    def __init__(self, classes: int, tracing: Tracing) -> None:
        count = len(tracing.polygons)
        self.bands = list(range(1, classes + 1))
        self._class = tracing.classes
        self._known = np.zeros((classes, count))
        self._total = np.zeros((classes, count))
        self._squares = np.zeros(count)  # of the polygon's own class

    def add(self, stored: NDArray[np.uint8], runs: _Runs, window: Window) -> None:
        """Count the pixels of these runs in a window (K, h, W)."""
        polygons, of_run = np.unique(runs.polygon, return_inverse=True)
        bounds = runs.bounds(window)

        def summed(pixels: NDArray[np.generic]) -> NDArray[np.int64]:
            # Between two bounds a run and what follows it take turns; at the end nothing follows.
            inside = bounds[:-1] if bounds[-1] == pixels.size else bounds
            of_runs = np.add.reduceat(pixels.ravel(), inside, dtype=np.int64)[::2]
            return np.bincount(of_run, of_runs, len(polygons)).astype(np.int64)

        for c, band in enumerate(stored):
            known = band != IGNORE
            values = np.where(known, band, 0).astype(np.uint16)
            self._known[c, polygons] += summed(known)
            self._total[c, polygons] += summed(values)
            own = self._class[polygons] == c
            if own.any():
                self._squares[polygons[own]] += summed(values * values)[own]

    def chances(self, scales: NDArray[np.float64]) -> ClassChances:
        """The statistics, where a stored number times the scale (K,) is a probability."""
        each = np.arange(len(self._class))
        with np.errstate(invalid="ignore"):
            means = self._total / self._known
            own = means[self._class, each]
            variance = self._squares / self._known[self._class, each] - own**2
        scale = scales[self._class]
        return ClassChances(
            own_mean=own * scale,
            # Rounding makes the variance of equal numbers a little less than zero.
            own_sd=np.sqrt(np.maximum(variance, 0)) * scale,
            means=means * scales[:, None],
        )


def _inner_runs(strip: Strip, tracing: Tracing) -> _Runs:
    """The runs of a strip that lie in polygons, without those of the row above it."""
    owner = tracing.of_label[strip.labels]
    owner[: strip.seam] = 0
    runs = np.flatnonzero(owner)
    above, column = np.divmod(strip.starts[runs] - 1, strip.stride)
    return _Runs(above + strip.top - 1, column, strip.lengths_px[runs], owner[runs] - 1)


@contextmanager
def _open_chances(path: Path, grid: GeoBox, scheme: ClassScheme) -> Iterator[DatasetReader]:
    """An open probability map of these classes on this grid."""
    with open_raster(path) as raster, reading(path):
        if raster.count < len(scheme.classes):
            raise SceneError(
                f"{path} has {raster.count} bands and the scheme has {len(scheme.classes)} "
                f"classes ({', '.join(scheme.names)}); give the probabilities of this map."
            )
        if not same_grid(raster_grid(raster), grid):
            raise GridError(
                f"{path} does not lie on the pixels of the class map.\n"
                f"  classes:     {describe_grid(grid)}\n"
                f"  probability: {describe_grid(raster_grid(raster))}\n"
                "Give the probabilities of this map."
            )
        yield raster
