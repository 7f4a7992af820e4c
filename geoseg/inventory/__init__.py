"""Inventories of outlines on disk."""

from geoseg.inventory.geopackage import write_geopackage

__all__ = ["write_geopackage"]
