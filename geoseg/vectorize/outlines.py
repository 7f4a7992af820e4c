"""From a class raster to outlines."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import geopandas as gpd
import numpy as np
import shapely
from pyproj import CRS
from rasterio.features import rasterize, shapes, sieve

from geoseg.grids import crs_of
from geoseg.labels import IGNORE

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from geoseg.config import OutlineSettings
    from geoseg.labels import ClassScheme

__all__ = [
    "glims_ids",
    "half_pixel_uncertainty_km2",
    "mean_inside",
    "outline_classes",
]


def outline_classes(
    classes: NDArray[np.uint8], grid: GeoBox, scheme: ClassScheme, settings: OutlineSettings
) -> gpd.GeoDataFrame:
    """Outlines of all classes but the ground, with `class_name`, in the CRS of the grid.

    Neighbouring classes keep a common border. Diagonal neighbours are apart (4-connected). Specks
    and holes under `min_hole_m2` go to the class around them before outlines are drawn, outlines
    under `min_area_m2` are left out after.

    Args:
        classes: class ids (H, W), 255 where there is no data.
        grid: in a projected CRS in metres.
        scheme: names the classes.
        settings: minimum sizes and the tolerance of the simplification.
    """
    pixel_m2 = abs(grid.resolution.x * grid.resolution.y)
    known = classes != IGNORE
    speck_px = math.ceil(settings.min_hole_m2 / pixel_m2)
    if speck_px > 1:
        classes = sieve(classes, speck_px, mask=known)
    mapped = known & (classes != 0)
    found = shapes(classes, mask=mapped, connectivity=4, transform=grid.affine)
    pairs = [(shapely.geometry.shape(shape), int(value)) for shape, value in found]
    geometry = np.array([polygon for polygon, _ in pairs], dtype=object)
    ids = np.array([value for _, value in pairs], dtype=int)
    large = shapely.area(geometry) >= settings.min_area_m2
    geometry, ids = geometry[large], ids[large]
    tolerance = settings.simplify_px * np.sqrt(pixel_m2)
    if len(geometry) and tolerance > 0:
        geometry = shapely.coverage_simplify(geometry, tolerance)
    names = [scheme.names[i] for i in ids]
    return gpd.GeoDataFrame(
        {"class_name": np.array(names, dtype=object)}, geometry=list(geometry), crs=crs_of(grid)
    )


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


def mean_inside(
    outlines: gpd.GeoDataFrame, values: NDArray[np.float32], grid: GeoBox
) -> NDArray[np.float64]:
    """Mean of a raster (H, W) over the pixels of each outline; NaN where it holds no centre."""
    if outlines.empty:
        return np.empty(0)
    numbered = [(geometry, i + 1) for i, geometry in enumerate(outlines.geometry)]
    owner = rasterize(numbered, out_shape=grid.shape, transform=grid.affine, dtype=np.int32)
    known = np.isfinite(values)
    count = np.bincount(owner[known], minlength=len(outlines) + 1)[1:]
    total = np.bincount(owner[known], weights=values[known], minlength=len(outlines) + 1)[1:]
    with np.errstate(invalid="ignore"):
        return np.asarray(total / count)


def _glims_id(longitude: float, latitude: float) -> str:
    east = round(longitude % 360 * 1000) % 360_000
    north = round(abs(latitude) * 1000)
    return f"G{east:06d}E{north:05d}{'N' if latitude >= 0 else 'S'}"
