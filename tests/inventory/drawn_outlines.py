"""Rectangles as outlines, and inventories made of files of them.

Import it from any test as `from inventory.drawn_outlines import rectangles`.
"""

from __future__ import annotations

import geopandas as gpd
import shapely

from geoseg.tracking import TrackOptions, give, track_files

CRS = "EPSG:32645"
ORIGIN = (500_000, 3_100_000)  # on the central meridian, where a metre is one to 0.04 %


def rectangle(x, y, width, height):
    """One, in metres from the origin."""
    return shapely.box(ORIGIN[0] + x, ORIGIN[1] + y, ORIGIN[0] + x + width, ORIGIN[1] + y + height)


def rectangles(*boxes, crs=CRS, **columns):
    """A table of them, each as (x, y, width, height) in metres from the origin."""
    table = gpd.GeoDataFrame(columns, geometry=[rectangle(*box) for box in boxes], crs=CRS)
    return table.to_crs(crs)


def write(table, path, layer=None):
    """The path of a file of these outlines; empty ones become a layer of polygons."""
    table.to_file(path, layer=layer, **({} if len(table) else {"geometry_type": "Polygon"}))
    return path


def track(out, *files, dates=None, seen=(), gsd_m=None, **options):
    """The inventory at `out` of these files."""
    given = give([str(file) for file in files], dates=dates, gsd_m=gsd_m, seen=seen)
    return track_files(given, TrackOptions(**options), out)


def ids_of(inventory, survey=None):
    """The id of each outline by survey and shape."""
    rows = inventory.outlines
    if survey is not None:
        rows = rows[rows["survey"] == survey]
    shapes = rows.geometry.normalize().to_wkb()
    return dict(zip(zip(rows["survey"], shapes, strict=True), rows["track_id"], strict=True))
