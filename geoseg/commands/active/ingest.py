"""`geoseg active ingest`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from geoseg.commands.options import Json
from geoseg.terminal import Outcome, Table, show

__all__ = ["ingest"]


def ingest(
    folder: Annotated[Path, typer.Argument(help="The project, of `geoseg active init`.")],
    file: Annotated[
        Path,
        typer.Argument(
            help="A proposal.gpkg that was answered on, or a table (.csv, .parquet) of item and "
            "said, or of chip_id and present."
        ),
    ],
    annotator: Annotated[
        str | None, typer.Option(help="Who gave the answers that name nobody.")
    ] = None,
    json: Json = False,
) -> None:
    """Take answers of a file in, all or none; the same file again changes nothing.

    Two people on one item are two answers, and both count. A file of another project, a class that
    the project has not, and items that are not in its pool are refused.

    Example: geoseg active ingest out/labelling out/labelling/rounds/001/proposal.gpkg
    """
    from geoseg.active.folder import opened
    from geoseg.active.ingest import ingest as take_in

    with opened(folder) as (project, pool):
        taken = take_in(file, project, pool, annotator=annotator)
    lines = [
        ("taken in", str(taken.taken)),
        ("known before", str(taken.known)),
        ("not answered", str(taken.empty)),
    ]
    table = Table(f"{taken.rows} rows of {file}", ("what", "rows"), lines)
    show(Outcome({"file": str(file), **taken._asdict()}, (table,)), as_json=json)
