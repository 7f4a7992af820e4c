"""Label polygons and the classes they belong to."""

from geoseg.labels.areas import geodesic_areas_km2
from geoseg.labels.outlines import (
    LABELLED,
    BurntLabels,
    Labels,
    place_labels,
    read_frames,
    read_outlines,
)
from geoseg.labels.scheme import GLACIER, GLACIER_SURFACE, IGNORE, ClassScheme, MapClass
from geoseg.labels.surveys import Dating, survey_days

__all__ = [
    "GLACIER",
    "GLACIER_SURFACE",
    "IGNORE",
    "LABELLED",
    "BurntLabels",
    "ClassScheme",
    "Dating",
    "Labels",
    "MapClass",
    "geodesic_areas_km2",
    "place_labels",
    "read_frames",
    "read_outlines",
    "survey_days",
]
