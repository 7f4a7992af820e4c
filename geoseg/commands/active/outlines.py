"""`geoseg active outlines`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from geoseg.terminal import note

__all__ = ["outlines"]


def outlines(
    folder: Annotated[Path, typer.Argument(help="The project, of `geoseg active init`.")],
    out: Annotated[Path, typer.Option(help="The GeoJSON to write, in pixels of images.")],
) -> None:
    """Write the outlines that were drawn on the page, as polygons in pixels of their images.

    Example: geoseg active outlines out/labelling --out out/outlines.json
    """
    from geoseg.active.folder import opened
    from geoseg.active.outlines import write_outlines

    with opened(folder) as (project, pool):
        count = write_outlines(out, project, pool)
    note(f"{count} outlines are in {out}, in pixels of their images.")
