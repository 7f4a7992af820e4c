"""Where what is looked for is expected to be: results summed over cells of equal area."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
import shapely
from pyproj import CRS, Transformer

from geoseg.errors import ConfigError, DataError
from geoseg.files import writing
from geoseg.presence.results import read_results

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = ["EQUAL_AREA", "HeatMap", "draw_heat", "heat_map", "read_heat", "write_heat"]

EQUAL_AREA = CRS.from_epsg(6933)  # EASE-Grid 2.0: a cell has one area wherever it lies
_LIMIT_M = (17_367_530.45, 7_314_540.83)  # half its width and height
_LAYER = "heat"
_SIDE_KM = (0.1, 2000.0)
_LARGEST_PICTURE_PX = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class HeatMap:
    """Sums over cells, those with a place alone; rising from the north-west, row by row."""

    cell_km: float
    column: NDArray[np.int64]  # (N,) from the western edge of EPSG:6933
    row: NDArray[np.int64]  # (N,) from its northern edge
    expected: NDArray[np.float64]  # (N,) sum of probabilities: how many hold it, on average
    decided: NDArray[np.int64]  # (N,) places decided to hold it
    seen: NDArray[np.int64]  # (N,) places with a valid pixel
    nowhere: int  # places without a position, or without a valid pixel; in no cell

    def __len__(self) -> int:
        return len(self.row)


def read_heat(folder: Path, cell_km: float) -> HeatMap:
    """The heat map of results; memory grows with the number of cells, not of places.

    Args:
        folder: that `geoseg presence predict` wrote.
        cell_km: side of a cell, 0.1 to 2000.

    Raises:
        ConfigError: a cell of another size.
        DataError: no results, or none with a position.
    """
    columns = ["lon", "lat", "probability", "decision"]
    heat = heat_map(read_results(folder, columns), cell_km)
    if not len(heat):
        raise DataError(
            f"No place in {folder} has a position, so none can be mapped; pack chips with lon and "
            "lat."
        )
    return heat


def heat_map(batches: Iterable[pa.RecordBatch], cell_km: float) -> HeatMap:
    """Sums over cells of results with columns lon, lat, probability and decision.

    Raises:
        ConfigError: a cell that is not 0.1 to 2000 km wide.
    """
    low, high = _SIDE_KM
    if not low <= cell_km <= high:
        raise ConfigError(f"A cell of {cell_km} km is none; give {low:g} to {high:g} km.")
    there = _onto_cells()
    width = int(2 * _LIMIT_M[0] / (cell_km * 1000)) + 1
    cells = np.empty(0, dtype=np.int64)
    sums = np.empty((0, 3))
    nowhere = 0
    for batch in batches:
        lon, lat, chance, decided = (_floats(batch, n) for n in batch.schema.names)
        x, y = there.transform(lon, lat)
        known = np.isfinite(x) & np.isfinite(y) & np.isfinite(chance)
        nowhere += int((~known).sum())
        x, y = x[known], y[known]
        column = np.floor((x + _LIMIT_M[0]) / (cell_km * 1000)).astype(np.int64)
        row = np.floor((_LIMIT_M[1] - y) / (cell_km * 1000)).astype(np.int64)
        more = np.column_stack([chance[known], decided[known], np.ones(len(x))])
        cells, sums = _summed(
            np.concatenate([cells, row * width + column]), np.concatenate([sums, more])
        )
    return HeatMap(
        cell_km=cell_km,
        column=cells % width,
        row=cells // width,
        expected=sums[:, 0],
        decided=sums[:, 1].astype(np.int64),
        seen=sums[:, 2].astype(np.int64),
        nowhere=nowhere,
    )


def write_heat(heat: HeatMap, path: Path) -> None:
    """Write the cells as squares of a GeoPackage in EPSG:6933, a plain layer named heat.

    Raises:
        OutputError: it cannot be written.
    """
    import geopandas as gpd

    side = heat.cell_km * 1000
    west = heat.column * side - _LIMIT_M[0]
    north = _LIMIT_M[1] - heat.row * side
    table = gpd.GeoDataFrame(
        {
            "expected": heat.expected,
            "decided": heat.decided,
            "seen": heat.seen,
            "expected_share": heat.expected / heat.seen,
        },
        geometry=shapely.box(west, north - side, west + side, north),
        crs=EQUAL_AREA,
    )
    with writing(path) as aside:
        table.to_file(aside, layer=_LAYER, driver="GPKG")


def draw_heat(heat: HeatMap, path: Path) -> None:
    """Draw the expected number of each cell as a PNG, on the ground that the cells span.

    Of a picture with more than 4096 cells to a side, the largest of several cells is drawn.

    Raises:
        OutputError: it cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    picture, extent = _picture(heat)
    figure = Figure(figsize=(8, 6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    shown = axes.imshow(picture, extent=extent, cmap="viridis", interpolation="nearest")
    figure.colorbar(shown, label=f"expected number in {heat.cell_km:g} km cells")
    axes.set(xlabel="east in EPSG:6933, km", ylabel="north in EPSG:6933, km")
    with writing(path) as aside:
        figure.savefig(aside, format="png")


@lru_cache(maxsize=1)
def _onto_cells() -> Transformer:
    return Transformer.from_crs("OGC:CRS84", EQUAL_AREA, always_xy=True)


def _picture(heat: HeatMap) -> tuple[NDArray[np.float64], tuple[float, float, float, float]]:
    """Expected numbers (H, W), NaN where there is no place, and their extent in km."""
    top, left = int(heat.row.min()), int(heat.column.min())
    rows, columns = int(heat.row.max()) - top + 1, int(heat.column.max()) - left + 1
    step = -(-max(rows, columns) // _LARGEST_PICTURE_PX)
    picture = np.full((-(-rows // step), -(-columns // step)), -np.inf)
    where = ((heat.row - top) // step, (heat.column - left) // step)
    np.maximum.at(picture, where, heat.expected)
    picture[np.isneginf(picture)] = np.nan
    side = heat.cell_km
    west, north = left * side - _LIMIT_M[0] / 1000, _LIMIT_M[1] / 1000 - top * side
    height, width = picture.shape
    return picture, (west, west + width * step * side, north - height * step * side, north)


def _floats(batch: pa.RecordBatch, name: str) -> NDArray[np.float64]:
    """A column as numbers, NaN where there is none."""
    import pyarrow as pa

    found: NDArray[np.float64] = batch[name].cast(pa.float64()).to_numpy(zero_copy_only=False)
    return found


def _summed(
    cells: NDArray[np.int64], values: NDArray[np.float64]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Each cell once, rising, with the sums (N, 3) of its values."""
    unique, where = np.unique(cells, return_inverse=True)
    sums = [np.bincount(where, weights=column, minlength=len(unique)) for column in values.T]
    return unique, np.column_stack(sums)
