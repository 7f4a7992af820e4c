"""From a class raster to outlines."""

from __future__ import annotations

from typing import TYPE_CHECKING

import geopandas as gpd
import numpy as np
from pyproj import CRS

from geoseg.errors import LabelError
from geoseg.grids import crs_of
from geoseg.vectorize.reader import open_map, strip_rows
from geoseg.vectorize.runs import label_strips
from geoseg.vectorize.tracing import place, trace

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from geoseg.config import OutlineSettings
    from geoseg.labels import ClassScheme
    from geoseg.vectorize.reader import OnStrip
    from geoseg.vectorize.tracing import Tracing

__all__ = [
    "glims_ids",
    "half_pixel_uncertainty_km2",
    "outline_classes",
    "outline_raster",
    "pixel_area_m2",
    "traced_outlines",
]


def outline_classes(
    classes: NDArray[np.uint8], grid: GeoBox, scheme: ClassScheme, settings: OutlineSettings
) -> gpd.GeoDataFrame:
    """Outlines of all classes but the ground, with `class_name`, in the CRS of the grid.

    Neighbouring classes keep a common border. Diagonal neighbours are apart (4-connected). Specks
    and holes under `min_hole_m2` go to the largest region beside them before outlines are drawn,
    outlines under `min_area_m2` are left out after. A hole that holds a pixel without data stays.

    Args:
        classes: class ids (H, W), 255 where there is no data.
        grid: in a projected CRS in metres.
        scheme: names the classes.
        settings: minimum sizes, simplification and smoothing.

    Raises:
        LabelError: a class that is not in the scheme.
    """
    height, width = classes.shape
    step = strip_rows(width, block_rows=1)
    parts = (classes[top : top + step] for top in range(0, height, step))
    tracing = trace(label_strips(parts, width), settings, pixel_m2=pixel_area_m2(grid))
    return traced_outlines(tracing, grid, scheme)


def outline_raster(
    path: Path,
    scheme: ClassScheme,
    settings: OutlineSettings,
    *,
    on_strip: OnStrip | None = None,
) -> gpd.GeoDataFrame:
    """Outlines of a class map on disk, as `outline_classes` draws them, read strip by strip.

    Memory grows with the outlines and not with the map.

    Args:
        path: class ids, 255 where there is no data.
        scheme: names the classes.
        settings: minimum sizes, simplification and smoothing.
        on_strip: is told of every strip that was read.

    Raises:
        SceneError: the map cannot be read, or does not hold class ids.
        GridError: it is not in metres, so that a minimum area has no meaning.
        LabelError: a class that is not in the scheme.
    """
    with open_map(path, passes=1, on_strip=on_strip) as reader:
        tracing = trace(reader.strips(), settings, pixel_m2=pixel_area_m2(reader.grid))
        return traced_outlines(tracing, reader.grid, scheme)


def traced_outlines(tracing: Tracing, grid: GeoBox, scheme: ClassScheme) -> gpd.GeoDataFrame:
    """Traced polygons on the ground, with `class_name`.

    Raises:
        LabelError: a class that is not in the scheme.
    """
    highest = int(tracing.classes.max(initial=0))
    if highest >= len(scheme.classes):
        raise LabelError(
            f"The map holds class {highest} and the scheme ends at {len(scheme.classes) - 1} "
            f"({scheme.names[-1]}); give the scheme that the map was made with."
        )
    names = np.array(scheme.names, dtype=object)[tracing.classes]
    return gpd.GeoDataFrame(
        {"class_name": names}, geometry=place(tracing.polygons, grid.affine), crs=crs_of(grid)
    )


def pixel_area_m2(grid: GeoBox) -> float:
    """Area of a pixel of a grid in metres."""
    return float(abs(grid.resolution.x * grid.resolution.y))


def half_pixel_uncertainty_km2(outlines: gpd.GeoDataFrame, *, gsd_m: float) -> NDArray[np.float64]:
    """Area uncertainty in km2 of a border known to half a pixel (Granshaw 2006).

    The area of a buffer of half a pixel about the border, to one side.
    """
    return np.asarray(outlines.length) * gsd_m / 2 / 1e6


def glims_ids(outlines: gpd.GeoDataFrame) -> list[str]:
    """Identities by a point inside, as GLIMS writes them: G086850E27990N.

    Longitude east in thousandths of a degree from 0 to 360, latitude likewise, north or south.
    """
    points = outlines.representative_point().to_crs(CRS.from_epsg(4326))
    return [_glims_id(point.x, point.y) for point in points]


def _glims_id(longitude: float, latitude: float) -> str:
    east = round(longitude % 360 * 1000) % 360_000
    north = round(abs(latitude) * 1000)
    return f"G{east:06d}E{north:05d}{'N' if latitude >= 0 else 'S'}"
