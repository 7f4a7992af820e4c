"""Rectangles as outlines, and inventories made of files of them.

Import it from any test as `from inventory.drawn_outlines import rectangles`.
"""

from __future__ import annotations

import geopandas as gpd
import pyproj
import shapely

from geoseg.dates import parse_interval
from geoseg.inventory import About, build_inventory
from geoseg.inventory.surveys.prepare import prepare_survey
from geoseg.inventory.surveys.sources import Drawn
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


def inventory_of(surveys, *, seen=None, gsd_m=None):
    """The inventory of tables of outlines by date, without files.

    Args:
        surveys: by date, all in the reference system of `rectangles`.
        seen: ground by date; what outlines let presume where a date is not in it.
        gsd_m: pixel.
    """
    prepared = []
    for when, table in surveys.items():
        table = table.assign(glac_name=None)
        for column in {"kind", "class_name"} - set(table.columns):
            table[column] = "glacier"
        ground = (seen or {}).get(when)
        drawn = Drawn(
            source=f"{when}.gpkg",
            when=parse_interval(when),
            outlines=table,
            seen=None if ground is None else gpd.GeoSeries([ground], crs=CRS),
            gsd_m=gsd_m,
        )
        prepared.append(prepare_survey(drawn, crs=pyproj.CRS(CRS)))
    return build_inventory(prepared, About(title="", licence="", provenance={}))


def ids_of(inventory, survey=None):
    """The id of each outline by survey and shape."""
    rows = inventory.outlines
    if survey is not None:
        rows = rows[rows["survey"] == survey]
    shapes = rows.geometry.normalize().to_wkb()
    return dict(zip(zip(rows["survey"], shapes, strict=True), rows["track_id"], strict=True))
