"""Label polygons and the classes they belong to."""

from geoseg.labels.areas import geodesic_areas_km2
from geoseg.labels.outlines import Labels, place_labels, read_outlines
from geoseg.labels.scheme import GLACIER, GLACIER_SURFACE, IGNORE, ClassScheme, MapClass

__all__ = [
    "GLACIER",
    "GLACIER_SURFACE",
    "IGNORE",
    "ClassScheme",
    "Labels",
    "MapClass",
    "geodesic_areas_km2",
    "place_labels",
    "read_outlines",
]
