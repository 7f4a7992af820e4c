"""Inventories of outlines on disk."""

from geoseg.inventory.geopackage import check_geopackage_path, write_geopackage

__all__ = ["check_geopackage_path", "write_geopackage"]
