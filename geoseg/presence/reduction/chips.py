"""Chips on a map: where each lies, and which pixels of the map are its own."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import geopandas as gpd
import numpy as np
import pyogrio
import shapely
from pyogrio.errors import DataLayerError, DataSourceError
from rasterio.windows import Window

from geoseg.errors import ConfigError, GridError, LabelError
from geoseg.grids import crs_of
from geoseg.vectors import opening

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

__all__ = ["ChipPixels", "Chips", "SquareChips", "VectorChips"]

_AT_ONCE = 10_000  # chips of a file
_ROUNDING_PX = 1e-6


class Chips(NamedTuple):
    """Some chips, in the reference system of a map."""

    ids: list[str]
    shapes: NDArray[np.object_]  # polygons (N,)


class ChipPixels(NamedTuple):
    """The pixels of a map whose centres lie in a chip."""

    window: Window  # within the map; may be empty
    inside: NDArray[np.bool_]  # of the window
    total: int  # of the chip, beyond the map too

    @classmethod
    def of(cls, chip: shapely.Polygon, grid: GeoBox) -> ChipPixels:
        """Of one chip on a grid that is not rotated."""
        columns, rows = _spans(chip, grid)
        x, y = (
            _centres(columns, grid.affine.c, grid.affine.a),
            _centres(rows, grid.affine.f, grid.affine.e),
        )
        inside = np.ones((len(rows), len(columns)), dtype=bool)
        if not _is_box(chip):
            inside = shapely.contains_xy(chip, *np.meshgrid(x, y))
        held = [
            slice(min(max(-span.start, 0), len(span)), max(size - span.start, 0))
            for span, size in ((rows, grid.shape.y), (columns, grid.shape.x))
        ]
        here = inside[held[0], held[1]]
        corner = (columns.start + held[1].start, rows.start + held[0].start)
        window = Window(*corner, here.shape[1], here.shape[0])
        return cls(window, here, int(inside.sum()))


@dataclass(frozen=True, slots=True)
class SquareChips:
    """Squares that tile the ground of a map, at multiples of their side in its reference system.

    So the chips of all maps of one reference system are the same ones. They are named by the
    coordinates of their lower left corner.
    """

    grid: GeoBox
    side_m: float

    def __post_init__(self) -> None:
        if not self.side_m >= abs(self.grid.resolution.x):
            raise ConfigError(
                f"A chip of {self.side_m:g} m is smaller than a pixel of the map "
                f"({abs(self.grid.resolution.x):g} m); make it larger."
            )

    @property
    def parts(self) -> int:
        """Rows of chips."""
        return len(self._rows())

    def __iter__(self) -> Iterator[Chips]:
        """Row by row, from north to south."""
        left, right = self.grid.boundingbox.left, self.grid.boundingbox.right
        x = np.arange(np.floor(left / self.side_m), np.ceil(right / self.side_m)) * self.side_m
        for row in self._rows():
            y = row * self.side_m
            boxes = shapely.box(
                x, np.full_like(x, y), x + self.side_m, np.full_like(x, y + self.side_m)
            )
            yield Chips([f"{one:.10g}_{y:.10g}" for one in x], boxes)

    def _rows(self) -> range:
        box = self.grid.boundingbox
        bottom, top = np.floor(box.bottom / self.side_m), np.ceil(box.top / self.side_m)
        return range(int(top) - 1, int(bottom) - 1, -1)


@dataclass(frozen=True, slots=True)
class VectorChips:
    """The polygons of a vector file, named by its column chip_id or by their number from 0."""

    path: Path
    grid: GeoBox

    def __post_init__(self) -> None:
        if not self.path.is_file():
            raise LabelError(f"{self.path} does not exist; check the path of the chips.")
        about = self._read_info()
        if about["crs"] is None:
            raise GridError(
                f"{self.path} has no coordinate reference system; set it with `ogr2ogr -a_srs "
                "EPSG:...`."
            )

    @property
    def parts(self) -> int:
        """How many times some chips are read."""
        return int(-(-self._read_info()["features"] // _AT_ONCE))

    def __iter__(self) -> Iterator[Chips]:
        """Some at a time, in the order of the file."""
        for first in range(0, self.parts * _AT_ONCE, _AT_ONCE):
            some = self._read(slice(first, first + _AT_ONCE))
            if not some.geom_type.isin(["Polygon", "MultiPolygon"]).all():
                raise LabelError(f"{self.path} holds chips that are no polygons; give squares.")
            if some.is_empty.any():
                empty = first + int(some.is_empty.to_numpy().argmax())
                raise LabelError(f"{self.path} holds an empty polygon (row {empty}); delete it.")
            numbers = range(first, first + len(some))
            ids = some["chip_id"] if "chip_id" in some.columns else numbers
            placed = some.geometry.to_crs(crs_of(self.grid))
            yield Chips([str(one) for one in ids], placed.to_numpy())

    def _read_info(self) -> dict[str, Any]:
        with self._opening() as file:
            about: dict[str, Any] = pyogrio.read_info(file, force_feature_count=True)
        return about

    def _read(self, rows: slice) -> gpd.GeoDataFrame:
        with self._opening() as file:
            return gpd.read_file(file, rows=rows)

    @contextmanager
    def _opening(self) -> Iterator[Path]:
        try:
            with opening(self.path) as file:
                yield file
        except (DataSourceError, DataLayerError) as error:
            raise LabelError(f"{self.path} cannot be read as a vector file ({error}).") from error


def _spans(chip: shapely.Polygon, grid: GeoBox) -> tuple[range, range]:
    """Columns and rows of the pixels with centres between the bounds of a chip."""
    left, bottom, right, top = chip.bounds
    affine = grid.affine
    columns = _whole((left - affine.c) / affine.a), _whole((right - affine.c) / affine.a)
    rows = _whole((top - affine.f) / affine.e), _whole((bottom - affine.f) / affine.e)
    return range(*columns), range(*rows)


def _whole(edge_px: float) -> int:
    """The first pixel whose centre lies on or after an edge."""
    return int(np.ceil(edge_px - 0.5 - _ROUNDING_PX))


def _centres(span: range, origin: float, step: float) -> NDArray[np.float64]:
    return np.asarray(origin + (np.arange(span.start, span.stop) + 0.5) * step, dtype=np.float64)


def _is_box(chip: shapely.Polygon) -> bool:
    left, bottom, right, top = chip.bounds
    return bool(chip.area >= (right - left) * (top - bottom) * (1 - 1e-9))
