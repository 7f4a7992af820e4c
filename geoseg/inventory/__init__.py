"""Inventories: outlines linked through time, what is known of each, and their files.

What reads maps, and needs torch for it, is imported from `geoseg.inventory.consistency`.
"""

from geoseg.dates import Interval, decimal_year, parse_interval
from geoseg.inventory.attributes.relief import hypsometry
from geoseg.inventory.attributes.uncertainty import area_errors
from geoseg.inventory.build import align_surveys, build_inventory
from geoseg.inventory.inventory import About, Inventory
from geoseg.inventory.storage.exchange import export_glims, export_rgi
from geoseg.inventory.storage.files import is_inventory, read_inventory, write_inventory
from geoseg.inventory.storage.geopackage import LayerTraits, check_geopackage_path, write_geopackage
from geoseg.inventory.surveys.prepare import Prepared, common_crs, prepare_survey, require_apart
from geoseg.inventory.surveys.registration import Registration, needs_correction
from geoseg.inventory.surveys.sources import (
    Drawn,
    columns_of,
    drawn_of,
    read_drawn,
    read_ground,
    read_reference,
)
from geoseg.inventory.surveys.survey import Survey, kind_of

__all__ = [
    "About",
    "Drawn",
    "Interval",
    "Inventory",
    "LayerTraits",
    "Prepared",
    "Registration",
    "Survey",
    "align_surveys",
    "area_errors",
    "build_inventory",
    "check_geopackage_path",
    "columns_of",
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
