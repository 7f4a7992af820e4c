"""Pictures, reports and QGIS styles of results."""

from geoseg.report.comparison import DifferenceMap, write_comparison
from geoseg.report.film import draw_film_sheet
from geoseg.report.held_out import map_differences
from geoseg.report.map import backdrop, draw_map
from geoseg.report.qgis import outline_style

__all__ = [
    "DifferenceMap",
    "backdrop",
    "draw_film_sheet",
    "draw_map",
    "map_differences",
    "outline_style",
    "write_comparison",
]
