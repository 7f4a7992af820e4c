"""Outlines from class maps."""

from geoseg.vectorize.outlines import (
    glims_ids,
    half_pixel_uncertainty_km2,
    mean_inside,
    outline_classes,
)
from geoseg.vectorize.scene import outline_scene

__all__ = [
    "glims_ids",
    "half_pixel_uncertainty_km2",
    "mean_inside",
    "outline_classes",
    "outline_scene",
]
