"""Preparation: from images as they are delivered to scenes that can be mapped."""

from geoseg.scenes.ground_control import GroundControl, read_points
from geoseg.scenes.prepare.archive import (
    PrepareJob,
    Ready,
    list_prepared,
    prepare_job,
    prepare_scenes,
)
from geoseg.scenes.prepare.calibration import Calibration, Radiometry, to_reflectance
from geoseg.scenes.prepare.clouds import CloudMask, cloud_mask_names
from geoseg.scenes.prepare.control import Registration, register
from geoseg.scenes.prepare.quality import STRIKABLE, Mask, Quality, mask_of
from geoseg.scenes.prepare.settings import Prepared, PrepareSettings

__all__ = [
    "STRIKABLE",
    "Calibration",
    "CloudMask",
    "GroundControl",
    "Mask",
    "PrepareJob",
    "PrepareSettings",
    "Prepared",
    "Quality",
    "Radiometry",
    "Ready",
    "Registration",
    "cloud_mask_names",
    "list_prepared",
    "mask_of",
    "prepare_job",
    "prepare_scenes",
    "read_points",
    "register",
    "to_reflectance",
]
