"""Outlines from class maps."""

from geoseg.vectorize.outlines import (
    geodesic_areas_km2,
    glims_ids,
    half_pixel_uncertainty_km2,
    mean_inside,
    outline_classes,
)
from geoseg.vectorize.scene import outline_scene

__all__ = [
    "geodesic_areas_km2",
    "glims_ids",
    "half_pixel_uncertainty_km2",
    "mean_inside",
    "outline_classes",
    "outline_scene",
]
