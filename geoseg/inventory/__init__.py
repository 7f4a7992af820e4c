"""Inventories: outlines linked through time, what is known of each, and their files.

What reads maps, and needs torch for it, is imported from `geoseg.inventory.consistency`.
"""

from geoseg.inventory.build import align_surveys, build_inventory
from geoseg.inventory.exchange import export_glims, export_rgi
from geoseg.inventory.files import is_inventory, read_inventory, write_inventory
from geoseg.inventory.geopackage import LayerTraits, check_geopackage_path, write_geopackage
from geoseg.inventory.interval import Interval, decimal_year, parse_interval
from geoseg.inventory.inventory import About, Inventory
from geoseg.inventory.prepare import Prepared, common_crs, prepare_survey, require_apart
from geoseg.inventory.registration import needs_correction
from geoseg.inventory.relief import hypsometry
from geoseg.inventory.sources import Drawn, drawn_of, read_drawn, read_ground, read_reference
from geoseg.inventory.survey import Survey, kind_of
from geoseg.inventory.uncertainty import area_errors

__all__ = [
    "About",
    "Drawn",
    "Interval",
    "Inventory",
    "LayerTraits",
    "Prepared",
    "Survey",
    "align_surveys",
    "area_errors",
    "build_inventory",
    "check_geopackage_path",
    "common_crs",
    "decimal_year",
    "drawn_of",
    "export_glims",
    "export_rgi",
    "hypsometry",
    "is_inventory",
    "kind_of",
    "needs_correction",
    "parse_interval",
    "prepare_survey",
    "read_drawn",
    "read_ground",
    "read_inventory",
    "read_reference",
    "require_apart",
    "write_geopackage",
    "write_inventory",
]
