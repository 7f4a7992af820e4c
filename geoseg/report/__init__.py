"""Pictures and QGIS styles of results."""

from geoseg.report.map import draw_map
from geoseg.report.qgis import outline_style

__all__ = ["draw_map", "outline_style"]
