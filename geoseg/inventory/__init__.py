"""Inventories: outlines linked through time, what is known of each, and their files."""

from geoseg.inventory.geopackage import check_geopackage_path, write_geopackage
from geoseg.inventory.inventory import Inventory
from geoseg.inventory.survey import Survey, kind_of

__all__ = ["Inventory", "Survey", "check_geopackage_path", "kind_of", "write_geopackage"]
