"""Outlines from class maps."""

from geoseg.vectorize.ground import outline_ground
from geoseg.vectorize.outlines import (
    glims_ids,
    half_pixel_uncertainty_km2,
    outline_classes,
    outline_raster,
)
from geoseg.vectorize.scene import outline_scene

__all__ = [
    "glims_ids",
    "half_pixel_uncertainty_km2",
    "outline_classes",
    "outline_ground",
    "outline_raster",
    "outline_scene",
]
