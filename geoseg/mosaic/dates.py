"""When the outlines of a mosaic were seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from rasterio.features import rasterize
from rasterio.windows import Window

from geoseg.errors import GridError
from geoseg.grids import crs_of, part_of, raster_grid
from geoseg.mosaic.files import read_seen_scenes
from geoseg.scenes import open_raster, reading

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import geopandas as gpd
    from odc.geo.geobox import GeoBox
    from rasterio.io import DatasetReader
    from shapely.geometry.base import BaseGeometry

    from geoseg.mosaic.files import SeenScene

__all__ = ["dates_of"]

_BLOCK_PX = 2048


def dates_of(outlines: gpd.GeoDataFrame, source: Path) -> pd.DataFrame:
    """When each outline was seen, and on which scenes, under the index of the outlines.

    Columns: start_date and end_date (the first start and the last end of the scenes of its pixels,
    None where it has no pixel of any) and scenes (their ids in the order of the mosaic, commas
    between). A pixel is of an outline when its centre is in it.

    Args:
        outlines: in any CRS.
        source: the source map of the mosaic.

    Raises:
        SceneError: no source map of a mosaic, or one that cannot be read.
        GridError: the outlines have no CRS.
    """
    if outlines.crs is None:
        raise GridError("The outlines have no coordinate reference system; set it first.")
    with open_raster(source) as raster, reading(source):
        scenes = read_seen_scenes(raster)
        grid = raster_grid(raster)
        rows = []
        for outline in outlines.geometry.to_crs(crs_of(grid)):
            seen = [scenes[number - 1] for number in sorted(_numbers_in(raster, grid, outline))]
            rows.append(_dated(seen))
    columns = ["start_date", "end_date", "scenes"]
    return pd.DataFrame(rows, columns=columns, index=outlines.index, dtype=object)


def _numbers_in(raster: DatasetReader, grid: GeoBox, outline: BaseGeometry) -> set[int]:
    """The numbers of the scenes of the pixels in an outline."""
    numbers: set[int] = set()
    for window in _blocks_of(outline, grid):
        part = part_of(grid, window)
        inside = rasterize(
            [outline], out_shape=part.shape, transform=part.affine, dtype=np.uint8
        ).astype(bool)
        if inside.any():
            numbers.update(np.unique(raster.read(1, window=window)[inside]).tolist())
    return numbers - {0}


def _blocks_of(outline: BaseGeometry, grid: GeoBox) -> Iterator[Window]:
    """The pixels about an outline, in windows: an ice cap is larger than memory."""
    if outline is None or outline.is_empty:
        return
    left, bottom, right, top = outline.bounds
    to_pixel = ~grid.affine
    columns, rows = zip(to_pixel * (left, top), to_pixel * (right, bottom), strict=True)
    first_row, end_row = _within(rows, grid.shape.y)
    first, end = _within(columns, grid.shape.x)
    for y in range(first_row, end_row, _BLOCK_PX):
        for x in range(first, end, _BLOCK_PX):
            yield Window(x, y, min(_BLOCK_PX, end - x), min(_BLOCK_PX, end_row - y))


def _within(ends: tuple[float, float], length: int) -> tuple[int, int]:
    return max(int(np.floor(min(ends))), 0), min(int(np.ceil(max(ends))), length)


def _dated(seen: list[SeenScene]) -> tuple[object, object, str]:
    if not seen:
        return None, None, ""
    start, end = min(s.start for s in seen), max(s.end for s in seen)
    return start.date(), end.date(), ",".join(s.id for s in seen)
