"""The outlines of a mapped scene, with what an inventory says of each."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from pyproj import CRS

from geoseg.grids import gsd_m
from geoseg.labels import geodesic_areas_km2
from geoseg.vectorize.chance import read_class_chances
from geoseg.vectorize.outlines import (
    glims_ids,
    half_pixel_uncertainty_km2,
    pixel_area_m2,
    traced_outlines,
)
from geoseg.vectorize.reader import open_map
from geoseg.vectorize.tracing import trace

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    import geopandas as gpd
    import numpy as np
    from numpy.typing import NDArray

    from geoseg.config import OutlineSettings
    from geoseg.labels import ClassScheme
    from geoseg.vectorize.chance import ClassChances
    from geoseg.vectorize.reader import OnStrip

__all__ = ["outline_scene"]


class Acquired(Protocol):
    """What was mapped, and when it was acquired (half-open, UTC)."""

    @property
    def id(self) -> str:
        """Of the scene."""

    @property
    def sensor_id(self) -> str:
        """What took it."""

    @property
    def start(self) -> datetime:
        """First moment."""

    @property
    def end(self) -> datetime:
        """The moment after the last."""


_BEND_PX = 50  # a longer straight side is bent when it is taken to degrees


def outline_scene(
    classes: Path,
    probability: Path | None,
    *,
    scene: Acquired,
    scheme: ClassScheme,
    settings: OutlineSettings,
    on_strip: OnStrip | None = None,
) -> gpd.GeoDataFrame:
    """The outlines of a class map, largest first, with RGI 7 names where RGI 7 has one.

    Columns: glims_id, class_name, area_km2 (geodesic), area_unc_km2 (half-pixel buffer), cenlon and
    cenlat (a point inside, degrees), src_date, start_date and end_date (acquisition, half-open),
    sensor, scene, gsd_m. With probabilities also probability (mean of its class, 0 to 1),
    probability_sd (its standard deviation from pixel to pixel) and the mean of each class, p_ground
    and so on. They are those of the pixels that the outline was traced from.

    Args:
        classes: class ids, 255 where there is no data; read strip by strip.
        probability: a band a class on the same pixels, or None where the map has none.
        scene: what was mapped.
        scheme: names the classes.
        settings: minimum sizes, simplification and smoothing.
        on_strip: is told of every strip that was read.

    Raises:
        SceneError: a map cannot be read, or is not what it should be.
        GridError: the map is not in metres, so that a minimum area has no meaning, or the
            probabilities lie on other pixels.
        LabelError: a class that is not in the scheme.
    """
    with open_map(classes, passes=1 if probability is None else 2, on_strip=on_strip) as reader:
        grid = reader.grid
        tracing = trace(reader.strips(), settings, pixel_m2=pixel_area_m2(grid))
        outlines = traced_outlines(tracing, grid, scheme)
        chances = {}
        if probability is not None:
            found = read_class_chances(probability, reader.strips(), tracing, grid, scheme)
            chances = _chance_columns(found, scheme)
    points = outlines.representative_point().to_crs(CRS.from_epsg(4326))
    size = gsd_m(grid)
    bend = _BEND_PX * abs(grid.resolution.x)
    return outlines.assign(
        glims_id=glims_ids(outlines),
        area_km2=geodesic_areas_km2(outlines, bend_m=bend),
        area_unc_km2=half_pixel_uncertainty_km2(outlines, gsd_m=size),
        cenlon=points.x.to_numpy(),
        cenlat=points.y.to_numpy(),
        **chances,
        src_date=scene.start.date(),
        start_date=scene.start.date(),
        end_date=scene.end.date(),
        sensor=scene.sensor_id,
        scene=scene.id,
        gsd_m=size,
    ).sort_values("area_km2", ascending=False, ignore_index=True)


def _chance_columns(chances: ClassChances, scheme: ClassScheme) -> dict[str, NDArray[np.float64]]:
    means = zip(scheme.names, chances.means, strict=True)
    return {
        "probability": chances.own_mean,
        "probability_sd": chances.own_sd,
        **{f"p_{name}": mean for name, mean in means},
    }
