"""`geoseg report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from geoseg.commands.options import Json
from geoseg.terminal import Outcome, note, show

__all__ = ["report"]


def report(
    inventory: Annotated[Path, typer.Argument(help="The GeoPackage of an inventory.")],
    out: Annotated[Path, typer.Option(help="The page to write.")] = Path("report.html"),
    dem: Annotated[
        Path | None, typer.Option(help="Elevation in metres, for area by elevation.")
    ] = None,
    json: Json = False,
) -> None:
    """Write one page of an inventory that works offline: map, area curves, tables.

    Its figures lie beside it as PNG and SVG.

    Example: geoseg report inventory.gpkg --out report.html
    """
    from geoseg.inventory import hypsometry, read_inventory
    from geoseg.report import check_report_path, write_report

    check_report_path(out)
    tables = read_inventory(inventory)
    bands = None if dem is None else hypsometry(tables.outlines, dem)
    page, *figures = write_report(tables, out, hypsometry=bands)
    note(f"The page is {page}; {len(figures)} figures lie beside it")
    show(Outcome({"report": str(page), "figures": [str(f) for f in figures]}), as_json=json)
