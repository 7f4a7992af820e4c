"""Images: one acquisition is a scene, read by windows together with what is valid in them."""

from geoseg.scenes.catalog import (
    BrokenEntry,
    Catalog,
    CatalogEntry,
    ProblemKind,
    count_rows,
    read_catalog,
    scan_items,
    scan_scene,
    stream_catalog,
    write_catalog,
    writing_catalog,
)
from geoseg.scenes.checksums import require_unchanged, with_checksums
from geoseg.scenes.coregister import Shift, measure_shift
from geoseg.scenes.problems import problems_beside, read_problems, write_problems
from geoseg.scenes.raster import open_raster, read_onto, reading
from geoseg.scenes.reader import Pixels, SceneReader, band_names, bands_of, open_scene
from geoseg.scenes.resample import area_average
from geoseg.scenes.sample import scene_sample
from geoseg.scenes.scan import ScanStep, scan_folders
from geoseg.scenes.scene import Asset, Scene, SunPosition, with_absolute_paths
from geoseg.scenes.scene_shift import scene_shift_m
from geoseg.scenes.search import Found, Query, area_of_bbox, search_catalog, summarise
from geoseg.scenes.stac import footprint, read_scene, write_scene
from geoseg.scenes.stored import data_bands
from geoseg.scenes.terrain import TERRAIN_BANDS
from geoseg.scenes.units import Unit, describe_units, unit_of

__all__ = [
    "TERRAIN_BANDS",
    "Asset",
    "BrokenEntry",
    "Catalog",
    "CatalogEntry",
    "Found",
    "Pixels",
    "ProblemKind",
    "Query",
    "ScanStep",
    "Scene",
    "SceneReader",
    "Shift",
    "SunPosition",
    "Unit",
    "area_average",
    "area_of_bbox",
    "band_names",
    "bands_of",
    "count_rows",
    "data_bands",
    "describe_units",
    "footprint",
    "measure_shift",
    "open_raster",
    "open_scene",
    "problems_beside",
    "read_catalog",
    "read_onto",
    "read_problems",
    "read_scene",
    "reading",
    "require_unchanged",
    "scan_folders",
    "scan_items",
    "scan_scene",
    "scene_sample",
    "scene_shift_m",
    "search_catalog",
    "stream_catalog",
    "summarise",
    "unit_of",
    "with_absolute_paths",
    "with_checksums",
    "write_catalog",
    "write_problems",
    "write_scene",
    "writing_catalog",
]
