"""One band of a simulated scene as a file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import rasterio

from geoseg.files import writing
from geoseg.grids import crs_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

__all__ = ["write_band"]


def write_band(
    path: Path,
    values: NDArray[np.generic],
    grid: GeoBox,
    *,
    void: float | None = None,
    scale: float = 1.0,
    tags: Mapping[str, str] | None = None,
) -> None:
    """Write one band as a tiled GeoTIFF.

    Args:
        path: of the file.
        values: (h, w) as they are stored.
        grid: of the pixels.
        void: what means no data.
        scale: that makes what was measured of the values.
        tags: of the file.

    Raises:
        OutputError: it cannot be written.
    """
    height, width = values.shape
    with (
        writing(path) as aside,
        rasterio.open(
            aside,
            "w",
            driver="GTiff",
            height=height,
            width=width,
            count=1,
            dtype=values.dtype,
            crs=crs_of(grid).to_wkt(),
            transform=grid.affine,
            nodata=void,
            tiled=True,
            compress="deflate",
        ) as raster,
    ):
        if scale != 1:
            raster.scales = (scale,)
        raster.update_tags(**(tags or {}))
        raster.write(values, 1)
