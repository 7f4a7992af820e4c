"""Pictures, reports and QGIS styles of results.

What needs torch, `film` and `held_out`, is imported from its module.
"""

from geoseg.report.comparison import DifferenceMap, write_comparison
from geoseg.report.inventory_page import check_report_path, write_report
from geoseg.report.map import backdrop, draw_map
from geoseg.report.qgis import inventory_styles, outline_style
from geoseg.report.qgis_project import inventory_project

__all__ = [
    "DifferenceMap",
    "backdrop",
    "check_report_path",
    "draw_map",
    "inventory_project",
    "inventory_styles",
    "outline_style",
    "write_comparison",
    "write_report",
]
