"""A queue of places as a layer of points that QGIS opens."""

from __future__ import annotations

from typing import TYPE_CHECKING

import geopandas as gpd
import numpy as np
import shapely

from geoseg.inventory.storage.geopackage import LayerTraits, write_geopackage

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

__all__ = ["write_queue_layer"]

_LAYER = "queue"


def write_queue_layer(path: Path, rows: pd.DataFrame) -> None:
    """Write a queue as a GeoPackage; places without a position have a row and no point.

    Args:
        path: the .gpkg; replaced when it exists.
        rows: as `make_queue` gives them.

    Raises:
        ConfigError: the path does not end in .gpkg.
        OutputError: it cannot be written, or is open in another program.
    """
    lon, lat = (rows[name].to_numpy(dtype=np.float64) for name in ("lon", "lat"))
    known = np.isfinite(lon) & np.isfinite(lat)
    points = np.full(len(rows), None, dtype=object)
    points[known] = shapely.points(lon[known], lat[known])
    layer = gpd.GeoDataFrame(rows, geometry=points, crs="EPSG:4326")
    traits = LayerTraits(points=True, gaps=True, title="Places to look at")
    write_geopackage(path, {_LAYER: layer}, styles={}, metadata={}, traits={_LAYER: traits})
