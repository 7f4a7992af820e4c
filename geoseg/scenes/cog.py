"""Cloud-optimised GeoTIFFs that are written block by block."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import rasterio
from rasterio.errors import RasterioError
from rasterio.shutil import copy
from rasterio.windows import Window

from geoseg.errors import OutputError
from geoseg.files import has_room, why_not_written, writing
from geoseg.grids import crs_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from odc.geo.geobox import GeoBox
    from rasterio.io import DatasetWriter

__all__ = ["BLOCK_PX", "open_cog", "write_cog"]

BLOCK_PX = 512  # side of the blocks of a file


@contextmanager
def open_cog(
    path: Path,
    grid: GeoBox,
    *,
    nodata: float | None,
    overviews: str,
    bands: int = 1,
    dtype: str = "uint8",
) -> Iterator[DatasetWriter]:
    """A cloud-optimised GeoTIFF that takes blocks in any order; it appears when the block ends.

    Args:
        path: where it goes.
        grid: its pixels.
        nodata: also of the blocks that are never written.
        overviews: mode or average.
        bands: how many.
        dtype: of the pixels.

    Raises:
        OutputError: it cannot be written, or the block failed to write another map beside it.
    """
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
            nodata=nodata,
            tiled=True,
            blockxsize=BLOCK_PX,
            blockysize=BLOCK_PX,
            interleave="band",
            sparse_ok=True,
            compress="deflate",
            bigtiff="if_safer",
        ) as raster:
            yield raster
        _require_room(path.parent)
        write_cog(tiled, aside, overviews=overviews, decimals=dtype.startswith("float"))


def write_cog(source: Path, target: Path, *, overviews: str, decimals: bool = False) -> None:
    """Copy a raster as a cloud-optimised GeoTIFF.

    Args:
        source: to copy.
        target: where it goes.
        overviews: mode or average.
        decimals: whether it holds floating-point numbers, which take less when they are stored as
            differences; small integers take more.

    Raises:
        OutputError: the copy lacks blocks.
    """
    copy(
        source,
        target,
        driver="COG",
        compress="deflate",
        predictor="floating_point" if decimals else "no",
        overview_resampling=overviews,
        bigtiff="if_safer",
        num_threads="all_cpus",
    )
    _require_whole(target)


def _require_whole(path: Path) -> None:
    """Refuse a copy that lacks blocks: GDAL may end one on a full disk without an error."""
    try:
        with rasterio.open(path, driver="GTiff") as raster:
            step = raster.block_shapes[0][0]
            for top in range(0, raster.height, step):
                rows = min(step, raster.height - top)
                raster.read(window=Window(0, top, raster.width, rows))
    except RasterioError as error:
        raise OutputError(
            f"{path.name} was cut short while it was written; see that the disk has space left, "
            "and run again."
        ) from error


def _require_room(folder: Path) -> None:
    """Refuse a file that was just closed on a full disk: what fails then, rasterio only logs."""
    if not has_room(folder):
        raise OutputError(
            f"The maps in {folder} could not be written: the disk is full; free space there and "
            "run again."
        )


@contextmanager
def _told_of_folder(folder: Path) -> Iterator[None]:
    """Turn a failed write into an OutputError: which of the open maps failed, nobody can tell."""
    try:
        yield
    except RasterioError as error:
        reason = why_not_written(error, folder)
        raise OutputError(f"The maps in {folder} could not be written: {reason}.") from error
