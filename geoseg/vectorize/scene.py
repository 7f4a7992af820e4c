"""The outlines of a mapped scene, with what an inventory says of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from pyproj import CRS

from geoseg.grids import crs_of, gsd_m, raster_grid, require_metres
from geoseg.labels import IGNORE, geodesic_areas_km2
from geoseg.scenes import open_raster, reading
from geoseg.vectorize.outlines import (
    glims_ids,
    half_pixel_uncertainty_km2,
    mean_inside,
    outline_classes,
)

if TYPE_CHECKING:
    from pathlib import Path

    import geopandas as gpd
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

    from geoseg.config import OutlineSettings
    from geoseg.labels import ClassScheme
    from geoseg.scenes import Scene

__all__ = ["outline_scene"]

_BEND_PX = 50  # a longer straight side is bent when it is taken to degrees


def outline_scene(
    classes: Path,
    probability: Path,
    *,
    scene: Scene,
    scheme: ClassScheme,
    settings: OutlineSettings,
) -> gpd.GeoDataFrame:
    """The outlines of a class map, largest first, with RGI 7 names where RGI 7 has one.

    Columns: glims_id, class_name, area_km2 (geodesic), area_unc_km2 (half-pixel buffer), cenlon and
    cenlat (a point inside, degrees), probability (mean of its class, 0 to 1), src_date, start_date
    and end_date (acquisition, half-open), sensor, scene, gsd_m.

    Args:
        classes: class ids, 255 where there is no data.
        probability: a band a class.
        scene: what was mapped.
        scheme: names the classes.
        settings: minimum sizes and simplification.

    Raises:
        SceneError: a map cannot be read.
        GridError: the map is not in metres, so that a minimum area has no meaning.
    """
    mapped, grid = _read_classes(classes)
    outlines = outline_classes(mapped, grid, scheme, settings)
    points = outlines.representative_point().to_crs(CRS.from_epsg(4326))
    size = gsd_m(grid)
    bend = _BEND_PX * abs(grid.resolution.x)
    return outlines.assign(
        glims_id=glims_ids(outlines),
        area_km2=geodesic_areas_km2(outlines, bend_m=bend),
        area_unc_km2=half_pixel_uncertainty_km2(outlines, gsd_m=size),
        cenlon=points.x.to_numpy(),
        cenlat=points.y.to_numpy(),
        probability=_class_probability(outlines, probability, grid, scheme),
        src_date=scene.start.date(),
        start_date=scene.start.date(),
        end_date=scene.end.date(),
        sensor=scene.sensor_id,
        scene=scene.id,
        gsd_m=size,
    ).sort_values("area_km2", ascending=False, ignore_index=True)


def _read_classes(path: Path) -> tuple[NDArray[np.uint8], GeoBox]:
    with open_raster(path) as raster, reading(path):
        grid = raster_grid(raster)
        require_metres(crs_of(grid), "Minimum areas")
        return raster.read(1), grid


def _class_probability(
    outlines: gpd.GeoDataFrame, path: Path, grid: GeoBox, scheme: ClassScheme
) -> NDArray[np.float64]:
    """The mean probability of its own class in each outline."""
    out = np.full(len(outlines), np.nan)
    with open_raster(path) as raster, reading(path):
        for c in scheme.foreground:
            own = (outlines["class_name"] == c.name).to_numpy()
            if own.any():
                stored = raster.read(c.id + 1)
                chance = np.where(stored == IGNORE, np.nan, stored * raster.scales[c.id])
                out[own] = mean_inside(outlines[own], chance.astype(np.float32), grid)
    return out
