"""Pictures, reports and QGIS styles of results."""

from geoseg.report.comparison import DifferenceMap, write_comparison
from geoseg.report.film import draw_film_sheet
from geoseg.report.held_out import map_differences
from geoseg.report.inventory_page import check_report_path, write_report
from geoseg.report.map import backdrop, draw_map
from geoseg.report.qgis import inventory_styles, outline_style
from geoseg.report.qgis_project import inventory_project

__all__ = [
    "DifferenceMap",
    "backdrop",
    "check_report_path",
    "draw_film_sheet",
    "draw_map",
    "inventory_project",
    "inventory_styles",
    "map_differences",
    "outline_style",
    "write_comparison",
    "write_report",
]
